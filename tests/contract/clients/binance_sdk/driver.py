"""The official SDK, ``binance-sdk-derivatives-trading-usds-futures``: REST, streams and WebSocket API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import Error
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from binance_sdk_derivatives_trading_usds_futures.rest_api.models import PlaceMultipleOrdersBatchOrdersParameterInner

from tests.contract.clients import driver
from tests.contract.clients.driver import Heard, Place, Refused, UserVerbs, Verb


def plain(model: Any) -> Any:
    """Return a model, or a list of them, in the venue's own names."""
    if isinstance(model, list):
        return [plain(each) for each in model]
    if (actual := getattr(model, "actual_instance", None)) is not None:
        return plain(actual)
    return json.loads(model.model_dump_json(by_alias=True)) if hasattr(model, "model_dump_json") else model


EVENT_NAMES = {"OrderTradeUpdate": "ORDER_TRADE_UPDATE", "AccountUpdate": "ACCOUNT_UPDATE"}
"""The SDK's classes of user events; its models leave the venue's name of the event out."""


def order_arguments(
    symbol: str,
    side: str,
    kind: str,
    qty: str,
    client_id: str,
    price: str = "",
    tif: str = "GTC",
    reduce_only: bool = False,
) -> dict[str, Any]:
    """Return a new order as the SDK's methods take it; the SDK wants numbers as floats."""
    order: dict[str, Any] = {
        "symbol": symbol,
        "side": side,
        "type": kind,
        "quantity": float(qty),
        "new_client_order_id": client_id,
    }
    if kind == "LIMIT":
        order |= {"price": float(price), "time_in_force": tif}
    return order | {"reduce_only": "true"} if reduce_only else order


class Client(UserVerbs):
    """The verbs over one client."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        keys = {"api_key": place.key, "api_secret": place.secret}
        client = DerivativesTradingUsdsFutures(
            config_rest_api=ConfigurationRestAPI(**keys, base_path=place.http, timeout=5_000),
            config_ws_api=ConfigurationWebSocketAPI(**keys, stream_url=place.ws_api),
            config_ws_streams=ConfigurationWebSocketStreams(stream_url=f"{place.ws}/stream"),
        )
        self.rest, self.api, self.streams = client.rest_api, client.websocket_api, client.websocket_streams

    async def open(self) -> None:
        """Connect streams and WebSocket API, as the SDK wants it before their first use."""
        await self.streams.create_connection()
        await self.api.create_connection()

    async def ask(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """Return the answer to a REST call."""
        try:
            return plain((await asyncio.to_thread(method, **arguments)).data())
        except Error as error:
            if isinstance(code := getattr(error, "status_code", None), int):
                raise Refused(code, str(error)) from error
            raise

    async def call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """Return the result of a WebSocket API call; the SDK hands an error out as data."""
        answer = (await method(**arguments)).data()
        if isinstance(answer, dict) and isinstance(error := answer.get("error"), dict):
            raise Refused(error["code"], error["msg"])
        return plain(answer)["result"]

    async def hear(self, subscribe: Callable[..., Any], count: int, **arguments: Any) -> list[Any]:
        """Return messages of a market stream."""
        heard = Heard()
        stream = await subscribe(**arguments)
        stream.on("message", lambda message: heard.hear(plain(message)))
        messages = await heard.some(count)
        await stream.unsubscribe()
        return messages

    async def server_time(self) -> int:
        return int((await self.ask(self.rest.check_server_time))["serverTime"])

    async def rules(self, symbol: str) -> dict[str, str]:
        return driver.rules_facts(await self.ask(self.rest.exchange_information), symbol)

    async def place(self, **order: Any) -> dict[str, Any]:
        return driver.order_facts(await self.ask(self.rest.new_order, **order_arguments(**order)))

    async def amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        amended = await self.ask(
            self.rest.modify_order,
            symbol=symbol,
            side=side,
            quantity=float(qty),
            price=float(price),
            orig_client_order_id=client_id,
        )
        return driver.order_facts(amended)

    async def cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return driver.order_facts(await self.ask(self.rest.cancel_order, symbol=symbol, orig_client_order_id=client_id))

    async def cancel_all(self, symbol: str) -> None:
        await self.ask(self.rest.cancel_all_open_orders, symbol=symbol)

    async def countdown(self, symbol: str, countdown_ms: int) -> None:
        await self.ask(self.rest.auto_cancel_all_open_orders, symbol=symbol, countdown_time=countdown_ms)

    async def query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return driver.order_facts(await self.ask(self.rest.query_order, symbol=symbol, orig_client_order_id=client_id))

    async def batch(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        models = [PlaceMultipleOrdersBatchOrdersParameterInner(**order_arguments(**order)) for order in orders]
        rows = await self.ask(self.rest.place_multiple_orders, batch_orders=models)
        return driver.batch_facts(rows)

    async def cancel_batch(self, symbol: str, order_ids: list[str]) -> list[dict[str, Any]]:
        ids = [int(each) for each in order_ids]
        return driver.batch_facts(await self.ask(self.rest.cancel_multiple_orders, symbol=symbol, order_id_list=ids))

    async def open_orders(self, symbol: str) -> list[dict[str, Any]]:
        return [driver.order_facts(row) for row in await self.ask(self.rest.current_all_open_orders, symbol=symbol)]

    async def positions(self) -> list[dict[str, str]]:
        return driver.positions_facts(await self.ask(self.rest.position_information_v3))

    async def balances(self) -> dict[str, str]:
        return driver.balances_facts(await self.ask(self.rest.futures_account_balance_v3))

    async def trades(self, symbol: str) -> list[dict[str, str]]:
        return driver.trades_facts(await self.ask(self.rest.account_trade_list, symbol=symbol))

    async def leverage(self, symbol: str, leverage: int) -> int:
        return int((await self.ask(self.rest.change_initial_leverage, symbol=symbol, leverage=leverage))["leverage"])

    async def listen_key(self) -> str:
        return str((await self.ask(self.rest.start_user_data_stream))["listenKey"])

    async def listen_key_keep(self, key: str) -> None:
        await self.ask(self.rest.keepalive_user_data_stream)

    async def user_start(self) -> None:
        stream = await self.streams.user_data(await self.listen_key())
        stream.on("message", self._hear_user)

    def _hear_user(self, message: Any) -> None:
        name = EVENT_NAMES.get(type(message.actual_instance).__name__)
        if name is not None:
            self.hear_event({"e": name, **plain(message)})

    async def book_ticker(self, symbol: str, count: int) -> list[dict[str, str]]:
        subscribe = self.streams.individual_symbol_book_ticker_streams
        return [driver.top_facts(message) for message in await self.hear(subscribe, count, symbol=symbol.lower())]

    async def mark_price(self, symbol: str, count: int) -> list[str]:
        subscribe = self.streams.mark_price_stream
        messages = await self.hear(subscribe, count, symbol=symbol.lower(), update_speed="1s")
        return [message["p"] for message in messages]

    async def depth(self, symbol: str, limit: int) -> dict[str, list[list[str]]]:
        return driver.depth_facts(await self.ask(self.rest.order_book, symbol=symbol, limit=limit))

    async def depth_stream(self, symbol: str, count: int) -> dict[str, Any]:
        heard = Heard()
        stream = await self.streams.diff_book_depth_streams(symbol=symbol.lower(), update_speed="100ms")
        stream.on("message", lambda message: heard.hear(plain(message)))
        await heard.some(1)
        snapshot = await self.ask(self.rest.order_book, symbol=symbol, limit=1000)
        differences = await heard.until(lambda heard: driver.following(snapshot, heard) >= count)
        await stream.unsubscribe()
        return driver.book_facts(snapshot, differences)

    async def ws_place(self, **order: Any) -> dict[str, Any]:
        return driver.order_facts(await self.call(self.api.new_order, **order_arguments(**order)))

    async def ws_amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        amended = await self.call(
            self.api.modify_order,
            symbol=symbol,
            side=side,
            quantity=float(qty),
            price=float(price),
            orig_client_order_id=client_id,
        )
        return driver.order_facts(amended)

    async def ws_cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        answer = await self.call(self.api.cancel_order, symbol=symbol, orig_client_order_id=client_id)
        return driver.order_facts(answer)

    async def ws_query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        answer = await self.call(self.api.query_order, symbol=symbol, orig_client_order_id=client_id)
        return driver.order_facts(answer)


async def open_client(place: Place) -> Mapping[str, Verb]:
    """Return the verbs of a client that is connected."""
    client = Client(place)
    await client.open()
    return driver.verbs_of(client)


if __name__ == "__main__":
    driver.main(open_client)

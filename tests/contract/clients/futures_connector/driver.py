"""``binance-futures-connector``: blocking REST, and streams by thread and callback; it has no WebSocket API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from binance.error import ClientError
from binance.um_futures import UMFutures
from binance.websocket.um_futures.websocket_client import UMFuturesWebsocketClient

from tests.contract.clients import driver
from tests.contract.clients.driver import Heard, Place, Refused, UserVerbs, Verb


class Client(UserVerbs):
    """The verbs over one client."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.rest = UMFutures(key=place.key, secret=place.secret, base_url=place.http)
        self.ws = place.ws

    async def ask(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Return the answer to a REST call."""
        try:
            return await asyncio.to_thread(method, *arguments, **named)
        except ClientError as error:
            raise Refused(error.error_code, error.error_message) from error

    async def subscribe(
        self, route: str, hear: Callable[[Any], None], method: str, **arguments: Any
    ) -> UMFuturesWebsocketClient:
        """Open a connection on a route and subscribe on it; acknowledgements are not passed on."""

        def on_message(_: object, text: str) -> None:
            message = json.loads(text)
            if "e" in message:
                hear(message)

        connect = UMFuturesWebsocketClient
        client = await asyncio.to_thread(connect, stream_url=f"{self.ws}/{route}", on_message=on_message)
        await asyncio.to_thread(getattr(client, method), **arguments)
        return client

    async def hear(self, route: str, method: str, count: int, **arguments: Any) -> list[Any]:
        """Return messages of a market stream."""
        heard = Heard()
        client = await self.subscribe(route, heard.hear, method, **arguments)
        messages = await heard.some(count)
        await asyncio.to_thread(client.stop)
        return messages

    async def server_time(self) -> int:
        return int((await self.ask(self.rest.time))["serverTime"])

    async def rules(self, symbol: str) -> dict[str, str]:
        return driver.rules_facts(await self.ask(self.rest.exchange_info), symbol)

    async def place(self, **order: Any) -> dict[str, Any]:
        return driver.order_facts(await self.ask(self.rest.new_order, **driver.order_arguments(**order)))

    async def amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        amended = await self.ask(
            self.rest.modify_order, symbol, side, float(qty), float(price), origClientOrderId=client_id
        )
        return driver.order_facts(amended)

    async def cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return driver.order_facts(await self.ask(self.rest.cancel_order, symbol, origClientOrderId=client_id))

    async def cancel_all(self, symbol: str) -> None:
        await self.ask(self.rest.cancel_open_orders, symbol)

    async def countdown(self, symbol: str, countdown_ms: int) -> None:
        await self.ask(self.rest.countdown_cancel_order, symbol, countdown_ms)

    async def query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return driver.order_facts(await self.ask(self.rest.query_order, symbol, origClientOrderId=client_id))

    async def batch(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return driver.batch_facts(
            await self.ask(self.rest.new_batch_order, [driver.order_arguments(**each) for each in orders])
        )

    async def cancel_batch(self, symbol: str, order_ids: list[str]) -> list[dict[str, Any]]:
        ids = [int(each) for each in order_ids]
        return driver.batch_facts(await self.ask(self.rest.cancel_batch_order, symbol, ids, []))

    async def open_orders(self, symbol: str) -> list[dict[str, Any]]:
        return [driver.order_facts(row) for row in await self.ask(self.rest.get_orders, symbol=symbol)]

    async def positions(self) -> list[dict[str, str]]:
        return driver.positions_facts(await self.ask(self.rest.get_position_risk))

    async def balances(self) -> dict[str, str]:
        return driver.balances_facts(await self.ask(self.rest.balance))

    async def trades(self, symbol: str) -> list[dict[str, str]]:
        return driver.trades_facts(await self.ask(self.rest.get_account_trades, symbol))

    async def leverage(self, symbol: str, leverage: int) -> int:
        return int((await self.ask(self.rest.change_leverage, symbol, leverage))["leverage"])

    async def listen_key(self) -> str:
        return str((await self.ask(self.rest.new_listen_key))["listenKey"])

    async def listen_key_keep(self, key: str) -> None:
        await self.ask(self.rest.renew_listen_key, key)

    async def user_start(self) -> None:
        await self.subscribe("private", self.hear_event, "user_data", listen_key=await self.listen_key())

    async def book_ticker(self, symbol: str, count: int) -> list[dict[str, str]]:
        return [driver.top_facts(each) for each in await self.hear("public", "book_ticker", count, symbol=symbol)]

    async def mark_price(self, symbol: str, count: int) -> list[str]:
        return [each["p"] for each in await self.hear("market", "mark_price", count, symbol=symbol, speed=1)]

    async def depth(self, symbol: str, limit: int) -> dict[str, list[list[str]]]:
        return driver.depth_facts(await self.ask(self.rest.depth, symbol, limit=limit))

    async def depth_stream(self, symbol: str, count: int) -> dict[str, Any]:
        heard = Heard()
        client = await self.subscribe("public", heard.hear, "diff_book_depth", symbol=symbol, speed=100)
        await heard.some(1)
        snapshot = await self.ask(self.rest.depth, symbol, limit=1000)
        differences = await heard.until(lambda heard: driver.following(snapshot, heard) >= count)
        await asyncio.to_thread(client.stop)
        return driver.book_facts(snapshot, differences)


async def open_client(place: Place) -> Mapping[str, Verb]:
    """Return the verbs of a client."""
    return driver.verbs_of(Client(place))


if __name__ == "__main__":
    driver.main(open_client)

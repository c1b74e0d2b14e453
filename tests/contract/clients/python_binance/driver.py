"""``python-binance``: AsyncClient's ``futures_*`` and ``ws_futures_*`` methods, and BinanceSocketManager."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException
from binance.ws.websocket_api import WebsocketAPI

from tests.contract.clients import driver
from tests.contract.clients.driver import Heard, Place, Refused, UserVerbs, Verb


class Client(UserVerbs):
    """The verbs over one client."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.client = AsyncClient(place.key, place.secret)
        self.client.FUTURES_URL = f"{place.http}/fapi"
        self.client.ws_future = WebsocketAPI(url=place.ws_api)
        self.sockets = BinanceSocketManager(self.client)
        self.sockets.FSTREAM_URL = f"{place.ws}/"
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, answer: Awaitable[Any]) -> Any:
        """Return an answer."""
        try:
            return await answer
        except BinanceAPIException as error:
            raise Refused(error.code, error.message) from error

    async def listen(self, socket: Any, hear: Callable[[Any], None]) -> asyncio.Task[None]:
        """Connect a socket and pass on what comes."""
        await socket.__aenter__()

        async def receive() -> None:
            while True:
                message = await socket.recv()
                if message.get("e") == "error":
                    raise AssertionError(f"the client could not go on: {message}")
                hear(message.get("data", message))

        self.tasks.append(asyncio.create_task(receive()))
        return self.tasks[-1]

    async def hear(self, socket: Any, count: int) -> list[Any]:
        """Return messages of a market stream."""
        heard = Heard()
        task = await self.listen(socket, heard.hear)
        messages = await heard.some(count)
        task.cancel()
        return messages

    async def server_time(self) -> int:
        return int((await self.ask(self.client.futures_time()))["serverTime"])

    async def rules(self, symbol: str) -> dict[str, str]:
        return driver.rules_facts(await self.ask(self.client.futures_exchange_info()), symbol)

    async def place(self, **order: Any) -> dict[str, Any]:
        return driver.order_facts(await self.ask(self.client.futures_create_order(**driver.order_arguments(**order))))

    async def amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        change = {"symbol": symbol, "side": side, "quantity": qty, "price": price, "origClientOrderId": client_id}
        return driver.order_facts(await self.ask(self.client.futures_modify_order(**change)))

    async def cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        answer = self.client.futures_cancel_order(symbol=symbol, origClientOrderId=client_id)
        return driver.order_facts(await self.ask(answer))

    async def cancel_all(self, symbol: str) -> None:
        await self.ask(self.client.futures_cancel_all_open_orders(symbol=symbol))

    async def countdown(self, symbol: str, countdown_ms: int) -> None:
        await self.ask(self.client.futures_countdown_cancel_all(symbol=symbol, countdownTime=countdown_ms))

    async def query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        answer = self.client.futures_get_order(symbol=symbol, origClientOrderId=client_id)
        return driver.order_facts(await self.ask(answer))

    async def batch(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = [driver.order_arguments(**order) for order in orders]
        return driver.batch_facts(await self.ask(self.client.futures_place_batch_order(batchOrders=rows)))

    async def cancel_batch(self, symbol: str, order_ids: list[str]) -> list[dict[str, Any]]:
        ids = [int(each) for each in order_ids]
        return driver.batch_facts(await self.ask(self.client.futures_cancel_orders(symbol=symbol, orderidlist=ids)))

    async def open_orders(self, symbol: str) -> list[dict[str, Any]]:
        rows = await self.ask(self.client.futures_get_open_orders(symbol=symbol))
        return [driver.order_facts(row) for row in rows]

    async def positions(self) -> list[dict[str, str]]:
        return driver.positions_facts(await self.ask(self.client.futures_position_information()))

    async def balances(self) -> dict[str, str]:
        return driver.balances_facts(await self.ask(self.client.futures_account_balance()))

    async def trades(self, symbol: str) -> list[dict[str, str]]:
        return driver.trades_facts(await self.ask(self.client.futures_account_trades(symbol=symbol)))

    async def leverage(self, symbol: str, leverage: int) -> int:
        answer = await self.ask(self.client.futures_change_leverage(symbol=symbol, leverage=leverage))
        return int(answer["leverage"])

    async def listen_key(self) -> str:
        return str(await self.ask(self.client.futures_stream_get_listen_key()))

    async def listen_key_keep(self, key: str) -> None:
        await self.ask(self.client.futures_stream_keepalive(key))

    async def user_start(self) -> None:
        await self.listen(self.sockets.futures_user_socket(), self.hear_event)

    async def book_ticker(self, symbol: str, count: int) -> list[dict[str, str]]:
        socket = self.sockets.symbol_ticker_futures_socket(symbol)
        return [driver.top_facts(message) for message in await self.hear(socket, count)]

    async def mark_price(self, symbol: str, count: int) -> list[str]:
        socket = self.sockets.symbol_mark_price_socket(symbol)
        return [message["p"] for message in await self.hear(socket, count)]

    async def depth(self, symbol: str, limit: int) -> dict[str, list[list[str]]]:
        return driver.depth_facts(await self.ask(self.client.futures_order_book(symbol=symbol, limit=limit)))

    async def depth_stream(self, symbol: str, count: int) -> dict[str, Any]:
        heard = Heard()
        task = await self.listen(
            self.sockets.futures_multiplex_socket([f"{symbol.lower()}@depth@100ms"], category="public"), heard.hear
        )
        await heard.some(1)
        snapshot = await self.ask(self.client.futures_order_book(symbol=symbol, limit=1000))
        differences = await heard.until(lambda heard: driver.following(snapshot, heard) >= count)
        task.cancel()
        return driver.book_facts(snapshot, differences)

    async def ws_place(self, **order: Any) -> dict[str, Any]:
        return driver.order_facts(
            await self.ask(self.client.ws_futures_create_order(**driver.order_arguments(**order)))
        )

    async def ws_amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        change = {"symbol": symbol, "side": side, "quantity": qty, "price": price, "origClientOrderId": client_id}
        return driver.order_facts(await self.ask(self.client.ws_futures_edit_order(**change)))

    async def ws_cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        answer = self.client.ws_futures_cancel_order(symbol=symbol, origClientOrderId=client_id)
        return driver.order_facts(await self.ask(answer))

    async def ws_query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        answer = self.client.ws_futures_get_order(symbol=symbol, origClientOrderId=client_id)
        return driver.order_facts(await self.ask(answer))


async def open_client(place: Place) -> Mapping[str, Verb]:
    """Return the verbs of a client."""
    return driver.verbs_of(Client(place))


if __name__ == "__main__":
    driver.main(open_client)

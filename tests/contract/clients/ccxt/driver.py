"""ccxt's ``binanceusdm``: unified REST, ``watch_*`` streams and the ``*_ws`` methods of ccxt.pro."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ccxt.base.errors import BaseError
from ccxt.pro import binanceusdm

from tests.contract.clients import driver
from tests.contract.clients.driver import Place, Refused, UserVerbs, Verb

VENUE_WORDS = {"open": "NEW", "closed": "FILLED", "canceled": "CANCELED", "expired": "EXPIRED"}
"""ccxt's order states in the venue's words."""


def point_at(exchange: binanceusdm, place: Place) -> None:
    """Send everything that ccxt would send to the venue to the simulated one."""
    urls = exchange.urls["api"]
    for name, url in urls.items():
        if isinstance(url, str):
            urls[name] = re.sub(r"^https://[^/]+", place.http, url)
    urls["ws"]["linear"] = f"{place.ws}/ws"
    urls["ws"]["ws-api"]["linear"] = place.ws_api


def unified(symbol: str) -> str:
    """Return ccxt's name of a symbol."""
    base = symbol.removesuffix("USDT")
    return f"{base}/USDT:USDT"


def text(number: object) -> str:
    """Return a number of ccxt's; what the venue did not say is 0."""
    return str(number or 0)


def order_facts(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the suite compares of a unified order."""
    return {
        "client_id": order["clientOrderId"],
        "order_id": order["id"],
        "status": VENUE_WORDS[order["status"]],
        "side": order["side"].upper(),
        "price": text(order["price"]),
        "qty": text(order["amount"]),
        "filled": text(order["filled"]),
    }


def batch_facts(orders: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the answer to a batch; ccxt makes an order of a refusal too."""
    return [{"code": int(order["info"]["code"])} if "code" in order["info"] else order_facts(order) for order in orders]


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
    """Return a new order as ccxt's methods take it."""
    params = {"newClientOrderId": client_id}
    if kind == "LIMIT":
        params["timeInForce"] = tif
    return {
        "symbol": unified(symbol),
        "type": kind.lower(),
        "side": side.lower(),
        "amount": float(qty),
        "price": float(price) if price else None,
        "params": params | ({"reduceOnly": True} if reduce_only else {}),
    }


class Client(UserVerbs):
    """The verbs over one exchange object."""

    def __init__(self, exchange: binanceusdm) -> None:
        super().__init__()
        self.exchange = exchange
        self.watching: list[asyncio.Task[None]] = []

    async def ask(self, answer: Awaitable[Any]) -> Any:
        """Return an answer; ccxt's errors carry the venue's own words."""
        try:
            return await answer
        except BaseError as error:
            if found := re.search(r'"code":(-\d+)', str(error)):
                raise Refused(int(found.group(1)), str(error)) from error
            raise

    async def server_time(self) -> int:
        return int(await self.ask(self.exchange.fetch_time()))

    async def rules(self, symbol: str) -> dict[str, str]:
        market = (await self.ask(self.exchange.load_markets(True)))[unified(symbol)]
        return {"tick": text(market["precision"]["price"]), "step": text(market["precision"]["amount"])}

    async def place(self, **order: Any) -> dict[str, Any]:
        return order_facts(await self.ask(self.exchange.create_order(**order_arguments(**order))))

    async def amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        amended = self.exchange.edit_order(order_id, unified(symbol), "limit", side.lower(), float(qty), float(price))
        return order_facts(await self.ask(amended))

    async def cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return order_facts(await self.ask(self.exchange.cancel_order(order_id, unified(symbol))))

    async def cancel_all(self, symbol: str) -> None:
        await self.ask(self.exchange.cancel_all_orders(unified(symbol)))

    async def countdown(self, symbol: str, countdown_ms: int) -> None:
        request = {"symbol": symbol, "countdownTime": countdown_ms}
        await self.ask(self.exchange.fapiPrivatePostCountdownCancelAll(request))

    async def query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return order_facts(await self.ask(self.exchange.fetch_order(order_id, unified(symbol))))

    async def batch(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return batch_facts(await self.ask(self.exchange.create_orders([order_arguments(**order) for order in orders])))

    async def cancel_batch(self, symbol: str, order_ids: list[str]) -> list[dict[str, Any]]:
        return batch_facts(await self.ask(self.exchange.cancel_orders(order_ids, unified(symbol))))

    async def open_orders(self, symbol: str) -> list[dict[str, Any]]:
        return [order_facts(order) for order in await self.ask(self.exchange.fetch_open_orders(unified(symbol)))]

    async def positions(self) -> list[dict[str, str]]:
        signs = {"long": "", "short": "-"}
        return [
            {"symbol": each["info"]["symbol"], "qty": signs[each["side"]] + text(each["contracts"])}
            for each in await self.ask(self.exchange.fetch_positions())
            if each["contracts"]
        ]

    async def balances(self) -> dict[str, str]:
        answer = await self.ask(self.exchange.fetch_balance())
        (row,) = (row for row in answer["info"]["assets"] if row["asset"] == "USDT")
        return {"wallet": row["walletBalance"], "available": text(answer["USDT"]["free"])}

    async def trades(self, symbol: str) -> list[dict[str, str]]:
        return [
            {
                "trade_id": trade["id"],
                "order_id": trade["order"],
                "qty": text(trade["amount"]),
                "price": text(trade["price"]),
            }
            for trade in await self.ask(self.exchange.fetch_my_trades(unified(symbol)))
        ]

    async def leverage(self, symbol: str, leverage: int) -> int:
        return int((await self.ask(self.exchange.set_leverage(leverage, unified(symbol))))["leverage"])

    async def listen_key(self) -> str:
        return str((await self.ask(self.exchange.fapiPrivatePostListenKey()))["listenKey"])

    async def listen_key_keep(self, key: str) -> None:
        await self.ask(self.exchange.fapiPrivatePutListenKey({"listenKey": key}))

    async def user_start(self) -> None:
        ready = asyncio.Event()
        for watch in (self._watch_orders, self._watch_positions):
            self.watching.append(asyncio.create_task(watch(ready)))
        await asyncio.wait_for(ready.wait(), driver.WAIT_S)

    async def _watch_orders(self, ready: asyncio.Event) -> None:
        while True:
            for order in await self.exchange.watch_orders():
                facts = order_facts(order)
                del facts["side"]
                self.hear_order(**facts)

    async def _watch_positions(self, ready: asyncio.Event) -> None:
        """Watch positions; what comes first is a snapshot, and says that the stream is there."""
        while True:
            for each in await self.exchange.watch_positions():
                sign = "-" if each["side"] == "short" else ""
                self.hear_position(self.exchange.market(each["symbol"])["id"], sign + text(each["contracts"]))
            ready.set()

    async def book_ticker(self, symbol: str, count: int) -> list[dict[str, str]]:
        async def look() -> dict[str, str]:
            top = (await self.exchange.watch_bids_asks([unified(symbol)]))[unified(symbol)]
            return driver.top_facts(top["info"])

        return await self._times(count, look)

    async def mark_price(self, symbol: str, count: int) -> list[str]:
        async def look() -> str:
            return text((await self.exchange.watch_mark_price(unified(symbol)))["markPrice"])

        return await self._times(count, look)

    async def _times(self, count: int, look: Callable[[], Awaitable[Any]]) -> list[Any]:
        return [await asyncio.wait_for(look(), driver.WAIT_S) for _ in range(count)]

    async def depth(self, symbol: str, limit: int) -> dict[str, list[list[str]]]:
        return driver.depth_facts(await self.ask(self.exchange.fetch_order_book(unified(symbol), limit)))

    async def depth_stream(self, symbol: str, count: int) -> dict[str, Any]:
        async def look() -> dict[str, Any]:
            book = await self.exchange.watch_order_book(unified(symbol))
            return {"bid": text(book["bids"][0][0]), "ask": text(book["asks"][0][0])}

        looks = await self._times(count, look)
        return {"updates": len(looks), **looks[-1]}

    async def ws_place(self, **order: Any) -> dict[str, Any]:
        return order_facts(await self.ask(self.exchange.create_order_ws(**order_arguments(**order))))

    async def ws_amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        edit = self.exchange.edit_order_ws
        return order_facts(
            await self.ask(edit(order_id, unified(symbol), "limit", side.lower(), float(qty), float(price)))
        )

    async def ws_cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return order_facts(await self.ask(self.exchange.cancel_order_ws(order_id, unified(symbol))))

    async def ws_query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return order_facts(await self.ask(self.exchange.fetch_order_ws(order_id, unified(symbol))))


async def open_client(place: Place) -> Mapping[str, Verb]:
    """Return the verbs of an exchange object that knows its markets."""
    exchange = binanceusdm({"apiKey": place.key, "secret": place.secret, "options": {"fetchCurrencies": False}})
    exchange.has["fetchCurrencies"] = False
    point_at(exchange, place)
    await exchange.load_markets()
    return driver.verbs_of(Client(exchange))


if __name__ == "__main__":
    driver.main(open_client)

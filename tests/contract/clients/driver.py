"""The side of the contract suite that runs inside a client's own environment: one request per line in, one answer out.

A request is ``{"verb": ..., "args": {...}}``, an answer ``{"facts": ...}``, ``{"code": ..., "message": ...}`` where the
venue refused, or ``{"broke": ...}`` where client or driver failed. The first line out names the verbs there are.
Uses the standard library alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TextIO

WAIT_S = 30.0
"""Longest that a driver waits for stream messages, seconds."""

THIS_HOST = frozenset({None, "127.0.0.1", b"127.0.0.1", "localhost", "::1"})

Verb = Callable[..., Awaitable[Any]]


class Refused(Exception):
    """The venue said no, in its own code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Place:
    """Where the venue is, and the account, as the suite says by environment."""

    def __init__(self) -> None:
        self.authority = os.environ["CONTRACT_VENUE"]
        self.key = os.environ["CONTRACT_KEY"]
        self.secret = os.environ["CONTRACT_SECRET"]
        self.http = f"http://{self.authority}"
        self.ws = f"ws://{self.authority}"
        self.ws_api = f"ws://{self.authority}/ws-fapi/v1"


class Heard:
    """Messages of a stream, with a bounded wait until they say enough. ``hear`` works from any thread."""

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def hear(self, message: Any) -> None:
        """Keep a message."""
        self._messages.append(message)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """Return what was heard once it is enough, or what there is when the wait is over."""
        deadline = self._loop.time() + WAIT_S
        while not enough(self._messages) and self._loop.time() < deadline:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - self._loop.time())
            except asyncio.TimeoutError:  # noqa: UP041, the clients' environments may be older
                break
        return list(self._messages)

    async def some(self, count: int) -> list[Any]:
        """Return at least ``count`` messages, fewer when the wait is over."""
        return await self.until(lambda messages: len(messages) >= count)


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
    """Return a new order in the venue's own parameters."""
    order = {"symbol": symbol, "side": side, "type": kind, "quantity": qty, "newClientOrderId": client_id}
    if kind == "LIMIT":
        order |= {"price": price, "timeInForce": tif}
    return order | {"reduceOnly": "true"} if reduce_only else order


def order_facts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the suite compares of an order in the venue's own field names."""
    return {
        "client_id": raw["clientOrderId"],
        "order_id": str(raw["orderId"]),
        "status": raw["status"],
        "side": raw["side"],
        "price": str(raw["price"]),
        "qty": str(raw["origQty"]),
        "filled": str(raw["executedQty"]),
    }


def depth_facts(raw: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """Return the prices and quantities of a book, best first."""
    return {side: [[str(price), str(qty)] for price, qty, *_ in raw[side]] for side in ("bids", "asks")}


def top_facts(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return best prices and quantities of bookTicker."""
    return {"bid": str(raw["b"]), "bid_qty": str(raw["B"]), "ask": str(raw["a"]), "ask_qty": str(raw["A"])}


def rules_facts(raw: Mapping[str, Any], symbol: str) -> dict[str, str]:
    """Return tick and step of a symbol out of exchangeInfo."""
    (row,) = (row for row in raw["symbols"] if row["symbol"] == symbol)
    filters = {each["filterType"]: each for each in row["filters"]}
    return {"tick": filters["PRICE_FILTER"]["tickSize"], "step": filters["LOT_SIZE"]["stepSize"]}


def positions_facts(rows: list[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the positions that are not flat."""
    return [{"symbol": row["symbol"], "qty": row["positionAmt"]} for row in rows if float(row["positionAmt"])]


def balances_facts(rows: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the USDT of an account."""
    (row,) = (row for row in rows if row["asset"] == "USDT")
    return {"wallet": row["balance"], "available": row["availableBalance"]}


def trades_facts(rows: list[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the account's trades."""
    return [
        {"trade_id": str(row["id"]), "order_id": str(row["orderId"]), "qty": row["qty"], "price": row["price"]}
        for row in rows
    ]


class Book:
    """An order book kept by the venue's rules: a snapshot, then every difference in turn.

    Source: USDⓈ-M futures, how to manage a local order book correctly, 2026-05-28.
    """

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self.last = int(snapshot["lastUpdateId"])
        self.sides = {side: {float(price): str(price) for price, *_ in snapshot[side]} for side in ("bids", "asks")}
        self.applied = 0

    def apply(self, difference: Mapping[str, Any]) -> None:
        """Take a difference; raises ValueError where one before it is missing."""
        if not self.applied and int(difference["u"]) < self.last:
            return
        joins = int(difference["pu"]) == self.last if self.applied else int(difference["U"]) <= self.last
        if not joins:
            raise ValueError(f"book at {self.last}, difference {difference['U']} after {difference['pu']}")
        for side, name in (("bids", "b"), ("asks", "a")):
            for price, qty in difference[name]:
                if float(qty):
                    self.sides[side][float(price)] = price
                else:
                    self.sides[side].pop(float(price), None)
        self.last = int(difference["u"])
        self.applied += 1

    def facts(self) -> dict[str, Any]:
        """Return best prices, and how many differences made them."""
        bids, asks = self.sides["bids"], self.sides["asks"]
        return {"updates": self.applied, "bid": bids[max(bids)], "ask": asks[min(asks)]}


def following(snapshot: Mapping[str, Any], differences: list[Mapping[str, Any]]) -> int:
    """Return how many differences come after a snapshot."""
    return sum(int(difference["u"]) > int(snapshot["lastUpdateId"]) for difference in differences)


def book_facts(snapshot: Mapping[str, Any], differences: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the book after every difference that follows a snapshot."""
    book = Book(snapshot)
    for difference in differences:
        book.apply(difference)
    return book.facts()


def batch_facts(rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the answer to a batch: an order, or the code it was refused with, for each of its members."""
    return [{"code": row["code"]} if row.get("code") else order_facts(row) for row in rows]


class UserVerbs:
    """The verbs of the user stream; a client hears events into it, in the venue's form or already as facts."""

    def __init__(self) -> None:
        self._told = Heard()

    def hear_event(self, event: Mapping[str, Any]) -> None:
        """Take one event in the venue's own form; what the suite does not ask for is left out."""
        if event.get("e") == "ORDER_TRADE_UPDATE":
            order = event["o"]
            self.hear_order(order["c"], order["i"], order["X"], order["p"], order["q"], order["z"])
        elif event.get("e") == "ACCOUNT_UPDATE":
            for row in event["a"].get("P", ()):
                self.hear_position(row["s"], row["pa"])

    def hear_order(self, client_id: str, order_id: object, status: str, price: str, qty: str, filled: str) -> None:
        """Take what the stream said of an order."""
        facts = {"status": status, "price": price, "qty": qty, "filled": filled}
        self._told.hear({"told": "order", "client_id": client_id, "order_id": str(order_id), **facts})

    def hear_position(self, symbol: str, qty: str) -> None:
        """Take what the stream said of a position."""
        self._told.hear({"told": "position", "symbol": symbol, "qty": qty})

    async def user_order(self, client_id: str, status: str, price: str = "") -> dict[str, Any] | None:
        """Return the first word of an order in a state, None when the wait is over."""

        def wanted(told: Mapping[str, Any]) -> bool:
            same_price = not price or (told["told"] == "order" and float(told["price"]) == float(price))
            return (told.get("client_id"), told.get("status")) == (client_id, status) and same_price

        return await self._first(wanted)

    async def user_position(self, symbol: str, qty: str) -> dict[str, Any] | None:
        """Return the first word of a position of a size, None when the wait is over."""

        def wanted(told: Mapping[str, Any]) -> bool:
            return told.get("symbol") == symbol and float(told["qty"]) == float(qty)

        return await self._first(wanted)

    async def _first(self, wanted: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any] | None:
        told = await self._told.until(lambda told: any(wanted(each) for each in told))
        return next((each for each in told if wanted(each)), None)


VERBS = frozenset(
    {
        "server_time",
        "rules",
        "place",
        "amend",
        "cancel",
        "cancel_all",
        "countdown",
        "query",
        "batch",
        "cancel_batch",
        "open_orders",
        "positions",
        "balances",
        "trades",
        "leverage",
        "listen_key",
        "listen_key_keep",
        "user_start",
        "user_order",
        "user_position",
        "book_ticker",
        "mark_price",
        "depth",
        "depth_stream",
        "ws_place",
        "ws_amend",
        "ws_cancel",
        "ws_query",
    }
)
"""Everything that a driver may be asked for."""


def verbs_of(client: object) -> dict[str, Verb]:
    """Return the verbs that a client has methods for."""
    return {name: getattr(client, name) for name in VERBS if hasattr(client, name)}


async def _answer(verbs: Mapping[str, Verb], line: str) -> dict[str, Any]:
    request = json.loads(line)
    try:
        return {"facts": await verbs[request["verb"]](**request["args"])}
    except Refused as refusal:
        return {"code": refusal.code, "message": refusal.message}
    except Exception:
        return {"broke": traceback.format_exc()}


async def serve(verbs: Mapping[str, Verb], out: TextIO) -> None:
    """Answer requests until the input ends."""

    def say(answer: object) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    say({"verbs": sorted(verbs)})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        say(await _answer(verbs, line))


def stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse, as an audit hook, to look up or to reach any other host: a client points at its own venue by default."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in THIS_HOST:
        raise PermissionError(f"the client wants to reach {host}")


def main(open_client: Callable[[Place], Awaitable[Mapping[str, Verb]]]) -> None:
    """Run a driver. Whatever a client prints goes to stderr, so that stdout carries answers alone."""
    sys.addaudithook(stay_here)
    answers, sys.stdout = sys.stdout, sys.stderr

    async def run() -> None:
        await serve(await open_client(Place()), answers)

    asyncio.run(run())
    sys.stderr.flush()
    # Threads and sockets that a client leaves behind are none of the suite's business.
    os._exit(0)

"""Streams that the venue makes itself: depth at its paces, candles, tickers, all marks, forced orders."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from grinder.sim.market.synthetic import SyntheticConfig
from grinder.sim.wire.assembly import VenueConfig
from tests.sim_kit import GENEROUS, Client, client, receive

CONFIG = VenueConfig(limits=GENEROUS, synthetic=SyntheticConfig(updates_per_s=100.0, volatility_bps=20.0))


def run(case: Callable[[Client], Awaitable[None]], config: VenueConfig = CONFIG) -> None:
    async def main() -> None:
        async with client(config) as one:
            await case(one)

    asyncio.run(main())


def apply(book: dict[str, dict[str, str]], event: dict[str, Any]) -> None:
    for name, side in (("b", "bids"), ("a", "asks")):
        for price, qty in event[name]:
            book[side].pop(price, None)
            if float(qty):
                book[side][price] = qty


def kept(snapshot: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Return a local book made as the documentation says: what is older than the snapshot is dropped."""
    book = {name: dict(snapshot[name]) for name in ("bids", "asks")}
    for event in events:
        if event["u"] >= snapshot["lastUpdateId"]:
            apply(book, event)
    return book


def equal(book: dict[str, dict[str, str]], truth: dict[str, Any]) -> bool:
    """Tell whether a local book is the venue's own, as far as both have seen every level."""
    inner_bid = min(Decimal(truth["bids"][0][0]), max(map(Decimal, book["bids"])))
    inner_ask = max(Decimal(truth["asks"][0][0]), min(map(Decimal, book["asks"])))
    for mine, theirs in ((book, truth), (truth, book)):
        bids = {price: qty for price, qty in dict(mine["bids"]).items() if Decimal(price) < inner_bid}
        asks = {price: qty for price, qty in dict(mine["asks"]).items() if Decimal(price) > inner_ask}
        same = bids.items() <= dict(theirs["bids"]).items() and asks.items() <= dict(theirs["asks"]).items()
        if len(bids) <= 5 or not same:
            return False
    return True


@pytest.mark.parametrize("pace", ["", "@0ms", "@100ms", "@500ms"])
def test_depth_when_kept_by_the_venues_rules_at_any_pace_then_equals_its_own_book(pace: str) -> None:
    """Buffer, snapshot, check ``pu``; once the market stands still, what is still under way makes the books equal."""

    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}/public/ws/btcusdt@depth{pace}") as socket:
            events = [await receive(socket)]
            snapshot = await one.get("/fapi/v1/depth?symbol=BTCUSDT&limit=1000")
            events += [await receive(socket) for _ in range(4)]
            await one.post("/sim/tape", {"speed": 0})
            truth = await one.get("/fapi/v1/depth?symbol=BTCUSDT&limit=1000")
            while not equal(kept(snapshot, events), truth):
                events.append(await receive(socket))
        rest = [event for event in events if event["u"] >= snapshot["lastUpdateId"]]
        assert rest[0]["U"] <= snapshot["lastUpdateId"] + 1
        assert all(after["pu"] == before["u"] for before, after in pairwise(events))

    run(case)


@pytest.mark.parametrize("levels", [5, 20])
def test_partial_depth_when_sent_then_the_best_levels_in_order(levels: int) -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}/public/ws/btcusdt@depth{levels}@100ms") as socket:
            for _ in range(3):
                event = await receive(socket)
                bids, asks = ([Decimal(price) for price, _ in event[name]] for name in ("b", "a"))
                assert (len(bids), len(asks)) == (levels, levels)
                assert bids == sorted(bids, reverse=True)
                assert asks == sorted(asks)
                assert bids[0] < asks[0]

    run(case)


CLOCKED = {
    "btcusdt@kline_1m": "kline",
    "btcusdt@kline_1M": "kline",
    "btcusdt_perpetual@continuousKline_1h": "continuous_kline",
    "btcusdt@ticker": "24hrTicker",
    "btcusdt@miniTicker": "24hrMiniTicker",
    "!ticker@arr": "24hrTicker",
    "!miniTicker@arr": "24hrMiniTicker",
    "!markPrice@arr@1s": "markPriceUpdate",
    "!markPrice@arr": "markPriceUpdate",
    "btcusdt@markPrice": "markPriceUpdate",
}


def test_streams_when_they_go_by_the_clock_then_each_comes_in_its_form() -> None:
    async def case(one: Client) -> None:
        seen: dict[str, Any] = {}
        async with one.session.ws_connect(f"{one.ws}/market/stream?streams={'/'.join(CLOCKED)}") as socket:
            while set(seen) != set(CLOCKED):
                message = await receive(socket)
                # The last word of a minute's candle says that it is closed, the next one is of a new one.
                if not (isinstance(message["data"], dict) and message["data"].get("k", {}).get("x")):
                    seen.setdefault(message["stream"], message["data"])
        for stream, data in seen.items():
            rows: list[dict[str, Any]] = data if isinstance(data, list) else [data]
            assert {row["e"] for row in rows} == {CLOCKED[stream]}
            if "!" in stream:
                assert {row["s"] for row in rows} == {"BTCUSDT", "ETHUSDT"}
            if "k" in rows[0]:
                candle = rows[0]["k"]
                assert (candle["i"], candle["x"]) == (stream.rpartition("_")[2], False)
                assert float(candle["l"]) <= float(candle["c"]) <= float(candle["h"])

    run(case)


def test_rest_market_data_when_the_tape_played_then_agrees_with_the_streams() -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}/market/ws/btcusdt@aggTrade") as socket:
            trade = await receive(socket)
        rows = await one.get(f"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={trade['a']}&limit=1")
        assert {name: rows[0][name] for name in ("a", "p", "q", "m")} == {
            name: trade[name] for name in ("a", "p", "q", "m")
        }
        klines = await one.get("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=2")
        assert int(klines[-1][8]) > 0
        assert (await one.get("/fapi/v1/ticker/24hr?symbol=BTCUSDT"))["count"] >= klines[-1][8]

    run(case)


def test_position_when_liquidated_then_a_forced_order_is_told() -> None:
    config = VenueConfig(tape="step", hold=True, limits=GENEROUS)

    async def case(one: Client) -> None:
        top = {"symbol": "BTCUSDT", "bid": "60000.00", "bid_qty": "500", "ask": "60000.10", "ask_qty": "500"}
        await one.post("/sim/market", top)
        await one.signed("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=100)
        status, answer = await one.place(type="MARKET", timeInForce="", quantity="5")
        assert status == 200, answer
        streams = "btcusdt@forceOrder/!forceOrder@arr"
        async with one.session.ws_connect(f"{one.ws}/market/stream?streams={streams}") as socket:
            await one.post("/sim/market", top | {"bid": "58000.00", "ask": "58000.10", "mark": "58000.00"})
            for stream in streams.split("/"):
                message = await receive(socket)
                assert message["stream"] == stream
                order = message["data"]["o"]
                assert (message["data"]["e"], order["s"], order["S"]) == ("forceOrder", "BTCUSDT", "SELL")

    run(case, config)

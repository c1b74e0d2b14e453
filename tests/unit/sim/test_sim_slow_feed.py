"""Candle streams: what is sent when a candle changes, and that its last form is told."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from grinder.sim.exchange.events import PublicEvent
from grinder.sim.exchange.market_history import MINUTE_MS, PublicTrade
from grinder.sim.wire.context import Context
from grinder.sim.wire.hub import Hub, Route, Subscriber
from grinder.sim.wire.slow_feed import SlowFeed
from tests.fakes import FakeClock
from tests.sim_kit import Core

STREAM = "btcusdt@kline_1m"


class RecordingWire:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def write(self, frame: bytes) -> None:
        self.frames.append(frame)


def candles(wire: RecordingWire) -> list[tuple[str, int, bool]]:
    """Close, number of trades and whether it is closed, of every candle sent so far."""
    bodies = [msgspec.json.decode(frame[frame.index(b"{") :])["k"] for frame in wire.frames]
    wire.frames.clear()
    return [(body["c"], body["n"], body["x"]) for body in bodies]


def test_candle_when_it_changes_then_sent_and_when_it_ends_then_once_more_as_closed() -> None:
    core, clock = Core(), FakeClock()
    context = Context(core.venue, Hub(core.venue.listen_keys, core.venue.stream_faults), clock)
    feed, wire = SlowFeed(context), RecordingWire()
    sink: Any = wire
    context.hub.subscribe(Subscriber(sink, Route.MARKET, combined=False), STREAM)
    history = core.venue.history_of("BTCUSDT")
    feed.turn()
    assert candles(wire) == []
    at = (clock.utc_ms() // MINUTE_MS + 10) * MINUTE_MS
    history.on_trade(PublicTrade(1, "60000.0", "1", at, buyer_is_maker=False))
    feed.turn()
    feed.turn()
    assert candles(wire) == [("60000.0", 1, False)]
    history.on_trade(PublicTrade(2, "60001.0", "1", at, buyer_is_maker=False))
    history.on_trade(PublicTrade(3, "60002.0", "1", at + MINUTE_MS, buyer_is_maker=False))
    feed.turn()
    assert candles(wire) == [("60001.0", 2, True), ("60002.0", 1, False)]


def test_candle_stream_when_its_name_makes_no_sense_then_nothing_is_sent() -> None:
    core, clock = Core(), FakeClock()
    context = Context(core.venue, Hub(core.venue.listen_keys, core.venue.stream_faults), clock)
    feed, wire = SlowFeed(context), RecordingWire()
    sink: Any = wire
    subscriber = Subscriber(sink, Route.MARKET, combined=False)
    for stream in ("btcusdt@kline_7m", "nope@kline_1m", "@kline_", "kline_@_", "btcusdt@kline_1m_"):
        context.hub.subscribe(subscriber, stream)
    core.venue.history_of("BTCUSDT").on_trade(PublicTrade(1, "1", "1", 1_700_000_040_000, buyer_is_maker=False))
    feed.turn()
    assert wire.frames == []


def test_forced_orders_when_several_in_a_second_then_the_largest_of_each_symbol_is_told() -> None:
    core, wire = Core(), RecordingWire()
    hub = Hub(core.venue.listen_keys, core.venue.stream_faults)
    sink: Any = wire
    hub.subscribe(Subscriber(sink, Route.MARKET, combined=False), "!forceOrder@arr")
    rows = (("BTCUSDT", "2"), ("BTCUSDT", "10"), ("BTCUSDT", "9"), ("ETHUSDT", "1"))
    events = [PublicEvent(symbol, "forceOrder", {"o": {"s": symbol, "q": qty}}) for symbol, qty in rows]
    hub.flush_public(deque(events))
    assert wire.frames == []
    hub.send_forced()
    told = [msgspec.json.decode(frame[frame.index(b"{") :])["o"] for frame in wire.frames]
    assert told == [{"s": "BTCUSDT", "q": "10"}, {"s": "ETHUSDT", "q": "1"}]
    hub.send_forced()
    assert len(wire.frames) == 2

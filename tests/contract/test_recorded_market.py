"""The venue's own recorded frames through the codec, the book and the feed service."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from decimal import Decimal
from functools import cache
from itertools import pairwise

import msgspec
import pytest

from grinder.adapters.binance.codec_market import decode_market
from grinder.core.book import BookStep, OrderBook, Top
from grinder.model.market import BookTop, DepthDiff, DepthSnapshot, MarketEvent, MarkPrice, TradeTick
from grinder.services.feed import FeedConfig, FeedService
from tests.fakes import FakeBoard, FakeClock
from tests.market import RecordingLog, RecordingPublisher, RecordingTelemetry, recorded_payloads

BTC_20230405 = "usdm_btcusdt_20230405.dat.gz"
BTC_20240718 = "usdm_btcusdt_20240718.gz"
BTC_20240808 = "usdm_btcusdt_20240808.gz"
ETH_20240808 = "usdm_ethusdt_20240808.gz"
WITH_SNAPSHOT = [BTC_20240718, BTC_20240808, ETH_20240808]

NOW_MONO_NS, NOW_UTC_MS = FakeClock().mono_ns(), FakeClock().utc_ms()

FRAMES = {
    BTC_20230405: {BookTop: 37_440, TradeTick: 10_738, DepthDiff: 11_788, MarkPrice: 415},
    BTC_20240718: {BookTop: 7_113, TradeTick: 974, DepthDiff: 3_326, DepthSnapshot: 1},
    BTC_20240808: {BookTop: 66_089, TradeTick: 21_313, DepthDiff: 6_551, DepthSnapshot: 1},
    ETH_20240808: {BookTop: 53_992, TradeTick: 14_076, DepthDiff: 6_586, DepthSnapshot: 1},
}


@cache
def events_of(name: str) -> tuple[MarketEvent, ...]:
    events = [decode_market(payload, NOW_MONO_NS, NOW_UTC_MS) for payload in recorded_payloads(name)]
    return tuple(event for event in events if isinstance(event, MarketEvent))


def prices(top: BookTop | Top) -> tuple[object, ...]:
    return top.bid_price, top.bid_qty, top.ask_price, top.ask_qty


@pytest.mark.parametrize("name", FRAMES)
def test_codec_when_fed_a_recording_then_nothing_is_lost(name: str) -> None:
    assert Counter(type(event) for event in events_of(name)) == FRAMES[name]
    assert len(events_of(name)) == len(recorded_payloads(name))


def levels(wire: list[list[str]]) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple((Decimal(price), Decimal(qty)) for price, qty in wire)


def said_by(payload: bytes) -> tuple[object, ...]:
    """Return what a payload says, read by another decoder, field by field in the order of the model's value."""
    message = json.loads(payload)
    data = message.get("data", message)
    if "lastUpdateId" in data:
        return (data.get("symbol", ""), data["lastUpdateId"], levels(data["bids"]), levels(data["asks"]), data["E"])
    number = {key: Decimal(value) for key, value in data.items() if key in "bBaApqir" and isinstance(value, str)}
    match data["e"]:
        case "bookTicker":
            return (data["s"], number["b"], number["B"], number["a"], number["A"], data["u"], data["E"])
        case "markPriceUpdate":
            return (data["s"], number["p"], number["i"], number["r"], data["T"], data["E"])
        case "trade":
            return (data["s"], data["t"], number["p"], number["q"], data["m"], data["E"])
        case "depthUpdate":
            return (data["s"], data["U"], data["u"], data["pu"], levels(data["b"]), levels(data["a"]), data["E"])
    raise AssertionError(data)


@pytest.mark.parametrize("name", FRAMES)
def test_codec_when_fed_a_recording_then_every_value_is_what_another_reader_of_the_bytes_sees(name: str) -> None:
    compared = Counter[type]()
    for payload, event in zip(recorded_payloads(name), events_of(name), strict=True):
        said = said_by(payload)
        assert msgspec.structs.astuple(event)[: len(said)] == said
        compared[type(event)] += 1
    assert compared == FRAMES[name], "each frame of the file was compared"


@pytest.mark.parametrize("name", FRAMES)
def test_recording_when_followed_by_previous_update_id_then_no_gap(name: str) -> None:
    diffs = [event for event in events_of(name) if isinstance(event, DepthDiff)]
    assert all(after.previous_update_id == before.last_update_id for before, after in pairwise(diffs))


@pytest.mark.parametrize("name", WITH_SNAPSHOT)
def test_book_when_rebuilt_from_a_recording_then_equals_the_recorded_best_prices_in_every_comparison(name: str) -> None:
    tickers = {event.update_id: event for event in events_of(name) if isinstance(event, BookTop)}
    ids = sorted(tickers)
    book = OrderBook()
    at_the_same_id = as_of = 0
    for event in events_of(name):
        if isinstance(event, DepthDiff):
            step = book.apply_diff(event)
        elif isinstance(event, DepthSnapshot):
            step = book.apply_snapshot(event)
        else:
            continue
        assert step in (BookStep.APPLIED, BookStep.BUFFERED)
        top = book.top()
        if top is None:
            continue
        if top.update_id in tickers:
            at_the_same_id += 1
            assert prices(top) == prices(tickers[top.update_id])
        # The best prices hold until the next ticker, so every state of the book can be compared, not only those at
        # a ticker's own id.
        newest = bisect_right(ids, top.update_id) - 1
        if newest >= 0:
            as_of += 1
            assert prices(top) == prices(tickers[ids[newest]])
    assert as_of > 3_000
    assert at_the_same_id > 150
    assert book.live


class Rig:
    def __init__(self, symbol: str) -> None:
        self.clock = FakeClock()
        self.market = RecordingPublisher()
        self.telemetry = RecordingTelemetry()
        config = FeedConfig((symbol,), frozenset(), 5_000, False)
        self.service = FeedService(
            config,
            clock=self.clock,
            board=FakeBoard(),
            market=self.market,
            telemetry=self.telemetry,
            log=RecordingLog(),
            request_snapshot=lambda symbol: None,
        )
        self.service.on_start()


@pytest.mark.parametrize(("name", "symbol"), [(BTC_20240718, "BTCUSDT"), (ETH_20240808, "ETHUSDT")])
def test_feed_when_fed_a_recording_then_every_best_price_and_trade_goes_out_in_order(name: str, symbol: str) -> None:
    rig = Rig(symbol)
    for event in events_of(name):
        rig.service.on_market(event)
    expected = FRAMES[name]
    tops = rig.market.of(BookTop)
    assert len(tops) == expected[BookTop]
    assert len(rig.market.of(TradeTick)) == expected[TradeTick]
    ids = [top.update_id for top in tops if isinstance(top, BookTop)]
    assert ids == sorted(set(ids))
    assert rig.telemetry.counts["grinder_feed_book_compared_total",] > 50
    assert rig.telemetry.counts["grinder_feed_book_differs_total",] == 0


def test_feed_when_a_recording_has_no_best_price_stream_then_the_rebuilt_book_gives_it() -> None:
    rig = Rig("BTCUSDT")
    for event in events_of(BTC_20240718):
        if not isinstance(event, BookTop):
            rig.service.on_market(event)
    tops = [frame for frame in rig.market.of(BookTop) if isinstance(frame, BookTop)]
    tickers = {event.update_id: event for event in events_of(BTC_20240718) if isinstance(event, BookTop)}
    shared = [top for top in tops if top.update_id in tickers]
    assert len(tops) > 3_000
    assert len(shared) > 150
    assert all(prices(top) == prices(tickers[top.update_id]) for top in shared)


def test_feed_when_a_recording_comes_twice_and_out_of_order_then_each_event_goes_out_once() -> None:
    rig = Rig("BTCUSDT")
    events = [event for event in events_of(BTC_20240718) if isinstance(event, BookTop | TradeTick)]
    for early, late in zip(events[::2], events[1::2], strict=False):
        for event in (late, early, late, early):
            rig.service.on_market(event)
    out = [frame for frame in rig.market.of(BookTop) if isinstance(frame, BookTop)]
    assert [top.update_id for top in out] == sorted({top.update_id for top in out})
    trades = [frame.trade_id for frame in rig.market.of(TradeTick) if isinstance(frame, TradeTick)]
    assert trades == sorted(set(trades))
    dropped = rig.telemetry.counts
    assert dropped["grinder_feed_dropped_total", "duplicate"] > 1_000
    assert dropped["grinder_feed_dropped_total", "out_of_order"] > 1_000


@pytest.mark.parametrize("lost", [0, 1])
def test_feed_when_a_recorded_difference_is_missing_then_the_symbol_is_stale_and_the_gap_counted(lost: int) -> None:
    rig = Rig("BTCUSDT")
    diffs_seen = 0
    for event in events_of(BTC_20240718):
        diffs_seen += isinstance(event, DepthDiff)
        if not (lost and diffs_seen == 100 and isinstance(event, DepthDiff)):
            rig.service.on_market(event)
    rig.service.on_timer()
    assert rig.telemetry.counts["grinder_feed_book_rebuilds_total", "gap"] == lost
    assert rig.telemetry.gauges["grinder_feed_symbol_stale", "BTCUSDT"] == lost

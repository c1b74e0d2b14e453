from __future__ import annotations

from decimal import Decimal

from grinder.model.market import StreamKind
from grinder.model.reasons import DropReason
from tests.feed_world import STALE_MS, Rig
from tests.market import make_snapshot, make_top


def make_book() -> Rig:
    """BTCUSDT with a live book at update 10 and no best-price stream, ETHUSDT with best prices only."""
    rig = Rig()
    rig.top(1, "ETHUSDT")
    rig.diff(8, 10, 7)
    rig.service.on_market(make_snapshot(9, symbol=""))
    rig.diff(11, 12, 10, bids=(("100.5", "3"),))
    rig.tick()
    assert rig.health().stale_symbols == ()
    return rig


def test_book_when_no_best_price_stream_then_gives_the_best_prices() -> None:
    rig = make_book()
    assert rig.snapshots_wanted == ["BTCUSDT"]
    assert rig.tops() == [12]
    assert (rig.board.books["BTCUSDT"].bid_price, rig.board.books["BTCUSDT"].bid_qty) == (Decimal("100.5"), 3)


def test_book_when_a_gap_then_that_symbol_alone_is_stale_until_it_is_rebuilt() -> None:
    rig = make_book()
    rig.diff(20, 21, 19)
    rig.tick()
    assert rig.health().stale_symbols == ("BTCUSDT",)
    assert rig.snapshots_wanted == ["BTCUSDT", "BTCUSDT"]
    rig.diff(22, 23, 21)
    assert rig.tops() == [12]
    rig.service.on_market(make_snapshot(22))
    rig.clock.advance_ms(1)
    rig.tick()
    assert rig.health().stale_symbols == ()
    rig.diff(24, 24, 23)
    assert rig.tops() == [12, 24]
    assert rig.log.names()[-2:] == ["BOOK_LOST", "BOOK_REBUILT"]


def test_book_when_crossed_then_that_symbol_alone_is_stale_and_nothing_goes_out() -> None:
    rig = make_book()
    rig.diff(13, 14, 12, bids=(("101", "1"),))
    rig.tick()
    assert rig.tops() == [12]
    assert rig.health().stale_symbols == ("BTCUSDT",)
    assert rig.telemetry.counts["grinder_feed_book_rebuilds_total", "crossed"] == 1


def test_book_when_it_was_never_whole_then_best_prices_alone_are_enough() -> None:
    rig = Rig()
    rig.top(1)
    rig.top(1, "ETHUSDT")
    rig.diff(20, 21, 19)
    rig.service.on_market(make_snapshot(3))
    rig.tick()
    assert rig.health().stale_symbols == ()


def test_book_when_best_prices_come_too_then_they_lead_and_the_book_is_compared() -> None:
    rig = make_book()
    rig.service.on_market(make_top(13, bid="100.5", ask="101", mono_ns=rig.clock.mono_ns()))
    rig.diff(13, 13, 12, bids=(("100.5", "1"),))
    rig.diff(14, 14, 13, bids=(("100.6", "1"),))
    assert rig.tops() == [12, 13]
    assert rig.telemetry.counts["grinder_feed_book_compared_total",] == 1
    assert rig.telemetry.counts["grinder_feed_book_differs_total",] == 0
    rig.service.on_market(make_top(14, bid="100.5", ask="101", mono_ns=rig.clock.mono_ns()))
    assert rig.telemetry.counts["grinder_feed_book_differs_total",] == 1


def test_book_when_the_best_price_stream_falls_silent_then_the_book_stands_in() -> None:
    rig = make_book()
    rig.service.on_market(make_top(13, bid="100.5", ask="101", mono_ns=rig.clock.mono_ns()))
    rig.clock.advance_ms(STALE_MS + 1)
    rig.diff(13, 14, 12)
    rig.tick()
    assert rig.tops() == [12, 13, 14]
    assert rig.health().stale_streams == ("BTCUSDT@bookTicker", "ETHUSDT@bookTicker")
    assert rig.health().stale_symbols == ("ETHUSDT",)


def test_book_when_its_connection_is_lost_then_stale_until_rebuilt() -> None:
    rig = make_book()
    rig.service.on_disconnected((StreamKind.DEPTH,))
    rig.tick()
    assert rig.health().stale_symbols == ("BTCUSDT",)
    rig.diff(30, 31, 29)
    rig.service.on_market(make_snapshot(30))
    rig.diff(32, 32, 31)
    rig.clock.advance_ms(1)
    rig.tick()
    assert rig.health().stale_symbols == ()


def test_book_when_a_difference_comes_twice_then_dropped() -> None:
    rig = make_book()
    rig.diff(11, 12, 10)
    rig.diff(9, 10, 8)
    assert (rig.dropped(DropReason.DUPLICATE), rig.dropped(DropReason.OUT_OF_ORDER)) == (1, 1)


def test_book_when_a_side_is_empty_then_nothing_goes_out() -> None:
    rig = make_book()
    rig.diff(13, 13, 12, asks=(("101", "0"),))
    assert rig.tops() == [12]


def test_snapshot_when_it_could_be_anybodys_then_dropped() -> None:
    rig = Rig()
    rig.service.on_market(make_snapshot(9, symbol=""))
    assert rig.dropped(DropReason.UNKNOWN_SYMBOL) == 1


def test_snapshot_when_it_comes_before_any_difference_then_waits_for_one() -> None:
    rig = Rig()
    rig.service.on_market(make_snapshot(9))
    rig.diff(9, 12, 8)
    assert rig.tops() == [12]

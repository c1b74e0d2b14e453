from __future__ import annotations

from decimal import Decimal

from grinder.model.board import Word
from grinder.model.limits import BAD_PAYLOAD_WINDOW_S, BAD_PAYLOADS_MAX
from grinder.model.market import BookTop, MarkPrice, StreamHealth, TradeTick
from grinder.model.reasons import DropReason
from grinder.model.units import NS_PER_MS
from grinder.ports import MarketSink, Service
from grinder.services.feed import HEALTH_PERIOD_MS
from tests.feed_world import MARKET, PUBLIC, STALE_MS, Rig, make_live
from tests.market import make_diff, make_mark, make_snapshot, make_top, make_trade


def test_feed_when_built_then_it_is_a_service_and_a_sink() -> None:
    service: Service = Rig().service
    sink: MarketSink = Rig().service
    assert not service.stopped
    assert sink


def test_tick_when_accepted_then_on_the_bus_and_on_the_board() -> None:
    rig = Rig()
    rig.top(7)
    rig.mark()
    rig.service.on_market(make_trade(3))
    assert [type(frame) for frame in rig.market.frames[1:]] == [BookTop, MarkPrice, TradeTick]
    assert rig.board.books["BTCUSDT"].update_id == 7
    assert rig.board.marks["BTCUSDT"].mark_price == Decimal("100.05")
    assert set(rig.service.input_seen_mono_ns()) == {"bookTicker", "markPrice", "aggTrade"}


def test_ticks_when_ten_come_in_one_millisecond_for_two_symbols_then_all_are_delivered() -> None:
    rig = Rig()
    for number in range(1, 6):
        rig.top(number, "BTCUSDT")
        rig.top(number, "ETHUSDT")
    assert rig.tops("BTCUSDT") == rig.tops("ETHUSDT") == [1, 2, 3, 4, 5]


def test_ticks_when_repeated_or_late_then_dropped_and_counted_and_no_sign_of_life() -> None:
    rig = Rig()
    rig.top(5)
    rig.clock.advance_ms(STALE_MS - 1)
    rig.top(5)
    rig.top(4)
    assert rig.tops() == [5]
    assert (rig.dropped(DropReason.DUPLICATE), rig.dropped(DropReason.OUT_OF_ORDER)) == (1, 1)
    rig.clock.advance_ms(2)
    rig.tick()
    assert "BTCUSDT" in rig.health().stale_symbols


def test_marks_and_trades_when_repeated_then_dropped() -> None:
    rig = Rig()
    for _ in range(2):
        rig.mark()
        rig.service.on_market(make_trade(3))
    assert len(rig.market.of(MarkPrice)) == len(rig.market.of(TradeTick)) == 1
    assert rig.dropped(DropReason.DUPLICATE) == 2


def test_ticks_when_the_venue_counts_anew_on_a_new_connection_then_accepted() -> None:
    rig = make_live()
    rig.top(900)
    rig.service.on_disconnected(PUBLIC)
    rig.service.on_connected(PUBLIC)
    rig.top(2)
    assert rig.tops() == [1, 900, 2]


def test_ticks_when_the_wall_clock_steps_back_then_accepted() -> None:
    rig = Rig()
    rig.top(1)
    rig.clock._utc_ms -= 3_600_000
    rig.top(2)
    assert rig.tops() == [1, 2]


def test_symbol_when_unknown_then_counted_and_logged_once() -> None:
    rig = Rig()
    for number in range(3):
        rig.top(number, "DOGEUSDT")
    rig.service.on_market(make_mark(1, symbol="DOGEUSDT"))
    rig.service.on_market(make_trade(1, symbol="DOGEUSDT"))
    rig.service.on_market(make_diff(1, 2, 0, symbol="DOGEUSDT"))
    rig.service.on_market(make_snapshot(1, symbol="DOGEUSDT"))
    assert rig.dropped(DropReason.UNKNOWN_SYMBOL) == 7
    assert rig.log.names().count("MARKET_UNKNOWN_SYMBOL") == 1
    assert not rig.tops("DOGEUSDT")


def test_health_when_nothing_comes_then_repeated_and_stale_by_the_timer_alone() -> None:
    rig = make_live()
    sent = len(rig.market.of(StreamHealth))
    for _ in range(STALE_MS // 50):
        rig.clock.advance_ms(50)
        rig.tick()
    assert len(rig.market.of(StreamHealth)) - sent == STALE_MS // HEALTH_PERIOD_MS
    assert rig.health().stale_symbols == ()
    rig.clock.advance_ms(50)
    rig.tick()
    assert rig.health().stale_symbols == ("BTCUSDT", "ETHUSDT")
    assert rig.service.readiness() == "market_stale"
    assert rig.telemetry.gauges["grinder_feed_symbol_stale", "ETHUSDT"] == 1
    assert rig.telemetry.counts["grinder_data_stale_total", "bookTicker"] == 2


def test_health_when_one_symbol_is_quiet_then_it_alone_is_stale() -> None:
    rig = make_live()
    for number in range(2, 120):
        rig.clock.advance_ms(50)
        rig.top(number)
        rig.mark()
        rig.tick()
    assert rig.health().stale_symbols == ("ETHUSDT",)
    assert rig.health().stale_streams == ("ETHUSDT@bookTicker", "ETHUSDT@markPrice")
    assert rig.service.readiness() == ""


def test_health_when_the_mark_price_alone_is_silent_then_the_symbol_is_stale() -> None:
    rig = make_live()
    for number in range(2, 120):
        rig.clock.advance_ms(50)
        rig.top(number)
    rig.tick()
    assert "BTCUSDT" in rig.health().stale_symbols
    assert "BTCUSDT@markPrice" in rig.health().stale_streams


def test_health_when_a_symbol_recovers_then_said_at_the_next_timer() -> None:
    rig = make_live()
    rig.clock.advance_ms(STALE_MS + 1)
    rig.tick()
    rig.top(2)
    rig.mark()
    rig.clock.advance_ms(1)
    rig.tick()
    assert rig.health().stale_symbols == ("ETHUSDT",)


def test_health_when_a_connection_is_down_then_not_connected_and_not_ready() -> None:
    rig = make_live()
    rig.service.on_disconnected(MARKET)
    rig.clock.advance_ms(HEALTH_PERIOD_MS)
    rig.tick()
    assert not rig.health().connected
    assert rig.service.readiness() == "market_disconnected"
    assert rig.telemetry.gauges["grinder_ws_connected", "markPrice"] == 0
    assert rig.telemetry.gauges["grinder_ws_connected", "bookTicker"] == 1


def test_reconnect_when_told_then_counted_per_stream_and_reason() -> None:
    rig = Rig()
    rig.service.on_reconnect(MARKET, "silent")
    assert rig.telemetry.counts["grinder_ws_reconnect_total", "markPrice", "silent"] == 1
    assert rig.telemetry.counts["grinder_ws_reconnect_total", "aggTrade", "silent"] == 1


def test_event_when_old_on_arrival_then_published_but_not_fresh() -> None:
    rig = make_live()
    rig.clock.advance_ms(STALE_MS + 1)
    rig.top(2, lag_ms=STALE_MS + 1)
    rig.tick()
    assert rig.tops() == [1, 2]
    assert "BTCUSDT" in rig.health().stale_symbols
    assert rig.telemetry.counts["grinder_feed_late_total", "bookTicker"] == 1


def test_event_when_only_the_clocks_differ_then_the_known_offset_makes_it_fresh() -> None:
    rig = make_live()
    rig.board.write(Word.VENUE_CLOCK_OFFSET_US, -(STALE_MS + 1_000) * 1_000)
    rig.board.write(Word.VENUE_CLOCK_CHECKED_MONO_NS, 1)
    rig.tick()
    rig.top(2, lag_ms=STALE_MS + 1_000)
    assert rig.telemetry.counts["grinder_feed_late_total", "bookTicker"] == 0
    assert rig.telemetry.observed["grinder_feed_latency_seconds", "bookTicker"][-1] == 0


def test_event_when_its_time_is_of_another_year_then_its_lag_is_not_judged() -> None:
    rig = make_live()
    judged = len(rig.telemetry.observed["grinder_feed_latency_seconds", "bookTicker"])
    rig.top(2, lag_ms=2 * 365 * 86_400_000)
    assert len(rig.telemetry.observed["grinder_feed_latency_seconds", "bookTicker"]) == judged
    assert rig.telemetry.counts["grinder_feed_late_total", "bookTicker"] == 0


def test_bad_payloads_when_repeated_then_not_ready_until_they_stop() -> None:
    rig = make_live()
    for _ in range(BAD_PAYLOADS_MAX):
        rig.service.on_bad_payload(DropReason.TRUNCATED)
    assert rig.service.readiness() == ""
    rig.service.on_bad_payload(DropReason.NOT_FINITE)
    rig.tick()
    assert rig.service.readiness() == "bad_payloads"
    assert rig.telemetry.gauges["grinder_feed_bad_payloads",] == 1
    assert rig.dropped(DropReason.TRUNCATED) == BAD_PAYLOADS_MAX
    rig.clock.advance_ms(BAD_PAYLOAD_WINDOW_S * 1_000 + 1)
    rig.tick()
    assert rig.telemetry.gauges["grinder_feed_bad_payloads",] == 0


def test_ended_when_the_fixture_is_over_then_said_and_the_symbols_go_stale_by_themselves() -> None:
    rig = Rig()
    rig.top(1)
    rig.top(1, "ETHUSDT")
    rig.tick()
    rig.service.on_ended()
    assert rig.health().ended
    assert rig.health().stale_symbols == ()
    rig.clock.advance_ms(STALE_MS + 1)
    rig.tick()
    assert rig.health().ended
    assert rig.health().stale_symbols == ("BTCUSDT", "ETHUSDT")


def test_stop_when_asked_then_stopped_at_once() -> None:
    rig = Rig()
    rig.service.on_stop()
    assert rig.service.stopped


def test_last_tick_when_time_goes_on_then_its_wall_time_stays() -> None:
    rig = make_live()
    rig.top(2)
    received_utc_ms = rig.clock.utc_ms()
    rig.clock.advance_ms(3 * HEALTH_PERIOD_MS)
    rig.tick()
    assert rig.telemetry.gauges["grinder_last_tick_ts", "bookTicker"] == received_utc_ms


def test_handle_time_when_a_tick_goes_out_then_measured_from_its_receipt() -> None:
    rig = Rig()
    top = make_top(1, mono_ns=rig.clock.mono_ns() - 3 * NS_PER_MS)
    rig.service.on_market(top)
    assert rig.telemetry.observed["grinder_feed_handle_seconds",] == [0.003]

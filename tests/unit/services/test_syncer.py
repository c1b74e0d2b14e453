"""The syncer: whole snapshots only, the stream in between, mismatches, the venue's clock, and what is off when off."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest

from grinder.model.account import AccountState, Instruments, SyncError
from grinder.model.board import Word
from grinder.model.orders import Fill, OrderKind, OrdersSnapshot, OrderState, OrderUpdate, Side, TimeInForce
from grinder.model.reasons import MismatchRule
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import (
    AccountEvent,
    ConfigChanged,
    MarginCall,
    OrderType,
    PlaceOrder,
    QueryBalance,
    QueryOpenOrders,
    QueryPositionMode,
    QueryPositions,
    UserStreamUp,
)
from grinder.model.venue_account import QueryAccountConfig
from tests.account_world import order_id
from tests.engine_world import instrument
from tests.fake_venue import SYMBOL, FakeVenue, Outcome, position
from tests.fakes import FakeClock
from tests.syncer_world import SyncerWorld

D = Decimal


def test_account_when_every_part_was_read_then_published_and_ready() -> None:
    world = SyncerWorld(qty="2")
    assert world.service.readiness()
    world.run(300)
    assert world.service.readiness() == ""
    state = world.account()
    assert (state.positions[0].qty, state.reconciled, state.hedge_mode) == (D(2), True, False)
    assert state.snapshot_mono_ns < world.clock.mono_ns()
    assert world.publisher.of(Instruments)


@pytest.mark.parametrize("part", [QueryPositions, QueryOpenOrders, QueryBalance])
def test_account_when_a_part_cannot_be_read_then_nothing_is_published_and_it_is_counted(part: type) -> None:
    world = SyncerWorld(failing=part)
    world.run(7_000)
    assert not world.publisher.of(AccountState)
    assert world.publisher.of(SyncError)
    assert world.telemetry.counts["grinder_account_sync_errors_total", "in_doubt"] >= 2


def test_account_when_a_position_comes_without_its_time_then_what_the_stream_told_is_not_taken_for_newer() -> None:
    world = SyncerWorld(qty="2")
    world.run(300)
    world.venue.position_times = False
    world.venue.positions[SYMBOL] = D(5)
    world.run(16_000)
    assert world.account().positions[0].qty == D(2)
    assert world.service.readiness() == "account snapshot is old"
    assert world.telemetry.counts["grinder_account_sync_errors_total", "no_time"] >= 2
    world.venue.position_times = True
    world.run(2_500)
    assert (world.account().positions[0].qty, world.service.readiness()) == (D(5), "")


def test_account_when_queries_begin_to_fail_then_never_flat_and_not_ready_when_old() -> None:
    world = SyncerWorld(qty="2")
    world.run(300)
    world.venue.outcomes[QueryPositions] = [Outcome.LOST_BEFORE] * 100
    world.run(16_000)
    assert world.account().positions[0].qty == D(2)
    assert world.service.readiness() == "account snapshot is old"


def test_account_when_an_answer_never_comes_then_it_is_asked_for_again() -> None:
    world = SyncerWorld()
    on_reply, reply = world.venue.replies.pop(world.venue.requests.index(QueryPositions()))
    world.run(9_000)
    assert not world.publisher.of(AccountState)
    world.run(4_000)
    assert world.account().reconciled
    on_reply(reply)
    assert world.telemetry.counts["grinder_account_sync_errors_total", "no_answer"] == 1


def test_stream_when_a_position_changes_then_published_at_once() -> None:
    world = SyncerWorld()
    world.run(300)
    changed = position(SYMBOL, D(3), world.clock.utc_ms())
    world.service.on_user_event(AccountEvent("ORDER", D(9_990), (changed,), world.clock.utc_ms()))
    assert world.account().positions[0].qty == D(3)
    assert world.account().balance.wallet_balance == D(9_990)


def test_stream_when_it_is_up_again_then_a_snapshot_is_asked_for_at_once() -> None:
    world = SyncerWorld()
    world.run(300)
    asked = len(world.venue.sent(QueryPositions))
    world.service.on_user_event(UserStreamUp())
    world.run(50)
    assert len(world.venue.sent(QueryPositions)) == asked + 1


def test_orders_when_one_of_ours_is_not_known_then_orphan_and_no_new_risk() -> None:
    world = SyncerWorld()
    name = order_id(1)
    world.venue.rest(PlaceOrder(name, SYMBOL, Side.BUY, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, False))
    world.run(4_000)
    assert world.account().reconciled
    world.run(6_000)
    assert world.mismatches() == [MismatchRule.ORPHAN_ORDER]
    assert not world.account().reconciled
    assert world.telemetry.counts["grinder_account_sync_mismatches_total", "orphan_order"] == 1
    world.venue.end(name)
    world.run(3_000)
    assert world.account().reconciled


def test_orders_when_the_whole_list_weighs_much_then_swept_now_and_then_and_kept_in_between() -> None:
    world = SyncerWorld()
    world.venue.rest(PlaceOrder("by-hand", "XRPUSDT", Side.BUY, OrderType.LIMIT, D(1), D(7), TimeInForce.GTC, False))
    world.run(29_000)
    assert world.account().open_orders_count == 0
    world.run(3_000)
    assert (world.account().open_orders_count, world.account().pending_notional) == (1, D(7))
    world.run(3_000)
    assert world.account().open_orders_count == 1
    asked = [request.symbol for request in world.venue.sent(QueryOpenOrders) if isinstance(request, QueryOpenOrders)]
    assert asked.count("") == 2
    assert asked.count(SYMBOL) >= 14


def test_snapshots_when_the_venues_weight_runs_short_then_they_come_seldom_and_it_is_told() -> None:
    world = SyncerWorld()
    world.run(10_000)
    asked = len(world.venue.sent(QueryPositions))
    assert asked >= 5
    world.weight_used = 0.6
    world.run(30_000)
    assert len(world.venue.sent(QueryPositions)) == asked + 3
    assert world.telemetry.gauges["grinder_account_sync_stretched",] == 1.0
    assert world.telemetry.gauges["grinder_venue_weight_used_ratio",] == 0.6
    assert world.service.readiness() == ""
    world.weight_used = 0.59
    world.run(10_000)
    assert len(world.venue.sent(QueryPositions)) >= asked + 8
    assert world.telemetry.gauges["grinder_account_sync_stretched",] == 0.0
    told = [(name, fields["every_ms"]) for name, fields in world.log.events if "SYNC" in name]
    assert told == [("ACCOUNT_SYNC_STRETCHED", 10_000), ("ACCOUNT_SYNC_AT_PACE", 2_000)]


def test_snapshots_when_the_weight_runs_short_before_the_first_then_one_is_read_at_once() -> None:
    world = SyncerWorld(weight_used=0.8)
    world.run(300)
    assert world.service.readiness() == ""
    world.service.on_user_event(UserStreamUp())
    world.run(300)
    assert len(world.venue.sent(QueryPositions)) == 1


def test_position_mode_when_it_cannot_be_read_and_the_weight_runs_short_then_asked_for_seldom() -> None:
    world = SyncerWorld(weight_used=0.8, failing=QueryPositionMode)
    world.run(21_000)
    assert len(world.venue.sent(QueryPositionMode)) == 3


def test_orders_when_one_is_missing_at_the_venue_then_told() -> None:
    world = SyncerWorld()
    live = OrderUpdate(order_id(1), SYMBOL, Side.BUY, OrderKind.GRID, OrderState.OPEN, D(99), D(1), ZERO, False, "", 0)
    world.run(12_000, OrdersSnapshot((live,), 0, 0, True, "", 0))
    assert world.mismatches() == [MismatchRule.ORDER_MISSING_AT_VENUE]


def test_positions_when_nobody_filled_them_then_told_and_taken_over_in_the_end() -> None:
    world = SyncerWorld()
    world.run(3_000)
    world.venue.positions[SYMBOL] = D(1)
    world.run(8_000)
    assert world.mismatches() == [MismatchRule.POSITION_DIFFERS_FROM_FILLS]
    assert not world.account().reconciled
    world.run(15_000)
    assert world.account().reconciled


def test_positions_when_our_fills_made_them_then_nothing() -> None:
    world = SyncerWorld()
    world.run(3_000)
    world.venue.positions[SYMBOL] = D(1)
    world.tell("1")
    fill = Fill("a", SYMBOL, Side.BUY, OrderKind.GRID, 1, D(99), D(1), ZERO, ZERO, True, world.clock.utc_ms())
    world.run(50, fill)
    world.run(12_000)
    assert world.mismatches() == []


def test_positions_when_a_fill_from_before_the_start_is_told_late_then_no_false_alarm() -> None:
    world = SyncerWorld(qty="50")
    traded_utc_ms = world.clock.utc_ms()
    world.run(3_000)
    late = Fill("a", SYMBOL, Side.BUY, OrderKind.GRID, -1, D(99), D(50), ZERO, ZERO, False, traded_utc_ms)
    world.run(50, late)
    world.run(12_000)
    assert world.mismatches() == []
    assert world.account().reconciled


def test_positions_when_frames_were_lost_then_no_false_alarm() -> None:
    world = SyncerWorld()
    world.run(3_000)
    world.venue.positions[SYMBOL] = D(1)
    world.tell("1")
    world.service.on_gap("orders", 3)
    world.run(12_000)
    assert world.mismatches() == []


def test_clock_when_measured_then_on_the_board_with_its_error() -> None:
    world = SyncerWorld()
    world.run(1_500)
    assert world.board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS) > 0
    assert abs(world.board.read(Word.VENUE_CLOCK_OFFSET_US)) <= world.board.read(Word.VENUE_CLOCK_ERROR_US) + 50_000
    checked = world.board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS)
    world.run(6_000)
    assert world.board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS) >= checked + 4_000 * NS_PER_MS


def test_off_when_account_sync_is_not_enabled_then_rules_and_clock_but_never_an_account() -> None:
    world = SyncerWorld(enabled=False)
    world.service.on_user_event(AccountEvent("ORDER", D(1), (), 1))
    world.run(5_000)
    assert world.publisher.of(Instruments)
    assert world.board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS) > 0
    assert not world.publisher.of(AccountState)
    assert not world.venue.sent(QueryPositions)
    assert world.service.readiness() == ""


def test_evidence_when_enabled_then_six_files_that_agree() -> None:
    world = SyncerWorld(evidence=True, qty="2.50")
    world.run(300)
    names = {name.rpartition("/")[2] for name in world.evidence.files}
    assert names == {
        "account_snapshot.json",
        "positions.json",
        "open_orders.json",
        "mismatches.json",
        "summary.txt",
        "sha256sums.txt",
    }
    (folder,) = {name.rpartition("/")[0] for name in world.evidence.files}
    assert folder.startswith("account_sync/2027")
    account = json.loads(world.evidence.files[f"{folder}/account_snapshot.json"])
    assert account["positions"][0]["qty"] == "2.50"
    assert account["source"] == "exchange"
    assert len(world.evidence.files[f"{folder}/sha256sums.txt"].splitlines()) == 5


def test_evidence_when_the_mismatches_change_then_written_again_and_not_with_every_snapshot() -> None:
    world = SyncerWorld(evidence=True)
    world.run(300)
    first = len(world.evidence.files)
    world.run(10_000)
    assert len(world.evidence.files) == first
    world.venue.rest(PlaceOrder("by-hand", SYMBOL, Side.BUY, OrderType.LIMIT, D(99), D(1), TimeInForce.GTC, False))
    world.run(12_000)
    assert world.mismatches() == [MismatchRule.VENUE_ORDER_UNKNOWN]
    assert len(world.evidence.files) == 2 * first
    assert "by-hand" in [text for name, text in world.evidence.files.items() if "mismatches" in name][-1]
    world.venue.end("by-hand")
    world.run(3_000)
    assert len(world.evidence.files) == 3 * first


def test_stop_when_asked_then_at_once() -> None:
    world = SyncerWorld()
    world.service.on_stop()
    assert world.service.stopped


def test_rules_when_the_margin_of_a_symbol_is_in_another_asset_then_it_is_left_out_with_a_reason() -> None:
    def other_margin(clock: FakeClock) -> FakeVenue:
        venue = FakeVenue(clock)
        venue.instruments = (msgspec.structs.replace(instrument(SYMBOL), margin_asset="USDC"),)
        return venue

    world = SyncerWorld(venue=other_margin)
    world.run(300)
    (frame,) = world.publisher.of(Instruments)[-1:]
    assert isinstance(frame, Instruments)
    assert frame.instruments == ()
    assert "SYMBOL_REFUSED" in world.log.names()


def test_stream_when_the_venue_warns_or_somebody_changes_the_account_then_counted_and_asked_about() -> None:
    world = SyncerWorld()
    world.run(5_000)
    positions, configs = len(world.venue.sent(QueryPositions)), len(world.venue.sent(QueryAccountConfig))
    world.service.on_user_event(MarginCall((SYMBOL,)))
    world.service.on_user_event(ConfigChanged(""))
    world.run(50)
    assert world.telemetry.counts["grinder_account_sync_margin_calls_total",] == 1
    assert len(world.venue.sent(QueryPositions)) == positions + 1
    assert len(world.venue.sent(QueryAccountConfig)) == configs + 1
    assert "USER_STREAM_DOWN" not in world.log.names()

"""The executor from start to stop: recovery, adoption, checkpoint, dead-man's switch, orderly stop."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, FsmState, TripReason
from grinder.model.orders import OrdersSnapshot, OrderState, ResyncOrders, Side, TimeInForce
from grinder.model.reasons import DenyReason
from grinder.model.units import ZERO
from grinder.model.venue import (
    Advice,
    ArmCountdown,
    CancelOrder,
    OrderType,
    PlaceOrder,
    QueryOpenOrders,
    Rejected,
    UserStreamDown,
    UserStreamUp,
)
from tests.account_world import ExecutorWorld, MemoryJournal, limits, order_id
from tests.fake_venue import SYMBOL, FakeVenue, Outcome
from tests.fakes import FakeClock

D = Decimal


def snapshot(world: ExecutorWorld) -> OrdersSnapshot:
    last = world.publisher.of(OrdersSnapshot)[-1]
    assert isinstance(last, OrdersSnapshot)
    return last


def test_restart_when_killed_then_every_order_is_settled_and_budget_kept() -> None:
    journal = MemoryJournal()
    before = ExecutorWorld(journal=journal, rules=limits(max_orders_per_run=3))
    kept, filled = before.place(1), before.place(2)
    before.run(50)
    before.venue.trade(filled, D("0.3"))
    before.run(50)
    lost = before.place(3)
    before.venue.orders.pop(lost)
    before.venue.trade(filled, D("0.7"))
    before.venue.events.clear()
    before.venue.replies.clear()
    after = ExecutorWorld(venue=before.venue, journal=journal, ready=False, rules=limits(max_orders_per_run=3))
    assert after.service.readiness()
    after.make_ready()
    assert after.state(kept) is OrderState.OPEN
    after.run(12_000)
    assert after.state(filled) is OrderState.FILLED
    assert after.filled(filled) == D("0.7")
    assert after.state(lost) is OrderState.REJECTED
    denied = after.place(4)
    assert after.updates(denied)[-1].reason == DenyReason.MAX_ORDERS_PER_RUN
    assert not after.service.readiness()


def test_restart_when_the_journal_is_lost_then_our_orders_are_adopted_and_foreign_ones_left_alone() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    by_hand = PlaceOrder("by-hand", SYMBOL, Side.SELL, OrderType.LIMIT, D(105), D(1), TimeInForce.GTC, False)
    world.venue.rest(by_hand)
    after = ExecutorWorld(venue=world.venue)
    after.run(1_100)
    assert [order.client_order_id for order in snapshot(after).orders] == [name]
    after.service.on_stop()
    after.run(2_000)
    assert after.service.stopped
    assert [order.request.client_order_id for order in after.venue.open_orders()] == ["by-hand"]


def test_start_when_a_newer_term_rests_there_then_no_new_risk() -> None:
    venue = FakeVenue(FakeClock())
    name = order_id(1, term=4)
    venue.rest(PlaceOrder(name, SYMBOL, Side.BUY, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, False))
    world = ExecutorWorld(venue=venue)
    denied = world.place(2)
    assert world.updates(denied)[-1].reason == DenyReason.NOT_RECONCILED


def test_start_when_the_account_is_in_hedge_mode_then_no_new_risk() -> None:
    venue = FakeVenue(FakeClock())
    venue.hedge_mode = True
    world = ExecutorWorld(venue=venue)
    denied = world.place(1)
    assert world.updates(denied)[-1].reason == DenyReason.NOT_RECONCILED
    assert "hedge" in world.service.readiness()


def test_stop_when_orders_rest_then_none_is_left_and_the_switch_is_let_down() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.place(2)
    world.run(100)
    assert world.venue.countdowns == {SYMBOL: 120_000}
    world.service.on_stop()
    refused = world.place(3)
    assert world.updates(refused)[-1].reason == DenyReason.STOPPING
    world.run(2_000)
    assert world.service.stopped
    assert not world.venue.open_orders()
    assert world.venue.countdowns == {SYMBOL: 0}


@pytest.mark.parametrize("outcome", [Outcome.LOST_AFTER, Outcome.LOST_BEFORE])
def test_stop_when_a_cancel_is_lost_then_tried_until_none_is_left(outcome: Outcome) -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(100)
    world.venue.outcomes[CancelOrder].append(outcome)
    world.service.on_stop()
    world.run(5_000)
    assert world.service.stopped
    assert not world.venue.open_orders()


def test_stop_when_nothing_can_be_proved_then_bounded_and_the_switch_stays_up() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(100)
    world.venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE] * 1_000
    world.venue.outcomes[QueryOpenOrders] = [Outcome.LOST_BEFORE] * 1_000
    world.service.on_stop()
    world.run(16_000)
    assert world.service.stopped
    assert world.venue.countdowns == {SYMBOL: 120_000}
    assert world.telemetry.counts["grinder_executor_unclean_stops_total",] == 1


def test_switch_when_orders_rest_then_renewed_every_30_s_and_a_failure_counted() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(31_000)
    assert len(world.venue.sent(ArmCountdown)) == 2
    world.venue.outcomes[ArmCountdown].append(Outcome.LOST_BEFORE)
    world.run(36_000)
    assert world.telemetry.counts["grinder_dead_man_failures_total",] == 1
    assert world.venue.countdowns == {SYMBOL: 120_000}


def test_snapshot_when_asked_for_then_it_says_how_far_intents_were_read() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.send(ResyncOrders(0))
    last = snapshot(world)
    assert (last.intents_incarnation, last.intents_seq) == (7, world.sequence)
    assert [order.client_order_id for order in last.orders] == [name]


def test_place_when_from_an_older_fsm_then_denied() -> None:
    world = ExecutorWorld()
    world.send(ResyncOrders(0), incarnation=8)
    denied = world.place(1, incarnation=7)
    assert world.updates(denied)[-1].reason == DenyReason.STALE_TERM


def test_read_only_when_it_runs_then_nothing_is_ever_sent() -> None:
    world = ExecutorWorld(sends=False)
    world.board.write(Word.FSM_STATE, list(FsmState).index(FsmState.EMERGENCY) + 1)
    world.run(2_000)
    world.service.on_stop()
    world.run(100)
    assert world.service.stopped
    assert not world.venue.requests


def test_checkpoint_when_wanted_then_a_later_start_knows_the_same() -> None:
    world = ExecutorWorld()
    name, gone = world.place(1), world.place(2)
    world.run(50)
    world.venue.trade(name, D("0.4"))
    world.cancel(gone)
    world.run(50)
    world.journal.wants_checkpoint = True
    world.run(1_100)
    assert not world.journal.wants_checkpoint
    after = ExecutorWorld(venue=world.venue, journal=world.journal, rules=limits(max_orders_per_run=2))
    assert [order.client_order_id for order in snapshot(after).orders] == [name]
    after.run(3_000)
    assert after.filled(name) == ZERO
    denied = after.place(3)
    assert after.updates(denied)[-1].reason == DenyReason.MAX_ORDERS_PER_RUN


def test_restart_when_killed_before_a_missed_fill_was_counted_then_counted_afterwards() -> None:
    before = ExecutorWorld()
    name = before.place(1)
    before.run(50)
    before.service.on_user_event(UserStreamDown("closed"))
    before.venue.trade(name, D(1))
    before.venue.events.clear()
    before.run(500)
    assert before.state(name) is OrderState.FILLED
    assert before.filled(name) == ZERO
    after = ExecutorWorld(venue=before.venue, journal=before.journal)
    after.run(4_000)
    assert after.filled(name) == D(1)
    again = ExecutorWorld(venue=before.venue, journal=before.journal)
    again.run(4_000)
    assert again.filled(name) == ZERO


def test_restart_when_an_order_of_the_journal_is_in_doubt_then_no_new_risk_until_it_is_settled() -> None:
    before = ExecutorWorld()
    lost = before.place(1)
    before.venue.orders.pop(lost)
    before.venue.events.clear()
    before.venue.replies.clear()
    after = ExecutorWorld(venue=before.venue, journal=before.journal)
    denied = after.place(2)
    assert after.updates(denied)[-1].reason == DenyReason.NOT_RECONCILED
    assert "in doubt" in after.service.readiness()
    after.run(12_000)
    placed = after.place(3)
    after.run(50)
    assert after.state(placed) is OrderState.OPEN


def test_stop_when_an_order_of_ours_rests_that_nobody_knew_then_cancelled_too() -> None:
    world = ExecutorWorld()
    unknown = PlaceOrder(order_id(9), SYMBOL, Side.BUY, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, False)
    world.venue.rest(unknown)
    world.venue.outcomes[CancelOrder].append(Outcome.LOST_BEFORE)
    world.service.on_stop()
    world.run(2_000)
    assert world.service.stopped
    assert not world.venue.open_orders()


def test_switch_when_no_order_has_rested_for_a_while_then_let_down() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(100)
    world.cancel(name)
    world.run(31_000)
    assert world.venue.countdowns == {SYMBOL: 0}
    assert len(world.venue.sent(ArmCountdown)) == 2
    world.place(2)
    world.run(100)
    assert world.venue.countdowns == {SYMBOL: 120_000}


def test_event_when_it_is_about_an_order_of_ours_that_nobody_knows_then_the_order_list_is_read() -> None:
    world = ExecutorWorld()
    request = PlaceOrder(order_id(9), SYMBOL, Side.BUY, OrderType.LIMIT, D(99), D(2), TimeInForce.GTX, False)
    world.venue.rest(request)
    world.venue.trade(request.client_order_id, D(1))
    world.run(200)
    assert world.state(request.client_order_id) is OrderState.PARTIALLY_FILLED


def test_start_when_questions_fail_then_asked_again_until_answered() -> None:
    venue = FakeVenue(FakeClock())
    venue.outcomes[QueryOpenOrders] = [Outcome.LOST_BEFORE] * 3
    world = ExecutorWorld(venue=venue)
    assert world.service.readiness().startswith("OPEN_ORDERS: not answered yet")
    world.run(6_000)
    assert world.service.readiness() == ""


def test_gap_when_intents_were_lost_then_a_snapshot_tells_the_fsm() -> None:
    world = ExecutorWorld()
    before = len(world.publisher.of(OrdersSnapshot))
    world.service.on_gap("account", 1)
    assert len(world.publisher.of(OrdersSnapshot)) == before
    world.service.on_gap("intents", 1)
    assert len(world.publisher.of(OrdersSnapshot)) == before + 1


def test_order_when_given_up_and_resting_after_all_then_cancelled_until_gone() -> None:
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_BEFORE)
    name = world.place(1)
    request = world.venue.sent(PlaceOrder)[0]
    world.run(12_000)
    assert world.state(name) is OrderState.REJECTED
    # The venue takes it late, and nobody is told: the stream was away, and the first cancel is lost too.
    world.venue.rest(request)
    world.venue.outcomes[CancelOrder].append(Outcome.LOST_BEFORE)
    world.run(100_000)
    assert not world.venue.open_orders()
    assert len(world.venue.sent(CancelOrder)) >= 2


def test_order_list_when_it_shows_an_order_that_ended_meanwhile_then_nothing_is_cancelled() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.service.on_user_event(UserStreamUp())
    world.service.on_timer()
    world.venue.trade(name, D(1))
    world.run(40_000)
    assert world.state(name) is OrderState.FILLED
    assert not world.venue.sent(CancelOrder)


def test_position_mode_when_set_right_while_running_then_it_is_noticed() -> None:
    venue = FakeVenue(FakeClock())
    venue.hedge_mode = True
    world = ExecutorWorld(venue=venue)
    assert "hedge" in world.service.readiness()
    venue.hedge_mode = False
    world.run(130_000)
    assert not world.service.readiness()
    venue.hedge_mode = True
    world.run(130_000)
    assert "hedge" in world.service.readiness()


@pytest.mark.parametrize("name", ["autoclose-1", "adl_autoclose", "settlement_autoclose-2"])
def test_position_when_the_venue_closes_it_by_force_then_the_kill_switch_trips(name: str) -> None:
    world = ExecutorWorld(exits=False)
    by_venue = PlaceOrder(name, SYMBOL, Side.SELL, OrderType.LIMIT, D(90), D(1), TimeInForce.IOC, True)
    world.venue.rest(by_venue)
    world.venue.trade(name, D(1))
    world.run(50)
    assert world.board.read(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.FORCED_CLOSE]
    denied = world.place(1)
    assert world.updates(denied)[-1].reason == DenyReason.KILL_SWITCH_ACTIVE


def test_stop_when_the_switch_cannot_be_let_down_then_tried_at_a_pace() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(200)
    assert world.venue.countdowns[SYMBOL] > 0
    world.venue.outcomes[ArmCountdown] += [Rejected(429, -1003, "slow down", Advice.RATE_LIMIT, 1_000)] * 2
    before = len(world.venue.sent(ArmCountdown))
    world.service.on_stop()
    world.run(2_000)
    assert not world.service.stopped
    assert len(world.venue.sent(ArmCountdown)) - before == 1
    world.run(12_000)
    assert world.service.stopped
    assert world.venue.countdowns[SYMBOL] == 0


def test_place_when_the_host_slept_since_the_clock_was_measured_then_no_risk_and_what_protects_goes() -> None:
    """Prices and positions look as young as before the sleep, on a host that is alone too."""
    world = ExecutorWorld()
    name = world.place(1)
    world.run(100)
    world.clock.suspend_ms(60_000)
    assert world.updates(world.place(2))[-1].reason == DenyReason.CLOCK_UNKNOWN
    world.cancel(name)
    assert world.state(name) is OrderState.PENDING_CANCEL
    world.run(100)
    assert world.state(world.place(3)) is OrderState.PENDING_NEW

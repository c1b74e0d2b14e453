"""A standby touches nothing at the venue, and who wins takes over what rests there."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.account import LIST_LAG_MS_MAX
from grinder.core.ledger import replay
from grinder.core.order_rate import LONG_MAX
from grinder.model.board import Word
from grinder.model.conditional import ConditionalOrder
from grinder.model.control import TRIP_CODES, FsmState, TripReason
from grinder.model.orders import OrderBudget, OrderState, Side, parse_order_id
from grinder.model.units import ZERO
from grinder.model.venue import (
    ArmCountdown,
    CancelOrder,
    PlaceOrder,
    QueryOpenOrders,
    QueryPositionMode,
    RateUse,
)
from tests.account_world import MemoryJournal, order_id
from tests.fake_venue import SYMBOL, FakeVenue, Outcome
from tests.fakes import FakeClock
from tests.seat import READS, Host, countdowns, entry, resting

D = Decimal


# Standby ------------------------------------------------------------------------------------------


def test_standby_when_orders_rest_and_it_is_tripped_then_rules_and_mode_are_read_and_nothing_is_touched() -> None:
    venue = FakeVenue(FakeClock())
    venue.rest(entry(order_id(1, term=3)))
    venue.conditional["grd-0-1-x1"] = ConditionalOrder(
        "grd-0-1-x1", 1, SYMBOL, Side.SELL, "STOP_MARKET", "NEW", D(90), ZERO, D(1), True, 0
    )
    host = Host(venue=venue)
    host.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    host.board.write(Word.FSM_STATE, list(FsmState).index(FsmState.EMERGENCY) + 1)
    host.run(130_000)
    assert {type(request) for request in host.venue.requests} == READS
    assert host.service.readiness() == "standby: node-b leads (term 3)"
    assert not host.shown().ready


def test_standby_when_intents_come_all_the_same_then_none_passes() -> None:
    host = Host()
    before = len(host.venue.requests)
    host.place(1)
    host.place(2, client_order_id=order_id(2, "t1"), reduce_only=True, side=Side.SELL)
    host.cancel(order_id(1))
    assert len(host.venue.requests) == before


def test_standby_when_the_leader_s_orders_trade_then_they_are_nobody_s_surprise() -> None:
    host = Host()
    name = order_id(1, term=3)
    host.venue.rest(entry(name))
    host.venue.trade(name, D(1))
    host.run(200)
    assert "UNKNOWN_ORDER_EVENT" not in host.log.names()
    assert not host.venue.sent(QueryOpenOrders)


def test_standby_when_stopped_then_at_once_and_without_a_word_to_the_venue() -> None:
    host = Host()
    host.venue.rest(entry(order_id(1, term=3)))
    before = len(host.venue.requests)
    host.service.on_stop()
    assert host.service.stopped
    assert len(host.venue.requests) == before


# Winning ------------------------------------------------------------------------------------------


def test_win_when_an_older_leader_s_orders_rest_then_entries_go_and_what_reduces_stays_under_its_id() -> None:
    venue = FakeVenue(FakeClock())
    older, reducing = order_id(1, term=3), order_id(2, "t1", term=3)
    venue.rest(entry(older))
    venue.rest(entry(reducing, reduce_only=True))
    host = Host(venue=venue)
    host.win(8)
    assert host.service.readiness()
    host.run(200)
    assert resting(host) == {reducing}
    assert host.state(older) is OrderState.CANCELED
    assert host.shown().ready
    assert [order.client_order_id for order in host.shown().orders] == [reducing]
    assert host.service.readiness() == ""
    assert host.state(host.enter(3)) is OrderState.PENDING_NEW


def test_win_when_a_cap_is_set_then_new_risk_waits_for_an_account_that_shows_what_the_older_leader_filled() -> None:
    host = Host(max_position_usd=D(400))
    for term in (8, 10):
        host.run(60_000)
        host.win(term)
        host.run(LIST_LAG_MS_MAX - 200)
        assert host.service.readiness().startswith("account snapshot may be older than the last fills")
        assert host.state(host.enter(1)) is OrderState.DENIED
        host.run(400)
        assert host.service.readiness() == ""
        assert host.state(host.enter(2)) is OrderState.PENDING_NEW
        host.lose()


def test_win_when_an_older_leader_s_entry_cannot_be_cancelled_yet_then_no_risk_until_it_is_gone() -> None:
    venue = FakeVenue(FakeClock())
    venue.rest(entry(order_id(1, term=3)))
    venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE] * 3
    host = Host(venue=venue)
    host.win(8)
    host.run(200)
    assert host.service.readiness() == "OLDER_TERM: 1 entries of an older leader are being taken back"
    assert host.state(host.enter(2)) is OrderState.DENIED
    host.run(10_000)
    assert resting(host) == set()
    assert host.service.readiness() == ""


def test_win_when_a_late_order_of_the_older_leader_appears_then_it_goes_too() -> None:
    host = Host()
    host.win(8)
    host.run(200)
    late = order_id(1, term=3)
    host.venue.rest(entry(late))
    host.venue.trade(late, D("0.1"))
    host.run(500)
    assert resting(host) == set()


def test_win_when_an_older_countdown_may_run_then_it_is_let_down_before_new_risk() -> None:
    host = Host()
    host.venue.outcomes[ArmCountdown] = [Outcome.LOST_BEFORE]
    host.win(8)
    host.run(200)
    assert countdowns(host) == [0]
    assert host.service.readiness() == f"DEAD_MAN: a countdown of an older leader may still run: {SYMBOL}"
    host.run(6_000)
    assert countdowns(host) == [0, 0]
    assert host.service.readiness() == ""


def test_win_when_an_adopted_order_rests_then_the_countdown_is_wound_up_not_let_down() -> None:
    venue = FakeVenue(FakeClock())
    venue.rest(entry(order_id(2, "t1", term=3), reduce_only=True))
    host = Host(venue=venue)
    host.win(8)
    host.run(200)
    assert countdowns(host) == [120_000]
    assert host.service.readiness() == ""


def test_win_when_the_journal_of_this_host_left_orders_then_they_are_asked_about_under_the_new_term() -> None:
    journal = MemoryJournal()
    first = Host(journal=journal)
    first.win(3)
    first.run(200)
    kept, filled = first.enter(1), first.enter(2)
    first.run(50)
    first.venue.trade(filled, D("0.4"))
    first.venue.events.clear()
    again = Host(venue=first.venue, journal=journal)
    again.run(500)
    assert not again.shown().orders
    again.win(8)
    again.run(4_000)
    assert resting(again) == set()
    assert again.state(kept) is OrderState.CANCELED
    assert again.filled(filled) == D("0.4")
    assert again.service.readiness() == ""


def test_win_when_tripped_before_then_the_exit_runs_under_the_new_term() -> None:
    venue = FakeVenue(FakeClock())
    venue.positions[SYMBOL] = D(2)
    host = Host(venue=venue)
    host.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    host.run(1_000)
    assert not host.venue.sent(PlaceOrder)
    host.win(8)
    host.run(3_000)
    closing = host.venue.sent(PlaceOrder)
    assert closing
    for request in closing:
        assert isinstance(request, PlaceOrder)
        parts = parse_order_id(request.client_order_id)
        assert parts is not None
        assert (parts.term, request.reduce_only) == (8, True)


# What the venue tells -----------------------------------------------------------------------------


def test_order_of_a_newer_term_when_the_venue_tells_of_it_then_the_cluster_s_side_learns_at_once() -> None:
    host = Host()
    newer = order_id(1, term=12)
    host.venue.rest(entry(newer))
    host.win(8)
    assert 12 in host.seat.seen
    host.seat.seen.clear()
    host.lose()
    host.venue.trade(newer, D(1))
    host.deliver()
    assert 12 in host.seat.seen


def test_win_when_an_order_ended_right_before_the_loss_and_nobody_told_what_it_filled_then_asked_for() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    name = host.enter(1)
    host.run(100)
    host.venue.trade(name, D("0.4"))
    host.cancel(name)
    host.venue.events.clear()
    host.deliver()
    assert host.state(name) is OrderState.CANCELED
    host.lose()
    host.run(5_000)
    host.win(5)
    host.run(5_000)
    assert host.filled(name) == D("0.4")
    assert replay(host.journal.replay()).orders == {}
    host.service.on_stop()
    host.run(200)
    assert host.seat.released == [True]


@pytest.mark.parametrize("connected", [True, False])
def test_fitness_when_the_venue_is_out_of_reach_then_said(connected: bool) -> None:
    host = Host()
    host.venue.connected = connected
    assert (host.seat.duties.unfit() == "") is connected


def test_fitness_when_a_question_that_every_host_asks_has_no_answer_then_said() -> None:
    venue = FakeVenue(FakeClock())
    venue.outcomes[QueryPositionMode] = [Outcome.LOST_BEFORE] * 1_000
    host = Host(venue=venue)
    assert host.seat.duties.unfit().startswith("POSITION_MODE: not answered yet")


def test_fitness_when_the_journal_has_trouble_then_a_standby_leaves_the_lead_to_others_and_a_leader_goes_on() -> None:
    host = Host()
    host.journal.trouble = "no space left"
    assert host.seat.duties.unfit() == "order journal: no space left"
    host.win(8)
    assert host.seat.duties.unfit() == ""


@pytest.mark.parametrize(
    ("after_ms", "reduce_only", "trips"), [(2_000, False, True), (500, False, False), (2_000, True, False)]
)
def test_order_of_an_older_leader_when_the_venue_takes_it_long_after_the_win_then_the_kill_switch_trips(
    after_ms: int, reduce_only: bool, trips: bool
) -> None:
    host = Host()
    host.win(8)
    host.run(after_ms)
    name = order_id(1, term=7)
    host.venue.rest(entry(name, reduce_only=reduce_only))
    host.venue.tell(name, "NEW")
    host.deliver()
    tripped = host.board.read(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.ERROR]
    assert tripped is trips


def test_order_of_an_older_leader_when_the_venue_s_clock_was_never_measured_then_no_trip_but_taken_back() -> None:
    host = Host()
    host.board.words[Word.VENUE_CLOCK_CHECKED_MONO_NS] = 0
    host.seat.duties.won(8)
    host.led = 8
    host.run(3_000)
    name = order_id(1, term=7)
    host.venue.rest(entry(name))
    host.venue.tell(name, "NEW")
    host.run(1_000)
    assert not host.board.read(Word.TRIP_EXECUTOR)
    assert resting(host) == set()


def test_winner_when_the_leader_before_used_up_the_accounts_orders_then_its_entries_wait_and_cost_no_budget() -> None:
    host = Host()
    host.rates_used = (RateUse("ORDERS", 60, LONG_MAX, LONG_MAX - 10),)
    host.win(7)
    host.run(2_000)
    host.enter(1)
    assert host.venue.sent(PlaceOrder) == []
    told = host.publisher.of(OrderBudget)[-1]
    assert isinstance(told, OrderBudget)
    assert (told.orders_left_1m, told.risk_orders_this_run) == (10, 0)
    host.rates_used = ()
    host.run(100)
    host.enter(2)
    assert len(host.venue.sent(PlaceOrder)) == 1

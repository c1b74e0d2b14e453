"""One host of a cluster: a standby touches nothing, who wins takes over what rests, who loses leaves it alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.model.board import Word
from grinder.model.conditional import ConditionalOrder
from grinder.model.control import TRIP_CODES, FsmState, TripReason
from grinder.model.orders import OrdersSnapshot, OrderState, Side, TimeInForce, parse_order_id
from grinder.model.remedy import Remedy, RemedyAction, RemedyResult
from grinder.model.units import NS_PER_MS, NS_PER_S, ZERO
from grinder.model.venue import (
    ArmCountdown,
    CancelOrder,
    OrderType,
    PlaceOrder,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositionMode,
    QueryServerTime,
)
from grinder.services.lead import Duties, Membership
from tests.account_world import ExecutorWorld, MemoryJournal, limits, order_id
from tests.fake_venue import SYMBOL, FakeVenue, Outcome
from tests.fakes import FakeClock

D = Decimal
READS = {QueryPositionMode, QueryInstruments, QueryServerTime}


class Seat:
    """A membership whose leadership is the test's to give and to take."""

    why = "standby: node-b leads (term 3)"
    left = False

    def __init__(self, duties: Duties) -> None:
        self.duties = duties
        self.seen: list[int] = []
        self.stopping = False
        self.released: list[bool] = []

    def on_start(self) -> None:
        """The board is the test's."""

    def on_timer(self) -> None:
        """Nothing changes by itself."""

    def on_order_seen(self, term: int) -> None:
        self.seen.append(term)

    def stop(self) -> None:
        self.stopping = True

    def release(self, *, clean: bool) -> None:
        self.released.append(clean)
        self.left = self.stopping


class Host(ExecutorWorld):
    """An executor in a cluster; ``led`` is the term it leads under, 0 for none."""

    def __init__(self, *, venue: FakeVenue | None = None, journal: MemoryJournal | None = None) -> None:
        self.led = 0
        super().__init__(venue=venue, journal=journal, rules=limits(ha_enabled=True), join=self._join)

    def _join(self, duties: Duties) -> Membership:
        self.seat = Seat(duties)
        return self.seat

    def refresh(self) -> None:
        super().refresh()
        until_boot_ns = self.clock.boot_ns() + 2 * NS_PER_S if self.led else 0
        self.board.words |= {
            Word.ROLE: ROLE_ACTIVE if self.led else 1,
            Word.TERM: self.led,
            Word.RISK_DEADLINE_BOOT_NS: until_boot_ns,
            Word.LEAD_DEADLINE_BOOT_NS: until_boot_ns,
        }

    def win(self, term: int) -> None:
        self.led = term
        self.refresh()
        self.seat.duties.won(term)
        self.deliver()

    def lose(self) -> None:
        self.led = 0
        self.refresh()
        self.seat.duties.lost("another leads")

    def enter(self, number: int) -> str:
        """Send an entry of the term this host leads under."""
        return self.place(number, term=self.led, client_order_id=order_id(number, term=self.led))

    def shown(self) -> OrdersSnapshot:
        last = self.publisher.of(OrdersSnapshot)[-1]
        assert isinstance(last, OrdersSnapshot)
        return last


def entry(name: str, *, reduce_only: bool = False) -> PlaceOrder:
    side = Side.SELL if reduce_only else Side.BUY
    return PlaceOrder(name, SYMBOL, side, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, reduce_only)


def countdowns(host: Host) -> list[int]:
    return [request.countdown_ms for request in host.venue.sent(ArmCountdown) if isinstance(request, ArmCountdown)]


def resting(host: Host) -> set[str]:
    return {order.request.client_order_id for order in host.venue.open_orders()}


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


# Losing -------------------------------------------------------------------------------------------


def test_loss_when_orders_rest_and_commands_are_open_then_not_a_word_more_leaves() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    host.enter(1)
    host.run(100)
    host.enter(2)
    host.venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE]
    host.cancel(order_id(1, term=3))
    before = len(host.venue.requests)
    host.lose()
    host.run(130_000)
    assert {type(request) for request in host.venue.requests[before:]} <= READS
    assert host.shown().orders == ()
    assert not host.shown().ready
    assert countdowns(host)[-1] == 120_000


def test_loss_when_an_exit_is_under_way_then_it_sends_nothing_more_and_replies_change_nothing() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    host.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    host.run(50, deliver=False)
    before = len(host.venue.requests)
    host.lose()
    host.run(20_000)
    assert {type(request) for request in host.venue.requests[before:]} <= READS


def test_loss_when_answers_about_orders_are_on_their_way_then_nothing_is_adopted_or_taken_back() -> None:
    host = Host()
    host.venue.rest(entry(order_id(1, term=3)))
    host.led = 8
    host.refresh()
    host.seat.duties.won(8)
    host.lose()
    host.run(1_000)
    assert not host.venue.sent(CancelOrder)
    assert not host.shown().orders


def test_loss_when_it_wins_again_then_its_own_orders_are_an_older_leader_s() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    name = host.enter(1)
    reducing = order_id(2, "t1", term=3)
    host.venue.rest(entry(reducing, reduce_only=True))
    host.run(200)
    host.lose()
    host.run(1_000)
    host.venue.trade(name, D("0.3"))
    host.run(1_000)
    assert host.filled(name) == ZERO
    host.win(9)
    assert host.service.readiness()
    host.run(4_000)
    assert resting(host) == {reducing}
    assert host.filled(name) == D("0.3")
    assert host.state(name) is OrderState.CANCELED
    assert host.service.readiness() == ""


def test_loss_when_the_journal_is_written_anew_meanwhile_then_what_was_set_aside_is_in_it() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    name = host.enter(1)
    host.run(100)
    host.lose()
    host.journal.wants_checkpoint = True
    host.run(1_100)
    assert not host.journal.wants_checkpoint
    host.venue.orders.pop(name)
    again = Host(venue=host.venue, journal=host.journal)
    again.win(9)
    again.run(200)
    assert QueryOrder(name, SYMBOL) in host.venue.sent(QueryOrder)


def test_loss_when_a_remedy_is_under_way_then_it_is_answered_and_a_new_one_refused() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    name = host.enter(1)
    host.run(100)
    host.send(remedy(host, 1, name))
    host.lose()
    host.send(remedy(host, 2, name))
    answers = [frame for frame in host.publisher.of(RemedyResult) if isinstance(frame, RemedyResult)]
    assert [(answer.number, answer.done, answer.reason) for answer in answers] == [
        (1, False, "not_leader"),
        (2, False, "not_leader"),
    ]


def remedy(host: Host, number: int, name: str) -> Remedy:
    deadline = host.clock.mono_ns() + 1_000 * NS_PER_MS
    return Remedy("run", number, RemedyAction.CANCEL_ALL, SYMBOL, name, Side.BUY, ZERO, deadline)


def test_loss_when_the_stop_is_under_way_then_it_ends_at_once_and_is_not_called_clean() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    host.enter(1)
    host.run(100)
    host.service.on_stop()
    before = host.service.stopped
    host.lose()
    assert (before, host.service.stopped) == (False, True)
    assert host.seat.released == [False]
    assert host.telemetry.counts["grinder_executor_unclean_stops_total",] == 1


# The stop of a leader -----------------------------------------------------------------------------


@pytest.mark.parametrize("orders", [0, 3])
def test_stop_when_the_venue_answers_then_it_takes_no_timer_at_all(orders: int) -> None:
    host = Host()
    host.win(3)
    host.run(200)
    for number in range(orders):
        host.enter(number)
    host.run(200)
    host.service.on_stop()
    host.deliver()
    assert host.service.stopped
    assert resting(host) == set()
    assert countdowns(host)[-1] == 0
    assert host.seat.released == [True]
    assert host.telemetry.counts["grinder_executor_unclean_stops_total",] == 0


def test_stop_when_nothing_can_be_proved_then_bounded_and_the_lease_is_not_called_resigned() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    host.enter(1)
    host.run(200)
    host.venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE] * 1_000
    host.service.on_stop()
    host.run(14_000)
    assert host.seat.released == []
    host.run(2_000)
    assert host.seat.released == [False]
    assert host.service.stopped


def test_hand_over_when_asked_for_then_as_a_stop_and_it_goes_on_as_a_standby() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    host.enter(1)
    host.run(200)
    host.seat.duties.hand_over("fsm does not answer")
    assert host.service.readiness() == "handing over: fsm does not answer"
    assert host.state(host.enter(2)) is OrderState.DENIED
    host.run(200)
    assert host.seat.released == [True]
    assert resting(host) == set()
    host.lose()
    host.run(1_000)
    assert not host.service.stopped
    assert host.service.readiness() == "standby: node-b leads (term 3)"
    host.win(9)
    host.run(1_000)
    assert host.service.readiness() == ""
    host.service.on_stop()
    host.run(200)
    assert host.seat.released == [True, True]


def test_stop_when_it_is_handing_over_already_then_it_leaves_for_good() -> None:
    host = Host()
    host.win(3)
    host.run(200)
    host.seat.duties.hand_over("syncer does not answer")
    host.deliver()
    host.service.on_stop()
    assert host.seat.released == [True, True]
    assert host.service.stopped


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

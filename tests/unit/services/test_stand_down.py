"""Who loses the lead leaves every order alone, without a word; who stops or hands over puts them in order first."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, TripReason
from grinder.model.orders import OrderState, Side
from grinder.model.remedy import Remedy, RemedyAction, RemedyResult
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import (
    CancelOrder,
    QueryOrder,
)
from tests.account_world import order_id
from tests.fake_venue import SYMBOL, Outcome
from tests.seat import READS, Host, countdowns, entry, resting

D = Decimal


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

"""The executor as a whole: intents, doubts, recovery, stop, dead-man's switch, against a truthful small venue."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import msgspec
import pytest

from grinder.model.account import AccountState, Balance, Mismatch, Source
from grinder.model.board import Word
from grinder.model.orders import CommandRefused, OrdersSnapshot, OrderState, Side
from grinder.model.reasons import DenyReason, MismatchRule
from grinder.model.units import ZERO
from grinder.model.venue import (
    Advice,
    AmendOrder,
    CancelOrder,
    Confirmed,
    NotSent,
    PlaceOrder,
    QueryOrder,
    Rejected,
    UserStreamDown,
    UserStreamUp,
    VenueOrder,
)
from tests.account_world import ExecutorWorld
from tests.fake_venue import SYMBOL, Outcome

D = Decimal


def snapshot(world: ExecutorWorld) -> OrdersSnapshot:
    last = world.publisher.of(OrdersSnapshot)[-1]
    assert isinstance(last, OrdersSnapshot)
    return last


def test_place_when_confirmed_then_open_and_on_record_before_the_wire() -> None:
    world = ExecutorWorld()
    records = len(world.journal.records)
    name = world.place(1)
    assert len(world.journal.records) == records + 1
    assert world.state(name) is OrderState.PENDING_NEW
    world.run(50)
    assert world.state(name) is OrderState.OPEN
    assert len(world.venue.open_orders()) == 1


def test_fills_when_traded_in_two_parts_then_each_is_published_once() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    again = world.venue.trade(name, D("0.4"))
    world.venue.events.append(again)
    world.run(50)
    assert world.state(name) is OrderState.PARTIALLY_FILLED
    world.venue.trade(name, D("0.6"))
    world.run(50)
    assert world.state(name) is OrderState.FILLED
    assert world.filled(name) == D(1)
    assert world.telemetry.counts["grinder_executor_duplicate_trades_total",] == 1


def test_ack_when_it_shows_a_fill_then_no_fill_is_taken_from_it_but_asked_for() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.venue.trade(name, D(1))
    world.venue.events.clear()
    on_reply, reply = world.venue.replies[-1]
    assert isinstance(reply, Confirmed)
    assert isinstance(reply.value, VenueOrder)
    shown = msgspec.structs.replace(reply.value, status="FILLED", filled_qty=D(1))
    world.venue.replies = [(on_reply, Confirmed(shown, 1))]
    world.deliver()
    assert world.filled(name) == ZERO
    world.run(4_000)
    assert world.state(name) is OrderState.FILLED
    assert world.filled(name) == D(1)


def test_stream_when_it_loses_an_event_without_a_word_then_the_order_list_shows_it() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.trade(name, D(1))
    world.venue.events.clear()
    world.run(35_000)
    assert world.state(name) is OrderState.FILLED
    assert world.filled(name) == D(1)


@pytest.mark.parametrize("outcome", [Outcome.LOST_AFTER, Outcome.LOST_BEFORE])
def test_place_when_reply_is_lost_then_asked_for_and_never_sent_again(outcome: Outcome) -> None:
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(outcome)
    name = world.place(1)
    world.venue.events.clear()
    world.run(100)
    assert world.state(name) is OrderState.IN_DOUBT
    world.run(12_000)
    done = outcome is Outcome.LOST_AFTER
    assert world.state(name) is (OrderState.OPEN if done else OrderState.REJECTED)
    assert len(world.venue.sent(PlaceOrder)) == 1
    assert len(world.venue.open_orders()) == (1 if done else 0)


def test_place_when_lost_and_venue_denies_it_for_a_while_then_not_given_up() -> None:
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_AFTER)
    world.venue.hidden_until_ms = world.clock.utc_ms() + 4_000
    name = world.place(1)
    world.venue.events.clear()
    world.run(3_900)
    assert world.state(name) is OrderState.IN_DOUBT
    world.run(8_000)
    assert world.state(name) is OrderState.OPEN


def test_place_when_in_doubt_and_stream_shows_it_then_open_without_a_query() -> None:
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_AFTER)
    name = world.place(1)
    asked = len(world.venue.sent(QueryOrder))
    world.deliver()
    assert world.state(name) is OrderState.OPEN
    world.run(1_000)
    assert len(world.venue.sent(QueryOrder)) == asked


def test_query_when_asked_before_a_later_cancel_then_its_answer_settles_nothing() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE, Outcome.LOST_AFTER]
    world.cancel(name)
    world.deliver()
    world.run(500, deliver=False)
    assert len(world.venue.replies) == 1
    early = world.venue.replies.pop()
    world.cancel(name)
    world.venue.events.clear()
    world.deliver()
    early[0](early[1])
    assert world.state(name) is OrderState.IN_DOUBT
    world.run(6_000)
    assert world.state(name) is OrderState.CANCELED


def test_place_when_rejected_then_rejected_with_the_venue_s_words() -> None:
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Rejected(400, -5022, "Post only order will be rejected.", Advice.POST_ONLY))
    name = world.place(1)
    world.run(50)
    assert world.state(name) is OrderState.REJECTED
    assert world.updates(name)[-1].reason.startswith("-5022")


@pytest.mark.parametrize(
    ("advice", "state"),
    [
        (Advice.NOTHING_TO_AMEND, OrderState.OPEN),
        (Advice.FILTER, OrderState.OPEN),
        (Advice.NOT_FOUND, OrderState.IN_DOUBT),
    ],
)
def test_amend_when_rejected_then_as_it_was_or_asked_about(advice: Advice, state: OrderState) -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.outcomes[AmendOrder].append(Rejected(400, -1, "no", advice))
    world.amend(name, D(98), D(1))
    world.deliver()
    assert world.state(name) is state


def test_amend_when_the_journal_is_full_then_refused_unless_it_reduces() -> None:
    world = ExecutorWorld()
    name, reducing = world.place(1), world.place(2, reduce_only=True, side=Side.SELL, price=D(101))
    world.run(50)
    world.journal.full = True
    world.amend(name, D(98), D(1))
    refused = world.publisher.of(CommandRefused)[-1]
    assert isinstance(refused, CommandRefused)
    assert refused.reason == DenyReason.JOURNAL_FAILED
    world.amend(reducing, D(102), D(1))
    assert world.state(reducing) is OrderState.PENDING_AMEND


def test_command_when_the_reply_never_comes_then_in_doubt_and_settled() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.venue.replies.clear()
    world.venue.events.clear()
    world.run(16_000)
    assert world.state(name) is OrderState.OPEN


def test_cancel_when_the_order_has_ended_then_its_end_is_told_again() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.end(name, "EXPIRED")
    world.run(50)
    before = len(world.updates(name))
    world.cancel(name)
    assert len(world.updates(name)) == before + 1
    assert world.state(name) is OrderState.EXPIRED


@pytest.mark.parametrize("changes", [{"reconciled": False}, {"snapshot_mono_ns": 1}])
def test_place_when_the_account_is_not_to_be_trusted_then_denied(changes: dict[str, object]) -> None:
    world = ExecutorWorld()
    state = AccountState((), Balance(D(1), ZERO, D(1)), 0, ZERO, False, True, Source.REST, world.clock.mono_ns(), 0)
    world.send(msgspec.structs.replace(state, **changes))
    denied = world.place(1)
    assert world.updates(denied)[-1].reason == DenyReason.NOT_RECONCILED


def test_mismatch_when_an_order_is_missing_at_the_venue_then_it_is_asked_for() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.end(name)
    world.venue.events.clear()
    world.send(Mismatch(MismatchRule.ORDER_MISSING_AT_VENUE, SYMBOL, "", 0))
    world.run(200)
    assert world.state(name) is OrderState.CANCELED


def test_place_when_not_sent_then_denied() -> None:
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.NOT_SENT)
    name = world.place(1)
    world.run(50)
    assert world.state(name) is OrderState.DENIED


def test_commands_when_given_up_right_before_they_were_signed_then_never_executed_and_counted_by_reason() -> None:
    world = ExecutorWorld()
    resting = world.place(1)
    world.run(100)
    world.venue.outcomes[PlaceOrder].append(NotSent(DenyReason.PERMIT_EXPIRED.value))
    denied = world.place(2)
    world.venue.outcomes[AmendOrder].append(NotSent(DenyReason.PERMIT_EXPIRED.value))
    world.amend(resting, D(98), D(1))
    world.run(100)
    assert world.state(denied) is OrderState.DENIED
    assert world.updates(denied)[-1].reason == "PERMIT_EXPIRED"
    assert world.state(resting) is OrderState.OPEN
    world.venue.outcomes[CancelOrder].append(NotSent(DenyReason.LEASE_EXPIRED.value))
    world.cancel(resting)
    world.run(3_000)
    assert world.state(resting) is OrderState.OPEN, "a query proved that it rests"
    counts = world.telemetry.counts
    assert counts["grinder_executor_denied_total", "PERMIT_EXPIRED"] == 2
    assert counts["grinder_executor_denied_total", "LEASE_EXPIRED"] == 1


def test_stray_when_order_was_given_up_and_rests_after_all_then_cancelled() -> None:
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_BEFORE)
    place = world.make_place(1)
    world.send(place)
    world.run(12_000)
    assert world.state(place.client_order_id) is OrderState.REJECTED
    request = world.venue.sent(PlaceOrder)[0]
    assert isinstance(request, PlaceOrder)
    world.venue.rest(request)
    world.venue.end(place.client_order_id, "NEW")
    world.run(100)
    assert not world.venue.open_orders()


def test_amend_when_confirmed_then_price_and_quantity_move() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.amend(name, D(98), D(2))
    assert world.state(name) is OrderState.PENDING_AMEND
    world.run(50)
    last = world.updates(name)[-1]
    assert (last.state, last.price, last.qty) == (OrderState.OPEN, D(98), D(2))


@pytest.mark.parametrize("outcome", [Outcome.LOST_AFTER, Outcome.LOST_BEFORE])
def test_amend_when_reply_is_lost_then_the_venue_says_what_holds(outcome: Outcome) -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.outcomes[AmendOrder].append(outcome)
    world.amend(name, D(98), D(2))
    world.venue.events.clear()
    world.run(2_000)
    # Until the venue would refuse it for its age the amend may come yet, and the larger size counts.
    assert world.updates(name)[-1].qty == D(2)
    world.run(8_000)
    last = world.updates(name)[-1]
    expected = D(98) if outcome is Outcome.LOST_AFTER else D(99)
    assert (last.state, last.price) == (OrderState.OPEN, expected)


def test_amend_when_another_is_on_its_way_then_busy() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.amend(name, D(98), D(1))
    world.amend(name, D(97), D(1))
    refused = world.publisher.of(CommandRefused)[-1]
    assert isinstance(refused, CommandRefused)
    assert refused.reason == DenyReason.ORDER_BUSY


@pytest.mark.parametrize("outcome", [Outcome.LOST_AFTER, Outcome.LOST_BEFORE])
def test_cancel_when_reply_is_lost_then_the_venue_says_what_holds(outcome: Outcome) -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.outcomes[CancelOrder].append(outcome)
    world.cancel(name)
    world.venue.events.clear()
    world.run(2_000)
    assert world.state(name) is (OrderState.CANCELED if outcome is Outcome.LOST_AFTER else OrderState.OPEN)


def test_cancel_when_late_and_the_latch_is_tripped_then_sent_all_the_same() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.board.write(Word.TRIP_FSM, 1)
    world.cancel(name, late=True)
    assert len(world.venue.sent(CancelOrder)) == 1


def test_cancel_when_the_journal_is_full_then_sent_and_new_risk_denied() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.journal.full = True
    world.cancel(name)
    assert len(world.venue.sent(CancelOrder)) == 1
    denied = world.place(2)
    assert (world.state(denied), world.updates(denied)[-1].reason) == (
        OrderState.DENIED,
        DenyReason.JOURNAL_FAILED,
    )
    reducing = world.place(3, reduce_only=True, side=Side.SELL, price=D(101))
    assert world.state(reducing) is OrderState.PENDING_NEW


@pytest.mark.parametrize("fills", [(), ("0.4",), ("0.4", "0.6")])
def test_cancel_and_fill_when_reports_arrive_in_any_order_then_the_venue_is_right(fills: tuple[str, ...]) -> None:
    for order in permutations(range(5 if not fills else 6)):
        world = ExecutorWorld()
        name = world.place(1)
        for qty in fills:
            world.venue.trade(name, D(qty))
        place_reply = world.venue.replies.pop()
        world.cancel(name)
        cancel_reply = world.venue.replies.pop()
        reports = [place_reply, cancel_reply, *world.venue.events, *world.venue.events[:1]]
        world.venue.events = []
        assert len(reports) == len(order)
        for report in (reports[number] for number in order):
            if isinstance(report, tuple):
                report[0](report[1])
            else:
                world.service.on_user_event(report)
        world.run(500)
        full = sum(map(D, fills), ZERO) == D(1)
        assert world.state(name) is (OrderState.FILLED if full else OrderState.CANCELED), order
        assert world.filled(name) == sum(map(D, fills), ZERO), order


def test_stream_when_it_was_down_then_missed_fills_are_counted_once() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.service.on_user_event(UserStreamDown("closed"))
    missed = world.venue.trade(name, D("0.4"))
    world.venue.events.clear()
    denied = world.place(2)
    assert world.updates(denied)[-1].reason == DenyReason.VENUE_DISCONNECTED
    world.service.on_user_event(UserStreamUp())
    world.run(3_000)
    assert world.filled(name) == D("0.4")
    world.venue.events.append(missed)
    world.run(3_000)
    assert world.filled(name) == D("0.4")
    assert world.state(name) is OrderState.PARTIALLY_FILLED

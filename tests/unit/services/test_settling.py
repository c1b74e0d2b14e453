"""Settling under commands: what the venue has denied so far is not forgotten because somebody asks once more."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.doubt import DENIED_MS_MAX, NOT_FOUND_MIN, in_flight_ms, not_found_after_ms
from grinder.core.ledger import replay
from grinder.model.limits import RECV_WINDOW_MS_MAX
from grinder.model.orders import OrderState
from grinder.model.units import NS_PER_MS, NS_PER_S
from grinder.model.venue import AccountEvent, CancelOrder, Confirmed, PlaceOrder, QueryOrder, UserStreamUp, VenueOrder
from grinder.services.settling import STREAM_TRIAL_MS
from tests.account_world import ExecutorWorld
from tests.fake_venue import Outcome

D = Decimal
STOP_NS_MAX = 12 * NS_PER_S


def lost_order(world: ExecutorWorld) -> str:
    """An order in doubt that never reached the venue."""
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_BEFORE)
    name = world.place(1)
    world.run(50)
    assert world.state(name) is OrderState.IN_DOUBT
    return name


def test_stop_when_an_order_in_doubt_never_existed_then_its_absence_is_concluded_and_the_stop_is_clean() -> None:
    world = ExecutorWorld(exits=False)
    name = lost_order(world)
    began = world.clock.mono_ns()
    world.service.on_stop()
    while not world.service.stopped:
        world.run(100)
    assert world.state(name) is OrderState.REJECTED
    assert world.clock.mono_ns() - began < STOP_NS_MAX
    assert ("STOP", True) in [(event, fields.get("clean")) for event, fields in world.log.events]


@pytest.mark.parametrize(("window_ms", "gone_ms"), [(1_000, 5_200), (RECV_WINDOW_MS_MAX, 9_200)])
@pytest.mark.parametrize("killed", [False, True])
def test_doubt_when_the_venue_refuses_the_order_earlier_for_its_age_then_its_absence_is_believed_earlier(
    window_ms: int, gone_ms: int, killed: bool
) -> None:
    world = ExecutorWorld(exits=False, recv_window_ms=window_ms)
    name = lost_order(world)
    if killed:
        # What the next start calls its own says nothing of what the one before sent.
        world = ExecutorWorld(venue=world.venue, journal=world.journal, exits=False, ready=False)
    began = world.clock.mono_ns()
    while not world.updates(name) or world.state(name) is OrderState.IN_DOUBT:
        world.run(100)
    took_ms = (world.clock.mono_ns() - began) // NS_PER_MS
    assert in_flight_ms(window_ms) + DENIED_MS_MAX - 200 <= took_ms <= gone_ms
    assert world.state(name) is OrderState.REJECTED


def test_doubt_when_the_stream_flaps_then_the_order_is_not_called_unresolved_before_it_could_be_settled() -> None:
    world = ExecutorWorld(exits=False)
    name = lost_order(world)
    for _ in range(60):
        world.service.on_user_event(UserStreamUp())
        world.run(250)
        if world.state(name) is not OrderState.IN_DOUBT:
            break
    assert world.state(name) is OrderState.REJECTED
    assert world.telemetry.counts["grinder_executor_doubts_unresolved_total",] == 0


def test_doubt_when_cancelled_again_and_again_then_the_answers_so_far_still_count() -> None:
    world = ExecutorWorld(exits=False)
    name = lost_order(world)
    for _ in range(24):
        world.cancel(name)
        world.run(500)
    assert world.state(name) is OrderState.REJECTED
    assert len(world.venue.sent(CancelOrder)) < 24


@pytest.mark.parametrize("window_ms", [1_000, RECV_WINDOW_MS_MAX])
def test_doubt_when_the_order_comes_as_late_as_it_can_and_is_denied_for_a_while_then_it_is_waited_for(
    window_ms: int,
) -> None:
    world = ExecutorWorld(exits=False, recv_window_ms=window_ms)
    sent_ms = world.clock.utc_ms()
    name = lost_order(world)
    (request,) = (each for each in world.venue.sent(PlaceOrder) if isinstance(each, PlaceOrder))
    while world.clock.utc_ms() < sent_ms + in_flight_ms(window_ms) - 50:
        world.service.on_user_event(UserStreamUp())
        world.run(50)
    world.venue.rest(request)
    world.venue.hidden_until_ms = world.clock.utc_ms() + DENIED_MS_MAX
    while world.clock.utc_ms() < world.venue.hidden_until_ms + 1_000:
        world.service.on_user_event(UserStreamUp())
        world.run(50)
        assert world.state(name) in (OrderState.IN_DOUBT, OrderState.OPEN)
    assert world.state(name) is OrderState.OPEN


@pytest.mark.parametrize("cancelled", [False, True])
def test_doubt_when_asked_before_the_placement_left_then_what_was_denied_until_then_proves_nothing(
    cancelled: bool,
) -> None:
    """By REST a command waits for a connection before it is signed and written; the stream comes and goes meanwhile."""
    window_ms = 1_000
    world = ExecutorWorld(exits=False, recv_window_ms=window_ms)
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_BEFORE)
    name = world.place(1)
    given_up, world.venue.replies = world.venue.replies, []
    if cancelled:
        world.cancel(name)
    for _ in range(58):
        world.service.on_user_event(UserStreamUp())
        world.run(50)
    assert len(world.venue.sent(QueryOrder)) > NOT_FOUND_MIN
    left_ms = world.clock.utc_ms()
    for on_reply, reply in given_up:
        on_reply(reply)
    assert world.state(name) is OrderState.IN_DOUBT
    (request,) = (each for each in world.venue.sent(PlaceOrder) if isinstance(each, PlaceOrder))
    shown_ms = left_ms + in_flight_ms(window_ms) - 50 + DENIED_MS_MAX
    world.venue.hidden_until_ms = shown_ms
    while world.clock.utc_ms() < shown_ms + 1_000:
        if name not in world.venue.orders and world.clock.utc_ms() >= shown_ms - DENIED_MS_MAX:
            world.venue.rest(request)
        world.service.on_user_event(UserStreamUp())
        world.run(50)
        assert world.state(name) in (OrderState.IN_DOUBT, OrderState.OPEN)
    assert world.state(name) is OrderState.OPEN


def test_doubt_when_the_placement_is_never_answered_then_its_absence_counts_from_when_it_was_given_up() -> None:
    world = ExecutorWorld(exits=False, recv_window_ms=1_000)
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_BEFORE)
    name = world.place(1)
    world.venue.replies = []
    while world.state(name) is OrderState.PENDING_NEW:
        world.service.on_user_event(UserStreamUp())
        world.run(50)
    began = world.clock.mono_ns()
    while world.state(name) is OrderState.IN_DOUBT:
        world.service.on_user_event(UserStreamUp())
        world.run(50)
    assert world.state(name) is OrderState.REJECTED
    took_ms = (world.clock.mono_ns() - began) // NS_PER_MS
    assert not_found_after_ms(1_000) <= took_ms <= not_found_after_ms(1_000) + 500


def test_answer_when_asked_before_the_order_ended_then_it_is_no_stray() -> None:
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    world.run(50)
    world.service.on_user_event(UserStreamUp())
    world.service.on_timer()
    early, world.venue.replies = world.venue.replies, []
    world.clock.advance_ms(5)
    world.venue.trade(name, D(1))
    world.deliver()
    assert world.state(name) is OrderState.FILLED
    for on_reply, reply in early:
        on_reply(reply)
    assert not world.venue.sent(CancelOrder)
    assert world.telemetry.counts["grinder_executor_stray_orders_total",] == 0


def test_answer_when_it_never_comes_then_asked_again_and_a_late_one_does_no_harm() -> None:
    world = ExecutorWorld(exits=False)
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_AFTER)
    name = world.place(1)
    world.venue.events.clear()
    world.deliver()
    world.run(1_000, deliver=False)
    late = [pair for pair in world.venue.replies if isinstance(pair[1], Confirmed)]
    world.venue.replies = []
    asked = len(world.venue.sent(QueryOrder))
    world.run(20_000)
    assert len(world.venue.sent(QueryOrder)) > asked
    assert world.state(name) is OrderState.OPEN
    for on_reply, reply in late:
        on_reply(reply)
    assert world.state(name) is OrderState.OPEN


def test_stop_when_cancels_of_what_never_existed_are_answered_late_then_its_absence_is_still_concluded() -> None:
    world = ExecutorWorld(exits=False)
    name = lost_order(world)
    began = world.clock.mono_ns()
    world.service.on_stop()
    while not world.service.stopped:
        world.run(300, deliver=False)
        world.run(50)
    assert world.state(name) is OrderState.REJECTED
    assert world.clock.mono_ns() - began < STOP_NS_MAX


def filled_unseen(world: ExecutorWorld) -> str:
    """An order whose trade no event told; a question of its own has shown it."""
    name = world.place(1)
    world.run(50)
    world.venue.trade(name, D(1))
    world.venue.events.clear()
    return name


def test_stream_when_it_tells_of_no_trade_and_of_nothing_else_then_it_is_built_again() -> None:
    world = ExecutorWorld(exits=False)
    world.run(STREAM_TRIAL_MS)
    first = filled_unseen(world)
    world.run(40_000)
    assert (world.state(first), world.filled(first)) == (OrderState.FILLED, D(1))
    assert world.stream.renewals == ["silent"]


def test_stream_when_one_event_of_many_is_lost_then_it_is_left_alone() -> None:
    world = ExecutorWorld(exits=False)
    world.run(STREAM_TRIAL_MS)
    first = filled_unseen(world)
    for _ in range(40):
        world.service.on_user_event(AccountEvent("ORDER", None, (), world.clock.utc_ms()))
        world.run(1_000)
    assert world.filled(first) == D(1)
    assert world.stream.renewals == []


def test_stream_when_it_has_just_come_up_then_what_was_missed_before_says_nothing_of_it() -> None:
    world = ExecutorWorld(exits=False)
    world.run(STREAM_TRIAL_MS)
    first = filled_unseen(world)
    world.service.on_user_event(UserStreamUp())
    world.run(STREAM_TRIAL_MS - 1_000)
    assert world.filled(first) == D(1)
    assert world.stream.renewals == []


@pytest.mark.parametrize("killed", [False, True])
def test_cancel_when_confirmed_and_the_stream_lost_a_fill_before_it_then_the_fill_is_asked_for(killed: bool) -> None:
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    world.run(50)
    world.venue.trade(name, D("0.4"))
    world.cancel(name)
    world.venue.events.clear()
    world.deliver()
    assert world.state(name) is OrderState.CANCELED
    assert world.filled(name) == 0
    if killed:
        world = ExecutorWorld(venue=world.venue, journal=world.journal, exits=False)
    world.run(5_000)
    assert (world.state(name), world.filled(name)) == (OrderState.CANCELED, D("0.4"))
    again = ExecutorWorld(venue=world.venue, journal=world.journal, exits=False)
    again.run(5_000)
    assert again.filled(name) == 0


def _tells_of_it(reply: Confirmed) -> bool:
    return isinstance(reply.value, VenueOrder)


@pytest.mark.parametrize("asked_before", ["the cancel left", "its reply came"])
def test_cancel_when_an_answer_from_before_comes_after_it_then_it_is_asked_once_more(asked_before: str) -> None:
    """The answer on its way knows nothing of the end: whoever takes it for the answer loses the fill and the end."""
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    world.run(50)
    if asked_before == "its reply came":
        world.cancel(name)
        confirmed, world.venue.replies = world.venue.replies, []
        world.venue.orders[name].status = "NEW"
    world.service.on_user_event(UserStreamUp())
    world.service.on_timer()
    early = [pair for pair in world.venue.replies if isinstance(pair[1], Confirmed) and _tells_of_it(pair[1])]
    world.venue.replies = []
    assert early
    world.venue.trade(name, D("0.4"))
    if asked_before == "its reply came":
        world.venue.end(name)
        world.venue.replies = confirmed
    else:
        world.cancel(name)
    world.venue.events.clear()
    world.deliver()
    assert world.state(name) is OrderState.CANCELED
    for on_reply, reply in early:
        on_reply(reply)
    world.run(5_000)
    assert (world.state(name), world.filled(name)) == (OrderState.CANCELED, D("0.4"))
    assert replay(world.journal.replay()).orders == {}


def test_cancel_when_the_venue_still_shows_the_order_resting_then_it_is_asked_until_it_shows_the_end() -> None:
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    world.run(50)
    world.venue.trade(name, D("0.4"))
    world.cancel(name)
    world.venue.events.clear()
    world.deliver()
    world.run(400, deliver=False)
    (asked,), world.venue.replies = world.venue.replies, []
    on_reply, reply = asked
    assert isinstance(reply, Confirmed)
    assert isinstance(reply.value, VenueOrder)
    on_reply(Confirmed(msgspec.structs.replace(reply.value, status="NEW", filled_qty=D(0), update_utc_ms=1), 1))
    assert replay(world.journal.replay()).orders != {}
    world.run(10_000)
    assert world.filled(name) == D("0.4")
    assert replay(world.journal.replay()).orders == {}


def test_verify_when_a_question_is_on_its_way_then_its_answer_does_not_stand_for_the_one_wanted() -> None:
    """The placement's reply tells of a fill, and the answer on its way is from before it."""
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    placed, world.venue.replies = world.venue.replies, []
    world.venue.events.clear()
    world.service.on_user_event(UserStreamUp())
    world.service.on_timer()
    early, world.venue.replies = world.venue.replies, []
    world.venue.trade(name, D(1))
    world.venue.events.clear()
    for on_reply, reply in placed:
        assert isinstance(reply, Confirmed)
        assert isinstance(reply.value, VenueOrder | None)
        filled = msgspec.structs.replace(reply.value, status="FILLED") if reply.value is not None else None
        on_reply(msgspec.structs.replace(reply, value=filled))
    for on_reply, reply in early:
        on_reply(reply)
    world.run(5_000)
    assert (world.state(name), world.filled(name)) == (OrderState.FILLED, D(1))


def test_cancel_when_the_stream_tells_of_the_end_too_then_nothing_is_asked() -> None:
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    world.run(50)
    asked = len(world.venue.sent(QueryOrder))
    world.cancel(name)
    world.run(5_000)
    assert world.state(name) is OrderState.CANCELED
    assert len(world.venue.sent(QueryOrder)) == asked


def test_amend_when_the_venue_ends_the_order_instead_and_the_stream_does_not_tell_then_it_is_asked_for() -> None:
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    world.run(200)
    world.amend(name, D(98), D(1))
    ((on_reply, reply),) = world.venue.replies
    world.venue.replies = []
    world.venue.end(name, "EXPIRED")
    world.venue.events.clear()
    assert isinstance(reply, Confirmed)
    assert isinstance(reply.value, VenueOrder)
    on_reply(Confirmed(msgspec.structs.replace(reply.value, status="EXPIRED"), 1))
    world.run(1_000)
    assert world.state(name) is OrderState.EXPIRED


def test_doubt_when_denied_while_a_cancel_is_on_its_way_then_concluded_once_its_reply_is_in() -> None:
    world = ExecutorWorld(exits=False)
    name = lost_order(world)
    world.cancel(name)
    world.run(50)
    world.cancel(name)
    late, world.venue.replies = world.venue.replies, []
    world.run(10_000)
    assert world.state(name) is OrderState.PENDING_CANCEL
    for on_reply, reply in late:
        on_reply(reply)
    world.run(150)
    assert world.state(name) is OrderState.REJECTED


def test_stop_when_a_fill_is_known_by_a_query_alone_then_it_is_counted_before_the_end() -> None:
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    world.run(200)
    world.venue.trade(name, D(1))
    world.venue.events.clear()
    world.service.on_user_event(UserStreamUp())
    while world.state(name) is not OrderState.FILLED:
        world.run(50)
    assert world.filled(name) == 0
    world.service.on_stop()
    while not world.service.stopped:
        world.run(100)
    assert world.filled(name) == 1
    assert replay(world.journal.replay()).orders == {}

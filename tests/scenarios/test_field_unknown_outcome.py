"""Orders whose outcome nobody knows, and duplicates: the field's threads, each as a story that ends well here."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from grinder.model.frames import Frame
from grinder.model.orders import INTENTS_PER_INCARNATION, OrderId, OrderState, Side, TimeInForce, format_order_id
from grinder.model.reasons import DenyReason
from grinder.model.units import ZERO
from grinder.model.venue import Advice, PlaceOrder, QueryOrder, Rejected, UserStreamDown, UserStreamUp
from grinder.sim.exchange.faults import FaultRule
from tests.account_world import ExecutorWorld, order_id
from tests.fake_venue import Outcome
from tests.order_world import OrderWorld

D = Decimal


def test_submit_when_in_doubt_and_the_stream_accepts_it_then_nothing_is_sent_or_asked_any_more() -> None:
    """nautilus_trader#4215: -1007, the user stream accepted, the retry fired all the same and met -4116."""
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_AFTER)
    name = world.place(1)
    world.deliver()
    assert world.state(name) is OrderState.OPEN
    asked = len(world.venue.sent(QueryOrder))
    world.run(20_000)
    assert len(world.venue.sent(PlaceOrder)) == 1
    assert len(world.venue.sent(QueryOrder)) == asked


def test_submit_when_the_venue_says_duplicate_id_then_the_order_that_exists_is_ours() -> None:
    """nautilus_trader#4215, sequel: -4116 was taken for a rejection of an order that rests."""
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Rejected(400, -4116, "duplicated", Advice.DUPLICATE_ID))
    name = world.place(1)
    (request,) = world.venue.sent(PlaceOrder)
    assert isinstance(request, PlaceOrder)
    world.venue.rest(request)
    world.run(1_000)
    assert world.state(name) is OrderState.OPEN


def test_submit_when_it_times_out_then_it_counts_as_working_and_is_not_placed_anew() -> None:
    """hummingbot#493: a timeout was taken for a failure; the bot placed again and the old orders remained."""
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_AFTER)
    name = world.place(1)
    world.venue.events.clear()
    world.run(100)
    assert world.state(name) is OrderState.IN_DOUBT
    world.run(5_000)
    assert world.state(name) is OrderState.OPEN
    assert len(world.venue.open_orders()) == 1


def test_query_when_denied_right_after_the_submit_then_the_order_is_not_given_up() -> None:
    """hummingbot#601: -2013 right after the create was taken for a failure; duplicates drained the balance."""
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_AFTER)
    world.venue.hidden_until_ms = world.clock.utc_ms() + 4_000
    name = world.place(1)
    world.venue.events.clear()
    world.run(4_000)
    assert world.state(name) is OrderState.IN_DOUBT
    world.run(6_000)
    assert world.state(name) is OrderState.OPEN
    assert len(world.venue.sent(PlaceOrder)) == 1


def test_network_when_it_returns_after_the_stop_then_nothing_is_placed() -> None:
    """hummingbot#720: after stop a reconnect sent two identical orders."""
    world = ExecutorWorld()
    world.place(1)
    world.run(100)
    world.service.on_user_event(UserStreamDown("network"))
    world.service.on_stop()
    placed = len(world.venue.sent(PlaceOrder))
    world.service.on_user_event(UserStreamUp())
    refused = world.place(2)
    world.run(5_000)
    assert world.updates(refused)[-1].reason == DenyReason.STOPPING
    assert len(world.venue.sent(PlaceOrder)) == placed
    assert not world.venue.open_orders()


def test_intent_when_it_arrives_twice_then_one_order_and_one_count() -> None:
    """chrisleekr/binance-trading-bot#450: duplicated buys both filled and were counted once."""
    world = ExecutorWorld()
    place = world.make_place(1)
    world.send(place)
    world.send(place)
    world.run(50)
    assert len(world.venue.sent(PlaceOrder)) == 1
    world.venue.trade(place.client_order_id, D(1))
    world.run(50)
    assert world.filled(place.client_order_id) == D(1)
    assert world.telemetry.counts["grinder_executor_denied_total", DenyReason.DUPLICATE_ID.value] == 1


@pytest.mark.parametrize("done", [True, False])
def test_submit_when_its_outcome_is_unknown_then_verified_by_a_query_before_anything_else(done: bool) -> None:
    """sieblyio/binance#580: -1007; verify by stream or REST before any retry."""
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_AFTER if done else Outcome.LOST_BEFORE)
    name = world.place(1)
    world.venue.events.clear()
    world.run(12_000)
    assert world.venue.sent(QueryOrder)
    assert len(world.venue.sent(PlaceOrder)) == 1
    assert world.state(name) is (OrderState.OPEN if done else OrderState.REJECTED)


EXECUTED = ("overloaded_executed", "internal_executed", "unknown_executed", "timeout_executed", "garbage")
SPARED = ("overloaded", "internal", "unknown", "unavailable", "timeout_not_executed")


def placed_through(kind: str) -> tuple[OrderWorld, str]:
    world = OrderWorld(1)
    world.run(2_000)
    world.core.venue.faults.add(FaultRule(kind, op="order.place"))
    world.wire.drop_stream()
    world.wire.raise_stream()
    world.run(1_000)
    name = world.place(Side.BUY, D(59_990), D("0.010"), TimeInForce.GTX)
    world.run(20_000, 250)
    return world, name


@pytest.mark.parametrize("kind", EXECUTED)
def test_order_when_placed_behind_an_error_then_found_and_kept(kind: str) -> None:
    """banbox/banbot#114: an order was placed although the API returned 503 and -1008, a certain failure by its page."""
    world, name = placed_through(kind)
    assert world.believed[name].state is OrderState.OPEN
    assert world.wire.placed[name] == 1


@pytest.mark.parametrize("kind", SPARED)
def test_order_when_an_overloaded_venue_drops_it_then_its_end_is_told_and_a_new_one_may_come(kind: str) -> None:
    """germangar/whook#21: -1008 was not handled, the order silently dropped."""
    world, name = placed_through(kind)
    assert world.ended[name] is OrderState.REJECTED
    assert name not in world.wire.placed
    again = world.place(Side.BUY, D(59_990), D("0.010"), TimeInForce.GTX)
    world.run(500)
    assert world.believed[again].state is OrderState.OPEN


def test_ids_when_made_over_terms_and_restarts_then_no_two_are_alike() -> None:
    """hftbacktest#87: random client ids collided and the bot stopped placing."""
    ids = {
        format_order_id(OrderId("grd", term, incarnation * INTENTS_PER_INCARNATION + number, level))
        for term in (0, 1, 35, 36)
        for incarnation in (1, 2, 4_095)
        for number in (*range(1_500), INTENTS_PER_INCARNATION - 1)
        for level in ("b1", "s1")
    }
    assert len(ids) == 4 * 3 * 1_501 * 2


def test_fill_when_it_was_missed_before_a_restart_then_it_stays_with_its_own_order() -> None:
    """freqtrade#13399: recovery attached the fill of the stop before to the new, reversed trade: a crash loop."""
    before = ExecutorWorld()
    old = before.place(1)
    before.run(50)
    before.venue.trade(old, D(1))
    before.venue.events.clear()
    after = ExecutorWorld(venue=before.venue, journal=before.journal)
    after.run(3_000)
    new = after.place(2, side=Side.SELL, price=D(101))
    after.run(3_000)
    assert (after.filled(old), after.filled(new)) == (D(1), ZERO)
    assert after.state(new) is OrderState.OPEN


def test_restarts_when_there_are_many_on_one_journal_then_nothing_is_doubled() -> None:
    """nautilus_trader#3176: duplicates were created at every restart with a persistent cache."""
    world = ExecutorWorld()
    name = world.place(1, qty=D(2))
    world.run(50)
    world.venue.trade(name, D(1))
    world.run(50)
    counted = world.filled(name)
    for _ in range(5):
        world = ExecutorWorld(venue=world.venue, journal=world.journal)
        world.run(4_000)
        counted += world.filled(name)
        assert world.state(name) is OrderState.PARTIALLY_FILLED
    assert counted == D(1)
    assert len(world.venue.sent(PlaceOrder)) == 1


def recovered(make: Callable[[], ExecutorWorld]) -> list[Frame]:
    world = make()
    world.run(12_000)
    return world.publisher.frames


def test_recovery_when_run_twice_on_the_same_then_it_says_the_same() -> None:
    """nautilus_trader#3878: reconciliation was not deterministic between runs."""

    def once() -> list[Frame]:
        before = ExecutorWorld()
        kept, lost, half = (before.place(number) for number in (1, 2, 3))
        before.run(50)
        before.venue.trade(half, D("0.5"))
        before.venue.orders.pop(lost)
        before.venue.events.clear()
        assert kept != half
        return recovered(lambda: ExecutorWorld(venue=before.venue, journal=before.journal))

    assert once() == once()


@pytest.mark.parametrize("copies", [2, 3])
def test_fill_when_delivered_again_and_after_the_end_then_counted_once(copies: int) -> None:
    """ccxt#18028, ccxt#18078: FILL events came twice on Binance futures."""
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    trades = [world.venue.trade(name, D("0.4")), world.venue.trade(name, D("0.6"))]
    world.venue.events += trades * (copies - 1)
    world.run(100)
    world.venue.events += [*reversed(trades)]
    world.run(3_000)
    assert world.filled(name) == D(1)
    assert world.state(name) is OrderState.FILLED
    assert world.filled(order_id(2)) == ZERO

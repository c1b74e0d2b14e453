"""Orders that hang, and cancels that race with fills: the field's threads, each as a story that ends well here."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.adapters.binance.wire import operation_of
from grinder.model.orders import OrderState, Side, TimeInForce
from grinder.model.reasons import DenyReason
from grinder.model.units import ZERO
from grinder.model.venue import Advice, AmendOrder, CancelOrder, PlaceOrder, QueryOrder, Rejected
from tests.account_world import ExecutorWorld
from tests.fake_venue import NOT_FOUND, SYMBOL, Outcome
from tests.order_world import OrderWorld

D = Decimal


def test_query_when_an_order_in_flight_is_asked_for_then_the_question_covers_live_and_ended_orders() -> None:
    """nautilus_trader PR#4411: the in-flight query asked the wrong endpoint; live orders were declared rejected."""
    operation = operation_of(QueryOrder("grd-0-1-b1", SYMBOL))
    assert (operation.path, operation.ws_method) == ("/fapi/v1/order", "order.status")
    world = ExecutorWorld()
    world.venue.replies.clear()
    name = world.place(1)
    world.venue.replies.clear()
    world.venue.events.clear()
    world.run(20_000)
    assert world.state(name) is OrderState.OPEN


def test_cancel_when_it_is_lost_again_and_again_then_the_order_stays_ours_to_cancel() -> None:
    """hummingbot#7610: orders outlived their refresh and were not cancelled."""
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE] * 3
    for _ in range(3):
        world.cancel(name)
        world.run(2_000)
        assert world.state(name) is OrderState.OPEN
    world.cancel(name)
    world.run(50)
    assert world.state(name) is OrderState.CANCELED
    assert not world.venue.open_orders()


def test_restart_when_commands_of_every_kind_were_on_their_way_then_none_stays_pending() -> None:
    """Krypto#1042: after a power loss quotes stayed "waiting status update"."""
    before = ExecutorWorld()
    names = [before.place(number) for number in (1, 2, 3, 4)]
    before.run(50)
    before.amend(names[1], D(98), D(2))
    before.cancel(names[2])
    before.venue.outcomes[PlaceOrder].append(Outcome.LOST_BEFORE)
    names.append(before.place(5))
    before.venue.replies.clear()
    before.venue.events.clear()
    after = ExecutorWorld(venue=before.venue, journal=before.journal)
    after.run(12_000)
    states = [after.state(name) for name in names]
    assert states == [OrderState.OPEN] * 2 + [OrderState.CANCELED, OrderState.OPEN, OrderState.REJECTED]
    assert after.updates(names[1])[-1].price == D(98)
    assert not after.service.readiness()


def test_outage_when_the_api_dies_then_no_order_is_tried_and_it_goes_on_afterwards() -> None:
    """Krypto#1070: a dead API froze quoting for good; refused orders were repeated until the address was banned."""
    world = ExecutorWorld()
    world.venue.connected = False
    denied = [world.place(number) for number in range(1, 6)]
    assert {world.updates(name)[-1].reason for name in denied} == {DenyReason.VENUE_DISCONNECTED}
    assert not world.venue.sent(PlaceOrder)
    world.venue.connected = True
    placed = world.place(6)
    world.run(50)
    assert world.state(placed) is OrderState.OPEN


def test_cancel_when_nobody_knows_how_it_ended_then_the_order_is_not_called_cancelled() -> None:
    """freqtrade#3647: an order called cancelled was not cancelled on the exchange."""
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.outcomes[CancelOrder].append(Outcome.LOST_BEFORE)
    world.cancel(name)
    world.run(5_000)
    assert OrderState.CANCELED not in [update.state for update in world.updates(name)]
    assert world.state(name) is OrderState.OPEN


@pytest.mark.parametrize(
    ("truth", "state", "filled"),
    [
        ("filled", OrderState.FILLED, D(1)),
        ("cancelled", OrderState.CANCELED, ZERO),
        ("expired", OrderState.EXPIRED, ZERO),
        ("half filled, cancelled", OrderState.CANCELED, D("0.5")),
        ("resting", OrderState.OPEN, ZERO),
        ("never placed", OrderState.REJECTED, ZERO),
    ],
)
def test_cancel_when_the_venue_knows_no_such_order_then_the_truth_is_asked_for(
    truth: str, state: OrderState, filled: Decimal
) -> None:
    """freqtrade#3208 (crash), python-binance#601, binance-futures-connector-python#63: what does -2011 mean?"""
    world = ExecutorWorld()
    if truth == "never placed":
        world.venue.outcomes[PlaceOrder].append(Outcome.LOST_BEFORE)
    name = world.place(1)
    world.run(50)
    if "filled" in truth:
        world.venue.trade(name, D("0.5") if "half" in truth else D(1))
    if "cancelled" in truth or "expired" in truth:
        world.venue.end(name, "EXPIRED" if truth == "expired" else "CANCELED")
    world.venue.events.clear()
    if truth == "resting":
        world.venue.outcomes[CancelOrder].append(Rejected(400, -2011, "Unknown order sent.", Advice.NOT_FOUND))
    world.cancel(name)
    world.run(15_000)
    assert (world.state(name), world.filled(name)) == (state, filled)


def test_amend_when_the_venue_does_not_know_the_new_order_yet_then_it_is_not_lost() -> None:
    """freqtrade#4456, freqtrade#4462: -2013 just after the placement."""
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.outcomes[AmendOrder].append(NOT_FOUND)
    world.venue.hidden_until_ms = world.clock.utc_ms() + 3_000
    world.amend(name, D(98), D(1))
    world.run(2_000)
    assert world.state(name) is OrderState.IN_DOUBT
    world.run(10_000)
    assert world.state(name) is OrderState.OPEN


@pytest.mark.parametrize("traded", ["0.004", "0.010"])
def test_order_when_it_trades_between_the_look_and_the_cancel_then_each_unit_counts(traded: str) -> None:
    """yasinkuyu/binance-trader#178, gekko PR#2450: a fill between check and cancel was lost."""
    world = OrderWorld(3)
    world.run(2_000)
    name = world.place(Side.BUY, D("60000.0"), D("0.010"), TimeInForce.GTX)
    world.run(100)
    world.cancel(name)
    world.trade(Side.SELL, str(D(5) + D(traded)), 0)
    world.run(3_000)
    assert world.counted[name] == D(traded)
    assert world.ended[name] is (OrderState.FILLED if traded == "0.010" else OrderState.CANCELED)
    assert world.core.held() == D(traded)


def test_doubt_when_no_query_helps_then_it_is_told_counts_and_holds_new_risk_back_until_resolved() -> None:
    """Krypto#1042, the other end: an order must not stay in doubt without anybody being told."""
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_AFTER)
    world.venue.outcomes[QueryOrder] = [Outcome.LOST_BEFORE] * 14
    name = world.place(1, qty=D(2))
    world.venue.events.clear()
    world.run(60_000)
    assert world.state(name) is OrderState.IN_DOUBT
    assert "unresolved after" in world.updates(name)[-1].reason
    assert "ORDER_UNRESOLVED" in world.log.names()
    assert world.telemetry.counts["grinder_executor_doubts_unresolved_total",] == 1
    assert world.telemetry.gauges["grinder_executor_orders_unresolved",] == 1
    assert world.updates(world.place(2))[-1].reason == DenyReason.ORDER_UNRESOLVED
    reducing = world.place(3, reduce_only=True, side=Side.SELL, price=D(101))
    assert world.state(reducing) is OrderState.PENDING_NEW
    world.run(200_000)
    assert world.state(name) is OrderState.OPEN
    assert "ORDER_RESOLVED" in world.log.names()
    placed = world.place(4)
    world.run(50)
    assert world.state(placed) is OrderState.OPEN
    assert (
        len([request for request in world.venue.sent(PlaceOrder) if request == world.venue.orders[name].request]) == 1
    )


DAY_MS = 24 * 3_600 * 1_000


@pytest.mark.parametrize(
    ("days", "state", "words"),
    [
        (0, OrderState.REJECTED, "not found at the venue"),
        (4, OrderState.CANCELED, "forgotten by the venue after 3 days"),
        (91, OrderState.CANCELED, "its fills cannot be asked for"),
    ],
)
def test_restart_when_the_venue_has_forgotten_an_order_then_its_age_says_what_that_means(
    days: int, state: OrderState, words: str
) -> None:
    """Krypto#1042, after a long pause: orders that ended without a fill vanish from queries after 3 days."""
    before = ExecutorWorld()
    name = before.place(1)
    before.venue.orders.pop(name)
    before.venue.replies.clear()
    before.venue.events.clear()
    before.clock.advance_ms(days * DAY_MS)
    after = ExecutorWorld(venue=before.venue, journal=before.journal)
    after.run(12_000)
    assert after.state(name) is state
    assert words in after.updates(name)[-1].reason

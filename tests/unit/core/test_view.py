from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.view import SETTLE_MS, SETTLING_MAX, OrdersView
from grinder.model.limits import ORDERS_TRACKED_MAX
from grinder.model.orders import (
    Amend,
    Cancel,
    CommandRefused,
    Fill,
    OrderKind,
    OrdersSnapshot,
    OrderState,
    OrderUpdate,
    Place,
    Side,
    TimeInForce,
)
from grinder.model.reasons import PlanReason
from grinder.model.units import NS_PER_MS

D = Decimal
S = OrderState
SYMBOL = "BTCUSDT"
ID = "grd-0-a1-b1"
NOW = 1_000 * NS_PER_MS
DEADLINE = NOW + 500 * NS_PER_MS
INCARNATION = 7


def place(name: str = ID) -> Place:
    return Place(
        name, SYMBOL, Side.BUY, D(100), D(10), TimeInForce.GTX, False, OrderKind.GRID, PlanReason.GRID_FILL, DEADLINE, 0
    )


def amend(name: str = ID) -> Amend:
    return Amend(name, SYMBOL, Side.BUY, D(99), D(10), PlanReason.GRID_SHIFT, DEADLINE, 0)


def cancel(name: str = ID) -> Cancel:
    return Cancel(name, SYMBOL, PlanReason.GRID_TRIM, DEADLINE, 0)


def update(state: OrderState, filled: int = 0, price: int = 100, name: str = ID) -> OrderUpdate:
    return OrderUpdate(name, SYMBOL, Side.BUY, OrderKind.GRID, state, D(price), D(10), D(filled), False, "", 0)


def fill(qty: int, name: str = ID) -> Fill:
    return Fill(name, SYMBOL, Side.BUY, OrderKind.GRID, 1, D(100), D(qty), D(0), D(0), True, 0)


def snapshot(*orders: OrderUpdate, seq: int = 0, ready: bool = True, sent: int = NOW, incarnation: int = INCARNATION):
    return OrdersSnapshot(orders, incarnation, seq, ready, "", sent)


def view() -> OrdersView:
    return OrdersView(INCARNATION)


def resting(filled: int = 0) -> OrdersView:
    orders = view()
    orders.place(place(), 1, NOW)
    orders.update(update(S.PENDING_NEW), NOW)
    orders.update(update(S.PARTIALLY_FILLED if filled else S.OPEN, filled), NOW)
    return orders


def state_of(orders: OrdersView, name: str = ID) -> OrderState | None:
    order = orders.get(name)
    return None if order is None else order.state


def test_place_when_queued_then_pending_and_in_flight_at_once() -> None:
    orders = view()
    orders.place(place(), 1, NOW)
    order = orders.get(ID)
    assert order is not None
    assert (order.state, order.in_flight, order.level) == (S.PENDING_NEW, True, "b1")
    assert [one.client_order_id for one in orders.of(SYMBOL)] == [ID]
    assert not orders.quiet(SYMBOL)
    assert orders.touched == {SYMBOL}


def test_place_when_its_answer_comes_then_it_rests() -> None:
    orders = resting()
    assert state_of(orders) is S.OPEN
    assert orders.quiet(SYMBOL)


def test_amend_when_an_older_answer_comes_then_it_stays_pending_until_its_own() -> None:
    orders = resting()
    orders.command(amend(), 2)
    orders.update(update(S.OPEN), NOW)
    assert state_of(orders) is S.PENDING_AMEND
    orders.update(update(S.PENDING_AMEND), NOW)
    orders.update(update(S.OPEN, price=99), NOW)
    order = orders.get(ID)
    assert order is not None
    assert (order.state, order.price) == (S.OPEN, D(99))


def test_cancel_when_answered_then_the_order_is_gone() -> None:
    orders = resting()
    orders.command(cancel(), 2)
    assert state_of(orders) is S.PENDING_CANCEL
    orders.update(update(S.PENDING_CANCEL), NOW)
    orders.update(update(S.CANCELED), NOW)
    assert len(orders) == 0
    assert orders.quiet(SYMBOL)


@pytest.mark.parametrize(("filled", "state"), [(0, S.OPEN), (3, S.PARTIALLY_FILLED)])
def test_refusal_when_a_command_failed_then_the_order_rests_as_before(filled, state) -> None:
    orders = resting(filled)
    orders.command(amend(), 2)
    orders.refuse(CommandRefused(ID, SYMBOL, "amend", "-5022"))
    assert state_of(orders) is state


def test_refusal_when_the_executor_does_not_know_the_order_then_it_is_gone() -> None:
    orders = resting()
    orders.command(cancel(), 2)
    orders.refuse(CommandRefused(ID, SYMBOL, "cancel", "UNKNOWN_ORDER"))
    assert state_of(orders) is None


def test_refusal_when_nothing_is_pending_then_nothing_changes() -> None:
    orders = resting()
    orders.refuse(CommandRefused(ID, SYMBOL, "cancel", "ORDER_BUSY"))
    orders.refuse(CommandRefused("grd-0-zz-b1", SYMBOL, "cancel", "ORDER_BUSY"))
    assert state_of(orders) is S.OPEN


def test_unsend_when_a_frame_never_left_then_the_view_is_as_before() -> None:
    orders = view()
    orders.place(place(), 1, NOW)
    orders.unsend(ID, None)
    assert len(orders) == 0
    orders = resting()
    before = orders.command(cancel(), 2)
    orders.unsend(ID, before)
    assert state_of(orders) is S.OPEN


def test_update_when_the_order_is_in_doubt_then_it_is_in_flight() -> None:
    orders = resting()
    orders.update(update(S.IN_DOUBT), NOW)
    order = orders.get(ID)
    assert order is not None
    assert order.in_flight


def test_update_when_still_pending_and_as_large_then_nothing_needs_planning() -> None:
    orders = view()
    orders.place(place(), 1, NOW)
    orders.touched.clear()
    orders.update(update(S.PENDING_NEW), NOW)
    assert not orders.touched


def test_update_when_terminal_and_unknown_then_ignored() -> None:
    orders = view()
    orders.update(update(S.FILLED, 10), NOW)
    assert len(orders) == 0
    assert not tuple(orders.unsettled_of(SYMBOL))


@pytest.mark.parametrize("fill_first", [True, False])
def test_fill_when_before_or_after_the_update_then_counted_once(fill_first) -> None:
    orders = resting()
    steps = [lambda: orders.fill(fill(4)), lambda: orders.update(update(S.PARTIALLY_FILLED, 4), NOW)]
    for step in steps if fill_first else reversed(steps):
        step()
    order = orders.get(ID)
    assert order is not None
    assert (order.executed_qty, order.remaining_qty, order.unsettled_qty) == (D(4), D(6), D(0))


def test_fill_when_the_update_came_first_then_unsettled_in_between() -> None:
    orders = resting()
    orders.update(update(S.PARTIALLY_FILLED, 4), NOW)
    order = orders.get(ID)
    assert order is not None
    assert order.unsettled_qty == D(4)
    assert not orders.quiet(SYMBOL)


def test_fill_when_the_order_has_ended_then_it_waits_for_its_trades() -> None:
    orders = resting()
    orders.update(update(S.FILLED, 10), NOW)
    assert [order.unsettled_qty for order in orders.unsettled_of(SYMBOL)] == [D(10)]
    orders.fill(fill(4))
    assert [order.unsettled_qty for order in orders.unsettled_of(SYMBOL)] == [D(6)]
    assert not orders.quiet(SYMBOL)
    orders.fill(fill(6))
    assert orders.quiet(SYMBOL)
    orders.fill(fill(1, "grd-0-unknown-b1"))


def test_fill_when_trades_never_come_then_given_up_after_a_while() -> None:
    orders = resting()
    orders.update(update(S.FILLED, 10), NOW)
    orders.expire(NOW + SETTLE_MS * NS_PER_MS)
    assert not orders.quiet(SYMBOL)
    orders.expire(NOW + SETTLE_MS * NS_PER_MS + 1)
    assert orders.quiet(SYMBOL)


def test_settling_when_full_then_the_oldest_is_given_up() -> None:
    orders = view()
    for number in range(SETTLING_MAX + 1):
        name = f"grd-0-{number}-b1"
        orders.place(place(name), number + 1, NOW)
        orders.update(update(S.FILLED, 10, name=name), NOW)
    assert len(tuple(orders.unsettled_of(SYMBOL))) == SETTLING_MAX
    assert "grd-0-0-b1" not in {order.client_order_id for order in orders.unsettled_of(SYMBOL)}


def test_snapshot_when_an_unread_order_is_missing_then_it_stays() -> None:
    orders = view()
    orders.place(place(), 5, NOW)
    orders.snapshot(snapshot(seq=4), NOW)
    assert state_of(orders) is S.PENDING_NEW


@pytest.mark.parametrize(
    ("healing", "gone"),
    [
        (snapshot(seq=5), True),
        (snapshot(seq=5, ready=False), False),
        (snapshot(seq=9, incarnation=INCARNATION - 1), False),
        (snapshot(seq=0, sent=DEADLINE), False),
        (snapshot(seq=0, sent=DEADLINE + 1), True),
        (snapshot(seq=0, sent=DEADLINE + 1, ready=False), False),
    ],
)
def test_snapshot_when_an_order_is_missing_then_gone_only_if_its_intent_was_read_or_is_too_late(healing, gone) -> None:
    orders = view()
    orders.place(place(), 5, NOW)
    orders.snapshot(healing, NOW)
    assert (state_of(orders) is None) is gone
    assert orders.synced is healing.ready
    assert orders.executor_ready is healing.ready


def test_snapshot_when_a_pending_command_was_read_then_its_state_is_the_truth() -> None:
    orders = resting()
    orders.command(amend(), 6)
    orders.snapshot(snapshot(update(S.OPEN, price=99), seq=5), NOW)
    assert state_of(orders) is S.PENDING_AMEND
    orders.snapshot(snapshot(update(S.OPEN, price=99), seq=6), NOW)
    assert state_of(orders) is S.OPEN


def test_snapshot_when_it_lists_an_unknown_order_then_it_is_adopted_and_its_trades_are_past() -> None:
    orders = view()
    orders.snapshot(snapshot(update(S.PARTIALLY_FILLED, 4)), NOW)
    order = orders.get(ID)
    assert order is not None
    assert (order.remaining_qty, order.unsettled_qty, order.level) == (D(6), D(0), "b1")
    orders.snapshot(snapshot(), NOW)
    assert state_of(orders) is None


def test_snapshot_when_an_order_is_foreign_then_it_has_no_level() -> None:
    orders = view()
    orders.snapshot(snapshot(update(S.OPEN, name="by-hand")), NOW)
    order = orders.get("by-hand")
    assert order is not None
    assert order.level == ""


def test_view_when_full_then_no_order_is_added() -> None:
    orders = view()
    for number in range(ORDERS_TRACKED_MAX):
        orders.update(update(S.OPEN, name=f"grd-0-{number}-b1"), NOW)
    assert orders.full
    orders.update(update(S.OPEN, name="grd-1-0-b1"), NOW)
    orders.snapshot(snapshot(update(S.OPEN, name="grd-1-1-b1"), ready=False), NOW)
    assert len(orders) == ORDERS_TRACKED_MAX


def test_update_when_the_order_is_settling_then_it_does_not_come_back() -> None:
    orders = resting()
    orders.update(update(S.FILLED, 10), NOW)
    orders.update(update(S.OPEN), NOW)
    assert state_of(orders) is None


def test_fill_when_a_snapshot_told_of_it_first_then_the_order_does_not_look_smaller_than_it_is() -> None:
    orders = resting()
    orders.snapshot(snapshot(update(S.PARTIALLY_FILLED, 4)), NOW)
    orders.fill(fill(4))
    order = orders.get(ID)
    assert order is not None
    assert (order.executed_qty, order.remaining_qty, order.unsettled_qty) == (D(4), D(6), D(0))


def test_fill_when_an_earlier_one_was_lost_then_the_next_snapshot_settles_it() -> None:
    orders = resting()
    orders.snapshot(snapshot(update(S.PARTIALLY_FILLED, 4)), NOW)
    orders.fill(fill(3))
    orders.update(update(S.PARTIALLY_FILLED, 7), NOW)
    orders.snapshot(snapshot(update(S.PARTIALLY_FILLED, 7)), NOW)
    order = orders.get(ID)
    assert order is not None
    assert (order.remaining_qty, order.unsettled_qty) == (D(3), D(0))


def test_fill_when_its_order_ended_after_a_snapshot_told_of_it_then_nothing_is_owed() -> None:
    orders = resting()
    orders.snapshot(snapshot(update(S.PARTIALLY_FILLED, 4)), NOW)
    orders.update(update(S.CANCELED, 4), NOW)
    orders.fill(fill(4))
    assert orders.quiet(SYMBOL)


def test_fill_when_it_comes_late_and_its_order_has_ended_then_the_rest_is_still_owed() -> None:
    orders = resting()
    orders.snapshot(snapshot(update(S.PARTIALLY_FILLED, 4)), NOW)
    orders.update(update(S.FILLED, 10), NOW)
    orders.fill(fill(4))
    assert [order.unsettled_qty for order in orders.unsettled_of(SYMBOL)] == [D(6)]
    orders.fill(fill(6))
    assert orders.quiet(SYMBOL)

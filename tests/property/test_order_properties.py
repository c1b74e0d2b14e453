"""Invariants of an order's life under any order of reports and replies, and of what is counted as filled."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.core.fills import counted_qty, cover
from grinder.core.order_table import TRANSITIONS, Happening
from grinder.core.orders import (
    Order,
    amend_confirmed,
    amend_refused,
    amend_sent,
    cancel_sent,
    happen,
    infer_fill,
    new_order,
    on_event,
    on_found,
)
from grinder.model.orders import TERMINAL, OrderKind, OrderState, Place, Side, TimeInForce
from grinder.model.reasons import PlanReason
from grinder.model.units import ZERO
from grinder.model.venue import OrderEvent, VenueOrder

D = Decimal
QTY = 10
NAME = "grd-0-1-b1"
PLACE = Place(
    NAME, "BTCUSDT", Side.BUY, D(99), D(QTY), TimeInForce.GTX, False, OrderKind.GRID, PlanReason.GRID_FILL, 0, 0
)
RESTING = {OrderState.OPEN, OrderState.PARTIALLY_FILLED}


def event(utc_ms: int, execution: str, status: str, filled: int, last: int = 0, trade_id: int = 0) -> OrderEvent:
    return OrderEvent(
        NAME, 5, "BTCUSDT", Side.BUY, execution, status, D(99), D(QTY), D(filled), D(99), D(last), trade_id,
        D(last), ZERO, True, False, utc_ms, utc_ms,
    )  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[OrderEvent]:
    """What truly happened at the venue: accepted, traded in parts, perhaps ended; oldest first."""
    events = [event(1, "NEW", "NEW", 0)]
    filled = 0
    for number, part in enumerate(draw(st.lists(st.integers(1, 4), max_size=4)), start=1):
        last = min(part, QTY - filled)
        if last == 0:
            break
        filled += last
        status = "FILLED" if filled == QTY else "PARTIALLY_FILLED"
        events.append(event(1 + number, "TRADE", status, filled, last, number))
    if filled < QTY and draw(st.booleans()):
        status = draw(st.sampled_from(["CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"]))
        events.append(event(50, status, status, filled))
    return events


def found(report: OrderEvent) -> VenueOrder:
    return VenueOrder(NAME, 5, "BTCUSDT", Side.BUY, report.status, D(99), D(QTY), report.filled_qty, False,
                      report.transaction_utc_ms)  # fmt: skip


def command(order: Order, number: int) -> Order:
    """Apply one of our commands or one of the venue's replies."""
    match number:
        case 0:
            return cancel_sent(order)
        case 1:
            return amend_sent(order, D(98), D(QTY)) if order.state in RESTING else order
        case 2:
            return amend_confirmed(order, None)
        case 3:
            return amend_refused(order, "no")
    harmless = (
        Happening.PLACE_CONFIRMED,
        Happening.PLACE_IN_DOUBT,
        Happening.AMEND_UNCERTAIN,
        Happening.CANCEL_FAILED,
        Happening.REPLY_OVERDUE,
    )
    return happen(order, harmless[number % len(harmless)])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_life_when_reports_come_in_any_order_then_it_ends_as_the_venue_says(data: st.DataObject) -> None:
    history = data.draw(histories())
    reports = data.draw(st.permutations(history + data.draw(st.lists(st.sampled_from(history), max_size=4))))
    order, counted = new_order(PLACE), ZERO
    for report in reports:
        for number in data.draw(st.lists(st.integers(0, 12), max_size=3)):
            order = command(order, number)
        before = order
        reported = on_found(order, found(report), proved=True) if data.draw(st.booleans()) else None
        reported = reported or on_event(order, report)
        order = reported.order
        assert order.filled_qty >= before.filled_qty
        assert before.state not in TERMINAL or order.state is before.state
        if reported.fill is not None:
            counted += reported.fill.qty
    for report in history:
        reported = on_event(order, report)
        order = reported.order
        if reported.fill is not None:
            counted += reported.fill.qty
    last = history[-1]
    assert counted == last.filled_qty == order.filled_qty
    if last.status in ("FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"):
        assert order.state.value == last.status.removesuffix("_IN_MATCH")
    else:
        order = on_found(happen(order, Happening.CANCEL_FAILED), found(last), proved=True).order
        assert order.state in RESTING | {OrderState.PENDING_CANCEL, OrderState.PENDING_AMEND}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Happening)), st.integers(0, QTY)), max_size=40))
def test_table_when_anything_happens_then_terminal_is_final_and_filled_never_shrinks(
    happenings: list[tuple[Happening, int]],
) -> None:
    order = new_order(PLACE)
    for what, filled in happenings:
        before = order
        order = happen(msgspec.structs.replace(order, filled_qty=max(order.filled_qty, D(filled))), what)
        assert before.state not in TERMINAL or order.state is before.state
        assert order.filled_qty >= before.filled_qty
        assert (order.state is OrderState.PARTIALLY_FILLED) <= (order.filled_qty > ZERO)


@settings(max_examples=200, deadline=None)
@given(st.permutations(list(range(6))), st.integers(0, 5))
def test_fills_when_a_query_comes_before_the_trades_then_each_unit_is_counted_once(
    order_of: list[int], at: int
) -> None:
    parts = [event(2 + n, "TRADE", "PARTIALLY_FILLED", n + 1, 1, n + 1) for n in range(6)]
    order, counted = new_order(PLACE), ZERO
    for position, number in enumerate(order_of):
        if position == at:
            order = on_found(order, found(parts[4]), proved=True).order
            order, fill = infer_fill(order)
            counted += fill.qty if fill is not None else ZERO
        reported = on_event(order, parts[number])
        order = reported.order
        counted += reported.fill.qty if reported.fill is not None else ZERO
    assert counted == D(6) == order.filled_qty


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12))
def test_cover_when_spans_overlap_then_the_count_equals_the_set_of_units(spans: list[tuple[int, int]]) -> None:
    counted, units, total = (), set[int](), ZERO
    for start, end in spans:
        counted, added = cover(counted, D(start), D(end))
        units |= set(range(start, end))
        total += added
        assert counted_qty(counted) == len(units) == total
        assert all(first[1] < second[0] for first, second in pairwise(counted))


def test_table_when_read_then_every_terminal_state_keeps_every_happening() -> None:
    assert all(TRANSITIONS[state, what] is state for state in TERMINAL for what in Happening)

"""Single rules of an order's life that the properties do not pin down."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.doubt import (
    ANSWER_OVERDUE_MS,
    NOT_FOUND_MIN,
    SLOW_PERIOD_MS,
    TRIES_MAX,
    UNRESOLVED_AFTER_MS,
    absent,
    answered,
    asked,
    begin,
    due,
    hurried,
    in_flight_ms,
    may_still_arrive,
    not_found_after_ms,
)
from grinder.core.fills import TradeIds
from grinder.core.order_table import Happening
from grinder.core.orders import (
    Order,
    adopted,
    amend_confirmed,
    amend_sent,
    cancel_sent,
    happen,
    infer_fill,
    kind_of,
    on_event,
    on_found,
)
from grinder.core.positions_believed import Held
from grinder.model.account import OpenOrder
from grinder.model.limits import RECV_WINDOW_MS_MAX
from grinder.model.orders import OrderKind, OrderState, Side
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import OrderEvent, VenueOrder

D = Decimal
NAME = "grd-0-1-t2"
OPEN = Order(NAME, "BTCUSDT", Side.SELL, OrderKind.TAKE_PROFIT, OrderState.OPEN, D(99), D(2), True, "", existed=True)


def report(status: str, *, utc_ms: int = 5, price: str = "99", qty: str = "2", filled: str = "0") -> VenueOrder:
    return VenueOrder(NAME, 5, "BTCUSDT", Side.SELL, status, D(price), D(qty), D(filled), True, utc_ms)


def event(status: str, execution: str, *, utc_ms: int = 5, price: str = "99", qty: str = "2") -> OrderEvent:
    return OrderEvent(
        NAME, 5, "BTCUSDT", Side.SELL, execution, status, D(price), D(qty), ZERO, ZERO, ZERO, 0, ZERO, ZERO, False,
        True, utc_ms, utc_ms,
    )  # fmt: skip


def test_fill_when_its_event_was_made_after_the_trade_then_it_bears_the_time_that_the_position_bears() -> None:
    """The venue's own example has E one millisecond after T: by E no position would ever hold its last trade."""
    traded = msgspec.structs.replace(
        event("PARTIALLY_FILLED", "TRADE"),
        event_utc_ms=101,
        transaction_utc_ms=100,
        filled_qty=D(1),
        last_qty=D(1),
        last_price=D(99),
        trade_id=1,
    )
    fill = on_event(OPEN, traded).fill
    assert fill is not None
    assert Held(D(-1), changed_utc_ms=100).holds(fill)


@pytest.mark.parametrize("status", ["PENDING_SOMETHING", ""])
def test_report_when_its_status_is_unknown_then_nothing_moves_and_it_is_asked_about(status: str) -> None:
    for reported in (on_found(OPEN, report(status), proved=True), on_event(OPEN, event(status, "CALCULATED"))):
        assert (reported.order.state, reported.understood) == (OrderState.OPEN, False)


def test_amendment_when_it_is_of_an_earlier_amend_then_the_later_one_stays_on_its_way() -> None:
    order = amend_sent(amend_confirmed(amend_sent(OPEN, D(98), D(2)), None), D(97), D(2))
    late = on_event(order, event("NEW", "AMENDMENT", utc_ms=6, price="98")).order
    assert (late.state, late.wanted_price) == (OrderState.PENDING_AMEND, D(97))
    done = on_event(late, event("NEW", "AMENDMENT", utc_ms=7, price="97")).order
    assert (done.state, done.price, done.wanted_price) == (OrderState.OPEN, D(97), None)


def test_amend_when_it_changes_nothing_then_no_report_of_the_order_shows_that_it_was_carried_out() -> None:
    order = amend_sent(OPEN, OPEN.price, OPEN.qty)
    for late in (on_event(order, event("NEW", "NEW")), on_found(order, report("NEW"), proved=False)):
        assert (late.order.state, late.order.at_most_qty) == (OrderState.PENDING_AMEND, OPEN.qty)
    done = amend_confirmed(late.order, report("NEW", utc_ms=6))
    assert (done.state, done.at_most_qty, done.event_utc_ms) == (OrderState.OPEN, ZERO, 6)


@pytest.mark.parametrize(
    ("utc_ms", "state"), [(6, OrderState.PENDING_AMEND), (7, OrderState.PENDING_AMEND), (8, OrderState.OPEN)]
)
def test_amend_when_it_gives_back_an_old_size_then_only_a_younger_report_shows_it(
    utc_ms: int, state: OrderState
) -> None:
    there = on_event(amend_sent(OPEN, D(99), D(1)), event("NEW", "AMENDMENT", utc_ms=7, qty="1")).order
    assert (there.state, there.qty) == (OrderState.OPEN, D(1))
    back = amend_sent(there, OPEN.price, OPEN.qty)
    assert on_event(back, event("NEW", "AMENDMENT", utc_ms=utc_ms)).order.state is state


def test_report_when_older_than_the_last_then_its_price_is_not_taken() -> None:
    newer = on_event(OPEN, event("NEW", "AMENDMENT", utc_ms=9, price="97")).order
    assert on_found(newer, report("NEW", utc_ms=8), proved=True).order.price == D(97)


def test_doubt_when_an_event_may_be_older_than_the_cancel_then_only_a_later_query_settles_it() -> None:
    order = happen(cancel_sent(OPEN), Happening.CANCEL_FAILED)
    assert order.state is OrderState.IN_DOUBT
    assert on_event(order, event("NEW", "NEW")).order.state is OrderState.IN_DOUBT
    assert on_found(order, report("NEW"), proved=False).order.state is OrderState.IN_DOUBT
    assert on_found(order, report("NEW"), proved=True).order.state is OrderState.OPEN


def test_amend_when_confirmed_after_the_order_was_sent_a_cancel_then_price_stays_as_reported() -> None:
    order = cancel_sent(amend_sent(OPEN, D(98), D(2)))
    after = amend_confirmed(order, report("NEW", price="98"))
    assert (after.state, after.price) == (OrderState.PENDING_CANCEL, D(99))


def test_adopted_when_partly_filled_then_what_was_filled_before_is_not_published_again() -> None:
    found = OpenOrder(NAME, 5, "BTCUSDT", Side.SELL, "LIMIT", D(99), D(2), D("0.5"), True, "PARTIALLY_FILLED", 3)
    order = adopted(found)
    assert (order.state, order.kind, order.uncounted_qty) == (
        OrderState.PARTIALLY_FILLED,
        OrderKind.TAKE_PROFIT,
        ZERO,
    )
    assert infer_fill(order) == (order, None)


def test_kind_when_the_id_is_of_another_form_then_exit() -> None:
    assert kind_of("anything else") is OrderKind.EXIT
    assert kind_of("grd-0-1-s3") is OrderKind.GRID


def test_infer_when_twice_then_two_ids_that_no_trade_has() -> None:
    first, one = infer_fill(msgspec.structs.replace(OPEN, venue_order_id=5, filled_qty=D("0.5")))
    _, two = infer_fill(msgspec.structs.replace(first, filled_qty=D(1)))
    assert one is not None
    assert two is not None
    assert one.trade_id < 0
    assert two.trade_id not in (one.trade_id, 0)


@pytest.mark.parametrize("window_ms", [100, 1_000, RECV_WINDOW_MS_MAX])
def test_doubt_when_asked_then_waits_grow_within_bounds_and_absence_needs_count_and_time(window_ms: int) -> None:
    doubt, after_ms = begin(0), not_found_after_ms(window_ms)
    assert not due(doubt, 299 * NS_PER_MS)
    now, waits = 0, []
    while not absent(doubt, window_ms):
        assert due(doubt, doubt.next_mono_ns)
        now = doubt.next_mono_ns
        doubt = asked(doubt, now)
        assert not due(doubt, now + (ANSWER_OVERDUE_MS - 1) * NS_PER_MS)
        assert due(doubt, now + ANSWER_OVERDUE_MS * NS_PER_MS)
        doubt = answered(doubt, now, not_found=True, recv_window_ms=window_ms)
        waits.append((doubt.next_mono_ns - now) // NS_PER_MS)
    assert max(waits) <= 5_000
    assert doubt.asked < TRIES_MAX
    assert now == after_ms * NS_PER_MS, "asked as soon as the answer proves something"
    assert doubt.not_found >= NOT_FOUND_MIN
    late = answered(asked(doubt, after_ms * NS_PER_MS - 1), 2 * after_ms * NS_PER_MS, not_found=True)
    assert not absent(late, window_ms), "what counts is when it was asked"


def test_doubt_when_an_amend_is_open_then_it_is_asked_for_as_soon_as_the_amend_can_arrive_no_more() -> None:
    doubt = begin(0)
    while may_still_arrive(doubt, 1_000):
        assert doubt.next_mono_ns <= in_flight_ms(1_000) * NS_PER_MS
        now = doubt.next_mono_ns
        doubt = answered(asked(doubt, now), now + 50 * NS_PER_MS, not_found=False, recv_window_ms=1_000)
    assert doubt.asked_mono_ns == in_flight_ms(1_000) * NS_PER_MS


def test_doubt_when_queries_are_hurried_then_it_is_not_given_up_before_one_of_them_could_have_helped() -> None:
    doubt = begin(0)
    for number in range(3 * TRIES_MAX):
        now = number * 100 * NS_PER_MS
        doubt = answered(asked(hurried(doubt, now), now), now, not_found=True)
        assert not doubt.unresolved
        assert doubt.next_mono_ns - now <= 5_000 * NS_PER_MS
    now = UNRESOLVED_AFTER_MS * NS_PER_MS
    doubt = answered(asked(doubt, now), now, not_found=False)
    assert doubt.unresolved


def test_doubt_when_asking_did_not_help_and_the_venue_denies_the_order_then_asked_on_until_that_is_settled() -> None:
    doubt = begin(0)
    for _ in range(2 * TRIES_MAX):
        doubt = answered(asked(doubt, doubt.next_mono_ns), doubt.next_mono_ns, not_found=False)
    assert doubt.unresolved
    last_mono_ns = doubt.asked_mono_ns
    assert doubt.next_mono_ns - last_mono_ns == SLOW_PERIOD_MS * NS_PER_MS
    while not absent(doubt, RECV_WINDOW_MS_MAX):
        doubt = answered(asked(doubt, doubt.next_mono_ns), doubt.next_mono_ns, not_found=True)
    assert doubt.asked_mono_ns - last_mono_ns < 2 * SLOW_PERIOD_MS * NS_PER_MS


def test_trades_when_seen_again_then_known_per_side_and_bounded() -> None:
    trades = TradeIds(remembered_max=2)
    assert trades.first_time("BTCUSDT", 1, Side.BUY)
    assert not trades.first_time("BTCUSDT", 1, Side.BUY)
    assert trades.first_time("BTCUSDT", 1, Side.SELL)
    assert trades.first_time("BTCUSDT", 2, Side.BUY)
    assert trades.first_time("BTCUSDT", 1, Side.BUY)

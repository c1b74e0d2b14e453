from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.exposure import (
    NOTHING_WORKING,
    Working,
    classify,
    with_placed,
    working_of,
    worst_case_notional,
    worst_case_qty,
)
from grinder.model.control import RiskIntent
from grinder.model.orders import Cancel, Side
from grinder.model.reasons import PlanReason
from tests.gate_world import Resting, amend, place

D = Decimal
INCREASE, REDUCE, CANCEL = RiskIntent.INCREASE_RISK, RiskIntent.REDUCE_RISK, RiskIntent.CANCEL
BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.parametrize(
    ("side", "position", "working", "expected"),
    [
        (SELL, D(2), Working(), REDUCE),
        (SELL, D(1), Working(), REDUCE),
        (SELL, D("0.999"), Working(), INCREASE),
        (SELL, D(0), Working(), INCREASE),
        (SELL, D(-2), Working(), INCREASE),
        (SELL, None, Working(), INCREASE),
        (BUY, D(-2), Working(), REDUCE),
        (BUY, D(-1), Working(), REDUCE),
        (BUY, D("-0.999"), Working(), INCREASE),
        (BUY, D(2), Working(), INCREASE),
        (BUY, D(0), Working(), INCREASE),
        (SELL, D(2), Working(sell_qty=D(1)), REDUCE),
        (SELL, D(2), Working(sell_qty=D("1.001")), INCREASE),
        (SELL, D(2), Working(sell_qty=D("0.5"), reduce_sell_qty=D("0.501")), INCREASE),
        (BUY, D(-2), Working(reduce_buy_qty=D("1.001")), INCREASE),
        (SELL, D(2), Working(buy_qty=D(9), reduce_buy_qty=D(9)), REDUCE),
    ],
)
def test_classify_when_one_way_position_is_signed_then_direction_decides(
    side: Side, position: Decimal | None, working: Working, expected: RiskIntent
) -> None:
    assert classify(place(side=side, qty=D(1)), position, working) is expected


@pytest.mark.parametrize("position", [None, D(0), D(5), D(-5)])
def test_classify_when_reduce_only_then_reduces_whatever_the_position(position: Decimal | None) -> None:
    assert classify(place(reduce_only=True), position, NOTHING_WORKING) is REDUCE


def test_classify_when_amended_then_its_own_remaining_quantity_counts_once() -> None:
    working = Working(sell_qty=D(2))
    resting = Resting(side=SELL, remaining_qty=D(1))
    assert classify(amend(side=SELL, qty=D(1)), D(2), working, resting) is REDUCE
    assert classify(amend(side=SELL, qty=D("1.1")), D(2), working, resting) is INCREASE
    assert classify(amend(side=SELL, qty=D(1)), D(2), working, None) is INCREASE
    assert classify(amend(side=SELL, qty=D(9)), None, working, Resting(reduce_only=True)) is REDUCE


def test_working_when_orders_are_summed_then_sides_flags_prices_and_ids() -> None:
    orders = [
        Resting("a", BUY, D(10), D(1)),
        Resting("b", BUY, D(11), D(2)),
        Resting("c", SELL, D(13), D(3)),
        Resting("d", SELL, D(12), D(4), reduce_only=True),
        Resting("e", BUY, D(9), D(5), reduce_only=True),
    ]
    assert working_of(orders) == Working(
        buy_qty=D(3),
        sell_qty=D(3),
        reduce_buy_qty=D(5),
        reduce_sell_qty=D(4),
        buy_price_max=D(11),
        sell_price_min=D(12),
        count=5,
        risk_prices=frozenset({(BUY, D(10)), (BUY, D(11)), (SELL, D(13))}),
        ids=frozenset("abcde"),
    )
    assert working_of([]) == NOTHING_WORKING


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("reduce_only", [False, True])
@pytest.mark.parametrize("before", [[], [Resting("a", BUY, D(998), D(1)), Resting("b", SELL, D(1_002), D(1))]])
def test_with_placed_when_one_more_is_sent_then_equal_to_summing_them_all(
    side: Side, reduce_only: bool, before: list[Resting]
) -> None:
    order = place(side=side, reduce_only=reduce_only)
    added = Resting(order.client_order_id, side, order.price, order.qty, reduce_only)
    assert with_placed(working_of(before), order) == working_of([*before, added])


@pytest.mark.parametrize(
    ("position", "working", "qty"),
    [
        (D(1), Working(), D(1)),
        (D(-1), Working(), D(1)),
        (D(1), Working(buy_qty=D(2)), D(3)),
        (D(1), Working(sell_qty=D(5)), D(4)),
        (D(1), Working(sell_qty=D(1)), D(1)),
        (D(0), Working(reduce_buy_qty=D(9), reduce_sell_qty=D(9)), D(0)),
    ],
)
def test_worst_case_when_each_side_fills_alone_then_the_larger_position(
    position: Decimal, working: Working, qty: Decimal
) -> None:
    assert worst_case_qty(position, working) == qty
    assert worst_case_notional(position, working, D(10)) == qty * 10


def test_worst_case_when_something_is_unknown_then_unknown_unless_flat() -> None:
    assert worst_case_notional(None, NOTHING_WORKING, D(10)) is None
    assert worst_case_notional(D(1), NOTHING_WORKING, None) is None
    assert worst_case_notional(D(0), NOTHING_WORKING, None) == 0


def test_classify_when_cancel_then_cancel() -> None:
    assert classify(Cancel("a", "BTCUSDT", PlanReason.GRID_TRIM, 0, 0), None, NOTHING_WORKING) is CANCEL

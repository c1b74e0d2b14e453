"""Every mismatch rule: when it speaks, when a message on its way explains the difference, when it is over."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.account import Snapshot
from grinder.core.reconcile import (
    FORBIDS_RISK,
    Differences,
    Finding,
    KnownOrders,
    check_orders,
    check_snapshot,
)
from grinder.model.account import Balance, OpenOrder, PositionSide
from grinder.model.orders import OrderKind, OrdersSnapshot, OrderState, OrderUpdate, Side
from grinder.model.reasons import MismatchRule
from grinder.model.units import NS_PER_MS, ZERO
from tests.account_world import order_id
from tests.fake_venue import SYMBOL, position

D = Decimal
MS = NS_PER_MS
NOW = 1_000_000 * MS
EMPTY = Snapshot((), (), Balance(D(1), ZERO, D(1)), NOW, 0)
RULE = MismatchRule


def at_venue(name: str, update_utc_ms: int = 10) -> OpenOrder:
    return OpenOrder(name, 1, SYMBOL, Side.BUY, "LIMIT", D(99), D(1), ZERO, False, "NEW", update_utc_ms)


def resting(*orders: OpenOrder) -> Snapshot:
    return msgspec.structs.replace(EMPTY, open_orders=orders)


def update(name: str, state: OrderState = OrderState.OPEN) -> OrderUpdate:
    return OrderUpdate(name, SYMBOL, Side.BUY, OrderKind.GRID, state, D(99), D(1), ZERO, False, "", 0)


def rules(findings: list[Finding]) -> list[MismatchRule]:
    return [finding.rule for finding in findings]


def test_snapshot_when_two_rows_have_one_key_then_duplicate_key() -> None:
    twice = msgspec.structs.replace(EMPTY, positions=(position(SYMBOL, D(1), 5), position(SYMBOL, D(2), 5)))
    assert rules(check_snapshot(twice, None)) == [RULE.DUPLICATE_KEY]
    assert rules(check_snapshot(resting(at_venue("a"), at_venue("a")), None)) == [RULE.DUPLICATE_KEY]


@pytest.mark.parametrize(("side", "qty"), [(PositionSide.LONG, -1), (PositionSide.SHORT, 1)])
def test_snapshot_when_a_hedged_quantity_has_the_wrong_sign_then_negative_qty(side: PositionSide, qty: int) -> None:
    wrong = msgspec.structs.replace(EMPTY, positions=(position(SYMBOL, D(qty), 5, side),))
    assert rules(check_snapshot(wrong, None)) == [RULE.NEGATIVE_QTY]


def test_snapshot_when_a_row_goes_back_in_time_then_ts_regression_and_an_ended_order_is_none() -> None:
    before = resting(at_venue("a", 10), at_venue("b", 90))
    assert rules(check_snapshot(resting(at_venue("a", 9)), before)) == [RULE.TS_REGRESSION]
    assert check_snapshot(resting(at_venue("a", 10)), before) == []


def test_orders_when_ours_is_not_known_then_orphan_and_of_a_newer_term_then_foreign() -> None:
    known = KnownOrders()
    ours, newer = order_id(1), order_id(2, term=5)
    snapshot = resting(at_venue(ours), at_venue(newer), at_venue("by-hand"), at_venue(order_id(3, prefix="abc")))
    assert rules(check_orders(snapshot, known, "grd", 4, NOW)) == [
        RULE.ORPHAN_ORDER,
        RULE.FOREIGN_ORDER_WITH_OUR_PREFIX,
        RULE.VENUE_ORDER_UNKNOWN,
        RULE.VENUE_ORDER_UNKNOWN,
    ]
    known.on_update(update(ours), NOW)
    assert RULE.ORPHAN_ORDER not in rules(check_orders(snapshot, known, "grd", 4, NOW))


def test_orders_when_one_ended_lately_then_a_lagging_list_makes_no_orphan() -> None:
    known = KnownOrders()
    name = order_id(1)
    known.on_update(update(name), NOW)
    known.on_update(update(name, OrderState.CANCELED), NOW)
    snapshot = resting(at_venue(name))
    assert check_orders(snapshot, known, "grd", 0, NOW + 59_000 * MS) == []
    assert rules(check_orders(snapshot, known, "grd", 0, NOW + 61_000 * MS)) == [RULE.ORPHAN_ORDER]


@pytest.mark.parametrize(
    ("state", "age_ms", "missing"),
    [
        (OrderState.OPEN, 5_000, True),
        (OrderState.OPEN, 4_999, False),
        (OrderState.PENDING_CANCEL, 9_000, False),
        (OrderState.IN_DOUBT, 9_000, False),
    ],
)
def test_orders_when_one_does_not_rest_then_missing_unless_young_or_in_flight(
    state: OrderState, age_ms: int, missing: bool
) -> None:
    known = KnownOrders()
    known.on_update(update(order_id(1), state), NOW - age_ms * MS)
    assert bool(check_orders(EMPTY, known, "grd", 0, NOW)) is missing
    assert check_orders(resting(at_venue(order_id(1))), known, "grd", 0, NOW) == []


def test_known_when_orders_ended_long_ago_then_forgotten() -> None:
    known = KnownOrders()
    for number in range(5):
        known.on_update(update(f"grd-0-{number}-b1", OrderState.FILLED), NOW + number * 30_000 * MS)
    assert not known.knows("grd-0-0-b1", NOW)
    assert known.knows("grd-0-4-b1", NOW + 120_000 * MS)


def test_known_when_a_snapshot_leaves_an_order_out_then_it_has_ended() -> None:
    known = KnownOrders()
    known.on_update(update("a"), NOW)
    known.on_snapshot(OrdersSnapshot((update("b"),), 0, 0, True, "", 0), NOW + 1)
    assert known.resting_since(NOW + 1) == (update("b"),)
    assert known.knows("a", NOW + 1)


def test_differences_when_one_lasts_then_told_once_and_forbids_risk_until_it_is_gone() -> None:
    differences = Differences()
    finding = Finding(RULE.ORPHAN_ORDER, SYMBOL, "a", "")
    only = frozenset({RULE.ORPHAN_ORDER})
    assert differences.judge(only, [finding], NOW) == []
    assert not differences.forbids_risk
    assert differences.judge(only, [finding], NOW + 5_000 * MS) == [finding]
    assert differences.judge(only, [finding], NOW + 6_000 * MS) == []
    assert differences.judge(frozenset({RULE.DUPLICATE_KEY}), [], NOW + 6_000 * MS) == []
    assert differences.forbids_risk
    assert differences.judge(only, [], NOW + 7_000 * MS) == []
    assert not differences.forbids_risk
    assert differences.judge(only, [finding], NOW + 8_000 * MS) == []


def test_differences_when_somebody_else_trades_by_hand_then_told_and_risk_goes_on() -> None:
    assert RULE.VENUE_ORDER_UNKNOWN not in FORBIDS_RISK
    assert RULE.TS_REGRESSION not in FORBIDS_RISK


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"price": D(98)}, "price 99 is 98"),
        ({"qty": D(2)}, "qty 1 is 2"),
        ({"filled_qty": D("0.5")}, "filled 0 is 0.5"),
    ],
)
def test_orders_when_one_rests_otherwise_than_believed_for_a_while_then_order_differs(
    changes: dict[str, Decimal], word: str
) -> None:
    known = KnownOrders()
    name = order_id(1)
    known.on_update(update(name), NOW - 5_000 * MS)
    snapshot = resting(msgspec.structs.replace(at_venue(name), **changes))
    (finding,) = check_orders(snapshot, known, "grd", 0, NOW)
    assert finding.rule is RULE.ORDER_DIFFERS
    assert word in finding.detail
    known.on_update(update(name), NOW)
    assert check_orders(snapshot, known, "grd", 0, NOW) == []


def test_orders_when_found_then_each_says_what_it_is_worth() -> None:
    known = KnownOrders()
    known.on_update(update(order_id(1)), NOW - 9_000 * MS)
    half = msgspec.structs.replace(at_venue("by-hand"), filled_qty=D("0.5"))
    found = check_orders(resting(half), known, "grd", 0, NOW)
    assert [finding.notional for finding in found] == [D("49.5"), D(99)]


def test_differences_when_two_hold_then_in_an_order_that_does_not_tell_which_came_first() -> None:
    both = [Finding(RULE.TS_REGRESSION, SYMBOL, key, "") for key in ("b", "a")]
    rule = frozenset({RULE.TS_REGRESSION})
    orders = []
    for findings in (both, both[::-1]):
        differences = Differences()
        differences.judge(rule, findings, NOW)
        orders.append(differences.active)
    assert orders[0] == orders[1]
    assert [finding.key for finding in orders[0]] == ["a", "b"]
    assert differences.age_ms(both[0], NOW + 7 * MS) == 7

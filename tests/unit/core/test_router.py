from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from grinder.core.planner import Top, Wanted
from grinder.core.router import Route, RouteLimits, RouterConfig, decide, route
from grinder.core.view import LiveOrder
from grinder.model.orders import IN_FLIGHT, OrderKind, OrderState, Side, TimeInForce
from grinder.model.reasons import PlanReason, RouterReason
from tests.engine_world import instrument

D = Decimal
R = RouterReason
RULES = instrument("BTCUSDT")
TOP = Top(D("99.9"), D("100.1"))
FREE = RouteLimits(100, 100, False)
CONFIG = RouterConfig()
WANTED = Wanted("b1", Side.BUY, D("99.0"), D("0.100"), TimeInForce.GTX, False, OrderKind.GRID, PlanReason.GRID_FILL)
PROFIT = Wanted(
    "t1", Side.SELL, D("101.0"), D("0.010"), TimeInForce.GTC, True, OrderKind.TAKE_PROFIT, PlanReason.TP_CLOSE
)


def live(wanted: Wanted = WANTED, name: str = "a", state: OrderState = OrderState.OPEN, **changes: object) -> LiveOrder:
    order = LiveOrder(
        client_order_id=name,
        symbol="BTCUSDT",
        level=wanted.level,
        side=wanted.side,
        kind=wanted.kind,
        state=state,
        price=wanted.price,
        qty=wanted.qty,
        filled_qty=D(0),
        fills_qty=D(0),
        reduce_only=wanted.reduce_only,
        intent_seq=0,
        intent_deadline_mono_ns=0,
        answered=True,
        since_mono_ns=0,
    )
    return replace(order, **changes)


def decided(wanted=WANTED, existing=None, top=TOP, limits=FREE, config=CONFIG):
    return decide(wanted, existing, top, RULES, limits, config)


@pytest.mark.parametrize("state", sorted(IN_FLIGHT))
def test_decide_when_the_order_is_in_flight_then_it_is_left_alone(state) -> None:
    moved = live(state=state, price=D(50))
    assert decided(existing=moved, limits=RouteLimits(0, 0, True)) == (Route.NOOP, R.ORDER_IN_FLIGHT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": D("100.1")}, R.WOULD_CROSS_SPREAD),
        ({"price": D("99.9"), "side": Side.SELL}, R.WOULD_CROSS_SPREAD),
        ({"price": D("99.05")}, R.FILTER_VIOLATION_TICK_SIZE),
        ({"qty": D("0.1005")}, R.FILTER_VIOLATION_STEP_SIZE),
        ({"qty": D("0.000")}, R.FILTER_VIOLATION_MIN_QTY),
        ({"qty": D("0.050")}, R.FILTER_VIOLATION_MIN_NOTIONAL),
        # The first test that applies wins.
        ({"price": D("100.15"), "qty": D("0.0001")}, R.WOULD_CROSS_SPREAD),
    ],
)
def test_decide_when_a_filter_is_violated_then_blocked_with_its_reason(changes, reason) -> None:
    assert decided(replace(WANTED, **changes)) == (Route.BLOCK, reason)


def test_decide_when_reduce_only_then_exempt_from_least_notional_and_drawdown() -> None:
    assert decided(PROFIT, limits=RouteLimits(0, 1, True)) == (Route.CANCEL_REPLACE, R.NO_EXISTING_ORDER)


def test_decide_when_drawdown_is_breached_then_new_risk_is_blocked() -> None:
    assert decided(limits=RouteLimits(9, 9, True)) == (Route.BLOCK, R.DRAWDOWN_GATE_ACTIVE)


def test_decide_when_the_budget_is_used_up_then_throttled() -> None:
    assert decided(limits=RouteLimits(0, 9, False)) == (Route.NOOP, R.RATE_LIMIT_THROTTLE)
    assert decided(PROFIT, limits=RouteLimits(0, 0, False)) == (Route.NOOP, R.RATE_LIMIT_THROTTLE)


@pytest.mark.parametrize("changes", [{"reduce_only": True}, {"kind": OrderKind.TAKE_PROFIT}])
def test_decide_when_a_field_cannot_be_amended_then_cancel_and_replace(changes) -> None:
    expected = (Route.CANCEL_REPLACE, R.CANCEL_REPLACE_REQUIRED_IMMUTABLE_FIELD)
    assert decided(existing=live(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"price": D("99.05")}, True),  # below a tick
        ({"price": D("99.1")}, False),
        ({"qty": D("0.1005")}, True),
        ({"qty": D("0.099")}, False),
        ({"qty": D("0.110"), "filled_qty": D("0.010")}, True),
        ({"qty": D("0.110"), "fills_qty": D("0.010")}, True),
        ({"qty": D("0.110")}, False),
    ],
)
def test_decide_when_the_difference_is_below_epsilon_then_kept(changes, same) -> None:
    kept, moved = (Route.NOOP, R.NO_CHANGE_BELOW_EPS), (Route.AMEND, R.AMEND_SUPPORTED_AND_SAFE)
    assert decided(existing=live(**changes)) == (kept if same else moved)


def test_decide_when_the_price_is_large_then_epsilon_is_half_a_basis_point() -> None:
    rules, top = instrument("BTCUSDT"), Top(D(60_000), D("60000.1"))
    wanted = replace(WANTED, price=D(59_900))
    near, far = live(wanted, price=D("59902.9")), live(wanted, price=D("59903.0"))
    assert decide(wanted, near, top, rules, FREE, CONFIG)[1] is R.NO_CHANGE_BELOW_EPS
    assert decide(wanted, far, top, rules, FREE, CONFIG)[1] is R.AMEND_SUPPORTED_AND_SAFE


def test_decide_when_amends_are_unsupported_then_cancel_and_replace() -> None:
    config = RouterConfig(amend_supported=False)
    assert decided(existing=live(price=D(98)), config=config) == (Route.CANCEL_REPLACE, R.AMEND_UNSUPPORTED)


def test_route_when_orders_are_outside_the_plan_then_cancelled_first() -> None:
    stray = live(replace(WANTED, level="b9"), "stray")
    decisions = tuple(route([WANTED], [live(), stray], TOP, RULES, FREE, CONFIG))
    assert [(one.route, one.plan_reason) for one in decisions] == [
        (Route.CANCEL, PlanReason.GRID_TRIM),
        (Route.NOOP, PlanReason.GRID_RESIZE),
    ]
    assert decisions[0].existing is stray


def test_route_when_an_order_outside_the_plan_is_in_flight_then_left_alone() -> None:
    (one,) = route([], [live(state=OrderState.PENDING_CANCEL)], TOP, RULES, FREE, CONFIG)
    assert (one.route, one.reason) == (Route.NOOP, R.ORDER_IN_FLIGHT)


def test_route_when_a_slot_has_two_orders_then_the_one_in_flight_holds_it_and_the_other_goes() -> None:
    resting, flying = live(name="resting"), live(name="flying", state=OrderState.PENDING_NEW)
    for orders in ([resting, flying], [flying, resting]):
        decisions = tuple(route([WANTED], orders, TOP, RULES, FREE, CONFIG))
        assert [(one.route, one.existing.client_order_id) for one in decisions if one.existing] == [
            (Route.CANCEL, "resting"),
            (Route.NOOP, "flying"),
        ]
    first, second = route([WANTED], [live(name="one"), live(name="two")], TOP, RULES, FREE, CONFIG)
    assert (first.route, second.route) == (Route.CANCEL, Route.NOOP)


def test_route_when_the_order_is_foreign_or_a_take_profit_then_its_reason_says_so() -> None:
    foreign, profit = live(level=""), live(PROFIT, "p")
    reasons = {one.plan_reason for one in route([], [foreign, profit], TOP, RULES, FREE, CONFIG)}
    assert reasons == {PlanReason.UNKNOWN_ORDER, PlanReason.TP_RESIZE}


def test_route_when_the_budget_covers_one_then_the_second_waits_and_the_protective_one_passes() -> None:
    second = replace(WANTED, level="b2", price=D("98.0"))
    decisions = tuple(route([WANTED, second, PROFIT], [], TOP, RULES, RouteLimits(1, 9, False), CONFIG))
    assert [one.reason for one in decisions] == [R.NO_EXISTING_ORDER, R.RATE_LIMIT_THROTTLE, R.NO_EXISTING_ORDER]


@pytest.mark.parametrize(
    ("changes", "reason"), [({"price": D(98)}, PlanReason.GRID_SHIFT), ({"qty": D("0.2")}, PlanReason.GRID_RESIZE)]
)
def test_route_when_an_entry_is_off_then_the_plan_reason_says_how(changes, reason) -> None:
    (one,) = route([WANTED], [live(**changes)], TOP, RULES, FREE, CONFIG)
    assert (one.route, one.plan_reason) == (Route.AMEND, reason)


def test_route_when_a_take_profit_is_off_then_it_is_resized() -> None:
    (one,) = route([PROFIT], [live(PROFIT, price=D(102))], TOP, RULES, FREE, CONFIG)
    assert (one.route, one.plan_reason) == (Route.AMEND, PlanReason.TP_RESIZE)

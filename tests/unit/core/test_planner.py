from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.planner import (
    PlannerConfig,
    Top,
    anchor_holds,
    move_threshold_bps,
    plan_grid,
    spacing_now_bps,
)
from grinder.model.orders import OrderKind, Side, TimeInForce
from grinder.model.reasons import PlanReason
from tests.engine_world import instrument

D = Decimal
SYMBOL = "BTCUSDT"
RULES = instrument(SYMBOL)
TOP = Top(D("99.9"), D("100.1"))
CONFIG = PlannerConfig({SYMBOL: D("0.0109")}, spacing_bps=D(33), levels=3)


def prices(config: PlannerConfig = CONFIG, anchor: str = "100", top: Top = TOP, held: dict[str, Decimal] | None = None):
    grid = plan_grid(config, RULES, D(anchor), config.spacing_bps, top, held or {})
    return {order.level: order.price for order in grid}


def test_grid_when_planned_then_linear_and_rounded_away_from_the_market() -> None:
    assert prices() == {
        "b1": D("99.6"),
        "b2": D("99.3"),
        "b3": D("99.0"),
        "s1": D("100.4"),
        "s2": D("100.7"),
        "s3": D("101.0"),
    }


def test_grid_when_planned_then_post_only_entries_with_the_size_on_the_step() -> None:
    for order in plan_grid(CONFIG, RULES, D(100), D(33), TOP, {}):
        assert order.qty == D("0.010")
        assert order.tif is TimeInForce.GTX
        assert order.kind is OrderKind.GRID
        assert order.reason is PlanReason.GRID_FILL
        assert not order.reduce_only


def test_grid_when_the_book_has_passed_a_level_then_it_is_moved_off_the_touch_and_stays_in_order() -> None:
    found = prices(top=Top(D("99.2"), D("99.3")))
    assert [found[level] for level in ("b1", "b2", "b3")] == [D("99.2"), D("99.1"), D("99.0")]
    found = prices(top=Top(D("100.7"), D("100.8")))
    assert [found[level] for level in ("s1", "s2", "s3")] == [D("100.8"), D("100.9"), D("101.0")]


def test_grid_when_a_slot_is_held_then_only_what_is_left_of_it_is_wanted() -> None:
    config = PlannerConfig({SYMBOL: D("0.1090")}, spacing_bps=D(33), levels=3)
    held = {"b1": D("0.109"), "b2": D("0.1087"), "s2": D("0.040"), "s3": D("0.105")}
    grid = plan_grid(config, RULES, D(100), D(33), TOP, held)
    left = {order.level: order.qty for order in grid}
    assert left == {"b3": D("0.109"), "s1": D("0.109"), "s2": D("0.069")}, "0.004 of s3 is below the least notional"


def test_grid_when_a_level_is_too_far_then_left_out() -> None:
    config = PlannerConfig({SYMBOL: D("0.01")}, spacing_bps=D(33), levels=3, level_distance_bps_max=D(80))
    assert set(prices(config)) == {"b1", "b2", "s1", "s2"}


def test_grid_when_prices_would_fall_below_a_tick_then_left_out() -> None:
    config = PlannerConfig({SYMBOL: D("10")}, spacing_bps=D(3_000), levels=3)
    assert set(prices(config, "0.2", Top(D("0.1"), D("0.3")))) == {"b1", "s1", "s2", "s3"}


def test_grid_when_the_symbol_has_no_size_then_nothing() -> None:
    assert plan_grid(PlannerConfig({}), RULES, D(100), D(10), TOP, {}) == ()


@pytest.mark.parametrize(
    ("adaptive", "natr_bps", "expected"),
    [
        (False, 80.0, D(33)),
        (True, None, D(33)),
        (True, 0.0, D(33)),
        (True, float("nan"), D(33)),
        (True, 10.0, D(5)),  # 0.3 * 10 is below the smallest step
        (True, 80.0, D(24)),
        (True, 123.45, D("37.035")),
        (True, 1e6, D(2_500)),  # three levels must stay above a price of 0
    ],
)
def test_spacing_when_natr_is_given_then_adaptive_within_its_bounds(adaptive, natr_bps, expected) -> None:
    config = PlannerConfig({SYMBOL: D(1)}, spacing_bps=D(33), levels=3, adaptive=adaptive)
    assert spacing_now_bps(config, natr_bps) == expected


@pytest.mark.parametrize(
    ("mid", "wanted_bps", "holds"),
    [
        ("100", 33, True),
        ("100.3299", 33, True),
        ("100.33", 33, False),
        ("99.67", 33, False),
        ("100", 39, True),
        ("100", 40, False),
        ("100", 26, False),
    ],
)
def test_anchor_when_mid_or_spacing_move_enough_then_it_moves(mid, wanted_bps, holds) -> None:
    assert anchor_holds(CONFIG, D(100), D(33), D(mid), D(wanted_bps)) is holds


def test_threshold_when_a_least_move_is_set_then_the_larger_one_counts() -> None:
    config = PlannerConfig({SYMBOL: D(1)}, shift_min_move_bps=D(50), rebalance_steps=D(2))
    assert move_threshold_bps(config, D(10)) == D(50)
    assert move_threshold_bps(config, D(30)) == D(60)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": 0},
        {"levels": 21},
        {"spacing_bps": D(0)},
        {"spacing_bps": D("NaN")},
        {"spacing_bps": D(2_000)},
        {"step_min_bps": D(-1)},
        {"size_per_level": {SYMBOL: D(0)}},
        {"size_per_level": {SYMBOL: D("Infinity")}},
    ],
)
def test_config_when_it_describes_no_grid_then_refused(changes) -> None:
    with pytest.raises(ValueError):
        PlannerConfig(**{"size_per_level": {SYMBOL: D(1)}, **changes})


def test_side_when_named_then_buys_and_sells_are_told_apart() -> None:
    grid = plan_grid(CONFIG, RULES, D(100), D(33), TOP, {})
    assert {order.side for order in grid if order.level.startswith("b")} == {Side.BUY}
    assert {order.side for order in grid if order.level.startswith("s")} == {Side.SELL}

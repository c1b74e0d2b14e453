"""Invariants of the planner, the cycle, the router and the view, against dumb models of the same.

Planner: per side, entries and held slots are at most the levels; nothing crosses; prices go outwards on the tick.
Cycle: lots lie on one side, add up to the signed sum of the trades, and are never more than the levels.
Router: applied to a venue, its decisions reach the plan in a bounded number of rounds and then change nothing.
"""

from __future__ import annotations

from decimal import Decimal
from math import ceil, floor

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from grinder.core.cycle import Cycle, take_profits
from grinder.core.planner import PlannerConfig, Top, Wanted, plan_grid
from grinder.core.router import Route, Routed, RouteLimits, RouterConfig, differs, route
from grinder.core.view import LiveOrder
from grinder.model.orders import Fill, OrderKind, OrderState, Side
from grinder.model.units import is_multiple
from tests.engine_world import instrument

D = Decimal
SYMBOL = "BTCUSDT"
RULES = instrument(SYMBOL)
TICK, STEP = RULES.tick_size, RULES.step_size
SIZE = D("0.500")

ticks = st.integers(min_value=500, max_value=20_000)
levels = st.integers(min_value=1, max_value=8)
spacings = st.integers(min_value=1, max_value=1_000).map(D)
quantities = st.integers(min_value=1, max_value=700).map(lambda steps: steps * STEP)


@st.composite
def tops(draw: st.DrawFn) -> Top:
    bid = draw(ticks) * TICK
    return Top(bid, bid + draw(st.integers(1, 300)) * TICK)


@st.composite
def grids(draw: st.DrawFn) -> tuple[PlannerConfig, Decimal, Top, dict[str, Decimal], tuple[Wanted, ...]]:
    config = PlannerConfig({SYMBOL: SIZE}, spacing_bps=draw(spacings), levels=draw(levels))
    anchor, top = draw(ticks) * TICK, draw(tops())
    names = [f"{side}{number}" for side in "bs" for number in range(1, config.levels + 1)]
    held = draw(st.dictionaries(st.sampled_from(names), quantities))
    return config, anchor, top, held, plan_grid(config, RULES, anchor, config.spacing_bps, top, held)


@given(grids())
def test_plan_when_made_then_never_more_than_the_levels_with_what_lots_hold(made) -> None:
    config, _, _, held, grid = made
    for side, letter in ((Side.BUY, "b"), (Side.SELL, "s")):
        planned = sum((order.qty for order in grid if order.side is side), D(0))
        used = sum((min(qty, SIZE) for level, qty in held.items() if level[0] == letter), D(0))
        assert planned + used <= config.levels * SIZE
        assert sum(order.side is side for order in grid) <= config.levels


@given(grids())
def test_plan_when_made_then_nothing_crosses_and_prices_go_outwards_on_the_tick(made) -> None:
    _, _, top, _, grid = made
    for side in Side:
        prices = [order.price for order in grid if order.side is side]
        assert all(is_multiple(price, TICK) and price > 0 for price in prices)
        outwards = sorted(set(prices), reverse=side is Side.BUY)
        assert prices == outwards
        assert all(price < top.ask_price if side is Side.BUY else price > top.bid_price for price in prices)


@given(grids())
def test_plan_when_compared_with_a_dumb_grid_then_equal_where_the_book_is_out_of_the_way(made) -> None:
    config, anchor, top, held, grid = made
    found = {order.level: order.price for order in grid}
    step = anchor * config.spacing_bps / 10_000
    assume(not held and step >= TICK)
    for number in range(1, config.levels + 1):
        buy, sell = floor((anchor - number * step) / TICK) * TICK, ceil((anchor + number * step) / TICK) * TICK
        if floor((anchor - step) / TICK) * TICK < top.ask_price and buy > 0:
            assert found[f"b{number}"] == buy
        if ceil((anchor + step) / TICK) * TICK > top.bid_price:
            assert found[f"s{number}"] == sell


trades = st.lists(
    st.tuples(st.sampled_from(Side), quantities, ticks, st.sampled_from(["b1", "b2", "s1", "s3", "t1", "t2", ""])),
    max_size=30,
)


@given(trades, levels)
def test_lots_when_trades_come_then_they_add_up_on_one_side_within_the_levels(fills, count) -> None:
    cycle = Cycle(SYMBOL, count, SIZE)
    position = D(0)
    for side, qty, price, level in fills:
        kind = OrderKind.TAKE_PROFIT if level.startswith("t") else OrderKind.GRID
        cycle.fill(Fill("id", SYMBOL, side, kind, 1, price * TICK, qty, D(0), D(0), True, 0), level, 0)
        position += qty if side is Side.BUY else -qty
        assert cycle.position_qty == position
        assert len({lot.side for lot in cycle.lots}) <= 1
        names = [lot.level for lot in cycle.lots]
        assert len(names) == len(set(names)) <= count
        assert all(lot.qty > 0 for lot in cycle.lots)


@given(trades, levels, tops(), spacings, quantities)
def test_take_profits_when_wanted_then_within_the_position_reduce_only_and_never_at_a_loss(
    fills, count, top, spacing, cap
) -> None:
    cycle = Cycle(SYMBOL, count, SIZE)
    for side, qty, price, level in fills:
        cycle.fill(Fill("id", SYMBOL, side, OrderKind.GRID, 1, price * TICK, qty, D(0), D(0), True, 0), level, 0)
    wanted = take_profits(cycle.lots, RULES, spacing, top, cap)
    assert sum((order.qty for order in wanted), D(0)) <= cap
    entries = {f"t{lot.level[1:]}": lot for lot in cycle.lots}
    for order in wanted:
        lot = entries[order.level]
        assert order.reduce_only
        assert order.side is lot.side.opposite
        assert is_multiple(order.price, TICK)
        assert order.price > lot.price if lot.side is Side.BUY else order.price < lot.price or order.price == TICK
        assert order.price > top.bid_price if order.side is Side.SELL else order.price < top.ask_price


@given(trades, st.integers(-3_000, 3_000).map(lambda steps: steps * STEP), levels)
def test_lots_when_healed_then_they_are_what_the_account_says(fills, account_qty, count) -> None:
    cycle = Cycle(SYMBOL, count, SIZE)
    for side, qty, price, level in fills:
        cycle.fill(Fill("id", SYMBOL, side, OrderKind.GRID, 1, price * TICK, qty, D(0), D(0), True, 0), level, 0)
    cycle.heal(account_qty, D(100), 0)
    assert cycle.position_qty == account_qty
    assert len(cycle.lots) <= count


def order_of(wanted: Wanted, name: str, **changes: object) -> LiveOrder:
    order = LiveOrder(
        client_order_id=name,
        symbol=SYMBOL,
        level=wanted.level,
        side=wanted.side,
        kind=wanted.kind,
        state=OrderState.OPEN,
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


@st.composite
def venues(draw: st.DrawFn) -> tuple[tuple[Wanted, ...], Top, list[LiveOrder]]:
    """A plan, and a venue on which something like it, and something else, rests."""
    _, _, top, _, grid = draw(grids())
    resting = []
    for number, order in enumerate(draw(st.lists(st.sampled_from(grid), max_size=12)) if grid else ()):
        changes = {
            "price": max(order.price + draw(st.integers(-50, 50)) * TICK, TICK),
            "qty": draw(quantities),
            "level": draw(st.sampled_from([order.level, "b9", "s9", ""])),
            "reduce_only": draw(st.booleans()),
        }
        resting.append(order_of(order, f"old{number}", **changes))
    return grid, top, resting


def applied(decisions: tuple[Routed, ...], resting: list[LiveOrder], made: int) -> list[LiveOrder]:
    """Do at a venue what the router decided, as the desk would."""
    orders = {order.client_order_id: order for order in resting}
    for number, one in enumerate(decisions):
        if one.existing is None:
            if one.route is Route.CANCEL_REPLACE:
                assert one.wanted is not None
                name = f"new{made}.{number}"
                orders[name] = order_of(one.wanted, name)
        elif one.route in (Route.CANCEL, Route.CANCEL_REPLACE):
            del orders[one.existing.client_order_id]
        elif one.route is Route.AMEND:
            assert one.wanted is not None
            orders[one.existing.client_order_id] = replace(one.existing, price=one.wanted.price, qty=one.wanted.qty)
    return list(orders.values())


@given(venues(), st.booleans())
def test_route_when_applied_then_the_plan_rests_after_two_rounds_and_nothing_changes_any_more(made, amends) -> None:
    grid, top, resting = made
    config, limits = RouterConfig(amend_supported=amends), RouteLimits(1_000, 1_000, False)
    for number in range(2):
        before = len(resting)
        resting = applied(route(grid, resting, top, RULES, limits, config), resting, number)
        assert len(resting) <= max(before, len(grid))
    final = tuple(route(grid, resting, top, RULES, limits, config))
    assert all(one.route in (Route.NOOP, Route.BLOCK) for one in final)
    slots = {(order.level, order.side): order for order in resting}
    assert len(slots) == len(resting)
    for wanted in grid:
        existing = slots.pop((wanted.level, wanted.side), None)
        blocked = wanted.qty * wanted.price < RULES.min_notional
        assert blocked or (existing is not None and not differs(wanted, existing, RULES, config))
    assert not slots


@given(venues(), st.integers(0, 5))
def test_route_when_the_budget_is_small_then_no_more_is_sent_than_it_allows(made, budget) -> None:
    grid, top, resting = made
    decisions = tuple(route(grid, resting, top, RULES, RouteLimits(budget, 1_000, False), RouterConfig()))
    spent = sum(one.route in (Route.AMEND, Route.CANCEL_REPLACE) for one in decisions)
    assert spent <= budget

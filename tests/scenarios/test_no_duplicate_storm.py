"""The duplicate storm of an exchange-truth planner cannot happen (reference sheet, W5).

The reference, on a flat market at 10 Hz with 10 orders wanted and an account snapshot every 5 s, peaked at 500 open
orders, with 500 placements and 24,500 cancels in 20 s. Here the account lags 5 s, answers are slower than ticks, and
the same market runs longer; the figures are printed and held against the plan and the path of the price.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from random import Random

import pytest

from grinder.core.events import Lost
from grinder.core.router import RouterConfig
from grinder.model.channels import ORDERS
from grinder.model.control import FsmState
from grinder.model.orders import OrderKind, OrderUpdate, Side
from tests.engine_world import World, config

D = Decimal
SYMBOL = "BTCUSDT"
LEVELS = 5
START = D(60_000)
STEP_BPS = D(10)
TICK_MS = 100


def flat() -> Iterable[Decimal]:
    return [START] * 200


def jitter() -> Iterable[Decimal]:
    """A mid that moves at every tick, but never by a spacing."""
    noise = Random(5)
    return [START + D(noise.randint(-200, 200)) / 10 for _ in range(400)]


def walk() -> Iterable[Decimal]:
    """A random walk over several spacings."""
    noise = Random(6)
    mid = START
    for _ in range(1_200):
        mid += D(noise.randint(-120, 120)) / 10
        yield mid


def moves_of(mids: list[Decimal]) -> int:
    """Return how often a mid went one spacing away from where it last did; each may move the whole grid once."""
    anchor, moves = mids[0], 0
    for mid in mids:
        if abs(mid - anchor) * 10_000 >= STEP_BPS * anchor:
            anchor, moves = mid, moves + 1
    return moves


@pytest.mark.parametrize("amends", [True, False], ids=["amend", "cancel-replace"])
@pytest.mark.parametrize("path", [flat, jitter, walk])
@pytest.mark.parametrize("latency_ms", [3, 250], ids=["fast", "slower-than-ticks"])
def test_storm_when_account_lags_five_seconds_then_orders_stay_within_plan_and_price(path, amends, latency_ms) -> None:
    mids = list(path())
    world = World(config(router=RouterConfig(amend_supported=amends)), latency_ms=latency_ms, account_lag_ms=5_000)
    world.calm(20)
    assert world.fsm_state is FsmState.ACTIVE
    assert len(world.open_orders()) == 2 * LEVELS

    for mid in mids:
        world.mid(SYMBOL, mid, after_ms=TICK_MS)
    world.run_for(2_000)

    fills, moves = len(world.fills), moves_of(mids)
    placed, changed = world.sent["Place"], world.sent["Amend"] + world.sent["Cancel"]
    print(
        f"{path.__name__}: {len(mids)} ticks, {moves} moves of the grid, {fills} fills; {placed} placed, "
        f"{world.sent['Amend']} amended, {world.sent['Cancel']} cancelled; at most {world.peak_open[SYMBOL]} open"
    )
    assert all(world.peak_side[SYMBOL, side] <= LEVELS for side in Side)
    assert world.peak_open[SYMBOL] <= 2 * LEVELS + LEVELS
    # A move of the grid changes each order once, a trade at most its own slot, its take-profit and a netted lot's.
    assert changed <= 2 * LEVELS * moves + 3 * fills
    assert placed <= 2 * LEVELS + 2 * fills + (0 if amends else 2 * LEVELS * moves)
    assert abs(world.holdings[SYMBOL].qty) <= LEVELS * D("0.002")
    assert world.state.symbols[SYMBOL].cycle.position_qty == world.holdings[SYMBOL].qty


def test_storm_when_answers_are_lost_then_open_orders_still_never_exceed_the_plan() -> None:
    lost = Random(7)
    world = World(config(), account_lag_ms=5_000)
    world.calm(20)
    world.frames_dropped = lambda frame: isinstance(frame, OrderUpdate) and lost.random() < 0.3

    for number, mid in enumerate(walk()):
        world.mid(SYMBOL, mid, after_ms=TICK_MS)
        if number % 10 == 0:
            world.step(Lost(world.now_ns, ORDERS.name))
    print(f"a third of the answers lost: {dict(world.sent)}, at most {world.peak_open[SYMBOL]} open")

    assert all(world.peak_side[SYMBOL, side] <= LEVELS for side in Side)
    assert world.peak_open[SYMBOL] <= 3 * LEVELS
    assert len(world.fills) > 0


def test_storm_when_intents_cannot_leave_then_the_view_forgets_them_and_nothing_doubles() -> None:
    busy = Random(8)
    world = World(config(), intent_queue_free=lambda: busy.random() < 0.5)
    world.calm(60)
    assert len(world.open_orders()) == 2 * LEVELS
    assert len(tuple(world.state.view.of(SYMBOL))) == 2 * LEVELS
    assert world.state.intents_sent == world.sent["Place"] + world.sent["ResyncOrders"]


def test_storm_when_trades_come_in_parts_then_slots_are_not_refilled_twice() -> None:
    world = World(config(), account_lag_ms=5_000)
    world.calm(20)
    entry = next(order for order in world.open_orders() if order.place.client_order_id.endswith("-b1"))
    world.trade_part(entry, D("0.001"))
    world.calm(30, {SYMBOL: START})
    profits = [order for order in world.open_orders() if order.place.kind is OrderKind.TAKE_PROFIT]
    assert [order.qty for order in profits] == [D("0.001")]
    assert entry.qty - entry.filled == D("0.001"), "what is left of the entry stays as it was"
    assert world.peak_side[SYMBOL, Side.BUY] == LEVELS

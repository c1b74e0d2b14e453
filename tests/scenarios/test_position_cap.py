"""The executor's cap on the position against the simulated exchange: an account that is late lets nothing past it."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from grinder.core.reach import FillsAhead
from grinder.model.orders import Side, TimeInForce
from tests.lagging_account import LAGS_MS
from tests.order_world import SYMBOL, OrderWorld

D = Decimal
CAP_USD = D(3_000)
WITHIN_USD = CAP_USD * D("1.01")
"""The mark price moves a little after an order was let through."""

ACTS = ("place", "place", "place", "trade", "trade", "amend", "cancel", "drop", "raise") * 4 + ("crash",)


def _act(world: OrderWorld, random: Random, act: str) -> None:
    tape = world.core.exchange.markets[SYMBOL].tape
    orders = list(world.believed.values())
    side = random.choice((Side.BUY, Side.BUY, Side.BUY, Side.SELL))
    if act == "place":
        price = tape.bid if side is Side.BUY else tape.ask
        world.place(side, price, D(random.randint(2, 20)) / 1_000, TimeInForce.GTX)
    elif act == "trade":
        world.trade(side.opposite, "6.000", 0)
    elif act == "drop":
        world.guarded(world.wire.drop_stream)
    elif act == "raise":
        world.wire.raise_stream()
    elif act == "crash":
        world.crash()
    elif orders and act == "amend":
        world.amend(orders[0], orders[0].price, orders[0].qty + D("0.004"))
    elif orders:
        world.cancel(orders[0].client_order_id)


def worst_usd(seed: int) -> Decimal:
    """Return the most that the account could have held in a history."""
    world, random = OrderWorld(seed, max_position_usd=CAP_USD), Random(seed)
    world.run(4_000)
    worst = D(0)
    for _ in range(120):
        _act(world, random, random.choice(ACTS))
        world.run(random.choice((10, 100, 700)))
        worst = max(worst, world.account.could_hold_usd())
    return worst


@pytest.mark.parametrize("seed", range(3))
def test_cap_when_orders_fill_and_the_account_is_late_then_no_more_could_be_held(seed: int) -> None:
    assert CAP_USD / 2 < worst_usd(seed) <= WITHIN_USD


def test_cap_when_fills_that_the_account_does_not_show_are_left_out_then_it_is_exceeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FillsAhead, "__iter__", lambda ahead: iter(()))
    assert max(map(worst_usd, range(3))) > WITHIN_USD


def test_cap_when_the_executor_dies_with_a_fill_that_the_account_does_not_show_yet_then_it_is_kept() -> None:
    world = OrderWorld(1, max_position_usd=CAP_USD)
    world.account.lags_ms = (max(LAGS_MS),)
    world.run(4_000)
    for _ in range(4):
        tape = world.core.exchange.markets[SYMBOL].tape
        world.place(Side.BUY, tape.bid, D("0.045"), TimeInForce.GTX)
        world.run(50)
        world.trade(Side.SELL, "6.000", 0)
        world.run(50)
        assert not world.believed, "the fill is known, and its order's end on record"
        world.crash()
        world.run(800)
    assert CAP_USD / 2 < world.account.could_hold_usd() <= WITHIN_USD

"""The venue changes a symbol's rules while it is traded: the executor's own follow, against the simulated exchange."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.model.orders import OrderState, Side, TimeInForce
from grinder.model.reasons import DenyReason
from grinder.services.recovery import RULES_APART_MS
from tests.order_world import SYMBOL, OrderWorld

D = Decimal
ACCEPTED = "OPEN"


def a_world() -> OrderWorld:
    """An executor whose rules are from so long ago that a refusal has them read at once."""
    world = OrderWorld(1)
    world.run(RULES_APART_MS)
    return world


def place(world: OrderWorld, qty: str, below: str = "0") -> str:
    """Place an entry at or below the best bid; return the code or reason for which it was refused, or OPEN."""
    world.log.events.clear()
    price = world.core.exchange.markets[SYMBOL].tape.bid - D(below)
    name = world.place(Side.BUY, price, D(qty), TimeInForce.GTX)
    world.run(200)
    if name in world.believed:
        assert world.believed[name].state is OrderState.OPEN
        return ACCEPTED
    said = [fields["reason"] for event, fields in world.log.events if event in ("ORDER_REPLY", "DENIED")]
    return str(said[0]).split(" ")[0]


@pytest.mark.parametrize(
    ("rules", "qty", "fits", "code"),
    [
        ({"min_notional": D(150)}, "0.002", "0.003", "-4164"),
        ({"step": D("0.005")}, "0.006", "0.010", "-4023"),
        ({"max_qty": D("0.5")}, "0.6", "0.5", "-4005"),
        ({"status": "PRE_SETTLE"}, "0.006", "", "-4140"),
    ],
)
def test_rules_when_the_venue_makes_them_stricter_then_it_refuses_once_and_the_executor_itself_from_then_on(
    rules: dict[str, object], qty: str, fits: str, code: str
) -> None:
    world = a_world()
    market = world.core.exchange.markets[SYMBOL]
    assert place(world, qty) == ACCEPTED
    market.rules = msgspec.structs.replace(market.rules, **rules)
    assert place(world, qty) == code
    assert place(world, qty) == DenyReason.FILTER.value
    if fits:
        assert place(world, fits) == ACCEPTED


def test_rules_when_the_venue_makes_them_wider_then_the_executor_refuses_once_and_sends_from_then_on() -> None:
    world = a_world()
    market = world.core.exchange.markets[SYMBOL]
    assert place(world, "0.006", "0.05") == DenyReason.FILTER.value
    world.run(RULES_APART_MS)
    market.rules = msgspec.structs.replace(market.rules, tick=D("0.05"))
    assert place(world, "0.006", "0.05") == DenyReason.FILTER.value, "the fsm was told first"
    assert place(world, "0.006", "0.05") == ACCEPTED

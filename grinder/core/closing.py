"""Orders that close positions: MARKET first, and IOC orders within a slippage cap where MARKET does not do it.

Quantities are whole steps of the rules in force, never more than is held. What is less than the smallest order, as
where the venue made a step coarser meanwhile, is dust: no order closes it. An order for more than is held, which
reduce-only would cut, and a conditional order that closes all are not used: nothing says that either lifts the step.

Must never make an order that could open or grow a position: one-way orders are reduce-only, hedged ones name the side
of the position.

Invariant: an IOC order's price is never further from the mark price than the slippage cap, nor outside PERCENT_PRICE.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.account import Position, PositionSide
from grinder.model.instrument import Instrument
from grinder.model.orders import OrderId, Side, TimeInForce, format_order_id
from grinder.model.units import BPS, ONE, ZERO, ceil_to, floor_to
from grinder.model.venue import OrderType, PlaceOrder

CHUNKS_MAX: Final = 20
"""Most closing orders sent at once; what is left waits for the next time."""

RUNGS_MAX: Final = 4
"""Steps of the IOC ladder; the last one is at the slippage cap."""

LEVEL: Final = "x1"


class ClosingPlan(msgspec.Struct, frozen=True):
    """What closing orders are made from. ``sequence``: of the first one's id; never used by another order.

    ``slippage_bps_max``: furthest an IOC order may be from the mark price, basis points, above 0.
    """

    instruments: dict[str, Instrument]
    prefix: str
    term: int
    sequence: int
    slippage_bps_max: int


class Dust(msgspec.Struct, frozen=True):
    """A position that no order closes. ``qty``: as held, signed; ``smallest_qty``: of an order; base units."""

    symbol: str
    position_side: PositionSide
    qty: Decimal
    smallest_qty: Decimal

    @property
    def text(self) -> str:
        """What people are told."""
        return f"{self.symbol} {self.qty} {self.position_side} (smallest order {self.smallest_qty})"


def dust_of(positions: tuple[Position, ...], instruments: dict[str, Instrument]) -> tuple[Dust, ...]:
    """Return those of the positions of which no order closes any part, be it MARKET or LIMIT.

    None whose symbol has no known rules is one: the venue judges.
    """
    dust = []
    for position in positions:
        rules = instruments.get(position.symbol)
        if rules is not None and abs(position.qty) < (smallest := smallest_order(rules)):
            dust.append(Dust(position.symbol, position.position_side, position.qty, smallest))
    return tuple(dust)


def smallest_order(rules: Instrument) -> Decimal:
    """Return the least quantity that a closing order may have, base units: of MARKET or LIMIT, whichever is less."""
    steps = ((rules.step_size, rules.min_qty), (rules.market_step_size, rules.market_min_qty))
    return min(max(step, ceil_to(least, step)) for step, least in steps)


def market_orders(positions: tuple[Position, ...], plan: ClosingPlan) -> tuple[PlaceOrder, ...]:
    """Return the MARKET orders that close positions, in chunks of what the venue takes at once.

    Without known rules a position is closed in one order, for the venue to judge; dust makes none.
    """

    def chunks(position: Position) -> tuple[Decimal, ...]:
        rules = plan.instruments.get(position.symbol)
        qty = abs(position.qty)
        if rules is None:
            return (qty,)
        return _chunks(qty, rules.market_max_qty, rules.market_step_size, rules.market_min_qty)

    return _orders(positions, plan, OrderType.MARKET, chunks, lambda position: ZERO)


def ladder_orders(positions: tuple[Position, ...], plan: ClosingPlan, rung: int) -> tuple[PlaceOrder, ...]:
    """Return LIMIT orders that trade at once up to a price or not at all (IOC); each rung gives a bit more way.

    Args:
        positions: what is left; a position whose rules or mark price are not known is tried at MARKET again.
        plan: ids, rules, cap.
        rung: 1 to RUNGS_MAX.
    """
    assert 1 <= rung <= RUNGS_MAX
    priced = tuple(each for each in positions if each.symbol in plan.instruments and each.mark_price > ZERO)
    slippage = Decimal(plan.slippage_bps_max * rung) / (RUNGS_MAX * BPS)

    def price(position: Position) -> Decimal:
        return _limit_price(position, plan.instruments[position.symbol], slippage)

    def chunks(position: Position) -> tuple[Decimal, ...]:
        rules = plan.instruments[position.symbol]
        return _chunks(abs(position.qty), rules.max_qty, rules.step_size, rules.min_qty)

    orders = _orders(priced, plan, OrderType.LIMIT, chunks, price)
    blind = tuple(each for each in positions if each not in priced)
    after = msgspec.structs.replace(plan, sequence=plan.sequence + len(orders))
    return (orders + market_orders(blind, after))[:CHUNKS_MAX]


def _limit_price(position: Position, rules: Instrument, slippage: Decimal) -> Decimal:
    """Return the worst price that a close may take, rounded to the tick so that it gives no more way than the cap."""
    mark = position.mark_price
    if position.qty > ZERO:
        lowest = max(mark * (ONE - slippage), mark * rules.percent_price_down, rules.min_price)
        return ceil_to(lowest, rules.tick_size)
    highest = min(mark * (ONE + slippage), mark * rules.percent_price_up)
    return floor_to(highest, rules.tick_size)


def _orders(
    positions: tuple[Position, ...],
    plan: ClosingPlan,
    order_type: OrderType,
    chunks: Callable[[Position], tuple[Decimal, ...]],
    price: Callable[[Position], Decimal],
) -> tuple[PlaceOrder, ...]:
    """In hedge mode the position side says what closes, since the venue refuses reduceOnly there."""
    wanted = [(position, qty) for position in positions for qty in chunks(position)]
    return tuple(
        PlaceOrder(
            format_order_id(OrderId(plan.prefix, plan.term, plan.sequence + number, LEVEL)),
            position.symbol,
            Side.SELL if position.qty > ZERO else Side.BUY,
            order_type,
            price(position),
            qty,
            TimeInForce.IOC,
            position.position_side is PositionSide.BOTH,
            position.position_side,
        )
        for number, (position, qty) in enumerate(wanted[:CHUNKS_MAX])
    )


def _chunks(qty: Decimal, most: Decimal, step: Decimal, least: Decimal) -> tuple[Decimal, ...]:
    """Split the whole steps of a quantity at the venue's maximum; what is less than its minimum is left out."""
    qty = floor_to(qty, step)
    chunk = max(step, floor_to(most, step))
    whole = min(int(qty / chunk), CHUNKS_MAX)
    rest = qty - whole * chunk
    return (chunk,) * whole + ((rest,) if max(step, least) <= rest < chunk else ())

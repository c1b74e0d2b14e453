"""The venue's filters for a new or amended order, each with its documented code, in the venue's order.

Source: USDⓈ-M futures error codes and exchangeInfo filters, 2026-05-28. Precision is checked before tick and step.
"""

from __future__ import annotations

from decimal import Decimal

from grinder.model.orders import Side
from grinder.model.units import ZERO, is_multiple
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.rules import SymbolRules


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def check_places(value: Decimal, precision: int) -> None:
    """Check that a number has no more decimals than ``precision``.

    Raises:
        VenueError: -1111.
    """
    if _places(value) > precision:
        raise refusal(Code.BAD_PRECISION)


def check_price(rules: SymbolRules, side: Side, price: Decimal, mark: Decimal) -> None:
    """Check a limit price. ``mark``: 0 where there is none yet, then PERCENT_PRICE does not act.

    Raises:
        VenueError: -4001, -1111, -4002, -4013, -4014, -4016, -4024.
    """
    if price <= ZERO:
        raise refusal(Code.PRICE_LESS_THAN_ZERO)
    check_places(price, rules.price_precision)
    if price > rules.max_price:
        raise refusal(Code.PRICE_ABOVE_MAX)
    if price < rules.min_price:
        raise refusal(Code.PRICE_BELOW_MIN)
    if not is_multiple(price, rules.tick):
        raise refusal(Code.PRICE_NOT_ON_TICK)
    if mark > ZERO and side is Side.BUY and price > mark * rules.percent_price_up:
        raise refusal(Code.PRICE_ABOVE_MULTIPLIER_UP, (mark * rules.percent_price_up).quantize(rules.tick))
    if mark > ZERO and side is Side.SELL and price < mark * rules.percent_price_down:
        raise refusal(Code.PRICE_BELOW_MULTIPLIER_DOWN, (mark * rules.percent_price_down).quantize(rules.tick))


def check_quantity(rules: SymbolRules, qty: Decimal, largest: Decimal) -> None:
    """Check a quantity against LOT_SIZE, or MARKET_LOT_SIZE by its ``largest``.

    Raises:
        VenueError: -4003, -1111, -4004, -4005, -4023.
    """
    if qty <= ZERO:
        raise refusal(Code.QTY_NOT_ABOVE_ZERO)
    check_places(qty, rules.qty_precision)
    if qty < rules.min_qty:
        raise refusal(Code.QTY_BELOW_MIN)
    if qty > largest:
        raise refusal(Code.QTY_ABOVE_MAX)
    if not is_multiple(qty, rules.step):
        raise refusal(Code.QTY_NOT_ON_STEP)


def check_notional(rules: SymbolRules, price: Decimal, qty: Decimal) -> None:
    """Check MIN_NOTIONAL; not called for an order that only reduces.

    Raises:
        VenueError: -4164.
    """
    if price * qty < rules.min_notional:
        raise refusal(Code.MIN_NOTIONAL, rules.min_notional)

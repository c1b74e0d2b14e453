"""How large the account's position could become: the executor's own answer, from the venue's positions and its orders.

The fsm's is in ``core.exposure`` and shares nothing with this. Must never take an unknown price for none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from grinder.core.orders import Order
from grinder.model.account import Position
from grinder.model.orders import Side
from grinder.model.units import ZERO


def reach_usd(
    positions: Iterable[Position],
    orders: Iterable[Order],
    symbols: frozenset[str],
    price_of: Callable[[str], Decimal | None],
) -> Decimal | None:
    """Return what would be held at worst, quote currency: in each symbol the worse side of its entries filling alone.

    Args:
        positions: as the venue has them.
        orders: every order that may still fill, the one in question as it would be; one that only reduces adds nothing.
        symbols: those that count.
        price_of: mark price of a symbol, or None where nobody knows one.

    Returns:
        None if something is held or could be in a symbol without a price.
    """
    held: dict[str, Decimal] = {}
    buys: dict[str, Decimal] = {}
    sells: dict[str, Decimal] = {}
    for position in positions:
        held[position.symbol] = held.get(position.symbol, ZERO) + position.qty
    for order in orders:
        if not order.reduce_only:
            ahead = buys if order.side is Side.BUY else sells
            ahead[order.symbol] = ahead.get(order.symbol, ZERO) + max(order.qty, order.at_most_qty) - order.filled_qty
    total = ZERO
    for symbol in {**held, **buys, **sells}:
        qty = held.get(symbol, ZERO)
        worst = max(abs(qty), abs(qty + buys.get(symbol, ZERO)), abs(qty - sells.get(symbol, ZERO)))
        if symbol not in symbols or worst == ZERO:
            continue
        price = price_of(symbol)
        if price is None:
            return None
        total += worst * price
    return total

"""How large the account's position could become: the executor's own answer, from the venue's positions and its orders.

The fsm's is in ``core.exposure`` and shares nothing with this. Must never take an unknown price for none.
"""

from __future__ import annotations

from collections import defaultdict
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
    held: dict[str, Decimal] = defaultdict(Decimal)
    ahead: dict[tuple[str, Side], Decimal] = defaultdict(Decimal)
    for position in positions:
        held[position.symbol] += position.qty
    for order in orders:
        if not order.reduce_only:
            ahead[order.symbol, order.side] += max(order.qty, order.at_most_qty) - order.filled_qty
            held[order.symbol] += ZERO
    total = ZERO
    for symbol, qty in held.items():
        buys, sells = ahead[symbol, Side.BUY], ahead[symbol, Side.SELL]
        worst = max(abs(qty), abs(qty + buys), abs(qty - sells))
        if symbol not in symbols or worst == ZERO:
            continue
        price = price_of(symbol)
        if price is None:
            return None
        total += worst * price
    return total

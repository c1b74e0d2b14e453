"""How large the account's position could become: the executor's own answer, from the venue's positions and its orders.

The fsm's is in ``core.exposure`` and shares nothing with this. Must never take an unknown price for none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.account import LIST_LAG_MS_MAX
from grinder.core.orders import Order
from grinder.model.account import AccountState, Position
from grinder.model.orders import Side
from grinder.model.units import NS_PER_MS, ZERO

AHEAD_MAX: Final = 4_096
"""Most parts of entries remembered at once; an account that shows none of so many is too old for new risk anyway."""


class Ahead(msgspec.Struct, frozen=True, gc=False):
    """Part of an entry that filled. ``changed_utc_ms``: venue time of the order's last change, not before the trade."""

    symbol: str
    side: Side
    qty: Decimal
    changed_utc_ms: int
    seen_mono_ns: int


class FillsAhead:
    """What entries have filled and the account's positions may not show yet: the account is told of by another stream.

    Until it shows there, it counts as if it were still to come. Must never be dropped for time alone.
    """

    def __init__(self) -> None:
        self._parts: deque[Ahead] = deque(maxlen=AHEAD_MAX)

    def __iter__(self) -> Iterator[Ahead]:
        """Yield the parts that may not show yet."""
        return iter(self._parts)

    def on_order(self, before: Order, after: Order, now_mono_ns: int) -> None:
        """Take what an order has filled with this change; one that only reduces makes no position larger."""
        grown_qty = after.filled_qty - before.filled_qty
        if grown_qty > ZERO and not after.reduce_only:
            self._parts.append(Ahead(after.symbol, after.side, grown_qty, after.event_utc_ms, now_mono_ns))

    def on_account(self, account: AccountState) -> None:
        """Drop what a position shows that changed no earlier, or a snapshot that was asked for long enough after it."""
        changed = {item.symbol: item.update_utc_ms for item in account.positions}
        later_mono_ns = account.snapshot_mono_ns - LIST_LAG_MS_MAX * NS_PER_MS
        left = [
            part
            for part in self._parts
            if changed.get(part.symbol, -1) < part.changed_utc_ms and part.seen_mono_ns > later_mono_ns
        ]
        self._parts = deque(left, maxlen=AHEAD_MAX)


def reach_usd(
    positions: Iterable[Position],
    orders: Iterable[Order],
    symbols: frozenset[str],
    price_of: Callable[[str], Decimal | None],
    filled: Iterable[Ahead] = (),
) -> Decimal | None:
    """Return what would be held at worst, quote currency: in each symbol the worse side of its entries filling alone.

    Args:
        positions: as the venue has them.
        orders: every order that may still fill, the one in question as it would be; one that only reduces adds nothing.
        symbols: those that count.
        price_of: mark price of a symbol, or None where nobody knows one.
        filled: what orders have filled and ``positions`` may not show yet.

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
    for part in filled:
        ahead = buys if part.side is Side.BUY else sells
        ahead[part.symbol] = ahead.get(part.symbol, ZERO) + part.qty
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

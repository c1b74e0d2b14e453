"""One account: wallet, positions in one-way or hedge mode, margin. All money in USDT, quantities signed.

Invariant: wallet = start + sum of realised pnl - sum of fees; a position's quantity is the signed sum of its fills.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.orders import Order

DEFAULT_LEVERAGE: Final = 20
MONEY: Final = Decimal("0.00000001")
"""Granularity of money: fees and realised pnl are rounded to it, half even."""

PositionKey = tuple[str, PositionSide]
ExposureKey = tuple[str, PositionSide, Side]
MarkOf = Callable[[str], Decimal]
_NO_EXTRA: Final[dict[ExposureKey, Decimal]] = {}


class Holding(msgspec.Struct):
    """One position. ``qty`` base units, long above zero; ``realized`` over the position's whole life."""

    symbol: str
    position_side: PositionSide
    qty: Decimal = ZERO
    entry_price: Decimal = ZERO
    realized: Decimal = ZERO
    updated_utc_ms: int = 0

    def unrealized(self, mark: Decimal) -> Decimal:
        """Return unrealised pnl at a mark price."""
        return ((mark - self.entry_price) * self.qty).quantize(MONEY) if self.qty else ZERO


class Account:
    """One account of the venue, owned by the exchange."""

    def __init__(self, key: str, wallet: Decimal) -> None:
        self.key = key
        self.start_wallet = wallet
        self.wallet = wallet
        self.fees = ZERO
        self.realized = ZERO
        self.hedge_mode = False
        self.leverage: dict[str, int] = {}
        self.holdings: dict[PositionKey, Holding] = {}
        self.open: dict[int, Order] = {}
        self.open_by_client_id: dict[str, Order] = {}
        self._open_notional: dict[ExposureKey, Decimal] = {}
        self.updated_utc_ms = 0
        self.changes = 0

    def holding(self, symbol: str, position_side: PositionSide) -> Holding:
        """Return a position, flat if there was none."""
        key = (symbol, position_side)
        if key not in self.holdings:
            self.holdings[key] = Holding(symbol, position_side)
        return self.holdings[key]

    def leverage_of(self, symbol: str) -> int:
        """Return the leverage set for a symbol."""
        return self.leverage.get(symbol, DEFAULT_LEVERAGE)

    def reducible(self, order: Order) -> Decimal:
        """Return how much of the position an order's side would reduce, base units, 0 or more."""
        qty = self.holding(order.symbol, order.position_side).qty
        return max(ZERO, -qty if order.side is Side.BUY else qty)

    def closes_only(self, order: Order) -> bool:
        """Tell whether an order may only reduce: reduce-only, or the closing side of a hedge position."""
        closing = {PositionSide.LONG: Side.SELL, PositionSide.SHORT: Side.BUY}.get(order.position_side)
        return order.reduce_only or order.side is closing

    def book(self, order: Order, price: Decimal, qty: Decimal, fee: Decimal, utc_ms: int) -> Decimal:
        """Book a trade into position and wallet; return the realised pnl."""
        holding = self.holding(order.symbol, order.position_side)
        signed = qty if order.side is Side.BUY else -qty
        realized = _apply(holding, signed, price)
        holding.realized += realized
        holding.updated_utc_ms = utc_ms
        self.realized += realized
        self.fees += fee
        self.wallet += realized - fee
        self.updated_utc_ms = utc_ms
        self.changes += 1
        return realized

    def unrealized(self, mark_of: MarkOf) -> Decimal:
        """Return unrealised pnl of all positions."""
        return sum((each.unrealized(mark_of(each.symbol)) for each in self.holdings.values()), ZERO)

    def position_margin(self, mark_of: MarkOf) -> Decimal:
        """Return initial margin of all positions at their marks."""
        rows = (abs(each.qty) * mark_of(each.symbol) / self.leverage_of(each.symbol) for each in self.held())
        return sum(rows, ZERO).quantize(MONEY)

    def order_margin(self, mark_of: MarkOf, extra: Mapping[ExposureKey, Decimal] = _NO_EXTRA) -> Decimal:
        """Return initial margin that open orders (and ``extra`` notional) would add, per position the worse side."""
        total = ZERO
        for symbol, position_side in {(key[0], key[1]) for key in (*self._open_notional, *extra)}:
            held = self.holding(symbol, position_side).qty * mark_of(symbol)
            buys, sells = (
                self._open_notional.get((symbol, position_side, side), ZERO)
                + extra.get((symbol, position_side, side), ZERO)
                for side in (Side.BUY, Side.SELL)
            )
            worst = max(abs(held + buys), abs(held - sells))
            total += max(ZERO, worst - abs(held)) / self.leverage_of(symbol)
        return total.quantize(MONEY)

    def opened(self, order: Order) -> None:
        """Take an order into the set of open ones."""
        self.open[order.order_id] = order
        self.open_by_client_id[order.client_order_id] = order
        self._count_notional(order, order.remaining * order.price)
        self.changes += 1

    def closed(self, order: Order) -> None:
        """Take an order out of the set of open ones; its remaining quantity no longer counts."""
        if self.open.pop(order.order_id, None) is not None:
            self.open_by_client_id.pop(order.client_order_id, None)
            self._count_notional(order, -order.remaining * order.price)
        self.changes += 1

    def shrunk(self, order: Order, qty: Decimal) -> None:
        """Note that ``qty`` of an open order traded."""
        if order.order_id in self.open:
            self._count_notional(order, -qty * order.price)

    def _count_notional(self, order: Order, notional: Decimal) -> None:
        if not self.closes_only(order):
            key = (order.symbol, order.position_side, order.side)
            self._open_notional[key] = self._open_notional.get(key, ZERO) + notional

    def available(self, mark_of: MarkOf) -> Decimal:
        """Return the balance free for new orders; never below zero."""
        equity = self.wallet + self.unrealized(mark_of)
        return max(ZERO, equity - self.position_margin(mark_of) - self.order_margin(mark_of))

    def held(self) -> list[Holding]:
        """Return the positions that are not flat."""
        return [each for each in self.holdings.values() if each.qty]


def _apply(holding: Holding, signed: Decimal, price: Decimal) -> Decimal:
    """Change a position by a signed quantity at a price; return the realised pnl."""
    before = holding.qty
    after = before + signed
    if before * signed >= ZERO:
        holding.entry_price = (holding.entry_price * abs(before) + price * abs(signed)) / abs(after)
        holding.qty = after
        return ZERO
    closed = min(abs(signed), abs(before))
    direction = 1 if before > ZERO else -1
    realized = ((price - holding.entry_price) * closed * direction).quantize(MONEY)
    if after == ZERO:
        holding.entry_price = ZERO
    elif after * before < ZERO:
        holding.entry_price = price
    holding.qty = after
    return realized

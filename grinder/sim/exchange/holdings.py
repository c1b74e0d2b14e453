"""One position: quantity, entry price, what it cost in fees, and its own margin where it is isolated.

Invariant: ``qty`` is the signed sum of its fills; ``isolated_wallet`` is 0 for a crossed or flat position.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.units import ZERO

MONEY: Final = Decimal("0.00000001")
"""Granularity of money: fees, realised pnl and margins are rounded to it, half even."""


class MarginMode(StrEnum):
    """Whether a symbol's positions share the wallet or have margin of their own."""

    CROSSED = "CROSSED"
    ISOLATED = "ISOLATED"


class Holding(msgspec.Struct):
    """One position. ``qty`` base units, long above zero; ``realized`` over the position's whole life.

    ``fees``: what was paid for the part that is open, for the break-even price.
    """

    symbol: str
    position_side: PositionSide
    qty: Decimal = ZERO
    entry_price: Decimal = ZERO
    realized: Decimal = ZERO
    updated_utc_ms: int = 0
    fees: Decimal = ZERO
    margin_mode: MarginMode = MarginMode.CROSSED
    isolated_wallet: Decimal = ZERO

    @property
    def isolated(self) -> bool:
        """Tell whether the position has margin of its own."""
        return self.margin_mode is MarginMode.ISOLATED

    @property
    def break_even_price(self) -> Decimal:
        """Price at which closing would return what opening paid in fees, 0 when flat."""
        return self.entry_price + self.fees / self.qty if self.qty else ZERO

    def unrealized(self, mark: Decimal) -> Decimal:
        """Return unrealised pnl at a mark price."""
        return ((mark - self.entry_price) * self.qty).quantize(MONEY) if self.qty else ZERO

    def apply(self, signed: Decimal, price: Decimal, fee: Decimal, leverage: int) -> Decimal:
        """Change the position by one trade; return the realised pnl.

        Args:
            signed: traded quantity, base units, a purchase above zero.
            price: of the trade.
            fee: what the trade cost, money.
            leverage: of the symbol, for the margin an isolated position sets aside.
        """
        before = self.qty
        after = before + signed
        if before * signed >= ZERO:
            self.entry_price = (self.entry_price * abs(before) + price * abs(signed)) / abs(after)
            self.fees += fee
            self._set_aside(abs(signed) * price / leverage)
            self.qty = after
            return ZERO
        closed = min(abs(signed), abs(before))
        direction = 1 if before > ZERO else -1
        realized = ((price - self.entry_price) * closed * direction).quantize(MONEY)
        kept = 1 - closed / abs(before)
        self.fees *= kept
        self.isolated_wallet = (self.isolated_wallet * kept).quantize(MONEY)
        self.qty = after
        if after == ZERO:
            self.entry_price = ZERO
        elif after * before < ZERO:
            self.entry_price = price
            self.fees = fee * abs(after) / abs(signed)
            self._set_aside(abs(after) * price / leverage)
        return realized

    def _set_aside(self, margin: Decimal) -> None:
        if self.isolated:
            self.isolated_wallet += margin.quantize(MONEY)

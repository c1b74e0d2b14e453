"""What the venue allows for one symbol: tick, step, limits. Never guesses: a missing filter is an error."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from grinder.model.units import require_not_negative, require_positive

MARGIN_ASSET = "USDT"
"""The one asset whose margin this system counts: the account's totals are of it in single-asset mode."""

TRADING = "TRADING"
"""The one status in which new risk is allowed; every other one, known or not, pauses the symbol."""


class Instrument(msgspec.Struct, frozen=True, array_like=True):
    """Filters of one symbol, from exchangeInfo.

    Units: prices in quote currency, quantities in base units, ``min_notional`` in quote currency; multipliers are
    fractions of the mark price (PERCENT_PRICE). ``margin_asset``: what its margin and profit are in.
    """

    symbol: str
    status: str
    tick_size: Decimal
    step_size: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_step_size: Decimal
    market_min_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    min_price: Decimal
    max_price: Decimal
    percent_price_up: Decimal
    percent_price_down: Decimal
    open_orders_max: int
    margin_asset: str = MARGIN_ASSET

    def __post_init__(self) -> None:
        """Refuse a filter set that could not bound an order."""
        require_positive(
            tick_size=self.tick_size,
            step_size=self.step_size,
            max_qty=self.max_qty,
            market_step_size=self.market_step_size,
            market_max_qty=self.market_max_qty,
        )
        require_not_negative(
            min_qty=self.min_qty,
            min_notional=self.min_notional,
            min_price=self.min_price,
            max_price=self.max_price,
            market_min_qty=self.market_min_qty,
        )
        require_positive(percent_price_up=self.percent_price_up, percent_price_down=self.percent_price_down)
        if not self.symbol:
            raise ValueError("symbol is empty")

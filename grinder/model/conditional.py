"""Conditional orders: kept by the venue beside the book until a price triggers them, under ids of their own.

This system places none by itself; an exit takes away those that stand, and an operator's own may be looked at. A
conditional order is no order of the book: it never shows among the open orders, and ``countdownCancelAll`` and
``allOpenOrders`` leave it alone.

Source: venue documentation, USDⓈ-M futures algo orders (mandatory for conditional types since 2025-12-09), 2026-05-28.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from grinder.model.account import PositionSide, closes_only
from grinder.model.orders import Side, TimeInForce
from grinder.model.units import require_not_negative


class ConditionalType(StrEnum):
    """Conditional order types that we can send. The ones without MARKET rest as a LIMIT order once triggered."""

    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"


class PlaceConditional(msgspec.Struct, frozen=True, gc=False):
    """Place one conditional order. The MARKET types ignore ``price`` and ``tif``; see PlaceOrder for hedge mode."""

    client_order_id: str
    symbol: str
    side: Side
    order_type: ConditionalType
    trigger_price: Decimal
    price: Decimal
    qty: Decimal
    tif: TimeInForce
    reduce_only: bool
    position_side: PositionSide = PositionSide.BOTH

    @property
    def closes_only(self) -> bool:
        """Whether it can only make a position smaller, in either position mode."""
        return closes_only(self.side, self.position_side, reduce_only=self.reduce_only)

    @property
    def market(self) -> bool:
        """Whether it takes any price once it is triggered."""
        return self.order_type in (ConditionalType.STOP_MARKET, ConditionalType.TAKE_PROFIT_MARKET)


class CancelConditional(msgspec.Struct, frozen=True, gc=False):
    """Cancel one conditional order by our id."""

    client_order_id: str


class QueryConditional(msgspec.Struct, frozen=True, gc=False):
    """Ask for one conditional order by our id, finished or not."""

    client_order_id: str


class QueryOpenConditional(msgspec.Struct, frozen=True, gc=False):
    """Ask for every conditional order that waits (one symbol, or all with an empty string).

    ``for_exit``: an exit asks; then no rate limit of ours holds it back, and what can be read of the list is told.
    """

    symbol: str = ""
    for_exit: bool = False


class CancelAllConditional(msgspec.Struct, frozen=True, gc=False):
    """Cancel every conditional order of a symbol."""

    symbol: str


class ConditionalOrder(msgspec.Struct, frozen=True, gc=False):
    """One conditional order as the venue reports it; ``order_type`` and ``status`` are its words, known or not.

    ``qty`` is 0 for one that closes the whole position, ``price`` 0 for one that takes any price.
    """

    client_order_id: str
    venue_order_id: int
    symbol: str
    side: Side
    order_type: str
    status: str
    trigger_price: Decimal
    price: Decimal
    qty: Decimal
    reduce_only: bool
    update_utc_ms: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity and negative amounts."""
        require_not_negative(trigger_price=self.trigger_price, price=self.price, qty=self.qty)

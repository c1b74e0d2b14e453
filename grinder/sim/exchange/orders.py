"""One order at the simulated venue, and the closed sets of its fields. Owned by the exchange that holds it."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import OrderType


class Tif(StrEnum):
    """Times in force the venue takes; GTX is post-only, GTD needs ``goodTillDate``."""

    GTC = "GTC"
    GTX = "GTX"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"


class Status(StrEnum):
    """The venue's order statuses."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"


class SelfTrade(StrEnum):
    """Self-trade prevention; acts for GTC, GTD, IOC takers only."""

    NONE = "NONE"
    EXPIRE_TAKER = "EXPIRE_TAKER"
    EXPIRE_MAKER = "EXPIRE_MAKER"
    EXPIRE_BOTH = "EXPIRE_BOTH"


SELF_TRADE_TIFS: Final = frozenset({Tif.GTC, Tif.GTD, Tif.IOC})
"""Times in force of a taker for which its self-trade prevention acts. Source: New Order (TRADE), 2026-08-19."""


class PriceMatch(StrEnum):
    """Prices that the venue fills in: the best or the n-th best of the other side, or of the own side (QUEUE)."""

    NONE = "NONE"
    OPPONENT = "OPPONENT"
    OPPONENT_5 = "OPPONENT_5"
    OPPONENT_10 = "OPPONENT_10"
    OPPONENT_20 = "OPPONENT_20"
    QUEUE = "QUEUE"
    QUEUE_5 = "QUEUE_5"
    QUEUE_10 = "QUEUE_10"
    QUEUE_20 = "QUEUE_20"


class WorkingType(StrEnum):
    """Which price triggers a conditional order: the last trade or the mark."""

    CONTRACT_PRICE = "CONTRACT_PRICE"
    MARK_PRICE = "MARK_PRICE"


class Origin(StrEnum):
    """Who made an order: its owner, one of its owner's conditional orders, or the venue itself."""

    OWNER = "owner"
    ALGO = "algo"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"


FORCED: Final = frozenset({Origin.LIQUIDATION, Origin.ADL, Origin.SETTLEMENT})
"""Orders of the venue itself: their executions are CALCULATED."""


class Expiry(StrEnum):
    """Field ``er`` of ORDER_TRADE_UPDATE. Source: change log of 2025-10-23; 6 stands for what is due by date here."""

    NONE = "0"
    SELF_TRADE = "1"
    IMMEDIATE_OR_CANCEL = "2"
    IMMEDIATE_SELF_TRADE = "3"
    REDUCE_ONLY = "4"
    LIQUIDATED = "5"
    GOOD_TILL_DATE = "6"
    DELISTED = "7"
    STOP_TRIGGERED = "8"
    MARKET_REMAINDER = "9"


LIVE: Final = frozenset({Status.NEW, Status.PARTIALLY_FILLED})
"""Statuses in which an order may still trade."""


class Order(msgspec.Struct, eq=False, gc=False):
    """One order, changed in place by the exchange only.

    ``ahead``: base units of tape volume that must trade at this price before the order does. ``quote``: sum of price
    times quantity of its fills. ``account``: api key of its owner. ``rank``: grows with time; lower trades first.
    """

    order_id: int
    client_order_id: str
    account: str
    symbol: str
    side: Side
    kind: OrderType
    tif: Tif
    price: Decimal
    qty: Decimal
    reduce_only: bool
    position_side: PositionSide
    self_trade: SelfTrade
    created_utc_ms: int
    updated_utc_ms: int
    good_till_utc_ms: int = 0
    status: Status = Status.NEW
    filled: Decimal = ZERO
    quote: Decimal = ZERO
    ahead: Decimal = ZERO
    rank: int = 0
    amendments: int = 0
    modify_id: int | None = None
    expiry: Expiry = Expiry.NONE
    price_match: PriceMatch = PriceMatch.NONE
    origin: Origin = Origin.OWNER
    origin_type: str = ""
    trigger_price: Decimal = ZERO
    close_position: bool = False
    working_type: WorkingType = WorkingType.CONTRACT_PRICE
    price_protect: bool = False

    @property
    def remaining(self) -> Decimal:
        """Quantity that has not traded, base units."""
        return self.qty - self.filled

    @property
    def live(self) -> bool:
        """Tell whether the order may still trade."""
        return self.status in LIVE

    @property
    def average_price(self) -> Decimal:
        """Average price of its fills, 0 before the first."""
        return self.quote / self.filled if self.filled else ZERO


class Amendment(msgspec.Struct, frozen=True, gc=False):
    """One amendment of an order: total quantity and price before and after. ``count``: which one of the order's."""

    amendment_id: int
    order_id: int
    price_before: Decimal
    price: Decimal
    qty_before: Decimal
    qty: Decimal
    count: int
    modify_id: int | None
    utc_ms: int


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One trade of one order, as settled. Money in USDT."""

    trade_id: int
    order_id: int
    client_order_id: str
    account: str
    symbol: str
    side: Side
    position_side: PositionSide
    price: Decimal
    qty: Decimal
    fee: Decimal
    realized_pnl: Decimal
    maker: bool
    utc_ms: int

"""What we ask of a venue, and the three ways an ask can end: confirmed, rejected, in doubt.

Venue-neutral values; the wire forms live in the adapter. A timeout, a broken connection, a 5xx or an answer that cannot
be read is *in doubt*, never *rejected*.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from grinder.model.account import Balance, OpenOrder, Position, PositionSide, UnreadableRows, closes_only
from grinder.model.conditional import (
    CancelAllConditional,
    CancelConditional,
    ConditionalOrder,
    PlaceConditional,
    QueryConditional,
    QueryOpenConditional,
)
from grinder.model.instrument import Instrument
from grinder.model.limits import BATCH_ORDERS_MAX
from grinder.model.market import DepthSnapshot
from grinder.model.orders import Side, TimeInForce
from grinder.model.units import ZERO
from grinder.model.venue_account import AccountFact, AccountQuestion, QueryDepth


class OrderType(StrEnum):
    """Order types that we send."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"


class PlaceOrder(msgspec.Struct, frozen=True, gc=False):
    """Place one order. MARKET ignores ``price`` and ``tif``. In hedge mode ``reduce_only`` is not sent."""

    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    price: Decimal
    qty: Decimal
    tif: TimeInForce
    reduce_only: bool
    position_side: PositionSide = PositionSide.BOTH

    @property
    def closes_only(self) -> bool:
        """Whether it can only make a position smaller, in either position mode."""
        return closes_only(self.side, self.position_side, reduce_only=self.reduce_only)


class PlaceBatch(msgspec.Struct, frozen=True, gc=False):
    """Place several orders in one request; each ends for itself, in any order."""

    orders: tuple[PlaceOrder, ...]

    def __post_init__(self) -> None:
        """Refuse an empty batch and one that the venue would refuse whole."""
        if not 0 < len(self.orders) <= BATCH_ORDERS_MAX:
            raise ValueError(f"a batch has 1 to {BATCH_ORDERS_MAX} orders, not {len(self.orders)}")


class AmendOrder(msgspec.Struct, frozen=True, gc=False):
    """Move a resting LIMIT order to a new price and total quantity. ``reduce_only``: of that order; it is not sent."""

    client_order_id: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    reduce_only: bool = False


class CancelOrder(msgspec.Struct, frozen=True, gc=False):
    """Cancel one order by our id."""

    client_order_id: str
    symbol: str


class QueryOrder(msgspec.Struct, frozen=True, gc=False):
    """Ask for one order by our id, finished or not."""

    client_order_id: str
    symbol: str


class CancelAllOrders(msgspec.Struct, frozen=True, gc=False):
    """Cancel every regular order of a symbol."""

    symbol: str


class ArmCountdown(msgspec.Struct, frozen=True, gc=False):
    """Arm the venue's dead-man's switch for a symbol, or disarm it with 0 ms."""

    symbol: str
    countdown_ms: int


class QueryOpenOrders(msgspec.Struct, frozen=True, gc=False):
    """Ask for every resting order of the account (one symbol, or all with an empty string).

    ``for_exit``: an exit asks; then no rate limit of ours holds it back, and what can be read of the list is told.
    """

    symbol: str = ""
    for_exit: bool = False


class QueryPositions(msgspec.Struct, frozen=True, gc=False):
    """Ask for every position of the account that is not flat; ``for_exit`` as in QueryOpenOrders."""

    for_exit: bool = False


class QueryBalance(msgspec.Struct, frozen=True, gc=False):
    """Ask for the margin balance."""


class QueryPositionMode(msgspec.Struct, frozen=True, gc=False):
    """Ask whether the account is in hedge mode."""


class QueryInstruments(msgspec.Struct, frozen=True, gc=False):
    """Ask for the filters of every symbol."""


class QueryServerTime(msgspec.Struct, frozen=True, gc=False):
    """Ask for the venue's clock."""


OrderRequest = PlaceOrder | AmendOrder | CancelOrder
VenueRequest = (
    PlaceOrder
    | AmendOrder
    | CancelOrder
    | QueryOrder
    | CancelAllOrders
    | ArmCountdown
    | QueryOpenOrders
    | QueryPositions
    | QueryBalance
    | QueryPositionMode
    | QueryInstruments
    | QueryServerTime
    | PlaceBatch
    | PlaceConditional
    | CancelConditional
    | QueryConditional
    | QueryOpenConditional
    | CancelAllConditional
    | QueryDepth
    | AccountQuestion
)


class VenueOrder(msgspec.Struct, frozen=True, gc=False):
    """One order as the venue reports it. ``status`` is the venue's word, known or not."""

    client_order_id: str
    venue_order_id: int
    symbol: str
    side: Side
    status: str
    price: Decimal
    qty: Decimal
    filled_qty: Decimal
    reduce_only: bool
    update_utc_ms: int


class RateUse(msgspec.Struct, frozen=True, gc=False):
    """The venue's rate limits and what it says we used. ``limit``: 0 where unknown."""

    kind: str
    interval_s: int
    limit: int
    used: int


class Exchange(msgspec.Struct, frozen=True):
    """exchangeInfo, reduced: instruments by symbol that could be read, and the rate limits.

    ``skipped``: symbols left out because a filter was missing or could not be read.
    """

    instruments: tuple[Instrument, ...]
    rate_limits: tuple[RateUse, ...]
    skipped: int = 0


class BatchReplies(msgspec.Struct, frozen=True):
    """How each order of a batch ended, in the order of the request: Confirmed, Rejected or InDoubt."""

    replies: tuple[VenueReply, ...]


Answer = (
    VenueOrder
    | Exchange
    | Balance
    | tuple[OpenOrder | UnreadableRows, ...]
    | tuple[Position | UnreadableRows, ...]
    | bool
    | int
    | None
    | BatchReplies
    | ConditionalOrder
    | tuple[ConditionalOrder | UnreadableRows, ...]
    | DepthSnapshot
    | AccountFact
)
"""Value of a confirmed request: VenueOrder (place, amend, cancel, query), tuple of OpenOrder, tuple of Position,
Balance, bool (hedge mode), Exchange, int (server time, UTC ms), None (cancel one conditional order or all of a kind,
countdown), ConditionalOrder (place, query), tuple of ConditionalOrder, and what the question asks for. UnreadableRows
only where an exit asks: for everybody else one row that cannot be read fails the whole list."""


class Advice(StrEnum):
    """What a rejection means for the caller.

    RESTRICTED: the account or symbol may only reduce, or do nothing. MALFORMED: the request itself is wrong, ours to
    mend.
    """

    NOT_FOUND = "NOT_FOUND"
    DUPLICATE_ID = "DUPLICATE_ID"
    POST_ONLY = "POST_ONLY"
    REDUCE_ONLY = "REDUCE_ONLY"
    NOTHING_TO_AMEND = "NOTHING_TO_AMEND"
    MARGIN = "MARGIN"
    FILTER = "FILTER"
    RATE_LIMIT = "RATE_LIMIT"
    BANNED = "BANNED"
    CLOCK = "CLOCK"
    AUTH = "AUTH"
    MODE = "MODE"
    OVERLOAD = "OVERLOAD"
    OTHER = "OTHER"
    RESTRICTED = "RESTRICTED"
    MALFORMED = "MALFORMED"


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """The venue did it, or answered. ``rtt_ns``: request to reply on the monotonic clock."""

    value: Answer
    rtt_ns: int


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """The venue refused it for certain. ``retry_after_ms``: wait the venue asked for, 0 if none."""

    http_status: int
    code: int
    message: str
    advice: Advice
    retry_after_ms: int = 0


class InDoubt(msgspec.Struct, frozen=True, gc=False):
    """Nobody knows whether it happened. ``why``: a short stable word such as ``timeout`` or ``-1007``."""

    why: str


class NotSent(msgspec.Struct, frozen=True, gc=False):
    """It certainly never left this host (no connection, local rate limit).

    ``why``: a short stable word. ``retry_after_ms``: how long the venue still keeps such requests here; 0: not it.
    """

    why: str
    retry_after_ms: int = 0


VenueReply = Confirmed | Rejected | InDoubt | NotSent


class OrderEvent(msgspec.Struct, frozen=True, gc=False):
    """ORDER_TRADE_UPDATE. ``execution`` and ``status`` are the venue's words, known or not.

    ``last_qty``, ``last_price``, ``trade_id``, ``fee``, ``realized_pnl``, ``maker``: of this event's trade;
    ``trade_id`` is 0 where the event is no trade. ``expiry``: the venue's word (``er``) for why it ended the order.
    """

    client_order_id: str
    venue_order_id: int
    symbol: str
    side: Side
    execution: str
    status: str
    price: Decimal
    qty: Decimal
    filled_qty: Decimal
    last_price: Decimal
    last_qty: Decimal
    trade_id: int
    fee: Decimal
    realized_pnl: Decimal
    maker: bool
    reduce_only: bool
    event_utc_ms: int
    transaction_utc_ms: int
    expiry: str = ""


class AccountEvent(msgspec.Struct, frozen=True):
    """ACCOUNT_UPDATE: only what changed. A position with quantity 0 is closed. ``wallet_balance`` None: unchanged.

    ``balance_change``: of the wallet by anything but pnl and commission, quote currency; 0 where the venue left it out.
    """

    reason: str
    wallet_balance: Decimal | None
    positions: tuple[Position, ...]
    event_utc_ms: int
    balance_change: Decimal = ZERO


class UserStreamUp(msgspec.Struct, frozen=True, gc=False):
    """The user stream is connected and delivers; whatever happened before must be asked for."""


class UserStreamDown(msgspec.Struct, frozen=True, gc=False):
    """The user stream is gone (closed, expired key); it is being built again."""

    why: str


class MarginCall(msgspec.Struct, frozen=True, gc=False):
    """MARGIN_CALL: the venue warns that these positions come near their liquidation."""

    symbols: tuple[str, ...]


class ConfigChanged(msgspec.Struct, frozen=True, gc=False):
    """ACCOUNT_CONFIG_UPDATE: leverage of ``symbol``, or with an empty one the margin mode, was changed by somebody."""

    symbol: str


UserEvent = OrderEvent | AccountEvent | MarginCall | ConfigChanged | UserStreamUp | UserStreamDown

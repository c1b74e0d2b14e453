"""Orders: sides, kinds, lifecycle states, the identity of an order, and the frames about it.

A client order id is made once per intent and never reused; it parses back to who made it. Never random.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from grinder.model.reasons import PlanReason
from grinder.model.units import ZERO, require_finite, require_not_negative, require_positive

ID_PATTERN: Final = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
"""Source: venue documentation, newClientOrderId of POST /fapi/v1/order, 2026-05-28."""

PREFIX_PATTERN: Final = re.compile(r"^[a-z][a-z0-9]{0,7}$")
LEVEL_PATTERN: Final = re.compile(r"^[bstx][0-9]{1,2}$")
NUMBER_PATTERN: Final = re.compile(r"0|[1-9a-z][0-9a-z]*")
"""A number as it is written here; int() reads it in many other ways."""
INTENTS_PER_INCARNATION: Final = 1 << 20
"""Most intents of one incarnation of the fsm: sequence = incarnation * this + number of the intent."""

IDS_KEPT: Final = 1_024
"""Ids whose parts are kept: every event of an order asks for those of its id again."""

INCARNATION_MAX: Final = 1 << 40
"""No start number reaches this: they count starts, or seconds of the Unix clock where that is more."""

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class Side(StrEnum):
    """Side of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderKind(StrEnum):
    """What an order is for."""

    GRID = "GRID"
    TAKE_PROFIT = "TAKE_PROFIT"
    EXIT = "EXIT"


BUY: Final = Side.BUY
SELL: Final = Side.SELL
GRID: Final = OrderKind.GRID
TAKE_PROFIT: Final = OrderKind.TAKE_PROFIT
EXIT: Final = OrderKind.EXIT
"""Plain names for the path of every tick: CPython 3.11 needs 150 ns to look a member up in its enum, 10 for a name."""


class TimeInForce(StrEnum):
    """Time in force that we send; GTX is post-only."""

    GTC = "GTC"
    GTX = "GTX"
    IOC = "IOC"


class OrderState(StrEnum):
    """Lifecycle of an order as the executor knows it. *Denied* is by us, *rejected* by the venue."""

    PENDING_NEW = "PENDING_NEW"
    OPEN = "OPEN"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    PENDING_AMEND = "PENDING_AMEND"
    PENDING_CANCEL = "PENDING_CANCEL"
    IN_DOUBT = "IN_DOUBT"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    DENIED = "DENIED"


TERMINAL: Final = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELED,
        OrderState.EXPIRED,
        OrderState.REJECTED,
        OrderState.DENIED,
    }
)
"""States from which an order never leaves."""

IN_FLIGHT: Final = frozenset(
    {
        OrderState.PENDING_NEW,
        OrderState.PENDING_AMEND,
        OrderState.PENDING_CANCEL,
        OrderState.IN_DOUBT,
    }
)
"""States in which the venue owes an answer; the router leaves such an order alone."""


class OrderId(msgspec.Struct, frozen=True):
    """A client order id, taken apart.

    ``term``: leader term (0 alone). ``sequence``: incarnation of the fsm times INTENTS_PER_INCARNATION plus the
    number of the intent. ``level``: ``b3`` third buy level, ``s1`` first sell level, ``t7`` take-profit, ``x1`` exit.
    """

    prefix: str
    term: int
    sequence: int
    level: str


def _base36(number: int) -> str:
    assert number >= 0
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if number == 0:
            return digits


def format_order_id(order_id: OrderId) -> str:
    """Return the client order id, 36 characters at most.

    Invariant: ``parse_order_id(format_order_id(x)) == x``; different inputs give different ids.

    Raises:
        ValueError: if a part is malformed or the id would be too long for the venue.
    """
    if not PREFIX_PATTERN.fullmatch(order_id.prefix) or not LEVEL_PATTERN.fullmatch(order_id.level):
        raise ValueError(f"order id has a bad prefix or level: {order_id.prefix!r} {order_id.level!r}")
    text = f"{order_id.prefix}-{_base36(order_id.term)}-{_base36(order_id.sequence)}-{order_id.level}"
    if not ID_PATTERN.match(text):
        raise ValueError(f"order id {text!r} does not fit the venue's pattern")
    return text


@lru_cache(maxsize=IDS_KEPT)
def parse_order_id(text: str) -> OrderId | None:
    """Return the parts of a client order id of this form, or None for any other text (a foreign order).

    Invariant: a text that has parts is the one that ``format_order_id`` makes of them.
    """
    parts = text.split("-")
    patterns = (PREFIX_PATTERN, NUMBER_PATTERN, NUMBER_PATTERN, LEVEL_PATTERN)
    if len(parts) != len(patterns) or not all(map(re.Pattern.fullmatch, patterns, parts)):
        return None
    prefix, term, sequence, level = parts
    return OrderId(prefix, int(term, 36), int(sequence, 36), level)


class Place(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Intent: place one LIMIT order. ``cause_mono_ns``: arrival of the tick that caused it.

    ``collar_price``: the mark or mid the guard compared with; the executor's interlock compares again.
    """

    client_order_id: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    tif: TimeInForce
    reduce_only: bool
    kind: OrderKind
    reason: PlanReason
    deadline_mono_ns: int
    cause_mono_ns: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity, and a price or quantity that is not above zero."""
        price, qty = self.price, self.qty
        # Spelled out where it holds, because every intent passes here in both processes; naming the culprit is slow.
        if not (price.is_finite() and qty.is_finite() and price > ZERO and qty > ZERO):
            require_positive(price=price, qty=qty)


class Amend(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Intent: move a resting order to a new price and total quantity (the venue wants both)."""

    client_order_id: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    reason: PlanReason
    deadline_mono_ns: int
    cause_mono_ns: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity, and a price or quantity that is not above zero."""
        price, qty = self.price, self.qty
        # Spelled out where it holds, because every intent passes here in both processes; naming the culprit is slow.
        if not (price.is_finite() and qty.is_finite() and price > ZERO and qty > ZERO):
            require_positive(price=price, qty=qty)


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Intent: cancel one order. It has a deadline too, but protective: only its age is reported, never refused."""

    client_order_id: str
    symbol: str
    reason: PlanReason
    deadline_mono_ns: int
    cause_mono_ns: int


class ResyncOrders(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Request from the fsm: publish the full order state now."""

    asked_mono_ns: int


class OrderUpdate(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """One order as the executor knows it now; published on every change, whole.

    ``reason``: a DenyReason, a venue code and text, or a PlanReason of what it was for. ``event_utc_ms``: venue time
    of the last event, 0 before the first.
    """

    client_order_id: str
    symbol: str
    side: Side
    kind: OrderKind
    state: OrderState
    price: Decimal
    qty: Decimal
    filled_qty: Decimal
    reduce_only: bool
    reason: str
    event_utc_ms: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity and negative amounts."""
        price, qty, filled_qty = self.price, self.qty, self.filled_qty
        finite = price.is_finite() and qty.is_finite() and filled_qty.is_finite()
        if not (finite and price >= ZERO and qty >= ZERO and filled_qty >= ZERO):
            require_not_negative(price=price, qty=qty, filled_qty=filled_qty)


class Fill(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """One trade of one of our orders, counted once by (symbol, trade_id). Fee in quote currency.

    ``event_utc_ms``: venue time of the trade.
    """

    client_order_id: str
    symbol: str
    side: Side
    kind: OrderKind
    trade_id: int
    price: Decimal
    qty: Decimal
    fee: Decimal
    realized_pnl: Decimal
    maker: bool
    event_utc_ms: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity, and a price or quantity that is not above zero."""
        require_positive(price=self.price, qty=self.qty)
        require_finite(fee=self.fee, realized_pnl=self.realized_pnl)


class CommandRefused(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Answer to an Amend or Cancel that did not go out or failed; the order itself is unchanged."""

    client_order_id: str
    symbol: str
    command: str
    reason: str


class OrdersSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Every order that is not terminal, and how far the executor has read the intents channel.

    An intent with (incarnation, sequence) up to ``(intents_incarnation, intents_seq)`` that is not in ``orders`` is
    finished; a later one is still on its way. ``ready``: reconciled with the venue and able to send.
    """

    orders: tuple[OrderUpdate, ...]
    intents_incarnation: int
    intents_seq: int
    ready: bool
    not_ready_reason: str
    sent_mono_ns: int


class OrderBudget(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """How much of the venue's order budget is left, as the executor counts it."""

    orders_left_10s: int
    orders_left_1m: int
    risk_orders_this_run: int

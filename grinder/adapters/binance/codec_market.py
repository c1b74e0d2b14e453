"""Bytes of the venue's market streams to model values: raw events, combined-stream events, depth snapshots, replies.

Gives a value or raises PayloadError, nothing else, whatever the bytes are. Unknown fields are ignored, unknown event
types refused with their own reason. Must never guess a missing value and never keep state.

Source: Binance USDⓈ-M futures documentation, websocket market streams (2026-05-28) and its change log.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from grinder.model.errors import PayloadError
from grinder.model.limits import AMOUNT_MAX, DECIMAL_TEXT_MAX, FRAME_BYTES_MAX, PRICE_MIN
from grinder.model.market import BookTop, DepthDiff, DepthSnapshot, Levels, MarketEvent, MarkPrice, TradeTick
from grinder.model.reasons import DropReason
from grinder.model.units import ZERO

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=DECIMAL_TEXT_MAX)]
OptionalText = Annotated[str, msgspec.Meta(max_length=DECIMAL_TEXT_MAX)]
WireLevels = tuple[tuple[Text, Text], ...]


class StreamReply(msgspec.Struct, frozen=True):
    """Answer to a SUBSCRIBE or another request on a stream: ``code`` 0 is an acknowledgement, which is not data."""

    request_id: str
    code: int
    message: str


class _BookTicker(msgspec.Struct, tag_field="e", tag="bookTicker", gc=False):
    u: Count
    s: Text
    b: Text
    B: Text
    a: Text
    A: Text
    E: Count

    def value(self, mono_ns: int, utc_ms: int) -> BookTop:
        bid, bid_qty, ask, ask_qty = Decimal(self.b), Decimal(self.B), Decimal(self.a), Decimal(self.A)
        try:
            return BookTop(self.s, bid, bid_qty, ask, ask_qty, self.u, self.E, mono_ns, utc_ms)
        except ValueError as failure:
            raise PayloadError(str(failure), _why_no_top(bid, bid_qty, ask, ask_qty)) from failure


class _MarkPrice(msgspec.Struct, tag_field="e", tag="markPriceUpdate", gc=False):
    s: Text
    p: Text
    E: Count
    i: OptionalText = "0"
    r: OptionalText = "0"
    T: Count = 0

    def value(self, mono_ns: int, utc_ms: int) -> MarkPrice:
        # A delivery contract sends an empty funding rate.
        index = _number(self.i or "0", ZERO, AMOUNT_MAX)
        funding = _number(self.r or "0", -AMOUNT_MAX, AMOUNT_MAX)
        return MarkPrice(self.s, _number(self.p, PRICE_MIN, AMOUNT_MAX), index, funding, self.T, self.E, mono_ns)


class _AggregateTrade(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    s: Text
    a: Count
    p: Text
    q: Text
    m: bool
    E: Count

    def value(self, mono_ns: int, utc_ms: int) -> TradeTick:
        price, qty = _number(self.p, PRICE_MIN, AMOUNT_MAX), _number(self.q, QTY_MIN, AMOUNT_MAX)
        return TradeTick(self.s, self.a, price, qty, self.m, self.E, mono_ns)


class _Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    s: Text
    t: Count
    p: Text
    q: Text
    m: bool
    E: Count

    def value(self, mono_ns: int, utc_ms: int) -> TradeTick:
        price, qty = _number(self.p, PRICE_MIN, AMOUNT_MAX), _number(self.q, QTY_MIN, AMOUNT_MAX)
        return TradeTick(self.s, self.t, price, qty, self.m, self.E, mono_ns)


class _DepthUpdate(msgspec.Struct, tag_field="e", tag="depthUpdate"):
    s: Text
    U: Count
    u: Count
    pu: Count
    b: WireLevels
    a: WireLevels
    E: Count

    def value(self, mono_ns: int, utc_ms: int) -> DepthDiff:
        if self.u < self.U:
            raise PayloadError("first update id above the last", DropReason.OUT_OF_RANGE)
        bids, asks = _levels(self.b), _levels(self.a)
        return DepthDiff(self.s, self.U, self.u, self.pu, bids, asks, self.E, mono_ns, utc_ms)


QTY_MIN: Final = Decimal(10) ** -18
"""Smallest quantity of a trade; zero is none."""

_Event = _BookTicker | _MarkPrice | _AggregateTrade | _Trade | _DepthUpdate
EVENT_TYPES: Final = frozenset({"bookTicker", "markPriceUpdate", "aggTrade", "trade", "depthUpdate"})


class _Combined(msgspec.Struct, gc=False):
    data: _Event


class _Snapshot(msgspec.Struct, rename={"last_update_id": "lastUpdateId"}):
    last_update_id: Count
    bids: WireLevels
    asks: WireLevels
    E: Count = 0
    symbol: str = ""


class _Refusal(msgspec.Struct):
    code: int = -1
    msg: str = ""


class _Reply(msgspec.Struct):
    id: int | str | None = None
    error: _Refusal | None = None
    code: int | None = None
    msg: str = ""


class _Shape(msgspec.Struct):
    """Just enough of any message to say what it is; every field may be anything."""

    e: Any = None
    stream: Any = None
    data: msgspec.Raw = msgspec.Raw(b"")
    lastUpdateId: Any = None
    result: msgspec.Raw | None = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")
    code: Any = None
    id: Any = None


_decode_combined: Final = msgspec.json.Decoder(_Combined).decode
_decode_event: Final[Callable[[Any], _Event]] = msgspec.json.Decoder(_Event).decode
_decode_snapshot: Final = msgspec.json.Decoder(_Snapshot).decode
_decode_reply: Final = msgspec.json.Decoder(_Reply).decode
_decode_shape: Final = msgspec.json.Decoder(_Shape).decode

_COMBINED_HEAD: Final = b'{"stream":'
_COMBINED_HEAD_BYTES: Final = len(_COMBINED_HEAD)

_ANY_DECODE_FAILURE: Final = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)
"""Everything that msgspec, Decimal and a model's own check may raise on hostile bytes."""


def decode_market(
    raw: bytes | bytearray | memoryview, recv_mono_ns: int, recv_utc_ms: int
) -> MarketEvent | StreamReply:
    """Decode one message of a market stream, or one REST depth snapshot.

    Args:
        raw: the whole message, UTF-8 JSON, with or without the combined-stream wrapper.
        recv_mono_ns: monotonic time at which its bytes arrived, nanoseconds.
        recv_utc_ms: wall time at which its bytes arrived, Unix milliseconds.

    Returns:
        BookTop, MarkPrice, TradeTick, DepthDiff, DepthSnapshot, or a StreamReply (an answer to a request, not data).

    Raises:
        PayloadError: the bytes are not a valid message; ``reason`` says why.
    """
    if len(raw) > FRAME_BYTES_MAX:
        raise PayloadError(f"{len(raw)} bytes", DropReason.TOO_LARGE)
    try:
        if raw[:_COMBINED_HEAD_BYTES] == _COMBINED_HEAD:
            return _decode_combined(raw).data.value(recv_mono_ns, recv_utc_ms)
        return _decode_other(raw, recv_mono_ns, recv_utc_ms)
    except _ANY_DECODE_FAILURE as failure:
        raise PayloadError(str(failure)[:200], _reason(raw, failure)) from failure


def _decode_other(raw: bytes | bytearray | memoryview, mono_ns: int, utc_ms: int) -> MarketEvent | StreamReply:
    """Decode whatever does not start like a combined-stream message; looks at its shape first."""
    shape = _decode_shape(raw)
    if shape.e is not None and not isinstance(shape.e, str):
        raise PayloadError("event type is no text", DropReason.WRONG_TYPE)
    if shape.e is not None:
        return _decode_event(raw).value(mono_ns, utc_ms)
    if shape.stream is not None:
        return _decode_combined(raw).data.value(mono_ns, utc_ms)
    if shape.lastUpdateId is not None:
        return _snapshot(_decode_snapshot(raw), mono_ns)
    if shape.id is not None or shape.error or shape.code is not None:
        return _reply(_decode_reply(raw))
    raise PayloadError("no known message", DropReason.UNKNOWN_EVENT)


def _snapshot(wire: _Snapshot, mono_ns: int) -> DepthSnapshot:
    bids, asks = _levels(wire.bids), _levels(wire.asks)
    if bids and asks and max(bids)[0] >= min(asks)[0]:
        raise PayloadError("snapshot", DropReason.CROSSED_BOOK)
    return DepthSnapshot(wire.symbol, wire.last_update_id, bids, asks, wire.E, mono_ns)


def _reply(wire: _Reply) -> StreamReply:
    request_id = "" if wire.id is None else str(wire.id)
    if wire.error is not None:
        return StreamReply(request_id, wire.error.code, wire.error.msg)
    return StreamReply(request_id, wire.code or 0, wire.msg)


def _number(text: str, low: Decimal, high: Decimal) -> Decimal:
    """Return a number within its bounds; raise PayloadError, or InvalidOperation where the text is no number."""
    value = Decimal(text)
    if not value.is_finite():
        raise PayloadError(text, DropReason.NOT_FINITE)
    if not low <= value <= high:
        raise PayloadError(text, DropReason.OUT_OF_RANGE)
    return value


def _levels(wire: WireLevels) -> Levels:
    """Return levels within their bounds; raise PayloadError, or InvalidOperation where a text is no number."""
    levels = tuple([(Decimal(price), Decimal(qty)) for price, qty in wire])
    for price, qty in levels:
        if not (price.is_finite() and qty.is_finite()):
            raise PayloadError(f"level {price} {qty}", DropReason.NOT_FINITE)
        if not (PRICE_MIN <= price <= AMOUNT_MAX and ZERO <= qty <= AMOUNT_MAX):
            raise PayloadError(f"level {price} {qty}", DropReason.OUT_OF_RANGE)
    return levels


def _why_no_top(bid: Decimal, bid_qty: Decimal, ask: Decimal, ask_qty: Decimal) -> DropReason:
    """Say why a best bid and ask are refused; slow, because only bad ones come here."""
    if not all(value.is_finite() for value in (bid, bid_qty, ask, ask_qty)):
        return DropReason.NOT_FINITE
    in_range = all(PRICE_MIN <= price <= AMOUNT_MAX for price in (bid, ask))
    return DropReason.CROSSED_BOOK if in_range and bid >= ask else DropReason.OUT_OF_RANGE


def _reason(raw: bytes | bytearray | memoryview, failure: Exception) -> DropReason:
    """Say why a decode failed; slow, because only bad messages come here."""
    if isinstance(failure, msgspec.ValidationError):
        return DropReason.UNKNOWN_EVENT if _is_unknown_event(raw) else DropReason.WRONG_TYPE
    return DropReason.TRUNCATED if isinstance(failure, msgspec.DecodeError) else DropReason.WRONG_TYPE


def _is_unknown_event(raw: bytes | bytearray | memoryview) -> bool:
    try:
        shape = _decode_shape(raw)
        inner = _decode_shape(shape.data) if shape.data else shape
    except _ANY_DECODE_FAILURE:
        return False
    return isinstance(inner.e, str) and inner.e not in EVENT_TYPES

"""Bytes of order and account replies to values: orders, positions, balance, position mode, clock, listen key.

Every function gives a value or raises PayloadError, nothing else. Unknown fields are ignored, unknown words of open
sets (order status, order type) pass through as text. An order acknowledgement never yields a filled quantity: fills
come from the user stream or from a query.

Source: venue documentation, USDⓈ-M futures trade and account endpoints, 2026-05-28; since 2026-06-30 acknowledgements
carry no avgPrice, cumQuote or cumBase.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from grinder.model.account import Balance, OpenOrder, Position, PositionSide, UnreadableRows
from grinder.model.errors import PayloadError
from grinder.model.orders import Side
from grinder.model.reasons import DropReason
from grinder.model.units import ZERO, require_finite, require_not_negative
from grinder.model.venue import AmendOrder, CancelOrder, OrderRequest, PlaceOrder, VenueOrder

DECIMAL_EXPONENT_MAX: Final = 30
"""Largest power of ten, up or down, of a number that the venue could mean."""

T = TypeVar("T")


def read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode JSON.

    Raises:
        PayloadError: if it is not JSON of that shape.
    """
    try:
        return decoder.decode(body)
    except RecursionError as error:
        raise PayloadError("nested too deep", DropReason.WRONG_TYPE) from error
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        raise PayloadError(str(error)) from error


def build(make: Callable[[], T]) -> T:
    """Return a value whose construction checks its own ranges.

    Raises:
        PayloadError: if a check refuses it.
    """
    try:
        return make()
    except (ValueError, ArithmeticError) as error:
        raise PayloadError(str(error), DropReason.OUT_OF_RANGE) from error


def require_sane(**values: Decimal) -> None:
    """Raise ValueError naming the first value that is not finite, or that no market could have."""
    require_finite(**values)
    for name, value in values.items():
        if value and abs(value.adjusted()) > DECIMAL_EXPONENT_MAX:
            raise ValueError(f"{name} has exponent {value.adjusted()}")


class _Order(msgspec.Struct, rename="camel"):
    """An order in full, as a query returns it."""

    symbol: str
    order_id: int
    client_order_id: str
    side: Side
    status: str
    price: Decimal
    orig_qty: Decimal
    executed_qty: Decimal
    type: str = ""
    reduce_only: bool = False
    update_time: int = 0


class _Ack(msgspec.Struct, rename="camel"):
    """An acknowledgement: only what identifies the order is required."""

    symbol: str
    order_id: int
    client_order_id: str
    status: str = ""
    price: Decimal | None = None
    orig_qty: Decimal | None = None
    reduce_only: bool | None = None
    side: Side | None = None
    update_time: int = 0


class _PositionRisk(msgspec.Struct, rename="camel"):
    symbol: str
    position_amt: Decimal
    entry_price: Decimal
    mark_price: Decimal
    un_realized_profit: Decimal
    position_side: PositionSide = PositionSide.BOTH
    update_time: int = 0


class _Held(msgspec.Struct, rename="camel"):
    position_amt: Decimal


class _Account(msgspec.Struct, rename="camel"):
    total_wallet_balance: Decimal
    total_unrealized_profit: Decimal
    available_balance: Decimal


class _PositionMode(msgspec.Struct, rename="camel"):
    dual_side_position: bool


class _ServerTime(msgspec.Struct, rename="camel"):
    server_time: int


class _Done(msgspec.Struct):
    code: int


class _Countdown(msgspec.Struct, rename="camel"):
    symbol: str


class _ListenKey(msgspec.Struct, rename="camel"):
    listen_key: str


_ORDER: Final = msgspec.json.Decoder(_Order)
_ORDERS: Final = msgspec.json.Decoder(list[_Order])
_ACK: Final = msgspec.json.Decoder(_Ack)
_POSITIONS: Final = msgspec.json.Decoder(list[_PositionRisk])
_POSITION: Final = msgspec.json.Decoder(_PositionRisk)
_HELD: Final = msgspec.json.Decoder(_Held)
_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ACCOUNT: Final = msgspec.json.Decoder(_Account)
_MODE: Final = msgspec.json.Decoder(_PositionMode)
_TIME: Final = msgspec.json.Decoder(_ServerTime)
_DONE: Final = msgspec.json.Decoder(_Done)
_COUNTDOWN: Final = msgspec.json.Decoder(_Countdown)
_KEY: Final = msgspec.json.Decoder(_ListenKey)


def decode_ack(body: bytes, request: OrderRequest) -> VenueOrder:
    """Return the order of an acknowledgement; ``filled_qty`` is always 0, whatever the venue says.

    Fields that the venue leaves out are taken from the request. A cancel does not know price and quantity: 0 then.

    Raises:
        PayloadError: unreadable, or about another order than the one that was asked for.
    """
    ack = read(_ACK, body)
    if ack.client_order_id != request.client_order_id or ack.symbol != request.symbol:
        raise PayloadError("the reply is about another order", DropReason.OUT_OF_RANGE)
    price, qty, side = ack.price, ack.orig_qty, ack.side
    if isinstance(request, PlaceOrder | AmendOrder):
        price = request.price if price is None else price
        qty = request.qty if qty is None else qty
        side = request.side if side is None else side
    if side is None:
        raise PayloadError("the reply has no side")
    reduce_only = ack.reduce_only
    if reduce_only is None:
        reduce_only = isinstance(request, PlaceOrder) and request.reduce_only

    def make() -> VenueOrder:
        order = VenueOrder(
            client_order_id=ack.client_order_id,
            venue_order_id=ack.order_id,
            symbol=ack.symbol,
            side=side,
            status=ack.status or _STATUS_IMPLIED[type(request)],
            price=ZERO if price is None else price,
            qty=ZERO if qty is None else qty,
            filled_qty=ZERO,
            reduce_only=reduce_only,
            update_utc_ms=ack.update_time,
        )
        require_sane(price=order.price, qty=order.qty)
        require_not_negative(price=order.price, qty=order.qty)
        return order

    return build(make)


_STATUS_IMPLIED: Final[dict[type, str]] = {PlaceOrder: "NEW", AmendOrder: "NEW", CancelOrder: "CANCELED"}
"""What an acknowledgement without a status says."""


def decode_order(body: bytes) -> VenueOrder:
    """Return the order of a query, with what it filled.

    Raises:
        PayloadError: unreadable or out of range.
    """
    order = read(_ORDER, body)

    def make() -> VenueOrder:
        require_sane(price=order.price, qty=order.orig_qty, filled_qty=order.executed_qty)
        require_not_negative(price=order.price, qty=order.orig_qty, filled_qty=order.executed_qty)
        return VenueOrder(
            client_order_id=order.client_order_id,
            venue_order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            status=order.status,
            price=order.price,
            qty=order.orig_qty,
            filled_qty=order.executed_qty,
            reduce_only=order.reduce_only,
            update_utc_ms=order.update_time,
        )

    return build(make)


def _open_order(order: _Order) -> OpenOrder:
    require_sane(price=order.price, qty=order.orig_qty, filled_qty=order.executed_qty)
    return OpenOrder(
        client_order_id=order.client_order_id,
        venue_order_id=order.order_id,
        symbol=order.symbol,
        side=order.side,
        order_type=order.type,
        price=order.price,
        qty=order.orig_qty,
        filled_qty=order.executed_qty,
        reduce_only=order.reduce_only,
        status=order.status,
        update_utc_ms=order.update_time,
    )


def decode_open_orders(body: bytes) -> tuple[OpenOrder, ...]:
    """Return every resting order; one that cannot be read fails the whole reply, so that none is missed.

    Raises:
        PayloadError: unreadable or out of range.
    """
    orders = read(_ORDERS, body)
    return build(lambda: tuple(_open_order(order) for order in orders))


def decode_readable(body: bytes, row: Callable[[bytes], T | None]) -> tuple[T | UnreadableRows, ...]:
    """Return what can be read of a list, and last how many rows cannot: for an exit, which acts on what is known.

    Args:
        body: a list.
        row: reads one row; None for one that is not wanted.

    Raises:
        PayloadError: it is no list.
    """
    known: list[T | UnreadableRows] = []
    unreadable = 0
    for raw in read(_ROWS, body):
        try:
            value = row(bytes(raw))
        except PayloadError:
            unreadable += 1
        else:
            known += [] if value is None else [value]
    return (*known, UnreadableRows(unreadable)) if unreadable else tuple(known)


def decode_readable_orders(body: bytes) -> tuple[OpenOrder | UnreadableRows, ...]:
    """Return the resting orders that can be read, and how many cannot.

    Raises:
        PayloadError: it is no list.
    """

    def row(raw: bytes) -> OpenOrder:
        order = read(_ORDER, raw)
        return build(lambda: _open_order(order))

    return decode_readable(body, row)


def _position(risk: _PositionRisk) -> Position:
    require_sane(qty=risk.position_amt, entry_price=risk.entry_price, mark_price=risk.mark_price)
    require_sane(unrealized_pnl=risk.un_realized_profit)
    return Position(
        symbol=risk.symbol,
        position_side=risk.position_side,
        qty=risk.position_amt,
        entry_price=risk.entry_price,
        mark_price=risk.mark_price,
        unrealized_pnl=risk.un_realized_profit,
        update_utc_ms=risk.update_time,
    )


def decode_positions(body: bytes) -> tuple[Position, ...]:
    """Return every position that is not flat (positionRisk, v2 or v3).

    Raises:
        PayloadError: unreadable or out of range.
    """
    risks = read(_POSITIONS, body)
    return build(lambda: tuple(position for position in map(_position, risks) if position.qty != ZERO))


def decode_readable_positions(body: bytes) -> tuple[Position | UnreadableRows, ...]:
    """Return the positions that are not flat and can be read, and how many cannot; a row with amount 0 is flat.

    Raises:
        PayloadError: it is no list.
    """

    def row(raw: bytes) -> Position | None:
        held = read(_HELD, raw)
        if build(lambda: held.position_amt == ZERO):
            return None
        risk = read(_POSITION, raw)
        return build(lambda: _position(risk))

    return decode_readable(body, row)


def decode_balance(body: bytes) -> Balance:
    """Return the margin balance (account, v2 or v3; USDT alone in single-asset mode, US dollars in multi-asset mode).

    Raises:
        PayloadError: unreadable or out of range.
    """
    account = read(_ACCOUNT, body)

    def make() -> Balance:
        require_sane(wallet=account.total_wallet_balance, available=account.available_balance)
        require_sane(unrealized_pnl=account.total_unrealized_profit)
        return Balance(
            wallet_balance=account.total_wallet_balance,
            unrealized_pnl=account.total_unrealized_profit,
            available_balance=account.available_balance,
        )

    return build(make)


def decode_position_mode(body: bytes) -> bool:
    """Return whether the account is in hedge mode.

    Raises:
        PayloadError: unreadable.
    """
    return read(_MODE, body).dual_side_position


def decode_server_time(body: bytes) -> int:
    """Return the venue's clock, Unix milliseconds.

    Raises:
        PayloadError: unreadable, or before the year 2001 or after 2286 (not milliseconds).
    """
    server_utc_ms = read(_TIME, body).server_time
    if not 10**12 <= server_utc_ms < 10**13:
        raise PayloadError("server time is not in milliseconds", DropReason.OUT_OF_RANGE)
    return server_utc_ms


def decode_done(body: bytes) -> None:
    """Check that a reply says that the operation is done (``{"code": 200, ...}``).

    Raises:
        PayloadError: unreadable, or it says something else.
    """
    code = read(_DONE, body).code
    if code != 200:
        raise PayloadError(f"the reply says {code} instead of 200", DropReason.OUT_OF_RANGE)


def decode_countdown(body: bytes, symbol: str) -> None:
    """Check that a countdown reply is about this symbol.

    Raises:
        PayloadError: unreadable, or about another symbol.
    """
    if read(_COUNTDOWN, body).symbol != symbol:
        raise PayloadError("the reply is about another symbol", DropReason.OUT_OF_RANGE)


def decode_listen_key(body: bytes) -> str:
    """Return the listen key.

    Raises:
        PayloadError: unreadable, empty, or not of letters, digits, ``-`` and ``_``.
    """
    key = read(_KEY, body).listen_key
    if not key.isascii() or not key.replace("-", "").replace("_", "").isalnum():
        raise PayloadError("the listen key is not one", DropReason.OUT_OF_RANGE)
    return key

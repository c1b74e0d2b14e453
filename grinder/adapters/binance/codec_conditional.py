"""Bytes of conditional-order replies to values.

Every function gives a value or raises PayloadError, nothing else. Unknown fields are ignored; unknown order types and
statuses pass through as text.

Source: venue documentation, USDⓈ-M futures New/Cancel/Query Algo Order and Current All Algo Open Orders, 2026-05-28.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.adapters.binance.codec_account import build, decode_readable, read, require_sane
from grinder.model.account import UnreadableRows
from grinder.model.conditional import CancelConditional, ConditionalOrder, PlaceConditional
from grinder.model.errors import PayloadError
from grinder.model.orders import Side
from grinder.model.reasons import DropReason
from grinder.model.units import ZERO


class _Algo(msgspec.Struct, rename="camel"):
    algo_id: int
    client_algo_id: str
    symbol: str
    side: Side
    order_type: str
    algo_status: str = ""
    trigger_price: Decimal | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None
    reduce_only: bool = False
    update_time: int = 0


class _Canceled(msgspec.Struct, rename="camel"):
    """The reply to a cancel; ``code`` is a text in the REST documentation and absent from the WebSocket API's."""

    client_algo_id: str
    code: str | int = 200


_ALGO: Final = msgspec.json.Decoder(_Algo)
_ALGOS: Final = msgspec.json.Decoder(list[_Algo])
_CANCELED: Final = msgspec.json.Decoder(_Canceled)


def _order(algo: _Algo) -> ConditionalOrder:
    amounts = [ZERO if number is None else number for number in (algo.trigger_price, algo.price, algo.quantity)]
    require_sane(trigger_price=amounts[0], price=amounts[1], qty=amounts[2])
    return ConditionalOrder(
        client_order_id=algo.client_algo_id,
        venue_order_id=algo.algo_id,
        symbol=algo.symbol,
        side=algo.side,
        order_type=algo.order_type,
        status=algo.algo_status,
        trigger_price=amounts[0],
        price=amounts[1],
        qty=amounts[2],
        reduce_only=algo.reduce_only,
        update_utc_ms=algo.update_time,
    )


def decode_conditional(body: bytes) -> ConditionalOrder:
    """Return the order of a query.

    Raises:
        PayloadError: unreadable or out of range.
    """
    algo = read(_ALGO, body)
    return build(lambda: _order(algo))


def decode_conditional_ack(body: bytes, request: PlaceConditional) -> ConditionalOrder:
    """Return the order of an acknowledgement.

    Raises:
        PayloadError: unreadable, out of range, or about another order than the one that was asked for.
    """
    order = decode_conditional(body)
    if (order.client_order_id, order.symbol) != (request.client_order_id, request.symbol):
        raise PayloadError("the reply is about another order", DropReason.OUT_OF_RANGE)
    return order


def decode_open_conditional(body: bytes) -> tuple[ConditionalOrder, ...]:
    """Return every waiting order; one that cannot be read fails the whole reply, so that none is missed.

    Raises:
        PayloadError: unreadable or out of range.
    """
    algos = read(_ALGOS, body)
    return build(lambda: tuple(_order(algo) for algo in algos))


def decode_readable_conditional(body: bytes) -> tuple[ConditionalOrder | UnreadableRows, ...]:
    """Return the waiting orders that can be read, and how many cannot.

    Raises:
        PayloadError: it is no list.
    """
    return decode_readable(body, decode_conditional)


def decode_conditional_cancel(body: bytes, request: CancelConditional) -> None:
    """Check that a reply says that this order is cancelled.

    Raises:
        PayloadError: unreadable, about another order, or it says something else.
    """
    canceled = read(_CANCELED, body)
    if canceled.client_algo_id != request.client_order_id or str(canceled.code) != "200":
        raise PayloadError("the reply does not say that this order is cancelled", DropReason.OUT_OF_RANGE)

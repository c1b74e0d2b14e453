"""The table of operations: for each request its HTTP and WebSocket form, cost, deadline, and how to read the answer.

Must never hold state or send anything.

Source: venue documentation, USDⓈ-M futures trade and account endpoints with their weights, 2026-05-28.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from grinder.adapters.binance import codec_account as account
from grinder.adapters.binance.codec_instruments import decode_exchange
from grinder.model.account import PositionSide
from grinder.model.venue import (
    AmendOrder,
    Answer,
    ArmCountdown,
    CancelAllOrders,
    CancelOrder,
    Confirmed,
    InDoubt,
    NotSent,
    OrderType,
    PlaceOrder,
    QueryBalance,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositionMode,
    QueryPositions,
    QueryServerTime,
    Rejected,
    VenueRequest,
)

ORDER_DEADLINE_MS: Final = 3_000
"""Wait for the answer to an order command; after it the order is in doubt and gets queried."""

QUERY_DEADLINE_MS: Final = 5_000
"""Wait for an answer about the account."""

LARGE_DEADLINE_MS: Final = 10_000
"""Wait for exchangeInfo, about a megabyte."""


class Security(StrEnum):
    """What a request must carry."""

    NONE = "NONE"
    KEY = "KEY"
    SIGNED = "SIGNED"


class Urgency(StrEnum):
    """Who gives way to whom when the venue's limits are near: RISK first, PROTECTIVE never."""

    PROTECTIVE = "PROTECTIVE"
    QUERY = "QUERY"
    RISK = "RISK"


class Operation(msgspec.Struct, frozen=True):
    """One row. ``name``: label in metrics. ``ws_method``: empty where only REST has it.

    ``weight``: request weight. ``orders``: what it takes from the order-count limits.
    """

    name: str
    verb: str
    path: str
    ws_method: str
    security: Security
    urgency: Urgency
    weight: int
    orders: int
    deadline_ms: int


_S, _U = Security, Urgency
PLACE: Final = Operation(
    "place_order", "POST", "/fapi/v1/order", "order.place", _S.SIGNED, _U.RISK, 0, 1, ORDER_DEADLINE_MS
)
AMEND: Final = Operation(
    "amend_order", "PUT", "/fapi/v1/order", "order.modify", _S.SIGNED, _U.RISK, 0, 1, ORDER_DEADLINE_MS
)
CANCEL: Final = Operation(
    "cancel_order", "DELETE", "/fapi/v1/order", "order.cancel", _S.SIGNED, _U.PROTECTIVE, 1, 0, ORDER_DEADLINE_MS
)
ORDER_STATUS: Final = Operation(
    "get_order_status", "GET", "/fapi/v1/order", "order.status", _S.SIGNED, _U.QUERY, 1, 0, ORDER_DEADLINE_MS
)
CANCEL_ALL: Final = Operation(
    "cancel_all", "DELETE", "/fapi/v1/allOpenOrders", "", _S.SIGNED, _U.PROTECTIVE, 1, 0, ORDER_DEADLINE_MS
)
COUNTDOWN: Final = Operation(
    "countdown", "POST", "/fapi/v1/countdownCancelAll", "", _S.SIGNED, _U.PROTECTIVE, 10, 0, ORDER_DEADLINE_MS
)
OPEN_ORDERS: Final = Operation(
    "get_open_orders", "GET", "/fapi/v1/openOrders", "", _S.SIGNED, _U.QUERY, 1, 0, QUERY_DEADLINE_MS
)
OPEN_ORDERS_ALL: Final = msgspec.structs.replace(OPEN_ORDERS, weight=40)
POSITIONS: Final = Operation(
    "get_positions", "GET", "/fapi/v3/positionRisk", "", _S.SIGNED, _U.QUERY, 5, 0, QUERY_DEADLINE_MS
)
BALANCE: Final = Operation("get_account", "GET", "/fapi/v3/account", "", _S.SIGNED, _U.QUERY, 5, 0, QUERY_DEADLINE_MS)
POSITION_MODE: Final = Operation(
    "position_mode", "GET", "/fapi/v1/positionSide/dual", "", _S.SIGNED, _U.QUERY, 30, 0, QUERY_DEADLINE_MS
)
INSTRUMENTS: Final = Operation(
    "exchange_info", "GET", "/fapi/v1/exchangeInfo", "", _S.NONE, _U.QUERY, 1, 0, LARGE_DEADLINE_MS
)
SERVER_TIME: Final = Operation("ping_time", "GET", "/fapi/v1/time", "", _S.NONE, _U.QUERY, 1, 0, ORDER_DEADLINE_MS)
PING: Final = Operation("ping_time", "GET", "/fapi/v1/ping", "", _S.NONE, _U.QUERY, 1, 0, ORDER_DEADLINE_MS)
LISTEN_KEY: Final = Operation("listen_key", "POST", "/fapi/v1/listenKey", "", _S.KEY, _U.QUERY, 1, 0, QUERY_DEADLINE_MS)
LISTEN_KEY_EXTEND: Final = msgspec.structs.replace(LISTEN_KEY, verb="PUT")

OPERATIONS: Final = (
    PLACE,
    AMEND,
    CANCEL,
    ORDER_STATUS,
    CANCEL_ALL,
    COUNTDOWN,
    OPEN_ORDERS,
    OPEN_ORDERS_ALL,
    POSITIONS,
    BALANCE,
    POSITION_MODE,
    INSTRUMENTS,
    SERVER_TIME,
    PING,
    LISTEN_KEY,
    LISTEN_KEY_EXTEND,
)
"""Every row. DELETE of a listen key is not among them, and must never be: the key is shared by all who use it."""

_ROW: Final[dict[type, Operation]] = {
    PlaceOrder: PLACE,
    AmendOrder: AMEND,
    CancelOrder: CANCEL,
    QueryOrder: ORDER_STATUS,
    CancelAllOrders: CANCEL_ALL,
    ArmCountdown: COUNTDOWN,
    QueryOpenOrders: OPEN_ORDERS,
    QueryPositions: POSITIONS,
    QueryBalance: BALANCE,
    QueryPositionMode: POSITION_MODE,
    QueryInstruments: INSTRUMENTS,
    QueryServerTime: SERVER_TIME,
}


def operation_of(request: VenueRequest) -> Operation:
    """Return the row of a request; open orders of all symbols cost 40 times those of one."""
    if isinstance(request, QueryOpenOrders) and not request.symbol:
        return OPEN_ORDERS_ALL
    return _ROW[type(request)]


def urgency_of(request: VenueRequest) -> Urgency:
    """Return who gives way: a placement that can only reduce is protective."""
    if isinstance(request, PlaceOrder) and request.reduce_only:
        return Urgency.PROTECTIVE
    return operation_of(request).urgency


def plain(number: Decimal) -> str:
    """Return a number as the venue takes it: digits and a point, never an exponent."""
    return format(number, "f")


def _place(request: PlaceOrder) -> dict[str, str | int]:
    """In hedge mode the side of the position says what reduces, and the venue refuses ``reduceOnly`` (-1106)."""
    parameters: dict[str, str | int] = {
        "symbol": request.symbol,
        "side": request.side.value,
        "type": request.order_type.value,
        "quantity": plain(request.qty),
        "newClientOrderId": request.client_order_id,
        "newOrderRespType": "ACK",
    }
    if request.order_type is OrderType.LIMIT:
        parameters["price"] = plain(request.price)
        parameters["timeInForce"] = request.tif.value
    if request.position_side is not PositionSide.BOTH:
        parameters["positionSide"] = request.position_side.value
    elif request.reduce_only:
        parameters["reduceOnly"] = "true"
    return parameters


def _amend(request: AmendOrder) -> dict[str, str | int]:
    return {
        "symbol": request.symbol,
        "origClientOrderId": request.client_order_id,
        "side": request.side.value,
        "quantity": plain(request.qty),
        "price": plain(request.price),
    }


def _by_id(request: CancelOrder | QueryOrder) -> dict[str, str | int]:
    return {"symbol": request.symbol, "origClientOrderId": request.client_order_id}


_PARAMETERS: Final[dict[type, Callable[[Any], dict[str, str | int]]]] = {
    PlaceOrder: _place,
    AmendOrder: _amend,
    CancelOrder: _by_id,
    QueryOrder: _by_id,
    CancelAllOrders: lambda request: {"symbol": request.symbol},
    ArmCountdown: lambda request: {"symbol": request.symbol, "countdownTime": request.countdown_ms},
    QueryOpenOrders: lambda request: {"symbol": request.symbol} if request.symbol else {},
}


def parameters_of(request: VenueRequest) -> dict[str, str | int]:
    """Return the parameters of a request, without key, time and signature."""
    build = _PARAMETERS.get(type(request))
    return {} if build is None else build(request)


_ANSWER: Final[dict[type, Callable[[bytes, Any], Answer]]] = {
    PlaceOrder: account.decode_ack,
    AmendOrder: account.decode_ack,
    CancelOrder: account.decode_ack,
    QueryOrder: lambda body, request: account.decode_order(body),
    CancelAllOrders: lambda body, request: account.decode_done(body),
    ArmCountdown: lambda body, request: account.decode_countdown(body, request.symbol),
    QueryOpenOrders: lambda body, request: account.decode_open_orders(body),
    QueryPositions: lambda body, request: account.decode_positions(body),
    QueryBalance: lambda body, request: account.decode_balance(body),
    QueryPositionMode: lambda body, request: account.decode_position_mode(body),
    QueryInstruments: lambda body, request: decode_exchange(body),
    QueryServerTime: lambda body, request: account.decode_server_time(body),
}


def answer_of(body: bytes, request: VenueRequest) -> Answer:
    """Return the value of a successful reply to a request.

    Raises:
        PayloadError: unreadable, out of range, or about something else.
    """
    return _ANSWER[type(request)](body, request)


OUTCOME_NAMES: Final[dict[type, str]] = {
    Confirmed: "confirmed",
    Rejected: "rejected",
    InDoubt: "in_doubt",
    NotSent: "not_sent",
}
"""How a request ended, as a label in metrics."""

assert set(_ROW) == set(_ANSWER)
assert set(_PARAMETERS) <= set(_ROW)
assert all(row.verb != "DELETE" or "listenKey" not in row.path for row in OPERATIONS)

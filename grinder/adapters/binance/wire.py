"""The table of operations: for each request its HTTP and WebSocket form, cost and deadline.

Must never hold state or send anything.

Source: venue documentation, USDⓈ-M futures trade and account endpoints with their weights, 2026-05-28.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

import msgspec

from grinder.core.permit import Deed
from grinder.model.conditional import (
    CancelAllConditional,
    CancelConditional,
    PlaceConditional,
    QueryConditional,
    QueryOpenConditional,
)
from grinder.model.venue import (
    AmendOrder,
    ArmCountdown,
    CancelAllOrders,
    CancelOrder,
    Confirmed,
    InDoubt,
    NotSent,
    PlaceBatch,
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
from grinder.model.venue_account import (
    QueryAccountConfig,
    QueryBrackets,
    QueryDepth,
    QuerySymbolConfig,
    QueryTrades,
    QueryTradingStatus,
)

ORDER_DEADLINE_MS: Final = 3_000
"""Wait for the answer to an order command; after it the order is in doubt and gets queried."""

QUERY_DEADLINE_MS: Final = 5_000
"""Wait for an answer about the account."""

LARGE_DEADLINE_MS: Final = 10_000
"""Wait for exchangeInfo, about a megabyte."""


QUESTION: Final = "GET"
"""Verb of every request that changes nothing, and of no other."""


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
BATCH: Final = Operation("place_batch", "POST", "/fapi/v1/batchOrders", "", _S.SIGNED, _U.RISK, 5, 5, ORDER_DEADLINE_MS)
ALGO_PLACE: Final = Operation(
    "place_conditional", "POST", "/fapi/v1/algoOrder", "algoOrder.place", _S.SIGNED, _U.RISK, 0, 1, ORDER_DEADLINE_MS
)
ALGO_CANCEL: Final = Operation(
    "cancel_conditional",
    "DELETE",
    "/fapi/v1/algoOrder",
    "algoOrder.cancel",
    _S.SIGNED,
    _U.PROTECTIVE,
    1,
    0,
    ORDER_DEADLINE_MS,
)
ALGO_STATUS: Final = Operation(
    "get_conditional_status", "GET", "/fapi/v1/algoOrder", "", _S.SIGNED, _U.QUERY, 1, 0, ORDER_DEADLINE_MS
)
ALGO_CANCEL_ALL: Final = Operation(
    "cancel_all_conditional",
    "DELETE",
    "/fapi/v1/algoOpenOrders",
    "",
    _S.SIGNED,
    _U.PROTECTIVE,
    1,
    0,
    ORDER_DEADLINE_MS,
)
ALGO_OPEN: Final = Operation(
    "get_open_conditional", "GET", "/fapi/v1/openAlgoOrders", "", _S.SIGNED, _U.QUERY, 1, 0, QUERY_DEADLINE_MS
)
ALGO_OPEN_ALL: Final = msgspec.structs.replace(ALGO_OPEN, weight=40)
ACCOUNT_CONFIG: Final = Operation(
    "account_config", "GET", "/fapi/v1/accountConfig", "", _S.SIGNED, _U.QUERY, 5, 0, QUERY_DEADLINE_MS
)
SYMBOL_CONFIG: Final = Operation(
    "symbol_config", "GET", "/fapi/v1/symbolConfig", "", _S.SIGNED, _U.QUERY, 5, 0, QUERY_DEADLINE_MS
)
BRACKETS: Final = Operation(
    "leverage_brackets", "GET", "/fapi/v1/leverageBracket", "", _S.SIGNED, _U.QUERY, 1, 0, QUERY_DEADLINE_MS
)
TRADES: Final = Operation("get_trades", "GET", "/fapi/v1/userTrades", "", _S.SIGNED, _U.QUERY, 5, 0, QUERY_DEADLINE_MS)
TRADING_STATUS: Final = Operation(
    "trading_status", "GET", "/fapi/v1/apiTradingStatus", "", _S.SIGNED, _U.QUERY, 10, 0, QUERY_DEADLINE_MS
)
DEPTH: Final = Operation("depth", "GET", "/fapi/v1/depth", "", _S.NONE, _U.QUERY, 10, 0, QUERY_DEADLINE_MS)
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
    BATCH,
    ALGO_PLACE,
    ALGO_CANCEL,
    ALGO_STATUS,
    ALGO_CANCEL_ALL,
    ALGO_OPEN,
    ALGO_OPEN_ALL,
    ACCOUNT_CONFIG,
    SYMBOL_CONFIG,
    BRACKETS,
    TRADES,
    TRADING_STATUS,
    DEPTH,
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
    PlaceBatch: BATCH,
    PlaceConditional: ALGO_PLACE,
    CancelConditional: ALGO_CANCEL,
    QueryConditional: ALGO_STATUS,
    QueryOpenConditional: ALGO_OPEN,
    CancelAllConditional: ALGO_CANCEL_ALL,
    QueryAccountConfig: ACCOUNT_CONFIG,
    QuerySymbolConfig: SYMBOL_CONFIG,
    QueryBrackets: BRACKETS,
    QueryTrades: TRADES,
    QueryTradingStatus: TRADING_STATUS,
    QueryDepth: DEPTH,
}


def operation_of(request: VenueRequest) -> Operation:
    """Return the row of a request; what rests on all symbols costs 40 times what rests on one."""
    if isinstance(request, QueryOpenOrders) and not request.symbol:
        return OPEN_ORDERS_ALL
    if isinstance(request, QueryOpenConditional) and not request.symbol:
        return ALGO_OPEN_ALL
    return _ROW[type(request)]


_PROTECTS: Final[dict[type, Callable[[Any], bool]]] = {
    AmendOrder: attrgetter("reduce_only"),
    PlaceOrder: attrgetter("closes_only"),
    PlaceConditional: attrgetter("closes_only"),
    PlaceBatch: lambda request: all(order.closes_only for order in request.orders),
    QueryOpenOrders: attrgetter("for_exit"),
    QueryPositions: attrgetter("for_exit"),
    QueryOpenConditional: attrgetter("for_exit"),
}
"""Requests that may be protective though their row is not: those that can only reduce, and questions of an exit."""


def urgency_of(request: VenueRequest) -> Urgency:
    """Return who gives way: what can only reduce is protective, and so is a question of an exit."""
    protects = _PROTECTS.get(type(request))
    if protects is not None and protects(request):
        return Urgency.PROTECTIVE
    return operation_of(request).urgency


def deed_of(request: VenueRequest) -> Deed | None:
    """Return what a command does, as far as the permit of a leader asks; None for a question, which changes nothing."""
    if operation_of(request).verb == QUESTION:
        return None
    return Deed.PROTECTIVE if urgency_of(request) is Urgency.PROTECTIVE else Deed.RISK


OUTCOME_NAMES: Final[dict[type, str]] = {
    Confirmed: "confirmed",
    Rejected: "rejected",
    InDoubt: "in_doubt",
    NotSent: "not_sent",
}
"""How a request ended, as a label in metrics."""

assert all(row.verb != "DELETE" or "listenKey" not in row.path for row in OPERATIONS)
assert all((row.verb == QUESTION) is (row.urgency is Urgency.QUERY) for row in OPERATIONS if row.security is _S.SIGNED)

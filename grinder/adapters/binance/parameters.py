"""The parameters of each request, without key, time and signature.

Must never hold state, and never write a number with an exponent.

Source: venue documentation, USDⓈ-M futures trade, algo order and account endpoints, 2026-05-28.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

from grinder.model.account import PositionSide
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
    OrderType,
    PlaceBatch,
    PlaceOrder,
    QueryOpenOrders,
    QueryOrder,
    VenueRequest,
)
from grinder.model.venue_account import DEPTH_LEVELS, QueryBrackets, QueryDepth, QuerySymbolConfig, QueryTrades

Values = dict[str, str | int]


def plain(number: Decimal) -> str:
    """Return a number as the venue takes it: digits and a point, never an exponent."""
    return format(number, "f")


def _place(request: PlaceOrder) -> Values:
    parameters: Values = {
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
    return parameters | _direction(request)


def _direction(request: PlaceOrder | PlaceConditional) -> Values:
    """In hedge mode the side of the position says what reduces, and the venue refuses ``reduceOnly`` (-1106)."""
    if request.position_side is not PositionSide.BOTH:
        return {"positionSide": request.position_side.value}
    return {"reduceOnly": "true"} if request.reduce_only else {}


def _batch(request: PlaceBatch) -> Values:
    return {"batchOrders": msgspec.json.encode([_place(order) for order in request.orders]).decode()}


def _conditional(request: PlaceConditional) -> Values:
    parameters: Values = {
        "algoType": "CONDITIONAL",
        "symbol": request.symbol,
        "side": request.side.value,
        "type": request.order_type.value,
        "quantity": plain(request.qty),
        "triggerPrice": plain(request.trigger_price),
        "clientAlgoId": request.client_order_id,
    }
    if not request.market:
        parameters["price"] = plain(request.price)
        parameters["timeInForce"] = request.tif.value
    return parameters | _direction(request)


def _amend(request: AmendOrder) -> Values:
    return {
        "symbol": request.symbol,
        "origClientOrderId": request.client_order_id,
        "side": request.side.value,
        "quantity": plain(request.qty),
        "price": plain(request.price),
    }


def _by_id(request: CancelOrder | QueryOrder) -> Values:
    return {"symbol": request.symbol, "origClientOrderId": request.client_order_id}


def _by_conditional_id(request: CancelConditional | QueryConditional) -> Values:
    return {"clientAlgoId": request.client_order_id}


def _one_symbol(request: CancelAllOrders | CancelAllConditional | QuerySymbolConfig | QueryBrackets) -> Values:
    return {"symbol": request.symbol}


def _one_or_all(request: QueryOpenOrders | QueryOpenConditional) -> Values:
    return {"symbol": request.symbol} if request.symbol else {}


def _trades(request: QueryTrades) -> Values:
    start: Values = {"fromId": request.from_trade_id} if request.from_trade_id else {}
    return {"symbol": request.symbol, **start, "limit": request.limit}


_PARAMETERS: Final[dict[type, Callable[[Any], Values]]] = {
    PlaceOrder: _place,
    AmendOrder: _amend,
    CancelOrder: _by_id,
    QueryOrder: _by_id,
    CancelAllOrders: _one_symbol,
    ArmCountdown: lambda request: {"symbol": request.symbol, "countdownTime": request.countdown_ms},
    QueryOpenOrders: _one_or_all,
    PlaceBatch: _batch,
    PlaceConditional: _conditional,
    CancelConditional: _by_conditional_id,
    QueryConditional: _by_conditional_id,
    QueryOpenConditional: _one_or_all,
    CancelAllConditional: _one_symbol,
    QuerySymbolConfig: _one_symbol,
    QueryBrackets: _one_symbol,
    QueryTrades: _trades,
    QueryDepth: lambda request: {"symbol": request.symbol, "limit": DEPTH_LEVELS},
}
"""How the parameters of a request are made; a kind that is not here has none."""


def parameters_of(request: VenueRequest) -> Values:
    """Return the parameters of a request, without key, time and signature."""
    build = _PARAMETERS.get(type(request))
    return {} if build is None else build(request)

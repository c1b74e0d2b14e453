"""Order operations: read and check a request, then do it. Each returns the JSON body of its answer.

Must never change anything before every check has passed.
"""

from __future__ import annotations

from typing import Any, Final

from grinder.model.venue import OrderType
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.events import acknowledged, described
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.order_checks import check_amendment, check_new, normalize
from grinder.sim.exchange.order_reading import read_order, read_price, read_price_match, read_side
from grinder.sim.exchange.orders import Order, Tif
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.records import forgotten

AMENDMENTS_MAX: Final = 10_000
CANCELLED_ALL: Final = {"code": 200, "msg": "The operation of cancel all open order is done."}


def read_response_type(params: Params) -> bool:
    """Return whether the answer is a mere acknowledgement.

    Raises:
        VenueError: -1136.
    """
    answer = params.optional("newOrderRespType", "ACK")
    if answer not in ("ACK", "RESULT"):
        raise refusal(Code.INVALID_RESP_TYPE)
    return answer == "ACK"


def place(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Place one order (POST /fapi/v1/order, order.place)."""
    order = read_order(exchange, account, params, now)
    as_new = read_response_type(params)
    market = exchange.market(order.symbol)
    check_new(account, market, order, exchange.mark_of)
    normalize(market, order)
    exchange.submit(account, order, now)
    return acknowledged(order, as_new=as_new)


def check_only(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Check an order without placing it (POST /fapi/v1/order/test)."""
    order = read_order(exchange, account, params, now)
    read_response_type(params)
    check_new(account, exchange.market(order.symbol), order, exchange.mark_of)
    return described(order)


def find_order(exchange: Exchange, account: Account, params: Params) -> Order | None:
    """Return the order a request names by id or client id, the id prevailing; None if there is none.

    Raises:
        VenueError: -1102 if it names none, -1121, -1100, -4015.
    """
    symbol = params.text("symbol")
    exchange.market(symbol)
    order_id = params.integer_or("orderId", 0)
    client_id = params.client_id("origClientOrderId")
    if not order_id and not client_id:
        raise refusal(Code.MANDATORY_PARAM, "origClientOrderId")
    return exchange.find(account, symbol, order_id, client_id)


def amend(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Amend a LIMIT order to a new price and quantity (PUT /fapi/v1/order, order.modify).

    A quantity at or below what has traded, or a post-only order moved to where it would trade, cancels the order.
    Source: Modify Order (TRADE), 2026-08-19; ``modifyId`` 2026-07-28, ``reduceOnly`` 2026-09.
    """
    order = find_order(exchange, account, params)
    qty, side, match = params.decimal("quantity"), read_side(params), read_price_match(params)
    modify_id = params.integer("modifyId") if "modifyId" in params else None
    market = exchange.market(params.text("symbol"))
    price = read_price(market, side, match, params)
    if order is None or not order.live or order.side is not side:
        raise refusal(Code.NO_SUCH_ORDER)
    if order.kind is not OrderType.LIMIT:
        raise refusal(Code.MODIFY_ONLY_LIMIT)
    if "reduceOnly" in params and params.flag("reduceOnly") is not order.reduce_only:
        raise refusal(Code.MODIFY_REDUCE_ONLY)
    if order.amendments >= AMENDMENTS_MAX:
        raise refusal(Code.MODIFY_LIMIT_EXCEEDED)
    if price == order.price and qty == order.qty:
        raise refusal(Code.NO_NEED_TO_MODIFY)
    check_amendment(account, market, order, price, qty, exchange.mark_of)
    if qty <= order.filled:
        exchange.cancel(order, now)
    elif order.tif is Tif.GTX and market.matcher.crosses(side, price):
        exchange.cancel(order, now)
        raise refusal(Code.GTX_REJECT)
    else:
        order.price_match = match
        exchange.amend(
            account, order, price.quantize(market.rules.tick), qty.quantize(market.rules.step), now, modify_id
        )
    answer = acknowledged(order, as_new=False)
    return answer if modify_id is None else answer | {"modifyId": modify_id}


def cancel(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Cancel one order (DELETE /fapi/v1/order, order.cancel)."""
    order = find_order(exchange, account, params)
    if order is None or not order.live:
        raise refusal(Code.CANCEL_REJECTED)
    exchange.cancel(order, now)
    return acknowledged(order, as_new=False)


def cancel_all(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Cancel every regular order of a symbol (DELETE /fapi/v1/allOpenOrders)."""
    symbol = params.text("symbol")
    exchange.market(symbol)
    exchange.cancel_all(account, symbol, now)
    return dict(CANCELLED_ALL)


def countdown(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Arm, renew or stop the dead-man's switch of a symbol (POST /fapi/v1/countdownCancelAll)."""
    symbol = params.text("symbol")
    exchange.market(symbol)
    wait_ms = params.integer("countdownTime")
    if wait_ms == 0:
        exchange.countdowns.pop((account.key, symbol), None)
    else:
        exchange.countdowns[(account.key, symbol)] = now + wait_ms
    return {"symbol": symbol, "countdownTime": str(wait_ms)}


def query(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Return one order, finished or not (GET /fapi/v1/order, order.status)."""
    order = find_order(exchange, account, params)
    if order is None or forgotten(order, now):
        raise refusal(Code.NO_SUCH_ORDER)
    return described(order)


def query_open(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Return one order that still rests (GET /fapi/v1/openOrder)."""
    order = find_order(exchange, account, params)
    if order is None or not order.live:
        raise refusal(Code.NO_SUCH_ORDER)
    return described(order)

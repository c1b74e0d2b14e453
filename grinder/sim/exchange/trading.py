"""Order operations: read and check a request, then do it. Each returns the JSON body of its answer.

Must never change anything before every check has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from grinder.model.account import PositionSide
from grinder.model.errors import VenueError
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import OrderType
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.events import acknowledged, described
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.filters import check_notional, check_price, check_quantity
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.orders import Order, SelfTrade, Tif
from grinder.sim.exchange.params import Params, read_json_params

AMENDMENTS_MAX: Final = 10_000
BATCH_PLACE_MAX: Final = 5
BATCH_CANCEL_MAX: Final = 10
GOOD_TILL_AHEAD_MS: Final = 600_000
CONDITIONAL_TYPES: Final = frozenset(
    {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
)
"""Order types that the venue moved to its algo service on 2025-12-09."""

E = TypeVar("E", bound=StrEnum)


def _member(kind: type[E], text: str, code: Code) -> E:
    try:
        return kind(text)
    except ValueError:
        raise refusal(code) from None


def _position_side(account: Account, params: Params) -> PositionSide:
    side = _member(PositionSide, params.optional("positionSide", "BOTH"), Code.INVALID_POSITION_SIDE)
    if account.hedge_mode is (side is PositionSide.BOTH):
        raise refusal(Code.POSITION_SIDE_MISMATCH)
    return side


def _order_type(params: Params) -> OrderType:
    text = params.text("type")
    if text in CONDITIONAL_TYPES:
        raise refusal(Code.USE_ALGO_ENDPOINT)
    return _member(OrderType, text, Code.INVALID_ORDER_TYPE)


def _self_trade(params: Params) -> SelfTrade:
    try:
        return SelfTrade(params.optional("selfTradePreventionMode", SelfTrade.EXPIRE_MAKER.value))
    except ValueError:
        raise refusal(Code.INVALID_PARAMETER, "selfTradePreventionMode") from None


def _good_till(tif: Tif, params: Params, now: int) -> int:
    if tif is not Tif.GTD:
        return 0
    until = params.integer("goodTillDate")
    if until <= now + GOOD_TILL_AHEAD_MS:
        raise refusal(Code.INVALID_GOOD_TILL_DATE)
    return until


def _read_order(exchange: Exchange, account: Account, params: Params, now: int) -> Order:
    """Return the order a request describes, with its form checked; nothing else."""
    symbol = params.text("symbol")
    exchange.market(symbol)
    side = _member(Side, params.text("side"), Code.INVALID_SIDE)
    kind = _order_type(params)
    tif = Tif.GTC
    if kind is OrderType.LIMIT:
        tif = _member(Tif, params.text("timeInForce"), Code.INVALID_TIF)
    elif "price" in params:
        raise refusal(Code.PARAM_NOT_REQUIRED, "price")
    if account.hedge_mode and params.flag("reduceOnly"):
        raise refusal(Code.PARAM_NOT_REQUIRED, "reduceOnly")
    order_id = exchange.next_order_id()
    return Order(
        order_id=order_id,
        client_order_id=params.client_id("newClientOrderId") or f"sim{order_id}",
        account=account.key,
        symbol=symbol,
        side=side,
        kind=kind,
        tif=tif,
        price=params.decimal("price") if kind is OrderType.LIMIT else ZERO,
        qty=params.decimal("quantity"),
        reduce_only=params.flag("reduceOnly"),
        position_side=_position_side(account, params),
        self_trade=_self_trade(params),
        created_utc_ms=now,
        updated_utc_ms=now,
        good_till_utc_ms=_good_till(tif, params, now),
    )


def _check_margin(exchange: Exchange, account: Account, order: Order, notional: Decimal) -> None:
    """Raise -2019 if an order's added exposure needs more margin than there is."""
    if account.closes_only(order):
        return
    extra = {(order.symbol, order.position_side, order.side): notional}
    needed = account.order_margin(exchange.mark_of, extra)
    if account.cross_equity(exchange.mark_of) >= account.cross_margin(exchange.mark_of) + needed:
        return
    if needed > account.order_margin(exchange.mark_of):
        raise refusal(Code.MARGIN_NOT_SUFFICIENT)


def _check_reduces(account: Account, order: Order) -> None:
    """Raise -2022 if an order that may only reduce has nothing to reduce, or in hedge mode too little."""
    if not account.closes_only(order):
        return
    reducible = account.reducible(order)
    if reducible == ZERO or (not order.reduce_only and order.qty > reducible):
        raise refusal(Code.REDUCE_ONLY_REJECT)


def _check_new(exchange: Exchange, account: Account, market: Market, order: Order) -> None:
    rules = market.rules
    limit = order.kind is OrderType.LIMIT
    if order.client_order_id in account.open_by_client_id:
        raise refusal(Code.DUPLICATE_CLIENT_ID)
    check_quantity(rules, order.qty, rules.max_qty if limit else rules.market_max_qty)
    if limit:
        check_price(rules, order.side, order.price, market.mark)
    price = order.price if limit else market.mark
    if not account.closes_only(order):
        check_notional(rules, price, order.qty)
    if len(account.open) >= rules.max_orders:
        resting = sum(1 for each in account.open.values() if each.symbol == order.symbol)
        if resting >= rules.max_orders:
            raise refusal(Code.MAX_OPEN_ORDERS)
    _check_reduces(account, order)
    _check_margin(exchange, account, order, price * order.qty)
    if order.tif is Tif.GTX and market.matcher.crosses(order.side, order.price):
        raise refusal(Code.GTX_REJECT)
    if order.tif is Tif.FOK and market.matcher.available(order.side, order.price) < order.qty:
        raise refusal(Code.FOK_REJECT)


def _normalize(market: Market, order: Order) -> None:
    """Write price and quantity with the decimals of tick and step, as the venue reports them. Nothing is rounded."""
    if order.kind is OrderType.LIMIT:
        order.price = order.price.quantize(market.rules.tick)
    order.qty = order.qty.quantize(market.rules.step)
    order.filled = ZERO.quantize(market.rules.step)


def place(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Place one order (POST /fapi/v1/order, order.place)."""
    order = _read_order(exchange, account, params, now)
    answer = params.optional("newOrderRespType", "ACK")
    if answer not in ("ACK", "RESULT"):
        raise refusal(Code.INVALID_PARAMETER, "newOrderRespType")
    market = exchange.market(order.symbol)
    _check_new(exchange, account, market, order)
    _normalize(market, order)
    exchange.submit(account, order, now)
    return acknowledged(order, as_new=answer == "ACK")


def check_only(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Check an order without placing it (POST /fapi/v1/order/test)."""
    order = _read_order(exchange, account, params, now)
    _check_new(exchange, account, exchange.market(order.symbol), order)
    return acknowledged(order, as_new=True)


def _find(exchange: Exchange, account: Account, params: Params) -> Order | None:
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
    Source: Modify Order (TRADE), 2026-05-28.
    """
    order = _find(exchange, account, params)
    price, qty = params.decimal("price"), params.decimal("quantity")
    side = _member(Side, params.text("side"), Code.INVALID_SIDE)
    if order is None or not order.live or order.side is not side:
        raise refusal(Code.NO_SUCH_ORDER)
    if order.kind is not OrderType.LIMIT:
        raise refusal(Code.MODIFY_ONLY_LIMIT)
    if order.amendments >= AMENDMENTS_MAX:
        raise refusal(Code.MODIFY_LIMIT_EXCEEDED)
    if price == order.price and qty == order.qty:
        raise refusal(Code.NO_NEED_TO_MODIFY)
    market = exchange.market(order.symbol)
    check_quantity(market.rules, qty, market.rules.max_qty)
    check_price(market.rules, side, price, market.mark)
    if not account.closes_only(order):
        check_notional(market.rules, price, qty)
    if qty <= order.filled:
        exchange.cancel(order, now)
        return acknowledged(order, as_new=False)
    if order.tif is Tif.GTX and market.matcher.crosses(side, price):
        exchange.cancel(order, now)
        raise refusal(Code.GTX_REJECT)
    added = price * (qty - order.filled) - order.price * order.remaining
    if added > ZERO:
        _check_margin(exchange, account, order, added)
    rules = market.rules
    exchange.amend(account, order, price.quantize(rules.tick), qty.quantize(rules.step), now)
    return acknowledged(order, as_new=False)


def cancel(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Cancel one order (DELETE /fapi/v1/order, order.cancel)."""
    order = _find(exchange, account, params)
    if order is None or not order.live:
        raise refusal(Code.CANCEL_REJECTED)
    exchange.cancel(order, now)
    return acknowledged(order, as_new=False)


def cancel_all(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Cancel every regular order of a symbol (DELETE /fapi/v1/allOpenOrders)."""
    symbol = params.text("symbol")
    exchange.market(symbol)
    exchange.cancel_all(account, symbol, now)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


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
    order = _find(exchange, account, params)
    if order is None:
        raise refusal(Code.NO_SUCH_ORDER)
    return described(order)


def query_open(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Return one order that still rests (GET /fapi/v1/openOrder)."""
    order = _find(exchange, account, params)
    if order is None or not order.live:
        raise refusal(Code.NO_SUCH_ORDER)
    return described(order)


Single = Callable[[Exchange, Account, Params, int], dict[str, Any]]


def _each(single: Single, exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Do one operation per member of ``batchOrders``; a member that fails answers with its own code."""
    try:
        rows = msgspec.json.decode(params.text("batchOrders"), type=list[dict[str, object]])
    except (msgspec.DecodeError, UnicodeError):
        raise refusal(Code.INVALID_PARAMETER, "batchOrders") from None
    if not 1 <= len(rows) <= BATCH_PLACE_MAX:
        raise refusal(Code.BATCH_SIZE)
    answers: list[dict[str, Any]] = []
    for row in rows:
        try:
            answers.append(single(exchange, account, read_json_params(row), now))
        except VenueError as error:
            answers.append({"code": error.code, "msg": error.message})
    return answers


def place_batch(exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Place up to five orders (POST /fapi/v1/batchOrders)."""
    return _each(place, exchange, account, params, now)


def amend_batch(exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Amend up to five orders (PUT /fapi/v1/batchOrders)."""
    return _each(amend, exchange, account, params, now)


def cancel_batch(exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Cancel up to ten orders by either list of ids (DELETE /fapi/v1/batchOrders)."""
    by_id = "orderIdList" in params
    name, field = ("orderIdList", "orderId") if by_id else ("origClientOrderIdList", "origClientOrderId")
    try:
        ids = msgspec.json.decode(params.text(name), type=list[int | str])
    except (msgspec.DecodeError, UnicodeError):
        raise refusal(Code.INVALID_PARAMETER, name) from None
    if not 1 <= len(ids) <= BATCH_CANCEL_MAX:
        raise refusal(Code.BATCH_SIZE)
    answers: list[dict[str, Any]] = []
    for each in ids:
        try:
            answers.append(cancel(exchange, account, Params({"symbol": params.text("symbol"), field: str(each)}), now))
        except VenueError as error:
            answers.append({"code": error.code, "msg": error.message})
    return answers

"""Operations on conditional orders (the algo service). Each returns the JSON body of its answer.

Source: New, Cancel, Query Algo Order, open and all algo orders (TRADE, USER_DATA), 2026-08-19.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO, is_multiple
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.algo_orders import CLOSING, LIMITED, AlgoOrder, AlgoStatus, ConditionalType
from grinder.sim.exchange.algo_views import cancelled, found, placed
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.filters import check_places, check_price, check_quantity
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.order_reading import (
    member,
    read_good_till,
    read_position_side,
    read_price_match,
    read_reduce_only,
    read_self_trade,
    read_side,
)
from grinder.sim.exchange.orders import PriceMatch, Tif, WorkingType
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.periods import PAGE_MAX, read_limit, read_period
from grinder.sim.exchange.rules import SymbolRules
from grinder.sim.exchange.trading import CANCELLED_ALL, read_response_type

CALLBACK_PERCENT_MIN: Final = Decimal("0.1")
CALLBACK_PERCENT_MAX: Final = Decimal(20)
"""Source: change log, 2026-10-23 (10 before)."""


def _check_trigger_price(rules: SymbolRules, price: Decimal) -> None:
    """Raise -4006, -4007, -1111 or -4014 for a trigger price that no order could have."""
    if price <= ZERO:
        raise refusal(Code.STOP_PRICE_NOT_ABOVE_ZERO)
    if price > rules.max_price:
        raise refusal(Code.STOP_PRICE_ABOVE_MAX)
    check_places(price, rules.price_precision)
    if not is_multiple(price, rules.tick):
        raise refusal(Code.PRICE_NOT_ON_TICK)


def _close_position(account: Account, params: Params, kind: ConditionalType, side: Side) -> bool:
    """Return whether the order closes the whole position.

    Raises:
        VenueError: -4136 for other types, -4137 with a quantity, -1106 with reduceOnly, -1128 where it would open.
    """
    if not params.flag("closePosition"):
        return False
    if kind not in CLOSING:
        raise refusal(Code.TARGET_STRATEGY, kind.value)
    if "quantity" in params:
        raise refusal(Code.QUANTITY_WITH_CLOSE_POSITION)
    if "reduceOnly" in params:
        raise refusal(Code.PARAM_NOT_REQUIRED, "reduceonly")
    opening = (read_position_side(account, params), side) in (
        (PositionSide.LONG, Side.BUY),
        (PositionSide.SHORT, Side.SELL),
    )
    if opening:
        raise refusal(Code.OPTIONAL_PARAMS_BAD_COMBO)
    return True


def _callback_rate(params: Params, kind: ConditionalType) -> Decimal:
    if kind is not ConditionalType.TRAILING_STOP_MARKET:
        return ZERO
    rate = params.decimal("callbackRate")
    if not CALLBACK_PERCENT_MIN <= rate <= CALLBACK_PERCENT_MAX:
        raise refusal(Code.INVALID_PARAMETER, "callbackRate")
    return rate


def _activate_price(params: Params, rules: SymbolRules, kind: ConditionalType) -> Decimal:
    if kind is not ConditionalType.TRAILING_STOP_MARKET or "activatePrice" not in params:
        return ZERO
    price = params.decimal("activatePrice")
    if price <= ZERO or not is_multiple(price, rules.tick):
        raise refusal(Code.INVALID_ACTIVATION_PRICE)
    return price


def _limit_price(params: Params, market: Market, side: Side, kind: ConditionalType, match: PriceMatch) -> Decimal:
    if kind not in LIMITED:
        if match is not PriceMatch.NONE:
            raise refusal(Code.PRICE_MATCH_ORDER_TYPE)
        return ZERO
    if match is not PriceMatch.NONE:
        return ZERO
    price = params.decimal("price")
    check_price(market.rules, side, price, ZERO)
    return price.quantize(market.rules.tick)


def _read_algo(exchange: Exchange, account: Account, params: Params, now: int) -> AlgoOrder:
    """Return the conditional order a request describes, with its form checked."""
    if params.text("algoType") != "CONDITIONAL":
        raise refusal(Code.INVALID_PARAMETER, "algoType")
    market = exchange.market(params.text("symbol"))
    rules, side = market.rules, read_side(params)
    kind = member(ConditionalType, params.text("type"), Code.INVALID_ORDER_TYPE)
    trigger = ZERO
    if kind is not ConditionalType.TRAILING_STOP_MARKET:
        trigger = params.decimal("triggerPrice")
        _check_trigger_price(rules, trigger)
    closes = _close_position(account, params, kind, side)
    qty = ZERO
    if not closes:
        qty = params.decimal("quantity")
        check_quantity(rules, qty, rules.max_qty if kind in LIMITED else rules.market_max_qty)
    match = read_price_match(params)
    tif = member(Tif, params.optional("timeInForce", "GTC"), Code.INVALID_TIF)
    working = params.optional("workingType", "CONTRACT_PRICE")
    if working not in set(WorkingType):
        raise refusal(Code.INVALID_WORKING_TYPE, working)
    algo_id = exchange.next_order_id()
    return AlgoOrder(
        algo_id=algo_id,
        client_algo_id=params.client_id("clientAlgoId") or f"algo{algo_id}",
        account=account.key,
        symbol=rules.symbol,
        side=side,
        kind=kind,
        tif=tif,
        qty=qty.quantize(rules.step),
        price=_limit_price(params, market, side, kind, match),
        trigger_price=trigger.quantize(rules.tick),
        position_side=read_position_side(account, params),
        self_trade=read_self_trade(params, exchange.config.default_self_trade),
        created_utc_ms=now,
        updated_utc_ms=now,
        working_type=WorkingType(working),
        price_match=match,
        close_position=closes,
        price_protect=params.flag("priceProtect"),
        reduce_only=read_reduce_only(account, params),
        activate_price=_activate_price(params, rules, kind),
        callback_rate=_callback_rate(params, kind),
        good_till_utc_ms=read_good_till(tif, params, now),
    )


def place_algo(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Place a conditional order (POST /fapi/v1/algoOrder, algoOrder.place)."""
    algo = _read_algo(exchange, account, params, now)
    read_response_type(params)
    exchange.conditional.place(account, algo, now)
    return placed(algo)


def _find(exchange: Exchange, account: Account, params: Params) -> AlgoOrder | None:
    algo_id, client_id = params.integer_or("algoId", 0), params.client_id("clientAlgoId")
    if not algo_id and not client_id:
        raise refusal(Code.MANDATORY_PARAM, "algoId")
    return exchange.conditional.find(account, algo_id, client_id)


def cancel_algo(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Cancel a conditional order (DELETE /fapi/v1/algoOrder, algoOrder.cancel)."""
    algo = _find(exchange, account, params)
    if algo is None or algo.status is not AlgoStatus.NEW:
        raise refusal(Code.CANCEL_REJECTED)
    exchange.conditional.cancel(algo, now)
    return cancelled(algo)


def cancel_open_algos(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Cancel every open conditional order of a symbol (DELETE /fapi/v1/algoOpenOrders)."""
    symbol = exchange.market(params.text("symbol")).rules.symbol
    for algo in exchange.conditional.open_of(account):
        if algo.symbol == symbol:
            exchange.conditional.cancel(algo, now)
    return dict(CANCELLED_ALL)


def query_algo(exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    """Return one conditional order, ended or not (GET /fapi/v1/algoOrder)."""
    algo = _find(exchange, account, params)
    if algo is None:
        raise refusal(Code.NO_SUCH_ORDER)
    return found(algo, exchange.conditional.actual(algo))


def open_algos(exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Return the open conditional orders (GET /fapi/v1/openAlgoOrders)."""
    symbol, algo_id = params.optional("symbol"), params.integer_or("algoId", 0)
    if symbol:
        exchange.market(symbol)
    return [
        found(algo, None)
        for algo in exchange.conditional.open_of(account)
        if symbol in ("", algo.symbol) and algo_id in (0, algo.algo_id)
    ]


def all_algos(exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Return conditional orders of a symbol, ended or not, oldest first (GET /fapi/v1/allAlgoOrders)."""
    symbol = exchange.market(params.text("symbol")).rules.symbol
    period, limit = read_period(params, now), read_limit(params, 500, PAGE_MAX)
    since = params.integer_or("algoId", 0)
    rows = [
        found(algo, exchange.conditional.actual(algo))
        for algo in exchange.conditional.algos.values()
        if (algo.account, algo.symbol) == (account.key, symbol)
        and algo.algo_id >= since
        and period.holds(algo.created_utc_ms)
    ]
    return rows[:limit] if since else rows[-limit:]

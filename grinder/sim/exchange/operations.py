"""The table of everything the venue can do: operation, paths, WebSocket API method, security, weight, order count.

Source: weights and order counts of USDⓈ-M futures, documentation of 2026-05-28 and 2026-08-19.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from grinder.sim.exchange import (
    account_queries,
    account_settings,
    algo_trading,
    batches,
    history_queries,
    queries,
    trading,
)
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.market_data import MARKET_DATA
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.price_data import PRICE_DATA
from grinder.sim.exchange.venue import Handler, Operation, Security, Venue, Weight

Trading = Callable[[Exchange, Account, Params, int], Any]


def _weight(amount: int) -> Weight:
    return lambda params: amount


def _by_symbol(one: int, every: int) -> Weight:
    return lambda params: one if "symbol" in params else every


def _by_depth(params: Params) -> int:
    text = params.optional("limit", "500")
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 500
    return next(weight for bound, weight in ((50, 2), (100, 5), (500, 10), (10**20, 20)) if limit <= bound)


def _trade(function: Trading) -> Handler:
    """Return a handler for an order operation, which always has an account."""

    def handler(venue: Venue, account: Account | None, params: Params, now: int) -> object:
        assert account is not None
        return function(venue.exchange, account, params, now)

    return handler


def _routes(path: str) -> tuple[tuple[str, str], ...]:
    """Return routes written as ``METHOD v1/name v2/name``."""
    method, *names = path.split()
    return tuple((method, f"/fapi/{name}") for name in names)


def _order(
    name: str, function: Trading, weight: int | Weight, path: str, *ws: str, orders: tuple[int, int] = (0, 0)
) -> Operation:
    """Return a signed operation on orders; ``orders``: what it counts per 10 s and per minute."""
    cost = _weight(weight) if isinstance(weight, int) else weight
    return Operation(name, Security.SIGNED, _trade(function), cost, _routes(path), ws, orders[0], orders[1])


def _signed(name: str, handler: Handler, weight: int | Weight, path: str, *ws: str) -> Operation:
    cost = _weight(weight) if isinstance(weight, int) else weight
    return Operation(name, Security.SIGNED, handler, cost, _routes(path), ws)


def _keyed(name: str, handler: Handler, path: str, *ws: str) -> Operation:
    return Operation(name, Security.KEY, handler, _weight(1), _routes(path), ws)


def _open(name: str, handler: Handler, weight: int | Weight, path: str, *ws: str) -> Operation:
    cost = _weight(weight) if isinstance(weight, int) else weight
    return Operation(name, Security.NONE, handler, cost, _routes(path), ws)


_ORDERS: Final = (
    _order("order.place", trading.place, 0, "POST v1/order", "order.place", orders=(1, 1)),
    _order("order.modify", trading.amend, 0, "PUT v1/order", "order.modify", orders=(1, 1)),
    _order("order.cancel", trading.cancel, 1, "DELETE v1/order", "order.cancel"),
    _order("order.status", trading.query, 1, "GET v1/order", "order.status"),
    _order("order.open", trading.query_open, 1, "GET v1/openOrder"),
    _order("order.test", trading.check_only, 0, "POST v1/order/test"),
    _order("batch.place", batches.place_batch, 5, "POST v1/batchOrders", orders=(5, 1)),
    _order("batch.modify", batches.amend_batch, 5, "PUT v1/batchOrders", orders=(5, 1)),
    _order("batch.cancel", batches.cancel_batch, 1, "DELETE v1/batchOrders"),
    _order("orders.cancel_all", trading.cancel_all, 1, "DELETE v1/allOpenOrders"),
    _order("orders.countdown", trading.countdown, 10, "POST v1/countdownCancelAll"),
    _signed("orders.open", history_queries.open_orders, _by_symbol(1, 40), "GET v1/openOrders"),
    _signed("orders.all", history_queries.all_orders, 5, "GET v1/allOrders"),
    _signed("orders.amendments", history_queries.amendments, 1, "GET v1/orderAmendment"),
    _signed("orders.forced", history_queries.force_orders, _by_symbol(20, 50), "GET v1/forceOrders"),
    _signed("trades.user", history_queries.user_trades, 5, "GET v1/userTrades"),
)

_ALGO: Final = (
    _order("algo.place", algo_trading.place_algo, 0, "POST v1/algoOrder", "algoOrder.place", orders=(1, 1)),
    _order("algo.cancel", algo_trading.cancel_algo, 1, "DELETE v1/algoOrder", "algoOrder.cancel"),
    _order("algo.status", algo_trading.query_algo, 1, "GET v1/algoOrder"),
    _order("algo.cancel_all", algo_trading.cancel_open_algos, 1, "DELETE v1/algoOpenOrders"),
    _order("algo.open", algo_trading.open_algos, _by_symbol(1, 40), "GET v1/openAlgoOrders"),
    _order("algo.all", algo_trading.all_algos, 5, "GET v1/allAlgoOrders"),
)

_ACCOUNT: Final = (
    _signed(
        "positions.full",
        account_queries.position_risk_full,
        5,
        "GET v2/positionRisk v1/positionRisk",
        "account.position",
    ),
    _signed("positions", account_queries.position_risk, 5, "GET v3/positionRisk", "v2/account.position"),
    _signed("account.full", account_queries.account_full, 5, "GET v2/account", "account.status"),
    _signed("account", account_queries.account_info, 5, "GET v3/account", "v2/account.status"),
    _signed(
        "balance",
        account_queries.balance,
        5,
        "GET v3/balance v2/balance",
        "account.balance",
        "v2/account.balance",
    ),
    _signed("account.config", account_queries.account_config, 5, "GET v1/accountConfig"),
    _signed("symbol.config", account_queries.symbol_config, 5, "GET v1/symbolConfig"),
    _signed("leverage.brackets", account_queries.leverage_bracket, 1, "GET v1/leverageBracket"),
    _signed("commission", account_queries.commission_rate, 20, "GET v1/commissionRate"),
    _signed("limits.orders", account_queries.order_limits, 1, "GET v1/rateLimit/order"),
    _signed("adl.quantile", account_queries.adl_quantile, 5, "GET v1/adlQuantile"),
    _signed("trading.status", account_queries.trading_status, _by_symbol(1, 10), "GET v1/apiTradingStatus"),
    _signed("income", history_queries.income, 30, "GET v1/income"),
)

_SETTINGS: Final = (
    _signed("mode.get", account_queries.position_mode, 30, "GET v1/positionSide/dual"),
    _signed("mode.set", account_settings.set_position_mode, 1, "POST v1/positionSide/dual"),
    _signed("multi_assets.get", account_queries.multi_assets_mode, 30, "GET v1/multiAssetsMargin"),
    _signed("multi_assets.set", account_settings.set_multi_assets, 1, "POST v1/multiAssetsMargin"),
    _signed("leverage.set", account_settings.set_leverage, 1, "POST v1/leverage"),
    _signed("margin_type.set", account_settings.set_margin_type, 1, "POST v1/marginType"),
    _signed("position_margin.change", account_settings.change_position_margin, 1, "POST v1/positionMargin"),
    _signed("position_margin.history", history_queries.margin_changes, 1, "GET v1/positionMargin/history"),
    _signed("fee_burn.get", account_queries.fee_burn, 30, "GET v1/feeBurn"),
    _signed("fee_burn.set", account_settings.set_fee_burn, 1, "POST v1/feeBurn"),
    _keyed("stream.start", queries.start_stream, "POST v1/listenKey", "userDataStream.start"),
    _keyed("stream.keep", queries.keep_stream, "PUT v1/listenKey", "userDataStream.ping"),
    _keyed("stream.stop", queries.stop_stream, "DELETE v1/listenKey", "userDataStream.stop"),
)

_MARKET: Final = (
    _open("ping", queries.ping, 1, "GET v1/ping", "ping"),
    _open("time", queries.server_time, 1, "GET v1/time", "time"),
    _open("exchange_info", queries.exchange_info, 1, "GET v1/exchangeInfo"),
    _open("depth", queries.depth, _by_depth, "GET v1/depth", "depth"),
    _open("depth.retail", queries.retail_depth, 20, "GET v1/rpiDepth"),
    _open("ticker.book", queries.book_ticker, _by_symbol(2, 5), "GET v1/ticker/bookTicker", "ticker.book"),
    _open(
        "ticker.price", queries.price_ticker, _by_symbol(1, 2), "GET v1/ticker/price v2/ticker/price", "ticker.price"
    ),
    _open("premium_index", queries.premium_index, _by_symbol(1, 10), "GET v1/premiumIndex"),
    _open("funding.info", queries.funding_info, 0, "GET v1/fundingInfo"),
    _open("adl.risk", queries.adl_risk, 1, "GET v1/symbolAdlRisk"),
)

OPERATIONS: Final = _ORDERS + _ALGO + _ACCOUNT + _SETTINGS + _MARKET + MARKET_DATA + PRICE_DATA
BY_ROUTE: Final = {route: operation for operation in OPERATIONS for route in operation.routes}
BY_WS_METHOD: Final = {method: operation for operation in OPERATIONS for method in operation.ws_methods}

assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
assert len(BY_ROUTE) == sum(len(operation.routes) for operation in OPERATIONS)

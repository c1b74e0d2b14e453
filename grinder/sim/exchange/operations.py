"""The table of everything the venue can do: operation, paths, WebSocket API method, security, weight, order count.

Source: weights and order counts of USDⓈ-M futures, documentation of 2026-05-28.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from grinder.sim.exchange import batches, queries, trading
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.venue import Handler, Operation, Security, Venue, Weight

_NONE, _KEY, _SIGNED = Security.NONE, Security.KEY, Security.SIGNED


def _weight(amount: int) -> Weight:
    return lambda params: amount


def _by_symbol(one: int, every: int) -> Weight:
    return lambda params: one if "symbol" in params else every


def _by_depth(params: Params) -> int:
    text = params.optional("limit", "500")
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 500
    return next(weight for bound, weight in ((50, 2), (100, 5), (500, 10), (10**20, 20)) if limit <= bound)


def _trade(function: Callable[[Exchange, Account, Params, int], Any]) -> Handler:
    """Return a handler for an order operation, which always has an account."""

    def handler(venue: Venue, account: Account | None, params: Params, now: int) -> object:
        assert account is not None
        return function(venue.exchange, account, params, now)

    return handler


def _rest(method: str, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((method, f"/fapi/{name}") for name in names)


_ORDERS: Final = (
    Operation(
        "order.place",
        _SIGNED,
        _trade(trading.place),
        _weight(0),
        _rest("POST", "v1/order"),
        ("order.place",),
        orders_10s=1,
        orders_1m=1,
    ),
    Operation(
        "order.modify",
        _SIGNED,
        _trade(trading.amend),
        _weight(1),
        _rest("PUT", "v1/order"),
        ("order.modify",),
        orders_10s=1,
        orders_1m=1,
    ),
    Operation(
        "order.cancel",
        _SIGNED,
        _trade(trading.cancel),
        _weight(1),
        _rest("DELETE", "v1/order"),
        ("order.cancel",),
    ),
    Operation("order.status", _SIGNED, _trade(trading.query), _weight(1), _rest("GET", "v1/order"), ("order.status",)),
    Operation("order.open", _SIGNED, _trade(trading.query_open), _weight(1), _rest("GET", "v1/openOrder")),
    Operation("order.test", _SIGNED, _trade(trading.check_only), _weight(0), _rest("POST", "v1/order/test")),
    Operation(
        "batch.place",
        _SIGNED,
        _trade(batches.place_batch),
        _weight(5),
        _rest("POST", "v1/batchOrders"),
        orders_10s=5,
        orders_1m=1,
    ),
    Operation(
        "batch.modify",
        _SIGNED,
        _trade(batches.amend_batch),
        _weight(5),
        _rest("PUT", "v1/batchOrders"),
        orders_10s=5,
        orders_1m=1,
    ),
    Operation("batch.cancel", _SIGNED, _trade(batches.cancel_batch), _weight(1), _rest("DELETE", "v1/batchOrders")),
    Operation(
        "orders.cancel_all", _SIGNED, _trade(trading.cancel_all), _weight(1), _rest("DELETE", "v1/allOpenOrders")
    ),
    Operation(
        "orders.countdown", _SIGNED, _trade(trading.countdown), _weight(10), _rest("POST", "v1/countdownCancelAll")
    ),
    Operation("orders.open", _SIGNED, queries.open_orders, _by_symbol(1, 40), _rest("GET", "v1/openOrders")),
    Operation("orders.all", _SIGNED, queries.all_orders, _weight(5), _rest("GET", "v1/allOrders")),
    Operation("trades.user", _SIGNED, queries.user_trades, _weight(5), _rest("GET", "v1/userTrades")),
)

_ACCOUNT: Final = (
    Operation(
        "positions.full",
        _SIGNED,
        queries.position_risk_full,
        _weight(5),
        _rest("GET", "v2/positionRisk", "v1/positionRisk"),
        ("account.position",),
    ),
    Operation(
        "positions",
        _SIGNED,
        queries.position_risk,
        _weight(5),
        _rest("GET", "v3/positionRisk"),
        ("v2/account.position",),
    ),
    Operation(
        "account.full", _SIGNED, queries.account_full, _weight(5), _rest("GET", "v2/account"), ("account.status",)
    ),
    Operation("account", _SIGNED, queries.account_info, _weight(5), _rest("GET", "v3/account"), ("v2/account.status",)),
    Operation(
        "balance",
        _SIGNED,
        queries.balance,
        _weight(5),
        _rest("GET", "v3/balance", "v2/balance"),
        ("account.balance", "v2/account.balance"),
    ),
    Operation("mode.get", _SIGNED, queries.position_mode, _weight(30), _rest("GET", "v1/positionSide/dual")),
    Operation("mode.set", _SIGNED, queries.set_position_mode, _weight(1), _rest("POST", "v1/positionSide/dual")),
    Operation(
        "multi_assets.get", _SIGNED, queries.multi_assets_mode, _weight(30), _rest("GET", "v1/multiAssetsMargin")
    ),
    Operation("leverage.set", _SIGNED, queries.set_leverage, _weight(1), _rest("POST", "v1/leverage")),
    Operation("leverage.brackets", _SIGNED, queries.leverage_bracket, _weight(1), _rest("GET", "v1/leverageBracket")),
    Operation("symbol.config", _SIGNED, queries.symbol_config, _weight(5), _rest("GET", "v1/symbolConfig")),
    Operation("account.config", _SIGNED, queries.account_config, _weight(5), _rest("GET", "v1/accountConfig")),
    Operation("commission", _SIGNED, queries.commission_rate, _weight(20), _rest("GET", "v1/commissionRate")),
    Operation("limits.orders", _SIGNED, queries.order_limits, _weight(1), _rest("GET", "v1/rateLimit/order")),
    Operation(
        "stream.start",
        _KEY,
        queries.start_stream,
        _weight(1),
        _rest("POST", "v1/listenKey"),
        ("userDataStream.start",),
    ),
    Operation(
        "stream.keep", _KEY, queries.keep_stream, _weight(1), _rest("PUT", "v1/listenKey"), ("userDataStream.ping",)
    ),
    Operation(
        "stream.stop", _KEY, queries.stop_stream, _weight(1), _rest("DELETE", "v1/listenKey"), ("userDataStream.stop",)
    ),
)

_MARKET: Final = (
    Operation("ping", _NONE, queries.ping, _weight(1), _rest("GET", "v1/ping"), ("ping",)),
    Operation("time", _NONE, queries.server_time, _weight(1), _rest("GET", "v1/time"), ("time",)),
    Operation("exchange_info", _NONE, queries.exchange_info, _weight(1), _rest("GET", "v1/exchangeInfo")),
    Operation("depth", _NONE, queries.depth, _by_depth, _rest("GET", "v1/depth"), ("depth",)),
    Operation(
        "ticker.book",
        _NONE,
        queries.book_ticker,
        _by_symbol(2, 5),
        _rest("GET", "v1/ticker/bookTicker"),
        ("ticker.book",),
    ),
    Operation(
        "ticker.price",
        _NONE,
        queries.price_ticker,
        _by_symbol(1, 2),
        _rest("GET", "v1/ticker/price", "v2/ticker/price"),
        ("ticker.price",),
    ),
    Operation("premium_index", _NONE, queries.premium_index, _by_symbol(1, 10), _rest("GET", "v1/premiumIndex")),
)

OPERATIONS: Final = _ORDERS + _ACCOUNT + _MARKET
BY_ROUTE: Final = {route: operation for operation in OPERATIONS for route in operation.routes}
BY_WS_METHOD: Final = {method: operation for operation in OPERATIONS for method in operation.ws_methods}

assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
assert len(BY_ROUTE) == sum(len(operation.routes) for operation in OPERATIONS)

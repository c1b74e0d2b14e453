"""Operations that change no order: market data, account snapshots, settings of the account, listen keys."""

from __future__ import annotations

from typing import Any, Final

from grinder.model.orders import Side
from grinder.sim.exchange import views
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.events import account_config_update, described, money, plain
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.orders import Fill
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.rules import exchange_info as info_document
from grinder.sim.exchange.rules import rate_limit_rows
from grinder.sim.exchange.venue import Venue

DEPTH_LIMITS: Final = (5, 10, 20, 50, 100, 500, 1_000)
USER_TRADES_MAX: Final = 1_000
FUNDING_INTERVAL_MS: Final = 8 * 3_600_000
FUNDING_RATE: Final = "0.00010000"


def ping(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/ping."""
    return {}


def server_time(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/time."""
    return {"serverTime": now}


def exchange_info(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/exchangeInfo."""
    table = venue.limits.table
    rows = rate_limit_rows(table.weight_1m, table.orders_10s, table.orders_1m)
    return info_document([market.rules for market in venue.exchange.markets.values()], rows, now)


def _markets(venue: Venue, params: Params) -> list[Market]:
    if "symbol" in params:
        return [venue.exchange.market(params.text("symbol"))]
    return list(venue.exchange.markets.values())


def _one_or_all(venue: Venue, params: Params, rows: list[dict[str, Any]]) -> object:
    return rows[0] if "symbol" in params else rows


def depth(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/depth: the tape's book, our orders not in it."""
    tape = venue.exchange.market(params.text("symbol")).tape
    limit = params.integer_or("limit", 500)
    if limit not in DEPTH_LIMITS:
        raise refusal(Code.INVALID_PARAMETER, "limit")
    sides = {
        name: [[plain(price), plain(qty)] for price, qty in tape.ladder(side, limit)]
        for name, side in (("bids", Side.BUY), ("asks", Side.SELL))
    }
    return {"lastUpdateId": tape.update_id, "E": now, "T": now, **sides}


def book_ticker(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/ticker/bookTicker."""
    rows = [
        {
            "symbol": market.rules.symbol,
            "bidPrice": plain(market.tape.bid),
            "bidQty": plain(market.tape.bid_qty),
            "askPrice": plain(market.tape.ask),
            "askQty": plain(market.tape.ask_qty),
            "time": now,
            "lastUpdateId": market.tape.update_id,
        }
        for market in _markets(venue, params)
    ]
    return _one_or_all(venue, params, rows)


def price_ticker(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/ticker/price: the middle of the book stands for the last price."""
    rows = [
        {"symbol": market.rules.symbol, "price": plain(market.tape.mid), "time": now}
        for market in _markets(venue, params)
    ]
    return _one_or_all(venue, params, rows)


def premium_index(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/premiumIndex."""
    rows = [
        {
            "symbol": market.rules.symbol,
            "markPrice": money(market.mark),
            "indexPrice": money(market.tape.mid),
            "estimatedSettlePrice": money(market.mark),
            "lastFundingRate": FUNDING_RATE,
            "interestRate": "0.00010000",
            "nextFundingTime": next_funding_utc_ms(now),
            "time": now,
        }
        for market in _markets(venue, params)
    ]
    return _one_or_all(venue, params, rows)


def next_funding_utc_ms(now: int) -> int:
    """Return when funding is due next: every eight hours, UTC."""
    return now - now % FUNDING_INTERVAL_MS + FUNDING_INTERVAL_MS


# Account ------------------------------------------------------------------------------------------


def _owner(account: Account | None) -> Account:
    assert account is not None
    return account


def _symbols(venue: Venue, params: Params) -> list[str]:
    return [market.rules.symbol for market in _markets(venue, params)]


def position_risk_full(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v2/positionRisk."""
    view = venue.view(_owner(account), now)
    return views.position_risk(view, _symbols(venue, params), venue.exchange.mark_of, full=True)


def position_risk(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v3/positionRisk: only symbols with a position or open orders."""
    view = venue.view(_owner(account), now)
    return views.position_risk(view, _symbols(venue, params), venue.exchange.mark_of, full=False)


def account_full(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v2/account."""
    view = venue.view(_owner(account), now)
    return views.account_info(view, list(venue.exchange.markets), venue.exchange.mark_of, full=True)


def account_info(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v3/account."""
    view = venue.view(_owner(account), now)
    return views.account_info(view, list(venue.exchange.markets), venue.exchange.mark_of, full=False)


def balance(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v2|v3/balance."""
    return views.balances(venue.view(_owner(account), now), venue.exchange.mark_of)


def open_orders(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/openOrders."""
    symbol = params.optional("symbol")
    if symbol:
        venue.exchange.market(symbol)
    rows = venue.view(_owner(account), now).open_orders
    return [row for row in rows if symbol in ("", row["symbol"])]


def all_orders(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/allOrders: the newest ``limit`` orders of the account, oldest first."""
    owner, symbol = _owner(account), params.optional("symbol")
    limit = min(params.integer_or("limit", 500), USER_TRADES_MAX)
    since = params.integer_or("orderId", 0)
    rows = [
        described(order)
        for order in venue.exchange.orders.values()
        if order.account == owner.key and symbol in ("", order.symbol) and order.order_id >= since
    ]
    return rows[-limit:]


def user_trades(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/userTrades: from ``fromId`` or ``startTime`` on, else the newest ones."""
    owner, symbol = _owner(account), params.text("symbol")
    venue.exchange.market(symbol)
    limit = min(params.integer_or("limit", 500), USER_TRADES_MAX)
    first_id, order_id = params.integer_or("fromId", 0), params.integer_or("orderId", 0)
    start, end = params.integer_or("startTime", 0), params.integer_or("endTime", now)
    rows = [
        fill
        for fill in venue.exchange.fills
        if fill.account == owner.key
        and fill.symbol == symbol
        and fill.trade_id >= first_id
        and order_id in (0, fill.order_id)
        and start <= fill.utc_ms <= end
    ]
    chosen = rows[:limit] if first_id or start else rows[-limit:]
    return [_trade_row(fill) for fill in chosen]


def _trade_row(fill: Fill) -> dict[str, Any]:
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": fill.side.value,
        "price": plain(fill.price),
        "qty": plain(fill.qty),
        "realizedPnl": money(fill.realized_pnl),
        "quoteQty": plain(fill.price * fill.qty),
        "commission": money(fill.fee),
        "commissionAsset": "USDT",
        "time": fill.utc_ms,
        "positionSide": fill.position_side.value,
        "buyer": fill.side is Side.BUY,
        "maker": fill.maker,
    }


def position_mode(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/positionSide/dual."""
    return {"dualSidePosition": _owner(account).hedge_mode}


def set_position_mode(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/positionSide/dual: refused while there is an order or a position."""
    owner = _owner(account)
    params.text("dualSidePosition")
    wanted = params.flag("dualSidePosition")
    if wanted is owner.hedge_mode:
        raise refusal(Code.NO_NEED_TO_CHANGE_MODE)
    if owner.open:
        raise refusal(Code.MODE_CHANGE_WITH_OPEN_ORDERS)
    if owner.held():
        raise refusal(Code.MODE_CHANGE_WITH_POSITION)
    owner.hedge_mode = wanted
    owner.changes += 1
    return {"code": 200, "msg": "success"}


def multi_assets_mode(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/multiAssetsMargin."""
    return {"multiAssetsMargin": False}


def set_leverage(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/leverage."""
    owner, symbol = _owner(account), params.text("symbol")
    rules = venue.exchange.market(symbol).rules
    leverage = params.integer("leverage")
    if not 1 <= leverage <= rules.max_leverage:
        raise refusal(Code.INVALID_LEVERAGE, leverage)
    owner.leverage[symbol] = leverage
    owner.changes += 1
    venue.exchange.outbox.append(account_config_update(owner, symbol, leverage, now))
    return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": "10000000"}


def leverage_bracket(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/leverageBracket: one bracket per symbol."""
    return [
        {
            "symbol": market.rules.symbol,
            "notionalCoef": 1.0,
            "brackets": [
                {
                    "bracket": 1,
                    "initialLeverage": market.rules.max_leverage,
                    "notionalCap": 10_000_000,
                    "notionalFloor": 0,
                    "maintMarginRatio": 0.004,
                    "cum": 0.0,
                }
            ],
        }
        for market in _markets(venue, params)
    ]


def symbol_config(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/symbolConfig."""
    owner = _owner(account)
    return [
        {
            "symbol": symbol,
            "marginType": "CROSSED",
            "isAutoAddMargin": False,
            "leverage": owner.leverage_of(symbol),
            "maxNotionalValue": "10000000",
        }
        for symbol in _symbols(venue, params)
    ]


def account_config(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/accountConfig."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": _owner(account).hedge_mode,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def commission_rate(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/commissionRate."""
    symbol = venue.exchange.market(params.text("symbol")).rules.symbol
    config = venue.exchange.config
    return {
        "symbol": symbol,
        "makerCommissionRate": plain(config.maker_fee),
        "takerCommissionRate": plain(config.taker_fee),
    }


def order_limits(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/rateLimit/order."""
    table = venue.limits.table
    return rate_limit_rows(table.weight_1m, table.orders_10s, table.orders_1m)[1:]


# Listen keys --------------------------------------------------------------------------------------


def start_stream(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/listenKey."""
    return {"listenKey": venue.listen_keys.create(_owner(account).key, now)}


def keep_stream(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """PUT /fapi/v1/listenKey."""
    return {"listenKey": venue.listen_keys.extend(_owner(account).key, now)}


def stop_stream(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """DELETE /fapi/v1/listenKey."""
    venue.listen_keys.delete(_owner(account).key)
    return {}

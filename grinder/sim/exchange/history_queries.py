"""Orders, trades, amendments, incomes and forced orders of an account, newest page or from a point on.

Source: All Orders, Account Trade List, Get Order Modify History, Get Income History, User's Force Orders, 2026-08-19.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.account_queries import owner_of
from grinder.sim.exchange.account_settings import ADD_MARGIN, TAKE_MARGIN
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.events import described, money, plain
from grinder.sim.exchange.incomes import IncomeKind
from grinder.sim.exchange.orders import Amendment, Fill, Order, Origin
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.periods import PAGE_MAX, read_limit, read_period
from grinder.sim.exchange.records import forgotten
from grinder.sim.exchange.trading import find_order
from grinder.sim.exchange.venue import Venue

FORCE_ORDERS_MAX: Final = 100
INCOME_DAYS: Final = 90
MARGIN_CHANGES_MAX: Final = 500
MARGIN_CHANGE_DAYS: Final = 30
_FORCED_KINDS: Final = {
    "LIQUIDATION": frozenset({Origin.LIQUIDATION}),
    "ADL": frozenset({Origin.ADL}),
    "": frozenset({Origin.LIQUIDATION, Origin.ADL}),
}


def open_orders(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/openOrders."""
    symbol = params.optional("symbol")
    if symbol:
        venue.exchange.market(symbol)
    rows = venue.view(owner_of(account), now).open_orders
    return [row for row in rows if symbol in ("", row["symbol"])]


def all_orders(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/allOrders: from ``orderId`` or ``startTime`` on, else the newest, oldest first."""
    owner, symbol = owner_of(account), params.optional("symbol")
    if symbol:
        venue.exchange.market(symbol)
    limit, since = read_limit(params, 500, PAGE_MAX), params.integer_or("orderId", 0)
    period = read_period(params, now)
    chosen = [
        order
        for order in venue.exchange.orders.values()
        if order.account == owner.key
        and symbol in ("", order.symbol)
        and (order.order_id >= since if since else period.holds(order.created_utc_ms))
        and not forgotten(order, now)
    ]
    page = chosen[:limit] if since or period.given else chosen[-limit:]
    return [described(order) for order in page]


def user_trades(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/userTrades: from ``fromId`` or ``startTime`` on, else the newest ones.

    Raises:
        VenueError: -1128 if ``fromId`` is sent beside a time.
    """
    owner, symbol = owner_of(account), venue.exchange.market(params.text("symbol")).rules.symbol
    limit, first_id = read_limit(params, 500, PAGE_MAX), params.integer_or("fromId", 0)
    if "fromId" in params and ("startTime" in params or "endTime" in params):
        raise refusal(Code.OPTIONAL_PARAMS_BAD_COMBO)
    order_id, period = params.integer_or("orderId", 0), read_period(params, now)
    everything = "fromId" in params or order_id
    rows = [
        fill
        for fill in venue.exchange.fills
        if fill.account == owner.key
        and fill.symbol == symbol
        and fill.trade_id >= first_id
        and order_id in (0, fill.order_id)
        and (everything or period.holds(fill.utc_ms))
    ]
    chosen = rows[:limit] if "fromId" in params or period.given else rows[-limit:]
    return [_trade_row(fill) for fill in chosen]


def _trade_row(fill: Fill) -> dict[str, Any]:
    return {
        "symbol": fill.symbol,
        "pair": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": fill.side.value,
        "price": plain(fill.price),
        "qty": plain(fill.qty),
        "realizedPnl": money(fill.realized_pnl),
        "quoteQty": plain(fill.price * fill.qty),
        "baseQty": plain(fill.qty),
        "marginAsset": "USDT",
        "commission": money(fill.fee),
        "commissionAsset": "USDT",
        "time": fill.utc_ms,
        "positionSide": fill.position_side.value,
        "buyer": fill.side is Side.BUY,
        "maker": fill.maker,
    }


def amendments(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/orderAmendment: the newest amendments of an order, newest first."""
    owner = owner_of(account)
    order = find_order(venue.exchange, owner, params)
    if order is None:
        raise refusal(Code.NO_SUCH_ORDER)
    limit, period = read_limit(params, 50, 100), read_period(params, now, INCOME_DAYS)
    rows = (
        each
        for each in reversed(venue.exchange.records.amendments)
        if each.order_id == order.order_id and period.holds(each.utc_ms)
    )
    return [_amendment_row(order, each) for each in islice(rows, limit)]


def _amendment_row(order: Order, row: Amendment) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "price": {"before": plain(row.price_before), "after": plain(row.price)},
        "origQty": {"before": plain(row.qty_before), "after": plain(row.qty)},
        "count": row.count,
    }
    if row.modify_id is not None:
        changes["modifyId"] = row.modify_id
    return {
        "amendmentId": row.amendment_id,
        "symbol": order.symbol,
        "pair": order.symbol,
        "orderId": order.order_id,
        "clientOrderId": order.client_order_id,
        "time": row.utc_ms,
        "amendment": changes,
    }


def income(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/income: from ``startTime`` on, else the newest, oldest first."""
    owner, symbol = owner_of(account), params.optional("symbol")
    if symbol:
        venue.exchange.market(symbol)
    kind = params.optional("incomeType")
    limit, page = read_limit(params, 100, PAGE_MAX), max(1, params.integer_or("page", 1))
    period = read_period(params, now, INCOME_DAYS if "startTime" in params else 7)
    rows = [
        row
        for row in venue.exchange.incomes
        if row.account == owner.key
        and symbol in ("", row.symbol)
        and kind in ("", row.kind.value)
        and period.holds(row.utc_ms)
    ]
    first = (page - 1) * limit
    chosen = (
        rows[first : first + limit] if period.given else rows[max(0, len(rows) - first - limit) : len(rows) - first]
    )
    return [
        {
            "symbol": row.symbol,
            "incomeType": row.kind.value,
            "income": money(row.amount),
            "asset": "USDT",
            "info": str(row.trade_id)
            if row.kind in (IncomeKind.COMMISSION, IncomeKind.REALIZED_PNL)
            else row.kind.value,
            "time": row.utc_ms,
            "tranId": row.tran_id,
            "tradeId": str(row.trade_id) if row.trade_id else "",
        }
        for row in chosen
    ]


def margin_changes(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/positionMargin/history: the newest changes of isolated margin, newest first."""
    owner, symbol = owner_of(account), venue.exchange.market(params.text("symbol")).rules.symbol
    limit, period = read_limit(params, 500, MARGIN_CHANGES_MAX), read_period(params, now, MARGIN_CHANGE_DAYS)
    kind = params.integer_or("type", 0)
    rows = (
        row
        for row in reversed(venue.exchange.margin_changes)
        if (row.account, row.symbol) == (owner.key, symbol) and period.holds(row.utc_ms)
    )
    documents = (
        {
            "symbol": symbol,
            "type": ADD_MARGIN if row.amount > ZERO else TAKE_MARGIN,
            "deltaType": "USER_ADJUST",
            "amount": money(row.amount),
            "asset": "USDT",
            "time": row.utc_ms,
            "positionSide": row.position_side.value,
        }
        for row in rows
    )
    return list(islice((each for each in documents if kind in (0, each["type"])), limit))


def force_orders(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/forceOrders: liquidation and auto-deleveraging orders of the account."""
    owner, symbol = owner_of(account), params.optional("symbol")
    if symbol:
        venue.exchange.market(symbol)
    kinds = _FORCED_KINDS.get(params.optional("autoCloseType"))
    if kinds is None:
        raise refusal(Code.INVALID_PARAMETER, "autoCloseType")
    limit, period = read_limit(params, 50, FORCE_ORDERS_MAX), read_period(params, now)
    rows = [
        described(order)
        for order in venue.exchange.orders.values()
        if order.origin in kinds
        and order.account == owner.key
        and symbol in ("", order.symbol)
        and period.holds(order.created_utc_ms)
    ]
    return rows[-limit:]

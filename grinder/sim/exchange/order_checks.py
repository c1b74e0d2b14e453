"""What an order must satisfy beyond its form: filters, the account's means, what rests already.

Must never change anything. The order of the checks is the venue's where it is known.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import OrderType
from grinder.sim.exchange.accounts import Account, MarkOf
from grinder.sim.exchange.brackets import notional_max
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.filters import check_notional, check_price, check_quantity
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.orders import Order, Tif
from grinder.sim.exchange.rules import SymbolRules

TRADING: Final = "TRADING"
CLOSING_STATUSES: Final = frozenset({"PRE_DELIVERING", "PRE_SETTLE"})
"""Symbol statuses in which positions may still be closed."""


def check_new(account: Account, market: Market, order: Order, mark_of: MarkOf) -> None:
    """Check a new order whose form is right.

    Raises:
        VenueError: -4141, -4140, -4116, filter codes, -4131, -4164, -2025, -2022, -4118, -2027, -2019, -5022, -5021.
    """
    rules, limit = market.rules, order.kind is OrderType.LIMIT
    _check_status(account, rules, order)
    if order.client_order_id in account.open_by_client_id:
        raise refusal(Code.DUPLICATE_CLIENT_ID)
    check_quantity(rules, order.qty, rules.max_qty if limit else rules.market_max_qty)
    if limit:
        check_price(rules, order.side, order.price, market.mark)
    else:
        _check_counterparty(market, order.side)
    price = order.price if limit else market.mark
    if not account.closes_only(order):
        check_notional(rules, price, order.qty)
    _check_count(account, rules)
    _check_reduces(account, order)
    check_exposure(account, market, order, price * order.qty, mark_of)
    if order.tif is Tif.GTX and market.matcher.crosses(order.side, order.price):
        raise refusal(Code.GTX_REJECT)
    if order.tif is Tif.FOK and market.matcher.available(order.side, order.price) < order.qty:
        raise refusal(Code.FOK_REJECT)


def check_amendment(
    account: Account, market: Market, order: Order, price: Decimal, qty: Decimal, mark_of: MarkOf
) -> None:
    """Check a new price and total quantity of a resting order.

    Raises:
        VenueError: -5024, filter codes, -5029, -2022, -4118, -2027, -2019.
    """
    rules = market.rules
    if rules.status != TRADING:
        raise refusal(Code.MODIFY_SYMBOL_STATUS)
    check_quantity(rules, qty, rules.max_qty)
    check_price(rules, order.side, price, market.mark)
    if qty <= order.filled:
        return
    if not account.closes_only(order):
        if price * qty < rules.min_notional:
            raise refusal(Code.MODIFY_MIN_NOTIONAL, rules.min_notional)
        added = price * (qty - order.filled) - order.price * order.remaining
        if added > ZERO:
            check_exposure(account, market, order, added, mark_of)
        return
    reducible = account.reducible(order)
    if reducible == ZERO:
        raise refusal(Code.REDUCE_ONLY_REJECT)
    if qty > order.qty and _resting(account, order) + qty - order.filled > reducible:
        raise refusal(Code.REDUCE_ONLY_SUM)


def check_exposure(account: Account, market: Market, order: Order, notional: Decimal, mark_of: MarkOf) -> None:
    """Check the margin and the largest position for an order's added exposure, USDT.

    Raises:
        VenueError: -2027 if the position could grow beyond its leverage's bracket, -2019 if margin is missing.
    """
    if account.closes_only(order):
        return
    extra = {(order.symbol, order.position_side, order.side): notional}
    needed = account.order_margin(mark_of, extra)
    if needed <= account.order_margin(mark_of):
        return
    if account.cross_equity(mark_of) < account.cross_margin(mark_of) + needed:
        raise refusal(Code.MARGIN_NOT_SUFFICIENT)
    held = account.holding(order.symbol, order.position_side).qty * market.mark
    added = account.open_notional(order.symbol, order.position_side, order.side) + notional
    after = abs(held + added if order.side is Side.BUY else held - added)
    if after > notional_max(market.rules, account.leverage_of(order.symbol)):
        raise refusal(Code.MAX_LEVERAGE_RATIO)


def normalize(market: Market, order: Order) -> None:
    """Write price and quantity with the decimals of tick and step, as the venue reports them. Nothing is rounded."""
    if order.kind is OrderType.LIMIT:
        order.price = order.price.quantize(market.rules.tick)
    order.qty = order.qty.quantize(market.rules.step)
    order.filled = ZERO.quantize(market.rules.step)


def _check_status(account: Account, rules: SymbolRules, order: Order) -> None:
    if rules.status == TRADING:
        return
    if rules.status not in CLOSING_STATUSES:
        raise refusal(Code.SYMBOL_CLOSED)
    if not account.closes_only(order):
        raise refusal(Code.SYMBOL_NOT_OPEN)


def _check_counterparty(market: Market, side: Side) -> None:
    """Raise -4131 if the best price of the other side is outside PERCENT_PRICE."""
    best = market.tape.best(side.opposite)[0]
    if best <= ZERO or market.mark <= ZERO:
        return
    rules = market.rules
    far = (
        best > market.mark * rules.percent_price_up
        if side is Side.BUY
        else best < market.mark * rules.percent_price_down
    )
    if far:
        raise refusal(Code.MARKET_ORDER_REJECT)


def _check_count(account: Account, rules: SymbolRules) -> None:
    if len(account.open) < rules.max_orders:
        return
    if sum(1 for each in account.open.values() if each.symbol == rules.symbol) >= rules.max_orders:
        raise refusal(Code.MAX_OPEN_ORDERS)


def _resting(account: Account, order: Order) -> Decimal:
    return sum((each.remaining for each in account.closing_orders(order)), ZERO)


def _check_reduces(account: Account, order: Order) -> None:
    """Check that an order that may only reduce has something left to reduce.

    A single reduce-only order may be larger than the position and is cut; together with others of its kind it may not.
    The closing side of a hedge position may never be larger.

    Raises:
        VenueError: -2022, -4118.
    """
    if not account.closes_only(order):
        return
    reducible = account.reducible(order)
    if reducible == ZERO:
        raise refusal(Code.REDUCE_ONLY_REJECT)
    resting = _resting(account, order)
    if not order.reduce_only and resting + order.qty > reducible:
        raise refusal(Code.REDUCE_ONLY_REJECT)
    if resting and resting + order.qty > reducible:
        raise refusal(Code.REDUCE_ONLY_SUM)

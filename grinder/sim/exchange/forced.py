"""Orders the venue itself places: liquidation, auto-deleveraging, settlement of a delisted symbol.

Their client ids are the venue's (``autoclose-``, ``adl_autoclose``, ``settlement_autoclose-``) and their executions are
CALCULATED. What the book does not take, the insurance fund takes at the order's price.
Source: Event Order Update, liquidation and ADL, 2026-05-28.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import OrderType
from grinder.sim.exchange import events
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.floor import TradingFloor
from grinder.sim.exchange.holdings import Holding
from grinder.sim.exchange.incomes import IncomeKind
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.orders import Expiry, Order, Origin, SelfTrade, Tif

_CLIENT_IDS: Final = {
    Origin.LIQUIDATION: "autoclose-{}",
    Origin.ADL: "adl_autoclose",
    Origin.SETTLEMENT: "settlement_autoclose-{}",
}


def force_close(
    floor: TradingFloor, account: Account, holding: Holding, origin: Origin, qty: Decimal, price: Decimal, now: int
) -> Order:
    """Close a position, whole or in part, by an order of the venue; return that order, filled.

    Args:
        floor: where it happens.
        account: owner of the position.
        holding: the position.
        origin: why; a liquidation goes through the book first and is told on the market's ``forceOrder`` stream.
        qty: how much, base units, at most the position.
        price: worst price in the book, and the price of what the book does not take; above 0.
        now: wall time, Unix milliseconds.
    """
    assert ZERO < qty <= abs(holding.qty)
    market = floor.markets[holding.symbol]
    order_id = floor.next_order_id()
    order = Order(
        order_id=order_id,
        client_order_id=_CLIENT_IDS[origin].format(order_id),
        account=account.key,
        symbol=holding.symbol,
        side=Side.SELL if holding.qty > ZERO else Side.BUY,
        kind=OrderType.LIMIT,
        tif=Tif.IOC,
        price=_on_tick(market, price),
        qty=qty,
        reduce_only=False,
        position_side=holding.position_side,
        self_trade=SelfTrade.NONE,
        created_utc_ms=now,
        updated_utc_ms=now,
        filled=ZERO.quantize(market.rules.step),
        origin=origin,
    )
    floor.enforce(account, order, now, in_book=origin is Origin.LIQUIDATION)
    if origin is Origin.LIQUIDATION:
        floor.public_outbox.append(events.force_order(order, now))
    return order


def clear_insurance(floor: TradingFloor, account: Account, amount: Decimal, now: int) -> None:
    """Let the insurance fund take a fee (below zero) or cover a loss (above zero), and say so."""
    if not amount:
        return
    account.pay_insurance(amount, now)
    floor.note_income(account, "", IncomeKind.INSURANCE_CLEAR, amount)
    floor.outbox.append(events.account_update(account, "INSURANCE_CLEAR", now, change=amount))


def expire_orders(floor: TradingFloor, account: Account, symbol: str, expiry: Expiry) -> None:
    """End every open order of an account, in one symbol or with '' in all."""
    for order in list(account.open.values()):
        if symbol in ("", order.symbol):
            floor.expire(order, expiry)


def _on_tick(market: Market, price: Decimal) -> Decimal:
    tick = market.rules.tick
    return max(tick, (price // tick) * tick).quantize(tick)

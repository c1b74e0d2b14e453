"""The whole state of an exchange as one value, for a restart that forgets nothing.

Kept: accounts, orders with their places in the queues, conditional orders, trades, incomes, countdowns, prices. Not
kept: the depth of the tape, which a tape tells again, and user events that were not sent, which a dead venue does not
send either.

Invariant: ``take(restored)`` equals the state it was restored from.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.algo_orders import AlgoOrder
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.floor import Counts
from grinder.sim.exchange.holdings import Holding, MarginMode
from grinder.sim.exchange.incomes import Income, MarginChange
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.orders import Amendment, Fill, Order, Tif


class AccountState(msgspec.Struct, frozen=True):
    """One account. Money in USDT."""

    key: str
    start_wallet: Decimal
    wallet: Decimal
    fees: Decimal
    realized: Decimal
    funding: Decimal
    insurance: Decimal
    hedge_mode: bool
    multi_assets: bool
    leverage: dict[str, int]
    margin_modes: dict[str, MarginMode]
    holdings: list[Holding]
    updated_utc_ms: int
    transferred: Decimal = ZERO


class MarketState(msgspec.Struct, frozen=True):
    """One market: prices, best levels of its tape, ids."""

    symbol: str
    status: str
    mark_price: Decimal
    index_price: Decimal
    last_price: Decimal
    funding_rate: Decimal
    next_trade_id: int
    bid: tuple[Decimal, Decimal]
    ask: tuple[Decimal, Decimal]
    update_id: int


class ExchangeState(msgspec.Struct, frozen=True):
    """Everything. ``orders`` in the order they came, ``finished`` in the order they ended.

    ``countdowns``: account, symbol, deadline in Unix milliseconds. ``called``: accounts that had their margin call.
    """

    now_utc_ms: int
    next_id: int
    accounts: list[AccountState]
    markets: list[MarketState]
    orders: list[Order]
    finished: list[int]
    amendments: list[Amendment]
    fills: list[Fill]
    incomes: list[Income]
    margin_changes: list[MarginChange]
    counts: Counts
    countdowns: list[tuple[str, str, int]]
    algos: list[AlgoOrder]
    called: list[str]
    next_funding_utc_ms: int


def snapshot(exchange: Exchange) -> ExchangeState:
    """Return the state of an exchange; what happens to the exchange later does not change it."""
    return ExchangeState(
        now_utc_ms=exchange.now_utc_ms,
        next_id=exchange.next_id,
        accounts=[_account_state(account) for account in exchange.accounts.values()],
        markets=[_market_state(market) for market in exchange.markets.values()],
        orders=[msgspec.structs.replace(order) for order in exchange.orders.values()],
        finished=exchange.records.finished_ids(),
        amendments=list(exchange.records.amendments),
        fills=list(exchange.fills),
        incomes=list(exchange.incomes),
        margin_changes=list(exchange.margin_changes),
        counts=msgspec.structs.replace(exchange.counts),
        countdowns=[(key, symbol, deadline) for (key, symbol), deadline in exchange.countdowns.items()],
        algos=[msgspec.structs.replace(algo) for algo in exchange.conditional.algos.values()],
        called=sorted(exchange.risk.called),
        next_funding_utc_ms=exchange.next_funding_utc_ms,
    )


def restore(exchange: Exchange, state: ExchangeState) -> None:
    """Put a state into an exchange on which nothing has happened yet. It must list the state's symbols.

    Raises:
        ValueError: if the state has a symbol that the exchange does not list.
    """
    unknown = {each.symbol for each in state.markets} - set(exchange.markets)
    if unknown:
        raise ValueError(f"symbols of the state that are not listed: {', '.join(sorted(unknown))}")
    exchange.now_utc_ms = state.now_utc_ms
    exchange.next_id = max(exchange.next_id, state.next_id)
    for each in state.accounts:
        exchange.accounts[each.key] = _account(each)
    for market_state in state.markets:
        _restore_market(exchange.markets[market_state.symbol], market_state)
    orders = [msgspec.structs.replace(order) for order in state.orders]
    exchange.records.restore(orders, state.finished, state.amendments)
    for order in sorted((order for order in orders if order.live), key=lambda order: order.rank):
        exchange.accounts[order.account].opened(order)
        exchange.markets[order.symbol].matcher.restore(order)
        if order.tif is Tif.GTD:
            exchange.good_till[order.order_id] = order
    exchange.fills.extend(state.fills)
    exchange.incomes.extend(state.incomes)
    exchange.margin_changes.extend(state.margin_changes)
    exchange.counts = msgspec.structs.replace(state.counts)
    exchange.countdowns = {(key, symbol): deadline for key, symbol, deadline in state.countdowns}
    exchange.conditional.restore([msgspec.structs.replace(algo) for algo in state.algos])
    exchange.risk.called = set(state.called)
    exchange.next_funding_utc_ms = state.next_funding_utc_ms


def _account_state(account: Account) -> AccountState:
    return AccountState(
        key=account.key,
        start_wallet=account.start_wallet,
        wallet=account.wallet,
        fees=account.fees,
        realized=account.realized,
        funding=account.funding,
        insurance=account.insurance,
        hedge_mode=account.hedge_mode,
        multi_assets=account.multi_assets,
        leverage=dict(account.leverage),
        margin_modes=dict(account.margin_modes),
        holdings=[msgspec.structs.replace(each) for each in account.holdings.values()],
        updated_utc_ms=account.updated_utc_ms,
        transferred=account.transferred,
    )


def _account(state: AccountState) -> Account:
    account = Account(state.key, state.start_wallet)
    account.wallet, account.fees, account.realized = state.wallet, state.fees, state.realized
    account.funding, account.insurance = state.funding, state.insurance
    account.hedge_mode, account.multi_assets = state.hedge_mode, state.multi_assets
    account.leverage, account.margin_modes = dict(state.leverage), dict(state.margin_modes)
    account.holdings = {(each.symbol, each.position_side): msgspec.structs.replace(each) for each in state.holdings}
    account.updated_utc_ms, account.transferred = state.updated_utc_ms, state.transferred
    return account


def _market_state(market: Market) -> MarketState:
    tape = market.tape
    return MarketState(
        symbol=market.rules.symbol,
        status=market.rules.status,
        mark_price=market.mark_price,
        index_price=market.index_price,
        last_price=market.last_price,
        funding_rate=market.funding_rate,
        next_trade_id=market.next_trade_id,
        bid=tape.best(Side.BUY),
        ask=tape.best(Side.SELL),
        update_id=tape.update_id,
    )


def _restore_market(market: Market, state: MarketState) -> None:
    market.rules = msgspec.structs.replace(market.rules, status=state.status)
    market.mark_price, market.index_price = state.mark_price, state.index_price
    market.last_price, market.funding_rate = state.last_price, state.funding_rate
    market.next_trade_id = max(market.next_trade_id, state.next_trade_id)
    market.tape.on_top(state.bid, state.ask, state.update_id)

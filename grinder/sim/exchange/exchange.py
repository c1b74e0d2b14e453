"""The exchange: accounts, markets, orders and what happens to them. Time and identity are arguments; no I/O.

Every entry point takes the wall time in Unix milliseconds. What the user streams must say collects in ``outbox``, in
order; whoever drives the exchange drains it after each call.

Invariant: an order is in ``account.open`` exactly while its status is live and it rests in its matcher's queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import OrderType
from grinder.sim.exchange import events
from grinder.sim.exchange.accounts import MONEY, Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.matching import Matcher
from grinder.sim.exchange.orders import Expiry, Fill, Order, Status, Tif
from grinder.sim.exchange.rules import SymbolRules
from grinder.sim.exchange.tape_book import TapeBook

ORDERS_KEPT_MAX: Final = 50_000
"""Finished orders kept for queries, oldest dropped first."""

FILLS_KEPT_MAX: Final = 100_000
"""Trades kept for userTrades and ground truth."""


class ExchangeConfig(msgspec.Struct, frozen=True):
    """What an exchange is started with. Fees are fractions of the traded value; money in USDT."""

    start_wallet: Decimal = Decimal(10_000)
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    first_id: int = 1


class Market:
    """One symbol: its rules, its tape, its queue of our orders, its mark price."""

    def __init__(self, rules: SymbolRules, exchange: Exchange, first_trade_id: int) -> None:
        self.rules = rules
        self.tape = TapeBook(rules.tick)
        self.matcher = Matcher(self.tape, exchange)
        self.mark_price = ZERO
        self.next_trade_id = first_trade_id

    @property
    def mark(self) -> Decimal:
        """Mark price, or the middle of the book before the first one."""
        return self.mark_price if self.mark_price > ZERO else self.tape.mid


class Counts(msgspec.Struct):
    """What happened so far, for ground truth."""

    placed: int = 0
    amended: int = 0
    cancelled: int = 0
    expired: int = 0
    filled: int = 0
    trades: int = 0


class Exchange:
    """All state of the simulated venue."""

    def __init__(self, credentials: Mapping[str, str], rules: Iterable[SymbolRules], config: ExchangeConfig) -> None:
        self.config = config
        self.secrets = dict(credentials)
        self.accounts = {key: Account(key, config.start_wallet) for key in credentials}
        self.markets: dict[str, Market] = {}
        self.outbox: list[events.UserEvent] = []
        self.orders: dict[int, Order] = {}
        self.fills: deque[Fill] = deque(maxlen=FILLS_KEPT_MAX)
        self.counts = Counts()
        self.countdowns: dict[tuple[str, str], int] = {}
        self.now_utc_ms = 0
        self._good_till: dict[int, Order] = {}
        self._by_client_id: dict[tuple[str, str, str], Order] = {}
        self._finished: deque[int] = deque()
        self._next_order_id = config.first_id
        self._next_rank = 1
        for each in rules:
            self.list_symbol(each)

    def list_symbol(self, rules: SymbolRules) -> None:
        """Begin to trade a symbol."""
        self.markets[rules.symbol] = Market(rules, self, self.config.first_id)

    def market(self, symbol: str) -> Market:
        """Return a market.

        Raises:
            VenueError: -1121 if there is none.
        """
        market = self.markets.get(symbol)
        if market is None:
            raise refusal(Code.BAD_SYMBOL)
        return market

    def mark_of(self, symbol: str) -> Decimal:
        """Return the mark price of a listed symbol."""
        return self.markets[symbol].mark

    def next_order_id(self) -> int:
        """Return an order id that was never used."""
        self._next_order_id += 1
        return self._next_order_id

    # The market's tape ----------------------------------------------------------------------------

    def on_top(self, symbol: str, bid: tuple[Decimal, Decimal], ask: tuple[Decimal, Decimal], u: int, now: int) -> None:
        """Take a new best bid and ask of the tape; ``u``: its update id."""
        self.now_utc_ms = now
        market = self.markets[symbol]
        market.tape.on_top(bid, ask, u)
        market.matcher.on_top()

    def on_trade(self, symbol: str, price: Decimal, qty: Decimal, aggressor: Side, now: int) -> None:
        """Take a trade of the tape."""
        self.now_utc_ms = now
        self.markets[symbol].matcher.on_trade(price, qty, aggressor)

    def on_depth(self, symbol: str, bids: list[list[str]], asks: list[list[str]], u: int) -> None:
        """Take a depth difference of the tape."""
        market = self.markets[symbol]
        market.tape.on_depth(bids, asks, u)
        market.matcher.on_depth()

    def on_mark(self, symbol: str, price: Decimal) -> None:
        """Take a mark price."""
        self.markets[symbol].mark_price = price

    def on_time(self, now: int) -> None:
        """Let time pass: dead-man's switches and good-till-date orders that are due."""
        self.now_utc_ms = now
        for (key, symbol), deadline in list(self.countdowns.items()):
            if now >= deadline:
                del self.countdowns[(key, symbol)]
                self.cancel_all(self.accounts[key], symbol, now)
        for order in [each for each in self._good_till.values() if now >= each.good_till_utc_ms]:
            self.expire(order, Expiry.GOOD_TILL_DATE)

    # Orders ---------------------------------------------------------------------------------------

    def submit(self, account: Account, order: Order, now: int) -> None:
        """Take a checked order: trade what can trade at once, then rest or expire the remainder."""
        self.now_utc_ms = now
        market = self.markets[order.symbol]
        order.rank = self._rank()
        self.orders[order.order_id] = order
        self._by_client_id[(order.account, order.symbol, order.client_order_id)] = order
        self.counts.placed += 1
        account.opened(order)
        self._say(order, "NEW")
        is_market = order.kind is OrderType.MARKET
        if is_market or market.matcher.crosses(order.side, order.price):
            market.matcher.take(order, None if is_market else order.price)
        if not order.live:
            return
        if self.fillable(order) < order.remaining and order.filled:
            self.expire(order, Expiry.REDUCE_ONLY)
        elif is_market:
            self.expire(order, Expiry.MARKET_REMAINDER)
        elif order.tif in (Tif.IOC, Tif.FOK):
            self.expire(order, Expiry.IMMEDIATE_OR_CANCEL)
        else:
            market.matcher.rest(order)
            if order.tif is Tif.GTD:
                self._good_till[order.order_id] = order

    def amend(self, account: Account, order: Order, price: Decimal, qty: Decimal, now: int) -> None:
        """Move a resting order; only a smaller quantity at the same price keeps its place in the queue."""
        self.now_utc_ms = now
        market = self.markets[order.symbol]
        keeps_place = price == order.price and qty < order.qty
        account.closed(order)
        if not keeps_place:
            market.matcher.remove(order)
        order.price, order.qty = price, qty
        order.amendments += 1
        order.updated_utc_ms = now
        self.counts.amended += 1
        account.opened(order)
        self._say(order, "AMENDMENT")
        if keeps_place:
            return
        order.rank = self._rank()
        if market.matcher.crosses(order.side, price):
            market.matcher.take(order, price)
        if order.live:
            market.matcher.rest(order)

    def cancel(self, order: Order, now: int) -> None:
        """Cancel a live order."""
        self.now_utc_ms = now
        self.counts.cancelled += 1
        self._finish(order, Status.CANCELED, "CANCELED")

    def cancel_all(self, account: Account, symbol: str, now: int) -> int:
        """Cancel every order of an account in a symbol; return how many."""
        orders = [order for order in account.open.values() if order.symbol == symbol]
        for order in orders:
            self.cancel(order, now)
        return len(orders)

    def find(self, account: Account, symbol: str, order_id: int, client_order_id: str) -> Order | None:
        """Return an order by either id, finished or not; the newest where a client id was used again."""
        if order_id:
            order = self.orders.get(order_id)
            own = order is not None and order.account == account.key and order.symbol == symbol
            return order if own else None
        return self._by_client_id.get((account.key, symbol, client_order_id))

    # What the matching calls (Settlement) ---------------------------------------------------------

    def fillable(self, order: Order) -> Decimal:
        """Return how much of an order may trade now."""
        if not order.live:
            return ZERO
        account = self.accounts[order.account]
        return min(order.remaining, account.reducible(order)) if account.closes_only(order) else order.remaining

    def settle(self, order: Order, price: Decimal, qty: Decimal, *, maker: bool) -> None:
        """Book one trade of an order: account, order, trade list, user events."""
        assert ZERO < qty <= order.remaining
        account, market, now = self.accounts[order.account], self.markets[order.symbol], self.now_utc_ms
        rate = self.config.maker_fee if maker else self.config.taker_fee
        fee = (price * qty * rate).quantize(MONEY)
        account.shrunk(order, qty)
        realized = account.book(order, price, qty, fee, now)
        order.filled += qty
        order.quote += price * qty
        order.updated_utc_ms = now
        market.next_trade_id += 1
        fill = Fill(
            trade_id=market.next_trade_id,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            account=order.account,
            symbol=order.symbol,
            side=order.side,
            position_side=order.position_side,
            price=price,
            qty=qty,
            fee=fee,
            realized_pnl=realized,
            maker=maker,
            utc_ms=now,
        )
        self.fills.append(fill)
        self.counts.trades += 1
        done = order.remaining == ZERO
        order.status = Status.FILLED if done else Status.PARTIALLY_FILLED
        holding = account.holding(order.symbol, order.position_side)
        self.outbox.append(events.trade_lite(order, fill))
        self.outbox.append(events.account_update(account, holding, market.mark, "ORDER", now))
        self.outbox.append(events.order_update(order, "TRADE", fill, now))
        if done:
            self.counts.filled += 1
            self._forget(order)
        if realized or holding.qty == ZERO:
            self._expire_reduce_only(account, order.symbol, order.position_side)

    def expire(self, order: Order, expiry: Expiry) -> None:
        """End an order that may not trade on."""
        order.expiry = expiry
        self.counts.expired += 1
        matched = expiry is Expiry.SELF_TRADE
        self._finish(order, Status.EXPIRED_IN_MATCH if matched else Status.EXPIRED, "EXPIRED")

    # Inside ---------------------------------------------------------------------------------------

    def _expire_reduce_only(self, account: Account, symbol: str, position_side: PositionSide) -> None:
        if account.holding(symbol, position_side).qty != ZERO:
            return
        for order in list(account.open.values()):
            same = order.symbol == symbol and order.position_side is position_side
            if same and account.closes_only(order):
                self.expire(order, Expiry.REDUCE_ONLY)

    def _finish(self, order: Order, status: Status, execution: str) -> None:
        assert order.live
        order.status = status
        order.updated_utc_ms = self.now_utc_ms
        self._forget(order)
        self._say(order, execution)

    def _forget(self, order: Order) -> None:
        """Take a finished order out of book and open orders; keep it for queries, the oldest fall out."""
        self.markets[order.symbol].matcher.remove(order)
        self.accounts[order.account].closed(order)
        self._good_till.pop(order.order_id, None)
        self._finished.append(order.order_id)
        if len(self._finished) > ORDERS_KEPT_MAX:
            old = self.orders.pop(self._finished.popleft())
            key = (old.account, old.symbol, old.client_order_id)
            if self._by_client_id.get(key) is old:
                del self._by_client_id[key]

    def _say(self, order: Order, execution: str) -> None:
        self.outbox.append(events.order_update(order, execution, None, self.now_utc_ms))

    def _rank(self) -> int:
        self._next_rank += 1
        return self._next_rank

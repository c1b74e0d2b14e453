"""The trading floor: accounts, markets, orders and what happens to them. Time and identity are arguments; no I/O.

What the user streams must say collects in ``outbox``, in order; whoever drives the exchange drains it after each call.

Invariant: an order is in ``account.open`` exactly while its status is live and it rests in its matcher's queue; an
order that may only reduce never turns a position round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import OrderType
from grinder.sim.exchange import events
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.holdings import MONEY
from grinder.sim.exchange.incomes import Income, IncomeKind, MarginChange
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.orders import FORCED, Amendment, Expiry, Fill, Order, SelfTrade, Status, Tif
from grinder.sim.exchange.records import OrderRecords
from grinder.sim.exchange.rules import SymbolRules

FILLS_KEPT_MAX: Final = 100_000
"""Trades kept for userTrades and ground truth."""

INCOMES_KEPT_MAX: Final = 200_000
MARGIN_CHANGES_KEPT_MAX: Final = 10_000
PUBLIC_EVENTS_MAX: Final = 1_000
"""Events for market streams that wait to be sent; the oldest fall out where nobody sends them."""


class ExchangeConfig(msgspec.Struct, frozen=True):
    """What an exchange is started with. Fees are fractions of the traded value; money in USDT.

    ``default_self_trade``: mode of an order that names none; the venue's documents name two.
    ``margin_call_ratio``: maintenance margin over equity at which MARGIN_CALL is sent.
    """

    start_wallet: Decimal = Decimal(10_000)
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    first_id: int = 1
    default_self_trade: SelfTrade = SelfTrade.EXPIRE_MAKER
    margin_call_ratio: Decimal = Decimal("0.8")


class Counts(msgspec.Struct):
    """What happened so far, for ground truth."""

    placed: int = 0
    amended: int = 0
    cancelled: int = 0
    expired: int = 0
    filled: int = 0
    trades: int = 0


class TradingFloor:
    """Accounts, markets and orders."""

    def __init__(self, accounts: Iterable[str], config: ExchangeConfig) -> None:
        self.config = config
        self.accounts = {key: Account(key, config.start_wallet) for key in accounts}
        self.markets: dict[str, Market] = {}
        self.records = OrderRecords()
        self.outbox: list[events.UserEvent] = []
        self.public_outbox: deque[events.PublicEvent] = deque(maxlen=PUBLIC_EVENTS_MAX)
        self.fills: deque[Fill] = deque(maxlen=FILLS_KEPT_MAX)
        self.incomes: deque[Income] = deque(maxlen=INCOMES_KEPT_MAX)
        self.margin_changes: deque[MarginChange] = deque(maxlen=MARGIN_CHANGES_KEPT_MAX)
        self.counts = Counts()
        self.now_utc_ms = 0
        self.next_id = config.first_id
        self.good_till: dict[int, Order] = {}
        self._taking: Order | None = None

    @property
    def orders(self) -> dict[int, Order]:
        """Every order that is kept, by id."""
        return self.records.orders

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
        """Return a number that was never used as an id, nor as a rank of a queue; it grows."""
        self.next_id += 1
        return self.next_id

    # Orders ---------------------------------------------------------------------------------------

    def submit(self, account: Account, order: Order, now: int) -> None:
        """Take a checked order: trade what can trade at once, then rest or expire the remainder."""
        self.now_utc_ms = now
        market = self.markets[order.symbol]
        order.rank = self.next_order_id()
        self.records.add(order)
        self.counts.placed += 1
        account.opened(order)
        self._say(order, "NEW")
        is_market = order.kind is OrderType.MARKET
        if is_market or market.matcher.crosses(order.side, order.price):
            self._take(market, order, market.take_bound(order.side) if is_market else order.price)
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
                self.good_till[order.order_id] = order

    def enforce(self, account: Account, order: Order, now: int, *, in_book: bool) -> None:
        """Fill an order of the venue itself: from the book where it may, the remainder at its own price."""
        self.now_utc_ms = now
        market = self.markets[order.symbol]
        order.rank = self.next_order_id()
        self.records.add(order)
        self.counts.placed += 1
        account.opened(order)
        self._say(order, "NEW")
        if in_book and market.matcher.crosses(order.side, order.price):
            self._take(market, order, order.price)
        if order.live:
            self.settle(order, order.price, order.remaining, maker=False)
        assert order.status is Status.FILLED

    def amend(
        self, account: Account, order: Order, price: Decimal, qty: Decimal, now: int, modify_id: int | None = None
    ) -> None:
        """Move a resting order; only a smaller quantity at the same price keeps its place in the queue."""
        self.now_utc_ms = now
        market = self.markets[order.symbol]
        keeps_place = price == order.price and qty < order.qty
        account.closed(order)
        if not keeps_place:
            market.matcher.remove(order)
        before = order.price, order.qty
        order.price, order.qty = price, qty
        order.amendments += 1
        order.modify_id = modify_id
        order.updated_utc_ms = now
        row = Amendment(
            self.next_order_id(), order.order_id, before[0], price, before[1], qty, order.amendments, modify_id, now
        )
        self.records.amendments.append(row)
        self.counts.amended += 1
        account.opened(order)
        self._say(order, "AMENDMENT")
        if keeps_place:
            return
        order.rank = self.next_order_id()
        if market.matcher.crosses(order.side, price):
            self._take(market, order, price)
        if not order.live:
            return
        if self.fillable(order) <= ZERO:
            self.expire(order, Expiry.REDUCE_ONLY)
        else:
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
        return self.records.find(account.key, symbol, order_id, client_order_id)

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
        market.last_price = price
        market.next_trade_id += 1
        fill = _fill_of(order, market.next_trade_id, price, qty, fee, realized, maker=maker, now=now)
        self.fills.append(fill)
        self.counts.trades += 1
        if realized:
            self.note_income(account, order.symbol, IncomeKind.REALIZED_PNL, realized, fill.trade_id)
        self.note_income(account, order.symbol, IncomeKind.COMMISSION, -fee, fill.trade_id)
        done = order.remaining == ZERO
        order.status = Status.FILLED if done else Status.PARTIALLY_FILLED
        holding = account.holding(order.symbol, order.position_side)
        forced = order.origin in FORCED
        if not forced:
            self.outbox.append(events.trade_lite(order, fill))
        self.outbox.append(events.account_update(account, "ORDER", now, [(holding, market.mark)]))
        self.outbox.append(events.order_update(order, "CALCULATED" if forced else "TRADE", fill, now))
        if done:
            self.counts.filled += 1
            self._forget(order)
        if realized or holding.qty == ZERO:
            self._knock_out(account, order.symbol, order.position_side)

    def expire(self, order: Order, expiry: Expiry) -> None:
        """End an order that may not trade on."""
        order.expiry = expiry
        self.counts.expired += 1
        matched = expiry in (Expiry.SELF_TRADE, Expiry.IMMEDIATE_SELF_TRADE)
        self._finish(order, Status.EXPIRED_IN_MATCH if matched else Status.EXPIRED, "EXPIRED")

    def note_income(self, account: Account, symbol: str, kind: IncomeKind, amount: Decimal, trade_id: int = 0) -> None:
        """Write down one change of a wallet."""
        row = Income(self.next_order_id(), account.key, symbol, kind, amount, self.now_utc_ms, trade_id)
        self.incomes.append(row)

    # Inside ---------------------------------------------------------------------------------------

    def _take(self, market: Market, order: Order, limit: Decimal | None) -> None:
        self._taking = order
        market.matcher.take(order, limit)
        self._taking = None

    def _knock_out(self, account: Account, symbol: str, position_side: PositionSide) -> None:
        """End resting orders that may only reduce and have nothing left to reduce behind better ones of their kind."""
        held = account.holding(symbol, position_side).qty
        closing = [
            each
            for each in account.open.values()
            if (each.symbol, each.position_side) == (symbol, position_side)
            and each is not self._taking
            and account.closes_only(each)
        ]
        closing.sort(key=lambda each: (each.price if each.side is Side.SELL else -each.price, each.rank))
        left = abs(held)
        closer = Side.SELL if held > ZERO else Side.BUY
        for order in closing:
            if left <= ZERO or order.side is not closer:
                self.expire(order, Expiry.REDUCE_ONLY)
            else:
                left -= order.remaining

    def _finish(self, order: Order, status: Status, execution: str) -> None:
        assert order.live
        order.status = status
        order.updated_utc_ms = self.now_utc_ms
        self._forget(order)
        self._say(order, execution)

    def _forget(self, order: Order) -> None:
        """Take a finished order out of book and open orders."""
        self.markets[order.symbol].matcher.remove(order)
        self.accounts[order.account].closed(order)
        self.good_till.pop(order.order_id, None)
        self.records.finish(order)

    def _say(self, order: Order, execution: str) -> None:
        self.outbox.append(events.order_update(order, execution, None, self.now_utc_ms))


def _fill_of(  # one argument per fact of a trade
    order: Order,
    trade_id: int,
    price: Decimal,
    qty: Decimal,
    fee: Decimal,
    realized: Decimal,
    *,
    maker: bool,
    now: int,
) -> Fill:
    return Fill(
        trade_id=trade_id,
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

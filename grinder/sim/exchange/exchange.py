"""The exchange: a trading floor with a market tape, a clock and what they set off.

Every entry point takes the wall time in Unix milliseconds. Conditional orders act at the end of the entry point that
moved a price, liquidation at the end of the one that moved a mark price, funding and dates at the end of the one that
moved the time; never inside a match.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.conditional import ConditionalDesk
from grinder.sim.exchange.floor import ExchangeConfig, TradingFloor
from grinder.sim.exchange.forced import expire_orders, force_close
from grinder.sim.exchange.funding import next_funding_utc_ms, pay_funding
from grinder.sim.exchange.order_checks import TRADING
from grinder.sim.exchange.orders import Expiry, Order, Origin
from grinder.sim.exchange.risk import RiskDesk
from grinder.sim.exchange.rules import SymbolRules

PriceQty = tuple[Decimal, Decimal]


class Exchange(TradingFloor):
    """All state of the simulated venue."""

    def __init__(self, accounts: Iterable[str], rules: Iterable[SymbolRules], config: ExchangeConfig) -> None:
        """Open an account of ``start_wallet`` per key of ``accounts`` and a market per rules."""
        super().__init__(accounts, config)
        self.conditional = ConditionalDesk(self)
        self.risk = RiskDesk(self)
        self.countdowns: dict[tuple[str, str], int] = {}
        self.next_funding_utc_ms = 0
        for each in rules:
            self.list_symbol(each)

    # Requests -------------------------------------------------------------------------------------

    def submit(self, account: Account, order: Order, now: int) -> None:
        """Take a checked order, then let the prices it made trigger what they trigger."""
        super().submit(account, order, now)
        if order.origin is Origin.OWNER:
            self.conditional.review(order.symbol, now)

    def amend(
        self, account: Account, order: Order, price: Decimal, qty: Decimal, now: int, modify_id: int | None = None
    ) -> None:
        """Move a resting order, then let the prices it made trigger what they trigger."""
        super().amend(account, order, price, qty, now, modify_id)
        self.conditional.review(order.symbol, now)

    # The market's tape ----------------------------------------------------------------------------

    def on_top(self, symbol: str, bid: PriceQty, ask: PriceQty, update_id: int, now: int) -> None:
        """Take a new best bid and ask of the tape."""
        self.now_utc_ms = now
        market = self.markets[symbol]
        market.tape.on_top(bid, ask, update_id)
        market.matcher.on_top()
        self.conditional.review(symbol, now)
        if market.mark_price <= ZERO:
            # Without a mark price the middle of the book stands for it, and it has just moved.
            self.risk.review(now)

    def on_trade(self, symbol: str, price: Decimal, qty: Decimal, aggressor: Side, now: int) -> None:
        """Take a trade of the tape."""
        self.now_utc_ms = now
        market = self.markets[symbol]
        market.last_price = price
        market.matcher.on_trade(price, qty, aggressor)
        self.conditional.review(symbol, now)

    def on_depth(self, symbol: str, bids: list[list[str]], asks: list[list[str]], update_id: int) -> None:
        """Take a depth difference of the tape."""
        market = self.markets[symbol]
        market.tape.on_depth(bids, asks, update_id)
        market.matcher.on_depth()

    def on_mark(
        self, symbol: str, price: Decimal, *, index: Decimal = ZERO, rate: Decimal | None = None, now: int = 0
    ) -> None:
        """Take a mark price.

        Args:
            symbol: whose.
            price: mark price, USDT.
            index: index price, USDT; 0 where the tape tells none.
            rate: funding rate, fraction of the notional per interval; None where the tape tells none.
            now: wall time, Unix milliseconds; 0 stands for the last one that was told.
        """
        market = self.markets[symbol]
        market.mark_price, market.index_price = price, index or price
        if rate is not None:
            market.funding_rate = rate
        self.now_utc_ms = max(now, self.now_utc_ms)
        self.conditional.review(symbol, self.now_utc_ms)
        self.risk.review(self.now_utc_ms)

    def on_time(self, now: int) -> None:
        """Let time pass: dead-man's switches, dates of orders and funding that are due."""
        self.now_utc_ms = now
        for (key, symbol), deadline in list(self.countdowns.items()):
            if now >= deadline:
                del self.countdowns[(key, symbol)]
                self.cancel_all(self.accounts[key], symbol, now)
        for order in [each for each in self.good_till.values() if now >= each.good_till_utc_ms]:
            self.expire(order, Expiry.GOOD_TILL_DATE)
        self.conditional.on_time(now)
        self.conditional.finish_worked(now)
        if self.next_funding_utc_ms and now >= self.next_funding_utc_ms:
            for symbol, market in self.markets.items():
                pay_funding(self, symbol, market.funding_rate, now)
            self.risk.review(now)
        self.next_funding_utc_ms = next_funding_utc_ms(now)

    # What the operator of a venue may do ----------------------------------------------------------

    def fund(self, symbol: str, rate: Decimal, now: int) -> None:
        """Let funding happen now, at a rate."""
        self.now_utc_ms = now
        pay_funding(self, symbol, rate, now)
        self.risk.review(now)

    def deleverage(self, key: str, symbol: str, position_side: PositionSide, qty: Decimal, now: int) -> Decimal:
        """Take a position away by auto-deleveraging, at the mark price; return how much went, base units.

        Args:
            key: whose account.
            symbol: of the position.
            position_side: of the position; BOTH in one-way mode.
            qty: most to take, base units, above 0.
            now: wall time, Unix milliseconds.
        """
        assert qty > ZERO
        self.now_utc_ms = now
        account = self.accounts[key]
        holding = account.holding(symbol, position_side)
        taken = min(qty, abs(holding.qty))
        if taken > ZERO:
            force_close(self, account, holding, Origin.ADL, taken, self.mark_of(symbol), now)
        return taken

    def set_status(self, symbol: str, status: str, now: int) -> None:
        """Change what a symbol may do; any but TRADING ends its orders, positions stay until they are settled."""
        self.now_utc_ms = now
        market = self.markets[symbol]
        market.rules = msgspec.structs.replace(market.rules, status=status)
        if status == TRADING:
            return
        for account in self.accounts.values():
            expire_orders(self, account, symbol, Expiry.DELISTED)
        self.conditional.expire_all(symbol, now)

    def settle_positions(self, symbol: str, now: int) -> None:
        """Close every position of a symbol at the mark price, as the venue does with one it delisted."""
        self.now_utc_ms = now
        for account in self.accounts.values():
            for holding in account.held():
                if holding.symbol == symbol:
                    force_close(self, account, holding, Origin.SETTLEMENT, abs(holding.qty), self.mark_of(symbol), now)

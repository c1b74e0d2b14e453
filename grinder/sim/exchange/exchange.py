"""The exchange: a trading floor with a market tape, a clock and what they set off.

Every entry point takes the wall time in Unix milliseconds. Conditional orders, liquidation and funding act at the end
of the entry point that moved a price or the time, never inside a match.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from grinder.model.orders import Side
from grinder.sim.exchange.floor import ExchangeConfig, TradingFloor
from grinder.sim.exchange.orders import Expiry
from grinder.sim.exchange.rules import SymbolRules

PriceQty = tuple[Decimal, Decimal]


class Exchange(TradingFloor):
    """All state of the simulated venue."""

    def __init__(self, accounts: Iterable[str], rules: Iterable[SymbolRules], config: ExchangeConfig) -> None:
        """Open an account of ``start_wallet`` per key of ``accounts`` and a market per rules."""
        super().__init__(accounts, config)
        self.countdowns: dict[tuple[str, str], int] = {}
        for each in rules:
            self.list_symbol(each)

    # The market's tape ----------------------------------------------------------------------------

    def on_top(self, symbol: str, bid: PriceQty, ask: PriceQty, update_id: int, now: int) -> None:
        """Take a new best bid and ask of the tape."""
        self.now_utc_ms = now
        market = self.markets[symbol]
        market.tape.on_top(bid, ask, update_id)
        market.matcher.on_top()

    def on_trade(self, symbol: str, price: Decimal, qty: Decimal, aggressor: Side, now: int) -> None:
        """Take a trade of the tape."""
        self.now_utc_ms = now
        market = self.markets[symbol]
        market.last_price = price
        market.matcher.on_trade(price, qty, aggressor)

    def on_depth(self, symbol: str, bids: list[list[str]], asks: list[list[str]], update_id: int) -> None:
        """Take a depth difference of the tape."""
        market = self.markets[symbol]
        market.tape.on_depth(bids, asks, update_id)
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
        for order in [each for each in self.good_till.values() if now >= each.good_till_utc_ms]:
            self.expire(order, Expiry.GOOD_TILL_DATE)

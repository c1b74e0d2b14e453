"""Margin calls and liquidation: accounts whose equity no longer covers their maintenance margin.

Crossed positions share one equity and go largest first until the rest is covered; an isolated one stands alone.
Source: leverage and margin of USDⓈ-M futures, liquidation protocols, 2026-05-28.
"""

from __future__ import annotations

from decimal import Decimal

from grinder.model.units import ZERO
from grinder.sim.exchange import events
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.brackets import maintenance_margin
from grinder.sim.exchange.floor import TradingFloor
from grinder.sim.exchange.forced import clear_insurance, expire_orders, force_close
from grinder.sim.exchange.holdings import MONEY, Holding
from grinder.sim.exchange.orders import Expiry, Origin


class RiskDesk:
    """Looks at accounts after prices moved."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor
        self.called: set[str] = set()

    def review(self, now: int) -> None:
        """Warn or liquidate every account that has to be; one with a position that has no mark price yet is left."""
        for account in self._floor.accounts.values():
            held = account.held()
            if any(self._floor.mark_of(each.symbol) <= ZERO for each in held):
                continue
            if not held:
                self.called.discard(account.key)
                continue
            for holding in held:
                if holding.isolated:
                    self._review_isolated(account, holding, now)
            crossed = [each for each in held if each.qty and not each.isolated]
            if crossed:
                self._review_crossed(account, crossed, now)

    def maintenance(self, holding: Holding) -> Decimal:
        """Return the maintenance margin of a position at its mark."""
        market = self._floor.markets[holding.symbol]
        return maintenance_margin(market.rules, abs(holding.qty) * market.mark)

    def _review_isolated(self, account: Account, holding: Holding, now: int) -> None:
        mark = self._floor.mark_of(holding.symbol)
        equity = holding.isolated_wallet + holding.unrealized(mark)
        if equity <= self.maintenance(holding):
            expire_orders(self._floor, account, holding.symbol, Expiry.LIQUIDATED)
            self._liquidate(account, holding, equity, now)

    def _review_crossed(self, account: Account, crossed: list[Holding], now: int) -> None:
        equity = account.cross_equity(self._floor.mark_of)
        needed = sum((self.maintenance(each) for each in crossed), ZERO)
        if equity <= needed:
            self._liquidate_crossed(account, crossed, now)
        elif needed >= equity * self._floor.config.margin_call_ratio:
            if account.key not in self.called:
                self.called.add(account.key)
                self._floor.outbox.append(self._margin_call(account, crossed, now))
        else:
            self.called.discard(account.key)

    def _liquidate_crossed(self, account: Account, crossed: list[Holding], now: int) -> None:
        expire_orders(self._floor, account, "", Expiry.LIQUIDATED)
        for holding in sorted(crossed, key=self.maintenance, reverse=True):
            equity = account.cross_equity(self._floor.mark_of)
            if equity > sum((self.maintenance(each) for each in crossed), ZERO):
                return
            self._liquidate(account, holding, equity, now)
        if account.cross_wallet < ZERO:
            clear_insurance(self._floor, account, -account.cross_wallet, now)

    def _liquidate(self, account: Account, holding: Holding, equity: Decimal, now: int) -> None:
        """Close a position down to the price at which ``equity`` is gone; the fee takes from what is left."""
        market, qty = self._floor.markets[holding.symbol], abs(holding.qty)
        notional = qty * market.mark
        bankruptcy = market.mark - equity / holding.qty
        margin = holding.isolated_wallet if holding.isolated else account.cross_wallet
        wallet = account.wallet
        force_close(self._floor, account, holding, Origin.LIQUIDATION, qty, bankruptcy, now)
        left = margin + account.wallet - wallet
        fee = min(notional * market.rules.liquidation_fee, max(ZERO, left))
        clear_insurance(self._floor, account, -fee.quantize(MONEY), now)

    def _margin_call(self, account: Account, crossed: list[Holding], now: int) -> events.UserEvent:
        rows = [(each, self._floor.mark_of(each.symbol), self.maintenance(each)) for each in crossed]
        return events.margin_call(account, rows, now)

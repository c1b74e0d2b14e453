"""Funding: every eight hours each position pays or receives its notional times the rate.

Source: Event Balance and Position Update (FUNDING_FEE), 2026-05-28; ``S`` 2026-08-11.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from grinder.model.units import ZERO
from grinder.sim.exchange import events
from grinder.sim.exchange.floor import TradingFloor
from grinder.sim.exchange.holdings import MONEY
from grinder.sim.exchange.incomes import IncomeKind

INTERVAL_MS: Final = 8 * 3_600_000


def next_funding_utc_ms(now: int) -> int:
    """Return when funding is due next: every eight hours, UTC."""
    return now - now % INTERVAL_MS + INTERVAL_MS


def pay_funding(floor: TradingFloor, symbol: str, rate: Decimal, now: int) -> None:
    """Let every position of a symbol pay (long, rate above zero) or receive funding at the mark price.

    A crossed position is told of by its balance alone, an isolated one with its position.
    """
    mark = floor.mark_of(symbol)
    for account in floor.accounts.values():
        for holding in account.held():
            if holding.symbol != symbol:
                continue
            amount = -(holding.qty * mark * rate).quantize(MONEY)
            if amount == ZERO:
                continue
            account.pay_funding(holding, amount, now)
            floor.note_income(account, symbol, IncomeKind.FUNDING_FEE, amount)
            rows = [(holding, mark)] if holding.isolated else []
            floor.outbox.append(events.account_update(account, "FUNDING_FEE", now, rows, change=amount, symbol=symbol))

"""Money between a futures wallet and its owner's other wallets. The real venue has this at another host, so it has no
path of the futures interface here either, only one of the admin interface.

Source: Event Balance and Position Update (DEPOSIT, WITHDRAW), Get Income History (TRANSFER), 2026-05-28.
"""

from __future__ import annotations

from decimal import Decimal

from grinder.model.units import ZERO
from grinder.sim.exchange import events
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.floor import TradingFloor
from grinder.sim.exchange.holdings import MONEY
from grinder.sim.exchange.incomes import IncomeKind


def transfer(floor: TradingFloor, account: Account, amount: Decimal, now: int) -> None:
    """Put money into a wallet (above zero) or take it out, and say so on its user stream.

    Raises:
        ValueError: for no amount at all, or for more than the account may take out.
    """
    amount = amount.quantize(MONEY)
    at_most = max(ZERO, min(account.available(floor.mark_of), account.cross_wallet))
    if not amount or -amount > at_most:
        raise ValueError(f"cannot transfer {amount}: at most {at_most} may be taken out")
    account.transfer(amount, now)
    floor.note_income(account, "", IncomeKind.TRANSFER, amount)
    reason = "DEPOSIT" if amount > ZERO else "WITHDRAW"
    floor.outbox.append(events.account_update(account, reason, now, change=amount))

"""What money that was put in or taken out does to the measures of loss: profit and loss stay those of trading alone.

The peak and the session's start are scaled with the equity, so that a drawdown stays the fraction that it was; the
day's start is moved by the amount, so that the day's loss stays the sum that it was. Each amount is taken once, also
over restarts of the fsm and of the syncer that counts it. Must never let money that was put in make a loss smaller,
nor believe that money was taken out before the equity that it was taken from is confirmed.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from statistics import median
from typing import Final

from msgspec.structs import replace

from grinder.core.drawdown import EQUITY_MAX, EQUITY_MIN, Drawdown, DrawdownConfig
from grinder.core.engine_state import EngineState
from grinder.core.events import Effect, Noted
from grinder.core.losses import RiskMemory
from grinder.core.risk_faults import attempt
from grinder.model.account import AccountState
from grinder.model.risk_input import RiskInput
from grinder.model.units import ZERO

CAPITAL_MOVED: Final = "CAPITAL_MOVED"
"""Log event of money that was put in or taken out."""

_SMALLEST: Final = Decimal("1e-8")
"""What a scaled measure is rounded up to, quote currency."""


def take_transfers(state: EngineState, account: AccountState, effects: list[Effect]) -> None:
    """Take what the account's transfers say that was not taken yet; before its equity is looked at."""
    if not account.transfers.since_utc_ms:
        return
    amount = untaken(state.memory, account)
    if amount:
        seen, memory, config = state.drawdown, state.memory, state.config.drawdown
        state.drawdown, state.memory = attempt(
            state,
            effects,
            RiskInput.DRAWDOWN,
            lambda: moved(seen, memory, config, amount, account.balance.equity),
            lambda: (replace(seen, accepted=()), memory),
        )
        if RiskInput.DRAWDOWN in state.failed:
            # Not taken: the next look tries again, and until one succeeds the drawdown is unknown.
            return
        peak = state.drawdown.high_water_mark
        fields = (("amount", str(amount)), ("equity", str(account.balance.equity)), ("high_water_mark", str(peak)))
        effects.append(Noted(CAPITAL_MOVED, fields))
    state.memory = taken(state.memory, account)


def untaken(memory: RiskMemory, account: AccountState) -> Decimal:
    """Return what was put in (above zero) or taken out since the memory's last look, quote currency.

    Where the syncer began anew since then, what the wallet gained before it did counts as put in.
    """
    transfers = account.transfers
    if transfers.since_utc_ms == memory.transfers_since_utc_ms:
        return transfers.total - memory.transferred
    gained = ZERO if memory.wallet is None else transfers.start_wallet - memory.wallet
    return max(ZERO, gained) + transfers.total


def taken(memory: RiskMemory, account: AccountState) -> RiskMemory:
    """Return the memory with everything taken that the account shows."""
    transfers = account.transfers
    # Not the balance: what it shows and the syncer had not counted, its next start must find.
    since_utc_ms, total, wallet = transfers.since_utc_ms, transfers.total, transfers.explained
    if (since_utc_ms, total, wallet) == (memory.transfers_since_utc_ms, memory.transferred, memory.wallet):
        return memory
    return replace(memory, transfers_since_utc_ms=since_utc_ms, transferred=total, wallet=wallet)


def moved(
    drawdown: Drawdown, memory: RiskMemory, config: DrawdownConfig, amount: Decimal, equity: Decimal
) -> tuple[Drawdown, RiskMemory]:
    """Return both with every measure moved by money that was put in (above zero) or taken out.

    Args:
        drawdown: what is measured in fractions.
        memory: holds the day's start.
        config: how many samples confirm an equity.
        amount: quote currency.
        equity: of the account that shows the amount, quote currency; used where no equity is confirmed.
    """
    accepted = drawdown.accepted
    is_confirmed = len(accepted) == config.confirmations
    if amount < ZERO and not is_confirmed:
        # It counts as lost: nobody knows for certain what it was taken from.
        return drawdown, memory
    before = median(sample.equity for sample in accepted) if is_confirmed else equity - amount
    # Each at what is confirmed: one of them may have shown the money already, before its event came.
    shifted = tuple(replace(sample, equity=before + amount) for sample in accepted)
    scaled = replace(
        drawdown,
        session_start=_scaled(drawdown.session_start, before, amount),
        high_water_mark=_scaled(drawdown.high_water_mark, before, amount),
        # Where nothing is left, there is nothing to measure either.
        accepted=shifted if is_confirmed and before + amount >= EQUITY_MIN else (),
        suspects=(),
    )
    day_start = memory.day_start
    return scaled, memory if day_start is None else replace(memory, day_start=day_start + amount)


def _scaled(base: Decimal | None, before: Decimal, amount: Decimal) -> Decimal | None:
    """Return a base of drawdown as the same multiple of the equity after as it was of that before."""
    if base is None:
        return None
    after = before + amount
    if before >= EQUITY_MIN and after >= EQUITY_MIN:
        base = min(base * after / before, EQUITY_MAX).quantize(_SMALLEST, ROUND_CEILING)
    elif amount > ZERO:
        base = min(base + amount, EQUITY_MAX)
    return base

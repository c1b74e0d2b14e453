"""Drawdown of the account from samples of its equity: confirmed, fresh and plausible, or unknown.

One bad sample must neither trip an emergency nor hide one, so the published drawdown is the smallest of the last few
samples (all of them agree that it is at least this deep), and the peak that it is measured from is raised only by
their median. Losses are measured against the high-water mark, which is never below the session's start: the deeper of
the two drawdowns counts.

Must never read a clock, raise on a sample, or publish a value that is older than its window: unknown is None, and None
blocks new risk.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from statistics import median
from typing import Final

import msgspec

from grinder.core.venue_budget import STRETCHED_MS
from grinder.model.units import NS_PER_MS, ONE, ZERO, require_not_negative

EQUITY_MIN: Final = Decimal("1e-8")
EQUITY_MAX: Final = Decimal(10) ** 15
"""Equity outside of which a sample is absurd, quote currency."""


WINDOW_MS: Final = 45_000
"""Greatest age of a sample that counts, milliseconds: three at the slowest pace, and one of them that fails."""


class DrawdownConfig(msgspec.Struct, frozen=True):
    """``confirmations``: samples that must agree. ``window_ms``: their greatest age. ``jump_fraction``: a change of
    equity that needs a position to be believed at once, as a fraction. ``loss_budgets``: greatest loss per symbol,
    quote currency; a symbol that is not in it has no limit.

    Source: field requirements R20 (several fresh, consistent samples); reference sheet 3.3 (budgets).
    """

    confirmations: int = 3
    window_ms: int = WINDOW_MS
    jump_fraction: Decimal = Decimal("0.05")
    loss_budgets: dict[str, Decimal] = {}

    def __post_init__(self) -> None:
        """Refuse a configuration that could never confirm or never doubt."""
        if self.confirmations < 1 or self.window_ms <= 0:
            raise ValueError("confirmations and window_ms must be above 0")
        if not self.jump_fraction.is_finite() or not ZERO < self.jump_fraction < ONE:
            raise ValueError("jump_fraction must be between 0 and 1")
        require_not_negative(**self.loss_budgets)


class EquitySample(msgspec.Struct, frozen=True, gc=False):
    """One look at the account. ``equity``: wallet balance plus unrealized pnl, quote currency. ``has_position``: any
    position is open. ``asked_mono_ns``: when the answer was asked for, so its age is never understated.
    """

    equity: Decimal
    has_position: bool
    asked_mono_ns: int


class Drawdown(msgspec.Struct, frozen=True, gc=False):
    """What is known so far.

    ``session_start`` and ``high_water_mark``: quote currency, None before the first confirmation; both may be given
    by an earlier run of the session. ``accepted``: the last plausible samples, oldest first. ``suspects``: equities in
    a row that jumped without a position. ``rejected``: samples refused so far. Invariant: the session's start, where it
    is known, is not above the high-water mark.
    """

    session_start: Decimal | None = None
    high_water_mark: Decimal | None = None
    accepted: tuple[EquitySample, ...] = ()
    suspects: tuple[Decimal, ...] = ()
    rejected: int = 0


def resumed(high_water_mark: Decimal | None, session_start: Decimal | None = None) -> Drawdown:
    """Return the state at process start with what earlier runs of the session left; what is unusable is forgotten."""
    if high_water_mark is None or not _plausible(high_water_mark):
        return Drawdown()
    if session_start is None or not _plausible(session_start) or session_start > high_water_mark:
        session_start = None
    return Drawdown(session_start, high_water_mark)


def observe(drawdown: Drawdown, config: DrawdownConfig, sample: EquitySample, now_mono_ns: int) -> Drawdown:
    """Return the state after one sample.

    Args:
        drawdown: the state before it.
        config: how much proof is needed.
        sample: the sample; one of the same time as the last is a repeat and changes nothing. Refused and counted if
            its equity is not finite, not above zero or absurdly large, if it is older than the window or than the
            last one or from the future, or if it jumps while no position explains it (until as many such samples as
            ``confirmations`` agree with each other).
        now_mono_ns: now.
    """
    equity = sample.equity
    last = drawdown.accepted[-1] if drawdown.accepted else None
    age_ns = now_mono_ns - sample.asked_mono_ns
    if not _plausible(equity) or not 0 <= age_ns <= config.window_ms * NS_PER_MS:
        return msgspec.structs.replace(drawdown, rejected=drawdown.rejected + 1)
    if last is not None and sample.asked_mono_ns <= last.asked_mono_ns:
        repeated = sample.asked_mono_ns == last.asked_mono_ns
        return drawdown if repeated else msgspec.structs.replace(drawdown, rejected=drawdown.rejected + 1)
    if last is not None and not (sample.has_position or last.has_position) and _jumps(last.equity, equity, config):
        agreeing = drawdown.suspects and not _jumps(drawdown.suspects[-1], equity, config)
        suspects = (*drawdown.suspects, equity) if agreeing else (equity,)
        if len(suspects) < config.confirmations:
            return msgspec.structs.replace(drawdown, suspects=suspects, rejected=drawdown.rejected + 1)
    accepted = (*drawdown.accepted, sample)[-config.confirmations :]
    session_start, peak = drawdown.session_start, drawdown.high_water_mark
    if len(accepted) == config.confirmations:
        confirmed = median(one.equity for one in accepted)
        session_start = confirmed if session_start is None else session_start
        peak = confirmed if peak is None else max(peak, confirmed)
    return Drawdown(session_start, peak, accepted, (), drawdown.rejected)


def current(drawdown: Drawdown, config: DrawdownConfig, now_mono_ns: int) -> float | None:
    """Return the confirmed drawdown as a fraction of the high-water mark, 0 or more; None while it is unknown.

    Unknown: fewer accepted samples than ``confirmations``, or the oldest of them left the window.
    """
    return _below(drawdown.high_water_mark, drawdown, config, now_mono_ns)


def from_start(drawdown: Drawdown, config: DrawdownConfig, now_mono_ns: int) -> float | None:
    """Return the confirmed drawdown as a fraction of the equity at the session's start, 0 or more; None as above."""
    return _below(drawdown.session_start, drawdown, config, now_mono_ns)


def _below(base: Decimal | None, drawdown: Drawdown, config: DrawdownConfig, now_mono_ns: int) -> float | None:
    accepted = drawdown.accepted
    if base is None or len(accepted) < config.confirmations:
        return None
    if now_mono_ns - accepted[0].asked_mono_ns > config.window_ms * NS_PER_MS:
        return None
    best = max(sample.equity for sample in accepted)
    return float(max(ZERO, (base - best) / base))


NO_LOSSES: Final[frozenset[str]] = frozenset()


def breached_symbols(config: DrawdownConfig, losses: Mapping[str, Decimal]) -> frozenset[str]:
    """Return the symbols whose loss reached their budget; each blocks itself and no other.

    Args:
        config: the budgets.
        losses: loss per symbol since the session's start, quote currency, above zero is a loss; one that is not
            finite counts as reached.
    """
    if not config.loss_budgets:
        return NO_LOSSES
    return frozenset(
        symbol
        for symbol, loss in losses.items()
        if symbol in config.loss_budgets and not (loss.is_finite() and loss < config.loss_budgets[symbol])
    )


def _plausible(equity: Decimal) -> bool:
    return equity.is_finite() and EQUITY_MIN <= equity <= EQUITY_MAX


def _jumps(before: Decimal, after: Decimal, config: DrawdownConfig) -> bool:
    return abs(after - before) > config.jump_fraction * before


# Else the drawdown would be unknown whenever a snapshot is on its way: one fails, the three that count are four apart.
assert (DrawdownConfig().confirmations + 1) * STRETCHED_MS < WINDOW_MS

"""The state machine of the trading loop: inputs in, at most one transition out.

``step`` turns the inputs into signals, looks the row up in ``fsm_table`` and returns the next state as a value. It is
called on every tick and on a timer, so that silence is seen too. Must never read a clock, raise on an input, or leave
EMERGENCY because an input is unknown.

Unknown inputs fail closed: unknown toxicity or spread counts as HIGH, an unknown position as large (and so does one
that was asked for before the emergency began, for it may be about to change), and an unknown drawdown holds EMERGENCY;
outside it the guards refuse new risk with INPUT_NOT_LIVE, for a missing account sample is no reason to flatten.
"""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

from grinder.core.fsm_table import LOOKUP, Signal
from grinder.core.toxicity import ToxicityLevel, level_of
from grinder.model.control import PERMISSIONS, AccountResponse, FsmReason, FsmState, Override, RiskIntent
from grinder.model.units import NS_PER_MS


class FsmThresholds(msgspec.Struct, frozen=True):
    """Limits of the machine, from settings.

    Units: milliseconds, basis points, ``drawdown_limit`` a fraction of equity in (0, 1], notional in quote currency.
    ``emergency_auto_resume``: leave PAUSED after an emergency by time alone, as the reference does; what
    ``held`` demands waits for a person all the same.
    Source: reference sheet 1.3.
    """

    cooldown_ms: int = 30_000
    feed_stale_ms: int = 5_000
    spread_spike_bps: float = 50.0
    toxicity_high_bps: float = 500.0
    drawdown_limit: float = 0.20
    position_notional_threshold_usd: float = 10.0
    emergency_auto_resume: bool = False

    def __post_init__(self) -> None:
        """Refuse a limit that would switch its protection off (NaN, zero where it may not be, infinity)."""
        if not (self.cooldown_ms >= 0 and self.feed_stale_ms > 0):
            raise ValueError("cooldown_ms must be 0 or more and feed_stale_ms above 0")
        if not 0.0 < self.drawdown_limit <= 1.0:
            raise ValueError("drawdown_limit must be in (0, 1]")
        if not (0.0 < self.spread_spike_bps < inf and 0.0 < self.toxicity_high_bps < inf):
            raise ValueError("spread_spike_bps and toxicity_high_bps must be finite and above 0")
        if not 0.0 <= self.position_notional_threshold_usd < inf:
            raise ValueError("position_notional_threshold_usd must be finite, 0 or more")


class FsmInputs(msgspec.Struct, frozen=True, gc=False):
    """One immutable look at everything the machine depends on; None is *unknown*.

    ``kill_switch_active``: the latch; unreadable is True. ``drawdown``: fraction of equity. ``feed_stale``,
    ``feed_gap_ms``: from ``staleness.feed_status``. ``spread_bps``, ``toxicity_score_bps``: the worst of the symbols
    that are not stale. ``position_notional_usd``: over all symbols, from an account snapshot that was asked for at
    ``position_asked_mono_ns``, 0 if never. ``resume_acked``: the operator's acknowledgement of an emergency arrived
    with this look (an edge, not a level). ``account_response``: what the account's mismatches demand; EMERGENCY comes
    as the kill switch, too. ``held``: that demand has just risen to PAUSED or more, or too many orders in a row closed
    at a loss (an edge): a person must look. ``venue_restricts``: the venue lets us only reduce; it throttles as a
    medium toxicity does.
    """

    kill_switch_active: bool
    operator_override: Override
    drawdown: float | None
    feed_stale: bool
    feed_gap_ms: int | None
    spread_bps: float | None
    toxicity_score_bps: float | None
    position_notional_usd: float | None
    resume_acked: bool = False
    position_asked_mono_ns: int = 0
    account_response: AccountResponse = AccountResponse.NONE
    held: bool = False
    venue_restricts: bool = False


class Fsm(msgspec.Struct, frozen=True, gc=False):
    """Where the machine is.

    ``since_mono_ns``: when the state was entered. ``reason``: why, None in INIT. ``awaiting_resume``: an emergency, or
    something that ``FsmInputs.held`` names, happened and no operator has acknowledged it; it holds the loop out of
    ACTIVE in whatever state it is.
    """

    state: FsmState
    since_mono_ns: int
    reason: FsmReason | None = None
    awaiting_resume: bool = False


class Transition(msgspec.Struct, frozen=True):
    """One change of state. ``in_previous_ns``: how long the machine was in ``from_state``, 0 or more."""

    from_state: FsmState
    to_state: FsmState
    reason: FsmReason
    at_mono_ns: int
    in_previous_ns: int
    row: int


def initial(now_mono_ns: int, awaiting_resume: bool = False) -> Fsm:
    """Return the machine at process start.

    Args:
        now_mono_ns: now.
        awaiting_resume: what the previous run left behind, so that a restart is no acknowledgement.
    """
    return Fsm(FsmState.INIT, now_mono_ns, None, awaiting_resume)


def step(fsm: Fsm, inputs: FsmInputs, thresholds: FsmThresholds, now_mono_ns: int) -> tuple[Fsm, Transition | None]:
    """Evaluate the machine once.

    Args:
        fsm: where it is.
        inputs: the inputs now.
        thresholds: its limits.
        now_mono_ns: now; a time before ``since_mono_ns`` counts as no time passed.

    Returns:
        Where it is now, and the transition if there was one. Invariant: the outcome is the one row of
        ``fsm_table.ROWS`` that matches; the permission to increase risk exists in ACTIVE only.
    """
    if inputs.resume_acked and fsm.awaiting_resume and fsm.state is not FsmState.EMERGENCY:
        fsm = Fsm(fsm.state, fsm.since_mono_ns, fsm.reason, False)
    if inputs.held:
        fsm = Fsm(fsm.state, fsm.since_mono_ns, fsm.reason, True)
    row = LOOKUP[fsm.state][_signals(fsm, inputs, thresholds, now_mono_ns)]
    if row.target is None or row.reason is None:
        return fsm, None
    awaiting = fsm.awaiting_resume or (row.target is FsmState.EMERGENCY and not thresholds.emergency_auto_resume)
    in_previous_ns = max(0, now_mono_ns - fsm.since_mono_ns)
    transition = Transition(fsm.state, row.target, row.reason, now_mono_ns, in_previous_ns, row.number)
    return Fsm(row.target, now_mono_ns, row.reason, awaiting), transition


_NO_OVERRIDE: Final = Override.NONE
_NO_RESPONSE: Final = AccountResponse.NONE
# Plain integers: the enum's own operators cost more than the rest of a step.
_KILL_SWITCH: Final = int(Signal.KILL_SWITCH)
_OPERATOR_EMERGENCY: Final = int(Signal.OPERATOR_EMERGENCY)
_DRAWDOWN: Final = int(Signal.DRAWDOWN)
_DRAWDOWN_CLEAR: Final = int(Signal.DRAWDOWN_CLEAR)
_STALE: Final = int(Signal.STALE)
_HOLD: Final = int(Signal.HOLD)
_COOLED: Final = int(Signal.COOLED)
_FLAT: Final = int(Signal.FLAT)
_LEVELS: Final = {
    ToxicityLevel.LOW: 0,
    ToxicityLevel.MID: int(Signal.TOX_MID),
    ToxicityLevel.HIGH: int(Signal.TOX_HIGH),
}


def _signals(fsm: Fsm, inputs: FsmInputs, thresholds: FsmThresholds, now_mono_ns: int) -> int:
    """Return the signals that hold, as the integer of their bits."""
    level = level_of(
        inputs.spread_bps, inputs.toxicity_score_bps, thresholds.spread_spike_bps, thresholds.toxicity_high_bps
    )
    signals = _LEVELS[level]
    override = inputs.operator_override
    if inputs.kill_switch_active:
        signals |= _KILL_SWITCH
    if override is not _NO_OVERRIDE:
        signals |= _OPERATOR_EMERGENCY if override is Override.EMERGENCY else _HOLD
    if fsm.awaiting_resume:
        signals |= _HOLD
    drawdown = inputs.drawdown
    if drawdown is not None:
        if drawdown >= thresholds.drawdown_limit:
            signals |= _DRAWDOWN
        elif drawdown >= 0.0:
            signals |= _DRAWDOWN_CLEAR
    if inputs.feed_stale:
        signals |= _STALE
    if inputs.venue_restricts:
        signals |= _LEVELS[ToxicityLevel.MID]
    response = inputs.account_response
    if response is not _NO_RESPONSE:
        signals |= _STALE if response is AccountResponse.DEGRADED else _HOLD
    notional = inputs.position_notional_usd
    small = notional is not None and 0.0 <= notional < thresholds.position_notional_threshold_usd
    if small and inputs.position_asked_mono_ns > fsm.since_mono_ns:
        signals |= _FLAT
    if now_mono_ns - fsm.since_mono_ns >= thresholds.cooldown_ms * NS_PER_MS:
        signals |= _COOLED
    return signals


def permits(state: FsmState, intent: RiskIntent) -> bool:
    """Tell whether the permission matrix allows an intent in a state. Source: reference sheet 1.6."""
    return intent in PERMISSIONS[state]


def evidence_signals(inputs: FsmInputs) -> tuple[tuple[str, str], ...]:
    """Return the inputs as (name, text) pairs sorted by name, in the words of the evidence format.

    Source: reference sheet 8.1 (seven names; True, False, None and the shortest exact float).
    """
    override = inputs.operator_override
    return (
        ("drawdown_pct", str(inputs.drawdown)),
        ("feed_gap_ms", str(inputs.feed_gap_ms)),
        ("kill_switch_active", str(inputs.kill_switch_active)),
        ("operator_override", "None" if override is Override.NONE else override.name),
        ("position_notional_usd", str(inputs.position_notional_usd)),
        ("spread_bps", str(inputs.spread_bps)),
        ("toxicity_score_bps", str(inputs.toxicity_score_bps)),
    )

"""Invariants of the state machine.

Total: every state and every input, sane or not, has one outcome and raises nothing. Safe: an emergency input always
leads to EMERGENCY and holds it; ACTIVE is entered only when nothing forbids it. The table equals a plain chain of
conditions written from the reference's rows.
"""

from __future__ import annotations

from math import inf, nan

from hypothesis import given
from hypothesis import strategies as st

from grinder.core.fsm import Fsm, FsmInputs, FsmThresholds, initial, step
from grinder.core.staleness import feed_status
from grinder.model.control import FsmState, Override

MS = 1_000_000
THRESHOLDS = FsmThresholds()


def numbers(*edges: float) -> st.SearchStrategy[float | None]:
    return st.one_of(
        st.none(), st.sampled_from([nan, inf, -inf, -1.0, 0.0, *edges]), st.floats(min_value=0, max_value=1_000)
    )


INPUTS = st.builds(
    FsmInputs,
    kill_switch_active=st.booleans(),
    operator_override=st.sampled_from(Override),
    drawdown=numbers(0.19, 0.2, 0.5),
    feed_stale=st.booleans(),
    feed_gap_ms=st.one_of(st.none(), st.integers(0, 10_000)),
    spread_bps=numbers(49.0, 51.0),
    toxicity_score_bps=numbers(499.0, 501.0),
    position_notional_usd=numbers(9.0, 11.0),
    resume_acked=st.booleans(),
    position_asked_mono_ns=st.sampled_from([0, 10**12, 10**12 + 1]),
)
MACHINES = st.builds(
    Fsm,
    state=st.sampled_from(FsmState),
    since_mono_ns=st.just(10**12),
    reason=st.none(),
    awaiting_resume=st.booleans(),
)
AGES_MS = st.one_of(st.sampled_from([-1, 0, 29_999, 30_000]), st.integers(0, 100_000))


def plain(fsm: Fsm, seen: FsmInputs, age_ms: float) -> tuple[str, str | None]:
    """Return state and reason by the reference's rows as a chain of conditions, with the design's corrections."""
    drawdown = seen.drawdown
    high = (
        seen.toxicity_score_bps is None
        or seen.spread_bps is None
        or seen.toxicity_score_bps != seen.toxicity_score_bps
        or seen.spread_bps != seen.spread_bps
        or seen.toxicity_score_bps > 500
    )
    mid = not high and seen.spread_bps is not None and seen.spread_bps > 50
    cooled = age_ms >= 30_000
    awaiting = fsm.awaiting_resume and not (seen.resume_acked and fsm.state != "EMERGENCY")
    paused = seen.operator_override is Override.PAUSE or awaiting
    notional = seen.position_notional_usd
    breach = drawdown is not None and drawdown >= 0.2
    if fsm.state == "EMERGENCY":
        flat = notional is not None and 0 <= notional < 10 and seen.position_asked_mono_ns > fsm.since_mono_ns
        clear = drawdown is not None and 0 <= drawdown < 0.2
        leaves = flat and clear and not seen.kill_switch_active and seen.operator_override is not Override.EMERGENCY
        return ("PAUSED", "POSITION_REDUCED") if leaves else ("EMERGENCY", None)
    if seen.kill_switch_active:
        return "EMERGENCY", "KILL_SWITCH"
    if seen.operator_override is Override.EMERGENCY:
        return "EMERGENCY", "OPERATOR_EMERGENCY"
    if breach:
        return "EMERGENCY", "DD_BREACH"
    if fsm.state == "INIT":
        return ("INIT", None) if seen.feed_stale else ("READY", "HEALTH_OK")
    if fsm.state == "DEGRADED":
        return ("READY", "FEED_RECOVERED") if cooled and not seen.feed_stale else ("DEGRADED", None)
    if seen.feed_stale:
        return "DEGRADED", "FEED_STALE"
    if fsm.state == "PAUSED":
        if paused or not cooled or high:
            return "PAUSED", None
        return ("THROTTLED", "TOX_MID_COOLDOWN") if mid else ("ACTIVE", "TOX_LOW_COOLDOWN")
    if paused:
        return "PAUSED", "OPERATOR_PAUSE"
    if fsm.state == "READY":
        return ("READY", None) if high or mid else ("ACTIVE", "FEEDS_READY")
    if high:
        return "PAUSED", "TOX_HIGH"
    if fsm.state == "ACTIVE":
        return ("THROTTLED", "TOX_MID") if mid else ("ACTIVE", None)
    return ("ACTIVE", "TOX_LOW_COOLDOWN") if cooled and not mid else ("THROTTLED", None)


@given(MACHINES, INPUTS, AGES_MS)
def test_step_when_any_input_comes_then_it_agrees_with_the_plain_chain(fsm: Fsm, seen: FsmInputs, age_ms: int) -> None:
    after, transition = step(fsm, seen, THRESHOLDS, fsm.since_mono_ns + age_ms * MS)
    found = after.state.value, None if transition is None else transition.reason.value
    assert found == plain(fsm, seen, age_ms)


@given(st.lists(st.tuples(INPUTS, st.integers(0, 40_000)), max_size=40), st.booleans())
def test_run_when_an_emergency_is_demanded_then_no_step_ends_elsewhere(
    looks: list[tuple[FsmInputs, int]], awaiting: bool
) -> None:
    fsm, now = initial(10**12, awaiting), 10**12
    acked = True
    for seen, wait_ms in looks:
        now += wait_ms * MS
        before = fsm
        fsm, transition = step(fsm, seen, THRESHOLDS, now)
        demanded = seen.kill_switch_active or seen.operator_override is Override.EMERGENCY
        if demanded or (seen.drawdown is not None and seen.drawdown >= 0.2):
            assert fsm.state is FsmState.EMERGENCY
        if fsm.state is FsmState.EMERGENCY:
            acked = False
        elif before.state is not FsmState.EMERGENCY:
            acked = acked or seen.resume_acked
        if fsm.state is FsmState.ACTIVE and transition is not None:
            assert acked
            assert not seen.feed_stale


@given(
    st.dictionaries(st.sampled_from(["A", "B", "C", "D"]), st.integers(0, 20_000), min_size=2),
    st.data(),
)
def test_feed_when_some_symbol_is_fresh_then_quiet_ones_never_degrade_the_loop(
    ages_ms: dict[str, int], data: st.DataObject
) -> None:
    now = 10**12
    fresh = data.draw(st.sampled_from(sorted(ages_ms)))
    ages_ms[fresh] = data.draw(st.integers(0, 5_000))
    status = feed_status({symbol: now - age * MS for symbol, age in ages_ms.items()}, now, (), now, 5_000)
    assert not status.stale
    assert set(status.stale_symbols) == {symbol for symbol, age in ages_ms.items() if age > 5_000}

from __future__ import annotations

from math import inf, nan

import msgspec
import pytest

from grinder.core.fsm import Fsm, FsmInputs, FsmThresholds, Transition, evidence_signals, initial, permits, step
from grinder.core.fsm_table import ROWS, Row, Signal, diagram_block, markdown_table, mermaid
from grinder.model.control import PERMISSIONS, FsmReason, FsmState, Override, RiskIntent

S = 1_000_000_000
THRESHOLDS = FsmThresholds()
CALM = FsmInputs(
    kill_switch_active=False,
    operator_override=Override.NONE,
    drawdown=0.0,
    feed_stale=False,
    feed_gap_ms=3,
    spread_bps=1.0,
    toxicity_score_bps=2.0,
    position_notional_usd=500.0,
    position_asked_mono_ns=10**15,
)
INPUTS_OF: dict[Signal, dict[str, object]] = {
    Signal.KILL_SWITCH: {"kill_switch_active": True},
    Signal.OPERATOR_EMERGENCY: {"operator_override": Override.EMERGENCY},
    Signal.DRAWDOWN: {"drawdown": 0.20},
    Signal.STALE: {"feed_stale": True},
    Signal.HOLD: {"operator_override": Override.PAUSE},
    Signal.TOX_HIGH: {"toxicity_score_bps": 500.1},
    Signal.TOX_MID: {"spread_bps": 50.1},
    Signal.FLAT: {"position_notional_usd": 9.99},
}


def calm(**changes: object) -> FsmInputs:
    return msgspec.structs.replace(CALM, **changes)


def at(state: FsmState, age_s: float = 0.0, awaiting_resume: bool = False) -> tuple[Fsm, int]:
    return Fsm(state, 1_000 * S, None, awaiting_resume), int((1_000 + age_s) * S)


def outcome(state: FsmState, inputs: FsmInputs, age_s: float = 0.0, awaiting: bool = False) -> tuple[str, str | None]:
    fsm, now = at(state, age_s, awaiting)
    after, transition = step(fsm, inputs, THRESHOLDS, now)
    assert (transition is None) == (after.state is state)
    return after.state.value, None if transition is None else transition.reason.value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.origin}-{row.number}")
def test_step_when_a_row_alone_matches_then_its_target_and_reason(row: Row) -> None:
    changes: dict[str, object] = {}
    for signal, inputs in INPUTS_OF.items():
        if signal & row.needs:
            changes |= inputs
    age_s = 30.0 if row.needs & Signal.COOLED or row.number in (19, 20) else 29.0
    if row.number == 0:
        changes |= _nothing_matches(row.origin)
    expected = (row.target or row.origin).value, None if row.reason is None else row.reason.value
    assert outcome(row.origin, calm(**changes), age_s) == expected


def _nothing_matches(state: FsmState) -> dict[str, object]:
    """Return inputs with which no numbered row of a state applies."""
    if state is FsmState.INIT:
        return {"feed_stale": True}
    if state is FsmState.READY:
        return {"spread_bps": 60.0}
    return {}


@pytest.mark.parametrize("state", [state for state in FsmState if state is not FsmState.EMERGENCY])
def test_step_when_all_emergencies_hold_then_the_kill_switch_is_the_reason(state: FsmState) -> None:
    inputs = calm(kill_switch_active=True, operator_override=Override.EMERGENCY, drawdown=0.9, feed_stale=True)
    assert outcome(state, inputs) == ("EMERGENCY", "KILL_SWITCH")
    assert outcome(state, calm(operator_override=Override.EMERGENCY, drawdown=0.9)) == (
        "EMERGENCY",
        "OPERATOR_EMERGENCY",
    )


@pytest.mark.parametrize(
    "held_by",
    [
        {"kill_switch_active": True},
        {"operator_override": Override.EMERGENCY},
        {"drawdown": 0.2},
        {"drawdown": None},
        {"drawdown": nan},
        {"drawdown": -0.1},
        {"position_notional_usd": 10.0},
        {"position_notional_usd": None},
        {"position_notional_usd": nan},
        {"position_notional_usd": -1.0},
        {"position_asked_mono_ns": 0},
        {"position_asked_mono_ns": 1_000 * S},
    ],
    ids=str,
)
def test_emergency_when_anything_still_demands_it_or_is_unknown_then_it_holds(held_by: dict[str, object]) -> None:
    inputs = calm(**({"position_notional_usd": 0.0} | held_by))
    assert outcome(FsmState.EMERGENCY, inputs, 3_600) == ("EMERGENCY", None)
    assert outcome(FsmState.EMERGENCY, calm(position_notional_usd=0.0)) == ("PAUSED", "POSITION_REDUCED")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"drawdown": 0.1999}, ("ACTIVE", None)),
        ({"drawdown": 0.2}, ("EMERGENCY", "DD_BREACH")),
        ({"drawdown": inf}, ("EMERGENCY", "DD_BREACH")),
        ({"drawdown": None}, ("ACTIVE", None)),
        ({"spread_bps": 50.0}, ("ACTIVE", None)),
        ({"spread_bps": 50.01}, ("THROTTLED", "TOX_MID")),
        ({"spread_bps": None}, ("PAUSED", "TOX_HIGH")),
        ({"spread_bps": nan}, ("PAUSED", "TOX_HIGH")),
        ({"toxicity_score_bps": 500.0}, ("ACTIVE", None)),
        ({"toxicity_score_bps": 500.01}, ("PAUSED", "TOX_HIGH")),
        ({"toxicity_score_bps": None}, ("PAUSED", "TOX_HIGH")),
        ({"spread_bps": 60.0, "toxicity_score_bps": 600.0}, ("PAUSED", "TOX_HIGH")),
    ],
    ids=str,
)
def test_active_when_an_input_crosses_its_threshold_or_is_unknown_then_the_tables_row(
    changes: dict[str, object], expected: tuple[str, str | None]
) -> None:
    assert outcome(FsmState.ACTIVE, calm(**changes)) == expected


def test_paused_when_high_and_mid_both_hold_then_it_does_not_flip_to_throttled() -> None:
    inputs = calm(spread_bps=60.0, toxicity_score_bps=600.0)
    assert outcome(FsmState.PAUSED, inputs, 60) == ("PAUSED", None)
    assert outcome(FsmState.PAUSED, calm(spread_bps=60.0), 60) == ("THROTTLED", "TOX_MID_COOLDOWN")


@pytest.mark.parametrize(("age_s", "state"), [(29.999, "PAUSED"), (30.0, "ACTIVE")])
def test_paused_when_the_cooldown_is_over_then_active(age_s: float, state: str) -> None:
    assert outcome(FsmState.PAUSED, CALM, age_s)[0] == state


def test_step_when_time_goes_back_then_no_time_has_passed() -> None:
    fsm, now = at(FsmState.ACTIVE, age_s=-5)
    _, transition = step(fsm, calm(feed_stale=True), THRESHOLDS, now)
    assert transition == Transition(FsmState.ACTIVE, FsmState.DEGRADED, FsmReason.FEED_STALE, now, 0, 8)


def test_step_when_it_moves_then_the_transition_says_what_and_for_how_long() -> None:
    fsm, now = at(FsmState.THROTTLED, age_s=31)
    after, transition = step(fsm, CALM, THRESHOLDS, now)
    assert after == Fsm(FsmState.ACTIVE, now, FsmReason.TOX_LOW_COOLDOWN)
    assert transition == Transition(FsmState.THROTTLED, FsmState.ACTIVE, FsmReason.TOX_LOW_COOLDOWN, now, 31 * S, 15)


def test_step_when_nothing_changes_then_the_same_value() -> None:
    fsm, now = at(FsmState.ACTIVE, 5)
    assert step(fsm, CALM, THRESHOLDS, now) == (fsm, None)


@pytest.mark.parametrize("state", [FsmState.READY, FsmState.ACTIVE, FsmState.THROTTLED])
def test_step_when_an_emergency_awaits_its_acknowledgement_then_held_out_of_active(state: FsmState) -> None:
    assert outcome(state, CALM, 60, awaiting=True) == ("PAUSED", "OPERATOR_PAUSE")


def test_paused_when_acknowledged_then_resumes_and_stays_acknowledged() -> None:
    fsm, now = at(FsmState.PAUSED, 60, awaiting_resume=True)
    assert step(fsm, CALM, THRESHOLDS, now) == (fsm, None)
    after, transition = step(fsm, calm(resume_acked=True), THRESHOLDS, now)
    assert transition is not None
    assert (after.state, after.awaiting_resume) == (FsmState.ACTIVE, False)


def test_paused_when_acknowledged_before_the_cooldown_then_remembered() -> None:
    fsm, now = at(FsmState.PAUSED, 1, awaiting_resume=True)
    after, transition = step(fsm, calm(resume_acked=True), THRESHOLDS, now)
    assert transition is None
    assert after == Fsm(FsmState.PAUSED, fsm.since_mono_ns, None, False)


def test_emergency_when_acknowledged_too_early_then_the_acknowledgement_does_not_count() -> None:
    fsm, now = at(FsmState.EMERGENCY, 60, awaiting_resume=True)
    after, _ = step(fsm, calm(resume_acked=True, position_notional_usd=0.0), THRESHOLDS, now)
    assert (after.state, after.awaiting_resume) == (FsmState.PAUSED, True)


def test_emergency_when_entered_then_awaits_unless_auto_resume() -> None:
    fsm, now = at(FsmState.ACTIVE)
    asks, _ = step(fsm, calm(kill_switch_active=True), THRESHOLDS, now)
    timed, _ = step(fsm, calm(kill_switch_active=True), FsmThresholds(emergency_auto_resume=True), now)
    assert (asks.awaiting_resume, timed.awaiting_resume) == (True, False)


def test_initial_when_the_last_run_left_an_emergency_then_a_restart_is_no_acknowledgement() -> None:
    fsm, _ = step(initial(0, awaiting_resume=True), CALM, THRESHOLDS, 1)
    assert (fsm.state, fsm.awaiting_resume) == (FsmState.READY, True)
    assert step(fsm, CALM, THRESHOLDS, 2)[0].state is FsmState.PAUSED


@pytest.mark.parametrize("state", FsmState)
@pytest.mark.parametrize("intent", RiskIntent)
def test_permits_when_asked_then_the_matrix(state: FsmState, intent: RiskIntent) -> None:
    assert permits(state, intent) == (intent in PERMISSIONS[state])
    assert permits(state, RiskIntent.INCREASE_RISK) == (state is FsmState.ACTIVE)


def test_evidence_signals_when_values_are_known_or_not_then_texts_of_the_contract() -> None:
    assert evidence_signals(calm(position_notional_usd=None, feed_gap_ms=None)) == (
        ("drawdown_pct", "0.0"),
        ("feed_gap_ms", "None"),
        ("kill_switch_active", "False"),
        ("operator_override", "None"),
        ("position_notional_usd", "None"),
        ("spread_bps", "1.0"),
        ("toxicity_score_bps", "2.0"),
    )
    assert ("operator_override", "PAUSE") in evidence_signals(calm(operator_override=Override.PAUSE))


@pytest.mark.parametrize(
    "values",
    [
        {"cooldown_ms": -1},
        {"feed_stale_ms": 0},
        {"drawdown_limit": 0.0},
        {"drawdown_limit": 1.1},
        {"drawdown_limit": nan},
        {"spread_spike_bps": inf},
        {"toxicity_high_bps": nan},
        {"position_notional_threshold_usd": inf},
        {"position_notional_threshold_usd": -1.0},
    ],
    ids=str,
)
def test_thresholds_when_they_would_switch_a_protection_off_then_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        FsmThresholds(**values)  # type: ignore[arg-type]


def test_diagram_when_generated_then_every_transition_of_the_table_is_in_it() -> None:
    block = diagram_block()
    assert mermaid() in block
    assert markdown_table() in block
    for row in ROWS:
        if row.target is not None:
            line = next(line for line in block.splitlines() if line.startswith(f"    {row.origin} --> {row.target}:"))
            assert row.reason is not None
            assert row.reason.value in line
    assert sum("-->" in line for line in mermaid().splitlines()) == 1 + len(
        {(row.origin, row.target) for row in ROWS if row.target}
    )


@pytest.mark.parametrize(
    "values",
    [{"cooldown_ms": 0}, {"drawdown_limit": 1.0}, {"position_notional_threshold_usd": 0.0}],
    ids=str,
)
def test_thresholds_when_exactly_at_their_bound_then_accepted(values: dict[str, float]) -> None:
    assert FsmThresholds(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["spread_spike_bps", "toxicity_high_bps"])
@pytest.mark.parametrize("value", [0.0, inf])
def test_thresholds_when_zero_or_without_end_then_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="finite and above 0"):
        FsmThresholds(**{name: value})  # type: ignore[arg-type]


def test_step_when_the_venue_lets_us_only_reduce_then_throttled_until_it_ends_and_a_cooldown_is_over() -> None:
    restricted = calm(venue_restricts=True)
    assert outcome(FsmState.ACTIVE, restricted) == ("THROTTLED", "TOX_MID")
    assert outcome(FsmState.READY, restricted) == ("READY", None)
    assert outcome(FsmState.THROTTLED, restricted, 3_600) == ("THROTTLED", None)
    assert outcome(FsmState.THROTTLED, calm(), 30.0) == ("ACTIVE", "TOX_LOW_COOLDOWN")
    assert outcome(FsmState.ACTIVE, calm(venue_restricts=True, toxicity_score_bps=500.1)) == ("PAUSED", "TOX_HIGH")
    assert not permits(FsmState.THROTTLED, RiskIntent.INCREASE_RISK)


def test_step_when_held_then_an_operator_is_awaited_also_where_emergencies_resume_by_time() -> None:
    """The setting speaks of emergencies: it must not switch off a streak of losses, or an account that differs much."""
    now = 10**12
    machine = Fsm(FsmState.ACTIVE, now)
    held, _ = step(machine, calm(held=True), FsmThresholds(emergency_auto_resume=True), now)
    assert held.awaiting_resume

"""The rollback criteria: each holds for its own reason, and what is missing is never clear."""

from __future__ import annotations

import msgspec
import pytest

from grinder.core.rollback import CRITERIA, RoleChanges, RollbackInputs, Verdict, criteria
from grinder.model.control import FsmState, HaRole

WELL = RollbackInputs(
    tripped=False,
    drawdown=0.0,
    drawdown_limit=0.20,
    state=FsmState.ACTIVE,
    state_s=5_000.0,
    exit_errors=0.0,
    account_age_s=2.0,
    role_changes=0,
    fill_prob_trips=0.0,
)

HOLDS: dict[str, dict[str, object]] = {
    "R1": {"tripped": True},
    "R2": {"drawdown": 0.15},
    "R3": {"state": FsmState.EMERGENCY, "state_s": 600.1},
    "R4": {"exit_errors": 1.0},
    "R5": {"account_age_s": 120.1},
    "R6": {"role_changes": 4},
    "R7": {"fill_prob_trips": 1.0},
}
NEARLY: dict[str, dict[str, object]] = {
    "R2": {"drawdown": 0.1499},
    "R3": {"state": FsmState.EMERGENCY, "state_s": 600.0},
    "R5": {"account_age_s": 120.0},
    "R6": {"role_changes": 3},
}
UNKNOWN: dict[str, dict[str, object]] = {
    "R1": {"tripped": None},
    "R2": {"drawdown": None},
    "R3": {"state": None},
    "R4": {"exit_errors": None},
    "R5": {"account_age_s": None},
    "R6": {"role_changes": None},
    "R7": {"fill_prob_trips": None},
}


def verdicts(changed: dict[str, object]) -> dict[str, Verdict]:
    found = criteria(msgspec.structs.replace(WELL, **changed))
    return {each.name: each.verdict for each in found if each.verdict is not Verdict.CLEAR and each.name != "R8"}


@pytest.mark.parametrize("name", HOLDS)
def test_criterion_when_its_condition_is_met_then_it_alone_holds(name: str) -> None:
    assert verdicts(HOLDS[name]) == {name: Verdict.HOLDS}


@pytest.mark.parametrize("name", NEARLY)
def test_criterion_when_at_the_edge_then_clear(name: str) -> None:
    assert verdicts(NEARLY[name]) == {}


@pytest.mark.parametrize("name", UNKNOWN)
def test_criterion_when_its_input_is_missing_then_unknown(name: str) -> None:
    assert verdicts(UNKNOWN[name]) == {name: Verdict.UNKNOWN}


def test_criterion_when_in_emergency_for_nobody_knows_how_long_then_unknown() -> None:
    assert verdicts({"state": FsmState.EMERGENCY, "state_s": None}) == {"R3": Verdict.UNKNOWN}


def test_criteria_when_listed_then_the_eight_of_the_runbook() -> None:
    assert tuple(f"R{number}" for number in range(1, 9)) == CRITERIA
    assert criteria(WELL)[-1].verdict is Verdict.OPERATOR


def test_role_changes_when_too_many_were_seen_then_known_at_once_and_otherwise_after_the_window() -> None:
    changes = RoleChanges()
    assert changes.recent(1_000.0) is None
    for number in range(4):
        changes.see((HaRole.ACTIVE, HaRole.STANDBY)[number % 2], float(number))
    assert changes.recent(10.0) is None
    changes.see(HaRole.ACTIVE, 11.0)
    assert changes.recent(11.0) == 4
    assert changes.recent(302.0) == 3

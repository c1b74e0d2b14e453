"""The rollback criteria R1 to R8 of Runbook 33, section 4: which of them hold now.

Pure. Three answers and not two: a criterion whose input is missing is *unknown*, and never *clear*. Missing it is, too,
where who would know has not told yet, and where nobody watched for as long as the criterion looks back.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.control import FsmState, HaRole

DRAWDOWN_FRACTION_OF_LIMIT: Final = 0.75
EMERGENCY_S_MAX: Final = 600.0
ACCOUNT_AGE_S_MAX: Final = 120.0
ROLE_CHANGES_MAX: Final = 3
ROLE_WINDOW_S: Final = 300.0
"""Thresholds. Source: Runbook 33, section 4."""

_ROLE_CHANGES_KEPT: Final = 64


class Verdict(StrEnum):
    """What is known of one criterion."""

    HOLDS = "holds"
    CLEAR = "clear"
    UNKNOWN = "unknown"
    OPERATOR = "the operator's to judge"


class RollbackInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the criteria look at; None is not known.

    ``state_s``: seconds in ``state``. ``account_age_s``: since the last clean snapshot; None where no account sync is
    wanted, nobody counts, or none came yet and it is too early to call that a stall. ``role_changes``: within
    ROLE_WINDOW_S; None while too few were seen in too short a watch. ``exit_errors``, ``fill_prob_trips``: counters.
    """

    tripped: bool | None = None
    drawdown: float | None = None
    drawdown_limit: float
    state: FsmState | None = None
    state_s: float | None = None
    exit_errors: float | None = None
    account_age_s: float | None = None
    role_changes: int | None = None
    fill_prob_trips: float | None = None


class Criterion(msgspec.Struct, frozen=True):
    """One criterion as it stands: its number in the runbook, the condition, the verdict, and the figure behind it."""

    name: str
    condition: str
    verdict: Verdict
    figure: str


def _known(holds: bool | None) -> Verdict:
    if holds is None:
        return Verdict.UNKNOWN
    return Verdict.HOLDS if holds else Verdict.CLEAR


def _above(value: float | None, limit: float) -> Verdict:
    return _known(None if value is None else value > limit)


def _r2(inputs: RollbackInputs) -> Verdict:
    if inputs.drawdown is None:
        return Verdict.UNKNOWN
    # Rounded: 0.15 is three quarters of 0.20, though not in binary.
    return _known(round(inputs.drawdown / inputs.drawdown_limit, 9) >= DRAWDOWN_FRACTION_OF_LIMIT)


def _r3(inputs: RollbackInputs) -> Verdict:
    if inputs.state is not FsmState.EMERGENCY:
        return _known(None if inputs.state is None else False)
    return _above(inputs.state_s, EMERGENCY_S_MAX)


_Rule = tuple[str, str, Callable[[RollbackInputs], Verdict], Callable[[RollbackInputs], object]]

_RULES: Final[tuple[_Rule, ...]] = (
    ("R1", "kill switch tripped", lambda seen: _known(seen.tripped), lambda seen: seen.tripped),
    ("R2", "drawdown at three quarters of its limit or beyond", _r2, lambda seen: seen.drawdown),
    ("R3", "in EMERGENCY for more than 10 min", _r3, lambda seen: seen.state_s),
    (
        "R4",
        "emergency exit ended in an error",
        lambda seen: _above(seen.exit_errors, 0),
        lambda seen: seen.exit_errors,
    ),
    (
        "R5",
        "no account sync for more than 120 s",
        lambda seen: _above(seen.account_age_s, ACCOUNT_AGE_S_MAX),
        lambda seen: seen.account_age_s,
    ),
    (
        "R6",
        "more than 3 changes of the HA role in 5 min",
        lambda seen: _above(seen.role_changes, ROLE_CHANGES_MAX),
        lambda seen: seen.role_changes,
    ),
    (
        "R7",
        "fill-probability circuit breaker tripped",
        lambda seen: _above(seen.fill_prob_trips, 0),
        lambda seen: seen.fill_prob_trips,
    ),
    ("R8", "anything unexpected", lambda _: Verdict.OPERATOR, lambda _: ""),
)

CRITERIA: Final = tuple(rule[0] for rule in _RULES)


def criteria(inputs: RollbackInputs) -> tuple[Criterion, ...]:
    """Return all eight criteria, in order."""
    return tuple(
        Criterion(name, condition, verdict(inputs), _figure(figure(inputs)))
        for name, condition, verdict, figure in _RULES
    )


def _figure(value: object) -> str:
    """Return a figure for people; a condition that is true or not needs none."""
    if value is None or isinstance(value, bool):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class RoleChanges:
    """Counts how often the role of this host changed."""

    def __init__(self) -> None:
        self._role: HaRole | None = None
        self._since_s: float | None = None
        self._at_s: list[float] = []
        self.total = 0
        """Changes since the start."""

    def see(self, role: HaRole, now_s: float) -> None:
        """Take the role as it is now; ``now_s`` on any clock that does not step."""
        if self._role not in (None, role):
            self.total += 1
            self._at_s = [*self._at_s, now_s][-_ROLE_CHANGES_KEPT:]
        self._role = role
        self._since_s = now_s if self._since_s is None else self._since_s

    def recent(self, now_s: float) -> int | None:
        """Return the changes within the last ROLE_WINDOW_S seconds.

        None while that long was not watched yet, unless what was seen is too much already.
        """
        count = sum(now_s - at_s <= ROLE_WINDOW_S for at_s in self._at_s)
        watched = self._since_s is not None and now_s - self._since_s >= ROLE_WINDOW_S
        return count if watched or count > ROLE_CHANGES_MAX else None

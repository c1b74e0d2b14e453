"""The last look: each reason for no, whom it binds, and how long a command may live."""

from __future__ import annotations

import msgspec
import pytest

from grinder.core.interlocks import SLEPT_NS_MAX
from grinder.core.permit import WINDOW_MS_MAX, WINDOW_MS_MIN, Deed, Standing, role_now, window_ms
from grinder.model.control import HaRole, Override
from grinder.model.reasons import DenyReason
from grinder.model.units import NS_PER_MS, NS_PER_S

NOW = 1_000 * NS_PER_S
TERM = 17
R = DenyReason
RISK, PROTECTIVE = Deed.RISK, Deed.PROTECTIVE
LEADS = Standing(
    now_mono_ns=NOW,
    now_boot_ns=NOW,
    tripped=False,
    override=Override.NONE,
    role=2,
    term=TERM,
    risk_deadline_boot_ns=NOW + 1_500 * NS_PER_MS,
    lead_deadline_boot_ns=NOW + 3_500 * NS_PER_MS,
    clock_checked_mono_ns=NOW - NS_PER_S,
    clock_error_us=20_000,
    slept_ns=0,
)


def look(deed: Deed, changes: dict[str, object], longest_ms: int = 5_000) -> int | DenyReason:
    return window_ms(deed, TERM, msgspec.structs.replace(LEADS, **changes), longest_ms)


CASES: tuple[tuple[dict[str, object], DenyReason | None, DenyReason | None], ...] = (
    ({"tripped": True}, R.KILL_SWITCH_ACTIVE, None),
    ({"override": Override.PAUSE}, R.OPERATOR_OVERRIDE, None),
    ({"role": 0}, R.NOT_LEADER, R.LEASE_EXPIRED),
    ({"role": 1}, R.NOT_LEADER, R.LEASE_EXPIRED),
    ({"role": 3}, R.NOT_LEADER, R.LEASE_EXPIRED),
    ({"term": 0}, R.NOT_LEADER, R.LEASE_EXPIRED),
    ({"term": TERM + 1}, R.STALE_TERM, R.STALE_TERM),
    ({"term": TERM - 1}, R.STALE_TERM, R.STALE_TERM),
    ({"clock_checked_mono_ns": 0}, R.CLOCK_UNKNOWN, None),
    ({"clock_checked_mono_ns": NOW - 61 * NS_PER_S}, R.CLOCK_UNKNOWN, None),
    ({"clock_error_us": 250_001}, R.CLOCK_UNKNOWN, None),
    ({"slept_ns": SLEPT_NS_MAX + 1}, R.CLOCK_UNKNOWN, None),
    ({"risk_deadline_boot_ns": NOW + 119 * NS_PER_MS}, R.PERMIT_EXPIRED, None),
    ({"risk_deadline_boot_ns": 0}, R.PERMIT_EXPIRED, None),
    ({"lead_deadline_boot_ns": NOW + 119 * NS_PER_MS}, R.PERMIT_EXPIRED, R.LEASE_EXPIRED),
    ({"lead_deadline_boot_ns": 0}, R.PERMIT_EXPIRED, R.LEASE_EXPIRED),
)


@pytest.mark.parametrize(("changes", "risk", "protective"), CASES)
def test_look_when_something_speaks_against_it_then_its_reason(
    changes: dict[str, object], risk: DenyReason | None, protective: DenyReason | None
) -> None:
    assert look(RISK, changes) is risk
    found = look(PROTECTIVE, changes)
    assert found is protective if protective is not None else isinstance(found, int)


@pytest.mark.parametrize(
    ("deed", "left_ms", "error_us", "window"),
    [
        (RISK, 120, 20_000, 100),
        (RISK, 700, 20_000, 680),
        (RISK, 5_000, 20_000, WINDOW_MS_MAX),
        (PROTECTIVE, 700, 20_000, 680),
        # A clock that is not known costs a cancel a quarter of a second, and never the cancel.
        (PROTECTIVE, 700, 9_000_000, 450),
    ],
)
def test_look_when_the_permit_runs_out_then_the_window_ends_with_it_less_the_clock_error(
    deed: Deed, left_ms: int, error_us: int, window: int
) -> None:
    deadline_boot_ns = NOW + left_ms * NS_PER_MS
    name = "risk_deadline_boot_ns" if deed is RISK else "lead_deadline_boot_ns"
    changes: dict[str, object] = {name: deadline_boot_ns, "clock_error_us": error_us}
    if deed is RISK:
        changes["lead_deadline_boot_ns"] = deadline_boot_ns
    assert look(deed, changes) == window


def test_look_when_the_operator_wants_less_then_that_is_the_window() -> None:
    assert look(RISK, {}, 300) == 300
    assert look(RISK, {}, WINDOW_MS_MIN // 2) == WINDOW_MS_MIN // 2


@pytest.mark.parametrize(
    ("role", "left_ns", "expected"),
    [
        (0, 1, HaRole.UNKNOWN),
        (1, 0, HaRole.STANDBY),
        (2, 1, HaRole.ACTIVE),
        (2, 0, HaRole.UNKNOWN),
        (2, -NS_PER_S, HaRole.UNKNOWN),
        (9, 1, HaRole.UNKNOWN),
    ],
)
def test_role_when_the_lead_deadline_has_passed_then_nobody_knows(role: int, left_ns: int, expected: HaRole) -> None:
    assert role_now(role, NOW + left_ns, NOW, ha_enabled=True) is expected
    assert role_now(role, NOW + left_ns, NOW, ha_enabled=False) is HaRole.ACTIVE

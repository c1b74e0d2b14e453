"""The response to mismatches: every rule by its way, by duration and size, never less to more."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.core.reconcile import FORBIDS_RISK, Finding
from grinder.core.response import WAYS, Grades, Lasting, Way, respond
from grinder.model.control import AccountResponse
from grinder.model.reasons import MismatchRule

D = Decimal
GRADES = Grades(degraded_ms=10, paused_ms=100, emergency_ms=1_000, paused_usd=D(50), emergency_usd=D(500))
R = AccountResponse
GRADED = MismatchRule.POSITION_DIFFERS_FROM_FILLS


def lasting(rule: MismatchRule, age_ms: int, usd: str | None = "0", key: str = "a") -> Lasting:
    return Lasting(Finding(rule, "BTCUSDT", key, "", None if usd is None else D(usd)), age_ms)


@pytest.mark.parametrize(
    ("age_ms", "usd", "expected"),
    [
        (9, "499", R.NONE),
        (9, "9999", R.NONE),
        (10, "0", R.DEGRADED),
        (10, None, R.DEGRADED),
        (10, "50", R.PAUSED),
        (99, "49", R.DEGRADED),
        (100, "0", R.PAUSED),
        (100, None, R.PAUSED),
        (10, "500", R.EMERGENCY),
        (999, "499", R.PAUSED),
        (1_000, None, R.EMERGENCY),
    ],
)
def test_graded_when_it_lasts_and_has_a_size_then_by_both(age_ms: int, usd: str | None, expected: R) -> None:
    assert respond([lasting(GRADED, age_ms, usd)], GRADES) == (expected, GRADED if expected else None)


def test_graded_when_several_small_ones_add_up_then_by_their_sum() -> None:
    several = [lasting(GRADED, 10, "30", "a"), lasting(MismatchRule.ORPHAN_ORDER, 10, "30", "b")]
    assert respond(several, GRADES)[0] is R.PAUSED
    assert respond([several[0], lasting(MismatchRule.ORPHAN_ORDER, 9, "30", "b")], GRADES)[0] is R.DEGRADED


@pytest.mark.parametrize("rule", MismatchRule)
def test_rule_when_it_is_old_and_large_then_answered_in_its_way(rule: MismatchRule) -> None:
    expected = {
        Way.REPORTED: R.NONE,
        Way.GRADED: R.EMERGENCY,
        Way.SELF_STOP: R.PAUSED,
        Way.AT_ONCE: R.EMERGENCY,
    }
    assert respond([lasting(rule, 10**6, "10000")], GRADES)[0] is expected[WAYS[rule]]


@pytest.mark.parametrize("rule", [rule for rule, way in WAYS.items() if way in (Way.SELF_STOP, Way.AT_ONCE)])
def test_rule_when_it_does_not_wait_then_answered_at_once(rule: MismatchRule) -> None:
    assert respond([lasting(rule, 0)], GRADES)[0] >= R.PAUSED


def test_rules_when_answered_with_more_than_a_report_then_each_forbids_new_risk_first() -> None:
    assert {rule for rule, way in WAYS.items() if way is not Way.REPORTED} == FORBIDS_RISK


def test_duration_when_zero_then_it_never_escalates_by_itself() -> None:
    never = Grades(degraded_ms=10, paused_ms=0, emergency_ms=0)
    assert respond([lasting(GRADED, 10**9)], never)[0] is R.DEGRADED


ITEMS = st.builds(
    lasting, st.sampled_from(MismatchRule), st.integers(0, 2_000), st.none() | st.sampled_from(["0", "49", "50", "600"])
)


@given(st.lists(ITEMS, max_size=5), ITEMS, st.integers(0, 2_000))
def test_response_when_something_is_added_or_grows_older_then_never_less(
    items: list[Lasting], more: Lasting, older_ms: int
) -> None:
    response, _ = respond(items, GRADES)
    assert respond([*items, more], GRADES)[0] >= response
    aged = [Lasting(item.finding, item.age_ms + older_ms) for item in items]
    assert respond(aged, GRADES)[0] >= response

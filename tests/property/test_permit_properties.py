"""Invariant: what the last look lets through is not taken after its deadline, and the window only ever shrinks."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from grinder.core.interlocks import CLUSTER_CLOCK_ERROR_US_MAX, SLEPT_NS_MAX
from grinder.core.permit import WINDOW_MS_MAX, Deed, Standing, window_ms
from grinder.model.control import Override
from grinder.model.reasons import DenyReason
from grinder.model.units import NS_PER_MS, NS_PER_S

NOW = 10_000 * NS_PER_S
NS = st.integers(NOW - 5 * NS_PER_S, NOW + 5 * NS_PER_S)
STANDINGS = st.builds(
    Standing,
    now_mono_ns=st.just(NOW),
    now_boot_ns=NS,
    tripped=st.booleans(),
    override=st.sampled_from(Override),
    role=st.integers(0, 3),
    term=st.integers(0, 2),
    risk_deadline_boot_ns=NS,
    lead_deadline_boot_ns=NS,
    clock_checked_mono_ns=st.sampled_from((0, NOW - 61 * NS_PER_S, NOW)),
    clock_error_us=st.integers(0, 2 * CLUSTER_CLOCK_ERROR_US_MAX),
    slept_ns=st.sampled_from((0, SLEPT_NS_MAX, SLEPT_NS_MAX + 1, 20 * NS_PER_S)),
)
MAY_LEAD = STANDINGS.map(
    lambda seen: msgspec.structs.replace(seen, role=2, term=1, tripped=False, override=Override.NONE)
)
DEEDS = st.sampled_from(Deed)
LONGEST = st.integers(1, 5_000)


def deadline_ns(deed: Deed, seen: Standing) -> int:
    if deed is Deed.PROTECTIVE:
        return seen.lead_deadline_boot_ns
    return min(seen.risk_deadline_boot_ns, seen.lead_deadline_boot_ns)


@given(DEEDS, st.integers(0, 2), STANDINGS, LONGEST)
def test_window_when_there_is_one_then_it_ends_before_the_deadline_by_the_venues_clock(
    deed: Deed, term: int, seen: Standing, longest_ms: int
) -> None:
    window = window_ms(deed, term, seen, longest_ms)
    if isinstance(window, DenyReason):
        return
    assert 0 < window <= min(WINDOW_MS_MAX, longest_ms)
    error_ns = min(seen.clock_error_us, CLUSTER_CLOCK_ERROR_US_MAX) * 1_000
    assert seen.now_boot_ns + window * NS_PER_MS + error_ns <= deadline_ns(deed, seen)
    assert (seen.role, seen.term) == (2, term)
    assert term > 0
    assert deed is Deed.PROTECTIVE or not (seen.tripped or seen.override or seen.clock_checked_mono_ns != NOW)
    assert deed is Deed.PROTECTIVE or seen.slept_ns <= SLEPT_NS_MAX


@given(DEEDS, MAY_LEAD, LONGEST, st.integers(0, 5 * NS_PER_S))
def test_window_when_time_passes_then_it_never_grows(deed: Deed, seen: Standing, longest_ms: int, later: int) -> None:
    before = window_ms(deed, 1, seen, longest_ms)
    after = window_ms(deed, 1, msgspec.structs.replace(seen, now_boot_ns=seen.now_boot_ns + later), longest_ms)
    if isinstance(before, DenyReason):
        assert isinstance(after, DenyReason)
    elif not isinstance(after, DenyReason):
        assert after <= before


@given(MAY_LEAD, LONGEST)
def test_window_when_risk_is_let_through_then_what_protects_is_too(seen: Standing, longest_ms: int) -> None:
    risk, protective = (window_ms(deed, 1, seen, longest_ms) for deed in (Deed.RISK, Deed.PROTECTIVE))
    if not isinstance(risk, DenyReason):
        assert not isinstance(protective, DenyReason)
        assert protective >= risk


@given(DEEDS, MAY_LEAD, st.integers(0, 10 * NS_PER_S))
def test_window_when_the_deadline_has_passed_then_there_is_none(deed: Deed, seen: Standing, after_ns: int) -> None:
    late = msgspec.structs.replace(seen, now_boot_ns=deadline_ns(deed, seen) + after_ns)
    assert isinstance(window_ms(deed, 1, late, WINDOW_MS_MAX), DenyReason)

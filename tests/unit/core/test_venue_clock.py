"""The venue's clock from several askings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.core.venue_clock import SAMPLE_AGE_NS_MAX, ClockSample, VenueClock, sample


@given(st.integers(-5_000, 5_000), st.integers(0, 400), st.integers(0, 400))
def test_sample_when_the_way_out_and_back_differ_then_the_truth_is_within_the_error(
    offset_ms: int, out_ms: int, back_ms: int
) -> None:
    asked_utc_ms = 1_800_000_000_000
    taken = sample(asked_utc_ms * 1_000, asked_utc_ms + out_ms + offset_ms, (out_ms + back_ms) * 1_000_000, 7)
    assert abs(taken.offset_us - offset_ms * 1_000) <= taken.error_us


def test_clock_when_several_were_taken_then_the_surest_counts_while_it_is_fresh() -> None:
    clock = VenueClock()
    assert clock.best(0) is None
    for number, error_us in enumerate((9_000, 2_000, 5_000)):
        assert not clock.add(ClockSample(1_000, error_us, number))
    best = clock.best(10)
    assert best is not None
    assert best.error_us == 2_000
    assert clock.best(SAMPLE_AGE_NS_MAX + 3) is None


@pytest.mark.parametrize(("offset_us", "stepped"), [(59_000, False), (100_000, True), (600_000, True)])
def test_clock_when_a_sample_is_far_off_then_older_ones_are_forgotten(offset_us: int, stepped: bool) -> None:
    clock = VenueClock()
    clock.add(ClockSample(0, 1_500, 1))
    assert clock.add(ClockSample(offset_us, 9_000, 2)) is stepped
    best = clock.best(3)
    assert best is not None
    assert best.offset_us == (offset_us if stepped else 0)

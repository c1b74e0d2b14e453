"""Invariants of features, toxicity, drawdown and tallies: each equals a dumb O(n) computation over all it was given."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nan
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.core import drawdown as dd
from grinder.core import features as ft
from grinder.core import throttle as th
from grinder.core import toxicity as tx

MS = 1_000_000
FEATURES = ft.FeatureConfig(bar_ms=1_000, atr_bars=3)
TOXICITY = tx.ToxicityConfig(window_ms=1_000, bucket_ms=100)
MIDS = st.one_of(st.floats(1.0, 1_000.0), st.floats(99.0, 101.0))
TICKS = st.lists(st.tuples(MIDS, st.integers(0, 900)), min_size=1, max_size=80)
ANYTHING = st.one_of(st.floats(), st.sampled_from([nan, inf, -inf, 0.0]))


def timed(ticks: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Turn (value, wait in ms) into (value, time in ns)."""
    now_ms, timeline = 100_000, []
    for value, wait_ms in ticks:
        now_ms += wait_ms
        timeline.append((value, now_ms * MS))
    return timeline


def dumb_natr_bps(timeline: list[tuple[float, int]]) -> float | None:
    bars: dict[int, list[float]] = {}
    for mid, at in timeline:
        bars.setdefault(at // (FEATURES.bar_ms * MS), []).append(mid)
    closed = [bars[index] for index in sorted(bars)][:-1]
    if len(closed) < FEATURES.atr_bars + 1:
        return None
    ranges = []
    for before, bar in zip(closed[-FEATURES.atr_bars - 1 :], closed[-FEATURES.atr_bars :], strict=False):
        ranges.append(max(max(bar) - min(bar), abs(max(bar) - before[-1]), abs(min(bar) - before[-1])))
    return sum(ranges) / len(ranges) / closed[-1][-1] * 10_000


@given(TICKS)
def test_natr_when_any_ticks_come_then_it_equals_the_dumb_one(ticks: list[tuple[float, int]]) -> None:
    features, timeline = ft.EMPTY, timed(ticks)
    for number, (mid, at) in enumerate(timeline, start=1):
        features = ft.observe(features, FEATURES, mid * 0.9999, mid * 1.0001, at)
        exact = [((one * 0.9999 + one * 1.0001) / 2.0, when) for one, when in timeline[:number]]
        expected = dumb_natr_bps(exact)
        assert (features.natr_bps is None) == (expected is None)
        if expected is not None:
            assert features.natr_bps == pytest.approx(expected, rel=1e-9, abs=1e-9)
            assert features.natr_mono_ns <= at


@given(st.lists(st.tuples(ANYTHING, ANYTHING, st.integers(-(10**15), 10**15)), max_size=30))
def test_features_when_garbage_comes_then_no_raise_and_nothing_unfinite_is_published(
    books: list[tuple[float, float, int]],
) -> None:
    features, toxicity = ft.EMPTY, tx.EMPTY
    for bid, ask, at in books:
        features = ft.observe(features, FEATURES, bid, ask, at)
        toxicity = tx.observe(toxicity, TOXICITY, features.mid, at)
        if not 0 < bid < ask < inf:
            assert features.mid is None
            assert toxicity.score_bps is None
        assert len(toxicity.samples) <= TOXICITY.samples_max
        assert len(features.true_ranges) <= FEATURES.atr_bars


@given(TICKS)
def test_score_when_any_ticks_come_then_it_is_that_of_the_oldest_mid_to_within_one_bucket(
    ticks: list[tuple[float, int]],
) -> None:
    toxicity, timeline = tx.EMPTY, timed(ticks)
    for number, (mid, at) in enumerate(timeline, start=1):
        toxicity = tx.observe(toxicity, TOXICITY, mid, at)
        window = [(one, when) for one, when in timeline[:number] if when >= at - TOXICITY.window_ms * MS]
        oldest_at = window[0][1]
        allowed = [abs(mid - one) / one * 1e4 for one, when in window if when < oldest_at + TOXICITY.bucket_ms * MS]
        assert any(toxicity.score_bps == pytest.approx(score) for score in allowed)
        assert len(toxicity.samples) <= TOXICITY.samples_max


EQUITIES = st.one_of(
    st.decimals(1, 2_000, places=2),
    st.sampled_from([Decimal(text) for text in ("NaN", "sNaN", "Infinity", "-1", "0", "1e999999", "1e-999999")]),
)


@given(st.lists(st.tuples(EQUITIES, st.booleans(), st.integers(-1, 20_000)), max_size=30))
def test_drawdown_when_any_samples_come_then_bounded_confirmed_and_never_deeper_than_the_shallowest(
    samples: list[tuple[Decimal, bool, int]],
) -> None:
    config, state, now_ms = dd.DrawdownConfig(), dd.resumed(None), 100_000
    for equity, has_position, wait_ms in samples:
        now_ms += wait_ms
        before = state
        state = dd.observe(state, config, dd.EquitySample(equity, has_position, now_ms * MS), now_ms * MS)
        found = dd.current(state, config, now_ms * MS)
        assert state.rejected >= before.rejected
        if before.high_water_mark is not None:
            assert state.high_water_mark is not None
            assert state.high_water_mark >= before.high_water_mark
        if state.session_start is not None:
            assert state.high_water_mark is not None
            assert state.session_start <= state.high_water_mark
        if found is not None:
            last = [sample.equity for sample in state.accepted]
            assert state.high_water_mark is not None
            assert len(last) == config.confirmations
            assert state.high_water_mark >= median(last)
            assert found == pytest.approx(float(max(0, 1 - max(last) / state.high_water_mark)), abs=1e-12)
            assert 0.0 <= found < 1.0


@given(st.lists(st.integers(0, 3_000), max_size=60), st.integers(0, 3_000))
def test_recent_when_any_events_happen_then_between_one_and_two_windows_are_counted(
    waits_ms: list[int], more_ms: int
) -> None:
    tally, now_ms, times = th.EMPTY_TALLY, 50_000, []
    for wait_ms in waits_ms:
        now_ms += wait_ms
        times.append(now_ms)
        tally = th.counted(tally, now_ms * MS, 1_000)
    now_ms += more_ms
    found = th.recent(tally, now_ms * MS, 1_000)
    at_least = sum(1 for at in times if at > now_ms - 1_000)
    at_most = sum(1 for at in times if at > now_ms - 2_000)
    assert at_least <= found <= at_most

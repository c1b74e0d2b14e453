from __future__ import annotations

from math import inf, nan

import pytest

from grinder.core.features import EMPTY, FeatureConfig, Features, natr_if_fresh, observe

BAR_NS = 1_000_000_000
CONFIG = FeatureConfig(bar_ms=1_000, atr_bars=3)


def feed(*ticks: tuple[float, float]) -> Features:
    """Observe (mid, seconds) ticks with a spread of one in either direction."""
    features = EMPTY
    for mid, at_s in ticks:
        features = observe(features, CONFIG, mid - 1, mid + 1, int(at_s * BAR_NS))
    return features


def test_observe_when_book_is_good_then_mid_and_spread() -> None:
    features = observe(EMPTY, CONFIG, 9_990.0, 10_010.0, 0)
    assert (features.mid, features.spread_bps) == (10_000.0, 20.0)


@pytest.mark.parametrize(
    ("bid", "ask"),
    [(nan, 1.0), (1.0, nan), (0.0, 1.0), (-1.0, 1.0), (1.0, inf), (inf, inf), (2.0, 1.0), (1.0, 1.0)],
)
def test_observe_when_book_is_unusable_then_unknown_and_bars_untouched(bid: float, ask: float) -> None:
    before = feed((100, 0), (104, 0.5), (101, 1.2))
    after = observe(before, CONFIG, bid, ask, 2 * BAR_NS)
    assert (after.mid, after.spread_bps) == (None, None)
    assert (after.bar_index, after.bar_high, after.bar_low) == (before.bar_index, before.bar_high, before.bar_low)
    assert observe(after, CONFIG, 101, 103, 2 * BAR_NS).mid == 102


def test_natr_when_one_bar_is_missing_then_unknown() -> None:
    assert feed((100, 0), (100, 1), (100, 2), (100, 3)).natr_bps is None


def test_natr_when_enough_bars_then_simple_mean_of_true_ranges_over_last_close() -> None:
    features = feed((100, 0.1), (102, 1.1), (98, 1.5), (101, 2.1), (101, 3.1), (103, 3.6), (90, 4.0))
    # closes 100, 98, 101, 103; true ranges: 102-98=4, |101-98|=3, |103-101|=2
    assert features.natr_bps == pytest.approx((4 + 3 + 2) / 3 / 103 * 10_000)
    assert features.natr_mono_ns == 4 * BAR_NS


def test_natr_when_minutes_are_empty_then_no_bar_is_made_for_them() -> None:
    gaps = feed((100, 0), (102, 100), (101, 200), (103, 300), (103, 400))
    tight = feed((100, 0), (102, 1), (101, 2), (103, 3), (103, 4))
    assert gaps.natr_bps == tight.natr_bps
    assert gaps.natr_mono_ns == 301 * BAR_NS


def test_observe_when_time_goes_back_then_counts_into_the_running_bar() -> None:
    features = feed((100, 5.0), (110, 3.0))
    assert (features.bar_index, features.bar_high, features.bar_close) == (5, 110, 110)


@pytest.mark.parametrize(("age_ns", "fresh"), [(0, True), (2_000_000_000, True), (2_000_000_001, False)])
def test_natr_if_fresh_when_bar_is_old_then_unknown(age_ns: int, fresh: bool) -> None:
    features = feed((100, 0), (102, 1), (101, 2), (103, 3), (103, 4))
    found = natr_if_fresh(features, features.natr_mono_ns + age_ns, 2_000)
    assert found == (features.natr_bps if fresh else None)


def test_natr_if_fresh_when_never_known_then_unknown() -> None:
    assert natr_if_fresh(EMPTY, 0, 2_000) is None


@pytest.mark.parametrize("values", [{"bar_ms": 0}, {"atr_bars": 0}])
def test_config_when_not_above_zero_then_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        FeatureConfig(**values)

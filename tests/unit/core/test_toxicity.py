from __future__ import annotations

from math import inf, nan

import pytest

from grinder.core.toxicity import EMPTY, Toxicity, ToxicityConfig, ToxicityLevel, level_of, observe

MS = 1_000_000
CONFIG = ToxicityConfig()


def feed(*ticks: tuple[int, float | None]) -> Toxicity:
    """Observe (milliseconds, mid) ticks."""
    toxicity = EMPTY
    for at_ms, mid in ticks:
        toxicity = observe(toxicity, CONFIG, mid, at_ms * MS)
    return toxicity


def test_score_when_first_tick_then_zero() -> None:
    assert feed((0, 100.0)).score_bps == 0.0


def test_score_when_mid_moves_then_distance_from_the_oldest_in_the_window() -> None:
    assert feed((0, 100.0), (2_000, 103.0), (4_000, 101.0)).score_bps == pytest.approx(100)


def test_score_when_mid_falls_then_as_high_as_when_it_rises() -> None:
    assert feed((0, 100.0), (1_000, 95.0)).score_bps == pytest.approx(500)


@pytest.mark.parametrize(("at_ms", "score_bps"), [(5_000, 100.0), (5_001, 0.0)])
def test_score_when_oldest_leaves_the_window_then_forgotten(at_ms: int, score_bps: float) -> None:
    assert feed((0, 100.0), (at_ms, 101.0)).score_bps == pytest.approx(score_bps)


def test_score_when_ticks_come_fast_then_the_window_does_not_shrink() -> None:
    ticks = [(0, 100.0)] + [(at_ms, 102.0) for at_ms in range(1, 5_000)]
    toxicity = feed(*ticks)
    assert toxicity.score_bps == pytest.approx(200)
    assert len(toxicity.samples) <= CONFIG.samples_max


@pytest.mark.parametrize("mid", [None, nan, inf, 0.0, -1.0])
def test_score_when_mid_is_unusable_then_unknown_until_the_next(mid: float | None) -> None:
    toxicity = feed((0, 100.0), (100, mid))
    assert toxicity.score_bps is None
    assert observe(toxicity, CONFIG, 101.0, 200 * MS).score_bps == pytest.approx(100)


def test_score_when_time_goes_back_then_counts_as_the_last_time() -> None:
    toxicity = feed((6_000, 100.0), (10, 101.0))
    assert toxicity.samples == ((6_000 * MS, 100.0),)
    assert toxicity.score_bps == pytest.approx(100)


@pytest.mark.parametrize(
    ("spread", "score", "level"),
    [
        (0.0, 0.0, ToxicityLevel.LOW),
        (50.0, 500.0, ToxicityLevel.LOW),
        (50.1, 500.0, ToxicityLevel.MID),
        (50.0, 500.1, ToxicityLevel.HIGH),
        (50.1, 500.1, ToxicityLevel.HIGH),
        (None, 0.0, ToxicityLevel.HIGH),
        (0.0, None, ToxicityLevel.HIGH),
        (nan, 0.0, ToxicityLevel.HIGH),
        (0.0, nan, ToxicityLevel.HIGH),
        (inf, 0.0, ToxicityLevel.MID),
    ],
)
def test_level_when_at_or_over_a_threshold_then_strictly_over_counts(
    spread: float | None, score: float | None, level: ToxicityLevel
) -> None:
    assert level_of(spread, score, 50.0, 500.0) is level


@pytest.mark.parametrize("bucket_ms", [0, 5_001])
def test_config_when_window_holds_no_bucket_then_refused(bucket_ms: int) -> None:
    with pytest.raises(ValueError, match="bucket_ms"):
        ToxicityConfig(bucket_ms=bucket_ms)


def test_samples_when_kept_then_first_and_last_of_each_bucket_and_the_oldest_exactly_at_the_edge() -> None:
    toxicity = feed((0, 100.0), (100, 101.0), (120, 105.0), (150, 109.0), (200, 102.0), (5_100, 103.0))
    assert [at // MS for at, _ in toxicity.samples] == [100, 150, 200, 5_100]
    assert toxicity.score_bps == pytest.approx(abs(103 - 101) / 101 * 10_000)


def test_config_when_the_window_is_one_bucket_then_accepted() -> None:
    assert ToxicityConfig(window_ms=100, bucket_ms=100).samples_max == 6


def test_score_when_silence_follows_a_busy_moment_then_its_last_mid_is_still_compared_with() -> None:
    assert feed((0, 100.0), (90, 110.0), (5_050, 121.0)).score_bps == pytest.approx(1_000)

"""Toxicity of one symbol: how far the mid moved against the oldest mid of a short window, in basis points.

The window is cut into buckets and keeps the first and the last mid of each, so its memory and reach do not depend on
the tick rate (a window of the last N ticks shrinks exactly when the market is fast). Must never read a clock; an
unusable mid makes the score unknown (None), which counts as HIGH.
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import Final

import msgspec

from grinder.model.units import NS_PER_MS

_BPS: Final = 10_000.0


class ToxicityLevel(StrEnum):
    """What a score and a spread mean. HIGH wins where both tests hold."""

    LOW = "LOW"
    MID = "MID"
    HIGH = "HIGH"


class ToxicityConfig(msgspec.Struct, frozen=True):
    """``window_ms``: how far back the oldest mid may lie. ``bucket_ms``: at most two mids are kept per bucket.

    Source: reference sheet 3.4 (lookback 5000 ms).
    """

    window_ms: int = 5_000
    bucket_ms: int = 100

    def __post_init__(self) -> None:
        """Refuse a window that holds no bucket."""
        if not 0 < self.bucket_ms <= self.window_ms:
            raise ValueError("bucket_ms must be above 0 and at most window_ms")

    @property
    def samples_max(self) -> int:
        """Most mids kept at once."""
        return 2 * (self.window_ms // self.bucket_ms + 2)


class Toxicity(msgspec.Struct, frozen=True, gc=False):
    """Score after the last tick, the kept (time in monotonic ns, mid) pairs, oldest first, and the newest pair."""

    score_bps: float | None = None
    samples: tuple[tuple[int, float], ...] = ()
    newest: tuple[int, float] | None = None


EMPTY: Final = Toxicity()
"""Before the first tick: unknown."""


def observe(toxicity: Toxicity, config: ToxicityConfig, mid: float | None, event_mono_ns: int) -> Toxicity:
    """Return the toxicity after one tick.

    Args:
        toxicity: the value before it, ``EMPTY`` at first.
        config: window and bucket.
        mid: mid price, quote currency; None, NaN, infinity and anything not above zero make the score unknown.
        event_mono_ns: receive time of the tick, CLOCK_MONOTONIC; an older time than the last counts as the last.

    Returns:
        The new value. Invariant: the mid compared with lies within ``window_ms``, and less than ``bucket_ms`` after
        the oldest one that does; ``len(samples) <= config.samples_max``.
    """
    samples = toxicity.samples
    if mid is None or not 0.0 < mid < inf:
        return Toxicity(None, samples, toxicity.newest)
    newest = toxicity.newest
    if newest is None:
        newest = (event_mono_ns, mid)
        return Toxicity(0.0, (newest,), newest)
    newest_mono_ns = newest[0]
    if event_mono_ns < newest_mono_ns:
        event_mono_ns = newest_mono_ns
    tick = (event_mono_ns, mid)
    bucket_ns = config.bucket_ms * NS_PER_MS
    if event_mono_ns // bucket_ns > newest_mono_ns // bucket_ns:
        # The last mid of a bucket is kept too: after a silence it may be the only one of it that is still in reach.
        samples = (*samples, tick) if samples[-1] is newest else (*samples, newest, tick)
    oldest_allowed_mono_ns = event_mono_ns - config.window_ms * NS_PER_MS
    if samples[0][0] < oldest_allowed_mono_ns:
        samples = tuple(sample for sample in samples if sample[0] >= oldest_allowed_mono_ns)
    reference = samples[0][1]
    return Toxicity(abs(mid - reference) / reference * _BPS, samples, tick)


def level_of(
    spread_bps: float | None, score_bps: float | None, spread_spike_bps: float, toxicity_high_bps: float
) -> ToxicityLevel:
    """Return the level of a spread and a score; an unknown one (None or NaN) is HIGH.

    Both comparisons are strict: exactly at the threshold is still calm. Source: reference sheet 1.3.
    """
    if spread_bps is None or score_bps is None or not score_bps <= toxicity_high_bps or spread_bps != spread_bps:
        return ToxicityLevel.HIGH
    return ToxicityLevel.MID if spread_bps > spread_spike_bps else ToxicityLevel.LOW

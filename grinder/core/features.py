"""Incremental features of one symbol: mid, spread, and NATR over mid-price bars, at constant cost per tick.

A bar collects the mids of one period of the monotonic clock; a period without a tick makes no bar. NATR is the simple
mean of the last true ranges over the last close, and carries the end of the bar that it is from, so that its age is
honest. Must never read a clock or use a value that is not finite: an unusable book makes mid and spread unknown (None).

Invariant: the result depends only on the sequence of (book, time), never on how often somebody looked.
"""

from __future__ import annotations

from math import fsum, inf
from typing import Final

import msgspec

from grinder.model.units import NS_PER_MS

_BPS: Final = 10_000.0


class FeatureConfig(msgspec.Struct, frozen=True):
    """``bar_ms``: length of a bar. ``atr_bars``: true ranges in the mean; one bar more is needed for the first close.

    Source: reference sheet 13.7 (60 s mid bars, ATR 14).
    """

    bar_ms: int = 60_000
    atr_bars: int = 14

    def __post_init__(self) -> None:
        """Refuse a period or a count that is not above zero."""
        if self.bar_ms <= 0 or self.atr_bars <= 0:
            raise ValueError("bar_ms and atr_bars must be above 0")


class Features(msgspec.Struct, frozen=True, gc=False):
    """Features after the last tick; None is *unknown*.

    ``mid``: quote currency. ``spread_bps``, ``natr_bps``: basis points of the mid and of the last close.
    ``natr_mono_ns``: end of the newest finished bar, 0 before the first. The other fields are the running bar
    (``bar_index`` = time // bar length, -1 before the first tick) and the last true ranges, oldest first.
    """

    mid: float | None = None
    spread_bps: float | None = None
    natr_bps: float | None = None
    natr_mono_ns: int = 0
    bar_index: int = -1
    bar_high: float = 0.0
    bar_low: float = 0.0
    bar_close: float = 0.0
    previous_close: float | None = None
    true_ranges: tuple[float, ...] = ()


EMPTY: Final = Features()
"""Features before the first tick: everything unknown."""


def observe(
    features: Features, config: FeatureConfig, bid_price: float, ask_price: float, event_mono_ns: int
) -> Features:
    """Return the features after one book.

    Args:
        features: the features before it, ``EMPTY`` at first.
        config: bar length and count.
        bid_price: best bid, quote currency; anything that is not 0 < bid < ask < infinity is an unusable book.
        ask_price: best ask, quote currency.
        event_mono_ns: receive time of the book, CLOCK_MONOTONIC; an older time than the last counts into its bar.

    Returns:
        The new features. After an unusable book mid and spread are None and the bars are as before.
    """
    if not 0.0 < bid_price < ask_price < inf:
        return msgspec.structs.replace(features, mid=None, spread_bps=None)
    mid = (bid_price + ask_price) / 2.0
    spread_bps = (ask_price - bid_price) / mid * _BPS
    index = event_mono_ns // (config.bar_ms * NS_PER_MS)
    if index <= features.bar_index:
        high = features.bar_high
        low = features.bar_low
        return Features(
            mid,
            spread_bps,
            features.natr_bps,
            features.natr_mono_ns,
            features.bar_index,
            mid if mid > high else high,
            mid if mid < low else low,
            mid,
            features.previous_close,
            features.true_ranges,
        )
    if features.bar_index < 0:
        return Features(mid, spread_bps, None, 0, index, mid, mid, mid)
    return _next_bar(features, config, mid, spread_bps, index)


def _next_bar(features: Features, config: FeatureConfig, mid: float, spread_bps: float, index: int) -> Features:
    """Finish the running bar and begin the one of ``index`` with this mid."""
    high, low, close = features.bar_high, features.bar_low, features.bar_close
    previous = features.previous_close
    ranges = features.true_ranges
    if previous is not None:
        true_range = max(high - low, abs(high - previous), abs(low - previous))
        ranges = (*ranges, true_range)[-config.atr_bars :]
    natr_bps = None
    if len(ranges) == config.atr_bars:
        # Once per bar an exact sum of a fixed few terms costs less than the drift of a running one.
        natr_bps = fsum(ranges) / config.atr_bars / close * _BPS
    natr_mono_ns = (features.bar_index + 1) * config.bar_ms * NS_PER_MS
    return Features(mid, spread_bps, natr_bps, natr_mono_ns, index, mid, mid, mid, close, ranges)


def natr_if_fresh(features: Features, now_mono_ns: int, stale_ms: int) -> float | None:
    """Return NATR in basis points, or None while it is unknown or its newest bar ended more than ``stale_ms`` ago."""
    if features.natr_bps is None or now_mono_ns - features.natr_mono_ns > stale_ms * NS_PER_MS:
        return None
    return features.natr_bps

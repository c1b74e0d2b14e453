"""How far the venue's clock is from ours: the best of several askings, with a bound on its error.

The shortest round trip tells most. Must never claim a smaller error than half its round trip plus the clocks' grain.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from grinder.model.units import NS_PER_S

SAMPLES_MAX: Final = 8
SAMPLE_AGE_NS_MAX: Final = 60 * NS_PER_S
GRAIN_US: Final = 1_000
"""Both clocks are read in whole milliseconds."""

STEP_US: Final = 50_000
"""A sample this far outside the error of the best one means that a clock was set, for in a minute none drifts that far:
older samples are worthless."""


class ClockSample(msgspec.Struct, frozen=True):
    """One asking: venue minus local, and the bound of its error, microseconds."""

    offset_us: int
    error_us: int
    taken_mono_ns: int


def sample(asked_utc_ms: int, venue_utc_ms: int, rtt_ns: int, now_mono_ns: int) -> ClockSample:
    """Return what one asking says; the venue is taken to have answered in the middle of the round trip."""
    half_us = rtt_ns // 2_000
    offset_us = venue_utc_ms * 1_000 - (asked_utc_ms * 1_000 + half_us)
    return ClockSample(offset_us, half_us + GRAIN_US, now_mono_ns)


class VenueClock:
    """The last samples."""

    def __init__(self) -> None:
        self._samples: deque[ClockSample] = deque(maxlen=SAMPLES_MAX)

    def add(self, fresh: ClockSample) -> bool:
        """Take a sample; return True if a clock was set since the last ones."""
        best = self.best(fresh.taken_mono_ns)
        stepped = best is not None and (
            abs(fresh.offset_us - best.offset_us) > best.error_us + fresh.error_us + STEP_US
        )
        if stepped:
            self._samples.clear()
        self._samples.append(fresh)
        return stepped

    def best(self, now_mono_ns: int) -> ClockSample | None:
        """Return the sample with the smallest error bound that is not old, or None."""
        fresh = [item for item in self._samples if now_mono_ns - item.taken_mono_ns <= SAMPLE_AGE_NS_MAX]
        return min(fresh, key=lambda item: item.error_us, default=None)

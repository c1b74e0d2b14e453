"""How far the venue's clock is from ours: the best of several askings, with a bound on its error.

Ours is CLOCK_BOOTTIME where a request is to be stamped by it: a wall clock that somebody sets between two askings would
take every stamp with it, and the venue would take a command for as much longer.

The shortest round trip tells most. Must never claim a smaller error than half its round trip plus the clocks' grain.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from grinder.model.units import NS_PER_S

_NS_PER_US: Final = 1_000
_US_PER_MS: Final = 1_000

SAMPLES_MAX: Final = 8
SAMPLE_AGE_NS_MAX: Final = 60 * NS_PER_S
GRAIN_US: Final = 1_000
"""The venue tells whole milliseconds, and so does our wall clock."""

STEP_US: Final = 50_000
"""A sample this far outside the error of the best one means that a clock was set, for in a minute none drifts that far:
older samples are worthless."""


class ClockSample(msgspec.Struct, frozen=True):
    """One asking: venue minus local, and the bound of its error, microseconds. ``taken_boot_ns``: CLOCK_BOOTTIME."""

    offset_us: int
    error_us: int
    taken_boot_ns: int


def sample(asked_us: int, venue_utc_ms: int, rtt_ns: int, now_boot_ns: int) -> ClockSample:
    """Return what one asking says; the venue is taken to have answered in the middle of the round trip.

    Args:
        asked_us: the clock of ours that is compared, when it was asked, microseconds.
        venue_utc_ms: the answer.
        rtt_ns: how long that took.
        now_boot_ns: when it came.
    """
    half_us = rtt_ns // 2_000
    return ClockSample(venue_utc_ms * 1_000 - (asked_us + half_us), half_us + GRAIN_US, now_boot_ns)


def sample_by_boot(asked_boot_ns: int, venue_utc_ms: int, now_boot_ns: int) -> ClockSample:
    """Return what one asking says of the venue's clock and CLOCK_BOOTTIME; what it slept meanwhile is uncertain too."""
    return sample(asked_boot_ns // _NS_PER_US, venue_utc_ms, now_boot_ns - asked_boot_ns, now_boot_ns)


def venue_ms(boot_ns: int, boot_offset_us: int) -> int:
    """Return the venue's clock at a CLOCK_BOOTTIME, Unix milliseconds; rounded down, never ahead."""
    return (boot_ns // _NS_PER_US + boot_offset_us) // _US_PER_MS


class VenueClock:
    """The last samples."""

    def __init__(self) -> None:
        self._samples: deque[ClockSample] = deque(maxlen=SAMPLES_MAX)

    def add(self, fresh: ClockSample) -> bool:
        """Take a sample; return True if a clock was set since the last ones."""
        best = self.best(fresh.taken_boot_ns)
        stepped = best is not None and (
            abs(fresh.offset_us - best.offset_us) > best.error_us + fresh.error_us + STEP_US
        )
        if stepped:
            self._samples.clear()
        self._samples.append(fresh)
        return stepped

    def best(self, now_boot_ns: int) -> ClockSample | None:
        """Return the sample with the smallest error bound that is not old, or None."""
        fresh = [item for item in self._samples if now_boot_ns - item.taken_boot_ns <= SAMPLE_AGE_NS_MAX]
        return min(fresh, key=lambda item: item.error_us, default=None)

"""A host's clock that its tests may set: an offset for its wall clock, and time that it slept through.

What a suspend looks like to a program is that CLOCK_BOOTTIME has gone on and CLOCK_MONOTONIC has not.
"""

from __future__ import annotations

import mmap
import time
from pathlib import Path

from grinder.adapters.clock import SystemClock
from grinder.model.units import NS_PER_MS

CLOCK_VARIABLE = "SKEWED_CLOCK"
"""Environment of a program under test: the file with the offsets of its host."""

_UTC, _SLEPT = range(2)
_BYTES = 16


class Skew:
    """The offsets of one host, seen by all its programs at once."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_BYTES))
        with path.open("r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("q")

    @property
    def utc_ms(self) -> int:
        """How far the wall clock is ahead, milliseconds."""
        return self._cells[_UTC]

    @utc_ms.setter
    def utc_ms(self, value: int) -> None:
        self._cells[_UTC] = value

    @property
    def slept_ns(self) -> int:
        """How long the host was suspended in all."""
        return self._cells[_SLEPT]

    def sleep(self, seconds: float) -> None:
        """Have the host be suspended for so long, now."""
        self._cells[_SLEPT] += int(seconds * 1_000_000_000)


class SkewedClock(SystemClock):
    """The clocks of such a host."""

    def __init__(self, skew: Skew) -> None:
        self._skew = skew

    def boot_ns(self) -> int:
        return super().boot_ns() + self._skew.slept_ns

    def utc_ms(self) -> int:
        return time.time_ns() // NS_PER_MS + self._skew.utc_ms


def now_ns() -> int:
    """Return CLOCK_BOOTTIME of the machine, ns."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def mono_to_boot_ns() -> int:
    """Return what to add to CLOCK_MONOTONIC of the machine to have its CLOCK_BOOTTIME."""
    return now_ns() - time.monotonic_ns()

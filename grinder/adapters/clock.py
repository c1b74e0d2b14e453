"""The clocks of this host, behind the Clock port. The only place in the loop that reads one."""

from __future__ import annotations

import time

from grinder.model.units import NS_PER_MS


class SystemClock:
    """Monotonic, boot and wall clock of the operating system."""

    mono_ns = staticmethod(time.monotonic_ns)

    def boot_ns(self) -> int:
        """Return CLOCK_BOOTTIME, nanoseconds."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def utc_ms(self) -> int:
        """Return the wall clock, Unix milliseconds."""
        return time.time_ns() // NS_PER_MS

"""The venue's clock: the host's, off by as much as a fault wants."""

from __future__ import annotations

from grinder.ports import Clock


class SkewedClock:
    """A clock whose wall time may be off. ``skew_ms``: venue's time minus this host's, milliseconds."""

    __slots__ = ("_clock", "mono_ns", "skew_ms")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.mono_ns = clock.mono_ns
        self.skew_ms = 0

    def utc_ms(self) -> int:
        """Return the venue's wall time, Unix milliseconds."""
        return self._clock.utc_ms() + self.skew_ms

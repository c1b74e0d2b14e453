"""The durable half of the kill switch as a value: what the latch file of a host says."""

from __future__ import annotations

import msgspec

from grinder.model.control import TripReason


class LatchRecord(msgspec.Struct, frozen=True, array_like=True):
    """State of the latch. ``reason``, ``who``, ``detail`` tell about the last change; ``version`` counts changes.

    An operator's trip of a latch that is tripped already counts too, so that a reset that did not know of it fails.
    """

    version: int
    tripped: bool
    reason: TripReason
    who: str
    detail: str
    utc_ms: int

    @property
    def trip_id(self) -> str:
        """What an operator must name to clear this trip."""
        return f"{self.version}-{self.reason}"

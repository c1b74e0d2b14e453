"""The durable half of the kill switch as a value: what the latch file of a host says."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.control import TripReason

TRIP_NAME_BYTES_MAX: Final = 64
"""Longest name of a trip of a cluster, bytes."""


class LatchRecord(msgspec.Struct, frozen=True, array_like=True):
    """State of the latch. ``reason``, ``who``, ``detail`` tell about the last change; ``version`` counts changes.

    An operator's trip of a latch that is tripped already counts too, so that a reset that did not know of it fails.
    ``name``: of the trip in the cluster, unique for ever, and that of another host's trip where this host followed one;
    empty on a host that is alone.
    """

    version: int
    tripped: bool
    reason: TripReason
    who: str
    detail: str
    utc_ms: int
    name: str = ""

    @property
    def trip_id(self) -> str:
        """What an operator must name to clear this trip."""
        return self.name or f"{self.version}-{self.reason}"


class ClearStage(StrEnum):
    """How far a host has come in clearing its latch for the cluster's operator.

    HELD: a trip word did not clear, or tripped again. FAILED: the file or the board could not be written, or another
    operator's command was under way; it may be tried again.
    """

    NONE = "NONE"
    UNDER_WAY = "UNDER_WAY"
    CLEARED = "CLEARED"
    HELD = "HELD"
    FAILED = "FAILED"


class Clearing(msgspec.Struct, frozen=True):
    """The last clearing: of which trip, how far it came, and what is in the way."""

    trip_id: str
    stage: ClearStage
    problem: str = ""

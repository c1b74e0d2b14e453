"""Sequence numbers of bus frames: what is lost, what comes from a publisher that is gone, what came twice.

One track per channel and publisher. Must never guess: a number that does not follow is a gap, whatever its cause.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

FIRST_SEQ: Final = 1


class Gap(msgspec.Struct, frozen=True):
    """Frames of a channel were lost, or its publisher restarted (then ``missing`` is 0): that input needs a resync."""

    channel: str
    missing: int


class Order(StrEnum):
    """How a frame stands to the one before it from the same publisher."""

    NEXT = "next"
    GAP = "gap"
    RESTARTED = "restarted"
    OLD_INCARNATION = "old incarnation"
    REPEATED = "repeated"


class Step(msgspec.Struct, frozen=True):
    """Verdict on one frame. ``missing``: frames lost before it (known for GAP and RESTARTED, else 0)."""

    order: Order
    missing: int = 0


_NEXT: Final = Step(Order.NEXT)
_OLD: Final = Step(Order.OLD_INCARNATION)
_REPEATED: Final = Step(Order.REPEATED)


class SequenceTracker:
    """Follow the frames of several publishers, each under its own key.

    Invariant: per key, the (incarnation, seq) of frames that are not refused only ever grows.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def follow(self, key: str, incarnation: int, seq: int) -> Step:
        """Judge one frame and remember it unless it is refused (OLD_INCARNATION or REPEATED).

        The first frame under a key is NEXT whatever its number: who joins late has missed nothing it was promised.

        Args:
            key: channel, and publisher where a channel has several.
            incarnation: start number of the publisher; a higher one is a restart.
            seq: number of the frame in that incarnation, from 1.
        """
        last = self._last.get(key)
        if last is None:
            self._last[key] = (incarnation, seq)
            return _NEXT
        last_incarnation, last_seq = last
        if incarnation < last_incarnation:
            return _OLD
        if incarnation > last_incarnation:
            self._last[key] = (incarnation, seq)
            return Step(Order.RESTARTED, seq - FIRST_SEQ)
        if seq <= last_seq:
            return _REPEATED
        self._last[key] = (incarnation, seq)
        return _NEXT if seq == last_seq + 1 else Step(Order.GAP, seq - last_seq - 1)

"""The venue's time as the board tells it: a host's wall clock may be set to any day, and its days are not the venue's.

Must never fall back on the wall clock.
"""

from __future__ import annotations

from grinder.core.venue_clock import venue_ms
from grinder.model.board import Word
from grinder.ports import Board, Clock


def venue_utc_ms(board: Board, clock: Clock) -> int:
    """Return the venue's time by the syncer's last measurement, Unix milliseconds; 0 before its first."""
    if not board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS):
        return 0
    return venue_ms(clock.boot_ns(), board.read(Word.VENUE_CLOCK_BOOT_OFFSET_US))

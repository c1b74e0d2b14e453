"""What the venue makes this host wait for, from the board and at the moment of asking: for people and for metrics."""

from __future__ import annotations

import msgspec

from grinder.model.board import BAN_WORDS, PAUSE_WORDS
from grinder.model.units import NS_PER_S
from grinder.ports import Board


class VenueStop(msgspec.Struct, frozen=True):
    """One look. ``*_left_s``: 0 where there is none. ``words``: the same for people, empty where nothing waits."""

    pause_left_s: float
    ban_left_s: float
    words: str


def venue_stop(board: Board, now_boot_ns: int) -> VenueStop:
    """Return what any process of this host was told to wait for and has not waited out.

    Args:
        board: of this host.
        now_boot_ns: CLOCK_BOOTTIME.
    """
    pause_left_s = max(0, max(board.read_all(PAUSE_WORDS)) - now_boot_ns) / NS_PER_S
    ban_left_s = max(0, max(board.read_all(BAN_WORDS)) - now_boot_ns) / NS_PER_S
    if ban_left_s:
        words = f"bans this address for {ban_left_s:.0f} s more: what protects is tried every 10 s"
    elif pause_left_s:
        words = f"limits this address for {pause_left_s:.0f} s more: only what protects leaves"
    else:
        words = ""
    return VenueStop(pause_left_s, ban_left_s, words)

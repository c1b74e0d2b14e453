"""Counters that need no history: events in a sliding window, and identical refusals in a row.

Each is a small value whose cost and size do not depend on how much it counted. Must never read a clock.
"""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.model.units import NS_PER_MS


class Tally(msgspec.Struct, frozen=True, gc=False):
    """Events in two neighbouring windows of fixed length; ``index`` = time // window, -1 before the first."""

    index: int = -1
    current: int = 0
    previous: int = 0


EMPTY_TALLY: Final = Tally()


def counted(tally: Tally, now_mono_ns: int, window_ms: int) -> Tally:
    """Return the tally with one more event at ``now_mono_ns``; an older time than the last counts as the last."""
    index = now_mono_ns // (window_ms * NS_PER_MS)
    if index <= tally.index:
        return Tally(tally.index, tally.current + 1, tally.previous)
    return Tally(index, 1, tally.current if index == tally.index + 1 else 0)


def recent(tally: Tally, now_mono_ns: int, window_ms: int) -> int:
    """Return how many events happened lately: at least all of the last ``window_ms``, at most twice as far back."""
    index = now_mono_ns // (window_ms * NS_PER_MS)
    if index <= tally.index:
        return tally.current + tally.previous
    return tally.current if index == tally.index + 1 else 0


class RejectStreak(msgspec.Struct, frozen=True, gc=False):
    """Identical refusals in a row: what was refused, how often, and when last."""

    subject: str = ""
    count: int = 0
    last_mono_ns: int = 0


NO_STREAK: Final = RejectStreak()
"""Nothing was refused since the last acceptance; what an acceptance resets to."""


def refused(streak: RejectStreak, subject: str, now_mono_ns: int) -> RejectStreak:
    """Return the streak after one more refusal.

    Args:
        streak: the streak so far, ``NO_STREAK`` after an acceptance.
        subject: what makes two refusals identical: side, kind and the venue's code, for example ``BUY -2019``.
        now_mono_ns: when it happened.
    """
    same = subject == streak.subject
    return RejectStreak(subject, streak.count + 1 if same else 1, now_mono_ns)

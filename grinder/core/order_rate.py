"""Counts the orders sent lately against the venue's order limits, so that new risk stops before the reserve is used.

The venue counts in fixed windows; sliding ones are stricter, never looser. It counts for the account: what an earlier
run or the leader before used is known only by what it tells. Must never hold back a protective order: it only counts
them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from grinder.model.units import NS_PER_S
from grinder.model.venue import RateUse

SHORT_S: Final = 10
LONG_S: Final = 60
SHORT_MAX: Final = 300
LONG_MAX: Final = 1_200
"""Orders per 10 s and per minute, until exchangeInfo says otherwise. Source: venue general info, LIMITS, 2026-05-28."""


class OrderRate:
    """Orders sent in the last minute, and in the last ten seconds."""

    def __init__(self) -> None:
        self._sent: deque[int] = deque()
        self._recent: deque[int] = deque()
        self._limits = {SHORT_S: SHORT_MAX, LONG_S: LONG_MAX}
        self._told: dict[int, int] = {}

    def set_limits(self, limits: Iterable[RateUse]) -> None:
        """Take the venue's order limits."""
        for limit in limits:
            if limit.kind == "ORDERS" and limit.interval_s in self._limits and limit.limit > 0:
                self._limits[limit.interval_s] = limit.limit

    def told(self, uses: Iterable[RateUse]) -> None:
        """Take what the venue has counted in its current windows, as often as one of them may end."""
        self._told = {use.interval_s: use.used for use in uses if use.kind == "ORDERS"}

    def note(self, now_mono_ns: int) -> None:
        """Count one order or amend put on the wire."""
        self._sent.append(now_mono_ns)
        self._recent.append(now_mono_ns)

    def left(self, now_mono_ns: int) -> tuple[int, int]:
        """Return how many orders are left within 10 s and within a minute, 0 or more."""
        # Times only grow, so what is too old is at the left; asked before every order, so nothing is counted again.
        for sent, window_s in ((self._sent, LONG_S), (self._recent, SHORT_S)):
            before_mono_ns = now_mono_ns - window_s * NS_PER_S
            while sent and sent[0] <= before_mono_ns:
                sent.popleft()
        short = self._limits[SHORT_S] - max(len(self._recent), self._told.get(SHORT_S, 0))
        long = self._limits[LONG_S] - max(len(self._sent), self._told.get(LONG_S, 0))
        return max(0, short), max(0, long)

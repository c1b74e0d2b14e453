"""A process's own measuring of the venue's clock: for who has no syncer, and for when the syncer is dead.

Asks for the time, and changes nothing else. Must never take the place of a younger measurement, nor open what the board
says is not known: it only stamps requests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from grinder.core.venue_clock import SAMPLE_AGE_NS_MAX, VenueClock, sample
from grinder.model.board import Word
from grinder.model.venue import Advice, Confirmed, QueryServerTime, Rejected, VenueReply, VenueRequest
from grinder.ports import Board, Clock, Venue

SAMPLES: Final = 3
"""Askings of one measurement; the best of them counts."""

_US_PER_MS: Final = 1_000


class OwnTime:
    """The venue's clock minus ours, as this process measured it. ``board``: where the syncer's is, None without one."""

    def __init__(self, clock: Clock, board: Board | None = None) -> None:
        self._clock = clock
        self._board = board
        self._samples = VenueClock()
        self._offset_us = 0
        self._checked_mono_ns = 0
        self._left = 0

    def offset_ms(self) -> int:
        """Return the offset of the youngest measurement, the syncer's or our own, milliseconds; 0 before the first."""
        if self._board is not None and self._board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS) >= self._checked_mono_ns:
            return self._board.read(Word.VENUE_CLOCK_OFFSET_US) // _US_PER_MS
        return self._offset_us // _US_PER_MS

    @property
    def old(self) -> bool:
        """Tell whether the youngest measurement is too old to go by."""
        known = self._checked_mono_ns
        if self._board is not None:
            known = max(known, self._board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS))
        return self._clock.mono_ns() - known > SAMPLE_AGE_NS_MAX

    def measure(self, venue: Venue) -> None:
        """Ask for the venue's clock a few times, one after the other; nothing while that goes on."""
        if not self._left:
            self._left = SAMPLES
            self._ask(venue)

    def take(self, asked_utc_ms: int, asked_mono_ns: int, reply: VenueReply) -> bool:
        """Take the answer to one asking at that time of our clocks; return False if it tells no time."""
        if not isinstance(reply, Confirmed) or type(reply.value) is not int:
            return False
        now = self._clock.mono_ns()
        self._samples.add(sample(asked_utc_ms, reply.value, now - asked_mono_ns, now))
        best = self._samples.best(now)
        assert best is not None
        self._offset_us, self._checked_mono_ns = best.offset_us, now
        return True

    def _ask(self, venue: Venue) -> None:
        venue.submit(QueryServerTime(), partial(self._on_time, venue, self._clock.utc_ms(), self._clock.mono_ns()))

    def _on_time(self, venue: Venue, asked_utc_ms: int, asked_mono_ns: int, reply: VenueReply) -> None:
        self.take(asked_utc_ms, asked_mono_ns, reply)
        self._left -= 1
        if self._left:
            self._ask(venue)


class TimedVenue:
    """A venue that is asked for its clock when it refuses a request for its time, and when nobody did so lately.

    Implements ports.Venue. What was refused stays refused: whoever asked decides whether to ask again.
    """

    def __init__(self, venue: Venue, time: OwnTime) -> None:
        self._venue = venue
        self._time = time

    @property
    def connected(self) -> bool:
        """Tell whether the order path is up now."""
        return self._venue.connected

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        """Send a request; ``on_reply`` is called exactly once, later, with how it ended."""
        self._venue.submit(request, partial(self._on_reply, on_reply))

    def _on_reply(self, on_reply: Callable[[VenueReply], None], reply: VenueReply) -> None:
        on_reply(reply)
        if self._time.old or (isinstance(reply, Rejected) and reply.advice is Advice.CLOCK):
            self._time.measure(self._venue)

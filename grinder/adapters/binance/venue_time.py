"""The venue's clock as a process stamps its requests with it: by the syncer's measurement, or by one of its own where
there is no syncer, or a dead one. It runs with CLOCK_BOOTTIME from there on, so that it is not set with our wall clock.

Asks for the time, and changes nothing else. Must never take the place of a younger measurement, nor open what the board
says is not known: it only stamps requests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from grinder.core.venue_clock import SAMPLE_AGE_NS_MAX, VenueClock, sample_by_boot, venue_ms
from grinder.model.board import Word
from grinder.model.venue import Advice, Confirmed, QueryServerTime, Rejected, VenueReply, VenueRequest
from grinder.ports import Board, Clock, Venue

SAMPLES: Final = 3
"""Askings of one measurement; the best of them counts."""


class OwnTime:
    """The venue's clock. ``board``: where the syncer's measurement is, None without one."""

    def __init__(self, clock: Clock, board: Board | None = None) -> None:
        self._clock = clock
        self._board = board
        self._samples = VenueClock()
        self._boot_offset_us = 0
        self._checked_mono_ns = 0
        self._left = 0

    def venue_utc_ms(self) -> int:
        """Return it by the youngest measurement, the syncer's or our own, Unix milliseconds; before the first: ours."""
        checked, offset_us = self._checked_mono_ns, self._boot_offset_us
        if self._board is not None:
            told = self._board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS)
            if told >= checked:
                checked, offset_us = told, self._board.read(Word.VENUE_CLOCK_BOOT_OFFSET_US)
        return venue_ms(self._clock.boot_ns(), offset_us) if checked else self._clock.utc_ms()

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

    def take(self, asked_boot_ns: int, reply: VenueReply) -> bool:
        """Take the answer to one asking at that time; return False if it tells no time."""
        if not isinstance(reply, Confirmed) or type(reply.value) is not int:
            return False
        now_boot_ns = self._clock.boot_ns()
        self._samples.add(sample_by_boot(asked_boot_ns, reply.value, now_boot_ns))
        best = self._samples.best(now_boot_ns)
        assert best is not None
        self._boot_offset_us, self._checked_mono_ns = best.offset_us, self._clock.mono_ns()
        return True

    def _ask(self, venue: Venue) -> None:
        venue.submit(QueryServerTime(), partial(self._on_time, venue, self._clock.boot_ns()))

    def _on_time(self, venue: Venue, asked_boot_ns: int, reply: VenueReply) -> None:
        self.take(asked_boot_ns, reply)
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

"""Keeps the venue's clock and rules known: asked for on a schedule, published for the others.

Must never publish rules that could not be read, nor a clock that was not measured.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from grinder.core.venue_clock import VenueClock, sample
from grinder.model.account import Instruments
from grinder.model.board import Word
from grinder.model.units import MS_PER_S, NS_PER_MS
from grinder.model.venue import Confirmed, Exchange, QueryInstruments, QueryServerTime, VenueReply
from grinder.ports import Board, Clock, Log, Telemetry, Venue

FIRST_SAMPLES: Final = 5
FIRST_SAMPLE_MS: Final = 200
SAMPLE_MS: Final = 5_000
"""At the start the clock is asked for quickly a few times, later every few seconds."""

RULES_MS: Final = 600_000
RULES_RETRY_MS: Final = 2_000
OFFSET_ALARM_US: Final = 500_000
"""An offset beyond this is told. Source: R32."""


class VenueFacts:
    """Asks for time and rules; the answers are on the board and in ``instruments``."""

    def __init__(
        self, venue: Venue, board: Board, clock: Clock, telemetry: Telemetry, log: Log, symbols: tuple[str, ...]
    ) -> None:
        self._venue = venue
        self._board = board
        self._clock = clock
        self._telemetry = telemetry
        self._log = log
        self._symbols = symbols
        self._venue_clock = VenueClock()
        self._samples = 0
        self._time_due_mono_ns = 0
        self._rules_due_mono_ns = 0
        self._asking_time = False
        self._asking_rules = False
        self._alarmed = False
        self.instruments: Instruments | None = None

    @property
    def clock_known(self) -> bool:
        """Tell whether the venue's clock has been measured lately."""
        return self._venue_clock.best(self._clock.mono_ns()) is not None

    def venue_utc_ms(self) -> int:
        """Return the venue's clock as well as it is known, Unix milliseconds; not later than it can be."""
        best = self._venue_clock.best(self._clock.mono_ns())
        offset_us = best.offset_us - best.error_us if best is not None else 0
        return self._clock.utc_ms() + offset_us // MS_PER_S

    def on_timer(self) -> None:
        """Ask for what is due."""
        now = self._clock.mono_ns()
        if not self._asking_time and now >= self._time_due_mono_ns:
            self._asking_time = True
            self._venue.submit(QueryServerTime(), partial(self._on_time, self._clock.utc_ms()))
        if not self._asking_rules and now >= self._rules_due_mono_ns:
            self._asking_rules = True
            self._venue.submit(QueryInstruments(), self._on_rules)

    def _on_time(self, asked_utc_ms: int, reply: VenueReply) -> None:
        now = self._clock.mono_ns()
        self._asking_time = False
        wait_ms = FIRST_SAMPLE_MS if self._samples < FIRST_SAMPLES else SAMPLE_MS
        self._time_due_mono_ns = now + wait_ms * NS_PER_MS
        if not isinstance(reply, Confirmed) or type(reply.value) is not int:
            return
        self._samples += 1
        if self._venue_clock.add(sample(asked_utc_ms, reply.value, reply.rtt_ns, now)):
            self._log.event("CLOCK_STEP", offset_us=reply.value * MS_PER_S - self._clock.utc_ms() * MS_PER_S)
        best = self._venue_clock.best(now)
        assert best is not None
        self._board.write(Word.VENUE_CLOCK_OFFSET_US, best.offset_us)
        self._board.write(Word.VENUE_CLOCK_ERROR_US, best.error_us)
        self._board.write(Word.VENUE_CLOCK_CHECKED_MONO_NS, now)
        self._telemetry.gauge("grinder_venue_clock_offset_seconds", best.offset_us / 1e6)
        self._telemetry.gauge("grinder_venue_clock_error_seconds", best.error_us / 1e6)
        alarm = abs(best.offset_us) > OFFSET_ALARM_US
        if alarm and not self._alarmed:
            self._log.event("CLOCK_OFFSET", offset_us=best.offset_us, error_us=best.error_us)
        self._alarmed = alarm

    def _on_rules(self, reply: VenueReply) -> None:
        now = self._clock.mono_ns()
        self._asking_rules = False
        if isinstance(reply, Confirmed) and isinstance(reply.value, Exchange):
            wanted = tuple(item for item in reply.value.instruments if item.symbol in self._symbols)
            missing = set(self._symbols) - {item.symbol for item in wanted}
            if missing:
                self._log.event("SYMBOLS_UNKNOWN", symbols=sorted(missing))
            self.instruments = Instruments(wanted, now)
            self._rules_due_mono_ns = now + RULES_MS * NS_PER_MS
        else:
            self._log.event("RULES_FAILED", outcome=type(reply).__name__)
            self._rules_due_mono_ns = now + RULES_RETRY_MS * NS_PER_MS

"""The syncer's measuring of the venue's clock while our own is set: what requests are stamped by does not move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from grinder.core.venue_budget import CLOCK_MS
from grinder.core.venue_clock import STEP_US
from grinder.model.board import Word
from grinder.model.units import NS_PER_MS
from grinder.model.venue import Confirmed, QueryServerTime, VenueReply, VenueRequest
from grinder.services.venue_facts import VenueFacts
from tests.fakes import FakeBoard, FakeClock
from tests.market import RecordingLog, RecordingTelemetry

AHEAD_MS = 40
PERIOD_MS = 50


class Venue:
    """Implements ports.Venue: tells a time of its own, at once, and nothing else."""

    connected = True

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._ahead_ms = clock.utc_ms() - clock.boot_ns() // NS_PER_MS + AHEAD_MS

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        if isinstance(request, QueryServerTime):
            on_reply(Confirmed(self._clock.boot_ns() // NS_PER_MS + self._ahead_ms, 0))

    def set(self, ahead_ms: int) -> None:
        """Set the venue's clock."""
        self._ahead_ms += ahead_ms


class Rig:
    def __init__(self) -> None:
        self.clock, self.board, self.log = FakeClock(), FakeBoard(), RecordingLog()
        self.venue = Venue(self.clock)
        self.facts = VenueFacts(self.venue, self.board, self.clock, RecordingTelemetry(), self.log, ("BTCUSDT",))
        self.run(2_000)

    def run(self, milliseconds: int) -> None:
        for _ in range(milliseconds // PERIOD_MS):
            self.facts.on_timer()
            self.clock.advance_ms(PERIOD_MS)

    def offsets_ms(self) -> tuple[float, float]:
        """The venue's clock minus our wall clock, and minus CLOCK_BOOTTIME as it was at the start."""
        start_us = FakeClock().utc_ms() * 1_000 - FakeClock().boot_ns() // 1_000
        by_boot_us = self.board.read(Word.VENUE_CLOCK_BOOT_OFFSET_US) - start_us
        return self.board.read(Word.VENUE_CLOCK_OFFSET_US) / 1_000, by_boot_us / 1_000


def test_clock_when_nobody_sets_it_then_measured_against_both_of_ours() -> None:
    rig = Rig()
    assert rig.offsets_ms() == (AHEAD_MS, AHEAD_MS)
    assert rig.board.read(Word.VENUE_CLOCK_SUSPENDED_NS) == 0
    assert "CLOCK_STEP" not in rig.log.names()


@pytest.mark.parametrize("set_ms", [-3_600_000, -900, 900, 3_600_000])
def test_clock_when_ours_is_set_then_told_with_the_next_measurement_and_no_stamp_moves(set_ms: int) -> None:
    rig = Rig()
    before_utc_ms = rig.facts.venue_utc_ms()
    rig.clock.set_wall(set_ms)
    assert rig.facts.venue_utc_ms() == before_utc_ms
    assert abs(set_ms) * 1_000 > STEP_US
    rig.run(CLOCK_MS + PERIOD_MS)
    assert rig.offsets_ms() == (AHEAD_MS - set_ms, AHEAD_MS)
    assert rig.log.names().count("CLOCK_STEP") == 1


def test_clock_when_the_venues_is_set_then_stamps_follow_with_the_next_measurement() -> None:
    rig = Rig()
    rig.venue.set(700)
    rig.run(CLOCK_MS + PERIOD_MS)
    assert rig.offsets_ms() == (AHEAD_MS + 700, AHEAD_MS + 700)
    assert rig.log.names().count("CLOCK_STEP") == 1

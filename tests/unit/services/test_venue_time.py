from __future__ import annotations

from grinder.services.venue_time import venue_utc_ms
from tests.fakes import FakeBoard, FakeClock, venue_clock_words


def test_time_when_nobody_measured_the_venues_clock_then_not_known() -> None:
    assert venue_utc_ms(FakeBoard(), FakeClock()) == 0


def test_time_when_the_wall_clock_is_set_or_the_host_sleeps_then_the_venues() -> None:
    board, clock = FakeBoard(), FakeClock()
    before = clock.utc_ms()
    board.words |= venue_clock_words(clock, venue_ahead_ms=7)
    clock.set_wall(86_400_000)
    clock.advance_ms(1_000)
    clock.suspend_ms(500)
    assert venue_utc_ms(board, clock) == before + 7 + 1_500

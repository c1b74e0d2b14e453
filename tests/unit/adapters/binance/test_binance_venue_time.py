"""Whose measurement of the venue's clock stamps a request, and when this process measures itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from grinder.adapters.binance.venue_time import SAMPLES, OwnTime, TimedVenue
from grinder.core.venue_clock import SAMPLE_AGE_NS_MAX
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    Advice,
    Confirmed,
    InDoubt,
    QueryBalance,
    QueryServerTime,
    Rejected,
    VenueReply,
    VenueRequest,
)
from tests.fakes import FakeBoard, FakeClock, venue_clock_words

LATE = Rejected(400, -1021, "Timestamp for this request is outside of the recvWindow.", Advice.CLOCK)


class Ahead:
    """A venue whose clock is ahead of ours; answers when told to."""

    connected = True

    def __init__(self, clock: FakeClock, ahead_ms: int) -> None:
        self.clock = clock
        self.ahead_ms = ahead_ms
        self.answers: VenueReply | None = None
        self.waiting: list[tuple[VenueRequest, Callable[[VenueReply], None]]] = []

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        self.waiting.append((request, on_reply))

    def answer(self, reply: VenueReply | None = None) -> None:
        """Answer the oldest request; with the time where nothing else is given."""
        _, on_reply = self.waiting.pop(0)
        on_reply(reply or Confirmed(self.clock.utc_ms() + self.ahead_ms, 2 * NS_PER_MS))


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.clock.advance_ms(10 * SAMPLE_AGE_NS_MAX // NS_PER_MS)
        self.board = FakeBoard()
        self.inner = Ahead(self.clock, 7_000)
        self.time = OwnTime(self.clock, self.board)
        self.venue = TimedVenue(self.inner, self.time)
        self.replies: list[VenueReply] = []

    def syncer_measures(self, offset_ms: int) -> None:
        self.board.words |= venue_clock_words(self.clock, offset_ms)

    def ahead_ms(self) -> int:
        """How far ahead of our wall clock requests are stamped."""
        return self.time.venue_utc_ms() - self.clock.utc_ms()

    def ask(self, reply: VenueReply) -> None:
        self.venue.submit(QueryBalance(), self.replies.append)
        self.inner.answer(reply)


def test_time_when_a_request_is_refused_for_it_then_measured_and_the_refusal_passed_on() -> None:
    world = World()
    world.syncer_measures(3)
    world.clock.advance_ms(1_000)
    world.ask(LATE)
    assert world.replies == [LATE]
    assert world.ahead_ms() == 3
    for _ in range(SAMPLES):
        assert [type(request) for request, _ in world.inner.waiting] == [QueryServerTime]
        world.inner.answer()
    assert world.inner.waiting == []
    assert abs(world.ahead_ms() - 7_000) <= 2


def test_time_when_the_syncer_measures_later_then_its_word_counts_again() -> None:
    world = World()
    world.ask(LATE)
    for _ in range(SAMPLES):
        world.inner.answer()
    world.clock.advance_ms(1)
    world.syncer_measures(5)
    assert world.ahead_ms() == 5


@pytest.mark.parametrize(("age_ns", "asked"), [(SAMPLE_AGE_NS_MAX, 0), (SAMPLE_AGE_NS_MAX + NS_PER_MS, 1)])
def test_time_when_nobody_measured_lately_then_any_reply_has_it_measured(age_ns: int, asked: int) -> None:
    world = World()
    world.syncer_measures(0)
    world.clock.advance_ms(age_ns // NS_PER_MS)
    world.ask(InDoubt("timeout"))
    assert len(world.inner.waiting) == asked


def test_time_when_many_are_refused_at_once_then_one_measurement_at_a_time() -> None:
    world = World()
    for _ in range(5):
        world.venue.submit(QueryBalance(), world.replies.append)
    for _ in range(5):
        world.inner.answer(LATE)
    assert len(world.replies) == 5
    assert len(world.inner.waiting) == 1


def test_time_when_no_asking_is_answered_then_the_old_word_stays_and_the_next_refusal_asks_again() -> None:
    world = World()
    world.syncer_measures(3)
    world.ask(LATE)
    for _ in range(SAMPLES):
        world.inner.answer(InDoubt("timeout"))
    assert (world.ahead_ms(), world.inner.waiting) == (3, [])
    world.ask(LATE)
    assert len(world.inner.waiting) == 1


@pytest.mark.parametrize("set_ms", [-3_600_000, -900, 900, 3_600_000])
@pytest.mark.parametrize("by_itself", [False, True])
def test_time_when_our_wall_clock_is_set_after_a_measurement_then_no_stamp_moves(by_itself: bool, set_ms: int) -> None:
    world = World()
    world.syncer_measures(7_000)
    if by_itself:
        world.clock.advance_ms(1)
        world.time.measure(world.inner)
        for _ in range(SAMPLES):
            world.inner.answer()
    before = world.time.venue_utc_ms()
    world.clock.set_wall(set_ms)
    assert world.time.venue_utc_ms() == before
    world.clock.advance_ms(10_000)
    assert world.time.venue_utc_ms() == before + 10_000

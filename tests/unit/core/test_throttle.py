from __future__ import annotations

import pytest

from grinder.core.throttle import EMPTY_TALLY, NO_STREAK, RejectStreak, Tally, counted, recent, refused

MS = 1_000_000


def tally_of(*at_ms: int) -> Tally:
    tally = EMPTY_TALLY
    for at in at_ms:
        tally = counted(tally, at * MS, 1_000)
    return tally


@pytest.mark.parametrize(
    ("events_ms", "now_ms", "count"),
    [
        ((), 0, 0),
        ((0, 1, 2), 3, 3),
        ((0, 999, 1_000), 1_001, 3),
        ((0, 999), 1_500, 2),
        ((0, 999), 2_000, 0),
        ((0, 5_000), 5_000, 1),
        ((5_000, 100), 5_000, 2),
    ],
)
def test_recent_when_events_age_then_they_leave_after_one_to_two_windows(
    events_ms: tuple[int, ...], now_ms: int, count: int
) -> None:
    assert recent(tally_of(*events_ms), now_ms * MS, 1_000) == count


def test_refused_when_identical_then_the_streak_grows_else_it_starts_again() -> None:
    streak = refused(refused(NO_STREAK, "BUY -2019", 1), "BUY -2019", 2)
    assert streak == RejectStreak("BUY -2019", 2, 2)
    assert refused(streak, "BUY -4164", 3) == RejectStreak("BUY -4164", 1, 3)

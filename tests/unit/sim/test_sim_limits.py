"""The ban of who ignores 429: when it comes, how it grows, when it is forgotten."""

from __future__ import annotations

import pytest

from grinder.model.errors import VenueError
from grinder.sim.exchange.rate_limits import BAN_GROWTH, BAN_MEMORY_MS, BAN_MS_MAX, LimitTable, RateLimits

NOW = 1_700_000_040_000
TABLE = LimitTable(weight_1m=1, ignored_429s=3, ban_ms=1_000)


def status(limits: RateLimits, now: int) -> int:
    try:
        limits.use_weight(2, now)
    except VenueError as error:
        return error.http_status
    return 200


def test_address_when_it_ignores_429_then_banned_and_each_ban_is_longer_up_to_the_longest() -> None:
    limits, now, lengths = RateLimits(TABLE), NOW, []
    for _ in range(14):
        assert [status(limits, now) for _ in range(4)] == [429, 429, 429, 418]
        lengths.append(limits.ban.until_utc_ms - now)
        assert limits.retry_after_s(now) == lengths[-1] // 1_000 + 1
        assert status(limits, limits.ban.until_utc_ms - 1) == 418
        now = limits.ban.until_utc_ms
    assert lengths[:3] == [1_000, 1_000 * BAN_GROWTH, 1_000 * BAN_GROWTH**2]
    assert lengths[-1] == BAN_MS_MAX


def test_ban_when_a_day_went_well_then_the_next_is_the_shortest_again() -> None:
    limits = RateLimits(TABLE)
    for _ in range(3):
        status(limits, NOW)
    later = limits.ban.until_utc_ms + BAN_MEMORY_MS + 1
    for _ in range(3):
        status(limits, later)
    assert limits.ban.until_utc_ms - later == TABLE.ban_ms


def test_refusals_when_spread_over_minutes_then_no_ban() -> None:
    limits = RateLimits(TABLE)
    assert [status(limits, NOW + number * 60_000) for number in range(10)] == [429] * 10


def test_orders_when_refused_too_often_then_banned_too() -> None:
    limits = RateLimits(LimitTable(orders_10s=0, ignored_429s=2))
    for _ in range(2):
        with pytest.raises(VenueError, match="Too many new orders"):
            limits.use_orders("account", 1, 1, NOW)
    with pytest.raises(VenueError, match="banned until"):
        limits.check_ban(NOW)


@pytest.mark.parametrize("words", [{"weight_1m": -1}, {"ignored_429s": 0}, {"ban_ms": 0}, {"ban_ms": BAN_MS_MAX + 1}])
def test_limits_when_they_make_no_sense_then_refused(words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LimitTable(**words)

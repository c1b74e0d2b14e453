"""The venue's rate limits: request weight per minute, orders per 10 s and per minute, and the ban of who ignores 429.

Fixed windows of the wall clock. Source: USDⓈ-M futures general info, IP limits and order rate limits, 2026-05-28: bans
grow from two minutes to three days; how many 429s earn one is not documented. Pools shared with COIN-M since 2026-06-30
are one pool here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from grinder.model.errors import VenueError
from grinder.sim.exchange.codes import Code, refusal

BAN_MS_MIN: Final = 2 * 60_000
BAN_MS_MAX: Final = 3 * 24 * 3_600_000
BAN_GROWTH: Final = 4
"""Each further ban is this many times as long."""

BAN_MEMORY_MS: Final = 24 * 3_600_000
"""Time without a ban after which the next one is the shortest again, milliseconds."""

ADDRESS: Final = "127.0.0.1"
HTTP_BANNED: Final = 418
BANNED: Final = (
    "Way too many requests; IP({}) banned until {}. Please use the websocket for live updates to avoid bans."
)


class LimitTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits in force. ``ignored_429s``: how many refusals within a minute earn a ban; ``ban_ms``: the shortest."""

    weight_1m: int = 2_400
    orders_10s: int = 300
    orders_1m: int = 1_200
    ignored_429s: int = 20
    ban_ms: int = BAN_MS_MIN

    def __post_init__(self) -> None:
        """Refuse limits that are no numbers of anything."""
        if min(self.weight_1m, self.orders_10s, self.orders_1m) < 0 or self.ignored_429s < 1:
            raise ValueError("limits must be 0 or more, ignored_429s 1 or more")
        if not 1 <= self.ban_ms <= BAN_MS_MAX:
            raise ValueError(f"ban_ms must be 1 to {BAN_MS_MAX}")


class Window:
    """A count that starts again with every interval of the wall clock."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._started = -1
        self._count = 0

    def count(self, now: int) -> int:
        """Return what was used in the current interval."""
        started = now - now % self._interval_ms
        if started != self._started:
            self._started, self._count = started, 0
        return self._count

    def add(self, amount: int, now: int) -> int:
        """Use an amount; return what was used in the current interval, this included."""
        self._count = self.count(now) + amount
        return self._count

    def left_ms(self, now: int) -> int:
        """Return how long until the interval ends, milliseconds."""
        return self._interval_ms - now % self._interval_ms


class BanState(msgspec.Struct):
    """What a ban is remembered by, across restarts. ``until_utc_ms`` 0: never banned. ``times``: bans in a row."""

    until_utc_ms: int = 0
    times: int = 0


class RateLimits:
    """Weight of the one address there is, its ban, and orders per account."""

    def __init__(self, table: LimitTable) -> None:
        self.table = table
        self.ban = BanState()
        self._weight = Window(60_000)
        self._refused = Window(60_000)
        self._orders: dict[str, tuple[Window, Window]] = {}

    def use_weight(self, weight: int, now: int) -> None:
        """Count a request's weight.

        Raises:
            VenueError: -1003 as 429 if the minute's weight is used up, as 418 while the address is banned.
        """
        self.check_ban(now)
        if self._weight.add(weight, now) > self.table.weight_1m:
            self._refuse(now)
            raise refusal(Code.TOO_MANY_REQUESTS, ADDRESS, self.table.weight_1m)

    def check_ban(self, now: int) -> None:
        """Refuse everything while the address is banned.

        Raises:
            VenueError: -1003 as 418.
        """
        if now < self.ban.until_utc_ms:
            raise VenueError(HTTP_BANNED, int(Code.TOO_MANY_REQUESTS), BANNED.format(ADDRESS, self.ban.until_utc_ms))

    def use_orders(self, account: str, ten_seconds: int, minute: int, now: int) -> None:
        """Count new or amended orders of an account.

        Raises:
            VenueError: -1015 if a window is used up; then nothing is counted.
        """
        short, long = self._windows(account)
        if short.count(now) + ten_seconds > self.table.orders_10s:
            self._refuse(now)
            raise refusal(Code.TOO_MANY_ORDERS, self.table.orders_10s, "10 SECOND")
        if long.count(now) + minute > self.table.orders_1m:
            self._refuse(now)
            raise refusal(Code.TOO_MANY_ORDERS, self.table.orders_1m, "1 MINUTE")
        short.add(ten_seconds, now)
        long.add(minute, now)

    def ban_for(self, duration_ms: int, now: int) -> None:
        """Ban the address at once, or end its ban with 0."""
        self.ban.until_utc_ms = now + duration_ms if duration_ms else 0

    def used_weight(self, now: int) -> int:
        """Return the weight used in this minute."""
        return self._weight.count(now)

    def used_orders(self, account: str, now: int) -> tuple[int, int]:
        """Return the orders an account used in these 10 s and in this minute."""
        short, long = self._windows(account)
        return short.count(now), long.count(now)

    def retry_after_s(self, now: int) -> int:
        """Return the Retry-After of a 418 or 429: whole seconds until the ban or the minute ends."""
        left_ms = self.ban.until_utc_ms - now if now < self.ban.until_utc_ms else self._weight.left_ms(now)
        return left_ms // 1_000 + 1

    def rows(self, account: str, now: int) -> list[dict[str, Any]]:
        """Return the ``rateLimits`` of a WebSocket API answer; the order windows only for a known account."""
        rows: list[dict[str, Any]] = [
            _row("REQUEST_WEIGHT", "MINUTE", 1, self.table.weight_1m, self._weight.count(now))
        ]
        if account:
            short, long = self.used_orders(account, now)
            rows.append(_row("ORDERS", "SECOND", 10, self.table.orders_10s, short))
            rows.append(_row("ORDERS", "MINUTE", 1, self.table.orders_1m, long))
        return rows

    def _refuse(self, now: int) -> None:
        """Count a refusal; too many of them are a ban, each longer than the one before."""
        if self._refused.add(1, now) < self.table.ignored_429s:
            return
        ban = self.ban
        if now - ban.until_utc_ms > BAN_MEMORY_MS:
            ban.times = 0
        ban.until_utc_ms = now + min(BAN_MS_MAX, self.table.ban_ms * BAN_GROWTH**ban.times)
        ban.times = min(ban.times + 1, 32)
        self._refused = Window(60_000)

    def _windows(self, account: str) -> tuple[Window, Window]:
        if account not in self._orders:
            self._orders[account] = (Window(10_000), Window(60_000))
        return self._orders[account]


def _row(kind: str, interval: str, number: int, limit: int, count: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit, "count": count}

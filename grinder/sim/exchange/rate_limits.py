"""The venue's rate limits: request weight per minute, orders per 10 s and per minute, in fixed windows.

Source: USDⓈ-M futures general info, 2026-05-28; pools shared with COIN-M since 2026-06-30 are one pool here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from grinder.sim.exchange.codes import Code, refusal


class LimitTable(msgspec.Struct, frozen=True):
    """The limits in force."""

    weight_1m: int = 2_400
    orders_10s: int = 300
    orders_1m: int = 1_200


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


class RateLimits:
    """Weight of the one address there is, and orders per account."""

    def __init__(self, table: LimitTable) -> None:
        self.table = table
        self._weight = Window(60_000)
        self._orders: dict[str, tuple[Window, Window]] = {}

    def use_weight(self, weight: int, now: int) -> None:
        """Count a request's weight.

        Raises:
            VenueError: -1003 if the minute's weight is used up.
        """
        if self._weight.add(weight, now) > self.table.weight_1m:
            raise refusal(Code.TOO_MANY_REQUESTS, "127.0.0.1", self.table.weight_1m)

    def use_orders(self, account: str, ten_seconds: int, minute: int, now: int) -> None:
        """Count new or amended orders of an account.

        Raises:
            VenueError: -1015 if a window is used up; then nothing is counted.
        """
        short, long = self._windows(account)
        if short.count(now) + ten_seconds > self.table.orders_10s:
            raise refusal(Code.TOO_MANY_ORDERS, self.table.orders_10s, "10 SECOND")
        if long.count(now) + minute > self.table.orders_1m:
            raise refusal(Code.TOO_MANY_ORDERS, self.table.orders_1m, "1 MINUTE")
        short.add(ten_seconds, now)
        long.add(minute, now)

    def used_weight(self, now: int) -> int:
        """Return the weight used in this minute."""
        return self._weight.count(now)

    def used_orders(self, account: str, now: int) -> tuple[int, int]:
        """Return the orders an account used in these 10 s and in this minute."""
        short, long = self._windows(account)
        return short.count(now), long.count(now)

    def retry_after_s(self, now: int) -> int:
        """Return the Retry-After of a 429: whole seconds until the minute ends."""
        return self._weight.left_ms(now) // 1_000 + 1

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

    def _windows(self, account: str) -> tuple[Window, Window]:
        if account not in self._orders:
            self._orders[account] = (Window(10_000), Window(60_000))
        return self._orders[account]


def _row(kind: str, interval: str, number: int, limit: int, count: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit, "count": count}

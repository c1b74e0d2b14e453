"""The time window and the page size of history queries, as the venue reads them.

Source: All Orders, Account Trade List, Query All Algo Orders (USER_DATA), 2026-08-19.
"""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.params import Params

PAGE_MAX: Final = 1_000
DAY_MS: Final = 24 * 3_600_000
PERIOD_DAYS: Final = 7


class Period(msgspec.Struct, frozen=True):
    """A time window, both ends inclusive, Unix milliseconds. ``given``: the request named it."""

    start_utc_ms: int
    end_utc_ms: int
    given: bool

    def holds(self, utc_ms: int) -> bool:
        """Tell whether a moment is inside."""
        return self.start_utc_ms <= utc_ms <= self.end_utc_ms


def read_period(params: Params, now: int, days: int = PERIOD_DAYS) -> Period:
    """Return the window of a request; one end alone spans ``days`` from it, none the latest ``days``.

    Raises:
        VenueError: -1100 if an end is no number, -4165 if the window is longer than ``days`` or ends before it starts.
    """
    length_ms = days * DAY_MS
    has_start, has_end = "startTime" in params, "endTime" in params
    end = params.integer("endTime") if has_end else now
    start = params.integer("startTime") if has_start else end - length_ms
    if has_start and not has_end:
        end = min(now, start + length_ms)
    if has_start and has_end and not 0 <= end - start <= length_ms:
        raise refusal(Code.TIME_INTERVAL, days)
    return Period(start, end, has_start)


def read_limit(params: Params, default: int, largest: int) -> int:
    """Return how many rows a request wants.

    Raises:
        VenueError: -1100 if it is no number, -1130 if it is 0 or above ``largest``.
    """
    limit = params.integer_or("limit", default)
    if not 1 <= limit <= largest:
        raise refusal(Code.INVALID_PARAMETER, "limit")
    return limit

"""The venue's rate limits, counted here and corrected by what the venue says it counted.

Pure: times are arguments. Must never refuse a protective request: cancels, reduce-only orders and the countdown pass
even when every other request waits; the other urgencies stop earlier, each at its own share of a limit.

Source: venue documentation, USDⓈ-M futures general info "LIMITS": REQUEST_WEIGHT 2400 a minute for each address, ORDERS
300 in 10 s and 1200 a minute for each account, in fixed windows, 2026-05-28. Since 2026-06-30 UM and CM share them, so
what the venue reports counts for more than what we counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from grinder.adapters.binance.wire import Urgency
from grinder.core.venue_budget import REGULAR_SHARE, WEIGHT_PER_MIN
from grinder.model.units import MS_PER_S, NS_PER_MS
from grinder.model.venue import Advice, RateUse, Rejected

WEIGHT: Final = "REQUEST_WEIGHT"
ORDERS: Final = "ORDERS"

TOO_MANY_ORDERS: Final = -1015
"""Error code: the order count of a window is used up."""

DEFAULT_LIMITS: Final = (
    RateUse(WEIGHT, 60, WEIGHT_PER_MIN, 0),
    RateUse(ORDERS, 10, 300, 0),
    RateUse(ORDERS, 60, 1_200, 0),
)
"""Until exchangeInfo was read."""

SHARE: Final = {Urgency.RISK: 0.80, Urgency.QUERY: 0.90}
"""Part of each limit that an urgency may use up; the rest is the reserve of those above it."""

POOLS_MAX: Final = 16
"""Most rate limits kept; the venue has three."""

assert REGULAR_SHARE < SHARE[Urgency.RISK] < SHARE[Urgency.QUERY] < 1


class _Pool:
    """One limit and its current window."""

    __slots__ = ("interval_ms", "kind", "limit", "used", "window")

    def __init__(self, rate: RateUse) -> None:
        self.kind = rate.kind
        self.interval_ms = rate.interval_s * MS_PER_S
        self.limit = rate.limit
        self.window = 0
        self.used = 0

    def turn(self, venue_utc_ms: int) -> None:
        """Start a new window when the venue does: at whole multiples of the interval.

        A clock that steps back by more than a window keeps what was used, so that a step never frees anything.
        """
        window = venue_utc_ms // self.interval_ms
        if window > self.window:
            self.window, self.used = window, 0
        elif window < self.window - 1:
            self.window = window

    def use(self) -> RateUse:
        return RateUse(self.kind, self.interval_ms // MS_PER_S, self.limit, self.used)


class Limits:
    """What may still be sent now. ``on_ban`` is told how long a ban lasts, milliseconds, when the venue says one."""

    def __init__(self, on_ban: Callable[[int], None] | None = None) -> None:
        self._on_ban = on_ban
        self._pools: dict[tuple[str, int], _Pool] = {}
        self._paused_until_mono_ns = 0
        self._banned_until_mono_ns = 0
        self.configure(DEFAULT_LIMITS)

    def configure(self, rates: Iterable[RateUse]) -> None:
        """Take the limits that exchangeInfo names; a kind or interval that is not known is passed over."""
        for rate in rates:
            key = (rate.kind, rate.interval_s)
            if rate.kind not in (WEIGHT, ORDERS) or rate.interval_s <= 0 or rate.limit <= 0:
                continue
            if key in self._pools:
                self._pools[key].limit = rate.limit
            elif len(self._pools) < POOLS_MAX:
                self._pools[key] = _Pool(rate)

    def refusal(self, urgency: Urgency, weight: int, orders: int, *, mono_ns: int, venue_utc_ms: int) -> str:
        """Return why a request must not be sent now: ``banned``, ``retry_after``, ``rate_limit``; empty if it may.

        Args:
            urgency: a protective request is never refused.
            weight: request weight it costs.
            orders: orders it counts for.
            mono_ns: CLOCK_MONOTONIC now.
            venue_utc_ms: the venue's clock now, Unix milliseconds.
        """
        if urgency is Urgency.PROTECTIVE:
            return ""
        if mono_ns < self._banned_until_mono_ns:
            return "banned"
        if mono_ns < self._paused_until_mono_ns:
            return "retry_after"
        share = SHARE[urgency]
        for pool in self._pools.values():
            cost = weight if pool.kind == WEIGHT else orders
            pool.turn(venue_utc_ms)
            if cost and pool.used + cost > pool.limit * share:
                return "rate_limit"
        return ""

    def charge(self, weight: int, orders: int, *, venue_utc_ms: int) -> None:
        """Count a request that is being sent."""
        for pool in self._pools.values():
            pool.turn(venue_utc_ms)
            pool.used += weight if pool.kind == WEIGHT else orders

    def observe(self, rates: Iterable[RateUse], *, venue_utc_ms: int) -> None:
        """Take what the venue says was used in the current window, and of what limit where it says that too.

        Requests still on their way are not in its count yet, so a smaller count than ours changes nothing.
        """
        for rate in rates:
            pool = self._pools.get((rate.kind, rate.interval_s))
            if pool is not None:
                pool.turn(venue_utc_ms)
                pool.used = max(pool.used, rate.used)
                pool.limit = rate.limit if rate.limit > 0 else pool.limit

    def on_rejected(self, rejected: Rejected, *, mono_ns: int) -> None:
        """Stop for as long as the venue asks after a rate limit or a ban; never shortens an earlier stop.

        A refusal for too many orders names no time and stops orders alone: the shortest order window counts as full.
        """
        if rejected.code == TOO_MANY_ORDERS:
            counted = [pool for pool in self._pools.values() if pool.kind == ORDERS]
            shortest = min(counted, key=lambda pool: pool.interval_ms)
            shortest.used = max(shortest.used, shortest.limit)
        until = mono_ns + rejected.retry_after_ms * NS_PER_MS
        if rejected.advice is Advice.BANNED:
            self.obey_ban(rejected.retry_after_ms, mono_ns=mono_ns)
            if self._on_ban is not None:
                self._on_ban(rejected.retry_after_ms)
        elif rejected.advice is Advice.RATE_LIMIT:
            self._paused_until_mono_ns = max(self._paused_until_mono_ns, until)

    def obey_ban(self, left_ms: int, *, mono_ns: int) -> None:
        """Stop for a ban that another process, or an earlier run, was told of; never shortens one."""
        self._banned_until_mono_ns = max(self._banned_until_mono_ns, mono_ns + left_ms * NS_PER_MS)

    def stopped_ms(self, mono_ns: int) -> int:
        """Return for how long requests other than protective ones still wait, milliseconds, 0 if they do not."""
        until = max(self._banned_until_mono_ns, self._paused_until_mono_ns)
        return max(0, -(-(until - mono_ns) // NS_PER_MS))

    def weight_used(self, *, venue_utc_ms: int) -> float:
        """Return the used part of the fullest weight limit, 1 where it is used up: by every process and host behind
        this address, as far as the venue has told.
        """
        weights = [use for use in self.uses(venue_utc_ms=venue_utc_ms) if use.kind == WEIGHT]
        return max(use.used / use.limit for use in weights)

    def uses(self, *, venue_utc_ms: int) -> tuple[RateUse, ...]:
        """Return every limit with what is used of it now."""
        for pool in self._pools.values():
            pool.turn(venue_utc_ms)
        return tuple(pool.use() for pool in self._pools.values())

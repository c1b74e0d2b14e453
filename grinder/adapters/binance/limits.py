"""The venue's rate limits, counted here and corrected by what the venue says it counted.

Times are arguments. Must never refuse a protective request for a limit or a pause: cancels, reduce-only orders and the
countdown pass while every other request waits; the other urgencies stop earlier, each at its own share of a limit.
While the address is banned nothing but what protects leaves, and that on trial: whoever was just answered with the ban
rests for TRIAL_MS, for a ban may grow by what ignores it, and may also end early or be of an address that we left.

Source: venue documentation, USDⓈ-M futures general info "LIMITS": REQUEST_WEIGHT 2400 a minute for each address, ORDERS
300 in 10 s and 1200 a minute for each account, in fixed windows, 2026-05-28. Since 2026-06-30 UM and CM share them, so
what the venue reports counts for more than what we counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from grinder.adapters.binance.stops import Stops
from grinder.adapters.binance.wire import Urgency
from grinder.core.venue_budget import REGULAR_SHARE, WEIGHT_PER_MIN
from grinder.model.units import MS_PER_S, NS_PER_MS
from grinder.model.venue import Advice, NotSent, RateUse, Rejected

WEIGHT: Final = "REQUEST_WEIGHT"
ORDERS: Final = "ORDERS"

STOPPED_BANNED: Final = "banned"
STOPPED_RETRY_AFTER: Final = "retry_after"
STOPPED_RATE_LIMIT: Final = "rate_limit"
"""Why a request did not leave: a ban, a pause, our own share of the minute."""

TOO_MANY_ORDERS: Final = -1015
"""Error code: the order count of a window is used up."""

TRIAL_MS: Final = 10_000
"""How long what protects rests after the venue answered this process with a ban, before it is tried again."""

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
    """What may still be sent now.

    ``stops``: pauses and bans of every process of the host. ``on_ban`` is told how long a ban lasts, milliseconds, when
    the venue says one.
    """

    def __init__(self, stops: Stops | None = None, on_ban: Callable[[int], None] | None = None) -> None:
        self._stops = Stops() if stops is None else stops
        self._on_ban = on_ban
        self._pools: dict[tuple[str, int], _Pool] = {}
        self._trial_boot_ns = 0
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

    def refusal(self, urgency: Urgency, weight: int, orders: int, *, boot_ns: int, venue_utc_ms: int) -> NotSent | None:
        """Return why a request must not be sent now: ``banned``, ``retry_after``, ``rate_limit``; None if it may.

        Args:
            urgency: a protective request is refused only right after the venue answered this process with a ban.
            weight: request weight it costs.
            orders: orders it counts for.
            boot_ns: CLOCK_BOOTTIME now.
            venue_utc_ms: the venue's clock now, Unix milliseconds.
        """
        banned_ms = self.banned_ms(boot_ns)
        if urgency is Urgency.PROTECTIVE:
            banned_ms = min(banned_ms, _left_ms(self._trial_boot_ns, boot_ns))
        if banned_ms:
            return NotSent(STOPPED_BANNED, banned_ms)
        if urgency is Urgency.PROTECTIVE:
            return None
        if paused_ms := _left_ms(self._stops.paused_until_boot_ns, boot_ns):
            return NotSent(STOPPED_RETRY_AFTER, paused_ms)
        share = SHARE[urgency]
        for pool in self._pools.values():
            cost = weight if pool.kind == WEIGHT else orders
            pool.turn(venue_utc_ms)
            if cost and pool.used + cost > pool.limit * share:
                return NotSent(STOPPED_RATE_LIMIT)
        return None

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

    def on_rejected(self, rejected: Rejected, *, boot_ns: int, of_stream: bool = False) -> None:
        """Stop for as long as the venue asks after a rate limit or a ban; never shortens an earlier stop.

        A refusal for too many orders names no time and stops orders alone: the shortest order window counts as full.
        A ban that a stream was answered with (``of_stream``) does not let what protects rest: it has not been tried.
        """
        if rejected.code == TOO_MANY_ORDERS:
            counted = [pool for pool in self._pools.values() if pool.kind == ORDERS]
            shortest = min(counted, key=lambda pool: pool.interval_ms)
            shortest.used = max(shortest.used, shortest.limit)
        if rejected.advice is Advice.BANNED:
            if not of_stream:
                self._trial_boot_ns = boot_ns + TRIAL_MS * NS_PER_MS
            self.obey_ban(rejected.retry_after_ms, boot_ns=boot_ns)
            if self._on_ban is not None:
                self._on_ban(rejected.retry_after_ms)
        elif rejected.advice is Advice.RATE_LIMIT and rejected.retry_after_ms:
            self._stops.pause(boot_ns + rejected.retry_after_ms * NS_PER_MS)

    def obey_ban(self, left_ms: int, *, boot_ns: int) -> None:
        """Stop for a ban, also one that an earlier run was told of; never shortens one."""
        if left_ms > 0:
            self._stops.ban(boot_ns + left_ms * NS_PER_MS)

    def banned_ms(self, boot_ns: int) -> int:
        """Return for how long the address is banned, milliseconds, 0 if it is not."""
        return _left_ms(self._stops.banned_until_boot_ns, boot_ns)

    def stopped_ms(self, boot_ns: int) -> int:
        """Return for how long requests other than protective ones still wait, milliseconds, 0 if they do not."""
        return max(self.banned_ms(boot_ns), _left_ms(self._stops.paused_until_boot_ns, boot_ns))

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


def _left_ms(until_boot_ns: int, boot_ns: int) -> int:
    """Return what is left until a time, milliseconds, rounded up; 0 if it has passed."""
    return max(0, -(-(until_boot_ns - boot_ns) // NS_PER_MS))

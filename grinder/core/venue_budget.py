"""What the tree asks the venue for regularly, what that weighs, and how much of the venue's limit may go there.

The periods of those who ask, and the weights as the wire's table has them; the settings refuse at the start what could
not be paid for. Must never count on another limit than the venue's own: who exceeds it and goes on is banned, and
then not even an emergency exit gets through.

Source: venue documentation, USDⓈ-M futures general info "LIMITS" and the weight of each endpoint, 2026-05-28.
"""

from __future__ import annotations

from math import ceil
from typing import Final

import msgspec

from grinder.model.limits import (
    ACCOUNT_STALE_MS,
    ACCOUNT_SYNC_INTERVAL_MS_MAX,
    DEAD_MAN_COUNTDOWN_MS_MAX,
    SYMBOLS_MAX,
)

WEIGHT_PER_MIN: Final = 2_400
"""Request weight that the venue grants one address in a minute; every process and host behind the address shares it."""

REGULAR_SHARE: Final = 0.60
"""Part of it that regular questions may use. The rest is for orders, cancels and an exit, which for two symbols weighs
some 300 to leave and 510 a minute to look again, and for a start, some 230."""

STRETCHED_MS: Final = 10_000
"""Least time between two snapshots while more than that is used, milliseconds."""

POSITIONS_WEIGHT: Final = 5
BALANCE_WEIGHT: Final = 5
OPEN_ORDERS_WEIGHT: Final = 1
OPEN_ORDERS_ALL_WEIGHT: Final = 40
POSITION_MODE_WEIGHT: Final = 30
INSTRUMENTS_WEIGHT: Final = 1
SERVER_TIME_WEIGHT: Final = 1
ACCOUNT_CONFIG_WEIGHT: Final = 5
TRADING_STATUS_WEIGHT: Final = 10
COUNTDOWN_WEIGHT: Final = 10
"""Weights of one request each. A test compares them with the wire's table, and this table with what is asked."""

SWEEP_MS: Final = 30_000
"""How often syncer and executor each ask for the orders of every symbol. In between the syncer asks for those of the
traded symbols: the whole list weighs 40, one symbol 1."""

CONDITIONAL_MS: Final = 60_000
SYNCER_MODE_MS: Final = 600_000
EXECUTOR_MODE_MS: Final = 120_000
RULES_MS: Final = 600_000
CLOCK_MS: Final = 5_000
STATUS_MS: Final = 60_000
"""Periods of the other regular questions, milliseconds."""

RENEWALS_PER_COUNTDOWN: Final = 4
COUNTDOWN_WEIGHT_PER_MIN_MAX: Final = 480
"""What all renewals of the dead-man's switch together should use: a fifth of the venue's limit."""

_MIN_MS: Final = 60_000


class Regular(msgspec.Struct, frozen=True):
    """A regular question. ``weight``: of all that is asked at once; ``period_ms``: how often."""

    what: str
    weight: int
    period_ms: int


def renew_after_ms(countdown_ms: int, symbols: int) -> int:
    """Return the time between two renewals of one symbol: a quarter of the countdown, never more than half of it.

    ``symbols``: how many are wound up; many of them share the weight, and are renewed less often.
    """
    fair_ms = symbols * COUNTDOWN_WEIGHT * _MIN_MS // COUNTDOWN_WEIGHT_PER_MIN_MAX
    return min(countdown_ms // 2, max(countdown_ms // RENEWALS_PER_COUNTDOWN, fair_ms))


def regular(symbols: int, interval_ms: int, countdown_ms: int) -> tuple[Regular, ...]:
    """Return all that a tree asks for regularly.

    Args:
        symbols: how many it trades.
        interval_ms: between two account snapshots.
        countdown_ms: of the dead-man's switch; counted as if orders rested in every symbol.
    """
    snapshot = POSITIONS_WEIGHT + BALANCE_WEIGHT + symbols * OPEN_ORDERS_WEIGHT
    return (
        Regular("account snapshots", snapshot, interval_ms),
        Regular("orders of all symbols, syncer", OPEN_ORDERS_ALL_WEIGHT, SWEEP_MS),
        Regular("orders of all symbols, executor", OPEN_ORDERS_ALL_WEIGHT, SWEEP_MS),
        Regular("conditional orders, executor", OPEN_ORDERS_ALL_WEIGHT, CONDITIONAL_MS),
        Regular("position mode, syncer", POSITION_MODE_WEIGHT, SYNCER_MODE_MS),
        Regular("position mode, executor", POSITION_MODE_WEIGHT, EXECUTOR_MODE_MS),
        Regular("rules, syncer and executor", 2 * INSTRUMENTS_WEIGHT, RULES_MS),
        Regular("clock", SERVER_TIME_WEIGHT, CLOCK_MS),
        Regular("trading status and account set-up", TRADING_STATUS_WEIGHT + ACCOUNT_CONFIG_WEIGHT, STATUS_MS),
        Regular("dead-man's switch", symbols * COUNTDOWN_WEIGHT, renew_after_ms(countdown_ms, symbols)),
    )


def weight_per_min(rows: tuple[Regular, ...]) -> int:
    """Return what regular questions weigh in a minute, rounded up."""
    return ceil(sum(row.weight * _MIN_MS / row.period_ms for row in rows))


def weight_per_min_max() -> int:
    """Return the most that regular questions may weigh in a minute."""
    return int(WEIGHT_PER_MIN * REGULAR_SHARE)


def least_interval_ms(symbols: int, countdown_ms: int) -> int:
    """Return the shortest time between two snapshots that fits, milliseconds; 0 if none does."""
    snapshots, *others = regular(symbols, _MIN_MS, countdown_ms)
    left = weight_per_min_max() - weight_per_min(tuple(others))
    return -(-snapshots.weight * _MIN_MS // left) if left > 0 else 0


assert 0 < least_interval_ms(SYMBOLS_MAX, DEAD_MAN_COUNTDOWN_MS_MAX) <= ACCOUNT_SYNC_INTERVAL_MS_MAX
assert ACCOUNT_SYNC_INTERVAL_MS_MAX < STRETCHED_MS < ACCOUNT_STALE_MS

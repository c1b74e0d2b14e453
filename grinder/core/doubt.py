"""How long an order stays in doubt: when to ask the venue again, and when *not found* means that it was never placed.

Must never call an order gone after one answer: the venue denies orders it has just accepted (-2013) for a while.
"""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.model.units import NS_PER_MS

FIRST_QUERY_MS: Final = 300
QUERY_PERIOD_MS_MAX: Final = 5_000
NOT_FOUND_MIN: Final = 4
NOT_FOUND_AFTER_MS: Final = 5_000
"""An order counts as not there after this many answers *not found*, and not before this time. Source: R5."""

assert FIRST_QUERY_MS < QUERY_PERIOD_MS_MAX


class Doubt(msgspec.Struct, frozen=True):
    """One question that is open. ``asked``: queries sent; ``not_found``: answers that the venue knows no such order."""

    since_mono_ns: int
    next_mono_ns: int
    asked: int = 0
    not_found: int = 0
    waiting: bool = False


def begin(now_mono_ns: int, delay_ms: int = FIRST_QUERY_MS) -> Doubt:
    """Return a new doubt whose first query is due after ``delay_ms``."""
    return Doubt(now_mono_ns, now_mono_ns + delay_ms * NS_PER_MS)


def hurried(doubt: Doubt, now_mono_ns: int) -> Doubt:
    """Return the doubt with its next query due now; what the venue has answered so far still counts."""
    return msgspec.structs.replace(doubt, next_mono_ns=min(doubt.next_mono_ns, now_mono_ns))


def due(doubt: Doubt, now_mono_ns: int) -> bool:
    """Tell whether a query should be sent now."""
    return not doubt.waiting and now_mono_ns >= doubt.next_mono_ns


def asked(doubt: Doubt) -> Doubt:
    """Return the doubt with a query on its way."""
    return msgspec.structs.replace(doubt, asked=doubt.asked + 1, waiting=True)


def answered(doubt: Doubt, now_mono_ns: int, *, not_found: bool) -> Doubt:
    """Return the doubt after an answer that did not settle it; the next query waits twice as long, within bounds."""
    wait_ms = min(QUERY_PERIOD_MS_MAX, FIRST_QUERY_MS << min(doubt.asked, 10))
    return msgspec.structs.replace(
        doubt,
        waiting=False,
        next_mono_ns=now_mono_ns + wait_ms * NS_PER_MS,
        not_found=doubt.not_found + (1 if not_found else 0),
    )


def absent(doubt: Doubt, now_mono_ns: int) -> bool:
    """Tell whether the venue has denied the order often and long enough to believe it."""
    age_ns = now_mono_ns - doubt.since_mono_ns
    return doubt.not_found >= NOT_FOUND_MIN and age_ns >= NOT_FOUND_AFTER_MS * NS_PER_MS

"""How long an order stays in doubt: when to ask the venue again, when *not found* means that it is not there, and when
somebody has to be told that asking does not help.

Must never call an order gone after one answer: the venue denies orders it has just accepted (-2013) for a while. Must
never stop to ask: after the tries it asks slowly, until an answer settles the matter.
"""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.model.limits import RECV_WINDOW_MS_MAX
from grinder.model.units import NS_PER_MS

FIRST_QUERY_MS: Final = 300
QUERY_PERIOD_MS_MAX: Final = 5_000
NOT_FOUND_MIN: Final = 4
AHEAD_MS_MAX: Final = 1_000
"""How far a timestamp may be ahead of the venue's clock. Source: venue general info, timing security, 2026-05-28."""

DENIED_MS_MAX: Final = 3_000
"""How long the venue may deny an order that it has taken, milliseconds. Source: R5."""

TRIES_MAX: Final = 10
SLOW_PERIOD_MS: Final = 30_000
UNRESOLVED_AFTER_MS: Final = RECV_WINDOW_MS_MAX + AHEAD_MS_MAX + DENIED_MS_MAX
"""After this many queries, the last no sooner than this, the doubt is *unresolved*: it is told, its symbol takes no new
risk, and it is asked for slowly. Queries that something hurried do not use the time up in which one of them could have
shown that the order is not there."""

ANSWER_OVERDUE_MS: Final = 15_000
"""A query without any reply for this long is asked again; the venue adapter gives up before that."""

DAY_MS: Final = 24 * 3_600 * 1_000
UNFILLED_KEPT_MS: Final = 3 * DAY_MS
FILLED_KEPT_MS: Final = 90 * DAY_MS
"""How long the venue answers for an order that ended without a fill, and for any other. Source: venue documentation,
GET /fapi/v1/order, 2026-05-28."""

assert FIRST_QUERY_MS < QUERY_PERIOD_MS_MAX < ANSWER_OVERDUE_MS < SLOW_PERIOD_MS
assert NOT_FOUND_MIN < TRIES_MAX


class Doubt(msgspec.Struct, frozen=True):
    """One question that is open.

    ``begun_mono_ns``: when it was first asked, or its placement was given up without an answer, whichever came later;
    ``since_mono_ns``: since when it has been in doubt; a later command begins that anew. ``asked``: queries sent;
    ``not_found``: answers that the venue knows no such order; ``last``: the last answer that settled nothing, as short
    text; ``told``: it was said that asking does not help; ``again``: ask once more after the answer on its way, which
    may be older than what made us ask.
    """

    begun_mono_ns: int
    since_mono_ns: int
    next_mono_ns: int
    asked: int = 0
    asked_mono_ns: int = 0
    not_found: int = 0
    waiting: bool = False
    last: str = "no answer"
    told: bool = False
    again: bool = False

    @property
    def unresolved(self) -> bool:
        """Tell whether the tries are used up, and the time in which they could have helped."""
        late = self.asked_mono_ns - self.begun_mono_ns >= UNRESOLVED_AFTER_MS * NS_PER_MS
        return late and self.asked >= TRIES_MAX


def begin(now_mono_ns: int, delay_ms: int = FIRST_QUERY_MS) -> Doubt:
    """Return a new doubt whose first query is due after ``delay_ms``."""
    return Doubt(now_mono_ns, now_mono_ns, now_mono_ns + delay_ms * NS_PER_MS)


def repeated(doubt: Doubt) -> Doubt:
    """Return the doubt with a query that is sent after now: one on its way may be answered from before."""
    return msgspec.structs.replace(doubt, again=True) if doubt.waiting else doubt


def hurried(doubt: Doubt, now_mono_ns: int) -> Doubt:
    """Return the doubt with its next query due now; what was asked and answered stays."""
    return repeated(doubt) if doubt.waiting else msgspec.structs.replace(doubt, next_mono_ns=now_mono_ns)


def renewed(doubt: Doubt, now_mono_ns: int) -> Doubt:
    """Return the doubt as new, because of a later command; a query that is due or on its way stays so.

    What the venue has denied stays denied: no command but the placement, which was sent once, makes an order.
    """
    return msgspec.structs.replace(doubt, since_mono_ns=now_mono_ns, asked=0, told=False)


def restarted(doubt: Doubt, now_mono_ns: int) -> Doubt:
    """Return the doubt as from the start, because its placement has just been given up without an answer.

    Whoever asked before may have asked before the placement left: it waits for a connection, as long as its deadline.
    """
    anew = begin(now_mono_ns)
    return msgspec.structs.replace(
        doubt,
        begun_mono_ns=now_mono_ns,
        since_mono_ns=now_mono_ns,
        next_mono_ns=min(doubt.next_mono_ns, anew.next_mono_ns),
        asked=0,
        not_found=0,
        told=False,
    )


def due(doubt: Doubt, now_mono_ns: int) -> bool:
    """Tell whether a query should be sent now."""
    if doubt.waiting:
        return now_mono_ns - doubt.asked_mono_ns >= ANSWER_OVERDUE_MS * NS_PER_MS
    return now_mono_ns >= doubt.next_mono_ns


def asked(doubt: Doubt, now_mono_ns: int) -> Doubt:
    """Return the doubt with a query on its way."""
    return msgspec.structs.replace(doubt, asked=doubt.asked + 1, asked_mono_ns=now_mono_ns, waiting=True)


def answered(
    doubt: Doubt,
    now_mono_ns: int,
    *,
    not_found: bool,
    last: str = "not found",
    recv_window_ms: int = RECV_WINDOW_MS_MAX,
) -> Doubt:
    """Return the doubt after an answer that did not settle it; the next query waits twice as long, within bounds.

    Args:
        doubt: before the answer.
        now_mono_ns: now.
        not_found: the venue knows no such order.
        last: the answer as short text.
        recv_window_ms: of the order's commands; a query is due when the last of them can arrive no more, and when *not
            found* begins to prove something.
    """
    wait_ms = min(QUERY_PERIOD_MS_MAX, FIRST_QUERY_MS << min(doubt.asked, 10))
    if doubt.again:
        wait_ms = 0
    elif doubt.unresolved and not not_found:
        # A venue that denies the order is asked on: a few such answers more, and the matter is settled.
        wait_ms = SLOW_PERIOD_MS
    telling = (
        doubt.since_mono_ns + in_flight_ms(recv_window_ms) * NS_PER_MS,
        doubt.begun_mono_ns + not_found_after_ms(recv_window_ms) * NS_PER_MS,
    )
    ahead = [moment for moment in telling if moment > now_mono_ns]
    return msgspec.structs.replace(
        doubt,
        waiting=False,
        again=False,
        next_mono_ns=min([now_mono_ns + wait_ms * NS_PER_MS, *ahead]),
        not_found=doubt.not_found + (1 if not_found else 0),
        last=last,
    )


def in_flight_ms(recv_window_ms: int) -> int:
    """Return how long after it left a command may still be carried out: then the venue refuses it for its age.

    Args:
        recv_window_ms: the age that the command itself named, milliseconds.
    """
    return recv_window_ms + AHEAD_MS_MAX


def not_found_after_ms(recv_window_ms: int) -> int:
    """Return when *not found* is believed: by then a placement that came as late as it could is shown."""
    return in_flight_ms(recv_window_ms) + DENIED_MS_MAX


def absent(doubt: Doubt, recv_window_ms: int) -> bool:
    """Tell whether the venue has denied the order often and long enough to believe it.

    Args:
        doubt: begun when the placement had left, or later; what counts is when the last question was asked.
        recv_window_ms: of the order's commands, milliseconds.
    """
    age_ns = doubt.asked_mono_ns - doubt.begun_mono_ns
    return doubt.not_found >= NOT_FOUND_MIN and age_ns >= not_found_after_ms(recv_window_ms) * NS_PER_MS


def may_still_arrive(doubt: Doubt, recv_window_ms: int) -> bool:
    """Tell whether the command that nobody answered could be carried out after the last question was asked."""
    return doubt.asked_mono_ns - doubt.since_mono_ns < in_flight_ms(recv_window_ms) * NS_PER_MS


def absence(sent_utc_ms: int, now_utc_ms: int) -> str:
    """Return what it means that the venue does not know an order, as short text; its age decides what it may forget."""
    age_ms = now_utc_ms - sent_utc_ms if sent_utc_ms else 0
    if age_ms >= FILLED_KEPT_MS:
        return "forgotten by the venue after 90 days; its fills cannot be asked for"
    return "ended without a fill; forgotten by the venue after 3 days" if age_ms >= UNFILLED_KEPT_MS else ""

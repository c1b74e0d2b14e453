"""What the loop does about mismatches that last: one table from rule, duration and size to a response.

No new risk is taken from the first moment of a certain mismatch; this is about what follows when it does not go away.
Must never answer less to a larger or an older mismatch.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import Enum, auto
from typing import Final

import msgspec

from grinder.core.reconcile import Finding
from grinder.model.control import AccountResponse
from grinder.model.reasons import MismatchRule
from grinder.model.units import ZERO


class Way(Enum):
    """How a rule is answered.

    REPORTED: counted and told, nothing more. GRADED: by duration and size. SELF_STOP: paused at once, for somebody else
    acts under our name. AT_ONCE: the kill switch, at once.
    """

    REPORTED = auto()
    GRADED = auto()
    SELF_STOP = auto()
    AT_ONCE = auto()


WAYS: Final[dict[MismatchRule, Way]] = {
    MismatchRule.TS_REGRESSION: Way.REPORTED,
    MismatchRule.DUPLICATE_KEY: Way.GRADED,
    MismatchRule.NEGATIVE_QTY: Way.GRADED,
    MismatchRule.ORPHAN_ORDER: Way.GRADED,
    MismatchRule.POSITION_DIFFERS_FROM_FILLS: Way.GRADED,
    MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX: Way.SELF_STOP,
    MismatchRule.ORDER_MISSING_AT_VENUE: Way.GRADED,
    MismatchRule.ORDER_DIFFERS: Way.GRADED,
    MismatchRule.VENUE_ORDER_UNKNOWN: Way.REPORTED,
    MismatchRule.STREAM_DIFFERS: Way.REPORTED,
    MismatchRule.FORCED_CLOSE: Way.AT_ONCE,
}

assert set(WAYS) == set(MismatchRule)


class Grades(msgspec.Struct, frozen=True):
    """When a graded mismatch is answered how, from settings.

    ``*_ms``: how long it has lasted, milliseconds; 0 is never by duration. ``*_usd``: how large it is, quote currency;
    a size counts once the mismatch has lasted ``degraded_ms``.
    """

    degraded_ms: int = 10_000
    paused_ms: int = 60_000
    emergency_ms: int = 0
    paused_usd: Decimal = Decimal(500)
    emergency_usd: Decimal = Decimal(5_000)


class Lasting(msgspec.Struct, frozen=True):
    """A mismatch that is certain, and how long it has been seen, milliseconds."""

    finding: Finding
    age_ms: int


def respond(lasting: Iterable[Lasting], grades: Grades) -> tuple[AccountResponse, MismatchRule | None]:
    """Return the response to everything that differs now, and the rule that demands it.

    The sizes of all graded mismatches are added up; one whose size nobody knows is graded by its duration alone.
    """
    worst: tuple[AccountResponse, MismatchRule | None] = (AccountResponse.NONE, None)
    graded = [item for item in lasting if WAYS[item.finding.rule] is not Way.REPORTED]
    total = sum((item.finding.notional or ZERO for item in graded if _counts(item, grades)), ZERO)
    for item in graded:
        response = _response(item, total, grades)
        if response > worst[0]:
            worst = (response, item.finding.rule)
    return worst


def _counts(item: Lasting, grades: Grades) -> bool:
    return WAYS[item.finding.rule] is Way.GRADED and item.age_ms >= grades.degraded_ms


def _response(item: Lasting, total: Decimal, grades: Grades) -> AccountResponse:
    way = WAYS[item.finding.rule]
    if way is Way.AT_ONCE:
        return AccountResponse.EMERGENCY
    if way is Way.SELF_STOP:
        return AccountResponse.PAUSED
    if item.age_ms < grades.degraded_ms:
        return AccountResponse.NONE
    if total >= grades.emergency_usd or 0 < grades.emergency_ms <= item.age_ms:
        return AccountResponse.EMERGENCY
    if total >= grades.paused_usd or 0 < grades.paused_ms <= item.age_ms:
        return AccountResponse.PAUSED
    return AccountResponse.DEGRADED

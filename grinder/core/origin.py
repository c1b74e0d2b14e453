"""Whose an order is, by its client order id alone, and what is done at start with one that rests and nobody here knows.

Must never touch an order that may be somebody else's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from grinder.core.orders import made_by_venue
from grinder.model.control import FoundOrders
from grinder.model.orders import parse_order_id


class Origin(StrEnum):
    """Whose an order is. OURS: our prefix and term. VENUE: the venue itself closes a position with it."""

    OURS = "OURS"
    OLDER_TERM = "OLDER_TERM"
    NEWER_TERM = "NEWER_TERM"
    VENUE = "VENUE"
    FOREIGN = "FOREIGN"


class Treatment(StrEnum):
    """What is done with an order that was found resting. CANCEL: taken over first, so that its end is seen."""

    ADOPT = "ADOPT"
    CANCEL = "CANCEL"
    LEAVE = "LEAVE"
    STOP = "STOP"
    TRIP = "TRIP"


_BY_ORIGIN: Final[dict[Origin, dict[FoundOrders, Treatment]]] = {
    Origin.OURS: {FoundOrders.ADOPT: Treatment.ADOPT, FoundOrders.CANCEL: Treatment.CANCEL},
    Origin.OLDER_TERM: dict.fromkeys(FoundOrders, Treatment.CANCEL),
    Origin.NEWER_TERM: dict.fromkeys(FoundOrders, Treatment.STOP),
    Origin.VENUE: dict.fromkeys(FoundOrders, Treatment.TRIP),
    Origin.FOREIGN: dict.fromkeys(FoundOrders, Treatment.LEAVE),
}
"""An entry of an older term belongs to a leader that is no more; one of a newer term shows that we do not lead."""

assert set(_BY_ORIGIN) == set(Origin)
assert all(set(row) == set(FoundOrders) for row in _BY_ORIGIN.values())


def origin_of(client_order_id: str, prefix: str, term: int) -> Origin:
    """Return whose an order is; an id that is not of our form is foreign."""
    if made_by_venue(client_order_id):
        return Origin.VENUE
    parts = parse_order_id(client_order_id)
    if parts is None or parts.prefix != prefix:
        return Origin.FOREIGN
    if parts.term == term:
        return Origin.OURS
    return Origin.OLDER_TERM if parts.term < term else Origin.NEWER_TERM


def treatment(origin: Origin, rule: FoundOrders, *, reduce_only: bool) -> Treatment:
    """Return what is done with an order that was found resting; one that only reduces is never taken back."""
    chosen = _BY_ORIGIN[origin][rule]
    return Treatment.ADOPT if chosen is Treatment.CANCEL and reduce_only else chosen

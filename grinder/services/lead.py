"""Who leads: what the executor's parts share of it, and what the executor and the side of the cluster ask each other.

Must never say that a host leads whose leadership is not on the board.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from grinder.model.control import TripReason


class Lead:
    """Whether this host may act at the venue now, and under which term; only the executor changes it.

    ``term``: of the ids that this host makes, 0 where it is alone. ``leads``: it may act.
    """

    __slots__ = ("leads", "term")

    def __init__(self, term: int, *, leads: bool) -> None:
        self.term = term
        self.leads = leads

    def won(self, term: int) -> None:
        """Begin to lead under a term."""
        self.term, self.leads = term, True

    def lost(self) -> None:
        """Lead no more; the term stays, to tell older ids from newer ones."""
        self.leads = False


class Duties(msgspec.Struct, frozen=True):
    """What the cluster's side asks of the executor; the board says what it means before each call.

    ``won``: act under this term from now on. ``lost``: act no more; why. ``hand_over``: put the orders in order, so
    that another may lead, and then call ``release``; why. ``unfit``: why this host could do nothing at the venue if it
    led, or an empty string.
    """

    won: Callable[[int], None]
    lost: Callable[[str], None]
    hand_over: Callable[[str], None]
    unfit: Callable[[], str]


class Membership(Protocol):
    """What the executor has of the cluster."""

    @property
    def why(self) -> str:
        """Why this host may not act, for people."""
        ...

    @property
    def left(self) -> bool:
        """Tell whether a stop may end: the lease was given back, or that took too long."""
        ...

    def on_start(self) -> None:
        """Say on the board that nobody knows who leads, and begin to find out."""
        ...

    def on_timer(self) -> None:
        """Look at deadlines; may call any of the duties."""
        ...

    def on_order_seen(self, term: int) -> None:
        """Learn that the venue tells of an order of ours of a term."""
        ...

    def on_own_trip(self, reason: TripReason) -> None:
        """Learn that the executor has tripped the kill switch by itself, also where its word was set before."""
        ...

    def stop(self) -> None:
        """Stand for no election any more; who leads goes on leading until ``release``."""
        ...

    def release(self, *, clean: bool) -> None:
        """Give the lease back; ``clean``: nothing of this term rests or is on its way, so the next may act at once."""
        ...

"""Asks the venue for whole account snapshots, one at a time, and for the position mode.

A snapshot of which a part could not be read is none. Must never take a failed query for *flat* or *no orders*.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from grinder.core.account import Snapshot
from grinder.core.venue_budget import REGULAR_SHARE, STRETCHED_MS, SWEEP_MS, SYNCER_MODE_MS
from grinder.model.account import Balance, OpenOrder, Position
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    Answer,
    Confirmed,
    InDoubt,
    NotSent,
    QueryBalance,
    QueryOpenOrders,
    QueryPositionMode,
    QueryPositions,
    Rejected,
    VenueReply,
    VenueRequest,
)
from grinder.ports import Clock, Venue

ANSWER_MS_MAX: Final = 10_000
"""A snapshot that is not whole after this long is given up, milliseconds; the venue adapter answers before that."""


class SnapshotReader:
    """Reads snapshots every ``interval_ms``; ``on_timer`` drives it.

    ``on_snapshot`` gets each whole one, ``on_mode`` the position mode (True: hedge), ``on_error`` a short stable reason
    and the name of the query for each that failed. ``venue_utc_ms``: the venue's clock as well as it is known.
    ``weight_used``: part of the venue's request weight of this minute that is used; where it is too much, snapshots
    come seldom, for an exit may need the rest.
    """

    def __init__(
        self,
        venue: Venue,
        clock: Clock,
        symbols: tuple[str, ...],
        interval_ms: int,
        *,
        venue_utc_ms: Callable[[], int],
        weight_used: Callable[[], float],
        on_snapshot: Callable[[Snapshot], None],
        on_mode: Callable[[bool], None],
        on_error: Callable[[str, str], None],
    ) -> None:
        self._venue = venue
        self._clock = clock
        self._symbols = symbols
        self._interval_ns = interval_ms * NS_PER_MS
        self._venue_utc_ms = venue_utc_ms
        self._weight_used = weight_used
        self._on_snapshot = on_snapshot
        self._on_mode = on_mode
        self._on_error = on_error
        self._parts: dict[VenueRequest, Answer] = {}
        self._elsewhere: tuple[OpenOrder, ...] = ()
        self._sweep_due_mono_ns = 0
        self._swept = False
        self._waiting = 0
        self._round = 0
        self._asked_mono_ns = 0
        self._asked_utc_ms = 0
        self._due_mono_ns = 0
        self._mode_due_mono_ns = 0
        self.stretched = False

    @property
    def period_ms(self) -> int:
        """Return the time between two snapshots now, milliseconds."""
        return max(self._interval_ns // NS_PER_MS, STRETCHED_MS if self.stretched else 0)

    def read_soon(self) -> None:
        """Read at the next timer, unless the venue's weight runs short."""
        self._due_mono_ns = 0

    def on_timer(self) -> None:
        """Ask for what is due."""
        now = self._clock.mono_ns()
        self.stretched = self._weight_used() >= REGULAR_SHARE
        if now >= self._mode_due_mono_ns:
            self._mode_due_mono_ns = now + self.period_ms * NS_PER_MS
            self._venue.submit(QueryPositionMode(), self._take_mode)
        if self._waiting and now - self._asked_mono_ns > ANSWER_MS_MAX * NS_PER_MS:
            self._waiting = 0
            self._on_error("no_answer", "snapshot")
        asked_lately = self._round > 0 and now - self._asked_mono_ns < STRETCHED_MS * NS_PER_MS
        if self._waiting or now < self._due_mono_ns or (self.stretched and asked_lately):
            return
        self._due_mono_ns = now + self._interval_ns
        self._parts = {}
        self._round += 1
        self._asked_mono_ns = now
        self._asked_utc_ms = self._venue_utc_ms()
        sweep = not self._swept or now >= self._sweep_due_mono_ns
        if sweep:
            self._sweep_due_mono_ns = now + SWEEP_MS * NS_PER_MS
        orders = (QueryOpenOrders(),) if sweep else tuple(QueryOpenOrders(symbol) for symbol in self._symbols)
        parts: tuple[VenueRequest, ...] = (QueryPositions(), QueryBalance(), *orders)
        self._waiting = len(parts)
        for part in parts:
            self._venue.submit(part, partial(self._take_part, part, self._round))

    def _take_mode(self, reply: VenueReply) -> None:
        if isinstance(reply, Confirmed) and isinstance(reply.value, bool):
            self._mode_due_mono_ns = self._clock.mono_ns() + SYNCER_MODE_MS * NS_PER_MS
            self._on_mode(reply.value)
        else:
            self._on_error(_reason(reply), QueryPositionMode.__name__)

    def _take_part(self, part: VenueRequest, asked_in: int, reply: VenueReply) -> None:
        if asked_in != self._round or self._waiting == 0:
            return
        self._waiting -= 1
        if isinstance(reply, Confirmed):
            self._parts[part] = reply.value
        else:
            self._on_error(_reason(reply), type(part).__name__)
        if self._waiting == 0:
            self._put_together()

    def _put_together(self) -> None:
        positions = self._parts.get(QueryPositions())
        balance = self._parts.get(QueryBalance())
        orders = self._open_orders()
        if not isinstance(positions, tuple) or orders is None or not isinstance(balance, Balance):
            return
        held = tuple(item for item in positions if isinstance(item, Position))
        if any(item.update_utc_ms <= 0 for item in held):
            # Whatever the stream told of it before would count as newer, for ever.
            self._on_error("no_time", QueryPositions.__name__)
            return
        self._on_snapshot(Snapshot(held, orders, balance, self._asked_mono_ns, self._asked_utc_ms))

    def _open_orders(self) -> tuple[OpenOrder, ...] | None:
        """Return every resting order, of other symbols as of the last sweep; None if a part could not be read."""
        found: list[OpenOrder] = []
        whole = QueryOpenOrders()
        for part in (whole,) if whole in self._parts else map(QueryOpenOrders, self._symbols):
            value = self._parts.get(part)
            if not isinstance(value, tuple):
                return None
            found.extend(item for item in value if isinstance(item, OpenOrder))
        if whole in self._parts:
            self._swept = True
            self._elsewhere = tuple(item for item in found if item.symbol not in self._symbols)
            return tuple(found)
        return (*found, *self._elsewhere)


def _reason(reply: VenueReply) -> str:
    """Return a short stable word for a query that did not succeed."""
    match reply:
        case Rejected():
            return f"rejected_{reply.advice.value.lower()}"
        case InDoubt():
            return "in_doubt"
        case NotSent():
            return "not_sent"
        case Confirmed():
            return "unexpected_answer"

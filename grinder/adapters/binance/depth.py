"""Depth snapshots by REST for books that are rebuilt from differences: one request at a time, at a pace.

A symbol that wants one gets one, however often it asks and however often the venue fails. Must never ask faster than
the pace: a snapshot weighs as much as ten other questions, and every symbol wants one after a reconnect.

Source: venue documentation, GET /fapi/v1/depth (weight 10 for 500 levels) and "How to manage a local order book
correctly", 2026-05-28.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from grinder.model.market import DepthSnapshot
from grinder.model.units import MS_PER_S
from grinder.model.venue import Confirmed, VenueReply
from grinder.model.venue_account import QueryDepth
from grinder.ports import Clock, Log, Venue

PACE_MS: Final = 1_000
"""Wait between the end of one request and the next, milliseconds: 600 of the venue's 2400 weight a minute at most."""


class DepthSnapshots:
    """Fetches what is wanted, first come first served. Call inside the running loop."""

    def __init__(
        self,
        venue: Venue,
        on_snapshot: Callable[[DepthSnapshot], None],
        *,
        clock: Clock,
        log: Log,
        pace_ms: int = PACE_MS,
    ) -> None:
        """Keep what is needed; nothing is sent before a symbol is wanted.

        Args:
            venue: an open venue.
            on_snapshot: takes each snapshot, with its receive time; may ask for the next one.
            clock: receive time.
            log: failures.
            pace_ms: wait between two requests, milliseconds.
        """
        self._venue = venue
        self._on_snapshot = on_snapshot
        self._clock = clock
        self._log = log
        self._pace_s = pace_ms / MS_PER_S
        self._wanted: dict[str, None] = {}
        self._busy = False

    def request(self, symbol: str) -> None:
        """Have a snapshot of a symbol fetched; asking again while it is on its way changes nothing."""
        self._wanted[symbol] = None
        if not self._busy:
            self._ask_next()

    def _ask_next(self) -> None:
        self._busy = bool(self._wanted)
        if not self._busy:
            return
        symbol = next(iter(self._wanted))
        del self._wanted[symbol]

        def on_reply(reply: VenueReply) -> None:
            # The pause comes first, for a snapshot that does not fit asks for another at once.
            asyncio.get_running_loop().call_later(self._pace_s, self._ask_next)
            self._take(symbol, reply)

        self._venue.submit(QueryDepth(symbol), on_reply)

    def _take(self, symbol: str, reply: VenueReply) -> None:
        if isinstance(reply, Confirmed) and isinstance(reply.value, DepthSnapshot):
            self._on_snapshot(msgspec.structs.replace(reply.value, recv_mono_ns=self._clock.mono_ns()))
            return
        self._wanted[symbol] = None
        self._log.event("DEPTH_SNAPSHOT_FAILED", symbol=symbol, outcome=type(reply).__name__)

"""Depth streams: differences and partial books at their paces, made of the tape's own differences.

Invariant: on each stream, ``pu`` of an event is ``u`` of the one before it, whatever the pace. Source: USDⓈ-M futures,
diff. and partial book depth streams, 2026-05-28: 250 ms unless the name says 100 or 500.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from grinder.model.orders import Side
from grinder.model.units import NS_PER_S
from grinder.sim.exchange.events import plain
from grinder.sim.market.tape import Depth, Rows
from grinder.sim.wire.context import Context

PACES_NS: Final = {"": 250_000_000, "@0ms": 0, "@100ms": 100_000_000, "@250ms": 250_000_000, "@500ms": 500_000_000}
"""Pace by what the stream's name ends with; ``@0ms`` is every difference as it comes, for recordings."""

PARTIAL_LEVELS: Final = (5, 10, 20)
RETAIL_NAME: Final = "@rpiDepth@500ms"
EARLY_NS: Final = 20_000_000
"""How much too early a difference may be and still go out at once, so that a tape of the same pace is not delayed."""


class _Stream:
    """One stream: what has come since it last sent. ``levels`` 0: differences."""

    __slots__ = ("asks", "bids", "due", "first_id", "last_id", "levels", "name", "pace_ns", "previous_id", "sent_ns")

    def __init__(self, name: str, pace_ns: int, levels: int) -> None:
        self.name = name
        self.pace_ns = pace_ns
        self.levels = levels
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.first_id = self.last_id = self.previous_id = 0
        self.sent_ns = 0
        self.due: asyncio.TimerHandle | None = None

    @property
    def empty(self) -> bool:
        """Tell whether nothing waits to be sent."""
        return self.last_id == 0

    def take(self, event: Depth) -> None:
        """Take a difference; the newest quantity of a price stands."""
        if self.empty:
            self.first_id, self.previous_id = event.first_id, event.previous_id
        self.last_id = event.last_id
        if not self.levels:
            self.bids.update((row[0], row[1]) for row in event.bids)
            self.asks.update((row[0], row[1]) for row in event.asks)

    def clear(self) -> None:
        """Forget what waited."""
        self.bids, self.asks = {}, {}
        self.first_id = self.last_id = self.previous_id = 0


class DepthFeed:
    """Every depth stream of a venue."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._streams: dict[str, list[_Stream]] = {}

    def on_depth(self, event: Depth) -> None:
        """Take one difference of the tape, after the venue's own book took it."""
        wanted = self._context.hub.wanted
        for stream in self._streams_of(event.symbol):
            if not wanted(stream.name):
                stream.clear()
                continue
            stream.take(event)
            if stream.due is not None:
                continue
            wait_ns = stream.sent_ns + stream.pace_ns - self._context.clock.mono_ns()
            if wait_ns <= min(EARLY_NS, stream.pace_ns):
                self._send(event.symbol, stream)
            else:
                loop = asyncio.get_running_loop()
                stream.due = loop.call_later(wait_ns / NS_PER_S, self._send, event.symbol, stream)

    def _send(self, symbol: str, stream: _Stream) -> None:
        stream.due = None
        if stream.empty:
            return
        context = self._context
        stream.sent_ns, now = context.clock.mono_ns(), context.clock.utc_ms()
        bids, asks = self._book(symbol, stream.levels) if stream.levels else (_rows(stream.bids), _rows(stream.asks))
        head = {"e": "depthUpdate", "E": now, "T": now, "s": symbol, "ps": symbol, "st": 1}
        ids = {"U": stream.first_id, "u": stream.last_id, "pu": stream.previous_id}
        context.hub.publish(stream.name, msgspec.json.encode({**head, **ids, "b": bids, "a": asks}))
        stream.clear()

    def _book(self, symbol: str, levels: int) -> tuple[Rows, Rows]:
        tape = self._context.venue.exchange.market(symbol).tape
        bids, asks = (
            [[plain(price), plain(qty)] for price, qty in tape.ladder(side, levels)] for side in (Side.BUY, Side.SELL)
        )
        return bids, asks

    def _streams_of(self, symbol: str) -> list[_Stream]:
        streams = self._streams.get(symbol)
        if streams is None:
            name = symbol.lower()
            streams = [_Stream(f"{name}@depth{pace}", pace_ns, 0) for pace, pace_ns in PACES_NS.items()]
            streams.append(_Stream(f"{name}{RETAIL_NAME}", PACES_NS["@500ms"], 0))
            for levels in PARTIAL_LEVELS:
                streams += [_Stream(f"{name}@depth{levels}{pace}", ns, levels) for pace, ns in PACES_NS.items()]
            self._streams[symbol] = streams
        return streams


def _rows(levels: dict[str, str]) -> Rows:
    return [[price, qty] for price, qty in levels.items()]

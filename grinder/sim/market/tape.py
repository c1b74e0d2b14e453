"""What a market tape is: a sequence of events in tape time, prices and quantities as the venue's own texts.

The same events drive the matching and the streams. A tape owns no clock: its player does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from grinder.sim.exchange.rules import SymbolRules

Rows = list[list[str]]


class Top(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask. ``due_ns``: tape time since its start. Prices in USDT, quantities in base units."""

    due_ns: int
    symbol: str
    update_id: int
    bid: str
    bid_qty: str
    ask: str
    ask_qty: str


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade. ``buyer_is_maker``: the seller was the aggressor. ``kind``: MARKET, or another word of the venue."""

    due_ns: int
    symbol: str
    trade_id: int
    price: str
    qty: str
    buyer_is_maker: bool
    kind: str = "MARKET"
    aggregate: bool = False


class Depth(msgspec.Struct, frozen=True):
    """A depth difference: first, last and previous last update id."""

    due_ns: int
    symbol: str
    first_id: int
    last_id: int
    previous_id: int
    bids: Rows
    asks: Rows


class Snapshot(msgspec.Struct, frozen=True):
    """A whole book at an update id. It goes to the matching and to ``/depth``, never out on a stream."""

    due_ns: int
    symbol: str
    update_id: int
    bids: Rows
    asks: Rows


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A mark price update with the fields of its stream."""

    due_ns: int
    symbol: str
    mark: str
    index: str
    settle: str
    funding: str
    next_funding_utc_ms: int


TapeEvent = Top | Trade | Depth | Snapshot | Mark


class Tape(Protocol):
    """A source of market events."""

    @property
    def rules(self) -> list[SymbolRules]:
        """Rules of every symbol on the tape."""
        ...

    def events(self) -> Iterator[TapeEvent]:
        """Yield events in the order of their tape time."""
        ...

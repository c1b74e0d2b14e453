"""What a market tape is: a sequence of events in tape time, prices and quantities as the venue's own texts.

The same events drive the matching and the streams. A tape owns no clock: its player does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from grinder.sim.exchange.rules import SymbolRules

Rows = list[list[str]]
_NUMBER: Final = re.compile(r"^[0-9]{1,20}(\.[0-9]{1,20})?$")


def plain_number(text: object) -> str:
    """Return a price or quantity as it was given.

    Raises:
        ValueError: if it is not plain decimal digits.
    """
    if not isinstance(text, str) or not _NUMBER.match(text):
        raise ValueError(f"not a decimal number: {text!r}")
    return text


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

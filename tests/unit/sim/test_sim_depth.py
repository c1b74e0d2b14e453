"""Depth of the synthetic tape: a book kept by the venue's rules is the venue's own, whenever its snapshot was taken."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice

import pytest

from grinder.core.book import BROKEN, BookStep, OrderBook
from grinder.model.market import DepthDiff, DepthSnapshot, Levels
from grinder.model.orders import Side
from grinder.sim.exchange.rules import BUILT_IN
from grinder.sim.exchange.tape_book import TapeBook
from grinder.sim.market.synthetic import SyntheticConfig, SyntheticTape
from grinder.sim.market.tape import Depth, Rows, Snapshot, TapeEvent, Top

RULES = BUILT_IN["BTCUSDT"]
EVERY_LEVEL = 1_000
FOLLOWED = 6
"""Differences that a book follows after its snapshot."""


def play(events: list[TapeEvent]) -> Iterator[tuple[TapeEvent, TapeBook]]:
    """Yield each event with the venue's book after it."""
    venue = TapeBook(RULES.tick)
    for event in events:
        if isinstance(event, Snapshot):
            venue.on_snapshot(event.bids, event.asks, event.update_id)
        elif isinstance(event, Top):
            bid, ask = (Decimal(event.bid), Decimal(event.bid_qty)), (Decimal(event.ask), Decimal(event.ask_qty))
            venue.on_top(bid, ask, event.update_id)
        elif isinstance(event, Depth):
            venue.on_depth(event.bids, event.asks, event.last_id)
        yield event, venue


def levels(venue: TapeBook, side: Side) -> Levels:
    return tuple(venue.ladder(side, EVERY_LEVEL))


def read(rows: Rows) -> Levels:
    return tuple((Decimal(price), Decimal(qty)) for price, qty in rows)


def difference(event: Depth) -> DepthDiff:
    ids = (event.first_id, event.last_id, event.previous_id)
    return DepthDiff(RULES.symbol, *ids, read(event.bids), read(event.asks), 0, 0, 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_book_when_kept_from_a_snapshot_of_any_moment_then_it_is_the_venues_own(seed: int) -> None:
    tape = SyntheticTape([RULES], seed, SyntheticConfig(updates_per_s=60.0))
    kept: list[tuple[OrderBook, int]] = []
    compared = 0
    for event, venue in play(list(islice(tape.events(), 240))):
        if isinstance(event, Depth):
            assert all(book.apply_diff(difference(event)) not in BROKEN for book, _ in kept)
            for book, _ in kept:
                if book.top() is not None and book.last_update_id == event.last_id:
                    assert book.levels() == (levels(venue, Side.BUY), levels(venue, Side.SELL))
                    compared += 1
            kept = [(book, left - 1) for book, left in kept if left]
        elif venue.ready:
            book = OrderBook()
            sides = (levels(venue, Side.BUY), levels(venue, Side.SELL))
            step = book.apply_snapshot(DepthSnapshot(RULES.symbol, venue.update_id, *sides, 0, 0))
            assert step in (BookStep.APPLIED, BookStep.WAITING)
            kept.append((book, FOLLOWED))
    assert compared > 100

"""Invariant: while live, the book is the venue's own at its update id, whatever was lost, repeated or came late.

The dumb model is the venue itself: every state of its book, kept whole, by update id.
"""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from grinder.core.book import BookStep, OrderBook
from grinder.model.market import DepthDiff, DepthSnapshot, Levels

State = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]
CHANGES = st.lists(
    st.tuples(st.booleans(), st.integers(1, 12), st.integers(0, 3)),
    min_size=1,
    max_size=4,
)


class DumbVenue:
    """Applies changes one by one, remembers every state, and packs several changes into one difference."""

    def __init__(self) -> None:
        bids, asks = {Decimal(10): Decimal(1)}, {Decimal(30): Decimal(1)}
        self.states: dict[int, State] = {100: (bids, asks)}
        self.diffs: list[DepthDiff] = []
        self.update_id = 100

    def trade(self, changes: list[tuple[bool, int, int]], skipped_ids: int) -> None:
        previous = self.update_id
        touched: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
        # Ids that belong to other symbols lie between two differences of this one.
        for _ in range(skipped_ids):
            self.states[self.update_id + 1] = self.states[self.update_id]
            self.update_id += 1
        first = self.update_id + 1
        for is_bid, place, qty in changes:
            bids, asks = (dict(side) for side in self.states[self.update_id])
            price = Decimal(place) if is_bid else Decimal(20 + place)
            side, touch = (bids, touched[0]) if is_bid else (asks, touched[1])
            touch[price] = Decimal(qty)
            if qty:
                side[price] = Decimal(qty)
            else:
                side.pop(price, None)
            self.update_id += 1
            self.states[self.update_id] = (bids, asks)
        bids_touched, asks_touched = (tuple(side.items()) for side in touched)
        self.diffs.append(DepthDiff("X", first, self.update_id, previous, bids_touched, asks_touched, 0, 0, 0))

    def snapshot(self, update_id: int) -> DepthSnapshot:
        bids, asks = self.states[update_id]
        return DepthSnapshot("X", update_id, tuple(bids.items()), tuple(asks.items()), 0, 0)


def expected_levels(state: State) -> tuple[Levels, Levels]:
    bids, asks = state
    return tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items()))


def check(book: OrderBook, venue: DumbVenue) -> None:
    if not book.live:
        assert book.top() is None
        return
    bids, asks = expected_levels(venue.states[book.last_update_id])
    assert book.levels() == (bids, asks)
    top = book.top()
    if not bids or not asks:
        assert top is None
    else:
        assert top is not None
        assert (top.bid_price, top.bid_qty, top.ask_price, top.ask_qty) == (*bids[0], *asks[0])


@st.composite
def venues(draw: st.DrawFn) -> DumbVenue:
    venue = DumbVenue()
    for _ in range(draw(st.integers(2, 10))):
        venue.trade(draw(CHANGES), draw(st.integers(0, 2)))
    return venue


@given(venues(), st.data())
def test_book_when_messages_are_lost_repeated_or_late_then_equal_to_the_venue_or_not_live(
    venue: DumbVenue, data: st.DataObject
) -> None:
    book = OrderBook()
    for number in range(len(venue.diffs)):
        for fate in data.draw(st.lists(st.sampled_from(["next", "again", "snapshot"]), max_size=4)):
            if fate == "next":
                book.apply_diff(venue.diffs[number])
            elif fate == "again":
                book.apply_diff(venue.diffs[data.draw(st.integers(0, number))])
            else:
                book.apply_snapshot(venue.snapshot(data.draw(st.integers(100, venue.update_id))))
            check(book, venue)


@given(venues(), st.data())
def test_book_when_nothing_is_lost_then_live_from_the_first_usable_snapshot_on(
    venue: DumbVenue, data: st.DataObject
) -> None:
    book = OrderBook()
    taken_at = data.draw(st.integers(0, len(venue.diffs) - 1))
    update_id = data.draw(st.integers(venue.diffs[0].first_update_id, venue.diffs[-1].last_update_id))
    for number, diff in enumerate(venue.diffs):
        book.apply_diff(diff)
        if number == taken_at:
            book.apply_snapshot(venue.snapshot(update_id))
        check(book, venue)
    assert book.live
    assert book.last_update_id == venue.update_id


@given(venues())
def test_book_when_one_difference_is_lost_then_the_next_is_a_gap(venue: DumbVenue) -> None:
    book = OrderBook()
    book.apply_diff(venue.diffs[0])
    book.apply_snapshot(venue.snapshot(venue.diffs[0].last_update_id))
    assert book.live
    steps = [book.apply_diff(diff) for diff in venue.diffs[2:]]
    assert steps[:1] in ([], [BookStep.GAP])
    assert book.live is (len(venue.diffs) == 2)

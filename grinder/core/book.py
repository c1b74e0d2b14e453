"""One symbol's order book, built from a snapshot and differences by the venue's rules.

Must never show a top it is not sure of: after a gap or a crossed book there is no top until a newer snapshot.

Source: Binance USDⓈ-M documentation, "How to manage a local order book correctly" (2026-05-28): buffer the differences;
drop those with u < lastUpdateId; the first one applied has U <= lastUpdateId <= u; from then on pu must equal the u
before it, otherwise begin again; quantities are absolute, 0 removes a level, and removing an absent level is normal.

Invariant: while live, every bid is below every ask, and the book is the venue's at ``last_update_id``.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.limits import BOOK_DIFFS_BUFFERED_MAX, BOOK_LEVELS_MAX
from grinder.model.market import DepthDiff, DepthSnapshot, Levels


class BookStep(StrEnum):
    """What one message did to a book."""

    BUFFERED = "buffered"
    WAITING = "waiting"
    APPLIED = "applied"
    OLD = "old"
    GAP = "gap"
    CROSSED = "crossed"
    OVERFLOW = "overflow"


BROKEN: Final = frozenset({BookStep.GAP, BookStep.CROSSED, BookStep.OVERFLOW})
"""Steps after which a new snapshot is needed."""


class Top(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask of a live book, at ``update_id``."""

    bid_price: Decimal
    bid_qty: Decimal
    ask_price: Decimal
    ask_qty: Decimal
    update_id: int


class _Side:
    """Price levels of one side: quantity by price, and the prices sorted; finding the best is O(1).

    A change is a binary search and a move of machine words, which for a few thousand levels costs less than a tree.
    """

    def __init__(self) -> None:
        self.qty_at: dict[Decimal, Decimal] = {}
        self.prices: list[Decimal] = []

    def replace(self, levels: Levels) -> None:
        self.qty_at = {price: qty for price, qty in levels if qty}
        self.prices = sorted(self.qty_at)

    def apply(self, levels: Levels) -> None:
        qty_at, prices = self.qty_at, self.prices
        for price, qty in levels:
            if qty:
                if price not in qty_at:
                    insort(prices, price)
                qty_at[price] = qty
            elif price in qty_at:
                del qty_at[price]
                del prices[bisect_left(prices, price)]


class OrderBook:
    """A book that owns its levels; feed it every difference and snapshot of one symbol in order of arrival."""

    def __init__(self) -> None:
        self._bids = _Side()
        self._asks = _Side()
        self._waiting: deque[DepthDiff] = deque(maxlen=BOOK_DIFFS_BUFFERED_MAX)
        self._snapshot_update_id = 0
        self._seeded = False
        self.live = False
        self.last_update_id = 0

    @property
    def wants_snapshot(self) -> bool:
        """Tell whether it can get no further without a newer snapshot."""
        return not self._seeded

    def apply_diff(self, diff: DepthDiff) -> BookStep:
        """Take one difference.

        Returns:
            APPLIED; OLD (already inside, dropped); BUFFERED (no snapshot yet); WAITING (the snapshot is newer); or
            one of BROKEN: there is no top any more, and a new snapshot is wanted.
        """
        if self.live:
            if diff.last_update_id <= self.last_update_id:
                return BookStep.OLD
            if diff.previous_update_id != self.last_update_id:
                return self._break(BookStep.GAP, diff)
            return self._apply(diff)
        if self._seeded:
            return self._bridge(diff)
        self._buffer(diff)
        return BookStep.BUFFERED

    def apply_snapshot(self, snapshot: DepthSnapshot) -> BookStep:
        """Take one snapshot and then the differences that waited for it.

        Returns:
            APPLIED: live. WAITING: the difference that bridges it is still to come. OLD: the book is live, needs none.
            GAP: older than what waited, a newer one is wanted. CROSSED, OVERFLOW: as for a difference.
        """
        if self.live:
            return BookStep.OLD
        self._seeded = True
        self._snapshot_update_id = self.last_update_id = snapshot.last_update_id
        self._bids.replace(snapshot.bids)
        self._asks.replace(snapshot.asks)
        waiting, self._waiting = self._waiting, deque(maxlen=BOOK_DIFFS_BUFFERED_MAX)
        return self._replay(waiting)

    def top(self) -> Top | None:
        """Return the best bid and ask, or None while the book is not live or a side is empty."""
        bids, asks = self._bids, self._asks
        if not self.live or not bids.prices or not asks.prices:
            return None
        bid, ask = bids.prices[-1], asks.prices[0]
        return Top(bid, bids.qty_at[bid], ask, asks.qty_at[ask], self.last_update_id)

    def levels(self) -> tuple[Levels, Levels]:
        """Return bids and asks, each from the best outwards."""
        bids = tuple((price, self._bids.qty_at[price]) for price in reversed(self._bids.prices))
        return bids, tuple((price, self._asks.qty_at[price]) for price in self._asks.prices)

    def _replay(self, waiting: deque[DepthDiff]) -> BookStep:
        """Take the differences that waited for a snapshot; return what came of it."""
        broken: BookStep | None = None
        for diff in waiting:
            step = self.apply_diff(diff)
            if step in BROKEN:
                broken = step
        if self.live:
            return BookStep.APPLIED
        return broken or BookStep.WAITING

    def _bridge(self, diff: DepthDiff) -> BookStep:
        """Look for the difference that contains the snapshot's own update."""
        if diff.last_update_id < self._snapshot_update_id:
            return BookStep.OLD
        # Ids between pu and U are other symbols' updates: a snapshot taken there continues with this difference too,
        # which the venue's rule alone (U <= lastUpdateId) would refuse.
        continues = 0 < diff.previous_update_id <= self._snapshot_update_id
        if diff.first_update_id > self._snapshot_update_id and not continues:
            return self._break(BookStep.GAP, diff)
        self.live = True
        return self._apply(diff)

    def _apply(self, diff: DepthDiff) -> BookStep:
        self._bids.apply(diff.bids)
        self._asks.apply(diff.asks)
        self.last_update_id = diff.last_update_id
        bids, asks = self._bids.prices, self._asks.prices
        if bids and asks and bids[-1] >= asks[0]:
            return self._break(BookStep.CROSSED, None)
        if len(bids) > BOOK_LEVELS_MAX or len(asks) > BOOK_LEVELS_MAX:
            return self._break(BookStep.OVERFLOW, None)
        return BookStep.APPLIED

    def _break(self, why: BookStep, diff: DepthDiff | None) -> BookStep:
        """Forget everything but a difference that may begin the next chain."""
        assert why in BROKEN
        self.live = False
        self._seeded = False
        self._bids.replace(())
        self._asks.replace(())
        self._waiting.clear()
        if diff is not None:
            self._waiting.append(diff)
        return why

    def _buffer(self, diff: DepthDiff) -> None:
        """Keep a difference for the snapshot to come; a duplicate is dropped, a hole starts the buffer anew."""
        if self._waiting:
            newest = self._waiting[-1]
            if diff.last_update_id <= newest.last_update_id:
                return
            if diff.previous_update_id != newest.last_update_id:
                self._waiting.clear()
        self._waiting.append(diff)

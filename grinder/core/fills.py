"""Which part of an order's filled quantity has been counted: exact under duplicates, reordering and missed events.

The venue reports the cumulative quantity after each trade, so a trade is the span (cumulative - last, cumulative] of
its order. Counting the part of that span that no earlier report covered gives every unit once, whatever the order of
arrival, and lets a query stand in for a trade that never arrived. Must never count a unit twice.

Invariant: spans are disjoint, sorted, and adjacent ones are joined.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

from grinder.model.limits import TRADE_IDS_REMEMBERED
from grinder.model.orders import Side
from grinder.model.units import ZERO

Spans = tuple[tuple[Decimal, Decimal], ...]
"""Counted spans of one order's cumulative quantity, base units: ((start, end], ...)."""


def counted_qty(spans: Spans) -> Decimal:
    """Return how much of the order has been counted, base units."""
    return sum((end - start for start, end in spans), ZERO)


def cover(spans: Spans, start: Decimal, end: Decimal) -> tuple[Spans, Decimal]:
    """Return the spans with (start, end] counted too, and how much of it was new, base units (0 or more)."""
    if end <= start:
        return spans, ZERO
    joined: list[tuple[Decimal, Decimal]] = []
    low, high = start, end
    for span_start, span_end in spans:
        if span_end < low or span_start > high:
            joined.append((span_start, span_end))
        else:
            low, high = min(low, span_start), max(high, span_end)
    joined.append((low, high))
    result = tuple(sorted(joined))
    added = counted_qty(result) - counted_qty(spans)
    assert added >= ZERO
    return result, added


class TradeIds:
    """The trades seen lately, per symbol and bounded: (trade id, side), since a self-trade shows one id on both."""

    def __init__(self, remembered_max: int = TRADE_IDS_REMEMBERED) -> None:
        assert remembered_max > 0
        self._remembered_max = remembered_max
        self._seen: dict[str, OrderedDict[tuple[int, Side], None]] = {}

    def first_time(self, symbol: str, trade_id: int, side: Side) -> bool:
        """Remember a trade; return False if it was seen before."""
        seen = self._seen.setdefault(symbol, OrderedDict())
        key = (trade_id, side)
        if key in seen:
            return False
        seen[key] = None
        if len(seen) > self._remembered_max:
            seen.popitem(last=False)
        return True

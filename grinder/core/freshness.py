"""What the feed knows of each symbol's streams: order of events, and when each stream last gave something fresh.

Must never read a clock, and never let an old or repeated event count as fresh.
"""

from __future__ import annotations

from collections import deque

from grinder.core.book import OrderBook
from grinder.model.market import BookTop, StreamKind
from grinder.model.units import NS_PER_MS


class EventOrder:
    """Lets only newer events of one stream of one symbol through, and notices when the venue began to count anew.

    A venue that restarts its counters, or one absurd id, would otherwise make it deaf for ever. So a lower id is let
    through when its event time is well past the last one, or when nothing was let through for twice as long.
    """

    __slots__ = ("_accepted_mono_ns", "_event_utc_ms", "_restart_ms", "last_id")

    def __init__(self, restart_ms: int) -> None:
        self._restart_ms = restart_ms
        self.forget()

    def forget(self) -> None:
        """Accept whatever comes next: the connection is a new one."""
        self.last_id = -1
        self._event_utc_ms = 0
        self._accepted_mono_ns = 0

    def accept(self, event_id: int, event_utc_ms: int, recv_mono_ns: int) -> bool:
        """Tell whether an event is newer than all before it, and remember it if so."""
        if event_id <= self.last_id and not self._counted_anew(event_utc_ms, recv_mono_ns):
            return False
        self.last_id = event_id
        self._event_utc_ms = event_utc_ms
        self._accepted_mono_ns = recv_mono_ns
        return True

    def _counted_anew(self, event_utc_ms: int, recv_mono_ns: int) -> bool:
        silence_ns = recv_mono_ns - self._accepted_mono_ns
        return event_utc_ms - self._event_utc_ms > self._restart_ms or silence_ns > 2 * self._restart_ms * NS_PER_MS


class SymbolFeed:
    """State of one symbol in the feed.

    ``fresh_mono_ns``: per stream, receive time of the last event that was new and in time. ``top_mono_ns``: the same
    for the best prices, whatever they came from. ``stale``: streams past their deadline at the last look.
    """

    def __init__(self, symbol: str, restart_ms: int) -> None:
        self.symbol = symbol
        self.ticker_order = EventOrder(restart_ms)
        self.mark_order = EventOrder(restart_ms)
        self.trade_order = EventOrder(restart_ms)
        self.fresh_mono_ns: dict[StreamKind, int] = {}
        self.top_mono_ns = 0
        self.ticker: BookTop | None = None
        self.book: OrderBook | None = None
        self.book_lost = False
        self.stale: frozenset[StreamKind] = frozenset()

    def forget_order(self, kind: StreamKind) -> None:
        """Drop what was learnt of a stream's order: all connections that carried it are gone."""
        if kind is StreamKind.BOOK_TICKER:
            self.ticker_order.forget()
            self.ticker = None
        elif kind is StreamKind.MARK_PRICE:
            self.mark_order.forget()
        elif kind is StreamKind.TRADE:
            self.trade_order.forget()
        else:
            assert kind is StreamKind.DEPTH
            self.book = None

    def ticker_leads(self, now_mono_ns: int, stale_ns: int) -> bool:
        """Tell whether the best prices come from the best-price stream rather than from the rebuilt book."""
        seen = self.fresh_mono_ns.get(StreamKind.BOOK_TICKER, 0)
        return bool(seen) and now_mono_ns - seen <= stale_ns

    def stale_streams(self, expected: frozenset[StreamKind], now_mono_ns: int, stale_ns: int) -> frozenset[StreamKind]:
        """Return the streams past their deadline: the expected ones and those that ever gave data, but trades.

        Trades are left out because nobody needs to trade for a market to be alive.
        """
        watched = (expected | self.fresh_mono_ns.keys()) - {StreamKind.TRADE}
        return frozenset(kind for kind in watched if now_mono_ns - self.fresh_mono_ns.get(kind, 0) > stale_ns)

    def is_stale(self, expected: frozenset[StreamKind], now_mono_ns: int, stale_ns: int) -> bool:
        """Tell whether the symbol may not be traded: no fresh best prices, no fresh mark price, or a lost book.

        The rebuilt book may stand in for the best-price stream, so a silent one alone is not enough.
        """
        if self.book_lost or not self.top_mono_ns or now_mono_ns - self.top_mono_ns > stale_ns:
            return True
        mark_needed = StreamKind.MARK_PRICE in expected or StreamKind.MARK_PRICE in self.fresh_mono_ns
        return mark_needed and now_mono_ns - self.fresh_mono_ns.get(StreamKind.MARK_PRICE, 0) > stale_ns


class BurstSignal:
    """Tells whether something happens too often: more than ``count_max`` times within ``window_ns``."""

    def __init__(self, count_max: int, window_ns: int) -> None:
        self._times_mono_ns: deque[int] = deque(maxlen=count_max + 1)
        self._window_ns = window_ns

    def add(self, now_mono_ns: int) -> None:
        """Record one more."""
        self._times_mono_ns.append(now_mono_ns)

    def active(self, now_mono_ns: int) -> bool:
        """Tell whether the last ones came within the window."""
        times = self._times_mono_ns
        return len(times) == times.maxlen and now_mono_ns - times[0] <= self._window_ns

"""The feed: valid market events in, latest prices and their health out.

It lets each symbol's events through once and in order, rebuilds books where depth comes, and says on a timer, not on
data, which symbols are stale. Must never publish a value it is not sure of, and never let one symbol's trouble touch
another's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from grinder.core.book import BROKEN, BookStep, OrderBook
from grinder.core.freshness import BurstSignal, SymbolFeed
from grinder.model.board import Word
from grinder.model.frames import Envelope, Frame
from grinder.model.limits import BAD_PAYLOAD_WINDOW_S, BAD_PAYLOADS_MAX
from grinder.model.market import (
    BookTop,
    DepthDiff,
    DepthSnapshot,
    MarketEvent,
    MarkPrice,
    StreamHealth,
    StreamKind,
    TradeTick,
)
from grinder.model.reasons import DropReason
from grinder.model.units import MS_PER_S, NS_PER_MS, NS_PER_S
from grinder.ports import Clock, Log, PriceBoard, Publisher, Telemetry

HEALTH_PERIOD_MS: Final = 250
"""Period of StreamHealth, milliseconds; the period of the market channel."""

LAG_JUDGED_MS_MAX: Final = 3_600_000
"""A lag beyond this is no lag but a recording with its old times, milliseconds; it is not judged."""

_US_PER_MS: Final = 1_000

_NOT_THE_SENDERS_FAULT: Final = frozenset({DropReason.DUPLICATE, DropReason.OUT_OF_ORDER, DropReason.UNKNOWN_SYMBOL})


class FeedConfig(msgspec.Struct, frozen=True):
    """What the feed expects. ``stale_ms``: silence that makes a stream stale, milliseconds, above 0.

    ``expected``: streams that every symbol must deliver. ``judge_lag``: whether event times are those of now, so that
    an event older than ``stale_ms`` on arrival must not count as fresh.
    """

    symbols: tuple[str, ...]
    expected: frozenset[StreamKind]
    stale_ms: int
    judge_lag: bool


class FeedService:
    """The Service and MarketSink of the feed process."""

    def __init__(
        self,
        config: FeedConfig,
        *,
        clock: Clock,
        board: PriceBoard,
        market: Publisher,
        telemetry: Telemetry,
        log: Log,
        request_snapshot: Callable[[str], None],
    ) -> None:
        """Keep the ports.

        Args:
            config: what to expect.
            clock: receive and evaluation times.
            board: where last prices go, and the venue's clock offset comes from.
            market: the market channel.
            telemetry: counts.
            log: transitions.
            request_snapshot: asks the source for a new depth snapshot of a symbol; must return at once.
        """
        self._config = config
        self._stale_ns = config.stale_ms * NS_PER_MS
        self._clock = clock
        self._board = board
        self._market = market
        self._telemetry = telemetry
        self._log = log
        self._request_snapshot = request_snapshot
        self._symbols = {symbol: SymbolFeed(symbol, config.stale_ms) for symbol in config.symbols}
        self._up: set[StreamKind] = set()
        self._last_mono_ns: dict[StreamKind, int] = {}
        self._unknown: set[str] = set()
        self._bad = BurstSignal(BAD_PAYLOADS_MAX, BAD_PAYLOAD_WINDOW_S * NS_PER_S)
        self._offset_ms = 0
        self._ended = False
        self._health_due_mono_ns = 0
        self._stale_symbols: tuple[str, ...] = tuple(sorted(config.symbols))
        self._stopped = False
        self._take: dict[type, Callable[..., None]] = {
            BookTop: self._on_ticker,
            MarkPrice: self._on_mark,
            TradeTick: self._on_trade,
            DepthDiff: self._on_diff,
            DepthSnapshot: self._on_snapshot,
        }

    # The service's side.

    def on_start(self) -> None:
        """Say at once that nothing is fresh yet."""
        for symbol in self._config.symbols:
            self._telemetry.gauge("grinder_feed_symbol_stale", 1, symbol)
        self._telemetry.gauge("grinder_feed_bad_payloads", 0)
        self._telemetry.gauge("grinder_feed_ended", 0)
        self.on_timer()

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        """Ignore the bus: nothing is read from it."""

    def on_gap(self, channel: str, missing: int) -> None:
        """Ignore the bus: nothing is read from it."""

    def on_timer(self) -> None:
        """Look at every stream's age; publish the health when it changed or is due."""
        now = self._clock.mono_ns()
        known = self._board.read(Word.VENUE_CLOCK_CHECKED_MONO_NS)
        self._offset_ms = self._board.read(Word.VENUE_CLOCK_OFFSET_US) // _US_PER_MS if known else 0
        stale = tuple(sorted(name for name, feed in self._symbols.items() if self._look(feed, now)))
        changed = stale != self._stale_symbols
        self._stale_symbols = stale
        self._telemetry.gauge("grinder_feed_bad_payloads", float(self._bad.active(now)))
        if changed or now >= self._health_due_mono_ns:
            self._publish_health(now)

    def on_stop(self) -> None:
        """Stop at once: nothing is owed to anybody."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Tell whether it was told to stop."""
        return self._stopped

    def readiness(self) -> str:
        """Return why the feed is not ready, or an empty string."""
        if not self._connected:
            return "market_disconnected"
        if self._bad.active(self._clock.mono_ns()):
            return "bad_payloads"
        return "market_stale" if len(self._stale_symbols) == len(self._symbols) else ""

    def input_seen_mono_ns(self) -> dict[str, int]:
        """Return per stream when it last gave a valid event."""
        return {kind.value: seen for kind, seen in self._last_mono_ns.items()}

    # The sink's side.

    def on_market(self, event: MarketEvent) -> None:
        """Take one valid event."""
        self._take[type(event)](event)

    def on_bad_payload(self, reason: DropReason) -> None:
        """Count a message that was dropped; many of them are a signal."""
        self._telemetry.count("grinder_feed_dropped_total", reason.value)
        if reason not in _NOT_THE_SENDERS_FAULT:
            self._bad.add(self._clock.mono_ns())

    def on_connected(self, kinds: tuple[StreamKind, ...]) -> None:
        """Learn that these streams are carried again."""
        self._up.update(kinds)
        for kind in kinds:
            self._telemetry.gauge("grinder_ws_connected", 1, kind.value)
        self._log.event("MARKET_CONNECTED", streams=" ".join(kinds))

    def on_disconnected(self, kinds: tuple[StreamKind, ...]) -> None:
        """Learn that nothing carries these streams: what comes next may be counted anew."""
        self._up.difference_update(kinds)
        for kind in kinds:
            self._telemetry.gauge("grinder_ws_connected", 0, kind.value)
            for feed in self._symbols.values():
                had_book = kind is StreamKind.DEPTH and feed.book is not None and feed.book.live
                feed.book_lost = feed.book_lost or had_book
                feed.forget_order(kind)
        self._log.event("MARKET_DISCONNECTED", streams=" ".join(kinds))

    def on_reconnect(self, kinds: tuple[StreamKind, ...], reason: str) -> None:
        """Count a connection that is being replaced."""
        for kind in kinds:
            self._telemetry.count("grinder_ws_reconnect_total", kind.value, reason)
        self._log.event("MARKET_RECONNECT", streams=" ".join(kinds), reason=reason)

    def on_ended(self) -> None:
        """Learn that a finite source is at its end; its symbols go stale by themselves."""
        self._ended = True
        self._telemetry.gauge("grinder_feed_ended", 1)
        self._log.event("MARKET_ENDED")
        self._publish_health(self._clock.mono_ns())

    # Events.

    def _on_ticker(self, top: BookTop) -> None:
        feed = self._symbols.get(top.symbol)
        if feed is None:
            self._drop_unknown(top.symbol)
        elif feed.ticker_order.accept(top.update_id, top.event_utc_ms, top.recv_mono_ns):
            feed.ticker = top
            # Out first: counting and judging what has left already costs the reader nothing.
            self._market.send(top)
            fresh = self._accept(feed, StreamKind.BOOK_TICKER, top.event_utc_ms, top.recv_mono_ns, top.recv_utc_ms)
            self._show_top(feed, top, fresh=fresh)
            if feed.book is not None:
                self._compare(feed, feed.book)
        else:
            self._drop_old(top.update_id == feed.ticker_order.last_id)

    def _on_mark(self, mark: MarkPrice) -> None:
        feed = self._symbols.get(mark.symbol)
        if feed is None:
            self._drop_unknown(mark.symbol)
        elif feed.mark_order.accept(mark.event_utc_ms, mark.event_utc_ms, mark.recv_mono_ns):
            self._accept(feed, StreamKind.MARK_PRICE, mark.event_utc_ms, mark.recv_mono_ns, self._clock.utc_ms())
            self._board.publish_mark(mark)
            self._market.send(mark)
        else:
            self._drop_old(mark.event_utc_ms == feed.mark_order.last_id)

    def _on_trade(self, trade: TradeTick) -> None:
        feed = self._symbols.get(trade.symbol)
        if feed is None:
            self._drop_unknown(trade.symbol)
        elif feed.trade_order.accept(trade.trade_id, trade.event_utc_ms, trade.recv_mono_ns):
            self._accept(feed, StreamKind.TRADE, trade.event_utc_ms, trade.recv_mono_ns, self._clock.utc_ms())
            self._market.send(trade)
        else:
            self._drop_old(trade.trade_id == feed.trade_order.last_id)

    def _on_diff(self, diff: DepthDiff) -> None:
        feed = self._symbols.get(diff.symbol)
        if feed is None:
            self._drop_unknown(diff.symbol)
            return
        if feed.book is None:
            feed.book = OrderBook()
            self._request_snapshot(feed.symbol)
        was_live = feed.book.live
        step = feed.book.apply_diff(diff)
        if step is BookStep.OLD:
            self._drop_old(diff.last_update_id == feed.book.last_update_id)
            return
        fresh = self._accept(feed, StreamKind.DEPTH, diff.event_utc_ms, diff.recv_mono_ns, diff.recv_utc_ms)
        self._after_step(feed, feed.book, step, was_live=was_live)
        if step is BookStep.APPLIED:
            self._publish_book(feed, feed.book, diff, fresh=fresh)

    def _on_snapshot(self, snapshot: DepthSnapshot) -> None:
        feed = self._symbols.get(snapshot.symbol) if snapshot.symbol else self._only_book()
        if feed is None:
            self._drop_unknown(snapshot.symbol)
            return
        if feed.book is None:
            feed.book = OrderBook()
        self._after_step(feed, feed.book, feed.book.apply_snapshot(snapshot), was_live=False)

    def _only_book(self) -> SymbolFeed | None:
        """Return the one symbol that a snapshot without a name can belong to."""
        building = [feed for feed in self._symbols.values() if feed.book is not None]
        wanting = [feed for feed in building if feed.book is not None and feed.book.wants_snapshot]
        candidates = building if len(building) == 1 else wanting
        return candidates[0] if len(candidates) == 1 else None

    # What events lead to.

    def _accept(
        self, feed: SymbolFeed, kind: StreamKind, event_utc_ms: int, recv_mono_ns: int, recv_utc_ms: int
    ) -> bool:
        """Count an accepted event and its lag; return whether it is in time, and so counts as fresh."""
        name = kind.value
        self._telemetry.count("grinder_ticks_received_total", name)
        self._last_mono_ns[kind] = recv_mono_ns
        lag_ms = recv_utc_ms + self._offset_ms - event_utc_ms
        if self._config.judge_lag and -LAG_JUDGED_MS_MAX < lag_ms < LAG_JUDGED_MS_MAX:
            self._telemetry.observe("grinder_feed_latency_seconds", max(lag_ms, 0) / MS_PER_S, name)
            if lag_ms > self._config.stale_ms:
                self._telemetry.count("grinder_feed_late_total", name)
                return False
        feed.fresh_mono_ns[kind] = recv_mono_ns
        return True

    def _show_top(self, feed: SymbolFeed, top: BookTop, *, fresh: bool) -> None:
        """Put a published top on the board."""
        if fresh:
            feed.top_mono_ns = top.recv_mono_ns
        self._board.publish_book(top)
        self._telemetry.observe("grinder_feed_handle_seconds", (self._clock.mono_ns() - top.recv_mono_ns) / NS_PER_S)

    def _publish_book(self, feed: SymbolFeed, book: OrderBook, diff: DepthDiff, *, fresh: bool) -> None:
        """Publish the rebuilt book's top where no best-price stream gives one; else compare the two."""
        if feed.ticker_leads(diff.recv_mono_ns, self._stale_ns):
            self._compare(feed, book)
            return
        top = book.top()
        if top is None:
            return
        rebuilt = BookTop(
            feed.symbol,
            top.bid_price,
            top.bid_qty,
            top.ask_price,
            top.ask_qty,
            top.update_id,
            diff.event_utc_ms,
            diff.recv_mono_ns,
            diff.recv_utc_ms,
        )
        self._market.send(rebuilt)
        self._show_top(feed, rebuilt, fresh=fresh)

    def _after_step(self, feed: SymbolFeed, book: OrderBook, step: BookStep, *, was_live: bool) -> None:
        """Note whether a live book is lost or a lost one back, and ask for a snapshot where one is needed."""
        if step in BROKEN:
            feed.book_lost = feed.book_lost or was_live
            self._telemetry.count("grinder_feed_book_rebuilds_total", step.value)
            self._log.event("BOOK_LOST", symbol=feed.symbol, reason=step.value)
            self._request_snapshot(feed.symbol)
        elif feed.book_lost and book.live:
            feed.book_lost = False
            self._log.event("BOOK_REBUILT", symbol=feed.symbol, update_id=book.last_update_id)

    def _compare(self, feed: SymbolFeed, book: OrderBook) -> None:
        """Compare the rebuilt book with the best prices where both stand at the same update."""
        ticker = feed.ticker
        if ticker is None or not book.live or ticker.update_id != book.last_update_id:
            return
        top = book.top()
        self._telemetry.count("grinder_feed_book_compared_total")
        if top is None or (top.bid_price, top.bid_qty, top.ask_price, top.ask_qty) != (
            ticker.bid_price,
            ticker.bid_qty,
            ticker.ask_price,
            ticker.ask_qty,
        ):
            self._telemetry.count("grinder_feed_book_differs_total")

    def _drop_old(self, repeated: bool) -> None:
        reason = DropReason.DUPLICATE if repeated else DropReason.OUT_OF_ORDER
        self._telemetry.count("grinder_feed_dropped_total", reason.value)

    def _drop_unknown(self, symbol: str) -> None:
        """Count an event of a symbol that is not ours; the log says it once per symbol, up to a bound."""
        self._telemetry.count("grinder_feed_dropped_total", DropReason.UNKNOWN_SYMBOL.value)
        if symbol not in self._unknown and len(self._unknown) < len(self._symbols):
            self._unknown.add(symbol)
            self._log.event("MARKET_UNKNOWN_SYMBOL", symbol=symbol)

    # Health.

    @property
    def _connected(self) -> bool:
        return self._config.expected <= self._up

    def _look(self, feed: SymbolFeed, now_mono_ns: int) -> bool:
        """Judge one symbol's streams; count those that just went stale; return whether the symbol is stale."""
        stale = feed.stale_streams(self._config.expected, now_mono_ns, self._stale_ns)
        for kind in stale - feed.stale:
            if kind in feed.fresh_mono_ns:
                self._telemetry.count("grinder_data_stale_total", kind.value)
        feed.stale = stale
        return feed.is_stale(self._config.expected, now_mono_ns, self._stale_ns)

    def _publish_health(self, now_mono_ns: int) -> None:
        self._health_due_mono_ns = now_mono_ns + HEALTH_PERIOD_MS * NS_PER_MS
        streams = tuple(sorted(f"{feed.symbol}@{kind}" for feed in self._symbols.values() for kind in feed.stale))
        for symbol in self._symbols:
            self._telemetry.gauge("grinder_feed_symbol_stale", float(symbol in self._stale_symbols), symbol)
        utc_ms = self._clock.utc_ms()
        for kind, seen_mono_ns in self._last_mono_ns.items():
            seen_utc_ms = utc_ms - (now_mono_ns - seen_mono_ns) // NS_PER_MS
            self._telemetry.gauge("grinder_last_tick_ts", float(seen_utc_ms), kind.value)
        self._market.send(StreamHealth(self._connected, self._stale_symbols, streams, self._ended, now_mono_ns))

"""One routed market-data connection of the venue, kept up: connect, watch for data, replace, rotate.

Frames reach the sink by callback with the time their bytes arrived. A connection that must go while it still works
(silent stream, planned rotation) is replaced by one that delivers before the old one is closed, so the sink sees some
events twice and none never. Must never take an acknowledgement for data, never block, and never knock at a venue that
told this host to wait: what is up stays up meanwhile, and what is lost waits.

Source: venue documentation, USDⓈ-M websocket market streams (routed paths /public and /market since 2026-04-23; a
stream asked for on the wrong path is acknowledged and stays silent; a connection lives 24 hours), 2026-05-28.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from grinder.adapters.binance.codec_market import StreamReply, decode_market
from grinder.adapters.binance.connection import ConnectError, FrameConnection, open_frames
from grinder.adapters.binance.handshake import take_refusal, until_free
from grinder.adapters.binance.limits import Limits
from grinder.model.errors import PayloadError
from grinder.model.limits import (
    CONNECTION_LIFE_S_MAX,
    RECONNECT_BACKOFF_MS_MAX,
    RECONNECT_BACKOFF_MS_MIN,
    STREAM_CHECK_PERIOD_MS,
    STREAM_OVERLAP_S_MAX,
    STREAM_PATIENCE_MAX,
    SYMBOLS_MAX,
    VENUE_MESSAGE_BYTES_MAX,
)
from grinder.model.market import BookTop, DepthDiff, DepthSnapshot, MarketEvent, MarkPrice, StreamKind, TradeTick
from grinder.model.reasons import DropReason
from grinder.model.units import MS_PER_S, NS_PER_MS, NS_PER_S
from grinder.ports import Clock, Log, MarketSink

DISCONNECT: Final = "disconnect"
ERROR: Final = "error"
TIMEOUT: Final = "timeout"
SILENT: Final = "silent"
ROTATION: Final = "rotation"

STREAM_NAMES: Final[dict[StreamKind, str]] = {
    StreamKind.BOOK_TICKER: "bookTicker",
    StreamKind.DEPTH: "depth@100ms",
    StreamKind.MARK_PRICE: "markPrice@1s",
    StreamKind.TRADE: "aggTrade",
}
"""How the venue calls each stream after the symbol and the @."""

ROUTES: Final[dict[StreamKind, str]] = {
    StreamKind.BOOK_TICKER: "public",
    StreamKind.DEPTH: "public",
    StreamKind.MARK_PRICE: "market",
    StreamKind.TRADE: "market",
}
"""Which routed path carries which stream."""

DATA_DEADLINES_MS: Final[dict[StreamKind, int]] = {
    StreamKind.BOOK_TICKER: 5_000,
    StreamKind.DEPTH: 5_000,
    StreamKind.MARK_PRICE: 3_000,
    StreamKind.TRADE: 60_000,
}
"""Silence of one symbol's stream after which its connection is replaced, milliseconds."""

_KIND_OF: Final[dict[type, StreamKind]] = {
    BookTop: StreamKind.BOOK_TICKER,
    DepthDiff: StreamKind.DEPTH,
    MarkPrice: StreamKind.MARK_PRICE,
    TradeTick: StreamKind.TRADE,
}
_ATTEMPTS_COUNTED_MAX: Final = 16

SUBSCRIBE_NAMES_MAX: Final = 100
"""Most streams of one SUBSCRIBE request."""

REQUESTS_MAX: Final = 10
"""Most requests of one connection in a second. Source: venue documentation, "Websocket Limits", 2026-05-28."""

assert SYMBOLS_MAX * len(StreamKind) <= SUBSCRIBE_NAMES_MAX * REQUESTS_MAX
assert set(STREAM_NAMES) == set(ROUTES) == set(DATA_DEADLINES_MS) == set(StreamKind)


class StreamPlan(msgspec.Struct, frozen=True):
    """What one connection carries. ``deadlines_ms``: silence per stream after which it is replaced, milliseconds.

    ``subscribes``: ask for the streams by requests on the connection, not by its address.
    """

    route: str
    kinds: tuple[StreamKind, ...]
    symbols: tuple[str, ...]
    deadlines_ms: Mapping[StreamKind, int]
    life_s: float = CONNECTION_LIFE_S_MAX
    overlap_s_max: float = STREAM_OVERLAP_S_MAX
    subscribes: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """How the venue calls the streams of the plan."""
        return tuple(f"{symbol.lower()}@{STREAM_NAMES[kind]}" for kind in self.kinds for symbol in self.symbols)

    def url(self, ws_url: str) -> str:
        """Return the address to connect to; it names everything in the plan unless requests on it shall."""
        address = f"{ws_url.rstrip('/')}/{self.route}/stream"
        if self.subscribes:
            return address
        return f"{address}?streams={'/'.join(quote(name, safe='@') for name in self.names)}"

    def requests(self) -> tuple[str, ...]:
        """Return the SUBSCRIBE requests to send once connected; none where the address says it all."""
        names = self.names if self.subscribes else ()
        parts = [names[start : start + SUBSCRIBE_NAMES_MAX] for start in range(0, len(names), SUBSCRIBE_NAMES_MAX)]
        return tuple(
            msgspec.json.encode({"method": "SUBSCRIBE", "params": part, "id": number}).decode()
            for number, part in enumerate(parts, start=1)
        )


def plan_streams(
    symbols: tuple[str, ...],
    kinds: tuple[StreamKind, ...],
    deadlines_ms: Mapping[StreamKind, int] = DATA_DEADLINES_MS,
    *,
    subscribes: bool = False,
) -> tuple[StreamPlan, ...]:
    """Return one plan per routed path that the streams need."""
    routes = dict.fromkeys(ROUTES[kind] for kind in kinds)
    return tuple(
        StreamPlan(
            route,
            tuple(kind for kind in kinds if ROUTES[kind] == route),
            symbols,
            deadlines_ms,
            subscribes=subscribes,
        )
        for route in routes
    )


def backoff_ms(attempts: int, jitter: float) -> float:
    """Return the wait before the next attempt, milliseconds: longer each time, bounded, not in step with others.

    Args:
        attempts: attempts that failed before, 0 or more.
        jitter: from 0 to 1; takes up to half of the wait away.
    """
    wait_ms = min(RECONNECT_BACKOFF_MS_MIN << min(attempts, _ATTEMPTS_COUNTED_MAX), RECONNECT_BACKOFF_MS_MAX)
    return wait_ms * (1 - jitter / 2)


def grown_patience(factor: int) -> int:
    """Return the next factor of a silent stream's deadline: doubled, bounded."""
    return min(2 * factor, STREAM_PATIENCE_MAX)


class _Link:
    """One connection. ``seen_mono_ns``: per (stream, symbol) when it last gave data, or when it was opened.

    ``first``: it delivered for the first time, or ended before it could.
    """

    def __init__(self, plan: StreamPlan, opened_mono_ns: int) -> None:
        self.opened_mono_ns = opened_mono_ns
        self.seen_mono_ns = {(kind, symbol): opened_mono_ns for kind in plan.kinds for symbol in plan.symbols}
        self.connection: FrameConnection | None = None
        self.delivered = False
        self.first = asyncio.Event()
        self.ended = asyncio.Event()

    def cut(self) -> None:
        if self.connection is not None:
            self.connection.transport.abort()


class MarketStream:
    """One plan's connection. ``run`` keeps it up until it is cancelled."""

    def __init__(
        self,
        ws_url: str,
        plan: StreamPlan,
        sink: MarketSink,
        *,
        clock: Clock,
        log: Log,
        jitter: Callable[[], float],
        tap: Callable[[bytes], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Keep what is needed; nothing happens before ``run``.

        Args:
            ws_url: base address of the streams, without the route.
            plan: what to carry.
            sink: where events go.
            clock: receive times, deadlines.
            log: refusals of the venue, connections that fail.
            jitter: gives a number from 0 to 1, for the wait between attempts.
            tap: takes each message as it came, of one connection at a time, before it is decoded.
            limits: what the venue makes this host wait for; None: nobody else asks the venue.
        """
        self._url = plan.url(ws_url)
        self._plan = plan
        self._sink = sink
        self._clock = clock
        self._log = log
        self._jitter = jitter
        self._tap = tap
        self._limits = Limits() if limits is None else limits
        self._current: _Link | None = None
        self._attempts = 0
        self._patience: dict[tuple[StreamKind, str], int] = {}

    async def run(self) -> None:
        """Connect, watch, replace; until cancelled."""
        try:
            while True:
                await self._until_free()
                link = await self._open()
                if link is None or not await self._take_over(link):
                    await self._back_off()
                if self._current is None:
                    continue
                why = await self._watch(self._current)
                self._sink.on_reconnect(self._plan.kinds, why)
                if why == DISCONNECT:
                    await self._back_off()
        finally:
            last, self._current = self._current, None
            if last is not None:
                last.cut()

    async def _until_free(self) -> None:
        """Wait for the end of what the venue stopped this host for; the current connection goes on meanwhile."""
        left_ms = self._limits.stopped_ms(self._clock.boot_ns())
        if left_ms:
            self._log.event("MARKET_CONNECT_WAITS", route=self._plan.route, left_ms=left_ms)
            await until_free(self._limits, self._clock)

    async def _open(self) -> _Link | None:
        """Return a new connection, or None after counting why there is none."""
        link = _Link(self._plan, self._clock.mono_ns())
        try:
            link.connection = await open_frames(
                self._url,
                on_frame=self._receiver(link),
                on_lost=lambda _why: self._on_lost(link),
                max_bytes=VENUE_MESSAGE_BYTES_MAX,
            )
            for request in self._plan.requests():
                await link.connection.send(request)
        except ConnectError as error:
            link.cut()
            take_refusal(error, self._limits, self._clock)
            why = TIMEOUT if isinstance(error, TimeoutError) else ERROR
            self._sink.on_reconnect(self._plan.kinds, why)
            self._log.event("MARKET_CONNECT_FAILED", route=self._plan.route, error=type(error).__name__)
            return None
        return None if link.ended.is_set() else link

    def _receiver(self, link: _Link) -> Callable[[bytes], None]:
        """Return what takes a connection's messages. Where two overlap, the tap has those of the one in charge."""
        tap = self._tap
        if tap is None:
            return lambda message: self._on_frame(link, message)

        def receive(message: bytes) -> None:
            if self._current is None or self._current is link:
                tap(message)
            self._on_frame(link, message)

        return receive

    async def _take_over(self, link: _Link) -> bool:
        """Make a new connection the current one; return False if the old one is the better of the two.

        An old connection that still lives is given up only for one that delivers.
        """
        old = self._current
        if old is not None:
            await _wait(link.first, self._plan.overlap_s_max)
            if link.ended.is_set() or (not link.delivered and not old.ended.is_set()):
                link.cut()
                return False
        if self._current is None:
            self._sink.on_connected(self._plan.kinds)
        self._current = link
        if old is not None:
            old.cut()
        return True

    async def _watch(self, link: _Link) -> str:
        """Wait until a connection must be replaced; return why."""
        while True:
            await _wait(link.ended, STREAM_CHECK_PERIOD_MS / MS_PER_S)
            if link.ended.is_set():
                return DISCONNECT
            now = self._clock.mono_ns()
            if now - link.opened_mono_ns > self._plan.life_s * NS_PER_S:
                self._patience.clear()
                return ROTATION
            silent = [stream for stream in link.seen_mono_ns if self._is_silent(link, stream, now)]
            if silent:
                self._lose_patience(silent)
                return SILENT

    def _is_silent(self, link: _Link, stream: tuple[StreamKind, str], now_mono_ns: int) -> bool:
        deadline_ms = self._plan.deadlines_ms[stream[0]] * self._patience.get(stream, 1)
        return now_mono_ns - link.seen_mono_ns[stream] > deadline_ms * NS_PER_MS

    def _lose_patience(self, silent: list[tuple[StreamKind, str]]) -> None:
        """Wait longer for these streams the next time: if a new connection does not help, more of them will not."""
        for kind, symbol in silent:
            self._patience[kind, symbol] = grown_patience(self._patience.get((kind, symbol), 1))
            self._log.event("MARKET_STREAM_SILENT", symbol=symbol, stream=kind.value)

    async def _back_off(self) -> None:
        """Wait before the next attempt."""
        wait_ms = backoff_ms(self._attempts, self._jitter())
        self._attempts = min(self._attempts + 1, _ATTEMPTS_COUNTED_MAX)
        await asyncio.sleep(wait_ms / MS_PER_S)

    def _on_lost(self, link: _Link) -> None:
        link.ended.set()
        link.first.set()
        if link is self._current:
            self._current = None
            if self._clock.mono_ns() - link.opened_mono_ns > RECONNECT_BACKOFF_MS_MAX * NS_PER_MS:
                self._attempts = 0
            self._sink.on_disconnected(self._plan.kinds)

    def _on_frame(self, link: _Link, message: bytes) -> None:
        """Decode one message and pass it on; the hot path of the feed."""
        recv_mono_ns = self._clock.mono_ns()
        try:
            event = decode_market(message, recv_mono_ns, self._clock.utc_ms())
        except PayloadError as error:
            self._sink.on_bad_payload(error.reason)
            return
        if isinstance(event, StreamReply | DepthSnapshot):
            self._on_other(event)
            return
        stream = (_KIND_OF[type(event)], event.symbol)
        if stream in link.seen_mono_ns:
            link.seen_mono_ns[stream] = recv_mono_ns
            if not link.delivered:
                link.delivered = True
                link.first.set()
        self._sink.on_market(event)

    def _on_other(self, message: StreamReply | MarketEvent) -> None:
        """Take what is no stream data: a refusal is logged, an acknowledgement means nothing."""
        if isinstance(message, StreamReply):
            if message.code:
                self._log.event("MARKET_REQUEST_REFUSED", code=message.code, message=message.message[:100])
        else:
            self._sink.on_bad_payload(DropReason.UNKNOWN_EVENT)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

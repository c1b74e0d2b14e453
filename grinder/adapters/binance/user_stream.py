"""The user data stream: a listen key kept alive, one connection, and a word whenever something may have been missed.

After every UserStreamUp, a planned rotation included, the consumer must ask the venue for what it follows: silence
does not say whether a stream is alive, and an event may come twice while two connections overlap. A message that cannot
be read is a gap like any other: UserStreamUp is said again, once in a while however many there are. While the venue
makes this host wait, no key is asked for and hence no connection made. Must never delete the listen key: the venue
gives the same one to every process of the account.

Source: venue documentation, USDⓈ-M futures user data streams (key valid 60 minutes, POST returns the active key and
extends it, PUT extends it or fails with -1125, connection 24 hours), 2026-05-28.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from grinder.adapters.binance.codec_account import decode_listen_key
from grinder.adapters.binance.codec_user import Ignored, KeyExpired, decode_user
from grinder.adapters.binance.connection import ConnectError, FrameConnection, open_frames
from grinder.adapters.binance.handshake import take_refusal
from grinder.adapters.binance.rest import HttpReply, RestClient
from grinder.adapters.binance.wire import LISTEN_KEY, LISTEN_KEY_EXTEND
from grinder.model.errors import PayloadError
from grinder.model.limits import (
    CONNECTION_LIFE_S_MAX,
    LISTEN_KEY_EXTEND_S,
    LISTEN_KEY_LIFE_S,
    LISTEN_KEY_RETRY_S,
    RECONNECT_BACKOFF_MS_MAX,
    RECONNECT_BACKOFF_MS_MIN,
    VENUE_MESSAGE_BYTES_MAX,
)
from grinder.model.units import MS_PER_S, NS_PER_MS, NS_PER_S
from grinder.model.venue import Rejected, UserEvent, UserStreamDown, UserStreamUp
from grinder.ports import Clock, Log, Telemetry

KEY_UNKNOWN: Final = -1125
"""Error code: this listen key does not exist (any more)."""

KEY_EXPIRED: Final = "key_expired"
ROTATION: Final = "rotation"

GAP_PERIOD_S: Final = 30.0
"""Least time between two gaps that messages nobody can read make, seconds: what is asked for after one has its weight,
and a venue that changed its format sends nothing else."""


class _Link:
    """One connection for one key."""

    def __init__(self, key: str, opened_mono_ns: int) -> None:
        self.key = key
        self.opened_mono_ns = opened_mono_ns
        self.extended_mono_ns = opened_mono_ns
        self.connection: FrameConnection | None = None
        self.announced = False
        self.ended = asyncio.Event()
        self.why = ""

    def end(self, why: str) -> None:
        """Mark it as of no more use; the first reason stays."""
        if not self.ended.is_set():
            self.why = why
            self.ended.set()

    def cut(self) -> None:
        if self.connection is not None:
            self.connection.transport.abort()


class UserStream:
    """The stream of one account. ``run`` keeps it up until it is cancelled."""

    def __init__(
        self,
        ws_url: str,
        rest: RestClient,
        on_event: Callable[[UserEvent], None],
        *,
        name: str,
        clock: Clock,
        telemetry: Telemetry,
        log: Log,
        life_s: float = CONNECTION_LIFE_S_MAX,
        extend_s: float = LISTEN_KEY_EXTEND_S,
        gap_s: float = GAP_PERIOD_S,
    ) -> None:
        """Keep what is needed; nothing happens before ``run``.

        Args:
            ws_url: base address of the streams, without the route.
            rest: an open client with a key.
            on_event: called on the loop's own thread, must return at once.
            name: label of the connection in metrics and logs.
            clock: intervals.
            telemetry: counts.
            log: connects and losses.
            life_s: planned life of a connection, seconds.
            extend_s: period of key extension, seconds.
            gap_s: least time between two gaps that unreadable messages make, seconds.
        """
        self._ws_url = ws_url.rstrip("/")
        self._rest = rest
        self._on_event = on_event
        self._name = name
        self._clock = clock
        self._telemetry = telemetry
        self._log = log
        self._life_s = life_s
        self._extend_s = extend_s
        self._gap_s = gap_s
        self._gap_due_mono_ns = 0
        self._gap_timer: asyncio.TimerHandle | None = None
        self._announced: _Link | None = None

    def renew(self, why: str) -> None:
        """Give the connection up and build another; without one, nothing: another is on its way."""
        if self._announced is not None:
            self._announced.end(why)

    async def run(self) -> None:
        """Connect, extend the key, rotate, reconnect; until cancelled."""
        current: _Link | None = None
        backoff_ms = RECONNECT_BACKOFF_MS_MIN
        try:
            while True:
                link = await self._open()
                if link is not None:
                    old, current = current, link
                    self._announce(link)
                    if old is not None:
                        await _close(old)
                    if await self._watch(current) == ROTATION:
                        self._telemetry.count("grinder_ws_reconnect_total", self._name, ROTATION)
                        continue
                if current is not None and current.ended.is_set():
                    lived_ms = (self._clock.mono_ns() - current.opened_mono_ns) // NS_PER_MS
                    if lived_ms > RECONNECT_BACKOFF_MS_MAX:
                        backoff_ms = RECONNECT_BACKOFF_MS_MIN
                    self._lose(current)
                    current = None
                await asyncio.sleep(backoff_ms / MS_PER_S)
                backoff_ms = min(2 * backoff_ms, RECONNECT_BACKOFF_MS_MAX)
        finally:
            if self._gap_timer is not None:
                self._gap_timer.cancel()
            if current is not None:
                current.cut()

    async def _open(self) -> _Link | None:
        """Ask for a key and connect with it; return None if either is not to be had now."""
        outcome = await self._rest.exchange(LISTEN_KEY, {})
        if not isinstance(outcome, HttpReply):
            self._log.event("LISTEN_KEY_FAILED", connector=self._name, outcome=type(outcome).__name__)
            return None
        try:
            key = decode_listen_key(outcome.body)
        except PayloadError:
            self._log.event("LISTEN_KEY_FAILED", connector=self._name, outcome="unreadable")
            return None
        link = _Link(key, self._clock.mono_ns())
        try:
            link.connection = await open_frames(
                f"{self._ws_url}/private/ws?listenKey={key}",
                on_frame=lambda message: self._on_message(link, message),
                on_lost=link.end,
                max_bytes=VENUE_MESSAGE_BYTES_MAX,
            )
        except ConnectError as error:
            take_refusal(error, self._rest.limits, self._clock)
            self._log.event("VENUE_CONNECT_FAILED", connector=self._name, error=type(error).__name__)
            return None
        return link

    def _announce(self, link: _Link) -> None:
        """Say once that a connection is up: its first message can arrive together with the handshake's reply."""
        if link.announced:
            return
        link.announced = True
        self._announced = link
        self._telemetry.gauge("grinder_ws_connected", 1.0, self._name)
        self._log.event("VENUE_CONNECTED", connector=self._name)
        self._on_event(UserStreamUp())

    async def _watch(self, link: _Link) -> str:
        """Extend the key until the connection ends or its planned life is over; return why."""
        extend_mono_ns = link.opened_mono_ns + int(self._extend_s * NS_PER_S)
        life_end_mono_ns = link.opened_mono_ns + int(self._life_s * NS_PER_S)
        while True:
            next_mono_ns = min(extend_mono_ns, life_end_mono_ns)
            wait_s = max(0, next_mono_ns - self._clock.mono_ns()) / NS_PER_S
            try:
                async with asyncio.timeout(wait_s):
                    await link.ended.wait()
                return link.why
            except TimeoutError:
                pass
            if self._clock.mono_ns() >= life_end_mono_ns:
                return ROTATION
            if self._clock.mono_ns() >= extend_mono_ns:
                wait_s = await self._extend(link)
                extend_mono_ns = self._clock.mono_ns() + int(wait_s * NS_PER_S)

    async def _extend(self, link: _Link) -> float:
        """Extend the key, or end the link when it cannot live on; return when to come back, seconds."""
        outcome = await self._rest.exchange(LISTEN_KEY_EXTEND, {})
        if isinstance(outcome, HttpReply):
            link.extended_mono_ns = self._clock.mono_ns()
            return self._extend_s
        if isinstance(outcome, Rejected) and outcome.code == KEY_UNKNOWN:
            link.end(KEY_EXPIRED)
        elif self._clock.mono_ns() - link.extended_mono_ns > LISTEN_KEY_LIFE_S * NS_PER_S:
            link.end("key_not_extended")
        self._log.event("LISTEN_KEY_NOT_EXTENDED", connector=self._name, outcome=type(outcome).__name__)
        return min(self._extend_s, LISTEN_KEY_RETRY_S)

    def _lose(self, link: _Link) -> None:
        """Cut a connection that ended and say so."""
        link.cut()
        self._telemetry.gauge("grinder_ws_connected", 0.0, self._name)
        reason = KEY_EXPIRED if link.why == KEY_EXPIRED else "disconnect"
        self._telemetry.count("grinder_ws_reconnect_total", self._name, reason)
        self._log.event("VENUE_DISCONNECTED", connector=self._name, why=link.why)
        self._on_event(UserStreamDown(link.why))

    def _on_message(self, link: _Link, message: bytes) -> None:
        """Pass one message on; a bad one is counted, and what it told is lost."""
        self._announce(link)
        try:
            decoded = decode_user(message)
        except PayloadError:
            self._telemetry.count("grinder_user_stream_bad_payloads_total")
            self._miss()
            return
        if isinstance(decoded, Ignored):
            self._telemetry.count("grinder_user_stream_ignored_total")
        elif isinstance(decoded, KeyExpired):
            if decoded.listen_key in ("", link.key):
                link.end(KEY_EXPIRED)
        else:
            self._on_event(decoded)

    def _miss(self) -> None:
        """Say that something was missed: now, or once the last gap is long enough ago."""
        if self._gap_timer is None:
            wait_s = max(0, self._gap_due_mono_ns - self._clock.mono_ns()) / NS_PER_S
            if wait_s > 0:
                self._gap_timer = asyncio.get_running_loop().call_later(wait_s, self._tell_gap)
            else:
                self._tell_gap()

    def _tell_gap(self) -> None:
        """Have everything asked for that the stream tells; without a connection the next one does so anyway."""
        self._gap_timer = None
        if self._announced is not None and not self._announced.ended.is_set():
            self._gap_due_mono_ns = self._clock.mono_ns() + int(self._gap_s * NS_PER_S)
            self._log.event("USER_STREAM_GAP", connector=self._name)
            self._on_event(UserStreamUp())


async def _close(link: _Link) -> None:
    """Close a replaced connection with the handshake, or cut it where that is cancelled."""
    assert link.connection is not None
    try:
        await link.connection.close()
    finally:
        link.cut()

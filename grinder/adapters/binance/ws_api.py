"""The venue's WebSocket API: orders on one connection, answered by id, signed one by one or under one logon.

A key that may log on (Ed25519) does so on every new connection; until that is confirmed, and wherever it is refused,
each request carries its own signature, so that a connection is never of less use for it.

A request that was written and not answered in its time, or whose connection was lost, is in doubt; one that could not
be written was certainly not sent. Must never await between a decision and the socket, never answer a request twice,
and never send one again.

Source: venue documentation, USDⓈ-M futures WebSocket API general info (one connection lives 24 hours; replies carry
id, status, result or error, rateLimits), 2026-05-28.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from websockets.exceptions import InvalidStatus

from grinder.adapters.binance.answers import answer_of
from grinder.adapters.binance.codec_instruments import RateLimit
from grinder.adapters.binance.connection import ConnectError, FrameConnection, open_frames
from grinder.adapters.binance.errors import RETRY_AFTER_MS_MAX, classify, read_retry_after_ms
from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.parameters import parameters_of
from grinder.adapters.binance.sign import Signer, Stamp
from grinder.adapters.binance.wire import OUTCOME_NAMES, operation_of
from grinder.model.errors import PayloadError
from grinder.model.limits import (
    CONNECTION_LIFE_S_MAX,
    RECONNECT_BACKOFF_MS_MAX,
    RECONNECT_BACKOFF_MS_MIN,
    TIMER_PERIOD_MS,
    VENUE_PENDING_MAX,
)
from grinder.model.units import MS_PER_S, NS_PER_MS, NS_PER_S
from grinder.model.venue import Advice, Confirmed, InDoubt, Rejected, VenueReply, VenueRequest
from grinder.ports import Clock, Log, Telemetry

CONNECTOR: Final = "ws_api"
HANDSHAKE_WEIGHT: Final = 5

LOGON: Final = "session.logon"
"""Method that authenticates a connection, and the id of our request for it; ids of others are numbers."""

LOGON_WEIGHT: Final = 2
"""Source: venue documentation, WebSocket API "Log in with API key (SIGNED)", 2026-05-28."""

OnReply = Callable[[VenueReply], None]


class _RetryAfter(msgspec.Struct, rename="camel"):
    """When a ban or a rate limit ends; both Unix milliseconds of the venue."""

    server_time: int = 0
    retry_after: int = 0


class _Error(msgspec.Struct):
    code: int
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Reply(msgspec.Struct, rename="camel"):
    """One reply; ``id`` is null where the venue could not read the request's. Parts that vary stay unread."""

    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None
    rate_limits: msgspec.Raw = msgspec.Raw(b"")


class _Pending(msgspec.Struct, gc=False):
    request: VenueRequest
    on_reply: OnReply
    sent_mono_ns: int
    deadline_mono_ns: int


_REPLY: Final = msgspec.json.Decoder(_Reply)
_RATE_LIMITS: Final = msgspec.json.Decoder(list[RateLimit])
_RETRY_AFTER: Final = msgspec.json.Decoder(_RetryAfter)
_ENCODER: Final = msgspec.json.Encoder()


class _Session:
    """One connection and the requests that wait on it."""

    def __init__(self, api: WsApi) -> None:
        self._api = api
        self.pending: dict[str, _Pending] = {}
        self.connection: FrameConnection | None = None
        self.lost = asyncio.Event()
        self.why = ""
        self.logged_on = False

    def on_frame(self, message: bytes) -> None:
        self._api.on_message(self, message)

    def on_lost(self, why: str) -> None:
        """Put every waiting request in doubt, each in its own turn of the loop."""
        self.why = why
        waiting, self.pending = self.pending, {}
        loop = asyncio.get_running_loop()
        for pending in waiting.values():
            loop.call_soon(self._api.finish, pending, InDoubt("disconnected"))
        self.lost.set()

    def expire(self, mono_ns: int) -> None:
        """Put requests past their deadline in doubt."""
        overdue = [key for key, pending in self.pending.items() if pending.deadline_mono_ns <= mono_ns]
        for key in overdue:
            self._api.finish(self.pending.pop(key), InDoubt("timeout"))


class WsApi:
    """The order path. ``run`` keeps it connected until it is cancelled."""

    def __init__(
        self,
        url: str,
        signer: Signer,
        *,
        clock: Clock,
        limits: Limits,
        telemetry: Telemetry,
        log: Log,
        life_s: float = CONNECTION_LIFE_S_MAX,
    ) -> None:
        self._url = url
        self._signer = signer
        self._clock = clock
        self._limits = limits
        self._telemetry = telemetry
        self._log = log
        self._life_s = life_s
        self._current: _Session | None = None
        self._sessions: set[_Session] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._sequence = 0

    @property
    def connected(self) -> bool:
        """Tell whether a request can be written now."""
        session = self._current
        return session is not None and session.connection is not None and session.connection.is_open

    def send(self, request: VenueRequest, on_reply: OnReply, stamp: Stamp | None = None) -> bool:
        """Sign and write a request at once.

        Args:
            request: what to send.
            on_reply: takes how it ended.
            stamp: of a command that was looked at for the last time right before this; None makes it one of now.

        Returns:
            True if it was written: ``on_reply`` is called once, later. False if it certainly was not: never called.
        """
        session = self._current
        if session is None or session.connection is None:
            return False
        if len(session.pending) >= VENUE_PENDING_MAX:
            return False
        operation = operation_of(request)
        assert operation.ws_method
        self._sequence += 1
        key = str(self._sequence)
        parameters = parameters_of(request)
        authorized = self._signer.session_parameters if session.logged_on else self._signer.signed_parameters
        message = _ENCODER.encode({"id": key, "method": operation.ws_method, "params": authorized(parameters, stamp)})
        sent_mono_ns = self._clock.mono_ns()
        if not session.connection.send_now(message):
            return False
        deadline_mono_ns = sent_mono_ns + operation.deadline_ms * NS_PER_MS
        session.pending[key] = _Pending(request, on_reply, sent_mono_ns, deadline_mono_ns)
        if self._sweep is None:
            self._schedule_sweep()
        return True

    def on_message(self, session: _Session, message: bytes) -> None:
        """Match a reply with its request and settle it; anything else is counted."""
        try:
            reply = _REPLY.decode(message)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._telemetry.count("grinder_venue_unmatched_replies_total")
            return
        self._observe(reply.rate_limits)
        if reply.id == LOGON:
            session.logged_on = reply.status == 200 and reply.error is None
            self._log.event("VENUE_LOGON", connector=CONNECTOR, done=session.logged_on)
            return
        pending = session.pending.pop(str(reply.id), None)
        if pending is None:
            self._telemetry.count("grinder_venue_unmatched_replies_total")
            return
        outcome = self._outcome(reply, pending)
        if isinstance(outcome, Rejected) and outcome.advice is Advice.AUTH:
            session.logged_on = False
        self.finish(pending, outcome)

    def _outcome(self, reply: _Reply, pending: _Pending) -> VenueReply:
        if reply.status == 200 and reply.error is None:
            try:
                value = answer_of(bytes(reply.result), pending.request)
            except PayloadError:
                return InDoubt("unreadable")
            return Confirmed(value, self._clock.mono_ns() - pending.sent_mono_ns)
        error = _Error(0) if reply.error is None else reply.error
        refused = classify(reply.status, error.code, error.msg, _retry_after_ms(error.data))
        if isinstance(refused, Rejected):
            self._limits.on_rejected(refused, boot_ns=self._clock.boot_ns())
        return refused

    def _observe(self, raw: msgspec.Raw) -> None:
        """Take the venue's own counts; an unreadable list never spoils the reply it came with."""
        if not bytes(raw):
            return
        try:
            rates = [rate.use() for rate in _RATE_LIMITS.decode(raw)]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
        self._limits.observe(rates, venue_utc_ms=self._signer.venue_utc_ms())

    def finish(self, pending: _Pending, reply: VenueReply) -> None:
        """Answer a request that was taken out of its session."""
        self._telemetry.count(
            "grinder_venue_requests_total", operation_of(pending.request).name, CONNECTOR, OUTCOME_NAMES[type(reply)]
        )
        if isinstance(reply, Confirmed):
            self._telemetry.observe("grinder_venue_reply_seconds", reply.rtt_ns / NS_PER_S, CONNECTOR)
        pending.on_reply(reply)

    def _schedule_sweep(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(TIMER_PERIOD_MS / MS_PER_S, self._on_sweep)

    def _on_sweep(self) -> None:
        """Look at deadlines for as long as anything waits."""
        self._sweep = None
        mono_ns = self._clock.mono_ns()
        for session in tuple(self._sessions):
            session.expire(mono_ns)
        if any(session.pending for session in self._sessions):
            self._schedule_sweep()

    async def run(self) -> None:
        """Connect, rotate before the venue cuts the connection, reconnect after a loss; until cancelled.

        On cancellation every connection is closed and what still waits is in doubt.
        """
        backoff_ms = RECONNECT_BACKOFF_MS_MIN
        retiring: set[asyncio.Task[None]] = set()
        try:
            while True:
                session = await self._connect()
                if session is None:
                    wait_ms = max(backoff_ms, self._limits.stopped_ms(self._clock.boot_ns()))
                    await asyncio.sleep(wait_ms / MS_PER_S)
                    backoff_ms = min(2 * backoff_ms, RECONNECT_BACKOFF_MS_MAX)
                    continue
                old, self._current = self._current, session
                self._telemetry.gauge("grinder_ws_connected", 1.0, CONNECTOR)
                if old is not None:
                    task = asyncio.create_task(self._retire(old))
                    retiring.add(task)
                    task.add_done_callback(retiring.discard)
                connected_mono_ns = self._clock.mono_ns()
                if await self._lost_within_life(session):
                    self._forget(session)
                    self._current = None
                    lived_ms = (self._clock.mono_ns() - connected_mono_ns) // NS_PER_MS
                    backoff_ms = RECONNECT_BACKOFF_MS_MIN if lived_ms > RECONNECT_BACKOFF_MS_MAX else backoff_ms
                    await asyncio.sleep(backoff_ms / MS_PER_S)
                    backoff_ms = min(2 * backoff_ms, RECONNECT_BACKOFF_MS_MAX)
        finally:
            self._current = None
            for task in retiring:
                task.cancel()
            for session in tuple(self._sessions):
                self._abort(session)

    async def _connect(self) -> _Session | None:
        """Return a new open session, or None if there is none to be had now; a ban is waited out."""
        if self._limits.stopped_ms(self._clock.boot_ns()):
            return None
        session = _Session(self)
        self._limits.charge(HANDSHAKE_WEIGHT, 0, venue_utc_ms=self._signer.venue_utc_ms())
        try:
            session.connection = await open_frames(self._url, on_frame=session.on_frame, on_lost=session.on_lost)
        except InvalidStatus as error:
            response = error.response
            refused = classify(response.status_code, 0, "", read_retry_after_ms(response.headers.get("Retry-After")))
            if isinstance(refused, Rejected):
                self._limits.on_rejected(refused, boot_ns=self._clock.boot_ns())
            self._log.event("VENUE_CONNECT_REFUSED", connector=CONNECTOR, http_status=response.status_code)
            return None
        except ConnectError as error:
            self._log.event("VENUE_CONNECT_FAILED", connector=CONNECTOR, error=type(error).__name__)
            return None
        self._sessions.add(session)
        self._log.event("VENUE_CONNECTED", connector=CONNECTOR)
        if self._signer.logs_on:
            self._log_on(session.connection)
        return session

    def _log_on(self, connection: FrameConnection) -> None:
        """Ask that requests on this connection need no signature; the answer comes as any other."""
        self._limits.charge(LOGON_WEIGHT, 0, venue_utc_ms=self._signer.venue_utc_ms())
        params = self._signer.signed_parameters({})
        connection.send_now(_ENCODER.encode({"id": LOGON, "method": LOGON, "params": params}))

    async def _lost_within_life(self, session: _Session) -> bool:
        """Wait for the connection's loss or the end of its planned life; tell whether it was lost."""
        try:
            async with asyncio.timeout(self._life_s):
                await session.lost.wait()
        except TimeoutError:
            self._telemetry.count("grinder_ws_reconnect_total", CONNECTOR, "rotation")
            return False
        self._telemetry.gauge("grinder_ws_connected", 0.0, CONNECTOR)
        self._telemetry.count("grinder_ws_reconnect_total", CONNECTOR, "disconnect")
        self._log.event("VENUE_DISCONNECTED", connector=CONNECTOR, why=session.why)
        return True

    async def _retire(self, session: _Session) -> None:
        """Close a replaced connection once nothing waits on it; deadlines bound that."""
        while session.pending:
            await asyncio.sleep(TIMER_PERIOD_MS / MS_PER_S)
        if session.connection is not None:
            await session.connection.close()
        self._forget(session)

    def _forget(self, session: _Session) -> None:
        self._sessions.discard(session)

    def _abort(self, session: _Session) -> None:
        """Cut a connection now; what waits on it is in doubt."""
        self._forget(session)
        if session.connection is not None:
            session.connection.transport.abort()
        if not session.lost.is_set():
            session.on_lost("closed")


def _retry_after_ms(data: msgspec.Raw) -> int:
    """Return the wait that an error names, milliseconds, 0 where it names none."""
    try:
        named = _RETRY_AFTER.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return 0
    return min(max(0, named.retry_after - named.server_time), RETRY_AFTER_MS_MAX)

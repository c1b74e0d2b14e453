"""The WebSocket API (``/ws-fapi/v1``): the same operations as REST, one JSON message each, ``rateLimits`` in replies.

Source: USDⓈ-M futures, websocket API general info and session authentication, 2026-05-28: only Ed25519 keys can log a
session on; a request that names a key itself must be signed with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from grinder.model.errors import VenueError
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.faults import Answer, Fault
from grinder.sim.exchange.operations import BY_WS_METHOD
from grinder.sim.exchange.params import Params, read_json_params
from grinder.sim.exchange.security import ws_payload
from grinder.sim.exchange.truth import RequestRecord
from grinder.sim.exchange.venue import OK, Outcome, Security, failure
from grinder.sim.wire.context import Ask, Context
from grinder.sim.wire.frames import Wire, text_frame
from grinder.sim.wire.sockets import incoming, open_socket

HANDSHAKE_WEIGHT: Final = 5
SESSION_WEIGHT: Final = 2
DELAYED_MAX: Final = 1_000
"""Most requests of one connection that a fault may hold at a time."""

Id = int | str | None


class Call(msgspec.Struct):
    """One request message. ``id``: integer, string or null; echoed."""

    method: str
    id: Id = None
    params: dict[str, Any] = {}


class _Name(msgspec.Struct):
    """What can still be answered to of a request that cannot be read."""

    id: Id = None


_DECODER: Final = msgspec.json.Decoder(Call)
_NAME_DECODER: Final = msgspec.json.Decoder(_Name)
_ENCODER: Final = msgspec.json.Encoder()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(context: Context) -> list[web.RouteDef]:
    """Return the paths of the WebSocket API."""
    return [web.get("/ws-fapi/v1", _handler(context))]


def _handler(context: Context) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            context.venue.limits.use_weight(HANDSHAKE_WEIGHT, context.clock.utc_ms())
        except VenueError as error:
            return _refused(context, error)
        socket = await open_socket(request)
        if request.transport is None:
            return socket
        shows_limits = request.query.get("returnRateLimits", "true") != "false"
        session = Session(context, Wire(request.transport), shows_limits=shows_limits)
        context.ws_api[session] = None
        try:
            async for message in incoming(socket, context.pace):
                if not message.is_control:
                    session.on_text(message.data)
        finally:
            context.ws_api.pop(session, None)
            session.close()
        return socket

    return handle


def _refused(context: Context, error: VenueError) -> web.Response:
    """Return the answer to a handshake that the limits refuse."""
    body = _ENCODER.encode({"code": error.code, "msg": error.message})
    headers = {"Retry-After": str(context.venue.limits.retry_after_s(context.clock.utc_ms()))}
    return web.Response(status=error.http_status, body=body, content_type="application/json", headers=headers)


class Session:
    """One connection of the WebSocket API. ``shows_limits``: replies carry ``rateLimits`` unless a request says no."""

    def __init__(self, context: Context, wire: Wire, *, shows_limits: bool = True) -> None:
        self._context = context
        self.wire: Wire = wire
        self._shows_limits = shows_limits
        self._connected_utc_ms = context.clock.utc_ms()
        self._key = ""
        self._authorized_utc_ms = 0
        self._delayed: set[asyncio.Task[None]] = set()

    def on_text(self, text: str | bytes) -> None:
        """Do one message; without a fault the reply is written before this returns."""
        mono_ns = self._context.clock.mono_ns()
        try:
            call = _DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeError):
            error = refusal(Code.ILLEGAL_CHARS, "request", "a JSON object with id and method")
            self._reply(Call("", _id_of(text)), "", failure(error))
            return
        try:
            params = read_json_params(call.params)
            if call.method in _SESSION_METHODS:
                self._reply(call, "", _SESSION_METHODS[call.method](self, params))
                return
            operation = BY_WS_METHOD.get(call.method)
            if operation is None:
                raise refusal(Code.UNSUPPORTED_OPERATION)
        except VenueError as error:
            self._reply(call, "", failure(error))
            return
        key, payloads = params.optional("apiKey"), None
        if not key and self._key:
            key = self._key
        elif operation.security is Security.SIGNED:
            payloads = ws_payload(params)
        ask = Ask(operation, "ws_api", key, params, payloads, mono_ns)
        record, fault = self._context.begin(ask)
        if fault is None:
            self._reply(call, key, self._context.run(ask, record))
        elif len(self._delayed) < DELAYED_MAX:
            task = asyncio.get_running_loop().create_task(self._run_with_fault(call, ask, record, fault))
            self._delayed.add(task)
            task.add_done_callback(self._delayed.discard)

    def close(self) -> None:
        """End what a fault still holds; what has reached the exchange stays done."""
        for task in self._delayed:
            task.cancel()

    async def _run_with_fault(self, call: Call, ask: Ask, record: RequestRecord, fault: Fault) -> None:
        answer, outcome = await self._context.run_with_fault(ask, record, fault)
        if answer in (Answer.NORMAL, Answer.ERROR) and outcome is not None:
            self._reply(call, ask.key, outcome, fault.retry_after_s if answer is Answer.ERROR else 0)
        elif answer is Answer.GARBAGE:
            self.wire.write(text_frame(b"<html>502 Bad Gateway</html>"))
        elif answer is Answer.UNREADABLE:
            self.wire.write(text_frame(b'{"id":"cut","status":200,"result":{'))
        elif answer is Answer.RESET_IN_MIDDLE:
            self.wire.write(text_frame(b'{"id":"cut","status":200,"result":{')[:-8])
            self.wire.abort()
        elif answer is Answer.CLOSE:
            self.wire.abort()

    def log_on(self, params: Params) -> Outcome:
        """session.logon: requests that follow need neither key nor signature."""
        venue, now = self._context.venue, self._context.clock.utc_ms()
        venue.limits.use_weight(SESSION_WEIGHT, now)
        key = params.optional("apiKey")
        venue.gatekeeper.check_key(key)
        venue.gatekeeper.check_session_key(key)
        venue.gatekeeper.check_signed(key, params, ws_payload(params), now)
        self._key, self._authorized_utc_ms = key, now
        return self._status()

    def status(self, params: Params) -> Outcome:
        """session.status: which key is logged on."""
        self._context.venue.limits.use_weight(SESSION_WEIGHT, self._context.clock.utc_ms())
        return self._status()

    def log_out(self, params: Params) -> Outcome:
        """session.logout: forget the key; the connection stays."""
        self._context.venue.limits.use_weight(SESSION_WEIGHT, self._context.clock.utc_ms())
        self._key, self._authorized_utc_ms = "", 0
        return self._status()

    def _status(self) -> Outcome:
        body = {
            "apiKey": self._key or None,
            "authorizedSince": self._authorized_utc_ms or None,
            "connectedSince": self._connected_utc_ms,
            "returnRateLimits": self._shows_limits,
            "serverTime": self._context.clock.utc_ms(),
        }
        return Outcome(OK, 0, body)

    def _reply(self, call: Call, key: str, outcome: Outcome, retry_after_s: int = 0) -> None:
        context = self._context
        name = "result" if outcome.http_status == OK else "error"
        reply: dict[str, Any] = {"id": call.id, "status": outcome.http_status, name: outcome.body}
        shows = call.params.get("returnRateLimits", self._shows_limits)
        if shows is not False or outcome.http_status in (418, 429):
            now = context.clock.utc_ms()
            reply["rateLimits"] = context.venue.limits.rows(context.venue.gatekeeper.account_of(key), now)
            if outcome.http_status in (418, 429):
                retry_utc_ms = now + (retry_after_s or context.venue.limits.retry_after_s(now)) * 1_000
                reply["error"] = {**_body(outcome), "data": {"serverTime": now, "retryAfter": retry_utc_ms}}
        self.wire.write(text_frame(_ENCODER.encode(reply)))


def _body(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome.body, dict)
    return outcome.body


def _id_of(text: str | bytes) -> Id:
    """Return the id of a message that is no request, None if it has none that could be echoed."""
    try:
        return _NAME_DECODER.decode(text).id
    except (msgspec.DecodeError, UnicodeError):
        return None


_SESSION_METHODS: Final[dict[str, Callable[[Session, Params], Outcome]]] = {
    "session.logon": Session.log_on,
    "session.status": Session.status,
    "session.logout": Session.log_out,
}

"""The WebSocket API (``/ws-fapi/v1``): the same operations as REST, one JSON message each, ``rateLimits`` in replies.

Source: USDⓈ-M futures, websocket API general info, 2026-05-28. HMAC keys cannot log a session on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from grinder.model.errors import VenueError
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.faults import Answer, FaultRule
from grinder.sim.exchange.operations import BY_WS_METHOD
from grinder.sim.exchange.params import read_json_params
from grinder.sim.exchange.security import ws_payload
from grinder.sim.exchange.truth import RequestRecord
from grinder.sim.exchange.venue import OK, Outcome, failure
from grinder.sim.wire.context import Ask, Context
from grinder.sim.wire.frames import Wire, text_frame
from grinder.sim.wire.streams import MESSAGE_BYTES_MAX, PING_PERIOD_S

HANDSHAKE_WEIGHT: Final = 5
DELAYED_MAX: Final = 1_000
"""Most requests of one connection that a fault may hold at a time."""

Id = int | str | None


class Call(msgspec.Struct):
    """One request message. ``id``: integer, string or null; echoed."""

    method: str
    id: Id = None
    params: dict[str, Any] = {}


_DECODER: Final = msgspec.json.Decoder(Call)
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
            body = {"code": error.code, "msg": error.message}
            return web.Response(status=error.http_status, body=_ENCODER.encode(body), content_type="application/json")
        socket = web.WebSocketResponse(compress=False, heartbeat=PING_PERIOD_S, max_msg_size=MESSAGE_BYTES_MAX)
        await socket.prepare(request)
        if request.transport is None:
            return socket
        session = Session(context, Wire(request.transport))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    session.on_text(message.data)
        finally:
            session.close()
        return socket

    return handle


class Session:
    """One connection of the WebSocket API."""

    def __init__(self, context: Context, wire: Wire) -> None:
        self._context = context
        self._wire = wire
        self._connected_utc_ms = context.clock.utc_ms()
        self._delayed: set[asyncio.Task[None]] = set()

    def on_text(self, text: str) -> None:
        """Do one message; without a fault the reply is written before this returns."""
        mono_ns = self._context.clock.mono_ns()
        try:
            call = _DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeError):
            self._reply(None, "", failure(refusal(Code.ILLEGAL_CHARS, "request", "a JSON object with id and method")))
            return
        operation = BY_WS_METHOD.get(call.method)
        if operation is None:
            self._reply(call.id, "", self._session_method(call.method))
            return
        try:
            params = read_json_params(call.params)
        except VenueError as error:
            self._reply(call.id, "", failure(error))
            return
        key = params.optional("apiKey")
        ask = Ask(operation, "ws_api", key, params, ws_payload(params), mono_ns)
        record, fault = self._context.begin(ask)
        if fault is None:
            self._reply(call.id, key, self._context.run(ask, record))
        elif len(self._delayed) < DELAYED_MAX:
            task = asyncio.get_running_loop().create_task(self._run_with_fault(call.id, ask, record, fault))
            self._delayed.add(task)
            task.add_done_callback(self._delayed.discard)

    def close(self) -> None:
        """End what a fault still holds; what has reached the exchange stays done."""
        for task in self._delayed:
            task.cancel()

    async def _run_with_fault(self, call_id: Id, ask: Ask, record: RequestRecord, fault: FaultRule) -> None:
        answer, outcome = await self._context.run_with_fault(ask, record, fault)
        if answer in (Answer.NORMAL, Answer.ERROR) and outcome is not None:
            self._reply(call_id, ask.key, outcome)
        elif answer is Answer.GARBAGE:
            self._wire.write(text_frame(b"<html>502 Bad Gateway</html>"))
        elif answer is Answer.RESET_IN_MIDDLE:
            self._wire.write(text_frame(b'{"id":"cut","status":200,"result":{')[:-8])
            self._wire.abort()
        elif answer is Answer.CLOSE:
            self._wire.abort()

    def _session_method(self, method: str) -> Outcome:
        now = self._context.clock.utc_ms()
        if method == "session.logon":
            return failure(refusal(Code.HMAC_NOT_SUPPORTED))
        if method in ("session.status", "session.logout"):
            body = {
                "apiKey": None,
                "authorizedSince": None,
                "connectedSince": self._connected_utc_ms,
                "returnRateLimits": True,
                "serverTime": now,
            }
            return Outcome(OK, 0, body)
        return failure(refusal(Code.UNSUPPORTED_OPERATION))

    def _reply(self, call_id: Id, key: str, outcome: Outcome) -> None:
        context = self._context
        account = key if key in context.venue.exchange.accounts else ""
        limits = context.venue.limits.rows(account, context.clock.utc_ms())
        name = "result" if outcome.http_status == OK else "error"
        reply = {"id": call_id, "status": outcome.http_status, name: outcome.body, "rateLimits": limits}
        self._wire.write(text_frame(_ENCODER.encode(reply)))

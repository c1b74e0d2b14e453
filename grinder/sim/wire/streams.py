"""Stream connections: URL mode and SUBSCRIBE mode, on ``/public``, ``/market``, ``/private`` and the legacy paths.

Source: USDⓈ-M futures, websocket market streams, live subscribing and unsubscribing, 2026-05-28. Ids may be integers or
strings: clients send both.
"""

from __future__ import annotations

from asyncio import Transport
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from grinder.sim.wire.context import Context
from grinder.sim.wire.frames import Wire, text_frame
from grinder.sim.wire.hub import STREAMS_PER_CONNECTION_MAX, Route, Subscriber
from grinder.sim.wire.sockets import incoming, open_socket

INCOMING_PER_S_MAX: Final = 10
_METHODS: Final = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(context: Context) -> list[web.RouteDef]:
    """Return every stream path."""
    rows: list[web.RouteDef] = []
    for prefix, route in (("/public", Route.PUBLIC), ("/market", Route.MARKET), ("/private", Route.PRIVATE)):
        rows += _paths(context, prefix, route)
    return rows + _paths(context, "", context.unrouted)


def _paths(context: Context, prefix: str, route: Route) -> list[web.RouteDef]:
    plain, combined = _handler(context, route, combined=False), _handler(context, route, combined=True)
    return [
        web.get(f"{prefix}/ws", plain),
        web.get(f"{prefix}/ws/{{names:.*}}", plain),
        web.get(f"{prefix}/stream", combined),
        web.get(f"{prefix}/stream/{{names:.*}}", combined),
    ]


def url_subscriptions(path_names: str, query: str) -> list[tuple[str, frozenset[str]]]:
    """Return the (stream, wanted user events) pairs of a URL; ``events`` belongs to the listen key before it."""
    wanted: list[tuple[str, frozenset[str]]] = [(name, frozenset()) for name in path_names.split("/") if name]
    for name, value in parse_qsl(query):
        if name == "streams":
            wanted += [(stream, frozenset()) for stream in value.split("/") if stream]
        elif name == "listenKey" and value:
            wanted.append((value, frozenset()))
        elif name == "events" and wanted:
            wanted[-1] = (wanted[-1][0], frozenset(event for event in value.split("/") if event))
    return wanted[:STREAMS_PER_CONNECTION_MAX]


def _handler(context: Context, route: Route, *, combined: bool) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        socket = await open_socket(request)
        transport = request.transport
        if not isinstance(transport, Transport) and transport is None:
            return socket
        subscriber = Subscriber(Wire(transport), route, combined=combined)
        context.hub.add(subscriber)
        try:
            for stream, events in url_subscriptions(request.match_info.get("names", ""), request.query_string):
                context.hub.subscribe(subscriber, stream, events)
            await _listen(context, socket, subscriber)
        finally:
            context.hub.remove(subscriber)
        return socket

    return handle


async def _listen(context: Context, socket: web.WebSocketResponse, subscriber: Subscriber) -> None:
    """Answer control messages until the client goes, or sends more of them than the venue takes."""
    arrivals: deque[int] = deque(maxlen=INCOMING_PER_S_MAX + 1)
    async for message in incoming(socket, context.pace):
        now = context.clock.mono_ns()
        arrivals.append(now)
        if len(arrivals) > INCOMING_PER_S_MAX and now - arrivals[0] < 1_000_000_000:
            await socket.close(code=1008, message=b"Too many requests")
            return
        if message.is_control:
            continue
        reply = control(context, subscriber, message.data)
        subscriber.wire.write(text_frame(msgspec.json.encode(reply)))


def _error(code: int, text: str, request_id: object = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "msg": text}
    return error if request_id is None else {"error": error, "id": request_id}


def control(context: Context, subscriber: Subscriber, text: str | bytes) -> dict[str, Any]:
    """Do one control message and return its reply; an acknowledgement says nothing about data."""
    try:
        request = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        return _error(3, "Invalid JSON: expected value at line 1 column 1")
    request_id, method = request.get("id"), request.get("method")
    if request_id is not None and (isinstance(request_id, bool) or not isinstance(request_id, int | str)):
        return _error(2, "Invalid request: request ID must be an unsigned integer")
    if method is None:
        return _error(2, "Invalid request: missing field `method` at line 1 column 1", request_id)
    if method == "LIST_SUBSCRIPTIONS":
        return {"result": list(subscriber.streams), "id": request_id}
    params = request.get("params")
    if method in ("SET_PROPERTY", "GET_PROPERTY"):
        return _property(subscriber, method, params, request_id)
    if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
        return _error(
            2, f"Invalid request: unknown variant `{str(method)[:64]}`, expected one of {_METHODS}", request_id
        )
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        return _error(2, "Invalid request: params must be a list of strings", request_id)
    if len(subscriber.streams) + len(params) > STREAMS_PER_CONNECTION_MAX and method == "SUBSCRIBE":
        return _error(2, "Invalid request: too many parameters", request_id)
    act = context.hub.subscribe if method == "SUBSCRIBE" else context.hub.unsubscribe
    for name in params:
        act(subscriber, name)
    return {"result": None, "id": request_id}


def _property(subscriber: Subscriber, method: str, params: object, request_id: object) -> dict[str, Any]:
    if not isinstance(params, list) or not params or params[0] != "combined":
        return _error(0, "Unknown property", request_id)
    if method == "GET_PROPERTY":
        return {"result": subscriber.combined, "id": request_id}
    if len(params) != 2 or not isinstance(params[1], bool):
        return _error(1, "Invalid value type: expected Boolean", request_id)
    subscriber.combined = params[1]
    return {"result": None, "id": request_id}

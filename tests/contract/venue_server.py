"""A tiny venue on loopback that misbehaves on request: one handler per HTTP path, one per WebSocket message."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from grinder.adapters.binance.sign import Signer
from grinder.adapters.clock import SystemClock
from grinder.adapters.telemetry import Recorder
from grinder.model.control import Process
from grinder.model.venue import VenueReply

API_KEY = "k" * 64
API_SECRET = "s" * 64
WAIT_S = 30.0
"""Bound of every wait of these tests, seconds: a host may be busy with other tests."""

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MessageHandler = Callable[[web.WebSocketResponse, dict[str, Any]], Awaitable[None]]


class Replies:
    """Collects replies; waits for a number of them."""

    def __init__(self) -> None:
        self.values: list[VenueReply] = []

    def __call__(self, reply: VenueReply) -> None:
        self.values.append(reply)

    async def only(self) -> VenueReply:
        await eventually(lambda: len(self.values) >= 1)
        await settle()
        assert len(self.values) == 1, self.values
        return self.values[0]


class VenueServer:
    """Loopback server; ``http`` and ``on_message`` are replaced by each test."""

    def __init__(self) -> None:
        self.http: dict[tuple[str, str], HttpHandler] = {}
        self.requests: list[web.Request] = []
        self.on_message: MessageHandler = answer_order
        self.messages: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.private: list[web.WebSocketResponse] = []
        self.private_keys: list[str] = []
        self.private_greeting = ""
        self.private_refusals: list[tuple[int, str]] = []
        self.ws_api_status = 0
        self.port = 0
        self.secure = False

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://127.0.0.1:{self.port}"

    @property
    def ws_api_url(self) -> str:
        return f"{self.ws_url}/ws-fapi/v1"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        handler = self.http.get((request.method, request.path))
        return web.json_response({}) if handler is None else await handler(request)

    async def handle_ws_api(self, request: web.Request) -> web.StreamResponse:
        if self.ws_api_status:
            return web.Response(status=self.ws_api_status)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                decoded = msgspec.json.decode(message.data)
                self.messages.append(decoded)
                await self.on_message(socket, decoded)
        return socket

    async def handle_private(self, request: web.Request) -> web.StreamResponse:
        if self.private_refusals:
            status, retry_after_s = self.private_refusals.pop(0)
            return web.Response(status=status, headers={"Retry-After": retry_after_s})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.private.append(socket)
        self.private_keys.append(request.query["listenKey"])
        if self.private_greeting:
            await socket.send_str(self.private_greeting)
        async for _ in socket:
            pass
        return socket


@asynccontextmanager
async def running_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[VenueServer]:
    server = VenueServer()
    server.secure = tls is not None
    app = web.Application()
    app.router.add_get("/ws-fapi/v1", server.handle_ws_api)
    app.router.add_get("/private/ws", server.handle_private)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        for socket in [*server.sockets, *server.private]:
            abort(socket)
        await runner.cleanup()


def abort(socket: web.WebSocketResponse) -> None:
    """Cut a connection without a closing handshake."""
    transport = socket.get_extra_info("socket") and socket._req and socket._req.transport
    if transport:
        transport.abort()


def json_reply(body: object, status: int = 200, **headers: str) -> HttpHandler:
    async def handler(_: web.Request) -> web.StreamResponse:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=status, headers=names)

    return handler


def raw_reply(body: bytes, status: int = 200) -> HttpHandler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status)

    return handler


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits this long")


async def reset_before_reply(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def reset_within_reply(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"orderId":')
    assert request.transport is not None
    request.transport.abort()
    return response


def ack(params: dict[str, Any]) -> dict[str, Any]:
    """The acknowledgement of an order command, in the form since 2026-06-30."""
    return {
        "orderId": 325078477,
        "symbol": params["symbol"],
        "status": "NEW",
        "clientOrderId": params.get("newClientOrderId") or params["origClientOrderId"],
        "price": params.get("price", "0"),
        "origQty": params.get("quantity", "0"),
        "executedQty": "0",
        "side": params.get("side", "BUY"),
        "type": "LIMIT",
        "updateTime": 1702555534435,
    }


async def answer_order(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    await socket.send_json({"id": message["id"], "status": 200, "result": ack(message["params"])})


class SteadyClock(SystemClock):
    """The host's monotonic clock, and a wall clock that stands in the middle of every rate-limit window."""

    def utc_ms(self) -> int:
        return 1_800_000_005_000


def recorder() -> Recorder:
    return Recorder(Process.EXECUTOR, 1, 1, SystemClock())


def counted(telemetry: Recorder, name: str) -> dict[tuple[str, ...], float]:
    """Return the series of one counter or gauge."""
    return {labels: value for series, labels, value in telemetry.snapshot().series if series == name}


def signer(secret: str = API_SECRET) -> Signer:
    return Signer(API_KEY, secret, venue_utc_ms=SteadyClock().utc_ms, recv_window_ms=5_000)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after a bound."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        await asyncio.sleep(0.002)


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)

"""The life of a client's WebSocket: pinged by the venue, cut when it does not answer, ended after a day.

Source: USDⓈ-M futures, websocket market streams and WebSocket API general info, 2026-05-28: a ping every three minutes,
a pong within ten, 24 h per connection, ten incoming messages a second (pings and pongs count).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

MESSAGE_BYTES_MAX: Final = 256 * 1_024
CLOSE_S_MAX: Final = 1.0
"""Longest that a closing handshake is waited for, seconds."""


class SocketPace(msgspec.Struct, frozen=True):
    """Times of a connection, seconds. ``head_s_max``: how long the head of its first request may take to arrive."""

    ping_period_s: float = 180.0
    pong_s_max: float = 600.0
    life_s: float = 24 * 3_600.0
    head_s_max: float = 10.0

    def __post_init__(self) -> None:
        """Refuse times that are not above 0."""
        if min(self.ping_period_s, self.pong_s_max, self.life_s, self.head_s_max) <= 0:
            raise ValueError("times of a connection must be above 0")


class Incoming(msgspec.Struct, frozen=True):
    """One message of a client. ``data`` empty for pings and pongs, which only count."""

    data: str | bytes
    is_control: bool = False


async def open_socket(request: web.Request) -> web.WebSocketResponse:
    """Answer a WebSocket handshake.

    Raises:
        aiohttp.web.HTTPException: if it is none.
    """
    socket = web.WebSocketResponse(
        compress=False, autoping=False, max_msg_size=MESSAGE_BYTES_MAX, timeout=CLOSE_S_MAX, decode_text=True
    )
    await socket.prepare(request)
    return socket


async def incoming(socket: web.WebSocketResponse, pace: SocketPace) -> AsyncIterator[Incoming]:
    """Yield what the client sends until it goes, does not answer pings, or its day is over."""
    loop = asyncio.get_running_loop()
    last_pong_s = [loop.time()]
    keeper = loop.create_task(_keep(socket, pace, last_pong_s))
    try:
        async for message in socket:
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
                yield Incoming("", is_control=True)
            elif message.type is WSMsgType.PONG:
                last_pong_s[0] = loop.time()
                yield Incoming("", is_control=True)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                yield Incoming(message.data)
    finally:
        keeper.cancel()


async def _keep(socket: web.WebSocketResponse, pace: SocketPace, last_pong_s: list[float]) -> None:
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + pace.life_s
    while (left_s := ends_s - loop.time()) > 0:
        await asyncio.sleep(min(pace.ping_period_s, left_s))
        if loop.time() - last_pong_s[0] > pace.pong_s_max:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Pong timeout")
            return
        with suppress(ConnectionError):
            await socket.ping(b"%d" % int(loop.time() * 1_000))
    await socket.close(code=WSCloseCode.GOING_AWAY, message=b"Connection lifetime over")

"""The bare floor of a request: a server that says back what it was told, over HTTP and over a WebSocket.

Run by ``tests.bench.order_round_trip``: the same libraries as the simulated venue, nothing read, nothing signed.
"""

from __future__ import annotations

import sys

import uvloop
from aiohttp import WSMsgType, web


async def over_http(request: web.Request) -> web.Response:
    """Answer with the query."""
    return web.Response(text=request.query_string, content_type="application/json")


async def over_websocket(request: web.Request) -> web.WebSocketResponse:
    """Answer each message with itself."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


def main(port: int) -> None:
    """Serve until killed."""
    application = web.Application()
    application.add_routes([web.post("/echo", over_http), web.get("/ws", over_websocket)])
    web.run_app(
        application,
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=lambda *_: None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))

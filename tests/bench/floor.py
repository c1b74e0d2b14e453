"""The bare floor: the tree's hops from tick to order with no logic in them, one process per hop.

``feed`` hands each WebSocket frame to a PUB socket, ``fsm`` hands each to a PUSH socket, ``executor`` asks the venue
for its time over the WebSocket API once per frame. What the venue then logs is what the hops alone cost on this host.
Run by ``tests.bench.tick_to_order``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import uvloop
import zmq
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import DATA_OPCODES, Frame


class FrameConnection(ClientConnection):
    """A client connection that hands data frames to a callback."""

    on_frame: Callable[[bytes], None] = staticmethod(lambda _data: None)

    def process_event(self, event: object) -> None:
        if self.response is not None and isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self.on_frame(bytes(event.data))
        else:
            super().process_event(event)  # type: ignore[arg-type]


def _address(run_dir: Path, name: str) -> str:
    return f"ipc://{run_dir}/floor-{name}.sock"


async def feed(run_dir: Path, ws_url: str, symbol: str) -> None:
    """Publish every frame of the symbol's bookTicker as it came."""
    socket = zmq.Context.instance().socket(zmq.PUB)
    socket.bind(_address(run_dir, "market"))
    url = f"{ws_url}/public/stream?streams={symbol.lower()}@bookTicker"
    async with connect(url, create_connection=FrameConnection, compression=None) as connection:
        connection.on_frame = socket.send  # type: ignore[method-assign,assignment]
        await connection.wait_closed()


def fsm(run_dir: Path) -> None:
    """Hand every frame on."""
    context = zmq.Context.instance()
    market = context.socket(zmq.SUB)
    market.subscribe(b"")
    market.connect(_address(run_dir, "market"))
    intents = context.socket(zmq.PUSH)
    intents.setsockopt(zmq.IMMEDIATE, 1)
    intents.connect(_address(run_dir, "intents"))
    while True:
        intents.send(market.recv())


async def executor(run_dir: Path, ws_api_url: str) -> None:
    """Send one request per frame that arrives."""
    intents = zmq.Context.instance().socket(zmq.PULL)
    intents.bind(_address(run_dir, "intents"))
    number = 0
    async with connect(ws_api_url, create_connection=FrameConnection, compression=None) as connection:

        def drain() -> None:
            nonlocal number
            while True:
                try:
                    intents.recv(zmq.NOBLOCK)
                except zmq.Again:
                    return
                number += 1
                connection.protocol.send_text(b'{"id":%d,"method":"time"}' % number)
                connection.transport.writelines(connection.protocol.data_to_send())

        loop = asyncio.get_running_loop()
        loop.add_reader(intents.getsockopt(zmq.FD), drain)
        while True:
            # The descriptor is edge-triggered: look again now and then, as the tree's loop does.
            await asyncio.sleep(0.05)
            drain()


def main(role: str, run_dir: str, url: str, symbol: str) -> None:
    """Run one role until killed."""
    if role == "fsm":
        fsm(Path(run_dir))
    elif role == "feed":
        uvloop.run(feed(Path(run_dir), url, symbol))
    else:
        uvloop.run(executor(Path(run_dir), url))


if __name__ == "__main__":
    main(*sys.argv[1:5])

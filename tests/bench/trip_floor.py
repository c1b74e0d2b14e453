"""The bare floors of a trip and of its acknowledgement: a word in a mapped file, and no logic behind it.

``sender`` asks the venue for its time over the WebSocket API, again as soon as it is answered, as long as the word is
clear. ``looker`` looks at the word as often as a process of the tree does and copies it into the next one. Run by
``tests.bench.trip_to_block``.

    python -m tests.bench.trip_floor sender|looker FILE WS_API_URL
"""

from __future__ import annotations

import asyncio
import mmap
import sys
import time
from pathlib import Path

import uvloop
from websockets.asyncio.client import connect

from grinder.model.limits import TIMER_PERIOD_MS
from tests.bench.floor import FrameConnection

WORD, ACK = 0, 8
LOOK_S = 0.001


def mapped(path: Path) -> memoryview:
    """Return the words of a file of one page, made if there is none."""
    with path.open("a+b") as file:
        file.truncate(mmap.PAGESIZE)
        return memoryview(mmap.mmap(file.fileno(), mmap.PAGESIZE)).cast("q")


async def sender(words: memoryview, url: str) -> None:
    """Send one request after the other while the word is clear."""
    number = 0
    async with connect(url, create_connection=FrameConnection, compression=None) as connection:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_frame(data: bytes) -> None:
            if not answered.done():
                answered.set_result(None)

        connection.on_frame = on_frame  # type: ignore[method-assign,assignment]
        while True:
            if words[WORD]:
                await asyncio.sleep(LOOK_S)
                continue
            answered = asyncio.get_running_loop().create_future()
            number += 1
            connection.protocol.send_text(b'{"id":%d,"method":"time"}' % number)
            connection.transport.writelines(connection.protocol.data_to_send())
            await answered


def looker(words: memoryview) -> None:
    """Acknowledge what the word says, at the tree's timer."""
    while True:
        time.sleep(TIMER_PERIOD_MS / 1_000)
        words[ACK] = words[WORD]


def main(role: str, path: str, url: str) -> None:
    """Run one role until killed."""
    words = mapped(Path(path))
    if role == "sender":
        uvloop.run(sender(words, url))
    else:
        looker(words)


if __name__ == "__main__":
    main(*sys.argv[1:4])

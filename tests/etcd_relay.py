"""TCP relays that can be cut: partitions and delays on loopback without root, in a thread of their own.

A relay knows who opened a connection, so that a member of a cluster can be cut from some of its peers only. While a
way is cut its bytes wait, as packets do that are sent again and again; nobody is told that a connection is broken.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from tests.free_ports import HOST, free_port

CHUNK: Final = 65536
WAITING_MAX: Final = 1024
"""How many chunks are on their way at once; then the sender waits."""

LOOK_PERIOD_S: Final = 0.01
RESENT_S: Final = (0.02, 0.4)
"""How much later bytes come whose packet was lost: a quick retransmission, or the sender's timeout."""

JOIN_TIMEOUT_S: Final = 20.0
CLOSE_ROUNDS: Final = 10
"""Turns of the loop after which whoever waited is accepted, and whose task was ended is closed."""


def socket_owner(port: int, pids: dict[str, int]) -> str:
    """Return which of these processes has a connection from a local port; empty if none."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = f"0100007F:{port:04X}"
    inode = next((line.split()[9] for line in lines if line.split()[1] == local), None)
    wanted = f"socket:[{inode}]"
    for name, pid in pids.items():
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if wanted in links:
            return name
    return ""


class Wire:
    """What lies between named ends: which ways are cut, and how long a chunk of bytes takes.

    A way is (from, to). ``""`` stands for whoever opens a connection where nobody looks who it is.
    """

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.random = Random(0)
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self._slow: dict[tuple[str, str], tuple[float, float]] = {}

    def cut(self, *ways: tuple[str, str]) -> None:
        """Let nothing through on these ways, beside those that are cut already."""
        self._cut |= set(ways)

    def isolate(self, name: str, others: tuple[str, ...], *, way: str = "both") -> None:
        """Cut an end from others: ``in`` it hears nothing of them, ``out`` they hear nothing of it, or ``both``."""
        if way in ("both", "in"):
            self.cut(*((other, name) for other in others))
        if way in ("both", "out"):
            self.cut(*((name, other) for other in others))

    def slow(self, *ways: tuple[str, str], delay_s: float = 0.0, lost: float = 0.0) -> None:
        """Have these ways take longer; ``lost``: share of packets that must be sent again, each time anew."""
        assert 0.0 <= lost < 1.0
        self._slow |= dict.fromkeys(ways, (delay_s, lost))

    def late_s(self, source: str, target: str) -> float:
        """Return how long the next bytes of a way take, seconds."""
        delay_s, lost = self._slow.get((source, target), (self.delay_s, 0.0))
        while lost and self.random.random() < lost:
            delay_s += self.random.uniform(*RESENT_S)
        return delay_s

    def heal(self) -> None:
        """Let everything through again, at once."""
        self._cut = frozenset()
        self._slow = {}

    def open(self, source: str, target: str) -> bool:
        """Tell whether bytes pass now."""
        return (source, target) not in self._cut


class Relays:
    """Relays of one wire, run by a thread; a context manager."""

    def __init__(self, wire: Wire | None = None) -> None:
        self.wire = wire or Wire()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every relay and its connections."""
        if not self._thread.is_alive():
            return
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOIN_TIMEOUT_S)
        self._loop.close()

    def add(self, name: str, target_port: int, *, port: int = 0, owner: Callable[[int], str] | None = None) -> int:
        """Relay to a port of the end that is called ``name``; return the port to connect to.

        ``owner`` names the end that has a connection from a port.
        """
        return self._call(self._serve(name, target_port, port, owner or (lambda _: "")))

    async def _serve(self, name: str, target_port: int, port: int, owner: Callable[[int], str]) -> int:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            source = owner(writer.get_extra_info("peername")[1])
            task = self._loop.create_task(self._relay(source, name, target_port, (reader, writer)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: writer.transport.abort())

        server = await asyncio.start_server(accept, HOST, port or free_port())
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _relay(
        self, source: str, name: str, target_port: int, near: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        writers = [near[1]]
        try:
            while not (self.wire.open(source, name) and self.wire.open(name, source)):
                await asyncio.sleep(LOOK_PERIOD_S)
            far = await asyncio.open_connection(HOST, target_port)
            writers.append(far[1])
            ways = (self._pump(near[0], far[1], source, name), self._pump(far[0], near[1], name, source))
            pumps = [asyncio.ensure_future(way) for way in ways]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            for writer in writers:
                writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str, target: str) -> None:
        """Carry what comes, in order, each chunk as late as the wire has it: many may be on their way at once."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_MAX)
        reading = asyncio.ensure_future(self._read(reader, waiting, source, target))
        try:
            while True:
                due_s, data = await waiting.get()
                if not data:
                    return
                await asyncio.sleep(max(0.0, due_s - self._loop.time()))
                while not self.wire.open(source, target):
                    await asyncio.sleep(LOOK_PERIOD_S)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(
        self, reader: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes]], source: str, target: str
    ) -> None:
        """Take what comes; an empty chunk says that no more will."""
        data = b"?"
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = b""
            await waiting.put((self._loop.time() + self.wire.late_s(source, target), data))

    async def _close(self) -> None:
        # Who is being accepted while a server closes would be left open by asyncio: they come first.
        for _ in range(CLOSE_ROUNDS):
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        for _ in range(CLOSE_ROUNDS):
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(JOIN_TIMEOUT_S)

"""A live tape: the market streams of a Binance-compatible venue, relayed. It only listens, and knows no key.

One connection per route (``/public``, ``/market``), subscribed by message, made again when it ends. The first partial
book of a symbol after each connection is its snapshot; then that stream is given back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import msgspec

from grinder.sim.exchange.rules import SymbolRules
from grinder.sim.market.frames import event_of, snapshot_of
from grinder.sim.market.tape import TapeEvent

QUEUE_MAX: Final = 100_000
"""Events that may wait to be played; beyond it the relay is not live any more and its connections are cut."""

MESSAGE_BYTES_MAX: Final = 4 << 20
RETRY_S_MIN: Final = 0.2
RETRY_S_MAX: Final = 30.0
SILENCE_S_MAX: Final = 60.0
"""Silence after which a connection is given up, seconds."""

SNAPSHOT_STREAM: Final = "{}@depth20@100ms"
STREAMS: Final = {
    "public": ("{}@bookTicker", "{}@depth@100ms", SNAPSHOT_STREAM),
    "market": ("{}@aggTrade", "{}@markPrice@1s"),
}
"""Streams of each route, by symbol."""


class Relayed(msgspec.Struct):
    """What came so far. ``skipped``: frames that could not be read; ``connections``: made, the first ones included."""

    played: int = 0
    skipped: int = 0
    connections: int = 0
    dropped: int = 0


class UpstreamTape:
    """The market of another venue, as it happens."""

    def __init__(self, url: str, rules: list[SymbolRules], tls: ssl.SSLContext | None = None) -> None:
        """Keep where to listen.

        Args:
            url: ``ws://`` or ``wss://`` and host, without a path.
            rules: of the symbols to relay.
            tls: whom to trust, None for the host's own authorities.
        """
        assert url.startswith(("ws://", "wss://"))
        self._url = url.rstrip("/")
        self._rules = rules
        self._tls = tls
        self._symbols = {each.symbol for each in rules}
        self.relayed = Relayed()

    @property
    def rules(self) -> list[SymbolRules]:
        """Rules of every symbol on the tape."""
        return self._rules

    async def live(self) -> AsyncIterator[TapeEvent]:
        """Yield events as they arrive, for ever."""
        queue: asyncio.Queue[TapeEvent] = asyncio.Queue(QUEUE_MAX)
        loop = asyncio.get_running_loop()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            tasks = [loop.create_task(self._listen(session, route, queue)) for route in STREAMS]
            try:
                while True:
                    event = await queue.get()
                    self.relayed.played += 1
                    yield event
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, session: aiohttp.ClientSession, route: str, queue: asyncio.Queue[TapeEvent]) -> None:
        """Keep one connection, for ever; the pause before the next grows while none lasts."""
        retry_s = RETRY_S_MIN
        while True:
            played = self.relayed.played
            try:
                await self._once(session, route, queue)
            except (aiohttp.ClientError, OSError, TimeoutError, asyncio.QueueFull):
                self.relayed.dropped += 1
            retry_s = RETRY_S_MIN if self.relayed.played > played else min(RETRY_S_MAX, retry_s * 2)
            await asyncio.sleep(retry_s)

    async def _once(self, session: aiohttp.ClientSession, route: str, queue: asyncio.Queue[TapeEvent]) -> None:
        """Listen on one connection until it ends.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: the connection failed.
            asyncio.QueueFull: events come faster than they are played.
        """
        awaited = {SNAPSHOT_STREAM.format(each.lower()): each for each in self._symbols}
        names = [name.format(symbol.lower()) for symbol in sorted(self._symbols) for name in STREAMS[route]]
        url = f"{self._url}/{route}/stream"
        tls = self._tls if self._tls is not None else True
        async with session.ws_connect(url, ssl=tls, max_msg_size=MESSAGE_BYTES_MAX) as socket:
            self.relayed.connections += 1
            await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            while True:
                message = await socket.receive(timeout=SILENCE_S_MAX)
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    return
                stream, event = self._read(message.data, awaited)
                if event is None:
                    continue
                queue.put_nowait(event)
                if awaited.pop(stream, ""):
                    await socket.send_json({"method": "UNSUBSCRIBE", "params": [stream], "id": 2})

    def _read(self, raw: str | bytes, awaited: dict[str, str]) -> tuple[str, TapeEvent | None]:
        """Return a frame's stream and its event; what cannot be read is counted, what is not wanted is left out."""
        try:
            frame = msgspec.json.decode(raw, type=dict[str, Any])
            stream, data = frame.get("stream", ""), frame.get("data")
            if not isinstance(data, dict) or data.get("s") not in self._symbols:
                return "", None
            if stream in awaited:
                return stream, snapshot_of(data, awaited[stream], 0)
            if "@depth20" in stream:
                return "", None
            return stream, event_of(data, 0)
        except (KeyError, TypeError, ValueError):
            self.relayed.skipped += 1
            return "", None

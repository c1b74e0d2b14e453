"""The market stream against a real WebSocket server on loopback: deliveries, losses, replacements."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import msgspec
import uvloop
from websockets.asyncio.server import Server, ServerConnection, serve

from grinder.adapters.binance.market_stream import (
    DISCONNECT,
    ERROR,
    ROTATION,
    SILENT,
    MarketStream,
    StreamPlan,
    backoff_ms,
    grown_patience,
    plan_streams,
)
from grinder.adapters.clock import SystemClock
from grinder.model.limits import (
    FRAME_BYTES_MAX,
    RECONNECT_BACKOFF_MS_MAX,
    RECONNECT_BACKOFF_MS_MIN,
    STREAM_PATIENCE_MAX,
)
from grinder.model.market import BookTop, StreamKind
from grinder.model.reasons import DropReason
from tests.market import RecordingLog, RecordingSink

WAIT_S = 30.0
CLOCK = SystemClock()
NEVER = dict.fromkeys(StreamKind, 60000)
PUBLIC = StreamPlan("public", (StreamKind.BOOK_TICKER,), ("BTCUSDT", "ETHUSDT"), NEVER)


def ticker(update_id: int, symbol: str = "BTCUSDT") -> str:
    return (
        f'{{"stream":"{symbol.lower()}@bookTicker","data":{{"e":"bookTicker","u":{update_id},"s":"{symbol}",'
        f'"b":"100.0","B":"1","a":"100.1","A":"1","T":1,"E":1}}}}'
    )


class VenueStreams:
    """A WebSocket server that keeps its connections, in order of arrival, for the test to speak through."""

    def __init__(self, on_open: Callable[[ServerConnection], Awaitable[None]] | None = None) -> None:
        self.opened: list[ServerConnection] = []
        self.closed: list[ServerConnection] = []
        self._on_open = on_open
        self._server: Server | None = None

    async def start(self, port: int = 0) -> str:
        self._server = await serve(self._serve, "127.0.0.1", port, ping_interval=None)
        self.port: int = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, connection: ServerConnection) -> None:
        self.opened.append(connection)
        if self._on_open is not None:
            await self._on_open(connection)
        await connection.wait_closed()
        self.closed.append(connection)


class Rig:
    def __init__(self, plan: StreamPlan, venue: VenueStreams | None = None) -> None:
        self.plan = plan
        self.venue = venue or VenueStreams()
        self.sink = RecordingSink()
        self.log = RecordingLog()
        self.tapped: list[bytes] = []

    async def __aenter__(self) -> Rig:
        url = await self.venue.start()
        tap = self.tapped.append
        stream = MarketStream(url, self.plan, self.sink, clock=CLOCK, log=self.log, jitter=lambda: 0.0, tap=tap)
        self.task = asyncio.create_task(stream.run())
        return self

    async def __aexit__(self, *details: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.venue.stop()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, or fail with the stream's own error or after a bound."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.005)

    def ids(self, symbol: str = "BTCUSDT") -> list[int]:
        return [e.update_id for e in self.sink.events if isinstance(e, BookTop) and e.symbol == symbol]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * WAIT_S):
            await scenario()

    uvloop.run(bounded())


def test_plans_when_made_then_one_per_routed_path_with_every_stream_in_the_address() -> None:
    kinds = (StreamKind.BOOK_TICKER, StreamKind.MARK_PRICE, StreamKind.TRADE)
    public, market = plan_streams(("BTCUSDT", "ETHUSDT"), kinds)
    assert public.url("ws://h:1/") == "ws://h:1/public/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker"
    assert market.url("wss://h") == (
        "wss://h/market/stream?streams=btcusdt@markPrice@1s/ethusdt@markPrice@1s/btcusdt@aggTrade/ethusdt@aggTrade"
    )
    assert plan_streams(("币安USDT",), kinds)[0].url("ws://h").isascii()


def test_stream_when_connected_then_asks_for_its_streams_and_delivers_every_frame_in_order() -> None:
    async def scenario() -> None:
        async with Rig(PUBLIC) as rig:
            await rig.until(lambda: len(rig.venue.opened) == 1)
            request = rig.venue.opened[0].request
            assert request is not None
            address = urlsplit(request.path)
            assert address.path == "/public/stream"
            assert parse_qs(address.query)["streams"] == ["btcusdt@bookTicker/ethusdt@bookTicker"]
            before = CLOCK.mono_ns()
            for number in range(1, 6):
                await rig.venue.opened[0].send(ticker(number, "BTCUSDT"))
                await rig.venue.opened[0].send(ticker(number, "ETHUSDT"))
            await rig.until(lambda: len(rig.sink.events) == 10)
            assert rig.ids("BTCUSDT") == rig.ids("ETHUSDT") == [1, 2, 3, 4, 5]
            assert all(e.recv_mono_ns > before for e in rig.sink.events)
            assert rig.sink.connections == [("up", PUBLIC.kinds)]

    run(scenario)


def test_stream_when_a_message_comes_in_fragments_or_as_binary_then_delivered_whole() -> None:
    async def scenario() -> None:
        async with Rig(PUBLIC) as rig:
            await rig.until(lambda: len(rig.venue.opened) == 1)
            text = ticker(1)
            await rig.venue.opened[0].send([text[:10], text[10:50], text[50:]])
            await rig.venue.opened[0].send(ticker(2).encode())
            await rig.until(lambda: rig.ids() == [1, 2])

    run(scenario)


def test_stream_when_messages_are_bad_then_counted_and_the_connection_stays() -> None:
    async def scenario() -> None:
        async with Rig(PUBLIC) as rig:
            await rig.until(lambda: len(rig.venue.opened) == 1)
            venue = rig.venue.opened[0]
            for bad in (ticker(1)[:-9], ticker(1).replace("100.0", "NaN"), "[]", "x" * (10 * FRAME_BYTES_MAX)):
                await venue.send(bad)
            await venue.send(ticker(2))
            await rig.until(lambda: rig.ids() == [2])
            assert rig.sink.dropped == [
                DropReason.TRUNCATED,
                DropReason.NOT_FINITE,
                DropReason.WRONG_TYPE,
                DropReason.TOO_LARGE,
            ]
            assert rig.sink.reconnects == []

    run(scenario)


def test_stream_when_the_server_closes_in_the_middle_then_reconnects_and_goes_on() -> None:
    async def scenario() -> None:
        async with Rig(PUBLIC) as rig:
            for number in range(1, 4):
                await rig.until(lambda number=number: len(rig.venue.opened) == number)
                await rig.venue.opened[-1].send(ticker(number))
                await rig.until(lambda number=number: len(rig.ids()) == number)
                await rig.venue.opened[-1].close()
            await rig.until(lambda: len(rig.venue.opened) == 4)
            assert rig.ids() == [1, 2, 3]
            assert rig.sink.reconnects[:3] == [DISCONNECT] * 3
            up, down = ("up", PUBLIC.kinds), ("down", PUBLIC.kinds)
            assert rig.sink.connections[:6] == [up, down, up, down, up, down]

    run(scenario)


def test_stream_when_the_connection_is_cut_without_a_goodbye_then_reconnects() -> None:
    async def scenario() -> None:
        async with Rig(PUBLIC) as rig:
            await rig.until(lambda: len(rig.venue.opened) == 1)
            rig.venue.opened[0].transport.abort()
            await rig.until(lambda: len(rig.venue.opened) == 2)
            await rig.venue.opened[1].send(ticker(1))
            await rig.until(lambda: rig.ids() == [1])

    run(scenario)


def test_stream_when_the_server_is_gone_then_tries_again_until_it_is_back() -> None:
    async def scenario() -> None:
        async with Rig(PUBLIC) as rig:
            await rig.until(lambda: len(rig.venue.opened) == 1)
            port = rig.venue.port
            await rig.venue.stop()
            await rig.until(lambda: rig.sink.reconnects.count(ERROR) >= 2)
            await rig.venue.start(port)
            await rig.until(lambda: len(rig.venue.opened) == 2)
            await rig.until(lambda: rig.sink.connections[-1] == ("up", PUBLIC.kinds))

    run(scenario)


def test_stream_when_acknowledged_but_silent_then_replaced() -> None:
    async def acknowledge(connection: ServerConnection) -> None:
        await connection.send('{"result":null,"id":1}')
        await connection.send('{"error":{"code":2,"msg":"Invalid request"},"id":2}')

    async def scenario() -> None:
        plan = msgspec.structs.replace(PUBLIC, deadlines_ms={StreamKind.BOOK_TICKER: 200}, overlap_s_max=0.1)
        async with Rig(plan, VenueStreams(acknowledge)) as rig:
            await rig.until(lambda: len(rig.venue.opened) == 2)
            assert rig.sink.reconnects == [SILENT]
            assert rig.sink.events == []
            assert ("MARKET_REQUEST_REFUSED", {"code": 2, "message": "Invalid request"}) in rig.log.events

    run(scenario)


def test_stream_when_one_symbol_is_silent_then_a_connection_that_delivers_takes_over_and_nothing_is_missed() -> None:
    async def scenario() -> None:
        plan = msgspec.structs.replace(PUBLIC, deadlines_ms={StreamKind.BOOK_TICKER: 300})
        sent = 0

        async with Rig(plan) as rig:
            while len(rig.venue.closed) < 1:
                sent += 1
                for connection in tuple(rig.venue.opened):
                    if connection not in rig.venue.closed:
                        await connection.send(ticker(sent))
                await asyncio.sleep(0.02)
            await rig.until(lambda: rig.ids()[-1:] == [sent])
            assert rig.sink.reconnects[0] == SILENT
            first = rig.ids()[0]
            assert sorted(set(rig.ids())) == list(range(first, sent + 1))
            assert {fields["symbol"] for name, fields in rig.log.events if name == "MARKET_STREAM_SILENT"} == {
                "ETHUSDT"
            }
            assert ("down", plan.kinds) not in rig.sink.connections

    run(scenario)


def test_stream_when_its_time_is_up_then_the_new_connection_delivers_before_the_old_one_is_closed() -> None:
    async def scenario() -> None:
        plan = msgspec.structs.replace(PUBLIC, life_s=0.3)
        async with Rig(plan) as rig:
            await rig.until(lambda: len(rig.venue.opened) == 1)
            old = rig.venue.opened[0]
            await old.send(ticker(1))
            await rig.until(lambda: len(rig.venue.opened) == 2)
            # The new connection is up but silent: the old one must go on delivering.
            await old.send(ticker(2))
            await rig.until(lambda: rig.ids() == [1, 2])
            assert rig.venue.closed == []
            await rig.venue.opened[1].send(ticker(2))
            await old.send(ticker(3))
            await rig.until(lambda: rig.venue.closed == [old])
            await rig.venue.opened[1].send(ticker(3))
            await rig.until(lambda: rig.ids().count(2) == 2 and rig.ids()[-1] == 3)
            assert rig.tapped.count(ticker(2).encode()) == 1, "a recording has what both deliver once"
            assert rig.tapped[-1] == ticker(3).encode()
            assert rig.sink.reconnects[0] == ROTATION
            assert rig.sink.connections == [("up", PUBLIC.kinds)]

    run(scenario)


def test_stream_when_the_new_connection_never_delivers_then_the_old_one_is_kept() -> None:
    async def scenario() -> None:
        plan = msgspec.structs.replace(PUBLIC, life_s=0.1, overlap_s_max=0.1)
        async with Rig(plan) as rig:
            await rig.until(lambda: len(rig.venue.closed) == 2)
            old = rig.venue.opened[0]
            assert old not in rig.venue.closed
            await old.send(ticker(1))
            await rig.until(lambda: rig.ids() == [1])

    run(scenario)


def test_stream_when_the_old_connection_dies_while_the_new_one_is_still_silent_then_the_new_one_takes_over() -> None:
    async def scenario() -> None:
        async with Rig(msgspec.structs.replace(PUBLIC, life_s=0.2)) as rig:
            await rig.until(lambda: len(rig.venue.opened) == 2)
            rig.venue.opened[0].transport.abort()
            await rig.until(lambda: ("down", PUBLIC.kinds) in rig.sink.connections)
            await rig.venue.opened[1].send(ticker(1))
            await rig.until(lambda: rig.ids() == [1] and rig.sink.connections[-1] == ("up", PUBLIC.kinds))

    run(scenario)


def test_backoff_when_attempts_fail_then_grows_to_its_bound_and_jitter_takes_half_at_most() -> None:
    waits = [backoff_ms(attempts, 0.0) for attempts in range(40)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (RECONNECT_BACKOFF_MS_MIN, RECONNECT_BACKOFF_MS_MAX)
    assert [backoff_ms(attempts, 1.0) for attempts in range(40)] == [wait / 2 for wait in waits]


def test_patience_when_reconnecting_does_not_help_then_grows_to_its_bound() -> None:
    factor = 1
    for _ in range(40):
        factor = grown_patience(factor)
    assert factor == STREAM_PATIENCE_MAX
    assert grown_patience(1) == 2

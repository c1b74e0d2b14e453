"""Handshakes of the streams while the venue makes this host wait: none leaves; what a refused one is told, all are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import msgspec
import pytest
import uvloop
from aiohttp import web
from websockets.asyncio.server import Request, Response, ServerConnection, serve

from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.market_stream import ROTATION, MarketStream, StreamPlan
from grinder.adapters.binance.rest import RestClient
from grinder.adapters.binance.stops import SharedStops
from grinder.adapters.binance.user_stream import UserStream
from grinder.adapters.binance.wire import LISTEN_KEY, Urgency
from grinder.adapters.clock import SystemClock
from grinder.model.control import Process
from grinder.model.market import StreamKind
from tests.contract.test_market_stream import PUBLIC, ticker
from tests.contract.venue_server import eventually, recorder, running_server, signer
from tests.fakes import FakeBoard
from tests.market import RecordingLog, RecordingSink

CLOCK = SystemClock()
STOP_MS = 400
"""How long the venue makes the host wait, milliseconds."""

FOR_EVER_MS = 3_600_000


class Streams:
    """A server of market streams that notes when it was knocked at, and turns some away."""

    def __init__(self, refusals: list[tuple[int, str]]) -> None:
        self.refusals = refusals
        self.knocked_boot_ns: list[int] = []
        self.opened: list[ServerConnection] = []

    def knock(self, connection: ServerConnection, request: Request) -> Response | None:
        self.knocked_boot_ns.append(CLOCK.boot_ns())
        if not self.refusals:
            return None
        status, retry_after_s = self.refusals.pop(0)
        response = connection.respond(HTTPStatus(status), "")
        response.headers["Retry-After"] = retry_after_s
        return response

    async def serve(self, connection: ServerConnection) -> None:
        self.opened.append(connection)
        await connection.wait_closed()


class Rig:
    """A feed's stream on a host whose other processes share its stops."""

    def __init__(self, refusals: list[tuple[int, str]]) -> None:
        self.board = FakeBoard()
        self.venue = Streams(refusals)
        self.sink, self.log = RecordingSink(), RecordingLog()
        self.stops = SharedStops(self.board, Process.FEED)
        self.limits = Limits(self.stops)
        self.executor = Limits(SharedStops(self.board, Process.EXECUTOR))

    def refusal(self, urgency: Urgency) -> str:
        """Return why a request of the executor would not leave now."""
        refused = self.executor.refusal(urgency, 1, 0, boot_ns=CLOCK.boot_ns(), venue_utc_ms=CLOCK.utc_ms())
        return "" if refused is None else refused.why

    def waited(self) -> int:
        """Return how often the stream said that it waits."""
        return sum(name == "MARKET_CONNECT_WAITS" for name, _ in self.log.events)


@asynccontextmanager
async def running(
    refusals: list[tuple[int, str]], plan: StreamPlan = PUBLIC, *, stop_ms: int = 0
) -> AsyncIterator[Rig]:
    """Run a stream; ``stop_ms``: how long a ban holds that the executor was told of before."""
    made = Rig(refusals)
    made.executor.obey_ban(stop_ms, boot_ns=CLOCK.boot_ns())
    async with serve(made.venue.serve, "127.0.0.1", 0, process_request=made.venue.knock) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        stream = MarketStream(
            f"ws://127.0.0.1:{port}", plan, made.sink, clock=CLOCK, log=made.log, jitter=lambda: 0.0, limits=made.limits
        )
        task = asyncio.create_task(stream.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_market_stream_when_another_process_was_told_of_a_ban_then_it_knocks_once_the_ban_is_over() -> None:
    async def test() -> None:
        async with running([], stop_ms=STOP_MS) as rig:
            await eventually(lambda: len(rig.venue.opened) == 1)
            assert rig.venue.knocked_boot_ns[0] >= rig.stops.banned_until_boot_ns > 0

    uvloop.run(test())


@pytest.mark.parametrize("status", [418, 429])
def test_market_stream_when_turned_away_for_the_address_then_all_of_the_host_wait_but_for_what_protects(
    status: int,
) -> None:
    async def test() -> None:
        async with running([(status, "3600")]) as rig:
            await eventually(lambda: rig.waited() == 1)
            assert rig.refusal(Urgency.RISK) == ("banned" if status == 418 else "retry_after")
            assert rig.refusal(Urgency.PROTECTIVE) == ""
            assert len(rig.venue.knocked_boot_ns) == 1

    uvloop.run(test())


@pytest.mark.parametrize("status", [403, 404, 503])
def test_market_stream_when_turned_away_otherwise_then_nobody_else_waits_for_it(status: int) -> None:
    async def test() -> None:
        async with running([(status, "3600")]) as rig:
            await eventually(lambda: len(rig.venue.opened) == 1)
            assert rig.waited() == 0
            assert rig.refusal(Urgency.RISK) == ""
            assert rig.limits.stopped_ms(CLOCK.boot_ns()) == 0

    uvloop.run(test())


def test_market_stream_when_it_is_due_for_replacement_in_a_ban_then_the_old_connection_goes_on() -> None:
    async def test() -> None:
        plan = msgspec.structs.replace(PUBLIC, life_s=0.2)
        async with running([], plan) as rig:
            await eventually(lambda: len(rig.venue.opened) == 1)
            rig.executor.obey_ban(FOR_EVER_MS, boot_ns=CLOCK.boot_ns())
            await eventually(lambda: rig.waited() == 1)
            assert rig.sink.reconnects == [ROTATION]
            await rig.venue.opened[0].send(ticker(7))
            await eventually(lambda: len(rig.sink.events) == 1)
            assert rig.sink.connections == [("up", (StreamKind.BOOK_TICKER,))]
            assert len(rig.venue.knocked_boot_ns) == 1

    uvloop.run(test())


def test_user_stream_when_turned_away_for_a_ban_then_no_key_is_asked_for_and_what_protects_is_not_held_back() -> None:
    async def new_key(_: web.Request) -> web.StreamResponse:
        return web.json_response({"listenKey": "key"})

    async def test() -> None:
        async with running_server() as server:
            server.http["POST", LISTEN_KEY.path] = new_key
            server.private_refusals.append((418, "3600"))
            limits, log = Limits(), RecordingLog()
            rest = RestClient(server.url, signer(), clock=CLOCK, limits=limits, telemetry=recorder())
            await rest.open()
            stream = UserStream(server.ws_url, rest, print, name="user", clock=CLOCK, telemetry=recorder(), log=log)
            task = asyncio.create_task(stream.run())
            try:
                held = ("LISTEN_KEY_FAILED", {"connector": "user", "outcome": "NotSent"})
                await eventually(lambda: held in log.events)
                boot_ns, utc_ms = CLOCK.boot_ns(), CLOCK.utc_ms()
                assert limits.refusal(Urgency.QUERY, 1, 0, boot_ns=boot_ns, venue_utc_ms=utc_ms) is not None
                assert limits.refusal(Urgency.PROTECTIVE, 1, 0, boot_ns=boot_ns, venue_utc_ms=utc_ms) is None
                assert (len(server.requests), server.private) == (1, [])
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await rest.close()

    uvloop.run(test())

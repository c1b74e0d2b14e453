"""The adapter over TLS: REST, WebSocket API, user and market streams, with an authority of our own and without it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from grinder.adapters.binance.market_stream import MarketStream, StreamPlan
from grinder.adapters.binance.user_stream import UserStream
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.clock import SystemClock
from grinder.model.market import BookTop, StreamKind
from grinder.model.venue import Confirmed, NotSent, QueryServerTime, UserEvent, UserStreamUp
from grinder.settings import OrderTransport
from tests.contract.tls import authority_and_server
from tests.contract.venue_server import Replies, eventually, json_reply, recorder, running_server, signer
from tests.contract.ws_api_rig import PLACE
from tests.market import RecordingLog, RecordingSink

NOW_MS = 1_800_000_000_000
TICKER = (
    '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"100.0","B":"1","a":"100.1",'
    '"A":"1","T":1,"E":1}}'
)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context whose authority is in the trust store of this process."""
    authority, context = authority_and_server(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    return context


async def one_ticker(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(TICKER)
    async for _ in socket:
        pass
    return socket


def test_adapter_when_the_authority_is_trusted_then_every_path_works_over_tls(trusted: ssl.SSLContext) -> None:
    async def test() -> None:
        async with running_server(trusted) as server:
            server.http["GET", "/fapi/v1/time"] = json_reply({"serverTime": NOW_MS})
            server.http["POST", "/fapi/v1/listenKey"] = json_reply({"listenKey": "key"})
            server.http["GET", "/public/stream"] = one_ticker
            clock, log, events = SystemClock(), RecordingLog(), list[UserEvent]()
            config = VenueConfig(server.url, server.ws_api_url, OrderTransport.WS_API)
            venue = BinanceVenue(config, signer(), clock=clock, telemetry=recorder(), log=log)
            await venue.start()
            sink = RecordingSink()
            plan = StreamPlan("public", (StreamKind.BOOK_TICKER,), ("BTCUSDT",), dict.fromkeys(StreamKind, 60_000))
            market = MarketStream(server.ws_url, plan, sink, clock=clock, log=log, jitter=lambda: 0.0)
            user = UserStream(
                server.ws_url, venue.rest, events.append, name="user", clock=clock, telemetry=recorder(), log=log
            )
            tasks = [asyncio.create_task(market.run()), asyncio.create_task(user.run())]
            asked, placed = Replies(), Replies()
            await eventually(lambda: venue._ws_api is not None and venue._ws_api.connected)
            venue.submit(QueryServerTime(), asked)
            venue.submit(PLACE, placed)
            assert isinstance(await asked.only(), Confirmed)
            assert isinstance(await placed.only(), Confirmed)
            assert len(server.messages) == 1, "the order went by the WebSocket API"
            await eventually(lambda: events == [UserStreamUp()])
            await eventually(lambda: any(isinstance(event, BookTop) for event in sink.events))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await venue.close()

    uvloop.run(test())


def test_adapter_when_nobody_vouches_for_the_venue_then_nothing_is_sent(tmp_path: Path) -> None:
    _, context = authority_and_server(tmp_path)

    async def test() -> None:
        async with running_server(context) as server:
            log = RecordingLog()
            config = VenueConfig(server.url, server.ws_api_url, OrderTransport.WS_API)
            venue = BinanceVenue(config, signer(), clock=SystemClock(), telemetry=recorder(), log=log)
            await venue.start()
            placed = Replies()
            venue.submit(PLACE, placed)
            assert await placed.only() == NotSent("no_connection")
            await eventually(lambda: "VENUE_CONNECT_FAILED" in log.names())
            assert not venue.connected
            assert not server.requests
            assert not server.sockets
            await venue.close()

    uvloop.run(test())

"""A live tape: one simulated venue relays the market of another, over ws:// and over wss:// with its own authority.

The relay sends no order and knows no key of the venue it listens to.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from grinder.adapters.clock import SystemClock
from grinder.model.errors import SettingsError
from grinder.sim.wire.assembly import VenueConfig, build_server, open_tape
from grinder.sim.wire.server import HeadWatch, build_application
from tests.contract.certificates import write_certificate
from tests.sim_kit import GENEROUS, WAIT_S, Client, client, receive, running

SOURCE = VenueConfig(tape="step", hold=True, limits=GENEROUS)


def relay_of(port: int, scheme: str = "ws", **words: object) -> VenueConfig:
    return msgspec.structs.replace(SOURCE, tape=f"{scheme}://127.0.0.1:{port}", hold=False, **words)


async def subscribed(source: Client, count: int) -> None:
    """Wait until the relay has as many connections at its source."""
    async with asyncio.timeout(WAIT_S):
        while (await source.get("/sim/state"))["connections"] < count:
            await asyncio.sleep(0.01)


def top(bid: int) -> dict[str, str]:
    return {"symbol": "BTCUSDT", "bid": f"{bid}.00", "bid_qty": "5", "ask": f"{bid}.10", "ask_qty": "5"}


def run(case: Callable[[Client, Client], Awaitable[None]], source: VenueConfig = SOURCE) -> None:
    async def main() -> None:
        async with client(source) as origin:
            port = int(origin.http.rpartition(":")[2])
            async with client(relay_of(port)) as relay:
                await subscribed(origin, 2)
                await case(origin, relay)

    asyncio.run(main())


def test_market_when_relayed_then_the_same_texts_and_ids_come_and_orders_trade_against_it() -> None:
    async def case(origin: Client, relay: Client) -> None:
        names = "btcusdt@bookTicker/btcusdt@aggTrade/btcusdt@markPrice@1s"
        async with (
            relay.session.ws_connect(f"{relay.ws}/public/stream?streams={names}") as public,
            relay.session.ws_connect(f"{relay.ws}/market/stream?streams={names}") as market,
        ):
            await origin.post("/sim/market", top(60_000))
            assert (await receive(public))["data"]["b"] == "60000.00"
            assert (await relay.place(price="59000", newClientOrderId="rest"))[0] == 200
            trade = {"symbol": "BTCUSDT", "price": "58999.90", "qty": "0.5", "buyer_is_maker": True}
            await origin.post("/sim/market", trade | {"mark": "59990.00"})
            seen = {}
            while set(seen) != {"aggTrade", "markPriceUpdate"}:
                data = (await receive(market))["data"]
                seen[data["e"]] = data["p"]
            assert seen == {"aggTrade": "58999.90", "markPriceUpdate": "59990.00"}
        assert [each["status"] for each in await relay.get("/sim/orders")] == ["FILLED"]
        assert await origin.get("/sim/orders") == []

    run(case)


def test_book_when_relayed_then_it_is_the_sources_own() -> None:
    async def case(origin: Client, relay: Client) -> None:
        for _ in range(200):
            mine = await relay.get("/fapi/v1/depth?symbol=BTCUSDT&limit=20")
            if len(mine["bids"]) == len(mine["asks"]) == 20:
                break
            await asyncio.sleep(0.02)
        await origin.post("/sim/tape", {"speed": 0})
        theirs = await origin.get("/fapi/v1/depth?symbol=BTCUSDT&limit=20")
        async with asyncio.timeout(WAIT_S):
            while mine["bids"][0] != theirs["bids"][0]:
                await asyncio.sleep(0.02)
                mine = await relay.get("/fapi/v1/depth?symbol=BTCUSDT&limit=20")
        assert len(mine["bids"]) == 20

    run(case, msgspec.structs.replace(SOURCE, tape="synthetic", hold=False))


def test_source_when_it_goes_away_and_comes_back_then_the_relay_goes_on() -> None:
    async def case(origin: Client, relay: Client) -> None:
        async with relay.session.ws_connect(f"{relay.ws}/public/ws/btcusdt@bookTicker") as public:
            await origin.post("/sim/market", top(60_000))
            assert (await receive(public))["b"] == "60000.00"
            await origin.post("/sim/faults", {"kind": "cut"})
            await subscribed(origin, 2)
            async with asyncio.timeout(WAIT_S):
                bid = 60_000
                while bid == 60_000 or (await asyncio.wait_for(public.receive(), WAIT_S)).json()["b"] == "60000.00":
                    bid += 1
                    await origin.post("/sim/market", top(bid))

    run(case)


def test_frame_when_it_cannot_be_read_then_it_is_left_out_and_the_next_one_comes() -> None:
    async def case(origin: Client, relay: Client) -> None:
        async with relay.session.ws_connect(f"{relay.ws}/public/ws/btcusdt@bookTicker") as public:
            for body in (b"{", b"[]", b'{"stream":1,"data":{"s":"BTCUSDT","e":"bookTicker","b":"\\""}}'):
                async with origin.session.post(f"{origin.http}/sim/inject?stream=btcusdt@bookTicker", data=body):
                    pass
            await origin.post("/sim/market", top(60_001))
            assert (await receive(public))["b"] == "60001.00"

    run(case)


@pytest.fixture
def authority() -> Iterator[tuple[Path, ssl.SSLContext]]:
    """A certificate for 127.0.0.1 that only its own file vouches for."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        chain, key = write_certificate(Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        yield chain, context


@asynccontextmanager
async def over_tls(context: ssl.SSLContext) -> AsyncIterator[tuple[int, Client]]:
    """Serve one venue's application over TLS, and the same venue without, for the test to drive it."""
    async with running(SOURCE) as server, aiohttp.ClientSession() as session:
        application = build_application(server._context, server._player, server.restart, HeadWatch(10.0))
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        try:
            yield runner.addresses[0][1], Client(session, server.port)
        finally:
            await runner.cleanup()


def test_source_when_over_tls_with_an_authority_of_its_own_then_relayed(
    authority: tuple[Path, ssl.SSLContext],
) -> None:
    chain, context = authority

    async def main() -> None:
        async with over_tls(context) as (port, origin), client(relay_of(port, "wss", tape_ca=chain)) as relay:
            await subscribed(origin, 2)
            async with relay.session.ws_connect(f"{relay.ws}/public/ws/btcusdt@bookTicker") as public:
                await origin.post("/sim/market", top(60_000))
                assert (await receive(public))["b"] == "60000.00"

    asyncio.run(main())


def test_source_when_nobody_vouches_for_it_then_nothing_is_relayed(authority: tuple[Path, ssl.SSLContext]) -> None:
    _, context = authority

    async def main() -> None:
        async with over_tls(context) as (port, origin):
            server = build_server(msgspec.structs.replace(relay_of(port, "wss"), port=0), SystemClock())
            await server.start()
            relayed = server._player._tape.relayed
            async with asyncio.timeout(WAIT_S):
                while relayed.dropped < 2:
                    await asyncio.sleep(0.02)
            await server.stop()
            assert (relayed.connections, relayed.played) == (0, 0)
            assert (await origin.get("/sim/state"))["connections"] == 0

    asyncio.run(main())


def test_authorities_when_the_file_holds_none_then_refused_at_the_start() -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as file, pytest.raises(SettingsError, match="authorities"):
        open_tape(relay_of(1, "wss", tape_ca=Path(file.name)))

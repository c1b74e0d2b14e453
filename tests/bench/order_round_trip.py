"""One signed order, there and back: by REST and by the WebSocket API, beside an unsigned echo of the same library.

The adapter sends IOC orders that find nothing to the simulated venue, a process of its own, and waits for each answer;
the echo sends as many bytes to a server that reads nothing. Both run by turns in the same run, so that the ratio holds
where absolute times do not. Then several orders are under way at a time, for requests per second. Nothing is asserted.

    python -m tests.bench.order_round_trip [--rounds 3] [--requests 1500]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import msgspec
import uvloop
from websockets.asyncio.client import connect

from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.clock import SystemClock
from grinder.adapters.telemetry import Recorder
from grinder.model.control import Process
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import Confirmed, OrderType, PlaceOrder, QueryInstruments, VenueReply, VenueRequest
from grinder.settings import OrderTransport
from tests.bench.floor import FrameConnection
from tests.bench.tick_to_order import SYMBOL, processor_awake, real_time, share, started, venue, wait_until
from tests.free_ports import free_port

AT_A_TIME = 16
"""Requests under way at a time where requests per second are counted."""
WARM_UP = 200
PRICE = Decimal(58_000)
"""Below the step tape's market of 60000 and within its percent filter: an order that finds nothing."""
TICKS_PER_S = 1.0
PAYLOAD = (
    f"symbol={SYMBOL}&side=BUY&type=LIMIT&quantity=0.002&newClientOrderId=grd-0-100000-b1&newOrderRespType=ACK"
    "&price=58000.0&timeInForce=IOC&recvWindow=5000&timestamp=1700000000000&signature=" + "0" * 64
)
"""As many bytes as an order has."""

Exchange = Callable[[], Awaitable[None]]


class Silent:
    """Logs nothing."""

    def event(self, name: str, **fields: object) -> None:
        """Drop an event."""


@contextlib.asynccontextmanager
async def orders(port: int, transport: OrderTransport) -> AsyncIterator[Exchange]:
    """Give an exchange that is one order by the adapter."""
    clock = SystemClock()
    signer = Signer("sim-key", "sim-secret", venue_utc_ms=clock.utc_ms, recv_window_ms=5_000)
    config = VenueConfig(f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/ws-fapi/v1", transport)
    telemetry = Recorder(Process.EXECUTOR, 1, 1, clock)
    adapter = BinanceVenue(config, signer, clock=clock, telemetry=telemetry, log=Silent())
    numbers = count(1)

    async def ask(request: VenueRequest) -> VenueReply:
        answered: asyncio.Future[VenueReply] = asyncio.get_running_loop().create_future()
        adapter.submit(request, answered.set_result)
        return await answered

    async def exchange() -> None:
        order = PlaceOrder(
            f"grd-0-{next(numbers)}-b1",
            SYMBOL,
            Side.BUY,
            OrderType.LIMIT,
            PRICE,
            Decimal("0.002"),
            TimeInForce.IOC,
            False,
        )
        reply = await ask(order)
        if not isinstance(reply, Confirmed):
            raise RuntimeError(f"an order of the measurement was not confirmed: {reply}")

    await adapter.start()
    try:
        # The answer says that this venue limits nothing, so that the adapter holds nothing back.
        while not isinstance(await ask(QueryInstruments()), Confirmed):
            await asyncio.sleep(0.05)
        while transport is OrderTransport.WS_API and not (adapter._ws_api and adapter._ws_api.connected):
            await asyncio.sleep(0.05)
        yield exchange
    finally:
        await adapter.close()


@contextlib.asynccontextmanager
async def http_echo(port: int) -> AsyncIterator[Exchange]:
    """Give an exchange that is one POST by aiohttp, on a kept connection."""
    url = f"http://127.0.0.1:{port}/echo?{PAYLOAD}"
    async with aiohttp.ClientSession() as session:

        async def exchange() -> None:
            async with session.post(url) as response:
                await response.read()

        yield exchange


@contextlib.asynccontextmanager
async def ws_echo(port: int) -> AsyncIterator[Exchange]:
    """Give an exchange that is one message by websockets, by callback as the adapter has it."""
    waiting: dict[bytes, asyncio.Future[None]] = {}
    numbers = count(1)
    body = PAYLOAD.encode()

    def on_frame(data: bytes) -> None:
        waiting.pop(data).set_result(None)

    url = f"ws://127.0.0.1:{port}/ws"
    async with connect(url, create_connection=FrameConnection, compression=None) as connection:
        connection.on_frame = on_frame  # type: ignore[method-assign,assignment]

        async def exchange() -> None:
            message = b"%d %b" % (next(numbers), body)
            waiting[message] = asyncio.get_running_loop().create_future()
            connection.protocol.send_text(message)
            connection.transport.writelines(connection.protocol.data_to_send())
            await waiting[message]

        yield exchange


async def one_by_one(exchange: Exchange, requests: int) -> list[float]:
    """Return how long each of so many exchanges took, microseconds."""
    samples = []
    for _ in range(requests):
        began_ns = time.perf_counter_ns()
        await exchange()
        samples.append((time.perf_counter_ns() - began_ns) / 1_000)
    return samples


async def per_second(exchange: Exchange, requests: int) -> float:
    """Return the rate with several exchanges under way at a time."""

    async def lane() -> None:
        for _ in range(requests // AT_A_TIME):
            await exchange()

    began_ns = time.perf_counter_ns()
    await asyncio.gather(*(lane() for _ in range(AT_A_TIME)))
    return requests // AT_A_TIME * AT_A_TIME * 1e9 / (time.perf_counter_ns() - began_ns)


class Row(msgspec.Struct, frozen=True):
    """One measurement: microseconds one by one, requests per second several at a time."""

    p50_us: float
    p99_us: float
    rate_per_s: float


async def measure(opened: contextlib.AbstractAsyncContextManager[Exchange], requests: int) -> Row:
    """Measure one kind of exchange."""
    async with opened as exchange:
        await one_by_one(exchange, WARM_UP)
        samples = await one_by_one(exchange, requests)
        return Row(share(samples, 0.5), share(samples, 0.99), await per_second(exchange, requests))


def answers(url: str) -> bool:
    with urlopen(url, data=b"", timeout=5) as answer:
        return bool(answer.status == 200)


def compare(rounds: int, requests: int, folder: Path) -> None:
    """Measure floor and orders by turns and print both, and the medians of their ratios."""
    echo_port = free_port()
    with venue(TICKS_PER_S, folder) as port, started("tests.bench.echo", str(echo_port), log=folder / "echo.out"):
        wait_until(lambda: answers(f"http://127.0.0.1:{echo_port}/echo"), "echo")
        pairs = {
            "REST": (partial(http_echo, echo_port), partial(orders, port, OrderTransport.REST)),
            "WebSocket API": (partial(ws_echo, echo_port), partial(orders, port, OrderTransport.WS_API)),
        }
        print(f"  {'':<28}{'p50, us':>9} {'p99, us':>9} {f'per s, {AT_A_TIME} at a time':>20}")
        for name, kinds in pairs.items():
            echoes: list[Row] = []
            signed: list[Row] = []
            for number in range(1, rounds + 1):
                for word, opened, rows in (("echo", kinds[0], echoes), ("order", kinds[1], signed)):
                    rows.append(uvloop.run(measure(opened(), requests)))
                    row, title = rows[-1], f"{name} {word}, round {number}"
                    print(f"  {title:<28}{row.p50_us:>9.0f} {row.p99_us:>9.0f} {row.rate_per_s:>20.0f}", flush=True)
            for title, of in (("p50", "p50_us"), ("p99", "p99_us"), ("requests per second", "rate_per_s")):
                ratios = [getattr(order, of) / getattr(echo, of) for order, echo in zip(signed, echoes, strict=True)]
                print(f"  {name}: order / echo, {title}, median of rounds: {statistics.median(ratios):.2f}")


def main() -> None:
    """Run the rounds and print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--requests", type=int, default=1_500)
    options.add_argument("--shared", action="store_true", help="share the processors with other programs evenly")
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="bench-"))
    with processor_awake() as awake, real_time(not chosen.shared) as first:
        held = ("deep idle off" if awake else "deep idle on", "real-time" if first else "shared processors")
        print(f"one signed order there and back, the simulated venue as a process of its own; {', '.join(held)}")
        compare(chosen.rounds, chosen.requests, folder)


if __name__ == "__main__":
    main()

"""The adapter over real sockets against the simulated venue, with faults: what the adapter says, what the venue knows.

``Follower`` takes the user stream's events into the order lifecycle as the executor does, so that what was counted can
be compared with the venue's ground truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.user_stream import UserStream
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.clock import SystemClock
from grinder.core.fills import TradeIds
from grinder.core.orders import Order, new_order, on_event
from grinder.model.account import Position
from grinder.model.orders import OrderKind, Place, Side, TimeInForce
from grinder.model.reasons import PlanReason
from grinder.model.units import ZERO, floor_to
from grinder.model.venue import (
    Answer,
    CancelOrder,
    Confirmed,
    OrderEvent,
    OrderType,
    PlaceOrder,
    QueryOrder,
    QueryPositions,
    UserEvent,
    VenueOrder,
    VenueReply,
    VenueRequest,
)
from grinder.settings import OrderTransport
from grinder.sim.wire import assembly
from tests.contract.venue_server import Replies, eventually, recorder
from tests.market import RecordingLog

SYMBOL = "BTCUSDT"
KEY, SECRET = "sim-key", "sim-secret"
QTY = Decimal("0.004")


class Follower:
    """Orders as the user stream tells of them; each trade counts once."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.trades = TradeIds()
        self.traded: dict[str, Decimal] = {}

    def follow(self, request: PlaceOrder) -> None:
        place = Place(
            request.client_order_id,
            request.symbol,
            request.side,
            request.price,
            request.qty,
            request.tif,
            request.reduce_only,
            OrderKind.GRID,
            PlanReason.GRID_FILL,
            0,
            0,
        )
        self.orders[request.client_order_id] = new_order(place)

    def take(self, event: UserEvent) -> None:
        if not isinstance(event, OrderEvent) or event.client_order_id not in self.orders:
            return
        name = event.client_order_id
        if event.trade_id and self.trades.first_time(event.symbol, event.trade_id, event.side):
            self.traded[name] = self.traded.get(name, ZERO) + event.last_qty
        self.orders[name] = on_event(self.orders[name], event).order


class Rig:
    """One venue, one client of it, its user stream when ``listen`` was called."""

    def __init__(
        self, port: int, transport: OrderTransport, state_dir: Path | None, credentials: tuple[str, str]
    ) -> None:
        self.credentials = credentials
        self.url, self.ws_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        self.http = aiohttp.ClientSession()
        self.clock, self.telemetry, self.log = SystemClock(), recorder(), RecordingLog()
        self.offset_ms = 0
        self.transport, self.state_dir = transport, state_dir
        self.venue = self.another_venue()
        self.events: list[UserEvent] = []
        self.follower = Follower()
        self._numbers = count(1)
        self._tasks: list[asyncio.Task[None]] = []

    def another_venue(self) -> BinanceVenue:
        """Return a client as another process, or a later run, has it."""
        key = Signer(*self.credentials, venue_utc_ms=lambda: self.clock.utc_ms() + self.offset_ms, recv_window_ms=5_000)
        config = VenueConfig(self.url, f"{self.ws_url}/ws-fapi/v1", self.transport, self.state_dir)
        return BinanceVenue(config, key, clock=self.clock, telemetry=self.telemetry, log=self.log)

    async def up(self) -> None:
        """Wait until orders would go out by the wanted path."""
        if self.transport is OrderTransport.WS_API:
            await eventually(lambda: self.venue._ws_api is not None and self.venue._ws_api.connected)
        else:
            await eventually(lambda: self.venue.connected)

    async def listen(self, extend_s: float = 1_500.0) -> None:
        """Open the user stream and wait until it is up."""
        stream = UserStream(
            self.ws_url,
            self.venue.rest,
            self._on_event,
            name="user_stream",
            clock=self.clock,
            telemetry=self.telemetry,
            log=self.log,
            extend_s=extend_s,
        )
        self._tasks.append(asyncio.create_task(stream.run()))
        await eventually(lambda: len(self.events) > 0)

    def _on_event(self, event: UserEvent) -> None:
        self.events.append(event)
        self.follower.take(event)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.venue.close()
        await self.http.close()

    def send(self, request: VenueRequest) -> Replies:
        replies = Replies()
        self.venue.submit(request, replies)
        return replies

    async def ask(self, request: VenueRequest) -> VenueReply:
        return await self.send(request).only()

    async def value(self, request: VenueRequest) -> Answer:
        reply = await self.ask(request)
        assert isinstance(reply, Confirmed), reply
        return reply.value

    async def cancel(self, request: PlaceOrder) -> None:
        await self.value(CancelOrder(request.client_order_id, request.symbol))

    async def positions(self) -> tuple[Position, ...]:
        held = await self.value(QueryPositions())
        assert isinstance(held, tuple)
        return tuple(each for each in held if isinstance(each, Position))

    async def query(self, request: PlaceOrder) -> VenueOrder:
        found = await self.value(QueryOrder(request.client_order_id, request.symbol))
        assert isinstance(found, VenueOrder)
        return found

    async def bid(self, name: str = "", *, follow: bool = True) -> PlaceOrder:
        """Return a buy order that rests well below the market."""
        top = await self.get(f"/fapi/v1/ticker/bookTicker?symbol={SYMBOL}")
        price = floor_to(Decimal(top["bidPrice"]) * Decimal("0.97"), Decimal("0.10"))
        name = name or f"grd-0-{next(self._numbers)}-b1"
        order = PlaceOrder(name, SYMBOL, Side.BUY, OrderType.LIMIT, price, QTY, TimeInForce.GTC, False)
        if follow:
            self.follower.follow(order)
        return order

    async def get(self, path: str) -> Any:
        async with self.http.get(f"{self.url}{path}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def fault(self, **rule: object) -> Any:
        async with self.http.post(f"{self.url}/sim/faults", json=rule) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def clear(self) -> None:
        async with self.http.delete(f"{self.url}/sim/faults") as response:
            assert response.status == 200

    async def truth(self, client_order_id: str) -> list[dict[str, Any]]:
        """Return every order of that id, open or not, as the venue knows it."""
        orders = await self.get("/sim/orders?limit=1000")
        return [order for order in orders if order["clientOrderId"] == client_order_id]

    async def arrived(self, client_order_id: str, op: str) -> int:
        """Return how many such requests reached the venue."""
        requests = await self.get("/sim/requests?limit=1000")
        return sum(each["client_id"] == client_order_id and each["op"] == op for each in requests)


@asynccontextmanager
async def rig(
    transport: OrderTransport = OrderTransport.WS_API,
    state_dir: Path | None = None,
    config: assembly.VenueConfig | None = None,
    credentials: tuple[str, str] = (KEY, SECRET),
) -> AsyncIterator[Rig]:
    config = config or assembly.VenueConfig(port=0, symbols=(SYMBOL,), tape="step")
    server = assembly.build_server(config, SystemClock())
    await server.start()
    made = Rig(server.port, transport, state_dir, credentials)
    try:
        await made.venue.start()
        await made.up()
        yield made
    finally:
        await made.close()
        await server.stop()


def run(
    test: Callable[[Rig], Coroutine[Any, Any, None]],
    transport: OrderTransport = OrderTransport.WS_API,
    state_dir: Path | None = None,
) -> None:
    async def main() -> None:
        async with rig(transport, state_dir) as made:
            await test(made)

    uvloop.run(main())

"""The real adapter against the simulated venue, over loopback: orders, account, user stream, faults of the venue.

Invariant: an order command that the venue executed and did not confirm is in doubt, and the order exists once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec
import pytest
import uvloop

from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.user_stream import UserStream
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.clock import SystemClock
from grinder.model.account import Balance, OpenOrder, Position
from grinder.model.orders import Side, TimeInForce
from grinder.model.units import floor_to
from grinder.model.venue import (
    AccountEvent,
    Advice,
    AmendOrder,
    Answer,
    ArmCountdown,
    CancelAllOrders,
    CancelOrder,
    Confirmed,
    Exchange,
    InDoubt,
    NotSent,
    OrderEvent,
    OrderType,
    PlaceOrder,
    QueryBalance,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositionMode,
    QueryPositions,
    QueryServerTime,
    Rejected,
    UserEvent,
    UserStreamDown,
    UserStreamUp,
    VenueOrder,
    VenueReply,
    VenueRequest,
)
from grinder.settings import OrderTransport
from grinder.sim.wire import assembly
from tests.contract.venue_server import WAIT_S, Replies, eventually, recorder
from tests.market import RecordingLog

BOTH = pytest.mark.parametrize("transport", list(OrderTransport))


class Rig:
    def __init__(self, port: int, transport: OrderTransport, secret: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.http = aiohttp.ClientSession()
        clock, telemetry, log = SystemClock(), recorder(), RecordingLog()
        key = Signer("sim-key", secret, venue_utc_ms=clock.utc_ms, recv_window_ms=5_000)
        config = VenueConfig(self.url, f"ws://127.0.0.1:{port}/ws-fapi/v1", transport)
        self.venue = BinanceVenue(config, key, clock=clock, telemetry=telemetry, log=log)
        self.events: list[UserEvent] = []
        self.stream = UserStream(
            f"ws://127.0.0.1:{port}",
            self.venue.rest,
            self.events.append,
            name="user_stream",
            clock=clock,
            telemetry=telemetry,
            log=log,
        )
        self.numbers = iter(range(1, 1_000))

    async def ask(self, request: VenueRequest) -> VenueReply:
        replies = Replies()
        self.venue.submit(request, replies)
        return await replies.only()

    async def value(self, request: VenueRequest) -> Answer:
        reply = await self.ask(request)
        assert isinstance(reply, Confirmed), reply
        return reply.value

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        orders = await self.value(QueryOpenOrders("BTCUSDT"))
        assert isinstance(orders, tuple)
        assert all(isinstance(order, OpenOrder) for order in orders)
        return orders  # type: ignore[return-value]

    async def fault(self, **rule: object) -> None:
        async with self.http.post(f"{self.url}/sim/faults", json=rule) as response:
            assert response.status == 200, await response.text()

    async def bid(self, below_bps: int = 500) -> PlaceOrder:
        """Return a buy order that rests well below the market."""
        async with self.http.get(f"{self.url}/fapi/v1/ticker/bookTicker?symbol=BTCUSDT") as response:
            top = Decimal((await response.json())["bidPrice"])
        price = floor_to(top * (10_000 - below_bps) / 10_000, Decimal("0.10"))
        client_order_id = f"grd-0-{next(self.numbers)}-b1"
        return PlaceOrder(
            client_order_id, "BTCUSDT", Side.BUY, OrderType.LIMIT, price, Decimal("0.002"), TimeInForce.GTX, False
        )


@asynccontextmanager
async def rig(transport: OrderTransport, secret: str) -> AsyncIterator[Rig]:
    server = assembly.build_server(assembly.VenueConfig(port=0, symbols=("BTCUSDT",)), SystemClock())
    await server.start()
    made = Rig(server.port, transport, secret)
    try:
        await made.venue.start()
        await eventually(lambda: made.venue.connected)
        if transport is OrderTransport.WS_API:
            await eventually(lambda: made.venue._ws_api is not None and made.venue._ws_api.connected)
        yield made
    finally:
        await made.venue.close()
        await made.http.close()
        await server.stop()


def run(
    test: Callable[[Rig], Coroutine[Any, Any, None]],
    transport: OrderTransport = OrderTransport.WS_API,
    secret: str = "sim-secret",
) -> None:
    async def main() -> None:
        async with rig(transport, secret) as made:
            await test(made)

    uvloop.run(main())


@BOTH
def test_order_is_placed_found_amended_and_cancelled(transport: OrderTransport) -> None:
    async def test(made: Rig) -> None:
        place = await made.bid()
        placed = await made.value(place)
        assert isinstance(placed, VenueOrder)
        assert (placed.client_order_id, placed.status, placed.filled_qty) == (place.client_order_id, "NEW", 0)
        query = QueryOrder(place.client_order_id, "BTCUSDT")
        found = await made.value(query)
        assert isinstance(found, VenueOrder)
        assert (found.venue_order_id, found.price) == (placed.venue_order_id, place.price)
        amend = AmendOrder(place.client_order_id, "BTCUSDT", Side.BUY, place.price - 10, Decimal("0.003"))
        assert isinstance(await made.value(amend), VenueOrder)
        (resting,) = await made.open_orders()
        assert (resting.price, resting.qty) == (place.price - 10, Decimal("0.003"))
        nothing = await made.ask(amend)
        assert isinstance(nothing, Rejected)
        assert nothing.advice is Advice.NOTHING_TO_AMEND
        assert isinstance(await made.value(CancelOrder(place.client_order_id, "BTCUSDT")), VenueOrder)
        assert await made.open_orders() == ()
        gone = await made.value(query)
        assert isinstance(gone, VenueOrder)
        assert gone.status == "CANCELED"

    run(test, transport)


@BOTH
def test_refusals_of_the_venue_are_rejections_with_advice(transport: OrderTransport) -> None:
    async def test(made: Rig) -> None:
        place = await made.bid()
        await made.value(place)
        cases: list[tuple[VenueRequest, Advice]] = [
            (place, Advice.DUPLICATE_ID),
            (CancelOrder("grd-0-nope-b1", "BTCUSDT"), Advice.NOT_FOUND),
            (QueryOrder("grd-0-nope-b1", "BTCUSDT"), Advice.NOT_FOUND),
            (msgspec.structs.replace(await made.bid(), price=place.price + Decimal("0.01")), Advice.FILTER),
            (msgspec.structs.replace(await made.bid(), qty=Decimal("0.0015")), Advice.FILTER),
            (await made.bid(below_bps=-100), Advice.POST_ONLY),
            (msgspec.structs.replace(await made.bid(), reduce_only=True), Advice.REDUCE_ONLY),
        ]
        for request, advice in cases:
            reply = await made.ask(request)
            assert isinstance(reply, Rejected), (request, reply)
            assert reply.advice is advice, (request, reply)

    run(test, transport)


@BOTH
def test_wrong_secret_is_an_authentication_refusal(transport: OrderTransport) -> None:
    async def test(made: Rig) -> None:
        reply = await made.ask(await made.bid())
        assert isinstance(reply, Rejected)
        assert reply.advice is Advice.AUTH

    run(test, transport, secret="wrong")


EXECUTED = (
    "drop_after",
    "reset_in_middle",
    "garbage",
    "timeout_executed",
    "overloaded_executed",
    "internal_executed",
    "unknown_executed",
)
NOT_EXECUTED = ("drop_before", "timeout_not_executed", "overloaded", "internal", "unknown", "unavailable")


@BOTH
@pytest.mark.parametrize("kind", [*EXECUTED, *NOT_EXECUTED])
def test_order_whose_outcome_the_venue_does_not_tell_is_in_doubt_and_exists_at_most_once(
    transport: OrderTransport, kind: str
) -> None:
    async def test(made: Rig) -> None:
        place = await made.bid()
        await made.fault(kind=kind, op="order.place")
        assert isinstance(await made.ask(place), InDoubt)
        asked: list[VenueReply] = []

        async def ask_again() -> None:
            while not asked or isinstance(asked[-1], InDoubt | NotSent):
                asked.append(await made.ask(QueryOrder(place.client_order_id, "BTCUSDT")))

        await asyncio.wait_for(ask_again(), WAIT_S)
        orders = [order.client_order_id for order in await made.open_orders()]
        if kind in EXECUTED:
            assert orders == [place.client_order_id]
            assert isinstance(asked[-1], Confirmed)
        else:
            assert orders == []
            assert isinstance(asked[-1], Rejected)
            assert asked[-1].advice is Advice.NOT_FOUND

    run(test, transport)


@BOTH
@pytest.mark.parametrize(("kind", "advice"), [("too_many_requests", Advice.RATE_LIMIT), ("banned", Advice.BANNED)])
def test_load_refusal_stops_new_orders_and_lets_cancels_out_unless_it_was_a_ban_just_now(
    transport: OrderTransport, kind: str, advice: Advice
) -> None:
    async def test(made: Rig) -> None:
        place, later = await made.bid(), await made.bid()
        await made.value(place)
        await made.fault(kind=kind, op="order.place", retry_after_s=30)
        refused = await made.ask(later)
        assert isinstance(refused, Rejected)
        assert (refused.advice, refused.retry_after_ms > 0) == (advice, True)
        assert isinstance(await made.ask(later), NotSent)
        cancel = CancelOrder(place.client_order_id, "BTCUSDT")
        if advice is Advice.BANNED:
            assert isinstance(await made.ask(cancel), NotSent)
        else:
            assert isinstance(await made.value(cancel), VenueOrder)

    run(test, transport)


def test_account_questions_are_answered() -> None:
    async def test(made: Rig) -> None:
        exchange = await made.value(QueryInstruments())
        assert isinstance(exchange, Exchange)
        assert "BTCUSDT" in [instrument.symbol for instrument in exchange.instruments]
        assert exchange.skipped == 0
        assert {rate.kind for rate in exchange.rate_limits} == {"REQUEST_WEIGHT", "ORDERS"}
        balance = await made.value(QueryBalance())
        assert isinstance(balance, Balance)
        assert balance.equity == Decimal(10_000)
        assert await made.value(QueryPositionMode()) is False
        assert await made.value(QueryPositions()) == ()
        server_utc_ms = await made.value(QueryServerTime())
        assert isinstance(server_utc_ms, int)
        assert abs(server_utc_ms - SystemClock().utc_ms()) < 60_000
        used = {(use.kind, use.interval_s): use.used for use in made.venue.rate_uses()}
        assert used["REQUEST_WEIGHT", 60] > 0

    run(test)


def test_all_orders_of_a_symbol_are_cancelled_by_command_and_by_countdown() -> None:
    async def test(made: Rig) -> None:
        for _ in range(3):
            await made.value(await made.bid())
        assert len(await made.open_orders()) == 3
        assert await made.value(CancelAllOrders("BTCUSDT")) is None
        assert await made.open_orders() == ()
        await made.value(await made.bid())
        assert await made.value(ArmCountdown("BTCUSDT", 100)) is None
        while await made.open_orders():
            await asyncio.sleep(0.02)
        assert await made.value(ArmCountdown("BTCUSDT", 0)) is None

    run(test)


def test_user_stream_tells_of_orders_fills_and_positions_once_each() -> None:
    async def test(made: Rig) -> None:
        task = asyncio.create_task(made.stream.run())
        await eventually(lambda: made.events == [UserStreamUp()])
        resting = await made.bid()
        await made.value(resting)
        taking = msgspec.structs.replace(await made.bid(), order_type=OrderType.MARKET)
        await made.value(taking)
        await made.value(CancelOrder(resting.client_order_id, "BTCUSDT"))

        def events_of(client_order_id: str) -> list[OrderEvent]:
            return [
                event
                for event in made.events
                if isinstance(event, OrderEvent) and event.client_order_id == client_order_id
            ]

        await eventually(lambda: len(events_of(resting.client_order_id)) == 2)
        assert [event.execution for event in events_of(resting.client_order_id)] == ["NEW", "CANCELED"]
        await eventually(lambda: any(event.status == "FILLED" for event in events_of(taking.client_order_id)))
        trades = [event for event in events_of(taking.client_order_id) if event.trade_id]
        assert sum(event.last_qty for event in trades) == taking.qty
        assert all(event.fee > 0 and not event.maker for event in trades)
        await eventually(lambda: any(isinstance(event, AccountEvent) and event.positions for event in made.events))
        positions = await made.value(QueryPositions())
        assert isinstance(positions, tuple)
        (position,) = positions
        assert isinstance(position, Position)
        assert (position.symbol, position.qty) == ("BTCUSDT", taking.qty)
        close = msgspec.structs.replace(await made.bid(), order_type=OrderType.MARKET, side=Side.SELL, reduce_only=True)
        await made.value(close)
        assert await made.value(QueryPositions()) == ()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(test)


def test_user_stream_comes_back_after_its_key_expired() -> None:
    async def test(made: Rig) -> None:
        task = asyncio.create_task(made.stream.run())
        await eventually(lambda: made.events == [UserStreamUp()])
        async with made.http.post(f"{made.url}/sim/listen-key/expire") as response:
            assert response.status == 200
        await eventually(lambda: made.events == [UserStreamUp(), UserStreamDown("key_expired"), UserStreamUp()])
        await made.value(await made.bid())
        await eventually(lambda: any(isinstance(event, OrderEvent) for event in made.events))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(test)

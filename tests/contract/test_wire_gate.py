"""The last look before the wire, against the simulated venue: what is held up after it, the venue refuses.

A stop of the process between the look and the write is a clock that jumps then: the host's and the venue's alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import uvloop
from aiohttp import web

from grinder.adapters.binance.sign import Signer, Stamp
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.binance.venue_time import OwnTime
from grinder.adapters.binance.wire_gate import Ticket, WireGate
from grinder.adapters.clock import SystemClock
from grinder.model.board import Word
from grinder.model.control import Override
from grinder.model.reasons import DenyReason
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    Advice,
    AmendOrder,
    ArmCountdown,
    CancelAllOrders,
    CancelOrder,
    Confirmed,
    NotSent,
    PlaceOrder,
    QueryOpenOrders,
    QueryPositions,
    Rejected,
    VenueRequest,
)
from grinder.settings import OrderTransport
from grinder.sim.wire import assembly
from tests.contract import fault_rig
from tests.contract.venue_server import Replies, VenueServer, ack, eventually, recorder, running_server, settle
from tests.fakes import FakeBoard, venue_clock_words
from tests.market import RecordingLog
from tests.venue_requests import PLACE

BOTH = pytest.mark.parametrize("transport", list(OrderTransport))
SYMBOL = fault_rig.SYMBOL
TERM = 17
ORDER_PATH = "/fapi/v1/order"


class JumpingClock(SystemClock):
    """The clocks of host and venue, which jump together."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def mono_ns(self) -> int:
        return super().mono_ns() + self.ahead_ms * NS_PER_MS

    def boot_ns(self) -> int:
        return super().boot_ns() + self.ahead_ms * NS_PER_MS

    def utc_ms(self) -> int:
        return super().utc_ms() + self.ahead_ms


class HostClock(SystemClock):
    """The clocks of the host alone, whose wall clock somebody sets."""

    def __init__(self, true: JumpingClock) -> None:
        self._true = true
        self.mono_ns, self.boot_ns = true.mono_ns, true.boot_ns  # type: ignore[method-assign]
        self.set_ms = 0

    def utc_ms(self) -> int:
        return self._true.utc_ms() + self.set_ms


class StoppingBoard(FakeBoard):
    """A board whose reader is stopped for ``stop_ms`` right after it has looked at the role, once."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__()
        self._clock = clock
        self.stop_ms = 0

    def read_all(self, words: tuple[Word, ...]) -> tuple[int, ...]:
        values = super().read_all(words)
        if Word.ROLE in words:
            self._clock.ahead_ms += self.stop_ms
            self.stop_ms = 0
        return values

    def lead(self, *, risk_ms: int = 60_000, lead_ms: int = 60_000, term: int = TERM) -> None:
        """Say that this host leads, for so long."""
        now = self._clock.boot_ns()
        self.words |= {
            Word.ROLE: 2,
            Word.TERM: term,
            Word.RISK_DEADLINE_BOOT_NS: now + risk_ms * NS_PER_MS,
            Word.LEAD_DEADLINE_BOOT_NS: now + lead_ms * NS_PER_MS,
            **venue_clock_words(self._clock),
            Word.VENUE_CLOCK_ERROR_US: 1_000,
        }


class StampsAfterTheLook(WireGate):
    """Broken on purpose: the timestamp is as young as the write."""

    def stamp(self, ticket: Ticket) -> Stamp | DenyReason:
        found = super().stamp(ticket)
        if isinstance(found, DenyReason):
            return found
        return msgspec.structs.replace(found, timestamp_utc_ms=self._signer.venue_utc_ms())


class LeavesTheWindowWide(WireGate):
    """Broken on purpose: the window does not end with the permit."""

    def stamp(self, ticket: Ticket) -> Stamp | DenyReason:
        found = super().stamp(ticket)
        return found if isinstance(found, DenyReason) else msgspec.structs.replace(found, recv_window_ms=5_000)


class Rig(fault_rig.Rig):
    """A client of the simulated venue as the executor of a cluster's host has it."""

    def __init__(
        self, port: int, transport: OrderTransport, gate: type[WireGate], board: StoppingBoard, clock: JumpingClock
    ) -> None:
        self.board, self.gate, self.host = board, gate, HostClock(clock)
        super().__init__(port, transport, None, (fault_rig.KEY, fault_rig.SECRET))

    def another_venue(self) -> BinanceVenue:
        key = Signer(*self.credentials, venue_utc_ms=OwnTime(self.host, self.board).venue_utc_ms, recv_window_ms=5_000)
        config = VenueConfig(self.url, f"{self.ws_url}/ws-fapi/v1", self.transport)
        gate = self.gate(self.board, self.host, key)
        return BinanceVenue(config, key, clock=self.clock, telemetry=self.telemetry, log=self.log, gate=gate)

    async def entry(self, term: int = TERM) -> PlaceOrder:
        order = await self.bid(follow=False)
        name = order.client_order_id.replace("grd-0-", "grd-h-" if term == TERM else "grd-g-")
        return msgspec.structs.replace(order, client_order_id=name)


def run(
    test: Callable[[Rig], Coroutine[Any, Any, None]], transport: OrderTransport, gate: type[WireGate] = WireGate
) -> None:
    async def main() -> None:
        clock = JumpingClock()
        config = assembly.VenueConfig(port=0, symbols=(SYMBOL,), tape="step")
        server = assembly.build_server(config, clock)
        await server.start()
        made = Rig(server.port, transport, gate, StoppingBoard(clock), clock)
        made.board.lead()
        try:
            await made.venue.start()
            await made.up()
            await test(made)
        finally:
            await made.close()
            await server.stop()

    uvloop.run(main())


async def placed_while_stopped(made: Rig, stop_ms: int) -> tuple[object, list[dict[str, Any]]]:
    """Place an entry whose permit has 600 ms left, stopped between look and write; return reply and ground truth."""
    order = await made.entry()
    made.board.lead(risk_ms=600)
    made.board.stop_ms = stop_ms
    reply = await made.ask(order)
    assert await made.arrived(order.client_order_id, "order.place") == 1
    return reply, await made.truth(order.client_order_id)


@BOTH
def test_entry_when_stopped_between_look_and_write_past_the_permit_then_refused_and_never_executed(
    transport: OrderTransport,
) -> None:
    async def test(made: Rig) -> None:
        reply, truth = await placed_while_stopped(made, 700)
        assert isinstance(reply, Rejected), reply
        assert (reply.code, reply.advice) == (-1021, Advice.CLOCK)
        assert truth == []

    run(test, transport)


@BOTH
def test_entry_when_stopped_for_less_than_the_permit_then_taken(transport: OrderTransport) -> None:
    async def test(made: Rig) -> None:
        reply, truth = await placed_while_stopped(made, 200)
        assert isinstance(reply, Confirmed), reply
        assert len(truth) == 1

    run(test, transport)


@pytest.mark.parametrize("set_ms", [-3_600_000, -900, 900, 3_600_000])
def test_commands_when_the_wall_clock_was_set_since_the_measurement_then_as_if_it_was_not(set_ms: int) -> None:
    async def test(made: Rig) -> None:
        taken = await made.entry()
        assert isinstance(await made.ask(taken), Confirmed)
        made.host.set_ms = set_ms
        assert isinstance(await made.ask(await made.entry()), Confirmed)
        reply, truth = await placed_while_stopped(made, 700)
        assert isinstance(reply, Rejected), reply
        assert (reply.code, truth) == (-1021, [])
        made.board.lead()
        assert isinstance(await made.ask(CancelOrder(taken.client_order_id, SYMBOL)), Confirmed)

    run(test, OrderTransport.WS_API)


@pytest.mark.parametrize("broken", [StampsAfterTheLook, LeavesTheWindowWide])
def test_entry_when_the_gate_is_broken_then_the_venue_takes_it_too_late(broken: type[WireGate]) -> None:
    async def test(made: Rig) -> None:
        reply, truth = await placed_while_stopped(made, 700)
        assert isinstance(reply, Confirmed), "a broken gate was not seen: this page cannot fail"
        assert len(truth) == 1

    run(test, OrderTransport.WS_API, broken)


@BOTH
def test_cancel_when_stopped_past_the_lead_deadline_then_refused_by_the_venue(transport: OrderTransport) -> None:
    async def test(made: Rig) -> None:
        order = await made.entry()
        assert isinstance(await made.ask(order), Confirmed)
        made.board.lead(lead_ms=600)
        made.board.stop_ms = 700
        reply = await made.ask(CancelOrder(order.client_order_id, SYMBOL))
        assert isinstance(reply, Rejected), reply
        assert reply.code == -1021
        assert [found["status"] for found in await made.truth(order.client_order_id)] == ["NEW"]

    run(test, transport)


@BOTH
def test_commands_when_the_permit_has_passed_then_only_what_protects_leaves_until_the_lead_deadline(
    transport: OrderTransport,
) -> None:
    async def test(made: Rig) -> None:
        first, late = await made.entry(), await made.entry()
        assert isinstance(await made.ask(first), Confirmed)
        name, qty = first.client_order_id, first.qty
        made.board.lead(risk_ms=90)
        assert await made.ask(late) == NotSent("PERMIT_EXPIRED")
        assert await made.ask(AmendOrder(name, SYMBOL, first.side, first.price, qty)) == NotSent("PERMIT_EXPIRED")
        assert isinstance(await made.ask(ArmCountdown(SYMBOL, 60_000)), Confirmed)
        assert isinstance(await made.ask(CancelOrder(name, SYMBOL)), Confirmed)
        made.board.lead(risk_ms=0, lead_ms=90)
        for request in protecting(name):
            assert await made.ask(request) == NotSent("LEASE_EXPIRED")
        made.board.words[Word.ROLE] = 1
        assert await made.ask(late) == NotSent("NOT_LEADER")
        assert isinstance(await made.ask(QueryPositions()), Confirmed)
        assert await made.arrived(late.client_order_id, "order.place") == 0
        assert await made.truth(late.client_order_id) == []

    run(test, transport)


def protecting(name: str) -> tuple[VenueRequest, ...]:
    """Return one command of each kind that only protects."""
    reduce = msgspec.structs.replace(PLACE, client_order_id="grd-h-77-t1", reduce_only=True)
    return (
        CancelOrder(name, SYMBOL),
        CancelAllOrders(SYMBOL),
        ArmCountdown(SYMBOL, 0),
        reduce,
        AmendOrder(name, SYMBOL, reduce.side, reduce.price, reduce.qty, reduce_only=True),
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({Word.TRIP_METRICS: 1}, "KILL_SWITCH_ACTIVE"),
        ({Word.OVERRIDE: (3 << 8) | Override.PAUSE}, "OPERATOR_OVERRIDE"),
        ({Word.CLUSTER_OVERRIDE: Override.EMERGENCY}, "OPERATOR_OVERRIDE"),
        ({Word.TERM: TERM + 1}, "STALE_TERM"),
        ({Word.VENUE_CLOCK_CHECKED_MONO_NS: 0}, "CLOCK_UNKNOWN"),
        ({Word.VENUE_CLOCK_ERROR_US: 300_000}, "CLOCK_UNKNOWN"),
    ],
)
def test_entry_when_the_board_speaks_against_it_then_nothing_is_written(change: dict[Word, int], why: str) -> None:
    async def test(made: Rig) -> None:
        order = await made.entry()
        made.board.words |= change
        assert await made.ask(order) == NotSent(why)
        assert await made.arrived(order.client_order_id, "order.place") == 0

    run(test, OrderTransport.WS_API)


def test_entry_when_its_id_is_of_another_term_then_nothing_is_written() -> None:
    async def test(made: Rig) -> None:
        order = await made.entry(term=TERM - 1)
        assert await made.ask(order) == NotSent("STALE_TERM")

    run(test, OrderTransport.WS_API)


class Crowd:
    """A REST venue whose connections are all taken by questions until they are let go."""

    def __init__(self, server: VenueServer) -> None:
        clock = JumpingClock()
        self.server, self.clock = server, clock
        self.board = StoppingBoard(clock)
        self.board.lead()
        self._let_go = asyncio.Event()
        server.http["GET", "/fapi/v1/openOrders"] = self._answer_when_let_go
        server.http["POST", ORDER_PATH] = self._place
        key = Signer("sim-key", "sim-secret", venue_utc_ms=clock.utc_ms, recv_window_ms=5_000)
        config = VenueConfig(server.url, server.ws_api_url, OrderTransport.REST)
        gate = WireGate(self.board, clock, key)
        self.venue = BinanceVenue(config, key, clock=clock, telemetry=recorder(), log=RecordingLog(), gate=gate)

    async def _answer_when_let_go(self, request: web.Request) -> web.StreamResponse:
        await self._let_go.wait()
        return web.json_response([])

    async def _place(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(ack(dict(request.query)))

    async def place_behind(self, meanwhile: Callable[[], None]) -> object:
        """Place an entry that has to wait for a connection; return its reply."""
        questions = [Replies() for _ in range(16)]
        for replies in questions:
            self.venue.submit(QueryOpenOrders(SYMBOL), replies)
        await eventually(lambda: self.waiting == 16)
        entry = Replies()
        self.venue.submit(msgspec.structs.replace(PLACE, client_order_id="grd-h-1-b1"), entry)
        await settle()
        assert entry.values == []
        meanwhile()
        self._let_go.set()
        return await entry.only()

    @property
    def waiting(self) -> int:
        return sum(request.path == "/fapi/v1/openOrders" for request in self.server.requests)

    def placed(self) -> list[web.Request]:
        return [request for request in self.server.requests if request.path == ORDER_PATH]


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    async with running_server() as server:
        made = Crowd(server)
        await made.venue.start()
        try:
            yield made
        finally:
            await made.venue.close()


def test_entry_when_tripped_while_it_waits_for_a_connection_then_it_does_not_leave() -> None:
    async def main() -> None:
        async with crowd() as made:
            reply = await made.place_behind(lambda: made.board.write(Word.TRIP_OPERATOR, 1))
            assert reply == NotSent("KILL_SWITCH_ACTIVE")
            assert made.placed() == []

    uvloop.run(main())


def test_entry_when_elected_again_while_it_waits_for_a_connection_then_it_does_not_leave() -> None:
    async def main() -> None:
        async with crowd() as made:
            assert await made.place_behind(lambda: made.board.lead(term=TERM + 1)) == NotSent("STALE_TERM")
            assert made.placed() == []

    uvloop.run(main())


def test_entry_when_it_has_waited_for_a_connection_then_it_is_stamped_when_it_is_written() -> None:
    async def main() -> None:
        async with crowd() as made:

            def jump() -> None:
                made.clock.ahead_ms += 5_000

            let_go_utc_ms = made.clock.utc_ms() + 5_000
            assert isinstance(await made.place_behind(jump), Confirmed)
            (request,) = made.placed()
            assert int(request.query["timestamp"]) >= let_go_utc_ms
            assert int(request.query["recvWindow"]) == 1_000

    uvloop.run(main())

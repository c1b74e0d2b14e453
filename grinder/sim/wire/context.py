"""What every wire shares: the venue, the hub, the clock, and how a request of either transport is run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from grinder.model.errors import VenueError
from grinder.ports import Clock
from grinder.sim.exchange.faults import Answer, Delay, Fault, Request
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.truth import RequestRecord
from grinder.sim.exchange.venue import Operation, Outcome, Venue, failure
from grinder.sim.wire.frames import Wire
from grinder.sim.wire.hub import Hub, Route
from grinder.sim.wire.skewed_clock import SkewedClock
from grinder.sim.wire.sockets import SocketPace


class Ask(msgspec.Struct, frozen=True):
    """One request as it came off a wire. ``mono_ns``: when its bytes were read."""

    operation: Operation
    transport: str
    key: str
    params: Params
    payloads: Iterable[str] | None
    mono_ns: int


CANCELS: Final = frozenset(
    {"order.cancel", "batch.cancel", "orders.cancel_all", "orders.countdown", "algo.cancel", "algo.cancel_all"}
)


def is_protective(ask: Ask) -> bool:
    """Tell whether a request can only take risk away: a cancel, a reduce-only order, one that closes a position."""
    flags = (ask.params.optional(name).lower() for name in ("reduceOnly", "closePosition"))
    return ask.operation.name in CANCELS or "true" in flags


class Connection(Protocol):
    """A connection of the WebSocket API, as the faults see it."""

    wire: Wire


class Context:
    """The venue and the means to reach it."""

    def __init__(
        self,
        venue: Venue,
        hub: Hub,
        clock: Clock,
        pace: SocketPace | None = None,
        unrouted: Route = Route.LEGACY,
    ) -> None:
        """Keep what is needed. ``unrouted``: what stream paths without a route carry."""
        self.venue = venue
        self.hub = hub
        self.clock = SkewedClock(clock)
        self.pace = pace or SocketPace()
        self.unrouted = unrouted
        self.ws_api: dict[Connection, None] = {}

    def begin(self, ask: Ask) -> tuple[RequestRecord, Fault | None]:
        """Record a request and pick the fault that acts on it, if any."""
        params = ask.params
        symbol = params.optional("symbol")
        client_id = params.optional("newClientOrderId") or params.optional("origClientOrderId")
        record = self.venue.truth.on_request(
            ask.mono_ns, self.clock.utc_ms(), ask.transport, ask.operation.name, ask.key, client_id[:64], symbol[:32]
        )
        record.reduce_only = params.optional("reduceOnly").lower() == "true"
        if not self.venue.faults.any:
            return record, None
        request = Request(ask.operation.name, symbol, ask.transport, ask.key, client_id, is_protective(ask))
        fault = self.venue.faults.pick(request)
        if fault is not None:
            record.fault = fault.name
        return record, fault

    def run(self, ask: Ask, record: RequestRecord) -> Outcome:
        """Execute a request now; its user events leave right after its answer."""
        venue = self.venue
        outcome = venue.execute(ask.operation, ask.key, ask.params, ask.payloads, self.clock.utc_ms())
        venue.note(record, outcome)
        if venue.exchange.outbox:
            asyncio.get_running_loop().call_soon(self.flush)
        return outcome

    async def run_with_fault(self, ask: Ask, record: RequestRecord, fault: Fault) -> tuple[Answer, Outcome | None]:
        """Execute or spare a request as its fault says; return what the client is to see."""
        kind, delay_s = fault.kind, fault.delay_ms / 1_000
        if kind.delays is Delay.ENGINE:
            return kind.answer, await self._run_late(ask, record, delay_s)
        if delay_s and kind.delays is Delay.REQUEST:
            await asyncio.sleep(delay_s)
        outcome: Outcome | None = self.run(ask, record) if kind.executes else None
        if delay_s and kind.delays is Delay.ANSWER:
            await asyncio.sleep(delay_s)
        if kind.answer is Answer.ERROR:
            outcome = Outcome(kind.http_status, kind.code, {"code": kind.code, "msg": kind.message})
        return kind.answer, outcome

    async def _run_late(self, ask: Ask, record: RequestRecord, delay_s: float) -> Outcome:
        """Check a request now and let it reach the matching engine later."""
        venue = self.venue
        try:
            account = venue.admit(ask.operation, ask.key, ask.params, ask.payloads, self.clock.utc_ms())
        except VenueError as error:
            outcome = failure(error)
        else:
            await asyncio.sleep(delay_s)
            outcome = venue.perform_late(ask.operation, account, ask.params, self.clock.utc_ms())
        venue.note(record, outcome)
        asyncio.get_running_loop().call_soon(self.flush)
        return outcome

    def flush(self) -> None:
        """Send what the exchange has to say on user and market streams."""
        exchange = self.venue.exchange
        self.hub.flush(exchange.outbox)
        if exchange.public_outbox:
            self.hub.flush_public(exchange.public_outbox)

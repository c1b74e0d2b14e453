"""What every wire shares: the venue, the hub, the clock, and how a request of either transport is run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from grinder.ports import Clock
from grinder.sim.exchange.faults import KINDS, Answer, FaultRule
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.truth import RequestRecord
from grinder.sim.exchange.venue import Operation, Outcome, Venue
from grinder.sim.wire.hub import Hub


class Ask(msgspec.Struct, frozen=True):
    """One request as it came off a wire. ``mono_ns``: when its bytes were read."""

    operation: Operation
    transport: str
    key: str
    params: Params
    payloads: Iterable[str]
    mono_ns: int


class Context:
    """The venue and the means to reach it."""

    def __init__(self, venue: Venue, hub: Hub, clock: Clock) -> None:
        self.venue = venue
        self.hub = hub
        self.clock = clock

    def begin(self, ask: Ask) -> tuple[RequestRecord, FaultRule | None]:
        """Record a request and pick the fault that acts on it, if any."""
        params = ask.params
        symbol = params.optional("symbol")
        client_id = params.optional("newClientOrderId") or params.optional("origClientOrderId")
        record = self.venue.truth.on_request(
            ask.mono_ns, self.clock.utc_ms(), ask.transport, ask.operation.name, ask.key, client_id[:64], symbol[:32]
        )
        fault = self.venue.faults.pick(ask.operation.name, symbol, ask.transport)
        if fault is not None:
            record.fault = fault.kind
        return record, fault

    def run(self, ask: Ask, record: RequestRecord) -> Outcome:
        """Execute a request now; its user events leave right after its answer."""
        venue = self.venue
        outcome = venue.execute(ask.operation, ask.key, ask.params, ask.payloads, self.clock.utc_ms())
        venue.note(record, outcome)
        if venue.exchange.outbox:
            asyncio.get_running_loop().call_soon(self.flush)
        return outcome

    async def run_with_fault(self, ask: Ask, record: RequestRecord, fault: FaultRule) -> tuple[Answer, Outcome | None]:
        """Execute or spare a request as its fault says; return what the client is to see."""
        kind = KINDS[fault.kind]
        if fault.delay_ms and kind.delays_before:
            await asyncio.sleep(fault.delay_ms / 1_000)
        outcome: Outcome | None = self.run(ask, record) if kind.executes else None
        if fault.delay_ms and not kind.delays_before:
            await asyncio.sleep(fault.delay_ms / 1_000)
        if kind.answer is Answer.ERROR:
            outcome = Outcome(kind.http_status, kind.code, {"code": kind.code, "msg": kind.message})
        return kind.answer, outcome

    def flush(self) -> None:
        """Send what the exchange has to say on user streams."""
        self.hub.flush(self.venue.exchange.outbox)

"""The Venue port over the wire: order commands by the WebSocket API, everything else, and what certainly did not leave,
by REST.

Invariant: every ``submit`` is answered exactly once, and later, never before it returns. Must never raise to its
caller, and never send a request again whose outcome is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.binance.answers import answer_of
from grinder.adapters.binance.ban import BanFile
from grinder.adapters.binance.errors import classify, read_error
from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.parameters import parameters_of
from grinder.adapters.binance.rest import HttpOutcome, HttpReply, OnWrite, RestClient
from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.stops import Stops
from grinder.adapters.binance.wire import (
    OUTCOME_NAMES,
    PING,
    Operation,
    Urgency,
    operation_of,
    urgency_of,
)
from grinder.adapters.binance.wire_gate import WireGate
from grinder.adapters.binance.ws_api import WsApi
from grinder.model.errors import PayloadError
from grinder.model.limits import VENUE_PENDING_MAX, VENUE_PROBE_PERIOD_MS
from grinder.model.reasons import DenyReason
from grinder.model.units import MS_PER_S, NS_PER_S
from grinder.model.venue import Confirmed, Exchange, InDoubt, NotSent, RateUse, VenueReply, VenueRequest
from grinder.ports import Clock, Log, Telemetry
from grinder.settings import OrderTransport

REST: Final = "rest"
"""Transport label in metrics."""

OnReply = Callable[[VenueReply], None]


class VenueConfig(msgspec.Struct, frozen=True):
    """Where the venue is. ``ws_api_url``: not used where ``order_transport`` is REST.

    ``state_dir``: where a ban is kept for later runs; None keeps none.
    """

    rest_url: str
    ws_api_url: str
    order_transport: OrderTransport = OrderTransport.WS_API
    state_dir: Path | None = None


class BinanceVenue:
    """The venue for one process. ``start`` and ``close`` run inside its loop; ``submit`` works between them."""

    def __init__(
        self,
        config: VenueConfig,
        signer: Signer | None,
        *,
        clock: Clock,
        telemetry: Telemetry,
        log: Log,
        gate: WireGate | None = None,
        stops: Stops | None = None,
    ) -> None:
        """Keep what is needed; nothing is sent before ``start``.

        Args:
            config: where the venue is.
            signer: the key; None for public requests only.
            clock: intervals and, without a signer, the time of rate-limit windows.
            telemetry: counts.
            log: connects and losses.
            gate: looks at each command for the last time, right before it is signed; None on a host that is alone.
            stops: what the venue told any process of this host to wait for; None: nobody else asks the venue.
        """
        self._gate = gate
        self._telemetry = telemetry
        self._clock = clock
        self._ban = None
        if config.state_dir is not None:
            self._ban = BanFile(config.state_dir, config.rest_url, clock=clock, log=log)
        self._limits = Limits(stops, None if self._ban is None else self._ban.keep_beside)
        self.rest = RestClient(config.rest_url, signer, clock=clock, limits=self._limits, telemetry=telemetry)
        self._ws_api: WsApi | None = None
        if signer is not None and config.order_transport is OrderTransport.WS_API:
            self._ws_api = WsApi(
                config.ws_api_url, signer, clock=clock, limits=self._limits, telemetry=telemetry, log=log
            )
        self._requests: set[asyncio.Task[VenueReply]] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._open = False

    async def start(self) -> None:
        """Open the session and begin to connect; returns before the venue answered."""
        assert not self._open
        self.obey_kept_ban()
        await self.rest.open()
        self._open = True
        keepers = [self._probe()] if self._ws_api is None else [self._probe(), self._ws_api.run()]
        for keeper in keepers:
            task = asyncio.create_task(keeper)
            task.add_done_callback(_raise_failure)
            self._background.add(task)

    def obey_kept_ban(self) -> None:
        """Wait for a ban that an earlier run was told of; for who only listens to streams and does not ``start``."""
        if self._ban is not None:
            self._limits.obey_ban(self._ban.left_ms(), boot_ns=self._clock.boot_ns())

    async def close(self) -> None:
        """End everything; what still waits for an answer is in doubt, and answered so before this returns."""
        self._open = False
        tasks: list[asyncio.Task[VenueReply] | asyncio.Task[None]] = [*self._background, *self._requests]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._background.clear()
        await self.rest.close()
        if self._ban is not None:
            self._ban.close()
        # Ended tasks and lost connections answer what waited on them in the loop's next turn.
        await asyncio.sleep(0)

    @property
    def connected(self) -> bool:
        """Tell whether an order command would reach the venue now, as far as this host can know."""
        if not self._open or self._limits.banned_ms(self._clock.boot_ns()):
            return False
        return (self._ws_api is not None and self._ws_api.connected) or self.rest.reachable

    def rate_uses(self) -> tuple[RateUse, ...]:
        """Return the venue's rate limits with what is used of them now."""
        return self._limits.uses(venue_utc_ms=self.rest.venue_utc_ms())

    def weight_used(self) -> float:
        """Return the part of the venue's request weight that this address has used in this minute, 1 for all of it."""
        return self._limits.weight_used(venue_utc_ms=self.rest.venue_utc_ms())

    def submit(self, request: VenueRequest, on_reply: OnReply) -> None:
        """Send a request by the fastest path that is up; ``on_reply`` is called exactly once, later."""
        operation, urgency = operation_of(request), urgency_of(request)
        if not self._open:
            self._refuse(NotSent("closed"), operation, on_reply)
            return
        on_write = self._last_look(request)
        if self._ws_api is not None and operation.ws_method:
            boot_ns, venue_utc_ms = self._clock.boot_ns(), self.rest.venue_utc_ms()
            refusal = self._limits.refusal(
                urgency, operation.weight, operation.orders, boot_ns=boot_ns, venue_utc_ms=venue_utc_ms
            )
            if refusal is not None:
                self._refuse(refusal, operation, on_reply)
                return
            stamp = None if on_write is None else on_write()
            if isinstance(stamp, DenyReason):
                self._refuse(NotSent(stamp.value), operation, on_reply)
                return
            if self._ws_api.send(request, on_reply, stamp):
                self._limits.charge(operation.weight, operation.orders, venue_utc_ms=venue_utc_ms)
                return
        if len(self._requests) >= VENUE_PENDING_MAX:
            self._refuse(NotSent("too_many_requests"), operation, on_reply)
            return
        task = asyncio.create_task(self._by_rest(request, operation, urgency, on_write))
        self._requests.add(task)
        task.add_done_callback(partial(self._answer, operation, on_reply))

    def _answer(self, operation: Operation, on_reply: OnReply, task: asyncio.Task[VenueReply]) -> None:
        """Answer a REST request from how its task ended, also where it was cancelled before it began."""
        self._requests.discard(task)
        error: BaseException | None = None
        reply: VenueReply
        if task.cancelled():
            reply = InDoubt("closed")
        elif (error := task.exception()) is not None:
            reply = InDoubt("internal")
        else:
            reply = task.result()
        self._telemetry.count("grinder_venue_requests_total", operation.name, REST, OUTCOME_NAMES[type(reply)])
        on_reply(reply)
        if error is not None:
            raise error

    def _refuse(self, refusal: NotSent, operation: Operation, on_reply: OnReply) -> None:
        """Answer a request that never leaves, in the loop's next turn."""
        self._telemetry.count("grinder_venue_requests_total", operation.name, REST, OUTCOME_NAMES[NotSent])
        asyncio.get_running_loop().call_soon(on_reply, refusal)

    def _last_look(self, request: VenueRequest) -> OnWrite | None:
        """Return what is asked right before a command is written, by whichever path; None where nothing is."""
        ticket = None if self._gate is None else self._gate.ticket(request)
        return None if self._gate is None or ticket is None else partial(self._gate.stamp, ticket)

    async def _by_rest(
        self, request: VenueRequest, operation: Operation, urgency: Urgency, on_write: OnWrite | None
    ) -> VenueReply:
        """Send one request by REST and return how it ended."""
        reply = settle(await self.rest.exchange(operation, parameters_of(request), urgency, on_write), request)
        if isinstance(reply, Confirmed):
            self._telemetry.observe("grinder_venue_reply_seconds", reply.rtt_ns / NS_PER_S, REST)
            if isinstance(reply.value, Exchange):
                self._limits.configure(reply.value.rate_limits)
                self._telemetry.gauge("grinder_venue_symbols_skipped", reply.value.skipped)
        return reply

    async def _probe(self) -> None:
        """Find out whether REST reaches the venue, for as long as nothing else shows it; show what it stops."""
        while True:
            boot_ns = self._clock.boot_ns()
            self._telemetry.gauge("grinder_venue_stopped_seconds", self._limits.stopped_ms(boot_ns) / MS_PER_S)
            self._telemetry.gauge("grinder_venue_banned_seconds", self._limits.banned_ms(boot_ns) / MS_PER_S)
            if not self.connected:
                await self.rest.exchange(PING, {})
            await asyncio.sleep(VENUE_PROBE_PERIOD_MS / MS_PER_S)


def settle(outcome: HttpOutcome, request: VenueRequest) -> VenueReply:
    """Return the reply to a request: a 2xx that cannot be read is in doubt, unless it names a refusal."""
    if not isinstance(outcome, HttpReply):
        return outcome
    try:
        return Confirmed(answer_of(outcome.body, request), outcome.rtt_ns)
    except PayloadError:
        code, message = read_error(outcome.body)
        return classify(200, code, message) if code < 0 else InDoubt("unreadable")


def _raise_failure(task: asyncio.Task[None]) -> None:
    """Hand an error of ours to the loop's exception handler, which ends the process: a dead keeper must not hide."""
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error

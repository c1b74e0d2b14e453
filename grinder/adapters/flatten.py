"""The emergency exit on its own legs: the pure machine of ``core.emergency`` and a REST client, nothing else.

No bus, no board, no other process. Must never report success that the machine did not prove.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.stops import Stops
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.binance.venue_time import OwnTime, TimedVenue
from grinder.core.emergency import ENDED, Exit, ExitPlan, Request, Step, abandon, answered, start, wake
from grinder.core.exit_record import ExitRecord, ExitReport
from grinder.model.instrument import Instrument
from grinder.model.orders import INTENTS_PER_INCARNATION
from grinder.model.units import MS_PER_S, NS_PER_MS, NS_PER_S
from grinder.model.venue import (
    Advice,
    Confirmed,
    Exchange,
    PlaceOrder,
    QueryInstruments,
    QueryServerTime,
    Rejected,
    VenueReply,
    VenueRequest,
)
from grinder.ports import Clock
from grinder.settings import OrderTransport

PREPARE_S_MAX: Final = 3.0
"""Longest wait for the venue's clock and rules, seconds; both only help, and the exit goes on without them."""

SILENCE_MS_MAX: Final = 15_000
"""An attempt without any reply for this long is given up and begun again, milliseconds."""

_TICK_S: Final = 0.02


class Account(msgspec.Struct, frozen=True):
    """What to leave: the venue's address, the key, and what our orders there are called."""

    rest_url: str
    api_key: str
    api_secret: str
    recv_window_ms: int
    symbols: tuple[str, ...]
    prefix: str
    slippage_bps_max: int


class Silent:
    """Log and telemetry of a program that has neither."""

    def event(self, name: str, **fields: object) -> None:
        """Say nothing."""

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Count nothing."""

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Show nothing."""

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Measure nothing."""


class Flatten:
    """One exit. ``say``: takes lines for people. ``stops``: told what the venue makes this address wait for.

    What others were told before does not hold it up: its own first question finds out, also on a new address.
    """

    def __init__(self, account: Account, clock: Clock, say: Callable[[str], None], stops: Stops | None = None) -> None:
        self._account = account
        self._clock = clock
        self._say = say
        self._time = OwnTime(clock)
        self._instruments: dict[str, Instrument] = {}
        self._asks_rules = False
        self._exit = Exit()
        self._generation = 0
        self._moved_mono_ns = 0
        self._record = ExitRecord(clock.utc_ms())
        signer = Signer(
            account.api_key,
            account.api_secret,
            venue_utc_ms=self._time.venue_utc_ms,
            recv_window_ms=account.recv_window_ms,
        )
        config = VenueConfig(account.rest_url, "", OrderTransport.REST)
        silent = Silent()
        self._stops = Stops() if stops is None else stops
        self._wire = BinanceVenue(config, signer, clock=clock, telemetry=silent, log=silent, stops=self._stops)
        self._venue = TimedVenue(self._wire, self._time)
        # Ids above those of any process that started in this second, and above those of earlier exits.
        seconds = clock.utc_ms() // MS_PER_S
        self._sequence_base = seconds * INTENTS_PER_INCARNATION + INTENTS_PER_INCARNATION // 2

    async def run(self, timeout_s: float) -> ExitReport:
        """Leave the market; try again until it is proved, or nothing is left that an order closes, or time is over."""
        deadline_mono_ns = self._clock.mono_ns() + int(timeout_s * NS_PER_S)
        await self._wire.start()
        try:
            await self._prepare()
            self._apply(start(self._exit, self._plan()))
            while self._record.report().result not in ENDED and self._clock.mono_ns() < deadline_mono_ns:
                await asyncio.sleep(_TICK_S)
                self._on_tick()
        finally:
            await self._wire.close()
        banned_s = (self._stops.banned_until_boot_ns - self._clock.boot_ns()) / NS_PER_S
        if banned_s > 0:
            self._say(f"the venue bans this address for {banned_s:.0f} s more: until then nothing is heard from here")
        return self._record.report()

    async def _prepare(self) -> None:
        """Learn the venue's clock, without which requests may be refused, and its order sizes."""
        asked_boot_ns = self._clock.boot_ns()
        time, rules = await asyncio.gather(self._ask(QueryServerTime()), self._ask(QueryInstruments()))
        if time is None or not self._time.take(asked_boot_ns, time):
            self._say("note: the venue's clock is not known; ours is taken for it")
        if rules is None or not self._take_rules(rules):
            self._say("note: the venue's order sizes are not known; positions are closed in one order each")

    def _take_rules(self, reply: VenueReply) -> bool:
        """Take the order sizes in force; return whether the reply has them."""
        if not isinstance(reply, Confirmed) or not isinstance(reply.value, Exchange):
            return False
        self._instruments = {each.symbol: each for each in reply.value.instruments}
        return True

    def _ask_rules(self) -> None:
        """Ask for the order sizes again, for the next attempt; one question at a time."""
        if not self._asks_rules:
            self._asks_rules = True
            self._venue.submit(QueryInstruments(), self._on_rules)

    def _on_rules(self, reply: VenueReply) -> None:
        self._asks_rules = False
        self._take_rules(reply)

    async def _ask(self, request: VenueRequest) -> VenueReply | None:
        reply: asyncio.Future[VenueReply] = asyncio.get_running_loop().create_future()

        def on_reply(value: VenueReply) -> None:
            if not reply.done():
                reply.set_result(value)

        self._venue.submit(request, on_reply)
        try:
            return await asyncio.wait_for(reply, PREPARE_S_MAX)
        except TimeoutError:
            return None

    def _plan(self) -> ExitPlan:
        account = self._account
        return ExitPlan(
            account.symbols, self._instruments, account.prefix, 0, self._sequence_base, account.slippage_bps_max
        )

    def _on_tick(self) -> None:
        now = self._clock.mono_ns()
        if self._exit.awaiting and now - self._moved_mono_ns > SILENCE_MS_MAX * NS_PER_MS:
            self._generation += 1
            self._apply(abandon(self._exit, self._plan(), now))
        self._apply(wake(self._exit, self._plan(), now))

    def _apply(self, step: Step) -> None:
        if step.requests or step.exit != self._exit:
            self._moved_mono_ns = self._clock.mono_ns()
        self._exit = step.exit
        self._record.stepped(step)
        if step.result is not None:
            self._say(
                f"attempt {self._record.report().attempts}: {step.result}, {step.cancelled} orders cancelled, "
                f"{step.closed} positions closed"
            )
            for dust in step.dust:
                self._say(f"left: {dust.text}, which no order closes")
        for request in step.requests:
            self._venue.submit(request, partial(self._on_reply, self._generation, request))

    def _on_reply(self, generation: int, request: Request, reply: VenueReply) -> None:
        if isinstance(request, PlaceOrder):
            self._say(self._record.answered(request, reply))
            if isinstance(reply, Rejected) and reply.advice is Advice.FILTER:
                self._ask_rules()
        if generation == self._generation:
            self._apply(answered(self._exit, request, reply, self._plan(), self._clock.mono_ns()))

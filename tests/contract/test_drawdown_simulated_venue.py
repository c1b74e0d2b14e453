"""Drawdown from the venue's own figures: the real syncer over real sockets, and the engine that hears it.

The market stands where the test puts it, and the services' clock moves only from one account snapshot to the next, so
that the time from a fall to the trip is exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from decimal import Decimal
from typing import Final

import aiohttp
import pytest
import uvloop
from msgspec.structs import replace

from grinder.adapters.binance.codec_user import decode_user
from grinder.adapters.binance.errors import advice_in
from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.clock import SystemClock
from grinder.core import engine
from grinder.core.events import Control, Effect, InputFrame, Received, Timer, Trip
from grinder.core.response import Grades
from grinder.model.account import AccountState
from grinder.model.control import Override, TripReason
from grinder.model.frames import Frame
from grinder.model.units import NS_PER_MS
from grinder.model.venue import AccountEvent, UserStreamUp
from grinder.services.reconcile import ReconcileConfig
from grinder.services.syncer import SyncerConfig, SyncerPorts, SyncerService
from grinder.settings import OrderTransport
from grinder.sim.wire import assembly
from tests.contract.venue_server import recorder
from tests.engine_world import config
from tests.fakes import FakeBoard, FakeClock
from tests.market import RecordingEvidence, RecordingLog, RecordingTelemetry
from tests.sim_kit import GENEROUS, KEY, SECRET, Client, client
from tests.syncer_world import EXECUTING, Audit, MemoryBudget

SYMBOL: Final = "BTCUSDT"
PRICE: Final = Decimal(60_000)
QTY: Final = Decimal("0.5")
INTERVAL_MS: Final = 2_000
"""The default of GRINDER_ACCOUNT_SYNC_INTERVAL_MS."""

CONFIRMATIONS: Final = 3
TRIP_MS_MAX: Final = CONFIRMATIONS * INTERVAL_MS
"""A fall is in the next snapshot, and confirmed by the third; answers of the venue take milliseconds more."""

ANSWER_S_MAX: Final = 40.0


class Watched:
    """A syncer and an engine; ``effects``: all that the engine decided."""

    def __init__(self, venue: Client) -> None:
        self.venue = venue
        self.clock = FakeClock(utc_ms=SystemClock().utc_ms())
        self.states: list[AccountState] = []
        self.effects: list[Effect] = []
        self.told: list[str] = []
        real, log = SystemClock(), RecordingLog()
        signer = Signer(KEY, SECRET, venue_utc_ms=real.utc_ms, recv_window_ms=5_000)
        wire = VenueConfig(venue.http, "", OrderTransport.REST)
        self.wire = BinanceVenue(wire, signer, clock=real, telemetry=recorder(), log=log)
        ports = SyncerPorts(
            self.wire,
            self,
            FakeBoard(),
            self.clock,
            RecordingTelemetry(),
            log,
            RecordingEvidence(),
            self,
            Audit(),
            MemoryBudget(self.clock),  # type: ignore[arg-type]
            advice_in,
            self.wire.weight_used,
        )
        reconcile = ReconcileConfig(False, 1_000, EXECUTING)
        rules = SyncerConfig(True, INTERVAL_MS, False, (SYMBOL,), "grd", False, Grades(), reconcile)
        self.syncer = SyncerService(ports, rules)
        now = self.clock.mono_ns()
        self.state = engine.initial_state(config(), now)
        self._step(Control(now, False, True, Override.NONE, 0, True))

    def send(self, frame: Frame) -> bool:
        """Give a frame of the syncer to the engine."""
        if isinstance(frame, AccountState):
            self.states.append(frame)
        if isinstance(frame, InputFrame):
            self._step(Received(self.clock.mono_ns(), frame))
        return True

    def renew(self, why: str) -> None:
        """There is no stream."""

    def _step(self, event: object) -> None:
        self.state, effects = engine.step(self.state, event)  # type: ignore[arg-type]
        self.effects.extend(effects)

    async def look(self) -> Decimal:
        """Let one interval pass and the next snapshot come; return the equity in it."""
        before = self.states[-1].snapshot_mono_ns if self.states else 0
        self.clock.advance_ms(INTERVAL_MS)
        async with asyncio.timeout(ANSWER_S_MAX):
            while not self.states or self.states[-1].snapshot_mono_ns <= before:
                self.syncer.on_timer()
                await asyncio.sleep(0.002)
        self._step(Timer(self.clock.mono_ns(), self.clock.utc_ms()))
        return self.states[-1].balance.equity

    async def mark(self, equity_fall: str) -> None:
        """Move the market so that the account has lost this fraction of its equity."""
        price = PRICE - Decimal(equity_fall) * self.states[0].balance.equity / QTY
        await self.market(price)

    async def market(self, price: Decimal) -> None:
        top = {"bid": str(price), "bid_qty": "5", "ask": str(price + Decimal("0.10")), "ask_qty": "5"}
        status, answer = await self.venue.post("/sim/market", {"symbol": SYMBOL, "mark": str(price), **top})
        assert status == 200, answer

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Give the account's events to the syncer while the block runs."""
        status, answer = await self.venue.signed("POST", "/fapi/v1/listenKey")
        assert status == 200, answer
        url = f"{self.venue.http.replace('http', 'ws')}/private/ws?listenKey={answer['listenKey']}"
        async with self.venue.session.ws_connect(url) as socket:
            listener = asyncio.create_task(self._listen(socket))
            self.syncer.on_user_event(UserStreamUp())
            await self.look()
            yield
            listener.cancel()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            told = decode_user(message.data.encode())
            if isinstance(told, AccountEvent):
                # The services' clock is ahead of the venue's by all the intervals that passed in no time.
                self.syncer.on_user_event(replace(told, event_utc_ms=self.clock.utc_ms()))
                self.told.append(told.reason)

    async def transfer(self, amount: str, *, heard: bool) -> None:
        """Put money in, or take it out; ``heard``: wait until the stream has told the syncer."""
        status, answer = await self.venue.post("/sim/transfer", {"amount": amount})
        assert status == 200, answer
        async with asyncio.timeout(ANSWER_S_MAX):
            while heard and not self.told:
                await asyncio.sleep(0.002)

    def trips(self) -> list[TripReason]:
        return [effect.reason for effect in self.effects if isinstance(effect, Trip)]


def run(test: Callable[[Watched], Awaitable[None]]) -> None:
    """Run a test with an account that is long and has been looked at often enough."""

    async def main() -> None:
        rules = assembly.VenueConfig(symbols=(SYMBOL, "ETHUSDT"), tape="step", hold=True, limits=GENEROUS)
        async with client(rules) as venue:
            made = Watched(venue)
            await made.wire.start()
            try:
                made.syncer.on_start()
                await made.market(PRICE)
                order = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": str(QTY)}
                status, answer = await venue.signed("POST", "/fapi/v1/order", **order)
                assert status == 200, answer
                for _ in range(CONFIRMATIONS + 1):
                    await made.look()
                assert made.trips() == []
                await test(made)
            finally:
                await made.wire.close()

    uvloop.run(main())


def test_drawdown_when_the_account_really_loses_a_quarter_then_tripped_within_three_snapshots() -> None:
    async def test(made: Watched) -> None:
        await made.mark("0.25")
        fell_mono_ns = made.clock.mono_ns()
        while not made.trips():
            assert made.clock.mono_ns() - fell_mono_ns < TRIP_MS_MAX * NS_PER_MS
            await made.look()
        assert made.trips() == [TripReason.DRAWDOWN_LIMIT]
        assert made.state.drawdown_now == pytest.approx(0.25, abs=0.01)

    run(test)


@pytest.mark.parametrize("bad", range(1, CONFIRMATIONS))
def test_drawdown_when_fewer_bad_snapshots_than_confirm_it_come_then_no_trip(bad: int) -> None:
    async def test(made: Watched) -> None:
        start = await made.look()
        for _ in range(3):
            await made.mark("0.25")
            for _ in range(bad):
                assert await made.look() < start * Decimal("0.8")
            await made.market(PRICE)
            for _ in range(CONFIRMATIONS):
                assert await made.look() == start
        assert made.trips() == []
        assert made.state.drawdown_now is not None
        assert made.state.drawdown_now < 0.01

    run(test)


def test_drawdown_when_it_stays_below_the_limit_then_no_trip() -> None:
    async def test(made: Watched) -> None:
        await made.mark("0.19")
        for _ in range(3 * CONFIRMATIONS):
            await made.look()
        assert made.trips() == []
        assert made.state.drawdown_now == pytest.approx(0.19, abs=0.01)

    run(test)


@pytest.mark.parametrize("heard", [True, False])
def test_drawdown_when_money_is_put_in_after_a_loss_then_it_stays_and_the_next_loss_trips(heard: bool) -> None:
    async def test(made: Watched) -> None:
        async with made.listening() if heard else nullcontext():
            await made.mark("0.19")
            for _ in range(CONFIRMATIONS):
                await made.look()
            lost = made.state.drawdown_now
            await made.transfer("90000", heard=heard)
            for _ in range(2 * CONFIRMATIONS):
                await made.look()
            assert made.state.drawdown_now == pytest.approx(lost)
            assert made.trips() == []
            await made.market(PRICE - (PRICE - Decimal(1)) / 2)
            for _ in range(CONFIRMATIONS):
                await made.look()
            assert made.trips() == [TripReason.DRAWDOWN_LIMIT]

    run(test)


def test_drawdown_when_money_is_taken_out_and_the_stream_tells_then_it_is_no_loss() -> None:
    async def test(made: Watched) -> None:
        async with made.listening():
            await made.mark("0.10")
            for _ in range(CONFIRMATIONS):
                await made.look()
            lost = made.state.drawdown_now
            await made.transfer("-4000", heard=True)
            for _ in range(2 * CONFIRMATIONS):
                await made.look()
            assert made.state.drawdown_now == pytest.approx(lost)
            assert made.trips() == []

    run(test)

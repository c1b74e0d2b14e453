"""The real syncer and the real executor with the real adapter against the simulated venue, in one loop, in fast time.

The services' monotonic clock runs ten times as fast as the venue's, so that a grace of five seconds takes half a one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec

from grinder.adapters.binance.errors import advice_in
from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.user_stream import UserStream
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.clock import SystemClock
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.remediation import Policy
from grinder.core.response import Grades
from grinder.model.account import AccountState, Mismatch
from grinder.model.board import Word
from grinder.model.frames import Envelope, Frame
from grinder.model.reasons import MismatchRule
from grinder.services.executor import ExecutorConfig, ExecutorService
from grinder.services.order_store import ExecutorPorts
from grinder.services.reconcile import ReconcileConfig
from grinder.services.syncer import SyncerConfig, SyncerPorts, SyncerService
from grinder.settings import OrderTransport
from grinder.sim.wire import assembly
from tests.account_world import MemoryJournal, limits
from tests.contract.venue_server import recorder
from tests.fakes import FakeBoard
from tests.market import RecordingLog, RecordingTelemetry, make_mark, make_top
from tests.sim_kit import GENEROUS, KEY, SECRET, Client, client
from tests.syncer_world import EXECUTING, Audit, Evidence, MemoryBudget

SPEED = 10
SYMBOL = "BTCUSDT"
STEP_S = 0.005
SETTLED_NS = 4 * 10**9
D = Decimal


class FastClock:
    """The host's clocks, the monotonic one SPEED times as fast."""

    def __init__(self) -> None:
        self._real = SystemClock()
        self._began_ns = self._real.mono_ns()

    def mono_ns(self) -> int:
        now = self._real.mono_ns()
        return self._began_ns + (now - self._began_ns) * SPEED

    def boot_ns(self) -> int:
        return self._real.boot_ns()

    def utc_ms(self) -> int:
        return self._real.utc_ms()


class Wire:
    """A Publisher that hands every frame to the other service, later on the same loop."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.deliver: Callable[[Envelope[Frame]], None] | None = None

    def send(self, frame: Frame) -> bool:
        self.frames.append(frame)
        if self.deliver is not None:
            envelope = Envelope(len(self.frames), 1, 0, 0, frame)
            asyncio.get_running_loop().call_soon(self.deliver, envelope)
        return True


class Link:
    """One process's way to the venue, as StreamControl too."""

    def __init__(self, port: int, clock: FastClock, log: RecordingLog, on_event: Callable[[Any], None]) -> None:
        real = SystemClock()
        signer = Signer(KEY, SECRET, venue_utc_ms=real.utc_ms, recv_window_ms=5_000)
        config = VenueConfig(f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/ws-fapi/v1", OrderTransport.REST)
        self.venue = BinanceVenue(config, signer, clock=real, telemetry=recorder(), log=log)
        url, rest = f"ws://127.0.0.1:{port}", self.venue.rest
        self.stream = UserStream(url, rest, on_event, name="user_stream", clock=real, telemetry=recorder(), log=log)
        self.renewals: list[str] = []

    def renew(self, why: str) -> None:
        self.renewals.append(why)
        self.stream.renew(why)


class TwoServices:
    """``venue``: a plain client of the venue, for whatever is done by hand."""

    def __init__(self, venue: Client, port: int, policy: Policy | None, grades: Grades) -> None:
        self.venue = venue
        self.clock = FastClock()
        self.board = FakeBoard()
        self.board.words[Word.ROLE] = ROLE_ACTIVE
        self.log = RecordingLog()
        self.telemetry = RecordingTelemetry()
        self.audit = Audit()
        self.account_wire, self.orders_wire = Wire(), Wire()
        self.syncer_link = Link(port, self.clock, self.log, lambda event: self.syncer.on_user_event(event))
        self.executor_link = Link(port, self.clock, self.log, lambda event: self.executor.on_user_event(event))
        rules = limits(symbols=frozenset({SYMBOL}))
        self.executor = ExecutorService(
            ExecutorPorts(
                self.executor_link.venue,
                MemoryJournal(),
                self.orders_wire,
                self.clock,
                RecordingTelemetry(),
                self.log,
                Evidence(),
                self.executor_link,
            ),
            self.board,
            ExecutorConfig(
                limits=rules,
                symbols=(SYMBOL,),
                prefix="grd",
                term=0,
                incarnation=9,
                run_id="run",
                sends=True,
                emergency_exit_enabled=False,
                emergency_slippage_bps=200,
                remedy_notional_max=D(10_000),
            ),
        )
        ports = SyncerPorts(
            self.syncer_link.venue,
            self.account_wire,
            self.board,
            self.clock,
            self.telemetry,
            self.log,
            Evidence(),
            self.syncer_link,
            self.audit,
            MemoryBudget(self.clock),  # type: ignore[arg-type]
            advice_in,
            self.syncer_link.venue.weight_used,
        )
        reconcile = ReconcileConfig(policy is not None, 1_000, policy or EXECUTING)
        self.syncer = SyncerService(ports, SyncerConfig(True, 1_000, False, (SYMBOL,), "grd", False, grades, reconcile))
        self.account_wire.deliver = self.executor.on_envelope
        self.orders_wire.deliver = self.syncer.on_envelope

    async def drive(self) -> None:
        """Give both services their timer, and the board a market, until cancelled."""
        self.executor.on_start()
        self.syncer.on_start()
        top = await self.venue.get(f"/fapi/v1/ticker/bookTicker?symbol={SYMBOL}")
        bid, ask = top["bidPrice"], top["askPrice"]
        while True:
            now = self.clock.mono_ns()
            mark = make_mark(self.clock.utc_ms(), symbol=SYMBOL, mono_ns=now)
            self.board.publish_mark(msgspec.structs.replace(mark, mark_price=D(bid)))
            self.board.publish_book(make_top(1, symbol=SYMBOL, bid=bid, ask=ask, mono_ns=now))
            self.executor.on_timer()
            self.syncer.on_timer()
            await asyncio.sleep(STEP_S)

    def account(self) -> AccountState | None:
        frames = [frame for frame in self.account_wire.frames if isinstance(frame, AccountState)]
        return frames[-1] if frames else None

    def mismatches(self) -> list[MismatchRule]:
        return [frame.rule for frame in self.account_wire.frames if isinstance(frame, Mismatch)]

    def blocked(self, reason: str) -> int:
        return self.telemetry.counts["grinder_reconcile_action_blocked_total", reason]

    async def held(self) -> Decimal:
        accounts = await self.venue.get("/sim/positions")
        return sum((D(row["qty"]) for account in accounts for row in account["positions"]), D(0))

    async def live(self) -> set[str]:
        return {row["clientOrderId"] for row in await self.venue.get("/sim/orders?limit=1000") if row["live"]}

    async def rest_by_hand(self, name: str) -> None:
        """Place an order that rests, as a person with the key does."""
        top = await self.venue.get(f"/fapi/v1/ticker/bookTicker?symbol={SYMBOL}")
        price = (D(top["bidPrice"]) * D("0.97")).quantize(D(1))
        status, answer = await self.venue.place(price=str(price), newClientOrderId=name)
        assert status == 200, answer

    async def trade_by_hand(self, side: str, qty: str) -> None:
        order = {"symbol": SYMBOL, "side": side, "type": "MARKET", "quantity": qty}
        status, answer = await self.venue.signed("POST", "/fapi/v1/order", **order)
        assert status == 200, answer

    async def until(self, condition: Callable[[], object | Coroutine[Any, Any, object]], what: str) -> None:
        """Wait for a condition, for at most WAIT_S."""
        async with asyncio.timeout(WAIT_S):
            while True:
                value = condition()
                if asyncio.iscoroutine(value):
                    value = await value
                if value:
                    return
                await asyncio.sleep(STEP_S)

    async def agreed(self) -> None:
        """Wait until everything is known, agrees, and has for a while."""
        since = self.clock.mono_ns()

        def settled() -> bool:
            nonlocal since
            state = self.account()
            if state is None or not state.reconciled:
                since = self.clock.mono_ns()
            return self.clock.mono_ns() - since > SETTLED_NS

        await self.until(settled, "settled")


WAIT_S = 60.0
"""Bound of every wait, seconds: a host may be busy with other tests."""


@asynccontextmanager
async def two_services(policy: Policy | None = None, grades: Grades | None = None) -> AsyncIterator[TwoServices]:
    """Run a venue whose market stands still, and both services; they agree when this begins."""
    async with client(assembly.VenueConfig(symbols=(SYMBOL, "ETHUSDT"), limits=GENEROUS)) as venue:
        port = int(venue.http.rpartition(":")[2])
        await venue.post("/sim/tape", {"speed": 0})
        services = TwoServices(venue, port, policy, grades or Grades())
        links = (services.syncer_link, services.executor_link)
        for link in links:
            await link.venue.start()
        tasks = [asyncio.create_task(link.stream.run()) for link in links]
        tasks.append(asyncio.create_task(services.drive()))
        try:
            await services.agreed()
            yield services
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for link in links:
                await link.venue.close()

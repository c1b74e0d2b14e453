"""An account in the market at the simulated venue, and the two ways out of it: the executor's and ``grinder exit``'s.

Both use the real adapter over real sockets; the executor is the real service with the real user stream. The market
stands still, so what is left of a position is what the exit left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from enum import StrEnum
from itertools import count
from typing import Any, Final

import msgspec

from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.user_stream import UserStream
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.binance.venue_time import OwnTime, TimedVenue
from grinder.adapters.clock import SystemClock
from grinder.adapters.flatten import Account, Flatten
from grinder.core.emergency import Result
from grinder.core.exit_record import exit_file
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.model.board import Word
from grinder.model.control import Override
from grinder.model.venue import UserEvent
from grinder.services.executor import ExecutorConfig, ExecutorService
from grinder.services.order_store import ExecutorPorts
from grinder.services.recovery import HEDGE_MODE
from grinder.services.venue_facts import VenueFacts
from grinder.settings import OrderTransport
from grinder.sim.wire import assembly
from tests.account_world import MemoryJournal, limits
from tests.contract.venue_server import recorder
from tests.fakes import FakeBoard
from tests.market import RecordingEvidence, RecordingLog, RecordingTelemetry
from tests.sim_kit import GENEROUS, KEY, SECRET, Client, client

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
SIZES: Final = {"BTCUSDT": "0.200", "ETHUSDT": "0.200"}
PRICES: Final = {"BTCUSDT": "60000.00", "ETHUSDT": "3000.00"}
READY_S_MAX: Final = 120.0
LEAVES_S_MAX: Final = 150.0
"""Bounds for a machine that has other things to do, seconds."""

TICK_S: Final = 0.01
READY_FOR_AN_EXIT: Final = ("no account snapshot yet", HEDGE_MODE)
SLIPPAGE_BPS: Final = 200
OPERATIONS: Final = (
    "orders.open",
    "algo.open",
    "positions",
    "orders.cancel_all",
    "algo.cancel_all",
    "order.place",
)
"""Every request that an exit makes."""


Fault = dict[str, object]
"""One body of ``POST /sim/faults``."""


class Way(StrEnum):
    """Who leaves."""

    EXECUTOR = "executor"
    COMMAND = "command"


class Stand:
    """One account at one venue. ``hedge``: its position mode."""

    def __init__(self, venue: Client, hedge: bool) -> None:
        self.venue = venue
        self.hedge = hedge
        self._numbers = count(1)

    async def market(self, symbol: str, *, price: str = "", qty: str = "5", mark: str = "") -> None:
        """Let a symbol have this market."""
        bid = Decimal(price or PRICES[symbol])
        top = {"bid": str(bid), "bid_qty": qty, "ask": str(bid + Decimal("0.10")), "ask_qty": qty}
        status, answer = await self.venue.post("/sim/market", {"symbol": symbol, "mark": mark or str(bid), **top})
        assert status == 200, answer

    async def enter(self) -> None:
        """Hold a long and a short position, in hedge mode both also on one symbol; beside each a resting closing order
        of its full size, and a conditional order.
        """
        for symbol in SYMBOLS:
            await self.market(symbol)
        if self.hedge:
            await self._do("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
        held = [("BTCUSDT", "BUY"), ("ETHUSDT", "SELL"), *([("BTCUSDT", "SELL")] if self.hedge else [])]
        for symbol, side in held:
            mode = {"positionSide": "LONG" if side == "BUY" else "SHORT"} if self.hedge else {}
            only = {} if self.hedge else {"reduceOnly": "true"}
            away = "SELL" if side == "BUY" else "BUY"
            price = str(Decimal(PRICES[symbol]) * (Decimal("1.02") if away == "SELL" else Decimal("0.98")))
            order = {"symbol": symbol, "quantity": SIZES[symbol], **mode}
            await self._order(side=side, type="MARKET", **order)
            await self._order(side=away, type="LIMIT", timeInForce="GTC", price=price, **order, **only)
        stop = {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "side": "SELL", "triggerPrice": "100.00"}
        mode = {"positionSide": "LONG"} if self.hedge else {}
        await self._do("POST", "/fapi/v1/algoOrder", symbol="BTCUSDT", quantity=SIZES["BTCUSDT"], **stop, **mode)
        assert await self.truth() == (len(held) + 1, len(held))

    async def truth(self) -> tuple[int, int]:
        """Return how many orders of either kind are open and positions held, as the venue knows."""
        orders = [row for row in await self.venue.get("/sim/orders?limit=1000") if row["live"]]
        status, waiting = await self.venue.signed("GET", "/fapi/v1/openAlgoOrders")
        assert status == 200, waiting
        positions = [row for account in await self.venue.get("/sim/positions") for row in account["positions"]]
        return len(orders) + len(waiting), sum(Decimal(row["qty"]) != 0 for row in positions)

    async def put_in_force(self, faults: Sequence[Fault]) -> None:
        """Let the venue do these from now on."""
        for fault in faults:
            status, answer = await self.venue.post("/sim/faults", fault)
            assert status == 200, answer

    async def mend(self) -> None:
        """End every fault."""
        async with self.venue.session.delete(f"{self.venue.http}/sim/faults") as reply:
            assert reply.status == 200

    async def unmet(self) -> list[Any]:
        """Return the rules of requests that have not acted as often as they should."""
        return [rule for rule in (await self.venue.get("/sim/faults"))["rules"] if rule.get("op")]

    async def leave(
        self, way: Way, *faults: Fault, early: bool = False, syncer_lives: bool = True
    ) -> list[dict[str, Any]]:
        """Leave under faults; return the evidence of every attempt, or of the whole command.

        ``early``: the faults are there before the executor listens; otherwise they come right before the exit begins.
        ``syncer_lives``: otherwise it measures the venue's clock no more once the executor is ready.
        """
        if early:
            await self.put_in_force(faults)
            faults = ()
        return await (self._by_executor(faults, syncer_lives) if way is Way.EXECUTOR else self._by_command(faults))

    async def _by_command(self, faults: Sequence[Fault]) -> list[dict[str, Any]]:
        await self.put_in_force(faults)
        clock, lines = SystemClock(), list[str]()
        account = Account(self.venue.http, KEY, SECRET, 5_000, ("BTCUSDT",), "grd", SLIPPAGE_BPS)
        began = clock.utc_ms()
        report = await Flatten(account, clock, lines.append).run(LEAVES_S_MAX)
        return [msgspec.json.decode(exit_file(report, "test", "operator_command", began, clock.utc_ms()).text)]

    async def _by_executor(self, faults: Sequence[Fault], syncer_lives: bool) -> list[dict[str, Any]]:
        async with executor(self.venue) as running:
            running.syncer_lives = syncer_lives
            await self.put_in_force(faults)
            running.board.write(Word.OVERRIDE, (1 << 8) | Override.EMERGENCY.value)
            async with asyncio.timeout(LEAVES_S_MAX):
                while not running.results() or running.results()[-1] is not Result.SUCCESS:
                    await asyncio.sleep(TICK_S)
            return running.said()

    async def _order(self, **order: object) -> None:
        await self._do("POST", "/fapi/v1/order", newClientOrderId=f"mine-{next(self._numbers)}", **order)

    async def _do(self, method: str, path: str, **parameters: object) -> None:
        status, answer = await self.venue.signed(method, path, **parameters)
        assert status == 200, answer


class RunningExecutor:
    """The executor as its process runs it, and the syncer's measuring of the venue's clock."""

    def __init__(self, venue: Client) -> None:
        self.board = FakeBoard()
        self.board.words[Word.ROLE] = ROLE_ACTIVE
        self.evidence = RecordingEvidence()
        self.log = RecordingLog()
        self.clock = SystemClock()
        telemetry = RecordingTelemetry()
        time = OwnTime(self.clock, self.board)
        signer = Signer(
            KEY,
            SECRET,
            venue_utc_ms=time.venue_utc_ms,
            recv_window_ms=5_000,
        )
        config = VenueConfig(venue.http, f"{venue.ws}/ws-fapi/v1", OrderTransport.WS_API)
        self.wire = BinanceVenue(config, signer, clock=self.clock, telemetry=recorder(), log=self.log)
        self.stream = UserStream(
            venue.ws,
            self.wire.rest,
            self._on_user_event,
            name="user_stream",
            clock=self.clock,
            telemetry=recorder(),
            log=self.log,
        )
        self.facts = VenueFacts(self.wire, self.board, self.clock, telemetry, self.log, SYMBOLS)
        self.syncer_lives = True
        venue = TimedVenue(self.wire, time)
        ports = ExecutorPorts(
            venue, MemoryJournal(), _Nobody(), self.clock, telemetry, self.log, self.evidence, self.stream
        )
        self.service = ExecutorService(
            ports,
            self.board,
            ExecutorConfig(
                limits=limits(symbols=frozenset(SYMBOLS)),
                symbols=("BTCUSDT",),
                prefix="grd",
                term=0,
                incarnation=9,
                run_id="run",
                sends=True,
                emergency_exit_enabled=True,
                emergency_slippage_bps=SLIPPAGE_BPS,
            ),
        )

    def said(self) -> list[dict[str, Any]]:
        """Return the evidence so far, oldest first."""
        return [msgspec.json.decode(text) for text in self.evidence.files.values()]

    def results(self) -> list[Result]:
        """Return how the attempts so far ended."""
        return [Result(each["result"]) for each in self.said()]

    async def drive(self) -> None:
        """Give the service its timer until cancelled."""
        self.service.on_start()
        while True:
            if self.syncer_lives:
                self.facts.on_timer()
            self.service.on_timer()
            await asyncio.sleep(TICK_S)

    def _on_user_event(self, event: UserEvent) -> None:
        self.service.on_user_event(event)


class _Nobody:
    """A channel that nobody reads."""

    def send(self, frame: object) -> bool:
        return True


@asynccontextmanager
async def executor(venue: Client) -> AsyncIterator[RunningExecutor]:
    """Run an executor; its stream is up and the account was read when this begins."""
    made = RunningExecutor(venue)
    await made.wire.start()
    tasks = [asyncio.create_task(made.stream.run()), asyncio.create_task(made.drive())]
    try:
        async with asyncio.timeout(READY_S_MAX):
            while made.service.readiness() not in READY_FOR_AN_EXIT:
                await asyncio.sleep(TICK_S)
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.wire.close()


@asynccontextmanager
async def stand(hedge: bool) -> AsyncIterator[Stand]:
    """Run a venue whose market stands still, with an account in it."""
    config = assembly.VenueConfig(symbols=SYMBOLS, tape="step", hold=True, limits=GENEROUS)
    async with client(config) as venue:
        made = Stand(venue, hedge)
        await made.enter()
        yield made

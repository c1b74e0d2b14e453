"""An account sync beside others behind one address: an exit finds the weight it needs, at a venue with its real limits.

Each process counts for itself; what the others used it knows from the venue's answers alone. The venue's minute begins
with the test, so that no new one comes to the rescue; the sync's own time is virtual.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import uvloop

from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.clock import SystemClock
from grinder.adapters.flatten import Account, Flatten
from grinder.core.account import Snapshot
from grinder.core.emergency import Result
from grinder.core.venue_budget import REGULAR_SHARE, SWEEP_MS, WEIGHT_PER_MIN
from grinder.model.venue import QueryOpenOrders, VenueReply, VenueRequest
from grinder.services.snapshots import SnapshotReader
from grinder.settings import OrderTransport
from grinder.sim.wire import assembly
from tests.contract.venue_server import eventually, recorder
from tests.fakes import FakeClock
from tests.market import RecordingLog
from tests.sim_kit import KEY, SECRET, running

SYMBOLS = ("BTCUSDT", "ETHUSDT")
INTERVAL_MS = 500
"""As often as an operator may ever ask, and more than two symbols can pay for."""
MINUTE_MS = 60_000
EXIT_S_MAX = 30.0
LEFT_MS = 4_000
"""Of a minute whose weight is used up: what an exit waits."""


class SetClock(SystemClock):
    """The wall clock, set so that so much is left of a minute when it is made."""

    def __init__(self, left_ms: int) -> None:
        self._ahead_ms = 2 * MINUTE_MS - left_ms - super().utc_ms() % MINUTE_MS

    def leave(self, left_ms: int) -> None:
        """Go on to where so much is left of this minute."""
        self._ahead_ms += MINUTE_MS - self.utc_ms() % MINUTE_MS - left_ms

    def utc_ms(self) -> int:
        return super().utc_ms() + self._ahead_ms


class Party:
    """One process behind the address."""

    def __init__(self, url: str, clock: SetClock) -> None:
        signer = Signer(KEY, SECRET, venue_utc_ms=clock.utc_ms, recv_window_ms=5_000)
        config = VenueConfig(url, "", OrderTransport.REST)
        self.wire = BinanceVenue(config, signer, clock=clock, telemetry=recorder(), log=RecordingLog())
        self.connected = True
        self.asked: list[VenueRequest] = []
        self.answered = 0

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        def take(reply: VenueReply) -> None:
            self.answered += 1
            on_reply(reply)

        self.asked.append(request)
        self.wire.submit(request, take)

    async def settle(self) -> None:
        await eventually(lambda: self.answered == len(self.asked))


class Sync(Party):
    """The syncer's reader of snapshots."""

    def __init__(self, url: str, clock: SetClock) -> None:
        super().__init__(url, clock)
        self.time = FakeClock()
        self.snapshots: list[Snapshot] = []
        self.errors: list[str] = []
        self.reader = SnapshotReader(
            self,
            self.time,
            SYMBOLS,
            INTERVAL_MS,
            venue_utc_ms=clock.utc_ms,
            weight_used=self.wire.weight_used,
            on_snapshot=self.snapshots.append,
            on_mode=lambda _: None,
            on_error=lambda reason, _: self.errors.append(reason),
        )

    async def run(self, milliseconds: int) -> int:
        """Let virtual time pass; return how many snapshots it brought."""
        before = len(self.snapshots)
        for _ in range(milliseconds // INTERVAL_MS):
            self.time.advance_ms(INTERVAL_MS)
            self.reader.on_timer()
            await self.settle()
        return len(self.snapshots) - before


async def refused_for_limits(url: str) -> list[int]:
    """Return the statuses of what the venue refused for its limits, in order."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/sim/requests?limit=100000") as response:
        rows: list[dict[str, Any]] = await response.json()
    return [row["http_status"] for row in rows if row["http_status"] in (418, 429)]


def flatten(url: str, clock: SetClock) -> Flatten:
    return Flatten(Account(url, KEY, SECRET, 5_000, SYMBOLS, "grd", 200), clock, lambda _: None)


def test_exit_when_the_account_is_read_often_and_others_use_the_weight_too_then_it_is_never_refused() -> None:
    async def test() -> None:
        clock = SetClock(MINUTE_MS)
        rules = assembly.VenueConfig(symbols=SYMBOLS, tape="step", hold=True)
        assert rules.limits.weight_1m == WEIGHT_PER_MIN
        async with running(rules, clock) as server:
            url = f"http://127.0.0.1:{server.port}"
            sync, other = Sync(url, clock), Party(url, clock)
            await sync.wire.start()
            await other.wire.start()
            try:
                assert await sync.run(10_000) == 10_000 // INTERVAL_MS
                while other.wire.weight_used() < REGULAR_SHARE:
                    other.submit(QueryOpenOrders(), lambda _: None)
                    await other.settle()
                assert await sync.run(2 * SWEEP_MS) <= 7
                assert sync.reader.stretched
                report = await flatten(url, clock).run(EXIT_S_MAX)
                assert report.result is Result.SUCCESS
                assert await refused_for_limits(url) == []
                assert sync.errors == []
            finally:
                await sync.wire.close()
                await other.wire.close()

    uvloop.run(test())


def test_exit_when_the_weight_of_the_minute_is_used_up_then_it_waits_for_the_next_one_and_earns_no_ban() -> None:
    async def test() -> None:
        clock = SetClock(MINUTE_MS)
        async with running(assembly.VenueConfig(symbols=SYMBOLS, tape="step", hold=True), clock) as server:
            url = f"http://127.0.0.1:{server.port}"
            other = Party(url, clock)
            await other.wire.start()
            try:
                while other.wire.weight_used() < 1.0:
                    other.submit(QueryOpenOrders(for_exit=True), lambda _: None)
                    await other.settle()
                clock.leave(LEFT_MS)
                report = await flatten(url, clock).run(EXIT_S_MAX)
                assert report.result is Result.SUCCESS
                refused = await refused_for_limits(url)
                assert refused, "the minute was over before the exit began"
                assert set(refused) == {429}
                assert report.attempts == 2
            finally:
                await other.wire.close()

    uvloop.run(test())

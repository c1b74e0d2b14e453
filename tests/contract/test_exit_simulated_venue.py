"""`grinder exit`'s own legs against the simulated venue: flat and no order open, in both position modes, under faults.

Invariant: success is reported only where the venue's ground truth has no position and no open order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from typing import Any

import aiohttp
import pytest
import uvloop

from grinder.adapters.binance.sign import Signer
from grinder.adapters.clock import SystemClock
from grinder.adapters.flatten import Account, Flatten
from grinder.core.emergency import Result
from grinder.sim.wire import assembly

SYMBOLS = ("BTCUSDT", "ETHUSDT")
SIZES = {"BTCUSDT": "0.010", "ETHUSDT": "0.200"}
OPERATIONS = ("orders.open", "positions", "orders.cancel_all", "order.place")
TIMEOUT_S = 60.0
FAULTS = (("drop_before", False), ("drop_after", True), ("timeout_executed", False), ("internal", True))
"""Kinds of fault, each in one of the two position modes; an exit under them takes some seconds."""


class Rig:
    """A venue with an account in the market."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http
        self.lines: list[str] = []
        self._numbers = count(1)
        self._signer = Signer("sim-key", "sim-secret", venue_utc_ms=SystemClock().utc_ms, recv_window_ms=5_000)

    async def post(self, path: str, **parameters: str | int) -> None:
        query = self._signer.signed_query(parameters)
        async with self.http.post(f"{self.url}{path}?{query}", headers={"X-MBX-APIKEY": "sim-key"}) as response:
            assert response.status == 200, await response.text()

    async def signed_get(self, path: str) -> Any:
        query = self._signer.signed_query({})
        async with self.http.get(f"{self.url}{path}?{query}", headers={"X-MBX-APIKEY": "sim-key"}) as response:
            return await response.json()

    async def get(self, path: str) -> Any:
        async with self.http.get(f"{self.url}{path}") as response:
            return await response.json()

    async def fault(self, **rule: object) -> None:
        async with self.http.post(f"{self.url}/sim/faults", json=rule) as response:
            assert response.status == 200, await response.text()

    async def enter(self, hedge: bool) -> None:
        """Hold positions, long and short, with a resting order and a full-size closing order beside them."""
        if hedge:
            await self.post("/fapi/v1/positionSide/dual", dualSidePosition="true")
        for symbol, side in zip(SYMBOLS, ("BUY", "SELL"), strict=True):
            mode = {"positionSide": "LONG" if side == "BUY" else "SHORT"} if hedge else {}
            away = "SELL" if side == "BUY" else "BUY"
            order = {"symbol": symbol, "quantity": SIZES[symbol], **mode}
            await self.post("/fapi/v1/order", side=side, type="MARKET", newClientOrderId=self._name(), **order)
            top = await self.get(f"/fapi/v1/ticker/bookTicker?symbol={symbol}")
            factor = Decimal("1.02") if away == "SELL" else Decimal("0.98")
            price = str((Decimal(top["bidPrice"]) * factor).quantize(Decimal(1)))
            closing = {} if hedge else {"reduceOnly": "true"}
            limit = {"type": "LIMIT", "timeInForce": "GTC", "price": price, **order}
            await self.post("/fapi/v1/order", side=away, newClientOrderId=self._name(), **limit, **closing)

    async def truth(self) -> tuple[int, int]:
        """Return how many orders are open and positions held, as the venue knows."""
        orders = [row for row in await self.get("/sim/orders?limit=1000") if row["live"]]
        positions = [row for account in await self.get("/sim/positions") for row in account["positions"]]
        return len(orders), sum(Decimal(row["qty"]) != 0 for row in positions)

    def flatten(self) -> Flatten:
        account = Account(self.url, "sim-key", "sim-secret", 5_000, ("BTCUSDT",), "grd", 200)
        return Flatten(account, SystemClock(), self.lines.append)

    def _name(self) -> str:
        return f"mine-{next(self._numbers)}"


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    server = assembly.build_server(assembly.VenueConfig(port=0, symbols=SYMBOLS), SystemClock())
    await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            yield Rig(f"http://127.0.0.1:{server.port}", http)
    finally:
        await server.stop()


async def leaves(hedge: bool, kind: str = "") -> list[str]:
    """Enter, let each operation of an exit fail twice, exit, and prove it at the venue; return what was said."""
    async with rig() as made:
        await made.enter(hedge)
        assert await made.truth() == (2, 2)
        for operation in OPERATIONS if kind else ():
            await made.fault(kind=kind, op=operation, count=2)
        outcome = await made.flatten().run(TIMEOUT_S)
        assert outcome.result is Result.SUCCESS, (outcome, made.lines)
        assert await made.truth() == (0, 0)
        rules = await made.get("/sim/faults")
        assert all(rule["acted"] == 2 for rule in rules["rules"]), rules
        return made.lines


@pytest.mark.parametrize("hedge", [False, True])
def test_exit_when_positions_and_closing_orders_stand_then_flat_on_every_symbol(hedge: bool) -> None:
    lines = uvloop.run(leaves(hedge))
    assert lines[-1] == "attempt 1: success, 2 orders cancelled, 2 positions closed"


@pytest.mark.parametrize(("kind", "hedge"), FAULTS)
def test_exit_when_the_venue_fails_each_kind_of_request_then_it_ends_flat_all_the_same(kind: str, hedge: bool) -> None:
    uvloop.run(leaves(hedge, kind))


def test_exit_when_conditional_orders_wait_then_they_are_gone_too() -> None:
    async def test() -> None:
        async with rig() as made:
            await made.enter(False)
            for symbol in SYMBOLS:
                stop = {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "side": "SELL", "triggerPrice": "100"}
                await made.post("/fapi/v1/algoOrder", symbol=symbol, quantity=SIZES[symbol], **stop)
            assert len(await made.signed_get("/fapi/v1/openAlgoOrders")) == 2
            outcome = await made.flatten().run(TIMEOUT_S)
            assert outcome.result is Result.SUCCESS, made.lines
            assert len(outcome.found_conditional) == 2
            assert outcome.cancelled == 4
            assert await made.truth() == (0, 0)
            assert await made.signed_get("/fapi/v1/openAlgoOrders") == []

    uvloop.run(test())


def test_exit_when_market_orders_are_refused_for_the_price_limits_then_ioc_orders_close() -> None:
    async def test() -> None:
        async with rig() as made:
            await made.enter(False)
            await made.fault(kind="refuse", op="order.place", code=-4131, message="PERCENT_PRICE", count=2)
            outcome = await made.flatten().run(TIMEOUT_S)
            assert outcome.result is Result.SUCCESS, made.lines
            assert await made.truth() == (0, 0)
            assert [line.split()[1] for line in made.lines if line.startswith("sent")][:3] == [
                "MARKET",
                "MARKET",
                "LIMIT",
            ]

    uvloop.run(test())


def test_exit_when_the_clock_is_far_off_and_was_not_learned_at_first_then_measured_again_and_flat() -> None:
    async def test() -> None:
        async with rig() as made:
            await made.enter(False)
            await made.fault(kind="drop_before", op="time", count=1)
            await made.fault(kind="clock_skew", skew_ms=30_000)
            outcome = await made.flatten().run(TIMEOUT_S)
            assert outcome.result is Result.SUCCESS, made.lines
            assert any("clock is not known" in line for line in made.lines)
            assert await made.truth() == (0, 0)

    uvloop.run(test())


def test_exit_when_the_venue_does_nothing_then_no_success_is_claimed() -> None:
    async def test() -> None:
        async with rig() as made:
            await made.enter(False)
            await made.fault(kind="timeout_not_executed", op="order.place", count=0)
            outcome = await made.flatten().run(3.0)
            assert outcome.result is not Result.SUCCESS
            assert await made.truth() == (0, 2)
            assert len(outcome.found_positions) == 2

    uvloop.run(test())

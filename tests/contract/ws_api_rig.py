"""The WebSocket API client against a server of one test, on a clock that can be pushed forward."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import uvloop
from aiohttp import web

from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.ws_api import WsApi
from grinder.adapters.telemetry import Recorder
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import OrderType, PlaceOrder, VenueRequest
from tests.contract.venue_server import (
    API_SECRET,
    MessageHandler,
    Replies,
    SteadyClock,
    VenueServer,
    answer_order,
    eventually,
    recorder,
    running_server,
    signer,
)
from tests.market import RecordingLog

PLACE = PlaceOrder(
    "grd-0-1-b1", "BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal("9000.10"), Decimal("0.002"), TimeInForce.GTX, False
)


class MovingClock(SteadyClock):
    """A monotonic clock that can be pushed forward."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def mono_ns(self) -> int:
        return SteadyClock.mono_ns() + self.ahead_ns


class Rig:
    def __init__(self, server: VenueServer, life_s: float, secret: str = API_SECRET) -> None:
        self.server = server
        self.limits = Limits()
        self.telemetry: Recorder = recorder()
        self.log = RecordingLog()
        self.clock = MovingClock()
        self.api = WsApi(
            server.ws_api_url,
            signer(secret),
            clock=self.clock,
            limits=self.limits,
            telemetry=self.telemetry,
            log=self.log,
            life_s=life_s,
        )

    async def send(self, request: VenueRequest = PLACE) -> Replies:
        replies = Replies()
        assert self.api.send(request, replies)
        assert replies.values == [], "the answer came before send returned"
        return replies


@asynccontextmanager
async def rig(life_s: float, secret: str, on_message: MessageHandler) -> AsyncIterator[Rig]:
    async with running_server() as server:
        server.on_message = on_message
        made = Rig(server, life_s, secret)
        task = asyncio.create_task(made.api.run())
        try:
            await eventually(lambda: made.api.connected)
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def run(
    test: Callable[[Rig], Coroutine[Any, Any, None]],
    life_s: float = 3_600.0,
    secret: str = API_SECRET,
    on_message: MessageHandler = answer_order,
) -> None:
    async def main() -> None:
        async with rig(life_s, secret, on_message) as made:
            await test(made)

    uvloop.run(main())


async def silence(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    """Take the request and say nothing."""

"""Means to drive the simulated venue in tests: its core without I/O, or a real server on a free loopback port."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
from yarl import URL

from grinder.adapters.clock import SystemClock
from grinder.ports import Clock
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.floor import ExchangeConfig
from grinder.sim.exchange.operations import OPERATIONS
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.rate_limits import LimitTable
from grinder.sim.exchange.rules import BUILT_IN
from grinder.sim.exchange.venue import Outcome, Venue
from grinder.sim.wire.assembly import VenueConfig, build_server
from grinder.sim.wire.server import Server

KEY, SECRET = "sim-key", "sim-secret"
OTHER_KEY, OTHER_SECRET = "other-key", "other-secret"
WAIT_S = 30.0
"""Bound of every wait, seconds: a host may be busy with other tests."""

WINDOW_S = 10
"""The shortest window in which the venue counts orders and weight; a minute has whole ones of it."""

GENEROUS = LimitTable(weight_1m=10**9, orders_10s=10**9, orders_1m=10**9)
BY_NAME = {operation.name: operation for operation in OPERATIONS}


def sign(payload: str, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def recorded(name: str) -> Path:
    """Return a recorded file, or skip the test, loudly."""
    folder = Path(os.environ.get("GRINDER_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    path = folder / "binance_usdm" / name
    if not path.exists():
        pytest.skip(f"recorded venue data absent: {path} (set GRINDER_TEST_DATA)")
    return path


class Core:
    """A venue without wires, at a time the test sets. BTCUSDT and ETHUSDT, best prices 60000.00 x 60000.10."""

    def __init__(self, limits: LimitTable = GENEROUS, wallet: int = 10_000) -> None:
        secrets = {KEY: SECRET, OTHER_KEY: OTHER_SECRET}
        rules = [BUILT_IN["BTCUSDT"], BUILT_IN["ETHUSDT"]]
        self.exchange = Exchange(secrets, rules, ExchangeConfig(start_wallet=Decimal(wallet)))
        self.venue = Venue(self.exchange, secrets, limits, Random(7))
        self.now = 1_700_000_000_000
        self.top("60000.00", "5", "60000.10", "5")

    def top(self, bid: str, bid_qty: str, ask: str, ask_qty: str) -> None:
        sides = (Decimal(bid), Decimal(bid_qty)), (Decimal(ask), Decimal(ask_qty))
        self.exchange.on_top("BTCUSDT", *sides, self.exchange.markets["BTCUSDT"].tape.update_id + 1, self.now)

    def do(self, name: str, key: str = KEY, **params: object) -> Outcome:
        """Run an operation, correctly signed."""
        texts = {field: str(value) for field, value in params.items()}
        texts.setdefault("timestamp", str(self.now))
        payload = urlencode(texts)
        texts["signature"] = sign(payload, SECRET if key == KEY else OTHER_SECRET)
        return self.venue.execute(BY_NAME[name], key, Params(texts), (payload,), self.now)

    def limit(self, side: str, price: str, qty: str, key: str = KEY, **params: object) -> Outcome:
        wanted = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTC", "price": price}
        return self.do("order.place", key, **(wanted | {"quantity": qty} | params))

    def market(self, side: str, qty: str, key: str = KEY, **params: object) -> Outcome:
        wanted = {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": qty}
        return self.do("order.place", key, **(wanted | params))

    def said(self) -> list[tuple[str, str]]:
        """Return and clear (execution, status) of the order events so far."""
        events = [each.payload["o"] for each in self.exchange.outbox if each.name == "ORDER_TRADE_UPDATE"]
        self.exchange.outbox.clear()
        return [(event["x"], event["X"]) for event in events]

    def held(self, key: str = KEY) -> Decimal:
        return sum((each.qty for each in self.exchange.accounts[key].held()), Decimal(0))


@asynccontextmanager
async def running(config: VenueConfig, clock: Clock | None = None) -> AsyncIterator[Server]:
    """Run a venue on a free port. ``clock``: its time; this host's where none is given."""
    server = build_server(msgspec.structs.replace(config, port=0), clock or SystemClock())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Client:
    """A plain client of a running venue."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session = session
        self.http, self.ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"

    async def signed(self, method: str, path: str, *, body: bool = False, **params: object) -> tuple[int, Any]:
        text = urlencode({**params, "timestamp": int(time.time() * 1000)})
        text = f"{text}&signature={sign(text)}"
        return await self.raw(method, path, "" if body else text, text if body else "")

    async def raw(self, method: str, path: str, query: str = "", body: str = "", key: str = KEY) -> tuple[int, Any]:
        url = URL(f"{self.http}{path}" + (f"?{query}" if query else ""), encoded=True)
        headers = {"X-MBX-APIKEY": key} if key else {}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.session.request(method, url, data=body or None, headers=headers) as reply:
            return reply.status, await reply.json(content_type=None)

    async def place(self, **params: object) -> tuple[int, Any]:
        wanted = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.002"}
        return await self.signed("POST", "/fapi/v1/order", **(wanted | params))

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        async with self.session.post(f"{self.http}{path}", data=msgspec.json.encode(body)) as reply:
            return reply.status, await reply.json(content_type=None)

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.http}{path}") as reply:
            return await reply.json(content_type=None)

    async def listen_key(self) -> str:
        _, answer = await self.raw("POST", "/fapi/v1/listenKey")
        return str(answer["listenKey"])


def in_one_window(case: Callable[[], None]) -> None:
    """Run a case that counts with the venue; once more where it failed as a window ended meanwhile."""
    while True:
        window = time.time() // WINDOW_S
        try:
            return case()
        except AssertionError:
            if time.time() // WINDOW_S == window:
                raise


@asynccontextmanager
async def client(config: VenueConfig) -> AsyncIterator[Client]:
    """Run a venue and a client of it."""
    async with running(config) as server, aiohttp.ClientSession() as session:
        yield Client(session, server.port)


async def receive(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """Return the next JSON message, or fail after WAIT_S."""
    message = await asyncio.wait_for(socket.receive(), WAIT_S)
    assert message.type is aiohttp.WSMsgType.TEXT, message
    return msgspec.json.decode(message.data)


async def receive_event(socket: aiohttp.ClientWebSocketResponse, name: str) -> Any:
    """Return the next event of a name, skipping others."""
    while True:
        event = await receive(socket)
        if event.get("e") == name:
            return event


def ws_params(**params: object) -> dict[str, object]:
    """Return WebSocket API parameters, signed."""
    whole = {**params, "apiKey": KEY, "timestamp": int(time.time() * 1000)}
    whole["signature"] = sign("&".join(f"{name}={value}" for name, value in sorted(whole.items())))
    return whole

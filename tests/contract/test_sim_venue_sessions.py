"""Sessions of the simulated venue's WebSocket API: logging on with Ed25519, what it allows, and the limits' answers."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from grinder.sim.exchange.rate_limits import LimitTable
from grinder.sim.exchange.security import ApiKey
from grinder.sim.wire.assembly import VenueConfig
from grinder.sim.wire.sockets import SocketPace
from tests.sim_kit import GENEROUS, KEY, WAIT_S, Client, client, in_one_window, receive, ws_params

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = (
    PRIVATE.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
CONFIG = VenueConfig(tape="step", limits=GENEROUS, keys=(ApiKey("pair", public_key=PEM, account=KEY),))
ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "59000",
    "quantity": "0.01",
}

Case = Callable[[Client, ClientWebSocketResponse], Awaitable[None]]


def run(case: Case, config: VenueConfig = CONFIG, path: str = "/ws-fapi/v1") -> None:
    async def main() -> None:
        async with client(config) as one, one.session.ws_connect(f"{one.ws}{path}", autoping=False) as socket:
            await case(one, socket)

    asyncio.run(main())


def now() -> int:
    return int(time.time() * 1000)


def logon(**params: object) -> dict[str, object]:
    whole = {"apiKey": "pair", "timestamp": now(), **params}
    text = "&".join(f"{name}={value}" for name, value in sorted(whole.items()))
    return {**whole, "signature": base64.b64encode(PRIVATE.sign(text.encode())).decode()}


async def call(socket: ClientWebSocketResponse, method: str, params: dict[str, Any] | None = None) -> Any:
    await socket.send_json({"id": "x", "method": method, "params": params or {}})
    return await receive(socket)


def test_session_when_logged_on_then_orders_need_no_signature_until_it_is_logged_out() -> None:
    async def case(one: Client, socket: ClientWebSocketResponse) -> None:
        assert (await call(socket, "order.place", {**ORDER, "timestamp": now()}))["error"]["code"] == -2014
        result = (await call(socket, "session.logon", logon()))["result"]
        assert (result["apiKey"], result["authorizedSince"] > 0) == ("pair", True)
        assert (await call(socket, "order.place", {**ORDER, "timestamp": now()}))["status"] == 200
        assert (await call(socket, "order.place", ORDER))["error"]["code"] == -1102
        late = {**ORDER, "timestamp": now() - 6_000}
        assert (await call(socket, "order.place", late))["error"]["code"] == -1021
        assert (await call(socket, "session.status"))["result"]["apiKey"] == "pair"
        assert (await call(socket, "session.logout"))["result"]["apiKey"] is None
        assert (await call(socket, "order.place", {**ORDER, "timestamp": now()}))["error"]["code"] == -2014
        assert [each["account"] for each in await one.get("/sim/orders")] == [KEY]

    run(case)


def test_request_when_it_names_a_key_within_a_session_then_that_key_must_sign() -> None:
    async def case(one: Client, socket: ClientWebSocketResponse) -> None:
        await call(socket, "session.logon", logon())
        unsigned = {**ORDER, "timestamp": now(), "apiKey": KEY}
        assert (await call(socket, "order.place", unsigned))["error"]["code"] == -1102
        assert (await call(socket, "order.place", ws_params(**ORDER)))["status"] == 200

    run(case)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"apiKey": KEY, "timestamp": 1, "signature": "x"}, -4056),
        (logon() | {"signature": "AAAA"}, -1022),
        (logon(timestamp=1), -1021),
        (logon(recvWindow=60_001), -1131),
    ],
)
def test_logon_when_wrong_then_documented_code_and_the_session_stays_off(params: dict[str, Any], code: int) -> None:
    async def case(one: Client, socket: ClientWebSocketResponse) -> None:
        assert (await call(socket, "session.logon", params))["error"]["code"] == code
        assert (await call(socket, "session.status"))["result"]["apiKey"] is None

    run(case)


def test_rate_limits_when_not_wanted_then_left_out() -> None:
    async def case(one: Client, socket: ClientWebSocketResponse) -> None:
        assert "rateLimits" not in await call(socket, "ping")
        assert "rateLimits" in await call(socket, "ping", {"returnRateLimits": True})

    run(case, path="/ws-fapi/v1?returnRateLimits=false")


def test_limits_when_ignored_then_429_then_418_with_the_time_to_come_back_and_no_new_connection() -> None:
    table = LimitTable(weight_1m=6, ignored_429s=2, ban_ms=60_000)

    async def case(one: Client, socket: ClientWebSocketResponse) -> None:
        answers = [await call(socket, "ping") for _ in range(4)]
        assert [answer["status"] for answer in answers] == [200, 429, 429, 418]
        error = answers[-1]["error"]
        assert error["code"] == -1003
        assert "banned until" in error["msg"]
        assert 55_000 < error["data"]["retryAfter"] - error["data"]["serverTime"] <= 61_000
        async with one.session.get(f"{one.http}/fapi/v1/time") as reply:
            assert (reply.status, int(reply.headers["Retry-After"]) > 50) == (418, True)
        with pytest.raises(WSServerHandshakeError) as refused:
            await one.session.ws_connect(f"{one.ws}/ws-fapi/v1")
        assert refused.value.status == 418

    in_one_window(lambda: run(case, VenueConfig(tape="step", limits=table)))


def test_binary_message_when_it_is_json_then_answered_and_when_not_then_documented_code() -> None:
    async def case(one: Client, socket: ClientWebSocketResponse) -> None:
        await socket.send_bytes(b'{"id":5,"method":"ping"}')
        assert (await receive(socket))["id"] == 5
        await socket.send_bytes(b"\xff\xfe\x00")
        assert (await receive(socket))["error"]["code"] == -1100

    run(case)


async def until_closed(socket: ClientWebSocketResponse, *, answers: bool) -> tuple[int, int | None]:
    """Return how many pings came before the venue closed, and its close code."""
    pings = 0
    while True:
        message = await asyncio.wait_for(socket.receive(), WAIT_S)
        if message.type is WSMsgType.PING:
            pings += 1
            if answers:
                await socket.pong(message.data)
        elif message.type is not WSMsgType.TEXT:
            return pings, message.data


@pytest.mark.parametrize("path", ["/ws-fapi/v1", "/public/ws"])
def test_connection_when_pings_are_not_answered_then_cut_and_when_they_are_then_only_at_its_end(path: str) -> None:
    async def silent(one: Client, socket: ClientWebSocketResponse) -> None:
        assert (await until_closed(socket, answers=False))[1] == 1008

    async def alive(one: Client, socket: ClientWebSocketResponse) -> None:
        pings, code = await until_closed(socket, answers=True)
        assert (pings > 3, code) == (True, 1001)

    def paced(pong_s_max: float, life_s: float) -> VenueConfig:
        pace = SocketPace(ping_period_s=0.15, pong_s_max=pong_s_max, life_s=life_s)
        return VenueConfig(tape="step", limits=GENEROUS, pace=pace)

    run(silent, paced(0.5, 10 * WAIT_S), path)
    run(alive, paced(0.8, 2.0), path)

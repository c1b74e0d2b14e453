"""The simulated venue's WebSocket API over a real connection: replies, rate limits, faults, malformed calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import WSMsgType

from grinder.sim.exchange.operations import BY_WS_METHOD
from grinder.sim.wire.assembly import VenueConfig
from tests.sim_kit import GENEROUS, KEY, WAIT_S, Client, client, in_one_window, receive, sign, ws_params

Socket = aiohttp.ClientWebSocketResponse
CONFIG = VenueConfig(tape="step", limits=GENEROUS)
ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.002",
    "price": "59000",
}


def run(case: Callable[[Client, Socket], Awaitable[None]]) -> None:
    async def main() -> None:
        async with client(CONFIG) as one, one.session.ws_connect(f"{one.ws}/ws-fapi/v1") as socket:
            await case(one, socket)

    asyncio.run(main())


async def call(socket: Socket, method: str, request_id: object = 1, **params: object) -> Any:
    await socket.send_json({"id": request_id, "method": method, "params": ws_params(**params)})
    return await receive(socket)


def test_order_when_placed_amended_queried_and_cancelled_then_each_answers_with_rate_limits() -> None:
    async def case(one: Client, socket: Socket) -> None:
        placed = await call(socket, "order.place", "uuid-1", **ORDER, newClientOrderId="a")
        assert (placed["id"], placed["status"], placed["result"]["status"]) == ("uuid-1", 200, "NEW")
        assert "avgPrice" not in placed["result"]
        kinds = [(row["rateLimitType"], row["interval"], row["count"]) for row in placed["rateLimits"]]
        assert kinds == [("REQUEST_WEIGHT", "MINUTE", 5), ("ORDERS", "SECOND", 1), ("ORDERS", "MINUTE", 1)]
        named = {"symbol": "BTCUSDT", "origClientOrderId": "a"}
        amended = await call(socket, "order.modify", 2, **named, side="BUY", price="58000", quantity="0.003")
        assert (amended["result"]["price"], amended["result"]["origQty"]) == ("58000.00", "0.003")
        assert (await call(socket, "order.status", 3, **named))["result"]["avgPrice"] == "0"
        assert (await call(socket, "order.cancel", 4, **named))["result"]["status"] == "CANCELED"
        refused = await call(socket, "order.cancel", 5, **named)
        assert (refused["status"], refused["error"]["code"], refused["id"]) == (400, -2011, 5)
        assert refused["rateLimits"]

    in_one_window(lambda: run(case))


def test_numbers_when_sent_as_json_integers_and_booleans_then_read_like_texts() -> None:
    async def case(one: Client, socket: Socket) -> None:
        placed = await call(socket, "order.place", **(ORDER | {"price": 59000, "recvWindow": 4000}))
        assert placed["status"] == 200
        await call(socket, "order.place", **(ORDER | {"type": "MARKET", "price": "", "timeInForce": ""}))
        text = {**ws_params(**ORDER, reduceOnly=False)}
        text.pop("signature")
        text["signature"] = sign(
            "&".join(f"{k}={str(v).lower() if v is False else v}" for k, v in sorted(text.items()))
        )
        await socket.send_json({"id": 2, "method": "order.place", "params": text})
        assert (await receive(socket))["status"] == 200

    run(case)


def test_signature_when_over_percent_encoded_values_then_accepted_and_when_wrong_then_not() -> None:
    async def case(one: Client, socket: Socket) -> None:
        params = {
            name: value for name, value in ws_params(**ORDER, newClientOrderId="a:b/c").items() if name != "signature"
        }
        encoded = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in sorted(params.items()))
        await socket.send_json({"id": 1, "method": "order.place", "params": {**params, "signature": sign(encoded)}})
        assert (await receive(socket))["status"] == 200
        await socket.send_json({"id": 2, "method": "order.place", "params": {**params, "signature": sign("other")}})
        assert (await receive(socket))["error"]["code"] == -1022

    run(case)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nothing", -1100),
        ("[1]", -1100),
        ('{"id":1}', -1100),
        ('{"id":{},"method":"ping"}', -1100),
        ('{"id":1,"method":"order.dance"}', -1020),
        ('{"id":1,"method":"session.logon"}', -2014),
        ('{"id":1,"method":"session.logon","params":{"apiKey":"nobody"}}', -2015),
        ('{"id":1,"method":"session.logon","params":{"apiKey":"sim-key"}}', -4056),
        ('{"id":1,"method":"order.place"}', -2014),
        ('{"id":1,"method":"order.place","params":{"apiKey":"sim-key","x":[1]}}', -1100),
        ('{"id":1,"method":"order.place","params":{"apiKey":"sim-key"}}', -1102),
        ('{"id":1,"method":"order.place","params":[]}', -1100),
    ],
)
def test_call_when_malformed_then_documented_code_and_the_connection_lives(text: str, code: int) -> None:
    async def case(one: Client, socket: Socket) -> None:
        await socket.send_str(text)
        assert (await receive(socket))["error"]["code"] == code
        assert (await call(socket, "ping", 9))["id"] == 9

    run(case)


def test_every_method_when_called_then_answers() -> None:
    async def case(one: Client, socket: Socket) -> None:
        for number, method in enumerate(BY_WS_METHOD):
            answer = await call(socket, method, number, **ORDER)
            assert answer["id"] == number
            assert answer["status"] in (200, 400), answer
        assert (await call(socket, "session.status"))["result"]["apiKey"] is None

    run(case)


def test_listen_key_when_started_here_then_the_same_as_over_rest() -> None:
    async def case(one: Client, socket: Socket) -> None:
        await socket.send_json({"id": 1, "method": "userDataStream.start", "params": {"apiKey": KEY}})
        assert (await receive(socket))["result"]["listenKey"] == await one.listen_key()

    run(case)


@pytest.mark.parametrize(
    ("kind", "status"), [("timeout_executed", 408), ("overloaded", 503), ("unknown_executed", 503), ("delay", 200)]
)
def test_fault_when_it_answers_then_with_its_status(kind: str, status: int) -> None:
    async def case(one: Client, socket: Socket) -> None:
        await one.post("/sim/faults", {"kind": kind, "transport": "ws_api", "delay_ms": 5})
        answer = await call(socket, "order.place", **ORDER)
        assert answer["status"] == status
        assert ("error" in answer) is (status != 200)

    run(case)


@pytest.mark.parametrize(("kind", "orders"), [("drop_before", 0), ("drop_after", 1), ("reset_in_middle", 1)])
def test_fault_when_it_cuts_the_connection_then_no_answer_comes(kind: str, orders: int) -> None:
    async def case(one: Client, socket: Socket) -> None:
        await one.post("/sim/faults", {"kind": kind})
        await socket.send_json({"id": 1, "method": "order.place", "params": ws_params(**ORDER)})
        message = await asyncio.wait_for(socket.receive(), WAIT_S)
        assert message.type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)
        assert len(await one.get("/sim/orders")) == orders

    run(case)


def test_delayed_request_when_another_follows_then_the_other_is_answered_first() -> None:
    async def case(one: Client, socket: Socket) -> None:
        await one.post("/sim/faults", {"kind": "delay", "op": "order.place", "delay_ms": 200})
        await socket.send_json({"id": "slow", "method": "order.place", "params": ws_params(**ORDER)})
        await socket.send_json({"id": "quick", "method": "ping"})
        assert [(await receive(socket))["id"] for _ in range(2)] == ["quick", "slow"]

    run(case)

"""The simulated venue over real HTTP: every path, both ways to sign, headers, faults, malformed requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from grinder.sim.exchange.faults import KINDS
from grinder.sim.exchange.operations import BY_ROUTE
from grinder.sim.exchange.rate_limits import LimitTable
from grinder.sim.exchange.venue import Security
from grinder.sim.wire.assembly import VenueConfig
from tests.sim_kit import GENEROUS, KEY, WAIT_S, Client, client, in_one_window, sign

CONFIG = VenueConfig(tape="step", limits=GENEROUS)


def run(case: Callable[[Client], Awaitable[None]], config: VenueConfig = CONFIG) -> None:
    async def main() -> None:
        async with client(config) as one:
            await case(one)

    asyncio.run(main())


def test_every_path_when_asked_with_what_it_needs_then_answers_as_documented() -> None:
    """No path of the table gives a stack trace, an unknown path or a wrong signature."""
    params = {"symbol": "BTCUSDT", "quantity": "0.002", "price": "59000", "type": "LIMIT", "timeInForce": "GTC"}
    params |= {"side": "BUY", "leverage": "10", "countdownTime": "0", "dualSidePosition": "false", "batchOrders": "[]"}

    async def case(one: Client) -> None:
        for (method, path), operation in BY_ROUTE.items():
            if operation.security is Security.SIGNED:
                status, body = await one.signed(method, path, **params)
            else:
                status, body = await one.raw(method, path, urlencode({"symbol": "BTCUSDT"}))
            assert status in (200, 400), (method, path, status, body)
            if status == 400:
                assert body["code"] in (-1100, -1102, -1125, -4059, -4082), (method, path, body)

    run(case)


def test_order_when_signed_in_query_or_in_body_or_across_both_then_accepted() -> None:
    async def case(one: Client) -> None:
        assert (await one.place(price="59000"))[0] == 200
        wanted = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.002"}
        assert (await one.signed("POST", "/fapi/v1/order", body=True, price="59000", **wanted))[0] == 200
        query = urlencode(wanted)
        body = urlencode({"price": "59000", "timestamp": int(time.time() * 1000)})
        whole = f"{body}&signature={sign(query + body)}"
        assert (await one.raw("POST", "/fapi/v1/order", query, whole))[0] == 200
        with_ampersand = f"{body}&signature={sign(query + '&' + body)}"
        assert (await one.raw("POST", "/fapi/v1/order", query, with_ampersand))[1]["code"] == -1022

    run(case)


def test_parameter_when_in_query_and_body_then_the_query_wins() -> None:
    async def case(one: Client) -> None:
        query = urlencode({"symbol": "BTCUSDT", "price": "58000"})
        body = urlencode(
            {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.002", "price": "59000"}
            | {"timestamp": int(time.time() * 1000)}
        )
        _, answer = await one.raw("POST", "/fapi/v1/order", query, f"{body}&signature={sign(query + body)}")
        assert answer["price"] == "58000.00"

    run(case)


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "key", "status", "code"),
    [
        ("GET", "/fapi/v3/account", "", "", "", 401, -2014),
        ("GET", "/fapi/v3/account", "timestamp=1&signature=0", "", "nobody", 401, -2015),
        ("GET", "/fapi/v3/account", "", "", KEY, 400, -1102),
        ("GET", "/fapi/v3/account", "timestamp=1&timestamp=2", "", KEY, 400, -1101),
        ("GET", "/fapi/v3/account", "&".join(f"p{n}=1" for n in range(100)), "", KEY, 400, -1101),
        ("GET", "/fapi/v3/account", "timestamp=%ff%fe", "", KEY, 400, -1101),
        ("GET", "/fapi/v3/account", "timestamp=1&signature=%00", "", KEY, 400, -1022),
        ("GET", "/fapi/v3/account", "=&&%", "", KEY, 400, -1102),
        ("POST", "/fapi/v1/order", "", "{" * 1_000, KEY, 400, -1102),
        ("POST", "/fapi/v1/order", "", "x=" + "1" * 100_000, KEY, 400, -1101),
        ("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=7", "", "", 400, -1130),
        ("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=%C2%B2", "", "", 400, -1100),
        ("GET", "/fapi/v1/depth", "", "", "", 400, -1102),
        ("GET", "/fapi/v1/nothing", "", "", "", 404, -5000),
        ("PATCH", "/fapi/v1/order", "", "", KEY, 404, -5000),
        ("GET", "/elsewhere", "", "", "", 404, -1000),
    ],
)
def test_request_when_malformed_then_documented_code_and_never_a_trace(
    method: str, path: str, query: str, body: str, key: str, status: int, code: int
) -> None:
    async def case(one: Client) -> None:
        got_status, answer = await one.raw(method, path, query, body, key)
        assert (got_status, answer["code"]) == (status, code), answer
        assert "Traceback" not in str(answer)

    run(case)


def test_headers_when_requests_are_made_then_count_weight_and_orders() -> None:
    async def case(one: Client) -> None:
        await one.place(price="59000")
        await one.place(price="59000")
        text = urlencode({"timestamp": int(time.time() * 1000)})
        url = f"{one.http}/fapi/v3/balance?{text}&signature={sign(text)}"
        async with one.session.get(url, headers={"X-MBX-APIKEY": KEY}) as reply:
            assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "5"
            assert reply.headers["X-MBX-ORDER-COUNT-1M"] == "2"

    in_one_window(lambda: run(case))


def test_limits_when_reached_then_429_with_retry_after() -> None:
    async def case(one: Client) -> None:
        assert [(await one.place(price="59000"))[0] for _ in range(3)] == [200, 429, 429]
        async with one.session.get(f"{one.http}/fapi/v1/ticker/bookTicker") as reply:
            assert reply.status == 429
            assert int(reply.headers["Retry-After"]) > 0
            assert (await reply.json())["code"] == -1003

    limits = LimitTable(weight_1m=2, orders_10s=1, orders_1m=5)
    in_one_window(lambda: run(case, VenueConfig(tape="step", limits=limits)))


EXECUTED_STATUS = {kind: (200 if rule.answer == "normal" else rule.http_status) for kind, rule in KINDS.items()}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("silence")])
def test_fault_when_set_then_the_client_sees_it_once_and_ground_truth_tells_what_was_done(kind: str) -> None:
    async def case(one: Client) -> None:
        await one.post("/sim/faults", {"kind": kind, "op": "order.place", "delay_ms": 20})
        status: int | None = None
        try:
            status, _ = await one.place(price="59000", newClientOrderId="a")
        except (aiohttp.ClientError, ValueError):
            if KINDS[kind].answer in ("garbage", "unreadable"):
                status = KINDS[kind].http_status
        assert status == (EXECUTED_STATUS[kind] or None)
        orders = await one.get("/sim/orders")
        assert [each["clientOrderId"] for each in orders] == (["a"] if KINDS[kind].executes else [])
        record = (await one.get("/sim/requests"))[-1]
        assert (record["fault"], record["client_id"], record["executed"]) == (kind, "a", KINDS[kind].executes)
        assert (await one.place(price="59000", newClientOrderId="b"))[0] == 200

    run(case)


def test_silence_when_set_then_the_request_is_never_answered_but_done() -> None:
    async def case(one: Client) -> None:
        await one.post("/sim/faults", {"kind": "silence_after"})
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(one.place(price="59000"), 0.3)
        assert len(await one.get("/sim/orders")) == 1

    run(case)


def test_admin_when_asked_wrongly_then_400_and_nothing_changes() -> None:
    async def case(one: Client) -> None:
        wrong: list[tuple[str, Any]] = [
            ("/sim/faults", {"kind": "nonsense"}),
            ("/sim/faults", {"kind": "delay", "probability": 2}),
            ("/sim/faults", []),
            ("/sim/snapshots", {"lag_ms": -1}),
            ("/sim/streams", {"silent": 5}),
            ("/sim/tape", {}),
        ]
        for path, body in wrong:
            assert (await one.post(path, body))[0] == 400, (path, body)
        assert (await one.get("/sim/faults"))["rules"] == []
        assert (await one.get("/sim/requests?since=abc"))["code"] == -1130

    run(case)


def test_ground_truth_when_a_trade_happened_then_every_view_agrees() -> None:
    async def case(one: Client) -> None:
        await one.signed("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.004")
        state, trades = await one.get("/sim/state"), await one.get("/sim/trades")
        account = (await one.get("/sim/positions"))[0]
        risk = (await one.signed("GET", "/fapi/v3/positionRisk"))[1]
        assert state["counts"]["trades"] == len(trades) == 1
        assert trades[0]["qty"] == account["positions"][0]["qty"] == risk[0]["positionAmt"] == "0.004"
        incomes = await one.get("/sim/incomes")
        assert [(row["kind"], row["trade_id"]) for row in incomes] == [("COMMISSION", trades[0]["trade_id"])]
        assert Decimal(account["wallet"]) == Decimal(account["start_wallet"]) + Decimal(incomes[0]["amount"])
        stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "TRAILING_STOP_MARKET"}
        await one.signed("POST", "/fapi/v1/algoOrder", **stop, callbackRate="10", quantity="0.004")
        assert [row["kind"] for row in await one.get("/sim/algo-orders")] == ["TRAILING_STOP_MARKET"]
        assert (await one.get("/sim/latency"))["count"] == 1
        assert (await one.get("/sim/ticks?limit=1"))[0]["symbol"] in ("BTCUSDT", "ETHUSDT")

    run(case)


def test_tape_when_held_then_stands_still_and_when_released_then_goes_on() -> None:
    async def case(one: Client) -> None:
        await one.post("/sim/tape", {"speed": 0})
        await asyncio.sleep(0)
        held = (await one.get("/sim/state"))["tape"]["events"]
        assert (await one.get("/sim/state"))["tape"]["events"] <= held + 1
        await one.post("/sim/tape", {"speed": 100})
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while (await one.get("/sim/state"))["tape"]["events"] <= held + 10:
            assert asyncio.get_running_loop().time() < deadline

    run(case)


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /fapi/v1/time?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /public/ws HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_bytes_when_they_are_no_http_then_400_and_no_trace_anywhere(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def case(one: Client) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(one.http.rpartition(":")[2]))
        writer.write(sent)
        answer = await asyncio.wait_for(reader.readline(), WAIT_S)
        writer.close()
        await writer.wait_closed()
        assert b" 400 " in answer
        assert (await one.get("/fapi/v1/ping")) == {}

    run(case)
    assert not caplog.records

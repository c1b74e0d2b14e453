"""Faults of streams and of the whole venue over real sockets: what a client gets to see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import ClientWebSocketResponse
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grinder.sim.exchange.faults import KINDS
from grinder.sim.exchange.stream_faults import STREAM_KINDS
from grinder.sim.wire.acts import ACTS
from grinder.sim.wire.admin import ENDPOINTS
from grinder.sim.wire.assembly import VenueConfig
from tests.sim_kit import GENEROUS, KEY, WAIT_S, Client, client, receive, receive_event

CONFIG = VenueConfig(tape="step", hold=True, limits=GENEROUS)


def run(case: Callable[[Client], Awaitable[None]], config: VenueConfig = CONFIG) -> None:
    async def main() -> None:
        async with client(config) as one:
            await one.post("/sim/market", top("60000.00"))
            await case(one)

    asyncio.run(main())


def top(bid: str, symbol: str = "BTCUSDT") -> dict[str, str]:
    return {"symbol": symbol, "bid": bid, "bid_qty": "5", "ask": f"{float(bid) + 0.1:.2f}", "ask_qty": "5"}


async def fault(one: Client, kind: str = "", **words: object) -> Any:
    status, answer = await one.post("/sim/faults", ({"kind": kind} if kind else {}) | words)
    assert status == 200, answer
    return answer


async def placed(one: Client, *names: str) -> None:
    for name in names:
        assert (await one.place(price="59000", newClientOrderId=name))[0] == 200


async def ids(socket: ClientWebSocketResponse, count: int) -> list[str]:
    return [(await receive_event(socket, "ORDER_TRADE_UPDATE"))["o"]["c"] for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "words", "seen"),
    [
        ("duplicate", {}, "a a b c"),
        ("gap", {}, "b c"),
        ("reorder", {}, "b a c"),
        ("replay", {"skip": 2, "span": 2}, "a b c a b"),
        ("late", {"delay_ms": 700}, "b c a"),
        ("", {"script": ["pass", "duplicate", "gap"]}, "a b b"),
    ],
)
def test_user_events_when_a_fault_names_them_then_seen_so(kind: str, words: dict[str, object], seen: str) -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        async with one.session.ws_connect(f"{one.ws}/private/ws/{key}") as socket:
            await fault(one, kind, stream="user", event="ORDER_TRADE_UPDATE", **words)
            await placed(one, "a", "b", "c")
            assert await ids(socket, len(seen.split())) == seen.split()

    run(case)


def test_event_when_held_and_nothing_overtakes_it_then_it_comes_late_but_comes() -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        async with one.session.ws_connect(f"{one.ws}/private/ws/{key}") as socket:
            await fault(one, "reorder", stream="user", delay_ms=50)
            await placed(one, "a")
            assert await ids(socket, 1) == ["a"]

    run(case)


def test_stream_when_malformed_or_disconnected_then_seen_so() -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}/public/ws/btcusdt@bookTicker") as socket:
            await fault(one, "malformed", symbol="BTCUSDT")
            await fault(one, "disconnect", stream="btcusdt@bookTicker", skip=1)
            await one.post("/sim/market", top("60001.00"))
            await one.post("/sim/market", top("60002.00"))
            await one.post("/sim/market", top("60003.00"))
            with pytest.raises(msgspec.DecodeError):
                await receive(socket)
            assert (await receive(socket))["b"] == "60002.00"
            assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)

    run(case)


def test_subscription_when_it_is_to_get_no_data_then_acknowledged_and_the_next_one_works() -> None:
    async def case(one: Client) -> None:
        await fault(one, "ack_without_data", stream="btcusdt@bookTicker")
        async with (
            one.session.ws_connect(f"{one.ws}/public/ws") as deaf,
            one.session.ws_connect(f"{one.ws}/public/ws") as hears,
        ):
            for socket in (deaf, hears):
                await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1})
                assert (await receive(socket))["result"] is None
            await one.post("/sim/market", top("60001.00"))
            assert (await receive(hears))["b"] == "60001.00"
            await deaf.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
            assert await receive(deaf) == {"result": ["btcusdt@bookTicker"], "id": 2}

    run(case)


def test_symbol_when_silenced_then_the_others_go_on() -> None:
    async def case(one: Client) -> None:
        names = "btcusdt@bookTicker/ethusdt@bookTicker"
        async with one.session.ws_connect(f"{one.ws}/public/stream?streams={names}") as socket:
            await fault(one, "silent", symbol="BTCUSDT")
            await one.post("/sim/market", top("60001.00"))
            await one.post("/sim/market", top("2600.00", "ETHUSDT"))
            assert (await receive(socket))["stream"] == "ethusdt@bookTicker"

    run(case)


def test_listen_key_when_lost_without_a_word_then_keeping_it_alive_says_1125() -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        assert (await fault(one, "listen_key_lost"))["met"] == 1
        assert (await one.raw("PUT", "/fapi/v1/listenKey"))[1]["code"] == -1125
        assert await one.listen_key() != key
        assert (await fault(one, "listen_key_expired"))["met"] == 1

    run(case)


def test_clock_when_skewed_then_the_venue_refuses_what_is_out_of_its_window() -> None:
    async def case(one: Client) -> None:
        await fault(one, "clock_skew", skew_ms=-2_000)
        assert (await one.place(price="59000"))[1]["code"] == -1021
        await fault(one, "clock_skew", skew_ms=6_000)
        assert (await one.place(price="59000"))[1]["code"] == -1021
        before_ms = int(time.time() * 1_000)
        server_ms = (await one.get("/fapi/v1/time"))["serverTime"]
        assert before_ms <= server_ms - 6_000 <= time.time() * 1_000
        await one.session.delete(f"{one.http}/sim/faults")
        assert (await one.place(price="59000"))[0] == 200

    run(case)


def test_orders_when_partly_filled_on_purpose_then_truth_and_events_agree() -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        async with one.session.ws_connect(f"{one.ws}/private/ws/{key}") as socket:
            await one.place(price="59000", quantity="0.010", newClientOrderId="a")
            await one.place(price="59000", quantity="0.010", newClientOrderId="b")
            assert (await fault(one, "partial_fill", client_id="a", share=0.3))["met"] == 1
            while (last := (await receive_event(socket, "ORDER_TRADE_UPDATE"))["o"])["x"] != "TRADE":
                pass
            assert (last["c"], last["X"], last["z"], last["m"]) == ("a", "PARTIALLY_FILLED", "0.003", True)
        orders = {each["clientOrderId"]: float(each["executedQty"]) for each in await one.get("/sim/orders")}
        assert orders == {"a": 0.003, "b": 0.0}

    run(case)


def test_symbol_when_delisted_then_its_orders_expire_and_everybody_is_told() -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        async with (
            one.session.ws_connect(f"{one.ws}/private/ws/{key}") as user,
            one.session.ws_connect(f"{one.ws}/market/ws/!contractInfo") as market,
        ):
            await placed(one, "a")
            assert (await fault(one, "symbol_status", symbol="BTCUSDT", status="SETTLING"))["met"] == 1
            assert (await receive(market))["cs"] == "SETTLING"
            while (last := (await receive_event(user, "ORDER_TRADE_UPDATE"))["o"])["X"] != "EXPIRED":
                pass
            assert last["er"] == "7"
        symbols = (await one.get("/fapi/v1/exchangeInfo"))["symbols"]
        assert {each["symbol"]: each["status"] for each in symbols}["BTCUSDT"] == "SETTLING"

    run(case)


def test_address_when_banned_then_418_until_the_ban_ends() -> None:
    async def case(one: Client) -> None:
        await fault(one, "ban", ban_ms=60_000)
        assert (await one.place(price="59000"))[0] == 418
        await fault(one, "ban", ban_ms=0)
        assert (await one.place(price="59000"))[0] == 200

    run(case)


@pytest.mark.parametrize("stream", ["user", "ws_api", "*"])
def test_connections_when_cut_then_those_that_were_named(stream: str) -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        async with (
            one.session.ws_connect(f"{one.ws}/private/ws/{key}") as user,
            one.session.ws_connect(f"{one.ws}/ws-fapi/v1") as api,
        ):
            await fault(one, "cut", stream=stream)
            for socket in {"user": [user], "ws_api": [api], "*": [user, api]}[stream]:
                assert (await asyncio.wait_for(socket.receive(), WAIT_S)).type is aiohttp.WSMsgType.CLOSED

    run(case)


def test_venue_when_restarted_then_every_connection_goes_and_nothing_is_forgotten() -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        await placed(one, "a")
        async with one.session.ws_connect(f"{one.ws}/private/ws/{key}") as user:
            await fault(one, "restart", down_ms=500)
            assert (await asyncio.wait_for(user.receive(), WAIT_S)).type is aiohttp.WSMsgType.CLOSED
        refused = 0
        for _ in range(500):
            try:
                orders = await one.get("/sim/orders")
                break
            except aiohttp.ClientError:
                refused += 1
                await asyncio.sleep(0.01)
        assert refused > 0
        assert [each["clientOrderId"] for each in orders] == ["a"]
        assert await one.listen_key() == key
        assert (await one.place(price="59000", newClientOrderId="a"))[1]["code"] == -4116

    run(case)


def test_request_when_it_waits_before_the_engine_past_its_window_then_5028_and_no_order() -> None:
    async def case(one: Client) -> None:
        await fault(one, "delay_engine", op="order.place", delay_ms=700)
        assert (await one.place(price="59000", recvWindow=600))[1]["code"] == -5028
        assert await one.get("/sim/orders") == []

    run(case)


def test_every_request_fault_when_asked_for_any_code_then_answers_it() -> None:
    async def case(one: Client) -> None:
        await fault(one, "refuse", http_status=400, code=-2019, message="Margin is insufficient.")
        assert await one.place(price="59000") == (400, {"code": -2019, "msg": "Margin is insufficient."})

    run(case)


def test_overload_when_it_spares_what_protects_then_cancels_and_reduce_only_orders_pass() -> None:
    async def case(one: Client) -> None:
        await placed(one, "a")
        assert (await one.place(type="MARKET", timeInForce=""))[0] == 200
        await fault(one, "overloaded", count=0, spares_protective=True)
        assert (await one.place(price="59000"))[1]["code"] == -1008
        closing = {"side": "SELL", "type": "MARKET", "timeInForce": "", "reduceOnly": "true"}
        assert (await one.place(**closing))[0] == 200
        answer = await one.signed("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="a")
        assert answer[0] == 200

    run(case)


ADMIN = sorted({path for method, path, *_ in ENDPOINTS if method == "POST"})
WORDS = st.sampled_from(["BTCUSDT", "NOPE", "60000", "-1", "NaN", "user", "*", "", "TRADING", "9" * 400, "\x00"])
VALUES = WORDS | st.integers(-(10**20), 10**20) | st.floats() | st.none() | st.booleans() | st.lists(WORDS, max_size=2)
NAMES = (
    "symbol",
    "bid",
    "ask",
    "price",
    "qty",
    "mark",
    "share",
    "rate",
    "speed",
    "lag_ms",
    "weight_1m",
    "key",
    "script",
)
KINDS_SAFE = [kind for kind in (*KINDS, *STREAM_KINDS, *ACTS) if kind not in ("restart", "cut", "clock_skew")]
BODIES = st.fixed_dictionaries(
    {}, optional={"kind": st.sampled_from(KINDS_SAFE) | VALUES} | dict.fromkeys(NAMES, VALUES)
)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(ADMIN), BODIES | VALUES), min_size=20, max_size=30))
@example(
    [("market", {"symbol": "NOPE"}), ("faults", {"kind": "funding"}), ("market", {"symbol": "BTCUSDT", "price": "0"})]
)
def test_admin_when_asked_for_anything_then_done_or_refused(requests: list[tuple[str, object]]) -> None:
    async def case(one: Client) -> None:
        for path, body in requests:
            status, answer = await one.post(f"/sim/{path}", body)
            assert status in (200, 400), (path, body, answer)
        assert "counts" in await one.get("/sim/state")

    run(case)


def test_key_when_added_at_run_time_then_it_works() -> None:
    async def case(one: Client) -> None:
        assert (await one.post("/sim/keys", {"key": "late", "secret": "x", "account": KEY}))[0] == 200
        assert (await one.raw("POST", "/fapi/v1/listenKey", key="late"))[0] == 200
        assert (await one.post("/sim/keys", {"key": "late", "account": KEY}))[0] == 400

    run(case)


def test_faults_when_listed_then_every_kind_is_explained_and_nonsense_is_refused() -> None:
    async def case(one: Client) -> None:
        kinds = (await one.get("/sim/faults"))["kinds"]
        assert set(kinds["venue"]) == set(ACTS)
        assert all(doc for scope in kinds.values() for doc in scope.values())
        for body in ({}, {"kind": "cut", "nonsense": 1}, {"script": ["gap", "delay"]}, {"kind": "symbol_status"}):
            status, answer = await one.post("/sim/faults", body)
            assert (status, answer["code"]) == (400, -1130), body

    run(case)

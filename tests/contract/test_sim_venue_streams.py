"""The simulated venue's streams over real WebSockets: both modes, routes, user data, faults of streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from grinder.sim.wire.assembly import VenueConfig
from grinder.sim.wire.hub import Route, route_of
from grinder.sim.wire.streams import url_subscriptions
from tests.sim_kit import GENEROUS, WAIT_S, Client, client, receive, receive_event, recorded

CONFIG = VenueConfig(limits=GENEROUS)


def run(case: Callable[[Client], Awaitable[None]], config: VenueConfig = CONFIG) -> None:
    async def main() -> None:
        async with client(config) as one:
            await case(one)

    asyncio.run(main())


async def quiet_after(socket: ClientWebSocketResponse) -> bool:
    """Take one message, or tell that none came."""
    try:
        await asyncio.wait_for(socket.receive(), 0.4)
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize(
    ("stream", "route"),
    [
        ("btcusdt@bookTicker", Route.PUBLIC),
        ("!bookTicker", Route.PUBLIC),
        ("btcusdt@depth@100ms", Route.PUBLIC),
        ("btcusdt@depth20@100ms", Route.PUBLIC),
        ("btcusdt@trade", Route.PUBLIC),
        ("btcusdt@aggTrade", Route.MARKET),
        ("btcusdt@markPrice@1s", Route.MARKET),
        ("!markPrice@arr@1s", Route.MARKET),
        ("btcusdt@kline_1m", Route.MARKET),
        ("somelistenkey", Route.PRIVATE),
    ],
)
def test_stream_when_named_then_belongs_to_its_route(stream: str, route: Route) -> None:
    assert route_of(stream) is route


def test_url_when_it_has_listen_keys_and_events_then_each_key_has_its_own() -> None:
    assert url_subscriptions("", "listenKey=K1&events=A/B&listenKey=K2") == [
        ("K1", frozenset({"A", "B"})),
        ("K2", frozenset()),
    ]
    assert url_subscriptions("a@trade/b@trade", "streams=c@trade/d@trade") == [
        (f"{name}@trade", frozenset()) for name in "abcd"
    ]


@pytest.mark.parametrize(
    ("path", "wrapped", "event"),
    [
        ("/public/ws/btcusdt@bookTicker", False, "bookTicker"),
        ("/public/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker", True, "bookTicker"),
        ("/public/ws/btcusdt@depth@100ms", False, "depthUpdate"),
        ("/public/ws/btcusdt@depth5@100ms", False, "depthUpdate"),
        ("/public/ws/btcusdt@trade", False, "trade"),
        ("/market/ws/btcusdt@aggTrade", False, "aggTrade"),
        ("/market/stream?streams=btcusdt@markPrice@1s", True, "markPriceUpdate"),
        ("/ws/btcusdt@bookTicker", False, "bookTicker"),
        ("/stream?streams=btcusdt@bookTicker", True, "bookTicker"),
    ],
)
def test_stream_when_opened_by_url_then_sends_its_events(path: str, wrapped: bool, event: str) -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}{path}") as socket:
            message = await receive(socket)
            assert ("stream" in message) is wrapped
            assert (message["data"] if wrapped else message)["e"] == event

    run(case)


@pytest.mark.parametrize("request_id", [7, "5f2c-uuid"])
def test_subscribe_when_sent_then_acknowledged_with_its_id_and_data_follows(request_id: int | str) -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}/public/stream") as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": request_id})
            assert await receive(socket) == {"result": None, "id": request_id}
            assert (await receive(socket))["stream"] == "btcusdt@bookTicker"
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
            while "result" not in (listed := await receive(socket)):
                pass
            assert listed["result"] == ["btcusdt@bookTicker"]
            await socket.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 3})
            while "result" not in await receive(socket):
                pass
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(socket.receive(), 0.3)

    run(case)


@pytest.mark.parametrize("path", ["/market/ws", "/private/ws"])
def test_stream_when_on_the_wrong_path_then_acknowledged_and_silent(path: str) -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}{path}") as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1})
            assert (await receive(socket))["result"] is None
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(socket.receive(), 0.4)

    run(case)


@pytest.mark.parametrize(
    ("unrouted", "events"),
    [(False, ["bookTicker"]), (True, ["ORDER_TRADE_UPDATE", "bookTicker", "markPriceUpdate"])],
)
def test_path_without_route_when_the_venue_is_as_before_the_change_then_carries_every_stream(
    unrouted: bool, events: list[str]
) -> None:
    """Clients from before the split take book, market and user data from one address."""

    async def case(one: Client) -> None:
        _, answer = await one.raw("POST", "/fapi/v1/listenKey")
        streams = f"btcusdt@bookTicker/btcusdt@markPrice@1s/{answer['listenKey']}"
        async with one.session.ws_connect(f"{one.ws}/stream?streams={streams}") as socket:
            order: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
            status, _ = await one.signed("POST", "/fapi/v1/order", **order, price="50000", quantity="0.01")
            assert status == 200
            heard: set[str] = set()
            async with asyncio.timeout(WAIT_S):
                while not heard >= set(events):
                    heard.add((await receive(socket))["data"]["e"])
            assert unrouted or heard == {"bookTicker"}

    run(case, msgspec.structs.replace(CONFIG, unrouted_carries_all=unrouted))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", 3),
        ("[]", 3),
        ("{}", 2),
        ('{"method":"DANCE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":"x","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[5],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[],"id":1.5}', 2),
        ('{"method":["x"],"params":[],"id":1}', 2),
        ('{"method":"GET_PROPERTY","params":["shape"],"id":1}', 0),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1),
    ],
)
def test_control_message_when_malformed_then_an_error_and_the_connection_lives(text: str, code: int) -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}/public/ws") as socket:
            await socket.send_str(text)
            answer = await receive(socket)
            assert answer.get("error", answer)["code"] == code
            await socket.send_json({"method": "SUBSCRIBE", "params": [], "id": 9})
            assert await receive(socket) == {"result": None, "id": 9}

    run(case)


def test_control_messages_when_more_than_ten_in_a_second_then_disconnected() -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}/public/ws") as socket:
            for number in range(12):
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            kinds = [(await asyncio.wait_for(socket.receive(), WAIT_S)).type for _ in range(11)]
            assert kinds == [WSMsgType.TEXT] * 10 + [WSMsgType.CLOSE]

    run(case)


@pytest.mark.parametrize("how", ["ws-url", "ws-query", "stream-query", "subscribe"])
def test_user_stream_when_an_order_trades_then_its_events_come_in_order(how: str) -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        paths = {"ws-url": f"/ws/{key}", "ws-query": f"/ws?listenKey={key}", "subscribe": "/stream"}
        path = paths.get(how, f"/stream?listenKey={key}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE")
        async with one.session.ws_connect(f"{one.ws}/private{path}") as socket:
            if how == "subscribe":
                await socket.send_json({"method": "SUBSCRIBE", "params": [key], "id": "u1"})
                await receive(socket)
            await one.signed(
                "POST",
                "/fapi/v1/order",
                symbol="BTCUSDT",
                side="BUY",
                type="MARKET",
                quantity="0.002",
                newClientOrderId="m",
            )
            events: list[dict[str, Any]] = []
            while not events or events[-1].get("o", {}).get("X") != "FILLED":
                message = await receive(socket)
                events.append(message["data"] if "stream" in message else message)
            names = [event["e"] for event in events]
            lite = [] if how == "stream-query" else ["TRADE_LITE"]
            assert names == ["ORDER_TRADE_UPDATE", *lite, "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
            last = events[-1]["o"]
            assert (last["c"], last["x"], last["z"], last["m"], last["er"]) == ("m", "TRADE", "0.002", False, "0")
            account = events[-2]["a"]
            assert (account["m"], account["P"][0]["pa"], account["B"][0]["a"]) == ("ORDER", "0.002", "USDT")

    run(case)


def test_user_stream_when_duplicated_or_dropped_on_purpose_then_it_is() -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        async with one.session.ws_connect(f"{one.ws}/private/ws/{key}") as socket:
            await one.post("/sim/streams", {"user_duplicates": 1})
            await one.place(price="50000", quantity="0.003", newClientOrderId="a")
            first, second = await receive(socket), await receive(socket)
            assert first == second
            await one.post("/sim/streams", {"user_drops": 1})
            await one.place(price="50000", quantity="0.003", newClientOrderId="b")
            await one.place(price="50000", quantity="0.003", newClientOrderId="c")
            assert (await receive_event(socket, "ORDER_TRADE_UPDATE"))["o"]["c"] == "c"

    run(case, msgspec.structs.replace(CONFIG, tape="step"))


def test_listen_key_when_expired_then_the_stream_says_so_and_ends() -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        async with one.session.ws_connect(f"{one.ws}/private/ws/{key}") as socket:
            await one.post("/sim/listen-key/expire", {})
            assert (await receive_event(socket, "listenKeyExpired"))["listenKey"] == key
        assert await one.listen_key() != key

    run(case)


def test_stream_when_silenced_then_nothing_comes_until_released() -> None:
    async def case(one: Client) -> None:
        async with one.session.ws_connect(f"{one.ws}/public/ws/btcusdt@bookTicker") as socket:
            await receive(socket)
            await one.post("/sim/streams", {"silent": ["btcusdt@bookTicker"]})
            ticks = (await one.get("/sim/state"))["ticks"]
            while await quiet_after(socket) is False:
                pass
            assert (await one.get("/sim/state"))["ticks"] > ticks
            await one.post("/sim/streams", {"silent": []})
            assert (await receive(socket))["e"] == "bookTicker"

    run(case)


def test_recorded_tape_when_played_fast_then_every_frame_is_forwarded_in_order() -> None:
    """Book tickers and trades of a whole recording, each once, ids and texts unchanged."""
    path = recorded("usdm_btcusdt_20240718.gz")

    async def case(one: Client) -> None:
        names = ["btcusdt@bookTicker", "btcusdt@trade", "btcusdt@depth@0ms"]
        async with one.session.ws_connect(f"{one.ws}/public/stream?streams={'/'.join(names)}") as socket:
            await one.post("/sim/tape", {"speed": 1000})
            got: dict[str, list[int]] = {name: [] for name in names}
            while sum(map(len, got.values())) < 7_113 + 974 + 3_326:
                message = await receive(socket)
                data = message["data"]
                got[message["stream"]].append(data["t"] if data["e"] == "trade" else data["u"])
            assert [len(got[name]) for name in names] == [7_113, 974, 3_326]
            assert all(ids == sorted(ids) for ids in got.values())
        assert (await one.get("/sim/state"))["tape"]["ended"]

    run(case, msgspec.structs.replace(CONFIG, tape=str(path), hold=True))


def test_inject_when_a_stream_is_named_then_its_listeners_get_the_bytes_as_they_are() -> None:
    async def case(one: Client) -> None:
        key = await one.listen_key()
        async with (
            one.session.ws_connect(f"{one.ws}/market/ws/btcusdt@aggTrade") as market,
            one.session.ws_connect(f"{one.ws}/private/ws/{key}") as user,
        ):
            for stream, socket in (("btcusdt@aggTrade", market), ("user", user)):
                url = f"{one.http}/sim/inject?stream={stream}&bytes=12"
                async with one.session.post(url, data=b'{"e":"cut') as answer:
                    assert await answer.json() == {"sent": 1, "bytes": 12}
                assert (await socket.receive()).data == '{"e":"cut   '
            async with one.session.post(f"{one.http}/sim/inject", data=b"x") as answer:
                assert answer.status == 400

    run(case, msgspec.structs.replace(CONFIG, hold=True))


def test_recorded_tape_when_nobody_listens_then_it_waits_and_its_first_frame_is_not_lost() -> None:
    path = recorded("usdm_btcusdt_20240718.gz")

    async def case(one: Client) -> None:
        assert (await one.get("/sim/state"))["tape"]["started"] is False
        async with one.session.ws_connect(f"{one.ws}/public/ws/btcusdt@bookTicker") as socket:
            first = await receive(socket)
            assert (await one.get("/sim/ticks"))[0]["update_id"] == first["u"]

    run(case, msgspec.structs.replace(CONFIG, tape=str(path), await_listener=True))

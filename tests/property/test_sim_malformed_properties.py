"""Whatever is sent to the simulated venue, it answers with a code: no request, call or control message raises."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grinder.model.errors import VenueError
from grinder.sim.exchange.params import Params, read_params
from grinder.sim.wire.context import Context
from grinder.sim.wire.hub import Hub, Route, Subscriber
from grinder.sim.wire.streams import control
from grinder.sim.wire.ws_api import Session
from tests.fakes import FakeClock
from tests.sim_kit import BY_NAME, KEY, Core, sign

NAMES = (
    *("symbol", "side", "type", "timeInForce", "price", "quantity", "reduceOnly", "positionSide", "newClientOrderId"),
    *("origClientOrderId", "orderId", "limit", "countdownTime", "leverage", "dualSidePosition", "batchOrders"),
    *("orderIdList", "origClientOrderIdList", "fromId", "startTime", "endTime", "goodTillDate", "recvWindow"),
    *("newOrderRespType", "selfTradePreventionMode"),
)
WORDS = (
    "BTCUSDT",
    "BUY",
    "SELL",
    "LIMIT",
    "MARKET",
    "GTC",
    "GTX",
    "IOC",
    "FOK",
    "GTD",
    "60000",
    "0.002",
    "true",
    "LONG",
)
ODD = (
    "",
    "0",
    "-1",
    "1e9",
    "NaN",
    "Infinity",
    "9" * 20,
    "9" * 5_000,
    "0." + "9" * 20,
    "[]",
    "[{}]",
    '["a"]',
    "²",
    "\x00",
)
VALUES = st.sampled_from(WORDS + ODD) | st.text(max_size=12)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(sorted(BY_NAME)), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=9))
@example("depth", {"symbol": "BTCUSDT", "limit": "9" * 5_000})
@example("batch.place", {"batchOrders": '[{"symbol":{}}]'})
@example(
    "order.place",
    dict.fromkeys(NAMES, "9" * 20) | {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"},
)
def test_operation_when_its_parameters_are_anything_then_ends_with_an_outcome(
    name: str, values: dict[str, str]
) -> None:
    core = Core()
    params = values | {"timestamp": str(core.now), "signature": sign("signed")}
    outcome = core.venue.execute(BY_NAME[name], KEY, Params(params), ("signed",), core.now)
    assert (outcome.code == 0) is (outcome.http_status == 200)
    msgspec.json.encode(outcome.body)


def code_of(query: str, body: str) -> int:
    try:
        read_params(query, body)
    except VenueError as error:
        return error.code
    return 0


@given(st.text(max_size=80), st.text(max_size=80))
def test_query_and_body_when_anything_then_read_or_refused(query: str, body: str) -> None:
    assert code_of(query, body) in (0, -1101)


class RecordingWire:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def write(self, frame: bytes) -> None:
        self.frames.append(frame)

    def abort(self) -> None:
        self.frames.append(b"")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**25) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
METHODS = st.sampled_from(
    ["SUBSCRIBE", "UNSUBSCRIBE", "SET_PROPERTY", "LIST_SUBSCRIPTIONS", "order.place", "depth", "ping"]
)
MESSAGES: st.SearchStrategy[Any] = st.text(max_size=40) | st.fixed_dictionaries(
    {}, optional={"id": JSON, "method": METHODS | JSON, "params": JSON}
).map(lambda value: msgspec.json.encode(value).decode())


@settings(deadline=None, max_examples=200)
@given(st.lists(MESSAGES, max_size=5))
def test_messages_when_anything_then_each_has_one_answer(messages: list[str]) -> None:
    core = Core()
    context = Context(core.venue, Hub(core.venue.listen_keys, core.venue.stream_faults), FakeClock())
    wire: Any = RecordingWire()
    subscriber = Subscriber(wire, Route.PUBLIC, combined=False)

    async def send() -> None:
        session = Session(context, wire)
        for message in messages:
            session.on_text(message)
            msgspec.json.encode(control(context, subscriber, message))

    asyncio.run(send())
    assert len(wire.frames) == len(messages)

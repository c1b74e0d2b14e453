from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from grinder.adapters.binance import wire
from grinder.model.orders import Side
from grinder.model.venue import (
    Advice,
    AmendOrder,
    CancelOrder,
    Confirmed,
    InDoubt,
    QueryOrder,
    Rejected,
    VenueOrder,
    VenueRequest,
)
from tests.contract.venue_server import (
    API_KEY,
    API_SECRET,
    ack,
    answer_order,
    counted,
    eventually,
    signer,
)
from tests.contract.ws_api_rig import PLACE, Rig, run, silence


@pytest.mark.parametrize(
    ("request_", "method"),
    [
        (PLACE, "order.place"),
        (AmendOrder("grd-0-1-b1", "BTCUSDT", Side.BUY, Decimal("9001"), Decimal("0.002")), "order.modify"),
        (CancelOrder("grd-0-1-b1", "BTCUSDT"), "order.cancel"),
        (QueryOrder("grd-0-1-b1", "BTCUSDT"), "order.status"),
    ],
)
def test_order_command_is_signed_sorted_and_answered(request_: VenueRequest, method: str) -> None:
    async def test(made: Rig) -> None:
        reply = await (await made.send(request_)).only()
        assert isinstance(reply, Confirmed)
        assert isinstance(reply.value, VenueOrder)
        assert reply.value.client_order_id == "grd-0-1-b1"
        assert reply.rtt_ns > 0
        (message,) = made.server.messages
        assert message["method"] == method
        params = message["params"]
        assert params["apiKey"] == API_KEY
        signature = params.pop("signature")
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        assert signature == signer().signature(payload.encode())
        assert API_SECRET not in repr(message)

    run(test)


def test_replies_in_another_order_than_the_requests_find_their_own() -> None:
    async def test(made: Rig) -> None:
        held: list[tuple[web.WebSocketResponse, dict[str, Any]]] = []

        async def hold(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            held.append((socket, message))
            if len(held) == 3:
                for item in reversed(held):
                    await answer_order(*item)

        made.server.on_message = hold
        ids = ("grd-0-1-b1", "grd-0-2-b2", "grd-0-3-b3")
        replies = [await made.send(CancelOrder(client_order_id, "BTCUSDT")) for client_order_id in ids]
        for client_order_id, one in zip(ids, replies, strict=True):
            reply = await one.only()
            assert isinstance(reply, Confirmed)
            assert isinstance(reply.value, VenueOrder)
            assert reply.value.client_order_id == client_order_id

    run(test)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"status": 400, "error": {"code": -2011, "msg": "Unknown order sent."}}, Advice.NOT_FOUND),
        ({"status": 400, "error": {"code": -5022, "msg": "Post only."}}, Advice.POST_ONLY),
        ({"status": 400, "error": {"code": -1021, "msg": "recvWindow", "data": "odd"}}, Advice.CLOCK),
        ({"status": 400, "error": {"code": -1007, "msg": "Timeout"}}, None),
        ({"status": 503, "error": {"code": -1008, "msg": "overloaded"}}, None),
        ({"status": 503, "error": {"code": -2011, "msg": "a refusal in a server error"}}, None),
        ({"status": 200}, None),
        ({"status": 200, "result": {"orderId": 1}}, None),
        ({"status": 200, "result": {"orderId": 1, "symbol": "ETHUSDT", "clientOrderId": "x"}}, None),
        ({}, None),
    ],
)
def test_reply_that_is_no_success_is_rejected_only_where_that_is_certain(
    reply: dict[str, Any], expected: Advice | None
) -> None:
    async def test(made: Rig) -> None:
        async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            await socket.send_json({"id": message["id"], **reply})

        made.server.on_message = answer
        settled = await (await made.send()).only()
        if expected is None:
            assert isinstance(settled, InDoubt)
        else:
            assert isinstance(settled, Rejected)
            assert settled.advice is expected

    run(test)


def test_rate_limits_in_a_reply_are_read_and_bad_ones_do_not_spoil_it() -> None:
    async def test(made: Rig) -> None:
        limits: list[object] = [
            [{"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 77}],
            "odd",
        ]

        async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            body = {"id": message["id"], "status": 200, "result": ack(message["params"])}
            await socket.send_json({**body, "rateLimits": limits.pop(0)})

        made.server.on_message = answer
        assert isinstance(await (await made.send()).only(), Confirmed)
        assert isinstance(await (await made.send()).only(), Confirmed)
        uses = {(use.kind, use.interval_s): use.used for use in made.limits.uses(venue_utc_ms=made.clock.utc_ms())}
        assert uses["ORDERS", 10] == 77

    run(test)


def test_ban_in_a_reply_stops_until_the_time_it_names() -> None:
    async def test(made: Rig) -> None:
        async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            data = {"serverTime": 1_800_000_000_000, "retryAfter": 1_800_000_009_000}
            error = {"code": -1003, "msg": "IP banned", "data": data}
            await socket.send_json({"id": message["id"], "status": 418, "error": error})

        made.server.on_message = answer
        settled = await (await made.send()).only()
        assert isinstance(settled, Rejected)
        assert (settled.advice, settled.retry_after_ms) == (Advice.BANNED, 9_000)
        assert 8_000 < made.limits.stopped_ms(made.clock.mono_ns()) <= 9_000

    run(test)


def test_request_without_an_answer_is_in_doubt_at_its_deadline_and_a_late_answer_is_only_counted() -> None:
    async def test(made: Rig) -> None:
        made.server.on_message = silence
        replies = await made.send()
        await eventually(lambda: len(made.server.messages) == 1)
        made.clock.ahead_ns = wire.ORDER_DEADLINE_MS * 1_000_000
        assert await replies.only() == InDoubt("timeout")
        await answer_order(made.server.sockets[0], made.server.messages[0])
        await eventually(lambda: counted(made.telemetry, "grinder_venue_unmatched_replies_total") == {(): 1.0})
        assert len(replies.values) == 1
        assert made.api.connected

    run(test)


@pytest.mark.parametrize("frame", ["", "{", "[]", '{"id":{}}', '{"id":null,"status":400}', '{"id":"999","status":200}'])
def test_frame_that_answers_nothing_is_counted_and_changes_nothing(frame: str) -> None:
    async def test(made: Rig) -> None:
        async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            await socket.send_str(frame)
            await answer_order(socket, message)

        made.server.on_message = answer
        assert isinstance(await (await made.send()).only(), Confirmed)
        assert counted(made.telemetry, "grinder_venue_unmatched_replies_total") == {(): 1.0}

    run(test)


def test_answer_sent_twice_is_delivered_once() -> None:
    async def test(made: Rig) -> None:
        async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            await answer_order(socket, message)
            await answer_order(socket, message)

        made.server.on_message = answer
        replies = await made.send()
        await replies.only()
        await eventually(lambda: counted(made.telemetry, "grinder_venue_unmatched_replies_total") == {(): 1.0})
        assert len(replies.values) == 1

    run(test)


def test_message_beyond_the_size_limit_ends_the_connection_and_what_waits_is_in_doubt() -> None:
    async def test(made: Rig) -> None:
        async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            await socket.send_str(" " * (10 << 20))

        made.server.on_message = answer
        assert isinstance(await (await made.send()).only(), InDoubt)
        await eventually(lambda: len(made.server.sockets) == 2)

    run(test)


def test_fragmented_reply_is_put_together() -> None:
    async def test(made: Rig) -> None:
        async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            body = b'{"id":"1","status":400,"error":{"code":-2011,"msg":""}}'
            transport = socket._req.transport
            transport.write(bytes([0x01, 20]) + body[:20])
            transport.write(bytes([0x00, 10]) + body[20:30])
            transport.write(bytes([0x80, len(body) - 30]) + body[30:])

        made.server.on_message = answer
        settled = await (await made.send()).only()
        assert isinstance(settled, Rejected)
        assert settled.code == -2011

    run(test)

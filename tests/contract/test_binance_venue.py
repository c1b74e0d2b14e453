"""The Venue port under faults. Invariant: every submit is answered exactly once, later, and never raises."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, get_args

import pytest
import uvloop
from aiohttp import web

from grinder.adapters.binance.limits import TRIAL_MS
from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.binance.wire import OPERATIONS
from grinder.model.account import Balance
from grinder.model.venue import (
    Advice,
    CancelAllOrders,
    CancelOrder,
    Confirmed,
    Exchange,
    InDoubt,
    NotSent,
    QueryBalance,
    QueryInstruments,
    QueryPositions,
    QueryServerTime,
    RateUse,
    Rejected,
    VenueReply,
    VenueRequest,
)
from grinder.ports import Venue
from grinder.settings import OrderTransport
from tests.contract.venue_server import (
    API_KEY,
    API_SECRET,
    Replies,
    SteadyClock,
    VenueServer,
    abort,
    ack,
    answer_order,
    counted,
    eventually,
    hang,
    json_reply,
    raw_reply,
    recorder,
    reset_before_reply,
    reset_within_reply,
    running_server,
    settle,
    signer,
)
from tests.market import RecordingLog
from tests.venue_requests import EVERY_REQUEST, PLACE, REDUCE

ORDER_PATH = "/fapi/v1/order"


async def answer_order_by_rest(request: web.Request) -> web.StreamResponse:
    is_order = "symbol" in request.query and request.path == ORDER_PATH
    return web.json_response(ack(dict(request.query)) if is_order else {})


class Rig:
    def __init__(self, server: VenueServer, transport: OrderTransport, key: Signer | None) -> None:
        self.server = server
        self.telemetry = recorder()
        self.log = RecordingLog()
        for verb in ("POST", "PUT", "DELETE", "GET"):
            server.http[verb, ORDER_PATH] = answer_order_by_rest
        config = VenueConfig(server.url, server.ws_api_url, transport)
        self.venue = BinanceVenue(config, key, clock=SteadyClock(), telemetry=self.telemetry, log=self.log)
        self.port: Venue = self.venue

    def submit(self, request: VenueRequest) -> Replies:
        replies = Replies()
        self.port.submit(request, replies)
        assert replies.values == [], "the answer came before submit returned"
        return replies

    def order_requests(self) -> int:
        return sum(request.path == ORDER_PATH for request in self.server.requests)


@asynccontextmanager
async def rig(
    transport: OrderTransport = OrderTransport.WS_API, key: Callable[[], Signer | None] = signer
) -> AsyncIterator[Rig]:
    async with running_server() as server:
        made = Rig(server, transport, key())
        await made.venue.start()
        try:
            await eventually(lambda: made.venue.connected)
            if transport is OrderTransport.WS_API and key() is not None:
                await eventually(lambda: len(server.sockets) == 1)
            yield made
        finally:
            await made.venue.close()


def run(test: Callable[[Rig], Coroutine[Any, Any, None]], transport: OrderTransport = OrderTransport.WS_API) -> None:
    async def main() -> None:
        async with rig(transport) as made:
            await test(made)

    uvloop.run(main())


def test_the_list_of_requests_is_whole() -> None:
    assert {type(request) for request in EVERY_REQUEST} == set(get_args(VenueRequest))


def test_order_goes_by_the_websocket_api_while_it_is_up() -> None:
    async def test(made: Rig) -> None:
        await eventually(lambda: made.venue._ws_api is not None and made.venue._ws_api.connected)
        assert isinstance(await made.submit(PLACE).only(), Confirmed)
        assert (len(made.server.messages), made.order_requests()) == (1, 0)
        assert counted(made.telemetry, "grinder_venue_requests_total") == {("place_order", "ws_api", "confirmed"): 1.0}

    run(test)


def test_order_goes_by_rest_while_the_websocket_api_is_down() -> None:
    async def test(made: Rig) -> None:
        made.server.ws_api_status = 503
        abort(made.server.sockets[0])
        await eventually(lambda: made.venue._ws_api is not None and not made.venue._ws_api.connected)
        assert isinstance(await made.submit(PLACE).only(), Confirmed)
        assert (len(made.server.messages), made.order_requests()) == (0, 1)

    run(test)


def test_order_goes_by_rest_where_the_transport_is_rest() -> None:
    async def test(made: Rig) -> None:
        assert isinstance(await made.submit(PLACE).only(), Confirmed)
        assert (len(made.server.sockets), made.order_requests()) == (0, 1)

    run(test, OrderTransport.REST)


def test_order_that_was_written_and_lost_is_in_doubt_and_never_sent_again_by_rest() -> None:
    async def test(made: Rig) -> None:
        async def cut(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            abort(socket)

        await eventually(lambda: made.venue._ws_api is not None and made.venue._ws_api.connected)
        made.server.on_message = cut
        assert await made.submit(PLACE).only() == InDoubt("disconnected")
        await settle()
        assert made.order_requests() == 0

    run(test)


def test_venue_before_start_and_after_close_sends_nothing_and_answers() -> None:
    async def main() -> None:
        async with running_server() as server:
            made = Rig(server, OrderTransport.WS_API, signer())
            assert not made.venue.connected
            assert await made.submit(PLACE).only() == NotSent("closed")
            await made.venue.start()
            await made.venue.close()
            assert await made.submit(PLACE).only() == NotSent("closed")
            assert not made.venue.connected
            assert made.order_requests() == 0

    uvloop.run(main())


def test_close_answers_everything_that_still_waits() -> None:
    async def main() -> None:
        async with running_server() as server:
            made = Rig(server, OrderTransport.REST, signer())
            server.http["POST", ORDER_PATH] = hang
            server.http["GET", "/fapi/v3/account"] = hang
            await made.venue.start()
            waiting = [made.submit(PLACE), made.submit(QueryBalance())]
            await eventually(lambda: made.order_requests() == 1)
            await made.venue.close()
            for replies in waiting:
                assert replies.values == [InDoubt("closed")]

    uvloop.run(main())


def test_public_requests_work_without_a_key_and_others_are_not_sent() -> None:
    async def main() -> None:
        async with rig(key=lambda: None) as made:
            made.server.http["GET", "/fapi/v1/time"] = json_reply({"serverTime": 1_800_000_000_000})
            reply = await made.submit(QueryServerTime()).only()
            assert isinstance(reply, Confirmed)
            assert reply.value == 1_800_000_000_000
            assert await made.submit(PLACE).only() == NotSent("no_credentials")
            assert await made.submit(QueryBalance()).only() == NotSent("no_credentials")

    uvloop.run(main())


def test_queries_give_their_values() -> None:
    async def test(made: Rig) -> None:
        made.server.http["GET", "/fapi/v3/account"] = json_reply(
            {"totalWalletBalance": "100", "totalUnrealizedProfit": "-1", "availableBalance": "90"}
        )
        made.server.http["GET", "/fapi/v1/exchangeInfo"] = json_reply(
            {
                "symbols": [{"symbol": "BROKEN", "status": "TRADING", "filters": []}],
                "rateLimits": [
                    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
                ],
            }
        )
        balance = await made.submit(QueryBalance()).only()
        assert isinstance(balance, Confirmed)
        assert balance.value == Balance(Decimal(100), Decimal(-1), Decimal(90))
        exchange = await made.submit(QueryInstruments()).only()
        assert isinstance(exchange, Confirmed)
        assert isinstance(exchange.value, Exchange)
        assert exchange.value.skipped == 1
        assert RateUse("ORDERS", 10, 50, 0) in made.venue.rate_uses()

    run(test)


def test_ban_that_was_just_answered_lets_nothing_out_on_either_path_and_the_order_path_is_not_up() -> None:
    async def test(made: Rig) -> None:
        made.server.http["GET", "/fapi/v3/account"] = json_reply({"code": -1003, "msg": ""}, 418, Retry_After="60")
        banned = await made.submit(QueryBalance()).only()
        assert isinstance(banned, Rejected)
        assert banned.advice is Advice.BANNED
        asked = len(made.server.requests), len(made.server.messages)
        cancels = CancelOrder("grd-0-1-b1", "BTCUSDT"), CancelAllOrders("BTCUSDT")
        for request in (PLACE, QueryPositions(), REDUCE, *cancels):
            kept = await made.submit(request).only()
            assert isinstance(kept, NotSent)
            assert kept.why == "banned"
            longest_ms = 60_000 if request in (PLACE, QueryPositions()) else TRIAL_MS
            assert longest_ms / 2 < kept.retry_after_ms <= longest_ms
        assert (len(made.server.requests), len(made.server.messages)) == asked
        assert not made.venue.connected


def test_pause_lets_only_protective_requests_out_on_both_paths() -> None:
    async def test(made: Rig) -> None:
        made.server.http["GET", "/fapi/v3/account"] = json_reply({"code": -1003, "msg": ""}, 429, Retry_After="60")
        paused = await made.submit(QueryBalance()).only()
        assert isinstance(paused, Rejected)
        assert paused.advice is Advice.RATE_LIMIT
        for request in (PLACE, QueryPositions()):
            kept = await made.submit(request).only()
            assert isinstance(kept, NotSent)
            assert kept.why == "retry_after"
        assert isinstance(await made.submit(REDUCE).only(), Confirmed)
        assert isinstance(await made.submit(CancelOrder("grd-0-1-b1", "BTCUSDT")).only(), Confirmed)
        made.server.http["DELETE", "/fapi/v1/allOpenOrders"] = json_reply({"code": 200, "msg": "done"})
        assert isinstance(await made.submit(CancelAllOrders("BTCUSDT")).only(), Confirmed)

    run(test)


FAULTS = {
    "garbage": raw_reply(b"<html>"),
    "empty": raw_reply(b""),
    "reset": reset_before_reply,
    "cut": reset_within_reply,
    "503 unknown": json_reply({"code": -1000, "msg": "Unknown error, please check your request."}, 503),
    "503 unavailable": json_reply({"msg": "Service Unavailable."}, 503),
    "503 overloaded": json_reply({"code": -1008, "msg": "overloaded"}, 503),
    "timeout code": json_reply({"code": -1007, "msg": "Timeout"}, 400),
    "refused": json_reply({"code": -2011, "msg": "Unknown order sent."}, 400),
    "wrong": json_reply({"symbol": "X"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_request_is_answered_exactly_once_under_every_fault(fault: str) -> None:
    async def test(made: Rig) -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await FAULTS[fault](request)

        for operation in OPERATIONS:
            made.server.http[operation.verb, operation.path] = handle
        waiting = [made.submit(request) for request in EVERY_REQUEST]
        for replies in waiting:
            reply = await replies.only()
            assert isinstance(reply, Rejected if fault == "refused" else InDoubt)

    run(test, OrderTransport.REST)


@pytest.mark.parametrize("seed", range(4))
def test_every_request_is_answered_exactly_once_whatever_happens_in_between(seed: int) -> None:
    """Random faults on both paths, cut connections, and a close in the middle."""
    chance = random.Random(seed)
    kinds = [*FAULTS.values(), answer_order_by_rest, hang]

    async def handle(request: web.Request) -> web.StreamResponse:
        return await chance.choice(kinds)(request)

    async def on_message(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        what = chance.randrange(6)
        if what == 0:
            abort(socket)
        elif what == 1:
            await socket.send_str("{")
        elif what == 2:
            await answer_order(socket, message)
            await answer_order(socket, message)
        elif what != 3:
            await answer_order(socket, message)

    async def main() -> None:
        answers: list[list[VenueReply]] = []
        async with rig() as made:
            made.server.on_message = on_message
            for verb in ("GET", "POST", "PUT", "DELETE"):
                for path in [ORDER_PATH, "/fapi/v3/account", "/fapi/v3/positionRisk", "/fapi/v1/openOrders"]:
                    made.server.http[verb, path] = handle
            for _ in range(120):
                answers.append(made.submit(chance.choice(EVERY_REQUEST)).values)
                if chance.random() < 0.3:
                    await asyncio.sleep(0.001)
        await settle()
        assert [len(replies) for replies in answers] == [1] * 120

    uvloop.run(main())


def test_nothing_that_is_logged_counted_or_answered_shows_a_secret() -> None:
    async def test(made: Rig) -> None:
        abort(made.server.sockets[0])
        texts = [repr(await made.submit(request).only()) for request in EVERY_REQUEST]
        texts += [repr(made.log.events), repr(made.telemetry.snapshot()), repr(made.venue), repr(made.venue.rest)]
        assert API_KEY not in "".join(texts)
        assert API_SECRET not in "".join(texts)

    run(test)

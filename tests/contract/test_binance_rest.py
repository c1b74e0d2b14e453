from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import uvloop
from aiohttp import web

from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.rest import CONNECTIONS_MAX, HttpOutcome, HttpReply, RestClient
from grinder.adapters.binance.venue import settle
from grinder.adapters.binance.wire import CANCEL, INSTRUMENTS, PLACE, POSITIONS, SERVER_TIME, Operation, Urgency
from grinder.adapters.telemetry import Recorder
from grinder.model.limits import VENUE_MESSAGE_BYTES_MAX
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import Advice, CancelAllOrders, InDoubt, NotSent, OrderType, PlaceOrder, RateUse, Rejected
from tests.contract.venue_server import (
    API_KEY,
    API_SECRET,
    HttpHandler,
    SteadyClock,
    VenueServer,
    counted,
    hang,
    json_reply,
    raw_reply,
    recorder,
    reset_before_reply,
    reset_within_reply,
    running_server,
    signer,
)

ORDER = ("POST", "/fapi/v1/order")
REQUEST = PlaceOrder(
    "grd-0-1-b1", "BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal("9000"), Decimal("0.002"), TimeInForce.GTX, False
)


class Rig:
    def __init__(self, server: VenueServer, client: RestClient, limits: Limits, telemetry: Recorder) -> None:
        self.server = server
        self.client = client
        self.limits = limits
        self.telemetry = telemetry

    async def place(self, handler: HttpHandler, operation: Operation = PLACE) -> object:
        self.server.http[operation.verb, operation.path] = handler
        return await self.client.exchange(operation, {"symbol": "BTCUSDT"})


@asynccontextmanager
async def rig(public: bool = False) -> AsyncIterator[Rig]:
    async with running_server() as server:
        limits, telemetry = Limits(), recorder()
        client = RestClient(
            server.url, None if public else signer(), clock=SteadyClock(), limits=limits, telemetry=telemetry
        )
        await client.open()
        try:
            yield Rig(server, client, limits, telemetry)
        finally:
            await client.close()


def run(test: Callable[[Rig], Coroutine[Any, Any, None]], public: bool = False) -> None:
    async def main() -> None:
        async with rig(public) as made:
            await test(made)

    uvloop.run(main())


def test_signed_request_carries_key_in_the_header_and_parameters_in_the_query() -> None:
    async def test(made: Rig) -> None:
        await made.place(json_reply({}))
        (request,) = made.server.requests
        assert request.headers["X-MBX-APIKEY"] == API_KEY
        assert list(request.query)[-1] == "signature"
        payload = request.query_string.rpartition("&signature=")[0]
        assert request.query["signature"] == signer().signature(payload.encode())
        assert API_SECRET not in request.query_string
        assert not request.can_read_body

    run(test)


def test_public_request_needs_no_key_and_sends_none() -> None:
    async def test(made: Rig) -> None:
        assert isinstance(await made.place(json_reply({"serverTime": 1}), SERVER_TIME), HttpReply)
        assert "X-MBX-APIKEY" not in made.server.requests[0].headers
        assert await made.client.exchange(PLACE, {}) == NotSent("no_credentials")

    run(test, public=True)


def test_public_request_of_a_client_with_a_key_does_not_show_it() -> None:
    async def test(made: Rig) -> None:
        await made.place(json_reply({}), INSTRUMENTS)
        assert "X-MBX-APIKEY" not in made.server.requests[0].headers
        assert not made.server.requests[0].query_string.count("signature")

    run(test)


@pytest.mark.parametrize("fault", [reset_before_reply, reset_within_reply])
@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE"])
def test_order_command_when_the_connection_breaks_is_in_doubt_and_not_sent_again(fault: HttpHandler, verb: str) -> None:
    async def test(made: Rig) -> None:
        operation = msgspec.structs.replace(PLACE, verb=verb)
        # A kept-alive connection: the case in which an HTTP client likes to try again by itself.
        await made.place(json_reply({}), operation)
        assert await made.place(fault, operation) == InDoubt("disconnected")
        assert len(made.server.requests) == 2
        assert not made.client.reachable

    run(test)


def test_order_command_when_no_answer_comes_in_time_is_in_doubt() -> None:
    async def test(made: Rig) -> None:
        assert await made.place(hang, msgspec.structs.replace(PLACE, deadline_ms=50)) == InDoubt("timeout")
        assert counted(made.telemetry, "grinder_http_fail_total") == {("place_order", "timeout"): 1.0}

    run(test)


def test_order_command_when_nobody_listens_was_certainly_not_sent() -> None:
    async def test(made: Rig) -> None:
        made.client._base_url = "http://127.0.0.1:9"
        assert await made.client.exchange(PLACE, {}) == NotSent("no_connection")
        assert not made.client.reachable

    run(test)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."}),
        (503, {"msg": "Service Unavailable."}),
        (503, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}),
        (503, {"code": -1008, "msg": "Server is currently overloaded with other requests."}),
        (504, {"code": -1007, "msg": "Timeout waiting for response from backend server."}),
        (408, {"code": -1007, "msg": "Timeout waiting for response from backend server."}),
        (400, {"code": -1006, "msg": "An unexpected response was received from the message bus."}),
        (200, {"code": -1007, "msg": "Timeout"}),
        (200, {}),
        (200, []),
        (301, {}),
    ],
)
def test_order_command_when_the_answer_does_not_settle_it_is_in_doubt(status: int, body: object) -> None:
    async def test(made: Rig) -> None:
        outcome: Any = await made.place(json_reply(body, status, Location=made.server.url + "/elsewhere"))
        assert isinstance(settle(outcome, REQUEST), InDoubt)
        assert len(made.server.requests) == 1

    run(test)


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"\xff\xfe\x00", b'{"orderId":'])
@pytest.mark.parametrize("status", [200, 400, 502, 503])
def test_order_command_when_the_answer_is_garbage_is_in_doubt(status: int, body: bytes) -> None:
    async def test(made: Rig) -> None:
        outcome: Any = await made.place(raw_reply(body, status))
        assert isinstance(settle(outcome, REQUEST), InDoubt)

    run(test)


def test_reply_longer_than_any_of_the_venue_is_in_doubt() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(VENUE_MESSAGE_BYTES_MAX // (1 << 20) + 1):
            await response.write(b" " * (1 << 20))
        return response

    async def test(made: Rig) -> None:
        assert await made.place(endless) == InDoubt("too_large")

    run(test)


def test_refusal_in_a_success_is_a_refusal() -> None:
    async def test(made: Rig) -> None:
        outcome: Any = await made.place(json_reply({"code": -2011, "msg": "Unknown order sent."}), CANCEL)
        reply = settle(outcome, CancelAllOrders("BTCUSDT"))
        assert isinstance(reply, Rejected)
        assert reply.advice is Advice.NOT_FOUND

    run(test)


def why_not(outcome: HttpOutcome) -> str:
    """Return why a request was kept here."""
    assert isinstance(outcome, NotSent)
    return outcome.why


def test_refusal_for_load_stops_everything_but_protective_requests() -> None:
    async def test(made: Rig) -> None:
        refused: Any = await made.place(json_reply({"code": -1003, "msg": "Too many requests"}, 429, Retry_After="7"))
        assert (refused.advice, refused.retry_after_ms) == (Advice.RATE_LIMIT, 7_000)
        assert why_not(await made.client.exchange(POSITIONS, {})) == "retry_after"
        assert why_not(await made.client.exchange(PLACE, {})) == "retry_after"
        assert not isinstance(await made.client.exchange(CANCEL, {}), NotSent)
        assert not isinstance(await made.client.exchange(PLACE, {}, Urgency.PROTECTIVE), NotSent)
        assert len(made.server.requests) == 3

    run(test)


def test_ban_without_a_header_lasts_until_the_time_in_the_message() -> None:
    async def test(made: Rig) -> None:
        until = SteadyClock().utc_ms() + 500_000
        refused: Any = await made.place(
            json_reply({"code": -1003, "msg": f"Way too much request weight used; IP banned until {until}."}, 418)
        )
        assert refused.advice is Advice.BANNED
        assert refused.retry_after_ms == 500_000
        assert why_not(await made.client.exchange(POSITIONS, {})) == "banned"

    run(test)


def test_firewall_page_is_a_refusal_for_load() -> None:
    async def test(made: Rig) -> None:
        refused: Any = await made.place(raw_reply(b"<html>403 Forbidden</html>", 403))
        assert refused.advice is Advice.RATE_LIMIT
        assert why_not(await made.client.exchange(POSITIONS, {})) == "retry_after"

    run(test)


def test_usage_headers_are_read_back_and_bad_ones_passed_over() -> None:
    async def test(made: Rig) -> None:
        await made.place(
            json_reply({}, X_MBX_USED_WEIGHT_1M="1234", X_MBX_ORDER_COUNT_10S="55", X_MBX_ORDER_COUNT_1M="many")
        )
        uses = {
            (use.kind, use.interval_s): use.used for use in made.limits.uses(venue_utc_ms=made.client.venue_utc_ms())
        }
        assert uses == {("REQUEST_WEIGHT", 60): 1234, ("ORDERS", 10): 55, ("ORDERS", 60): 1}

    run(test)


def test_full_limit_keeps_a_request_here() -> None:
    async def test(made: Rig) -> None:
        made.limits.observe([RateUse("ORDERS", 60, 0, 1_200)], venue_utc_ms=made.client.venue_utc_ms())
        assert await made.client.exchange(PLACE, {}) == NotSent("rate_limit")
        assert made.server.requests == []

    run(test)


def test_nothing_that_the_client_returns_shows_key_or_signature() -> None:
    async def test(made: Rig) -> None:
        async def echo(request: web.Request) -> web.StreamResponse:
            text = f"bad {request.query_string} {request.headers['X-MBX-APIKEY']}"
            return web.json_response({"code": -1022, "msg": text}, status=400)

        refused = await made.place(echo)
        signature = made.server.requests[0].query["signature"]
        for text in (repr(refused), repr(made.client)):
            assert signature not in text
            assert API_KEY not in text
            assert API_SECRET not in text

    run(test)


def test_order_that_adds_risk_when_every_connection_is_taken_never_leaves_and_a_cancel_still_does() -> None:
    async def test(made: Rig) -> None:
        free = asyncio.Event()

        async def held(request: web.Request) -> web.StreamResponse:
            await free.wait()
            return web.json_response([])

        made.server.http[POSITIONS.verb, POSITIONS.path] = held
        made.server.http[ORDER] = json_reply({})
        made.server.http[CANCEL.verb, CANCEL.path] = json_reply({})
        taken = [asyncio.create_task(made.client.exchange(POSITIONS, {})) for _ in range(CONNECTIONS_MAX)]
        while len(made.server.requests) < CONNECTIONS_MAX:
            await asyncio.sleep(0.01)
        cancel = asyncio.create_task(made.client.exchange(CANCEL, {"symbol": "BTCUSDT"}))
        assert await made.client.exchange(PLACE, {"symbol": "BTCUSDT"}) == NotSent("no_connection")
        free.set()
        assert isinstance(await cancel, HttpReply)
        await asyncio.gather(*taken)
        assert not [request for request in made.server.requests if request.method == "POST"]

    run(test)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import web

from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.rest import RestClient
from grinder.adapters.binance.user_stream import UserStream
from grinder.model.limits import LISTEN_KEY_LIFE_S
from grinder.model.venue import AccountEvent, UserEvent, UserStreamDown, UserStreamUp
from tests.contract.venue_server import (
    API_KEY,
    SteadyClock,
    VenueServer,
    abort,
    counted,
    eventually,
    json_reply,
    recorder,
    running_server,
    signer,
)
from tests.market import RecordingLog

KEY = "/fapi/v1/listenKey"
ACCOUNT_EVENT = '{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{"m":"ORDER","B":[],"P":[]}}'


class MovingClock(SteadyClock):
    """A monotonic clock that can be pushed forward."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def mono_ns(self) -> int:
        return SteadyClock.mono_ns() + self.ahead_ns


class Rig:
    def __init__(self, server: VenueServer, rest: RestClient, life_s: float, extend_s: float, gap_s: float) -> None:
        self.server = server
        self.clock = MovingClock()
        self.telemetry = recorder()
        self.log = RecordingLog()
        self.events: list[UserEvent] = []
        self.stream = UserStream(
            server.ws_url,
            rest,
            self.events.append,
            name="user_stream",
            clock=self.clock,
            telemetry=self.telemetry,
            log=self.log,
            life_s=life_s,
            extend_s=extend_s,
            gap_s=gap_s,
        )

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def key_requests(self, verb: str) -> int:
        return sum(request.method == verb and request.path == KEY for request in self.server.requests)


@asynccontextmanager
async def rig(life_s: float, extend_s: float, gap_s: float) -> AsyncIterator[Rig]:
    async with running_server() as server:
        keys = iter(range(1_000))

        async def new_key(_: web.Request) -> web.StreamResponse:
            return web.json_response({"listenKey": f"key-{next(keys)}"})

        server.http["POST", KEY] = new_key
        rest = RestClient(server.url, signer(), clock=SteadyClock(), limits=Limits(), telemetry=recorder())
        await rest.open()
        made = Rig(server, rest, life_s, extend_s, gap_s)
        task = asyncio.create_task(made.stream.run())
        try:
            await eventually(lambda: len(server.private) == 1)
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await rest.close()
        assert made.key_requests("DELETE") == 0


def run(
    test: Callable[[Rig], Coroutine[Any, Any, None]],
    life_s: float = 3_600.0,
    extend_s: float = 1_800.0,
    gap_s: float = 3_600.0,
) -> None:
    async def main() -> None:
        async with rig(life_s, extend_s, gap_s) as made:
            await test(made)

    uvloop.run(main())


def test_stream_is_announced_before_its_first_event_and_events_arrive_in_order() -> None:
    async def test(made: Rig) -> None:
        await made.server.private[0].send_str(ACCOUNT_EVENT)
        await made.server.private[0].send_str(ACCOUNT_EVENT.replace('"E":1', '"E":2'))
        await eventually(lambda: len(made.events) == 3)
        assert isinstance(made.events[0], UserStreamUp)
        assert [event.event_utc_ms for event in made.events[1:] if isinstance(event, AccountEvent)] == [1, 2]
        assert made.server.private_keys == ["key-0"]
        assert made.server.requests[0].headers["X-MBX-APIKEY"] == API_KEY
        assert "signature" not in made.server.requests[0].query

    run(test)


def test_event_that_arrives_together_with_the_handshake_comes_after_the_announcement() -> None:
    async def test(made: Rig) -> None:
        made.server.private_greeting = ACCOUNT_EVENT
        abort(made.server.private[0])
        await eventually(lambda: len(made.events) >= 4)
        assert made.kinds() == ["UserStreamUp", "UserStreamDown", "UserStreamUp", "AccountEvent"]

    run(test)


@pytest.mark.parametrize("bad", ["", "{", '{"e":"ORDER_TRADE_UPDATE"}', '{"e":5}'])
def test_bad_message_is_counted_and_a_gap_and_the_next_one_arrives(bad: str) -> None:
    async def test(made: Rig) -> None:
        await made.server.private[0].send_str(bad)
        await made.server.private[0].send_str(ACCOUNT_EVENT)
        await eventually(lambda: made.kinds() == ["UserStreamUp", "UserStreamUp", "AccountEvent"])
        assert counted(made.telemetry, "grinder_user_stream_bad_payloads_total") == {(): 1.0}
        assert len(made.server.private_keys) == 1

    run(test)


async def send_bad(made: Rig, messages: int) -> None:
    bad = sum(counted(made.telemetry, "grinder_user_stream_bad_payloads_total").values())
    for _ in range(messages):
        await made.server.private[-1].send_str("{")
    await made.server.private[-1].send_str(ACCOUNT_EVENT)
    await eventually(
        lambda: sum(counted(made.telemetry, "grinder_user_stream_bad_payloads_total").values()) == bad + messages
    )


def test_storm_of_bad_messages_when_it_lasts_then_one_gap_now_and_none_before_the_period_is_over() -> None:
    async def test(made: Rig) -> None:
        await send_bad(made, 200)
        await eventually(lambda: "AccountEvent" in made.kinds())
        assert made.kinds() == ["UserStreamUp", "UserStreamUp", "AccountEvent"]
        abort(made.server.private[0])
        await eventually(lambda: made.kinds()[3:] == ["UserStreamDown", "UserStreamUp"])
        await send_bad(made, 200)
        await eventually(lambda: len(made.events) >= 6)
        assert made.kinds()[5:] == ["AccountEvent"], "a new connection is no way round the bound"

    run(test)


def test_bad_message_within_the_period_when_it_is_over_then_said_once() -> None:
    async def test(made: Rig) -> None:
        await send_bad(made, 50)
        await eventually(lambda: made.kinds().count("UserStreamUp") == 3)
        made.clock.ahead_ns += 3_600 * 10**9
        await send_bad(made, 1)
        await eventually(lambda: made.kinds().count("UserStreamUp") == 4)

    run(test, gap_s=0.5)


def test_gap_that_is_due_when_the_connection_is_gone_then_not_said_to_be_up() -> None:
    async def test(made: Rig) -> None:
        await send_bad(made, 2)
        due = asyncio.get_running_loop().time() + 0.6
        made.server.http["POST", KEY] = json_reply({}, status=500)
        abort(made.server.private[0])
        await eventually(lambda: "UserStreamDown" in made.kinds())
        await eventually(lambda: asyncio.get_running_loop().time() > due)
        assert made.kinds()[-1] == "UserStreamDown"

    run(test, gap_s=0.5)


def test_trade_lite_is_counted_as_ignored() -> None:
    async def test(made: Rig) -> None:
        await made.server.private[0].send_str('{"e":"TRADE_LITE","E":1,"s":"BTCUSDT","t":5}')
        await eventually(lambda: counted(made.telemetry, "grinder_user_stream_ignored_total") == {(): 1.0})
        assert made.kinds() == ["UserStreamUp"]

    run(test)


@pytest.mark.parametrize("gently", [True, False])
def test_lost_connection_is_said_and_built_again_with_a_new_key(gently: bool) -> None:
    async def test(made: Rig) -> None:
        if gently:
            await made.server.private[0].close()
        else:
            abort(made.server.private[0])
        await eventually(lambda: made.kinds() == ["UserStreamUp", "UserStreamDown", "UserStreamUp"])
        assert made.server.private_keys == ["key-0", "key-1"]

    run(test)


@pytest.mark.parametrize(
    "message", ['{"e":"listenKeyExpired","E":1,"listenKey":"key-0"}', '{"e":"listenKeyExpired","E":1}']
)
def test_expired_key_is_replaced(message: str) -> None:
    async def test(made: Rig) -> None:
        await made.server.private[0].send_str(message)
        await eventually(lambda: made.kinds() == ["UserStreamUp", "UserStreamDown", "UserStreamUp"])
        assert made.events[1] == UserStreamDown("key_expired")
        assert made.server.private_keys == ["key-0", "key-1"]

    run(test)


def test_expiry_of_another_key_changes_nothing() -> None:
    async def test(made: Rig) -> None:
        await made.server.private[0].send_str('{"e":"listenKeyExpired","E":1,"listenKey":"other"}')
        await made.server.private[0].send_str(ACCOUNT_EVENT)
        await eventually(lambda: made.kinds() == ["UserStreamUp", "AccountEvent"])

    run(test)


def test_key_that_the_venue_does_not_know_at_extension_is_replaced() -> None:
    async def test(made: Rig) -> None:
        made.server.http["PUT", KEY] = json_reply({"code": -1125, "msg": "This listenKey does not exist."}, 400)
        await eventually(lambda: made.kinds()[:3] == ["UserStreamUp", "UserStreamDown", "UserStreamUp"])
        assert made.events[1] == UserStreamDown("key_expired")

    run(test, extend_s=0.02)


def test_extension_that_fails_otherwise_is_tried_again_and_the_stream_stays_up() -> None:
    async def test(made: Rig) -> None:
        made.server.http["PUT", KEY] = json_reply({}, 503)
        await eventually(lambda: made.key_requests("PUT") >= 3)
        assert made.kinds() == ["UserStreamUp"]
        assert "LISTEN_KEY_NOT_EXTENDED" in made.log.names()

    run(test, extend_s=0.02)


def test_key_that_is_extended_in_time_keeps_the_stream_up() -> None:
    async def test(made: Rig) -> None:
        await eventually(lambda: made.key_requests("PUT") >= 3)
        assert made.kinds() == ["UserStreamUp"]
        assert "LISTEN_KEY_NOT_EXTENDED" not in made.log.names()

    run(test, extend_s=0.02)


def test_key_that_could_not_be_extended_for_almost_its_life_is_replaced() -> None:
    async def test(made: Rig) -> None:
        made.server.http["PUT", KEY] = json_reply({}, 503)
        await eventually(lambda: made.key_requests("PUT") >= 1)
        assert made.kinds() == ["UserStreamUp"]
        made.clock.ahead_ns = LISTEN_KEY_LIFE_S * 1_000_000_000
        await eventually(lambda: made.kinds()[:3] == ["UserStreamUp", "UserStreamDown", "UserStreamUp"])
        assert made.events[1] == UserStreamDown("key_not_extended")

    run(test, life_s=86_400.0, extend_s=0.02)


def test_rotation_announces_the_new_connection_without_a_gap_and_closes_the_old_one() -> None:
    async def test(made: Rig) -> None:
        await eventually(lambda: len(made.server.private) >= 2 and made.server.private[0].closed)
        assert made.kinds()[:2] == ["UserStreamUp", "UserStreamUp"]
        assert "UserStreamDown" not in made.kinds()

    run(test, life_s=0.2)


def test_no_key_to_be_had_is_retried_until_there_is_one() -> None:
    async def test(made: Rig) -> None:
        refused = json_reply({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, 401)
        granted = made.server.http["POST", KEY]
        made.server.http["POST", KEY] = refused
        abort(made.server.private[0])
        await eventually(lambda: "LISTEN_KEY_FAILED" in made.log.names())
        assert made.kinds() == ["UserStreamUp", "UserStreamDown"]
        made.server.http["POST", KEY] = granted
        await eventually(lambda: made.kinds() == ["UserStreamUp", "UserStreamDown", "UserStreamUp"])

    run(test)


def test_listen_key_never_appears_in_a_log() -> None:
    async def test(made: Rig) -> None:
        abort(made.server.private[0])
        await eventually(lambda: len(made.server.private) == 2)
        assert "key-0" not in repr(made.log.events)
        assert "key-0" not in repr(made.events)

    run(test)

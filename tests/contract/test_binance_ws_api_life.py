from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import uvloop

from grinder.model.venue import Confirmed, InDoubt
from tests.contract.tls import authority_and_server
from tests.contract.venue_server import (
    Replies,
    abort,
    answer_order,
    counted,
    eventually,
    running_server,
    settle,
)
from tests.contract.ws_api_rig import PLACE, Rig, run, silence


@pytest.mark.parametrize("gently", [True, False])
def test_lost_connection_puts_all_that_waits_in_doubt_and_is_built_again(gently: bool) -> None:
    async def test(made: Rig) -> None:
        made.server.on_message = silence
        waiting = [await made.send() for _ in range(5)]
        await eventually(lambda: len(made.server.messages) == 5)
        if gently:
            await made.server.sockets[0].close()
        else:
            abort(made.server.sockets[0])
        for replies in waiting:
            assert await replies.only() == InDoubt("disconnected")
        made.server.on_message = answer_order
        await eventually(lambda: len(made.server.sockets) == 2 and made.api.connected)
        assert isinstance(await (await made.send()).only(), Confirmed)
        assert counted(made.telemetry, "grinder_ws_connected") == {("ws_api",): 1.0}
        assert counted(made.telemetry, "grinder_ws_reconnect_total") == {("ws_api", "disconnect"): 1.0}

    run(test)


def test_request_while_not_connected_was_certainly_not_sent() -> None:
    async def test(made: Rig) -> None:
        made.server.ws_api_status = 503
        abort(made.server.sockets[0])
        await eventually(lambda: not made.api.connected)
        replies = Replies()
        assert not made.api.send(PLACE, replies)
        await settle()
        assert replies.values == []
        await eventually(lambda: "VENUE_CONNECT_REFUSED" in made.log.names())

    run(test)


def test_rotation_keeps_the_path_up_and_lets_the_old_connection_answer() -> None:
    async def test(made: Rig) -> None:
        made.server.on_message = silence
        replies = await made.send()
        await eventually(lambda: len(made.server.messages) == 1)
        await eventually(lambda: len(made.server.sockets) >= 2 and made.api.connected)
        await answer_order(made.server.sockets[0], made.server.messages[0])
        assert isinstance(await replies.only(), Confirmed)
        made.server.on_message = answer_order
        assert isinstance(await (await made.send()).only(), Confirmed)
        assert ("ws_api", "disconnect") not in counted(made.telemetry, "grinder_ws_reconnect_total")

    run(test, life_s=0.2)


def test_closing_puts_what_waits_in_doubt() -> None:
    async def main() -> None:
        async with running_server() as server:
            made = Rig(server, 3_600.0)
            task = asyncio.create_task(made.api.run())
            await eventually(lambda: made.api.connected)
            server.on_message = silence
            replies = await made.send()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await replies.only() == InDoubt("disconnected")
            assert not made.api.connected

    uvloop.run(main())


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS context for 127.0.0.1, trusted by clients that use the default trust store."""
    authority, context = authority_and_server(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    return context


def test_orders_over_tls_go_out_one_after_the_other(certificate: ssl.SSLContext) -> None:
    async def main() -> None:
        async with running_server(certificate) as server:
            made = Rig(server, 3_600.0)
            task = asyncio.create_task(made.api.run())
            await eventually(lambda: made.api.connected)
            for _ in range(3):
                together = [await made.send() for _ in range(5)]
                assert made.api.connected
                for replies in together:
                    assert isinstance(await replies.only(), Confirmed)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    uvloop.run(main())

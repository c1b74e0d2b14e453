"""Who is looked at before the wire: commands of the executor of a cluster's host, and of nobody else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from grinder.adapters.binance.account import AccountLink
from grinder.adapters.clock import SystemClock
from grinder.adapters.runtime import Boot
from grinder.model.control import Process
from grinder.model.venue import NotSent, QueryPositions, VenueReply, VenueRequest
from grinder.settings import OrderTransport
from grinder.settings.secret import Secret
from tests.contract.venue_server import Replies, recorder
from tests.fakes import FakeBoard
from tests.market import RecordingLog
from tests.venue_requests import PLACE

NOBODY = "127.0.0.1:9"
"""Nobody listens there."""


def boot(process: Process, ha_enabled: bool, transport: OrderTransport, state_dir: Path) -> Boot:
    settings = SimpleNamespace(
        binance_api_key=Secret("k" * 64),
        binance_api_secret=Secret("s" * 64),
        recv_window_ms=5_000,
        order_transport=transport,
        venue_rest_url=f"http://{NOBODY}",
        venue_ws_api_url=f"ws://{NOBODY}/ws-fapi/v1",
        state_dir=state_dir,
        ha_enabled=ha_enabled,
    )
    parts: dict[str, Any] = {
        "clock": SystemClock(),
        "board": FakeBoard(),
        "telemetry": recorder(),
        "log": RecordingLog(),
    }
    return cast(Boot, SimpleNamespace(process=process, settings=settings, **parts))


def reply_to(request: VenueRequest, made: Boot) -> VenueReply:
    async def ask() -> VenueReply:
        link = AccountLink(made)
        replies = Replies()
        async with link.open(None):
            link.venue.submit(request, replies)
            return await replies.only()

    return uvloop.run(ask())


@pytest.mark.parametrize("transport", OrderTransport)
def test_link_when_the_executor_of_a_cluster_does_not_lead_then_no_command_is_tried(
    transport: OrderTransport, tmp_path: Path
) -> None:
    made = boot(Process.EXECUTOR, True, transport, tmp_path)
    assert reply_to(QueryPositions(), made) == NotSent("no_connection")
    # By REST the look is when there is a connection, and here there is none.
    expected = "NOT_LEADER" if transport is OrderTransport.WS_API else "no_connection"
    assert reply_to(PLACE, made) == NotSent(expected)


@pytest.mark.parametrize(("process", "ha_enabled"), [(Process.EXECUTOR, False), (Process.SYNCER, True)])
def test_link_when_the_host_is_alone_or_the_process_commands_nothing_then_nobody_looks(
    process: Process, ha_enabled: bool, tmp_path: Path
) -> None:
    made = boot(process, ha_enabled, OrderTransport.WS_API, tmp_path)
    assert reply_to(PLACE, made) == NotSent("no_connection")

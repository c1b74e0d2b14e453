"""The feed process: market data in, from the venue's streams or a fixture; latest prices and their health out."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import uvloop

import procs._boot as start
from grinder.adapters.airgap import install_airgap
from grinder.adapters.binance.market_stream import DATA_DEADLINES_MS, MarketStream, plan_streams
from grinder.adapters.fixture import FixtureStream, check_fixture
from grinder.adapters.loop import run_async
from grinder.adapters.runtime import Boot
from grinder.model.channels import MARKET
from grinder.model.control import Process
from grinder.model.market import StreamKind
from grinder.services.feed import FeedConfig, FeedService

STREAMS: Final = (StreamKind.BOOK_TICKER, StreamKind.MARK_PRICE, StreamKind.TRADE)
REQUIRED: Final = frozenset({StreamKind.BOOK_TICKER, StreamKind.MARK_PRICE})


def make_service(boot: Boot) -> FeedService:
    """Return the service; a fixture owes no stream in particular, and its event times are not those of now."""
    settings = boot.settings
    config = FeedConfig(
        symbols=settings.symbols,
        expected=frozenset() if settings.fixture else REQUIRED,
        stale_ms=settings.feed_stale_ms,
        judge_lag=not settings.fixture,
    )
    return FeedService(
        config,
        clock=boot.clock,
        board=boot.board,
        market=boot.publisher(MARKET),
        telemetry=boot.telemetry,
        log=boot.log,
        request_snapshot=lambda symbol: boot.log.event("DEPTH_SNAPSHOT_WANTED", symbol=symbol),
    )


def make_sources(boot: Boot, service: FeedService) -> list[Coroutine[Any, Any, None]]:
    """Return what delivers: one fixture, or one connection per routed path."""
    settings, clock = boot.settings, boot.clock
    if settings.fixture:
        check_fixture(Path(settings.fixture))
        install_airgap()
        speed = float(settings.sim_speed)
        return [FixtureStream(Path(settings.fixture), service, clock=clock, speed=speed).run()]
    deadlines_ms = DATA_DEADLINES_MS | {StreamKind.BOOK_TICKER: settings.feed_stale_ms}
    return [
        MarketStream(settings.venue_ws_url, plan, service, clock=clock, log=boot.log, jitter=random.random).run()
        for plan in plan_streams(settings.symbols, STREAMS, deadlines_ms)
    ]


async def feed(boot: Boot) -> None:
    """Feed until stopped."""
    service = make_service(boot)
    await run_async(boot, service, None, tasks=make_sources(boot, service))


def main() -> None:
    """Run the feed process."""
    start.run(Process.FEED, lambda boot: uvloop.run(feed(boot)))


if __name__ == "__main__":
    main()

"""The feed process: market data in, from the venue's streams or a fixture; latest prices and their health out."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import uvloop

import procs._boot as start
from grinder.adapters.airgap import install_airgap
from grinder.adapters.binance.depth import DepthSnapshots
from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.market_stream import DATA_DEADLINES_MS, MarketStream, plan_streams
from grinder.adapters.binance.stops import SharedStops
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.fixture import FixtureStream, check_fixture
from grinder.adapters.loop import run_async
from grinder.adapters.runtime import Boot
from grinder.model.channels import MARKET
from grinder.model.control import Process
from grinder.model.market import StreamKind
from grinder.services.feed import FeedConfig, FeedService
from grinder.settings import OrderTransport, Settings, StreamMode

STREAMS: Final = (StreamKind.BOOK_TICKER, StreamKind.MARK_PRICE, StreamKind.TRADE)
REQUIRED: Final = frozenset({StreamKind.BOOK_TICKER, StreamKind.MARK_PRICE})


def feed_config(settings: Settings) -> FeedConfig:
    """Return what the feed is told; a fixture owes no stream in particular, and its times are not those of now."""
    return FeedConfig(
        symbols=settings.symbols,
        expected=frozenset() if settings.fixture else REQUIRED,
        stale_ms=settings.feed_stale_ms,
        judge_lag=not settings.fixture,
    )


def make_service(boot: Boot, request_snapshot: Callable[[str], None]) -> FeedService:
    """Return the service; ``request_snapshot`` has a depth snapshot fetched."""
    return FeedService(
        feed_config(boot.settings),
        clock=boot.clock,
        board=boot.board,
        market=boot.publisher(MARKET),
        telemetry=boot.telemetry,
        log=boot.log,
        request_snapshot=request_snapshot,
    )


def market_streams(boot: Boot, service: FeedService, limits: Limits) -> list[Coroutine[Any, Any, None]]:
    """Return one connection per routed path; none is made while the venue makes this host wait."""
    settings, clock = boot.settings, boot.clock
    deadlines_ms = DATA_DEADLINES_MS | {StreamKind.BOOK_TICKER: settings.feed_stale_ms}
    kinds = (*STREAMS, StreamKind.DEPTH) if settings.feed_depth else STREAMS
    subscribes = settings.stream_mode is StreamMode.SUBSCRIBE
    return [
        MarketStream(
            settings.venue_ws_url, plan, service, clock=clock, log=boot.log, jitter=random.random, limits=limits
        ).run()
        for plan in plan_streams(settings.symbols, kinds, deadlines_ms, subscribes=subscribes)
    ]


async def feed_fixture(boot: Boot) -> None:
    """Feed from a file until stopped; its snapshots come with it."""
    settings = boot.settings
    check_fixture(Path(settings.fixture))
    install_airgap()
    service = make_service(boot, lambda symbol: boot.log.event("DEPTH_SNAPSHOT_WANTED", symbol=symbol))
    stream = FixtureStream(Path(settings.fixture), service, clock=boot.clock, speed=float(settings.sim_speed))
    await run_async(boot, service, None, tasks=[stream.run()])


async def feed_venue(boot: Boot) -> None:
    """Feed from the venue until stopped."""
    settings = boot.settings
    config = VenueConfig(settings.venue_rest_url, "", OrderTransport.REST, settings.state_dir)
    stops = SharedStops(boot.board, Process.FEED)
    venue = BinanceVenue(config, None, clock=boot.clock, telemetry=boot.telemetry, log=boot.log, stops=stops)
    snapshots = DepthSnapshots(venue, lambda snapshot: service.on_market(snapshot), clock=boot.clock, log=boot.log)
    service = make_service(boot, snapshots.request)
    if settings.feed_depth:
        await venue.start()
    else:
        venue.obey_kept_ban()
    try:
        await run_async(boot, service, None, tasks=market_streams(boot, service, venue.rest.limits))
    finally:
        await venue.close()


def main() -> None:
    """Run the feed process."""
    start.run(Process.FEED, lambda boot: uvloop.run(feed_fixture(boot) if boot.settings.fixture else feed_venue(boot)))


if __name__ == "__main__":
    main()

"""Depth snapshots for the feed's books: the pace, failures, and a whole live book against the simulated venue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop

from grinder.adapters.binance.depth import DepthSnapshots
from grinder.adapters.binance.market_stream import MarketStream, plan_streams
from grinder.adapters.clock import SystemClock
from grinder.model.market import DepthSnapshot, StreamKind
from grinder.model.venue import Confirmed, InDoubt, VenueReply, VenueRequest
from grinder.model.venue_account import QueryDepth
from grinder.services.feed import FeedConfig, FeedService
from grinder.sim.wire.assembly import VenueConfig
from tests.contract.fault_rig import Rig, rig
from tests.contract.venue_server import eventually
from tests.fakes import FakeBoard
from tests.market import RecordingLog, RecordingPublisher, RecordingTelemetry

SNAPSHOT = DepthSnapshot("BTCUSDT", 5, (), (), 1, 0)


class OneByOne:
    """A venue that answers when told."""

    connected = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.replies: list[Callable[[VenueReply], None]] = []

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        assert isinstance(request, QueryDepth)
        self.asked.append(request.symbol)
        self.replies.append(on_reply)


def test_snapshots_when_many_are_wanted_then_one_request_at_a_time_and_each_symbol_once() -> None:
    async def test() -> None:
        venue, taken = OneByOne(), list[DepthSnapshot]()
        snapshots = DepthSnapshots(venue, taken.append, clock=SystemClock(), log=RecordingLog(), pace_ms=1)
        for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT", "ETHUSDT"):
            snapshots.request(symbol)
        assert venue.asked == ["BTCUSDT"]
        venue.replies.pop()(Confirmed(SNAPSHOT, 1))
        assert venue.asked == ["BTCUSDT"], "the pace was not kept"
        await eventually(lambda: len(venue.asked) == 2)
        assert venue.asked[1] == "ETHUSDT"
        (first,) = taken
        assert first.recv_mono_ns > 0

    uvloop.run(test())


def test_snapshots_when_the_venue_fails_then_asked_for_again_until_one_comes() -> None:
    async def test() -> None:
        venue, taken, log = OneByOne(), list[DepthSnapshot](), RecordingLog()
        snapshots = DepthSnapshots(venue, taken.append, clock=SystemClock(), log=log, pace_ms=1)
        snapshots.request("BTCUSDT")
        for number in range(1, 4):
            venue.replies.pop()(InDoubt("timeout"))
            await eventually(lambda wanted=number + 1: len(venue.asked) == wanted)
        venue.replies.pop()(Confirmed(SNAPSHOT, 1))
        assert len(taken) == 1
        assert log.names().count("DEPTH_SNAPSHOT_FAILED") == 3

    uvloop.run(test())


def test_snapshots_when_the_taker_asks_again_at_once_then_after_the_pace_and_not_within_the_call() -> None:
    async def test() -> None:
        venue = OneByOne()
        snapshots = DepthSnapshots(
            venue, lambda snapshot: snapshots.request("BTCUSDT"), clock=SystemClock(), log=RecordingLog(), pace_ms=1
        )
        snapshots.request("BTCUSDT")
        venue.replies.pop()(Confirmed(SNAPSHOT, 1))
        assert len(venue.asked) == 1
        await eventually(lambda: len(venue.asked) == 2)

    uvloop.run(test())


class LiveBook:
    """The feed with depth streams against the simulated venue."""

    def __init__(self, made: Rig, *, subscribes: bool) -> None:
        clock = SystemClock()
        self.log, self.telemetry, self.market = RecordingLog(), RecordingTelemetry(), RecordingPublisher()
        snapshots = DepthSnapshots(
            made.venue, lambda snapshot: self.service.on_market(snapshot), clock=clock, log=self.log, pace_ms=50
        )
        config = FeedConfig(("BTCUSDT",), frozenset(), 5_000, False)
        self.service = FeedService(
            config,
            clock=clock,
            board=FakeBoard(),
            market=self.market,
            telemetry=self.telemetry,
            log=self.log,
            request_snapshot=snapshots.request,
        )
        kinds = (StreamKind.BOOK_TICKER, StreamKind.DEPTH)
        (plan,) = plan_streams(("BTCUSDT",), kinds, subscribes=subscribes)
        self.stream = MarketStream(made.ws_url, plan, self.service, clock=clock, log=self.log, jitter=lambda: 0.0)

    def counted(self, name: str, *labels: str) -> float:
        return self.telemetry.counts[(name, *labels)]


async def live(test: Callable[[Rig, LiveBook], object], *, subscribes: bool) -> None:
    config = VenueConfig(port=0, symbols=("BTCUSDT",), tape="synthetic")
    async with rig(config=config) as made:
        book = LiveBook(made, subscribes=subscribes)
        task = asyncio.create_task(book.stream.run())
        try:
            result = test(made, book)
            assert asyncio.iscoroutine(result)
            await result
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_book_when_fed_live_in_both_modes_then_it_equals_the_best_prices() -> None:
    async def compared(made: Rig, book: LiveBook) -> None:
        await eventually(lambda: book.counted("grinder_feed_book_compared_total") >= 3)
        assert book.counted("grinder_feed_book_differs_total") == 0

    for subscribes in (False, True):
        uvloop.run(live(compared, subscribes=subscribes))


def test_book_when_a_difference_is_lost_then_built_again_from_a_new_snapshot() -> None:
    async def lost(made: Rig, book: LiveBook) -> None:
        await eventually(lambda: book.counted("grinder_feed_book_compared_total") >= 1)
        await made.fault(kind="gap", stream="btcusdt@depth@100ms")
        await eventually(lambda: "BOOK_REBUILT" in book.log.names())
        assert book.counted("grinder_feed_book_rebuilds_total", "gap") == 1
        assert book.counted("grinder_feed_book_differs_total") == 0

    uvloop.run(live(lost, subscribes=False))

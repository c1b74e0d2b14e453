"""Every fault of a stream that the simulated venue knows, on the user stream and on a market stream.

Invariant: each trade counts once, orders end as the venue has them (by the stream, or where the stream lost it by a
question), and what the feed publishes goes forward only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
import uvloop

from grinder.adapters.binance.market_stream import SILENT, MarketStream, StreamPlan
from grinder.adapters.clock import SystemClock
from grinder.model.market import BookTop, StreamKind
from grinder.model.orders import OrderState
from grinder.model.units import ZERO
from grinder.model.venue import OrderEvent, PlaceOrder, UserStreamDown, UserStreamUp
from grinder.services.feed import FeedConfig, FeedService
from grinder.sim.exchange.stream_faults import STREAM_KINDS
from tests.contract.fault_rig import QTY, SYMBOL, Rig, rig, run
from tests.contract.venue_server import counted, eventually
from tests.fakes import FakeBoard
from tests.market import RecordingLog, RecordingPublisher, RecordingTelemetry

TICKER = "btcusdt@bookTicker"
DEADLINE_MS = 400
"""Without data for so long a connection is replaced, where a test waits for that; the others shall never meet it."""
LATE_MS = 200


def updates_of(made: Rig, request: PlaceOrder) -> list[OrderEvent]:
    name = request.client_order_id
    return [event for event in made.events if isinstance(event, OrderEvent) and event.client_order_id == name]


async def ends_at_the_truth(made: Rig, request: PlaceOrder) -> None:
    """Check what was counted and the order's state against the venue's own."""
    name = request.client_order_id
    (truth,) = await made.truth(name)
    assert made.follower.traded.get(name, ZERO) == Decimal(truth["executedQty"])
    order = made.follower.orders[name]
    assert (order.state, order.filled_qty) == (OrderState.CANCELED, Decimal(truth["executedQty"]))


async def filled_twice_and_cancelled(made: Rig, **fault: object) -> PlaceOrder:
    """Let an order rest, trade in two parts and be cancelled, with a fault from its first trade on."""
    request = await made.bid()
    await made.value(request)
    await eventually(lambda: len(updates_of(made, request)) == 1)
    if fault:
        await made.fault(**fault)
    for _ in range(2):
        await made.fault(kind="partial_fill", client_id=request.client_order_id)
    await made.cancel(request)
    return request


async def told_in_the_end(made: Rig, kind: str, **fault: object) -> None:
    request = await filled_twice_and_cancelled(made, kind=kind, stream="user", delay_ms=LATE_MS, **fault)
    await eventually(lambda: made.follower.orders[request.client_order_id].state is OrderState.CANCELED)
    await eventually(lambda: made.follower.traded.get(request.client_order_id, ZERO) == QTY * 3 / 4)
    await ends_at_the_truth(made, request)


async def user_twice(made: Rig) -> None:
    await told_in_the_end(made, "duplicate", count=3, event="ORDER_TRADE_UPDATE")


async def user_swapped(made: Rig) -> None:
    await told_in_the_end(made, "reorder", event="ORDER_TRADE_UPDATE")


async def user_again(made: Rig) -> None:
    await told_in_the_end(made, "replay", count=3, span=5)


async def user_late(made: Rig) -> None:
    await told_in_the_end(made, "late", event="ORDER_TRADE_UPDATE")


async def asked_for_instead(made: Rig, kind: str, **fault: object) -> PlaceOrder:
    """What the stream lost is found by a question by id."""
    request = await filled_twice_and_cancelled(made, kind=kind, stream="user", **fault)
    found = await made.query(request)
    assert (found.status, found.filled_qty) == ("CANCELED", QTY * 3 / 4)
    return request


async def user_gap(made: Rig) -> None:
    request = await asked_for_instead(made, "gap", event="ORDER_TRADE_UPDATE", count=2)
    await eventually(lambda: made.follower.orders[request.client_order_id].state is OrderState.CANCELED)
    last = updates_of(made, request)[-1]
    assert last.filled_qty == QTY * 3 / 4, "the next event of the order says how much is missing"


async def user_silent(made: Rig) -> None:
    request = await asked_for_instead(made, "silent")
    assert len(updates_of(made, request)) == 1
    assert made.events[0] == UserStreamUp()
    assert not any(isinstance(event, UserStreamDown) for event in made.events), "silence does not say that it is dead"


async def user_malformed(made: Rig) -> None:
    request = await asked_for_instead(made, "malformed", event="ORDER_TRADE_UPDATE")
    await eventually(lambda: made.follower.orders[request.client_order_id].state is OrderState.CANCELED)
    assert sum(counted(made.telemetry, "grinder_user_stream_bad_payloads_total").values()) == 1
    assert made.events.count(UserStreamUp()) == 2, "what cannot be read is a gap"


async def user_cut(made: Rig) -> None:
    await asked_for_instead(made, "disconnect")
    await eventually(lambda: made.events.count(UserStreamUp()) == 2)
    assert sum(isinstance(event, UserStreamDown) for event in made.events) == 1
    await told_in_the_end(made, "late")


async def user_deaf(made: Rig) -> None:
    """A connection that never sends cannot be told from a quiet one; questions find what it lost."""
    await made.fault(kind="ack_without_data", stream="user")
    await made.fault(kind="cut", stream="user")
    await eventually(lambda: made.events.count(UserStreamUp()) == 2)
    request = await made.bid()
    await made.value(request)
    await made.fault(kind="partial_fill", client_id=request.client_order_id)
    found = await made.query(request)
    assert (found.status, found.filled_qty) == ("PARTIALLY_FILLED", QTY / 2)
    assert updates_of(made, request) == []


USER: dict[str, Callable[[Rig], Awaitable[None]]] = {
    "silent": user_silent,
    "gap": user_gap,
    "duplicate": user_twice,
    "reorder": user_swapped,
    "replay": user_again,
    "late": user_late,
    "malformed": user_malformed,
    "disconnect": user_cut,
    "ack_without_data": user_deaf,
}


@pytest.mark.parametrize("kind", USER)
def test_user_stream_when_it_misbehaves_then_each_trade_counts_once_and_nothing_is_lost(kind: str) -> None:
    async def test(made: Rig) -> None:
        await made.listen()
        await USER[kind](made)

    run(test)


class Feed:
    """The feed's own service behind a market stream with a short data deadline."""

    def __init__(self, made: Rig, deadline_ms: int, *, subscribes: bool = False) -> None:
        clock = SystemClock()
        self.log, self.telemetry, self.market = RecordingLog(), RecordingTelemetry(), RecordingPublisher()
        self.service = FeedService(
            FeedConfig((SYMBOL,), frozenset({StreamKind.BOOK_TICKER}), 5_000, False),
            clock=clock,
            board=FakeBoard(),
            market=self.market,
            telemetry=self.telemetry,
            log=self.log,
            request_snapshot=lambda symbol: None,
        )
        deadlines_ms = dict.fromkeys(StreamKind, deadline_ms)
        plan = StreamPlan("public", (StreamKind.BOOK_TICKER,), (SYMBOL,), deadlines_ms, subscribes=subscribes)
        self.stream = MarketStream(made.ws_url, plan, self.service, clock=clock, log=self.log, jitter=lambda: 0.0)

    def ids(self) -> list[int]:
        return [frame.update_id for frame in self.market.of(BookTop) if isinstance(frame, BookTop)]

    def counted(self, name: str, *labels: str) -> float:
        return self.telemetry.counts[(name, *labels)]

    async def more(self, count: int = 3) -> None:
        """Wait for so many more best prices."""
        before = len(self.ids())
        await eventually(lambda: len(self.ids()) >= before + count)


async def market_silent(made: Rig, feed: Feed) -> None:
    await made.fault(kind="silent", stream=TICKER)
    await eventually(lambda: feed.counted("grinder_ws_reconnect_total", "bookTicker", SILENT) >= 1)
    await made.clear()
    await feed.more()


async def market_gap(made: Rig, feed: Feed) -> None:
    await made.fault(kind="gap", stream=TICKER, count=3)
    await feed.more()


async def market_twice(made: Rig, feed: Feed) -> None:
    await made.fault(kind="duplicate", stream=TICKER, count=3)
    await eventually(lambda: feed.counted("grinder_feed_dropped_total", "duplicate") == 3)


async def market_swapped(made: Rig, feed: Feed) -> None:
    await made.fault(kind="reorder", stream=TICKER)
    await eventually(lambda: feed.counted("grinder_feed_dropped_total", "out_of_order") == 1)


async def market_again(made: Rig, feed: Feed) -> None:
    await made.fault(kind="replay", stream=TICKER, span=3, skip=4)
    await eventually(lambda: feed.counted("grinder_feed_dropped_total", "out_of_order") == 3)


async def market_late(made: Rig, feed: Feed) -> None:
    await made.fault(kind="late", stream=TICKER, delay_ms=LATE_MS)
    await eventually(lambda: feed.counted("grinder_feed_dropped_total", "out_of_order") == 1)


async def market_malformed(made: Rig, feed: Feed) -> None:
    await made.fault(kind="malformed", stream=TICKER, count=2)
    await eventually(lambda: feed.counted("grinder_feed_dropped_total", "truncated") == 2)
    await feed.more()


async def market_cut(made: Rig, feed: Feed) -> None:
    await made.fault(kind="disconnect", stream=TICKER)
    await eventually(lambda: feed.counted("grinder_ws_reconnect_total", "bookTicker", "disconnect") == 1)
    await feed.more()


async def market_deaf(made: Rig, feed: Feed) -> None:
    """An acknowledgement is no data: the deadline sees it, and the connection is replaced."""
    await made.fault(kind="ack_without_data", stream=TICKER)
    await made.fault(kind="cut", stream=TICKER)
    await eventually(lambda: feed.counted("grinder_ws_reconnect_total", "bookTicker", SILENT) >= 1)
    await feed.more()


MARKET: dict[str, Callable[[Rig, Feed], Awaitable[None]]] = {
    "silent": market_silent,
    "gap": market_gap,
    "duplicate": market_twice,
    "reorder": market_swapped,
    "replay": market_again,
    "late": market_late,
    "malformed": market_malformed,
    "disconnect": market_cut,
    "ack_without_data": market_deaf,
}


WAITED_OUT = ("silent", "ack_without_data")
"""What only the deadline for data shows."""


@pytest.mark.parametrize("subscribes", [False, True], ids=["url", "subscribe"])
@pytest.mark.parametrize("kind", MARKET)
def test_market_stream_when_it_misbehaves_then_prices_go_forward_only_and_come_again(
    kind: str, subscribes: bool
) -> None:
    async def test() -> None:
        async with rig() as made:
            deadline_ms = DEADLINE_MS if kind in WAITED_OUT else 100 * DEADLINE_MS
            feed = Feed(made, deadline_ms, subscribes=subscribes)
            task = asyncio.create_task(feed.stream.run())
            try:
                await feed.more()
                await MARKET[kind](made, feed)
                ids = feed.ids()
                assert ids == sorted(set(ids))
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    uvloop.run(test())


def test_tables_when_compared_with_the_venues_faults_then_they_have_every_one_of_them() -> None:
    assert set(USER) == set(MARKET) == set(STREAM_KINDS)

"""Every fault of the whole venue that the simulated one knows: keys, clock, fills, delisting, bans, cuts, restarts.

Invariant: after each of them the adapter works again by itself, or says why it does not, and orders stand as the venue
has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec
import pytest
import uvloop

from grinder.adapters.binance.ban import BAN_FILE
from grinder.core.orders import closed_by_venue
from grinder.model.account import Balance
from grinder.model.board import Word
from grinder.model.orders import OrderState
from grinder.model.venue import (
    AccountEvent,
    Advice,
    CancelOrder,
    Exchange,
    InDoubt,
    NotSent,
    OrderEvent,
    OrderType,
    QueryBalance,
    QueryInstruments,
    QueryOpenOrders,
    Rejected,
    UserStreamDown,
    UserStreamUp,
    VenueReply,
)
from grinder.services.venue_facts import VenueFacts
from grinder.settings import OrderTransport
from grinder.sim.wire.acts import ACTS
from tests.contract.fault_rig import QTY, SYMBOL, Rig, rig
from tests.contract.venue_server import WAIT_S, eventually
from tests.fakes import FakeBoard
from tests.market import RecordingLog, RecordingTelemetry

BAN_MS = 60_000
SKEW_MS = 30_000


async def delivers(made: Rig) -> None:
    """Check that the user stream tells of a new order."""
    request = await made.bid()
    await made.value(request)
    await eventually(lambda: made.follower.orders[request.client_order_id].state is OrderState.OPEN)


async def key_expired(made: Rig) -> None:
    await made.listen()
    await made.fault(kind="listen_key_expired")
    await eventually(lambda: made.events == [UserStreamUp(), UserStreamDown("key_expired"), UserStreamUp()])
    await delivers(made)


async def key_lost(made: Rig) -> None:
    """Nobody says that the key is gone: the next extension is refused with -1125."""
    await made.listen(extend_s=0.2)
    await made.fault(kind="listen_key_lost")
    await eventually(lambda: made.events == [UserStreamUp(), UserStreamDown("key_expired"), UserStreamUp()])
    await delivers(made)


async def clock_jumps(made: Rig) -> None:
    board, log = FakeBoard(), RecordingLog()
    facts = VenueFacts(made.venue, board, made.clock, RecordingTelemetry(), log, (SYMBOL,))

    async def measured(skew_ms: int) -> None:
        def close() -> bool:
            facts.on_timer()
            return abs(board.read(Word.VENUE_CLOCK_OFFSET_US) - skew_ms * 1_000) < 500_000

        await eventually(close)
        made.offset_ms = board.read(Word.VENUE_CLOCK_OFFSET_US) // 1_000

    await measured(0)
    await made.value(await made.bid())
    await made.fault(kind="clock_skew", skew_ms=SKEW_MS)
    refused = await made.ask(await made.bid())
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.advice) == (-1021, Advice.CLOCK)
    await measured(SKEW_MS)
    await made.value(await made.bid())
    assert "CLOCK_STEP" in log.names()
    assert "CLOCK_OFFSET" in log.names()


async def fills_partly(made: Rig) -> None:
    await made.listen()
    request = await made.bid()
    await made.value(request)
    for _ in range(2):
        await made.fault(kind="partial_fill", client_id=request.client_order_id)
    await eventually(lambda: made.follower.traded.get(request.client_order_id) == QTY * 3 / 4)
    order = made.follower.orders[request.client_order_id]
    found = await made.query(request)
    (truth,) = await made.truth(request.client_order_id)
    assert order.state is OrderState.PARTIALLY_FILLED
    assert order.filled_qty == found.filled_qty == Decimal(truth["executedQty"])


async def delisted(made: Rig) -> None:
    await made.listen()
    request = await made.bid()
    await made.value(request)
    await made.fault(kind="symbol_status", symbol=SYMBOL, status="SETTLING")
    await eventually(lambda: made.follower.orders[request.client_order_id].state is OrderState.EXPIRED)
    (expired,) = [event for event in made.events if isinstance(event, OrderEvent) and event.status == "EXPIRED"]
    assert expired.expiry == "7"
    exchange = await made.value(QueryInstruments())
    assert isinstance(exchange, Exchange)
    (rules,) = exchange.instruments
    assert rules.status == "SETTLING"
    refused = await made.ask(await made.bid())
    assert isinstance(refused, Rejected), refused
    assert refused.advice in (Advice.RESTRICTED, Advice.FILTER)


async def banned(made: Rig) -> None:
    resting = await made.bid()
    await made.value(resting)
    await made.fault(kind="ban", ban_ms=BAN_MS)
    refused = await made.ask(QueryOpenOrders(SYMBOL))
    assert isinstance(refused, Rejected)
    assert refused.advice is Advice.BANNED
    assert BAN_MS - 5_000 < refused.retry_after_ms <= BAN_MS + 1_000
    before = (await made.get("/sim/state"))["requests"]
    assert made.state_dir is not None
    await eventually((made.state_dir / BAN_FILE).exists)
    another_run = made.another_venue()
    await another_run.start()
    question, cancel = QueryOpenOrders(SYMBOL), CancelOrder(resting.client_order_id, SYMBOL)
    for venue, requests in (made.venue, (question, cancel)), (another_run, (question, cancel, cancel)):
        outcomes = []
        for request in requests:
            replies: list[VenueReply] = []
            venue.submit(request, replies.append)
            await eventually(lambda replies=replies: len(replies) == 1)
            outcomes.append(type(replies[0]))
        assert outcomes == ([NotSent, NotSent] if venue is made.venue else [NotSent, Rejected, NotSent])
    asked = (await made.get("/sim/state"))["requests"] - before
    assert asked == 1, "a cancel is tried by who was not just told; nothing else asks during a ban"
    await another_run.close()


async def holding(made: Rig) -> None:
    """Open the user stream and hold a long position."""
    await made.listen()
    buy = msgspec.structs.replace(await made.bid(), order_type=OrderType.MARKET)
    await made.value(buy)
    await eventually(lambda: made.follower.traded.get(buy.client_order_id) == QTY)


async def funded(made: Rig) -> None:
    await holding(made)
    before = await made.value(QueryBalance())
    await made.fault(kind="funding", symbol=SYMBOL, rate="0.001")
    await eventually(lambda: "FUNDING_FEE" in reasons(made))
    after = await made.value(QueryBalance())
    assert isinstance(before, Balance)
    assert isinstance(after, Balance)
    (event,) = [each for each in made.events if isinstance(each, AccountEvent) and each.reason == "FUNDING_FEE"]
    assert event.wallet_balance == after.wallet_balance < before.wallet_balance


async def deleveraged(made: Rig) -> None:
    await holding(made)
    await made.fault(kind="deleverage", symbol=SYMBOL, share="0.5")
    await eventually(lambda: any(isinstance(event, OrderEvent) and closed_by_venue(event) for event in made.events))
    (position,) = await made.positions()
    assert position.qty == QTY / 2


def reasons(made: Rig) -> list[str]:
    return [event.reason for event in made.events if isinstance(event, AccountEvent)]


async def cut(made: Rig) -> None:
    await made.listen()
    await made.fault(kind="silence_after", op="order.place", client_id="waiting")
    waiting = made.send(await made.bid("waiting"))
    await eventually_async(partial(has_arrived, made, "waiting"))
    await made.fault(kind="cut", stream="*")
    await eventually(lambda: made.events.count(UserStreamUp()) == 2)
    if made.transport is OrderTransport.WS_API:
        assert await waiting.only() == InDoubt("disconnected")
        await made.up()
    assert len(await made.truth("waiting")) == 1
    await delivers(made)


async def restarted(made: Rig) -> None:
    await made.listen()
    resting = await made.bid()
    await made.value(resting)
    await made.fault(kind="restart", down_ms=300)
    await eventually(lambda: not made.venue.connected or made.events.count(UserStreamUp()) == 2)
    await eventually(lambda: made.events.count(UserStreamUp()) == 2)
    await made.up()
    found = await made.query(resting)
    assert found.status == "NEW"
    assert len(await made.truth(resting.client_order_id)) == 1
    await delivers(made)


async def has_arrived(made: Rig, name: str) -> bool:
    return await made.arrived(name, "order.place") == 1


async def eventually_async(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition that must itself be asked for holds; fail after a bound."""
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await asyncio.sleep(0.005)


CASES: dict[str, Callable[[Rig], Awaitable[None]]] = {
    "listen_key_expired": key_expired,
    "listen_key_lost": key_lost,
    "clock_skew": clock_jumps,
    "partial_fill": fills_partly,
    "symbol_status": delisted,
    "funding": funded,
    "deleverage": deleveraged,
    "ban": banned,
    "cut": cut,
    "restart": restarted,
}


@pytest.mark.parametrize("transport", list(OrderTransport))
@pytest.mark.parametrize("kind", CASES)
def test_adapter_when_the_whole_venue_fails_then_it_says_so_and_works_again(
    kind: str, transport: OrderTransport, tmp_path: Path
) -> None:
    async def test() -> None:
        async with rig(transport, tmp_path) as made:
            await CASES[kind](made)

    uvloop.run(test())


def test_table_when_compared_with_the_venues_acts_then_it_has_every_one_of_them() -> None:
    assert set(CASES) == set(ACTS)

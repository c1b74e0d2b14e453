"""Every fault of a request that the simulated venue knows, on every order command, by both transports.

Invariant: the adapter claims neither success nor refusal where the request may have been executed and was not
confirmed; a command reaches the venue once, whatever comes back; a question by id afterwards tells the venue's truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest
import uvloop

from grinder.adapters.binance.codes import CODES
from grinder.model.venue import (
    Advice,
    AmendOrder,
    CancelOrder,
    Confirmed,
    InDoubt,
    NotSent,
    OrderRequest,
    PlaceOrder,
    QueryOrder,
    Rejected,
    VenueOrder,
    VenueReply,
)
from grinder.settings import OrderTransport
from grinder.sim.exchange.faults import KINDS
from tests.contract.fault_rig import Rig, rig
from tests.contract.venue_server import eventually

WS_API, REST = OrderTransport.WS_API, OrderTransport.REST
DELAY_MS = 20
DOES = Confirmed.__name__


def says(reply: VenueReply) -> str:
    """Return what a reply says in one word: Confirmed, why it is in doubt or not sent, or the advice of a refusal."""
    match reply:
        case Confirmed():
            return DOES
        case Rejected(advice=advice):
            return advice.value
        case InDoubt(why=why) | NotSent(why=why):
            return why


EXPECTED: dict[str, tuple[str, str]] = {
    "delay": (DOES, DOES),
    "delay_engine": (DOES, DOES),
    "delay_reply": (DOES, DOES),
    "silence_before": ("timeout", "timeout"),
    "silence_after": ("timeout", "timeout"),
    "drop_before": ("disconnected", "disconnected"),
    "drop_after": ("disconnected", "disconnected"),
    "reset_in_middle": ("disconnected", "disconnected"),
    "garbage": ("http_502", "timeout"),
    "garbage_not_executed": ("http_502", "timeout"),
    "firewall": (Advice.RATE_LIMIT, "timeout"),
    "unreadable": ("unreadable", "timeout"),
    "timeout_executed": ("-1007", "-1007"),
    "timeout_not_executed": ("-1007", "-1007"),
    "unexpected_executed": ("-1006", "-1006"),
    "unexpected_not_executed": ("-1006", "-1006"),
    "overloaded": ("-1008", "-1008"),
    "overloaded_executed": ("-1008", "-1008"),
    "internal": ("-1001", "-1001"),
    "internal_executed": ("-1001", "-1001"),
    "unknown": ("http_503", "http_503"),
    "unknown_executed": ("http_503", "http_503"),
    "unavailable": ("http_503", "http_503"),
    "too_many_requests": (Advice.RATE_LIMIT, Advice.RATE_LIMIT),
    "banned": (Advice.BANNED, Advice.BANNED),
    "refuse": ("-1000", "-1000"),
    "refuse_executed": ("-1000", "-1000"),
}
"""What the adapter says of a command under each fault, by REST and by the WebSocket API. A frame that cannot be read
belongs to no request there, so its request times out."""

LOAD = (Advice.RATE_LIMIT, Advice.BANNED)
CASES = [(kind, transport) for kind in EXPECTED for transport in (REST, WS_API)]


def expected(kind: str, transport: OrderTransport) -> str:
    return EXPECTED[kind][transport is WS_API]


def slow(case: tuple[str, OrderTransport]) -> bool:
    """Tell whether the adapter waits its whole deadline out."""
    return expected(*case) == "timeout"


def test_table_when_compared_with_the_venues_faults_then_it_has_every_one_of_them() -> None:
    assert set(EXPECTED) == set(KINDS)


async def command(made: Rig, kind: str, op: str, request: OrderRequest) -> bool:
    """Send a command under a fault; check what is said and that it arrived once. Return whether it was executed."""
    await made.fault(kind=kind, op=op, client_id=request.client_order_id, delay_ms=DELAY_MS)
    reply = await made.ask(request)
    assert says(reply) == expected(kind, made.transport), reply
    await made.clear()
    if made.transport is WS_API:
        await made.up()
    assert await made.arrived(request.client_order_id, op) == 1
    if isinstance(reply, Confirmed | Rejected):
        assert KINDS[kind].executes is isinstance(reply, Confirmed), "certain only where the venue did as it says"
    return KINDS[kind].executes


async def is_known(made: Rig, request: PlaceOrder) -> VenueOrder | None:
    """Ask for an order by its id; None where the venue has none."""
    reply = await made.ask(QueryOrder(request.client_order_id, request.symbol))
    if isinstance(reply, Rejected):
        assert reply.advice is Advice.NOT_FOUND
        return None
    assert isinstance(reply, Confirmed), reply
    assert isinstance(reply.value, VenueOrder)
    return reply.value


async def place_under(made: Rig, kind: str) -> None:
    request = await made.bid()
    executed = await command(made, kind, "order.place", request)
    truth = await made.truth(request.client_order_id)
    assert len(truth) == executed
    if expected(kind, made.transport) in LOAD:
        assert isinstance(await made.ask(await made.bid()), NotSent), "nothing but what protects is sent"
        return
    assert (await is_known(made, request) is not None) is executed
    again = await made.ask(request)
    assert says(again) == (Advice.DUPLICATE_ID if executed else DOES), "the same id can not make a second order"
    assert len(await made.truth(request.client_order_id)) == 1


async def cancel_under(made: Rig, kind: str) -> None:
    resting = await made.bid()
    await made.value(resting)
    executed = await command(made, kind, "order.cancel", CancelOrder(resting.client_order_id, resting.symbol))
    (truth,) = await made.truth(resting.client_order_id)
    assert truth["status"] == ("CANCELED" if executed else "NEW")
    cancel = CancelOrder(resting.client_order_id, resting.symbol)
    if expected(kind, made.transport) == Advice.BANNED:
        assert says(await made.ask(cancel)) == "banned", "nothing is sent right after a ban was answered"
        await eventually(lambda: made.venue.connected)
    again = await made.ask(cancel)
    assert says(again) == (Advice.NOT_FOUND if executed else DOES), "a cancel passes whatever else was refused"


async def amend_under(made: Rig, kind: str) -> None:
    resting = await made.bid()
    await made.value(resting)
    price = resting.price - Decimal(10)
    amend = AmendOrder(resting.client_order_id, resting.symbol, resting.side, price, resting.qty)
    executed = await command(made, kind, "order.modify", amend)
    (truth,) = await made.truth(resting.client_order_id)
    assert Decimal(truth["price"]) == (price if executed else resting.price)
    if expected(kind, made.transport) not in LOAD:
        found = await is_known(made, resting)
        assert found is not None
        assert found.price == Decimal(truth["price"])


UNDER = (cancel_under, amend_under, place_under)
"""In this order, because a load refusal of an amend or a placement stops what comes after it."""


async def in_a_venue_of_its_own(
    kind: str, transport: OrderTransport, under: tuple[Callable[..., object], ...] = UNDER
) -> None:
    for each in (under,) if expected(kind, transport) not in LOAD else ((one,) for one in under):
        async with rig(transport) as made:
            for step in each:
                done = step(made, kind)
                assert asyncio.iscoroutine(done)
                await done


@pytest.mark.parametrize(("kind", "transport"), [case for case in CASES if not slow(case)])
def test_command_when_a_request_fails_then_said_truly_sent_once_and_found_again(
    kind: str, transport: OrderTransport
) -> None:
    uvloop.run(in_a_venue_of_its_own(kind, transport))


def test_commands_when_no_readable_answer_comes_then_in_doubt_at_the_deadline_sent_once_and_found_again() -> None:
    async def all_at_once() -> None:
        cases = [(*case, (step,)) for case in CASES if slow(case) for step in UNDER]
        await asyncio.gather(*(in_a_venue_of_its_own(*case) for case in cases))

    uvloop.run(all_at_once())


async def refused_with(codes: list[int], after: str) -> None:
    """Have orders refused with codes, one after the other; ``after``: what is said of one more order."""
    async with rig(REST) as made:
        for code in codes:
            name, advice = CODES[code]
            request = await made.bid(f"code{code}")
            await made.fault(kind="refuse", op="order.place", code=code, message=name or "words")
            reply = await made.ask(request)
            assert says(reply) == (str(code) if advice is None else advice), (code, reply)
            assert await made.truth(request.client_order_id) == []
        assert says(await made.ask(await made.bid())) == after


@pytest.mark.parametrize(
    ("codes", "after"),
    [
        ([code for code in CODES if CODES[code][1] not in LOAD], DOES),
        ([-1003], "retry_after"),
        ([-1015], "retry_after"),
    ],
    ids=["others", "-1003", "-1015"],
)
def test_order_when_the_venue_refuses_it_with_any_code_of_the_table_then_taken_as_the_table_says(
    codes: list[int], after: str
) -> None:
    uvloop.run(refused_with(codes, after))

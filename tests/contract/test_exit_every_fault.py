"""An operator's EMERGENCY under every fault that the simulated venue knows, in both position modes, by both ways out.

The table of cases is the venue's own tables of faults: one that is added there is met here. Each case has a venue, an
account and a way out of its own; all of them run at the same time, for most of it is waiting.

Invariant: *success* is said only where the venue's ground truth has no position and no open order of either kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
import uvloop

from grinder.core.emergency import CONFIRM_TRIES_MAX, Result
from tests.contract.exit_cases import CASES, Case
from tests.contract.exit_rig import SYMBOLS, Fault, Stand, Way, stand

TOGETHER: Final = 46
"""Cases that run at the same time."""


async def problem_of(case: Case, hedge: bool, way: Way) -> str:
    """Run one case; return what is wrong with it, or an empty string."""
    async with stand(hedge) as made:
        try:
            said = await made.leave(way, *case.faults, early=case.early)
        except TimeoutError:
            return f"not out in time, {await made.truth()} left"
        unmet = await made.unmet()
        await made.mend()
        left = await made.truth()
        last = said[-1]
        held = {"orders": [], "conditional_orders": [], "positions": []}
        wrong = {
            f"said {last['result']}": last["result"] != Result.SUCCESS,
            f"left {left}": left != (0, 0),
            f"the fault was not met: {unmet}": bool(unmet),
            f"the evidence says that {last['left']} is left": last["left"] != held,
        }
        return "; ".join(what for what, holds in wrong.items() if holds)


@pytest.mark.parametrize("hedge", [False, True], ids=["one_way", "hedge"])
def test_emergency_when_the_venue_has_any_fault_then_it_ends_flat_without_an_open_order_by_either_way(
    hedge: bool,
) -> None:
    async def test() -> dict[str, str]:
        room = asyncio.Semaphore(TOGETHER)

        async def one(case: Case, way: Way) -> str:
            async with room:
                return await problem_of(case, hedge, way)

        lines = [(case, way) for case in CASES for way in Way]
        found = await asyncio.gather(*(one(*line) for line in lines), return_exceptions=True)
        return {f"{case.name} {way}": str(problem) for (case, way), problem in zip(lines, found, strict=True)}

    problems = uvloop.run(test())
    assert len(problems) == len(CASES) * len(Way)
    assert {name: problem for name, problem in problems.items() if problem} == {}


async def left(hedge: bool, way: Way, *faults: Fault) -> list[dict[str, Any]]:
    """Leave under faults, prove it at the venue, and return the evidence."""
    async with stand(hedge) as made:
        said = await made.leave(way, *faults)
        assert await made.truth() == (0, 0)
        return said


def answers(said: list[dict[str, Any]]) -> str:
    """Return what the venue said to closing orders, as one text."""
    return " ".join(f"{sent['order'].split()[0]} {sent['answer']}" for sent in said[-1]["sent"])


@pytest.mark.parametrize("skew_ms", [30_000, -30_000])
def test_emergency_when_a_clock_was_set_and_the_syncer_is_dead_then_the_executor_measures_it_itself(
    skew_ms: int,
) -> None:
    async def test() -> None:
        async with stand(hedge=False) as made:
            fault = {"kind": "clock_skew", "skew_ms": skew_ms}
            said = await made.leave(Way.EXECUTOR, fault, syncer_lives=False)
            refused = [each for each in await made.venue.get("/sim/requests?limit=1000") if each["code"] == -1021]
            assert refused
            assert said[-1]["result"] == "success"
            await made.mend()
            assert await made.truth() == (0, 0)

    uvloop.run(test())


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("code", [-2022, -4118])
def test_close_when_it_is_done_and_called_refused_for_reduce_only_then_the_first_attempt_is_the_last(
    way: Way, code: int
) -> None:
    said = uvloop.run(
        left(False, way, {"kind": "refuse_executed", "op": "order.place", "code": code, "count": len(SYMBOLS)})
    )
    assert [(each["result"], each["attempts"]) for each in said] == [("success", 1)]
    assert answers(said).count(f"Rejected {code}") == len(SYMBOLS)


def test_close_when_orders_that_cannot_be_cancelled_hold_the_position_then_closed_once_they_are_gone() -> None:
    """By both ways at once, each at a venue of its own: most of it is waiting."""
    times = CONFIRM_TRIES_MAX + 3
    rule = {"kind": "timeout_not_executed", "op": "orders.cancel_all", "symbol": "BTCUSDT", "count": times}

    async def test() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(left(False, way, rule) for way in Way))

    for said in uvloop.run(test()):
        assert any("Rejected -4118" in answers([each]) for each in said)
        assert said[-1]["result"] == "success"


async def meanwhile(made: Stand, way: Way, act: Callable[[], Awaitable[None]]) -> list[dict[str, Any]]:
    """Leave while something is done again and again."""

    async def again() -> None:
        while True:
            await act()
            await asyncio.sleep(0.05)

    acting = asyncio.create_task(again())
    try:
        return await made.leave(way)
    finally:
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)


@pytest.mark.parametrize("hedge", [False, True], ids=["one_way", "hedge"])
@pytest.mark.parametrize("way", Way)
def test_close_when_the_book_takes_a_part_only_then_the_remainder_follows(way: Way, hedge: bool) -> None:
    async def test() -> None:
        async with stand(hedge) as made:

            async def thin() -> None:
                await made.market("BTCUSDT", qty="0.002")

            await thin()
            said = await meanwhile(made, way, thin)
            assert said[-1]["result"] == "success"
            orders = [row for row in await made.venue.get("/sim/orders?limit=100") if row["type"] == "MARKET"]
            assert any(row["status"] == "EXPIRED" for row in orders), "MARKET met its er=9"
            assert "LIMIT" in answers(said)
            assert await made.truth() == (0, 0)

    uvloop.run(test())


@pytest.mark.parametrize("way", Way)
def test_close_when_the_best_price_is_outside_percent_price_then_closed_as_soon_as_it_is_inside(way: Way) -> None:
    async def test() -> None:
        async with stand(False) as made:
            await made.market("BTCUSDT", price="52000.00", mark="60000.00")

            async def mend_after_the_refusal() -> None:
                requests = await made.venue.get("/sim/requests?limit=1000")
                if any(each["code"] == -4131 for each in requests):
                    await made.market("BTCUSDT")

            said = await meanwhile(made, way, mend_after_the_refusal)
            assert said[-1]["result"] == "success"
            assert any("MARKET Rejected -4131" in answers([each]) for each in said)
            assert await made.truth() == (0, 0)

    uvloop.run(test())

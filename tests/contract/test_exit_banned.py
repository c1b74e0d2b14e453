"""`grinder exit` while the venue bans the address: it finds out, says so, asks no more, and leaves when it is over."""

from __future__ import annotations

import uvloop

from grinder.adapters.clock import SystemClock
from grinder.adapters.flatten import Account, Flatten
from grinder.core.emergency import Result
from tests.contract.exit_rig import SLIPPAGE_BPS, Stand, Way, stand
from tests.sim_kit import KEY, SECRET

FIRST_QUESTIONS = 3
"""Whether the venue is there, its clock and its rules: they leave together."""


async def refused(made: Stand) -> int:
    """Return how many requests the venue refused for the ban."""
    return sum(row["http_status"] == 418 for row in await made.venue.get("/sim/requests?limit=1000"))


def test_exit_when_the_ban_lasts_longer_than_it_waits_then_it_asks_no_more_and_says_for_how_long() -> None:
    async def test() -> None:
        async with stand(hedge=False) as made:
            await made.put_in_force([{"kind": "ban", "ban_ms": 600_000}])
            lines: list[str] = []
            account = Account(made.venue.http, KEY, SECRET, 5_000, ("BTCUSDT",), "grd", SLIPPAGE_BPS)
            report = await Flatten(account, SystemClock(), lines.append).run(1.0)
            assert report.result is not Result.SUCCESS
            assert lines[-1].startswith("the venue bans this address for ")
            assert await refused(made) == FIRST_QUESTIONS

    uvloop.run(test())


def test_exit_when_the_ban_ends_then_it_leaves_without_having_asked_meanwhile() -> None:
    async def test() -> None:
        async with stand(hedge=False) as made:
            said = await made.leave(Way.COMMAND, {"kind": "ban", "ban_ms": 1_500})
            assert said[-1]["result"] == "success"
            assert await made.truth() == (0, 0)
            assert await refused(made) == FIRST_QUESTIONS

    uvloop.run(test())

"""`grinder exit` as an operator runs it, with nothing else of the tree alive, under every fault of the venue's tables.

Each case has a venue, an account in the market (positions, resting closing orders of full size, a conditional order)
and a command of its own, all three processes or state of their own. `make test` runs a fixed few, `make soak` all.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import aiohttp
import msgspec
import pytest

from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.model.control import Exit
from tests.contract.exit_cases import CASES, Case
from tests.contract.exit_rig import SYMBOLS, Stand
from tests.sim_kit import Client
from tests.smoke.trees import PROJECT, TreeUnderTest
from tests.smoke.venues import OwnVenue

FEW: Final = ("drop_after", "timeout_executed", "ban")
"""One of a request that is lost, one that is answered and not known, one of the whole venue."""

FEW_TOGETHER: Final = 6
TOGETHER: Final = 4
"""Cases that run at the same time."""

LEAVES_S_MAX: Final = 150
BY_NAME: Final = {case.name: case for case in CASES}
MODES: Final = (False, True)
NO_LIMITS: Final = ("--weight-limit-1m", "--order-limit-10s", "--order-limit-1m")


async def enter(port: int, hedge: bool, case: Case) -> None:
    """Put the account into the market, and the case's faults in force."""
    async with aiohttp.ClientSession() as session:
        stand = Stand(Client(session, port), hedge)
        await stand.enter()
        await stand.put_in_force(case.faults)


async def found(port: int, hedge: bool) -> tuple[list[object], tuple[int, int]]:
    """Return the rules that have not acted as often as they should, and what is left once every fault is over."""
    async with aiohttp.ClientSession() as session:
        stand = Stand(Client(session, port), hedge)
        unmet = await stand.unmet()
        await stand.mend()
        return unmet, await stand.truth()


def leave(host: TreeUnderTest) -> tuple[int, str]:
    """Run the command; return its exit code and all it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "grinder.cli", "exit", "--yes", "--timeout-s", str(LEAVES_S_MAX)],
        cwd=PROJECT,
        env=host.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * LEAVES_S_MAX,
        check=False,
    )
    return done.returncode, done.stdout


def problem_of(case: Case, hedge: bool) -> str:
    """Run one case; return what is wrong with it, or an empty string."""
    no_limits = [word for name in NO_LIMITS for word in (name, str(10**9))]
    venue = OwnVenue("--tape", "step", "--hold", "--symbols", ",".join(SYMBOLS), *no_limits)
    host = TreeUnderTest(**venue.environment())
    try:
        asyncio.run(enter(venue.port, hedge, case))
        code, said = leave(host)
        unmet, left = asyncio.run(found(venue.port, hedge))
        evidence = sorted((host.root / "artifacts" / "exit").glob("exit_*_success.json"))
        held = [msgspec.json.decode(path.read_bytes())["left"] for path in evidence]
        wrong = {
            f"exit code {code}": code != Exit.OK,
            f"left {left}": left != (0, 0),
            f"the fault was not met: {unmet}": bool(unmet),
            f"the evidence says {held}": held != [{"orders": [], "conditional_orders": [], "positions": []}],
            "it was not said": "FLAT: no position and no open order" not in said,
            "a traceback": "Traceback" in said,
            "not latched": not LatchFile(host.root / "state" / LATCH_FILE).peek(first_start=True).tripped,
        }
        problems = [what for what, holds in wrong.items() if holds]
        return "; ".join([*problems, said]) if problems else ""
    finally:
        host.remove()
        venue.close()


def problems_of(names: tuple[str, ...], together: int) -> dict[str, str]:
    """Run cases in both position modes; return what is wrong, by case."""
    lines = [(name, hedge) for name in names for hedge in MODES]
    with ThreadPoolExecutor(together) as pool:
        said = pool.map(lambda line: problem_of(BY_NAME[line[0]], line[1]), lines)
        named = (f"{name} {'hedge' if hedge else 'one_way'}" for name, hedge in lines)
        return {name: problem for name, problem in zip(named, said, strict=True) if problem}


def test_exit_when_run_as_a_program_under_a_few_faults_then_flat_in_both_position_modes() -> None:
    assert problems_of(FEW, FEW_TOGETHER) == {}


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_exit_when_run_as_a_program_under_every_fault_then_flat_in_both_position_modes() -> None:
    assert problems_of(tuple(BY_NAME), TOGETHER) == {}


def test_few_when_compared_with_the_table_then_each_is_in_it_and_the_table_has_no_name_twice() -> None:
    assert set(FEW) < set(BY_NAME)
    assert len(BY_NAME) == len(CASES)

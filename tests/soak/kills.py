"""Many campaigns side by side, and one report of them: kills by way and by step, load, faults, findings."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from random import Random

from tests.soak.campaign import Campaign, Report, key_of, plan
from tests.soak.judge import Wrong, told
from tests.soak.rig import DiedByItselfError, Rig
from tests.soak.steps import Step

SEED_VARIABLE = "KILL_SEED"
"""Environment: the seed of load, faults and plan; printed with every report. Processes still race as they like."""


def seed_of(default: int) -> int:
    """Return the seed that was asked for, else ``default``."""
    return int(os.environ.get(SEED_VARIABLE, "") or default)


def campaign(seed: int, rounds: Iterable[Iterable[Step]], *, others: int, broken: str = "") -> Report:
    """Kill one rig through rounds of steps, settling and judging after each; directories stay where it found a fault.

    Args:
        seed: of this rig.
        rounds: the steps of each round.
        others: kills per round that are not at a step.
        broken: a dishonest port for the executor.
    """
    rig = Rig(seed, broken=broken)
    work = Campaign(rig, seed)
    sound = False
    try:
        for steps in rounds:
            work.run(plan(rig.random, steps, others=others))
        sound = not work.report.found
    except DiedByItselfError as error:
        work.report.found.append((Wrong.UNCLEAN, str(error)))
    finally:
        if not sound and not broken:
            print(f"seed {seed}: see {rig.root}")
        rig.close(keep=not sound and not broken)
    return work.report


def side_by_side(seed: int, rigs: int, rounds: list[list[Step]], *, others: int) -> Report:
    """Run as many campaigns at once, each with a seed of its own, and return one report of all."""
    began_s = time.monotonic()
    with ThreadPoolExecutor(rigs) as pool:
        waiting = [pool.submit(campaign, seed + number, rounds, others=others) for number in range(rigs)]
        reports = [each.result() for each in waiting]
    whole = Report(seed, seconds=time.monotonic() - began_s)
    for report in reports:
        whole.at_step.update(report.at_step)
        whole.missed.update(report.missed)
        whole.how.update(report.how)
        whole.counts.update(report.counts)
        whole.found += report.found
    return whole


def in_rounds(steps: Iterable[Step], rounds: int, random: Random) -> list[list[Step]]:
    """Return the steps shuffled and dealt out to so many rounds."""
    shuffled = list(steps)
    random.shuffle(shuffled)
    return [shuffled[number::rounds] for number in range(rounds)]


def printed(report: Report, steps: Iterable[Step]) -> str:
    """Return a report as lines for people."""
    times = Counter({key_of(step): report.at_step[key_of(step)] for step in steps})
    ways = ", ".join(f"{count} {how}" for how, count in sorted(report.how.items()))
    lines = [
        f"{report.kills} kills in {report.seconds:.0f} s, {SEED_VARIABLE}={report.seed}: {ways}",
        *(f"  {times[name]:3d} {name}" for name in times),
        "  " + ", ".join(f"{name} {count}" for name, count in sorted(report.counts.items())),
        "  not reached in time: " + ", ".join(f"{name} {count}" for name, count in report.missed.items()),
        f"  {len(report.found)} findings",
        *(f"  {line}" for line in told(report.found)),
    ]
    return "\n".join(lines)

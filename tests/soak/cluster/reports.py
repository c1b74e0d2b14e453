"""Campaigns side by side, each a process of its own, and one report of them for people."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from grinder.adapters.parent import end_with_parent
from tests.smoke.venues import PROJECT
from tests.soak.cluster.cluster_campaign import TRIES, Report
from tests.soak.cluster.cluster_faults import TABLE
from tests.soak.cluster.cluster_lies import Shown

SEED_VARIABLE = "CLUSTER_SEED"
"""Environment: seed of faults and load; printed with every report. Processes still race as they like."""

ENDS_S_MAX = 1_200


class Run(msgspec.Struct, frozen=True):
    """One campaign to run: its seed, how many faults, the name of its timing, the share of its time a fault lasts.

    ``turn`` of ``turns``: which of several campaigns it is among which the rows of the table are dealt out; 0: none.
    """

    seed: int
    faults: int
    timing: str
    share: float = 1.0
    turn: int = 0
    turns: int = 0


def seed_of(default: int) -> int:
    """Return the seed that was asked for, else ``default``."""
    return int(os.environ.get(SEED_VARIABLE, "") or default)


def run(wanted: Run) -> Report:
    """Run one campaign in a process of its own."""
    command = [
        *(sys.executable, "-m", "tests.soak.cluster.cluster_campaign"),
        *(str(wanted.seed), str(wanted.faults), wanted.timing, str(wanted.share)),
        *(str(wanted.turn), str(wanted.turns)),
    ]
    try:
        done = _played(command)
    except subprocess.TimeoutExpired:
        return Report(wanted.seed, 0, found=[f"ENDED EARLY: not over in {ENDS_S_MAX} s"])
    if done.returncode != 0:
        return Report(wanted.seed, 0, found=[f"ENDED EARLY: {done.stderr.decode()[-3_000:]}"])
    return msgspec.json.decode(done.stdout, type=Report)


def _played(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a rig to its end; it ends with this process, and takes its members, hosts and venue along."""
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, timeout=ENDS_S_MAX, check=False, preexec_fn=end_with_parent
    )


def lie_shown(lie: str) -> Shown:
    """Return what is seen of hosts that break one rule, in a process of its own; again where that could not be run."""
    command = [sys.executable, "-m", "tests.soak.cluster.cluster_lies", lie]
    said = ""
    for _ in range(TRIES):
        done = _played(command)
        if done.returncode == 0:
            return msgspec.json.decode(done.stdout, type=Shown)
        said = done.stderr.decode()[-3_000:]
    raise AssertionError(f"{lie}: not played in {TRIES} tries: {said}")


def line_of_lie(known: Shown) -> str:
    """Return how a lie was seen as a line."""
    return f"{known.lie}: {known.kinds} in play {known.tries}, {known.seconds:.0f} s; {known.example}"


def side_by_side(runs: list[Run], at_once: int, tell: Callable[[str], None] = lambda line: None) -> list[Report]:
    """Run campaigns, so many at once; tell a line of each that ends, and how far that is."""
    began_s, faults, ended = time.monotonic(), 0, 0
    lock = threading.Lock()
    tell(f"{len(runs)} campaigns of {min(each.faults for each in runs)} faults and more, {at_once} at once")

    def one(wanted: Run) -> Report:
        nonlocal faults, ended
        report = run(wanted)
        with lock:
            ended += 1
            faults += sum(report.faults.values())
            tell(
                f"{ended:3d} of {len(runs)}, {faults:4d} faults, {time.monotonic() - began_s:5.0f} s:{line_of(report)}"
            )
        return report

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, runs))


def line_of(report: Report) -> str:
    """Return one campaign as a line."""
    worst_s = max(report.outages_s, default=0.0)
    return (
        f"seed {report.seed}, TTL {report.ttl_s} s: {sum(report.faults.values())} faults in {report.seconds:.0f} s,"
        f" {sum(report.by_term.values())} orders in {len(report.by_term)} terms, {report.resigned} resignations,"
        f" {len(report.outages_s)} outages, worst {worst_s:.1f} s, {len(report.found)} findings"
        + "".join(f"\n    {line[:400]}" for line in report.found[:3])
        + "".join(f"\n    broke off {line[:300]}" for line in report.broke_off)
    )


def marks_of(figures: list[float]) -> str:
    """Return the median, the ninth tenth and the largest of some figures."""
    known = sorted(figures) or [0.0]
    return " / ".join(f"{known[min(len(known) - 1, int(len(known) * part))]:.2f}" for part in (0.5, 0.9, 1.0))


def printed(reports: list[Report], seed: int, seconds: float) -> str:
    """Return all of them as lines for people."""
    faults = sum((Counter(report.faults) for report in reports), Counter())
    outages = [outage for report in reports for outage in report.outages_s]
    firsts = [first for report in reports for first in report.first_s]
    refused = sum((Counter(report.refused) for report in reports), Counter())
    struck = sum((Counter(report.venue_faults) for report in reports), Counter())
    missed = sum((Counter(report.missed) for report in reports), Counter())
    led = sum((Counter(report.led) for report in reports), Counter())
    ended = sum((Counter(report.ended) for report in reports), Counter())
    heeded: dict[str, list[float]] = {}
    for report in reports:
        for name, figures in report.heeded_s.items():
            heeded.setdefault(name, []).extend(figures)
    slow = Counter(name for report in reports for name in report.slow)
    longest: dict[str, float] = {}
    for report in reports:
        for name, outage_s in report.longest_s.items():
            longest[name] = max(outage_s, longest.get(name, 0.0))
    numbers = {fault.name: fault.number for fault in TABLE}
    lines = [
        f"{faults.total()} faults in {seconds:.0f} s, {SEED_VARIABLE}={seed}:"
        f" {sum(sum(report.by_term.values()) for report in reports)} orders in"
        f" {sum(len(report.by_term) for report in reports)} terms,"
        f" {sum(report.resigned for report in reports)} clean ends",
        *(f"  {faults[name]:4d} #{numbers[name]:<2d} {name}" for name in numbers if faults[name]),
        f"  not injected, and not counted: {dict(missed)}",
        *(f"  {name}: {ended[name]} of {led[name]} leaders did not go on" for name in sorted(led)),
        *(
            f"  trip to latch, {name}: n {len(each)}, p50 / p90 / latest {marks_of(each)} s"
            for name, each in heeded.items()
        ),
        f"  {len(outages)} outages over 0.5 s, p50 / p90 / longest {marks_of(outages)} s",
        f"  {len(firsts)} first orders after a win, p50 / p90 / latest {marks_of(firsts)} s",
        f"  placements refused by the venue: {dict(refused)}",
        f"  faults of the venue that struck: {dict(struck)}",
        f"  longest outage after: {dict(sorted(longest.items(), key=lambda each: -each[1])[:8])}",
        f"  orders not back in time after: {dict(slow)}",
        *(f"  seed {report.seed}: {dict(sorted(report.by_term.items()))} by term" for report in reports),
    ]
    lines += [f"  left out here: {name}" for name in sorted({name for report in reports for name in report.left_out})]
    lines += [f"  seed {report.seed} broke off {line[:600]}" for report in reports for line in report.broke_off]
    found = [f"  seed {report.seed}: {line}" for report in reports for line in report.found]
    return "\n".join([*lines, f"  {len(found)} findings", *found[:60]])

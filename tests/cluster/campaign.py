"""Many seeds, side by side: what they did, what they found, and the seeds to repeat."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable

import msgspec

from tests.cluster.fault_model import FAULTS
from tests.cluster.host_model import Rules
from tests.cluster.world_model import World

SEED_VARIABLE = "CLUSTER_SEED"
FOUND_KEPT = 20
BATCH = 250


class Report(msgspec.Struct):
    """``found``: what went wrong, by seed; ``calm_ns``: the longest time from the last fault's end to order."""

    seeds: int = 0
    events: int = 0
    calm_ns: int = 0
    wrong: int = 0
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    found: dict[int, list[str]] = msgspec.field(default_factory=dict)

    def add(self, other: Report) -> None:
        self.seeds += other.seeds
        self.events += other.events
        self.calm_ns = max(self.calm_ns, other.calm_ns)
        self.wrong += other.wrong
        self.counts += other.counts
        self.faults += other.faults
        self.found = dict([*self.found.items(), *other.found.items()][:FOUND_KEPT])

    def printed(self) -> str:
        acts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        faults = ", ".join(f"{name} {self.faults[name]}" for name in FAULTS)
        lines = [
            f"{self.seeds} seeds, {self.events} events, {self.wrong} with something wrong",
            f"at the venue and the latches: {acts}",
            f"faults: {faults}",
            f"longest time to order after the last fault: {self.calm_ns / 1e9:.1f} s",
        ]
        lines += [f"{SEED_VARIABLE}={seed}: {'; '.join(found[:3])}" for seed, found in self.found.items()]
        return "\n".join(lines)


def run(seeds: Iterable[int], rules: Rules | None = None, faults: tuple[str, ...] = tuple(FAULTS)) -> Report:
    """Live through seeds, one after the other."""
    report = Report()
    for seed in seeds:
        outcome = World(seed, rules, faults).run()
        one = Report(1, outcome.events, outcome.calm_ns, int(bool(outcome.found)), outcome.counts)
        one.faults = Counter(outcome.faults)
        one.found = {seed: outcome.found} if outcome.found else {}
        report.add(one)
    return report


def first_caught(rules: Rules, faults: tuple[str, ...], seeds: Iterable[int]) -> tuple[int, list[str]] | None:
    """Return the first seed that shows a broken rule, and what it shows; None if none does."""
    for seed in seeds:
        found = World(seed, rules, faults).run().found
        if found:
            return seed, found
    return None


def asked_seed() -> int | None:
    """Return the one seed that the environment asks for, if it does."""
    text = os.environ.get(SEED_VARIABLE)
    return None if text is None else int(text)


def _collect_seldom() -> None:
    """Look for garbage in circles now and then only: all the time it costs a tenth, and a seed leaves little."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def run_on_all_cores(first: int, count: int) -> Report:
    """Live through many seeds on every core; says now and then how far it is."""
    report = Report()
    began = time.monotonic()
    batches = [range(at, min(at + BATCH, first + count)) for at in range(first, first + count, BATCH)]
    with multiprocessing.get_context("spawn").Pool(initializer=_collect_seldom) as pool:
        for number, part in enumerate(pool.imap_unordered(run, batches), start=1):
            report.add(part)
            for seed, found in part.found.items():
                print(f"{SEED_VARIABLE}={seed}: {found[0]}", flush=True)
            if number % 20 == 0 or number == len(batches):
                rate = report.seeds / (time.monotonic() - began)
                print(f"{report.seeds} of {count} seeds, {rate:.0f} a second, {report.wrong} wrong", flush=True)
    return report

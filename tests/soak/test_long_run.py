"""A whole tree trades on paper for half an hour, at speed and with venue faults on: what it holds does not grow.

Figures: ``build/soak/samples.csv`` (every sample), ``build/soak/summary.txt`` (first, last, highest, slope per hour). A
line is printed each minute; where it fails, logs, state and answers of tree and venue are in ``build/soak/failed``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from random import Random

import pytest

from grinder.adapters.journal import SEGMENT_BYTES
from grinder.model.limits import TRADE_IDS_REMEMBERED
from grinder.services.order_store import IDS_REMEMBERED, RETIRED_MAX
from tests.smoke.conditions import wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest
from tests.smoke.truth import require_sound
from tests.soak.faults import LONG_ACTS, stir, switch_on
from tests.soak.progress import Progress, keep, situation
from tests.soak.samples import MIB, PLACED, TREE, Line, Sample, lines, of_files, of_process, summary, write_csv

DURATION_VARIABLE = "SOAK_S"
"""Environment: how long the tree trades, seconds."""

DURATION_S = 1_800.0
SAMPLE_S = 5.0
STIR_S = 10.0
WARM_UP_SHARE = 0.2
SEED = 4
SEED_VARIABLE = "SOAK_SEED"
FOLDER = Path(PROJECT) / "build" / "soak"
OURS = ("feed", "fsm", "executor", "syncer", "metrics")

RISE_MAX = {"fds": 8.0, "threads": 1.0, "sockets": 8.0}
"""How much the line may rise after the warm-up: REST keeps connections for reuse, and needs more of them while faults
take the WebSocket API away."""

LATE_SHARE = 0.5
LATE_RISE_MIB_MAX = 1.0
"""How much the line of a process's memory may rise in the last half, besides what the executor's tables take then. In
half an hour it was 0.25 MiB at most."""

RETIRED_BYTES, ID_BYTES, TRADE_BYTES = 780, 140, 190
"""What the executor keeps of an order that has ended, of an id and of a trade, as measured; each up to a bound, of
which half an hour of trading reaches the first at most."""

ALLOCATOR_SHARE = 0.6
"""What memory takes beyond what is kept in it: two half hours showed 1.35 and 1.77 kB for each order placed in their
last halves, where the three are 1.11 kB."""

JOURNAL_MIB_MAX = 4 * SEGMENT_BYTES / MIB
"""The file that is written, the one before it, the checkpoint that replaces that, and the prepared one."""

STATE_MIB_MAX = JOURNAL_MIB_MAX + 1.0


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    busy = TreeUnderTest(
        # Narrower, fills come so fast that the gate against repeated executions holds entries back every other minute;
        # and once the volatility of a quarter of an hour is known, the spacing of production would be seven times that.
        GRINDER_PAPER_SPACING_BPS="4",
        GRINDER_LIVE_ADAPTIVE_SPACING_ENABLED="0",
        GRINDER_PAPER_COOLDOWN_MS="0",
        GRINDER_FSM_COOLDOWN_MS="1000",
        GRINDER_DRAWDOWN_LIMIT="1",
    )
    try:
        yield busy
    finally:
        busy.remove()


def sample(tree: TreeUnderTest, began_s: float) -> list[Sample]:
    """Look at every process and every folder once."""
    at_s = time.monotonic() - began_s
    found = [each for name, pid in tree.pids().items() if pid for each in of_process(at_s, name, pid)]
    found.append(Sample(at_s, TREE, PLACED, tree.venue.counts()["placed"]))
    return found + of_files(at_s, tree.root / "state", tree.root / "log", tree.root / "artifacts")


def orders_moved(tree: TreeUnderTest) -> int:
    counts = tree.venue.counts()
    return counts["placed"] + counts["amended"] + counts["cancelled"]


def tables_mib(placed_before: float, placed: float) -> float:
    """Return by how much the executor's tables grow from one number of placed orders to another, each filled once."""

    def held(orders: float) -> float:
        ids, trades = min(orders, IDS_REMEMBERED) * ID_BYTES, min(orders, TRADE_IDS_REMEMBERED) * TRADE_BYTES
        return min(orders, RETIRED_MAX) * RETIRED_BYTES + ids + trades

    return (held(placed) - held(placed_before)) * (1 + ALLOCATOR_SHARE) / MIB


def memory_grown(late: list[Line]) -> list[str]:
    """Return each of our processes whose memory rose by more in the last half than can be told."""
    placed = next(line for line in late if line.quantity == PLACED)
    told = {"executor": tables_mib(placed.first, placed.highest)}
    return [
        f"{line.process} rss_mib rose by {line.rise:.2f} in the last half; tables: {told.get(line.process, 0.0):.2f}"
        for line in late
        if line.process in OURS and line.quantity == "rss_mib"
        if line.rise > LATE_RISE_MIB_MAX + told.get(line.process, 0.0)
    ]


def grown(found: list[Line]) -> list[str]:
    """Return every other quantity of our processes that rose by more than it may, and files beyond their bound."""
    rising = [
        f"{line.process} {line.quantity} rose by {line.rise:.2f}"
        for line in found
        if line.process in OURS and line.rise > RISE_MAX.get(line.quantity, inf)
    ]
    bounds = {"journal_mib": JOURNAL_MIB_MAX, "state_mib": STATE_MIB_MAX}
    large = [f"{line.quantity} {line.highest:.1f}" for line in found if line.highest > bounds.get(line.quantity, 1e9)]
    return rising + large


def trade(tree: TreeUnderTest, duration_s: float) -> tuple[list[Sample], int, int]:
    """Let a tree trade under faults; return samples, what was moved, and how much of it in the last tenth."""
    random = Random(int(os.environ.get(SEED_VARIABLE, "") or SEED))
    before = late = orders_moved(tree)
    began_s = time.monotonic()
    progress, samples = Progress(before), list[Sample]()
    stir_due_s = sample_due_s = began_s
    while (at_s := time.monotonic() - began_s) < duration_s:
        if time.monotonic() >= stir_due_s:
            stir_due_s += STIR_S
            stir(tree.venue, random, LONG_ACTS)
        sample_due_s += SAMPLE_S
        samples += sample(tree, began_s)
        moved = orders_moved(tree)
        progress.look(at_s, moved, lambda: situation(tree))
        if at_s < duration_s * 0.9:
            late = moved
        time.sleep(max(0.0, sample_due_s - time.monotonic()))
    moved = orders_moved(tree)
    return samples, moved - before, moved - late


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_tree_when_it_trades_for_long_with_faults_then_memory_descriptors_and_files_stay_flat(
    tree: TreeUnderTest,
) -> None:
    duration_s = float(os.environ.get(DURATION_VARIABLE, "") or DURATION_S)
    try:
        tree.start()
        wait_for(tree.ready, "ready", 60)
        switch_on(tree.venue)
        pids = tree.pids()
        samples, moved, moved_late = trade(tree, duration_s)
        found = lines(samples, after_s=duration_s * WARM_UP_SHARE)
        write_csv(FOLDER / "samples.csv", samples)
        text = f"{duration_s:.0f} s, {moved} orders placed, amended or cancelled\n{summary(found)}\n"
        (FOLDER / "summary.txt").write_text(text)
        print(text)
        assert tree.pids() == pids
        assert moved_late > 0, "it traded to the end"
        assert grown(found) == []
        assert memory_grown(lines(samples, after_s=duration_s * LATE_SHARE)) == []
        tree.venue.delete("faults")
        require_sound(tree, tree.venue)
    except BaseException:
        keep(tree, FOLDER / "failed")
        raise

"""kill -9 of every process in turn, while the tree trades: it goes on by itself, and its orders stay what they are."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from grinder.model.control import FsmState
from tests.smoke.conditions import PATIENCE_S, wait_for
from tests.smoke.trees import TreeUnderTest, alive
from tests.smoke.truth import Watch, processes_of, require_agreement, require_sound
from tests.soak.progress import situation

LEVELS = 5
AGAIN_S = PATIENCE_S
"""Bound of each wait, seconds. An executor that was killed waits some 5 s for what nobody answered; then the market
has to move, and a budget of orders per minute that a burst has used up comes back within a minute."""

OURS = ("feed", "fsm", "executor", "syncer", "metrics")
TRADING = {FsmState.READY, FsmState.ACTIVE, FsmState.THROTTLED}


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    # Narrower, fills come so fast that the gate against repeated executions holds entries back, for a minute or two.
    busy = TreeUnderTest(GRINDER_PAPER_SPACING_BPS="4", GRINDER_PAPER_COOLDOWN_MS="0", GRINDER_FSM_COOLDOWN_MS="1000")
    yield busy
    busy.remove()


def requests_made(tree: TreeUnderTest) -> int:
    """Return how many orders the venue took, amended and cancelled."""
    counts = tree.venue.counts()
    return counts["placed"] + counts["amended"] + counts["cancelled"]


def trades_on(tree: TreeUnderTest) -> None:
    """Wait until the loop is ready and moves orders again."""
    wait_for(tree.venue.answers, "the venue answers", AGAIN_S)
    wait_for(lambda: tree.ready() and tree.state() in TRADING, "ready again", AGAIN_S)
    before = requests_made(tree)
    try:
        wait_for(lambda: requests_made(tree) > before, "orders move again", AGAIN_S)
    except AssertionError:
        print(situation(tree), tree.status()["blocked"], tree.status()["denied"])
        raise


def kill(tree: TreeUnderTest, name: str) -> None:
    """Kill one program and wait until it is back and the loop trades."""
    before = tree.pids()
    assert before[name] > 0
    began_s = time.monotonic()
    os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: tree.pids().get(name, 0) not in (0, before[name]), f"{name} back")
    trades_on(tree)
    print(f"{name} killed: trades again after {time.monotonic() - began_s:.1f} s")
    after = tree.pids()
    assert {other for other in before if before[other] != after[other]} == {name}


def test_tree_when_each_process_is_killed_under_load_then_it_trades_on_with_the_same_orders(
    tree: TreeUnderTest,
) -> None:
    venue = tree.venue
    tree.start()
    trades_on(tree)
    with Watch(tree, venue) as watch:
        for name in OURS:
            kill(tree, name)
        require_agreement(tree, venue)
        require_sound(tree, venue)
        placed = {row["clientOrderId"] for row in venue.get("orders?limit=100000")}
        kill(tree, "venue")
        require_agreement(tree, venue)
        require_sound(tree, venue)
        # The venue forgot everything; its next life must not see an id again.
        assert placed.isdisjoint(row["clientOrderId"] for row in venue.get("orders?limit=100000"))
        pids = [*tree.pids().values()]
        os.kill(tree.supervisor_pid(), signal.SIGKILL)
        assert tree.door is not None
        said, _ = tree.door.communicate(timeout=PATIENCE_S)
        assert (tree.door.returncode, "supervisord ended with -9" in said) == (2, True)
        wait_for(lambda: not any(alive(pid) for pid in pids), "nothing left of the tree")
        wait_for(lambda: processes_of(tree, "-m") == [], "nor any other process of it")
        tree.start()
        trades_on(tree)
        require_agreement(tree, venue)
        require_sound(tree, venue)
    print(f"{watch.samples} looks, at most {dict(watch.entries_max)} entries, {watch.executors_max} executor")
    assert watch.executors_max == 1
    assert max(watch.entries_max.values()) <= LEVELS

"""The override through supervisorctl on a tree whose fsm is down: the executor obeys alone, and flat nothing flaps."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.core.emergency import RECHECK_MS
from grinder.model.board import Word
from grinder.model.control import Exit, FsmState
from grinder.model.units import NS_PER_S
from tests.smoke.commands import refused, told
from tests.smoke.conditions import PATIENCE_S, events_of, wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest

TRADING = {FsmState.READY, FsmState.ACTIVE, FsmState.THROTTLED}
HELD_S = 1 + RECHECK_MS / 1_000
"""Longer than from one look of a finished exit to the next, seconds."""


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    tree = TreeUnderTest(
        GRINDER_FSM_COOLDOWN_MS="1000", GRINDER_ACCOUNT_SYNC_INTERVAL_MS="1000", GRINDER_PAPER_SPACING_BPS="1"
    )
    try:
        tree.start()
        yield tree
    finally:
        tree.remove()


def supervisorctl(tree: TreeUnderTest, *words: str) -> tuple[int, str]:
    """Run supervisorctl with the project's configuration; return its exit code and all it printed."""
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "supervisorctl"),
            *("-c", "conf/supervisord.conf", "-s", f"unix://{tree.run_dir}/supervisor.sock"),
            *words,
        ],
        cwd=PROJECT,
        env=tree.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout


def held_s(tree: TreeUnderTest) -> float:
    """Return for how long the loop has been in its state."""
    return (time.monotonic_ns() - tree.word(Word.FSM_STATE_SINCE_MONO_NS)) / NS_PER_S


def test_override_when_the_fsm_is_down_then_the_executor_leaves_the_market_alone_and_flat_nothing_flaps(
    tree: TreeUnderTest,
) -> None:
    wait_for(lambda: tree.state() in TRADING and tree.venue.live() and any(tree.venue.positions().values()), "risk")
    code, said = supervisorctl(tree, "stop", "fsm")
    assert code == 0, said
    acked = f"acked by executor pid {tree.pid('executor')}"
    said = refused(acked, lambda: supervisorctl(tree, "override", "EMERGENCY", "--reason", "drill"))
    assert "NOT ACKED: fsm does not run" in said
    wait_for(lambda: not tree.venue.live() and not any(tree.venue.positions().values()), "flat, no orders")
    assert tree.pids()["fsm"] == 0

    code, said = supervisorctl(tree, "start", "fsm")
    assert code == 0, said
    wait_for(lambda: tree.state() is FsmState.EMERGENCY and held_s(tree) > HELD_S, "EMERGENCY holds")
    log = tree.root / "log"
    fsm = tree.pids()["fsm"]
    moves = [event["to_state"] for event in events_of(log / "fsm.log") if event["ev"] == "FSM_TRANSITION"]
    assert moves.count("EMERGENCY") == 1
    exits = [event["ev"] for event in events_of(log / "executor.log") if "EMERGENCY EXIT" in str(event["ev"])]
    assert exits == ["EMERGENCY EXIT START", "EMERGENCY EXIT COMPLETE"]
    assert tree.pids()["fsm"] == fsm

    code, said = supervisorctl(tree, "override", "NONE")
    assert (code, "--ack" in said) == (Exit.GATE, True), said
    said = told(lambda: supervisorctl(tree, "override", "NONE", "--ack"))
    assert f"acked by fsm pid {fsm} in " in said
    wait_for(lambda: tree.state() is FsmState.PAUSED, "PAUSED, until somebody resumes")

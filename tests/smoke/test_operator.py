"""The operator's command against a real tree: status with everything alive and with a part hung, stop in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from grinder.model.control import TREE, Exit
from tests.smoke.conditions import PATIENCE_S, wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    tree = TreeUnderTest()
    yield tree
    tree.remove()


def grinder(tree: TreeUnderTest, *words: str) -> tuple[int, dict[str, Any]]:
    """Run one command with ``--json`` in the tree's environment; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "grinder.cli", *words, "--json"],
        cwd=PROJECT,
        env=tree.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_operator_when_a_tree_runs_then_status_tells_the_truth_and_stop_ends_it_in_order(tree: TreeUnderTest) -> None:
    door = tree.start()
    wait_for(tree.ready, "/readyz 200")

    def in_order() -> dict[str, Any] | None:
        code, status = grinder(tree, "status")
        return status if code == Exit.OK else None

    status = wait_for(in_order, "status says that it is ready")
    assert status["board"]["fsm_state"] in {"READY", "ACTIVE", "THROTTLED"}
    assert all(status["board"]["processes"][process]["alive"] for process in TREE)

    def not_ready_with_a_living_executor() -> dict[str, Any] | None:
        code, status = grinder(tree, "status")
        assert code == Exit.GATE
        return status if status["board"]["processes"]["executor"]["alive"] else None

    metrics = tree.pid("metrics")
    os.kill(metrics, signal.SIGSTOP)
    try:
        # A heartbeat may be late on a busy host; then it is asked again.
        status = wait_for(not_ready_with_a_living_executor, "status says what lives and what hangs")
    finally:
        os.kill(metrics, signal.SIGCONT)
    assert status["readyz"] is None

    code, report = grinder(tree, "stop")
    assert code == Exit.OK
    assert list(report["stopped"]) == ["executor", "fsm", "syncer", "feed", "metrics", "venue"]
    assert door.wait(PATIENCE_S) == Exit.OK
    ended = tree.supervisor_log(r"stopped: (\w+)")
    assert ended[-6:] == ["executor", "fsm", "syncer", "feed", "metrics", "venue"]

    code, status = grinder(tree, "status")
    assert code == Exit.FAILURE
    assert not any(process["alive"] for process in status["board"]["processes"].values())
    assert grinder(tree, "stop")[0] == Exit.GATE

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
from tests.smoke.conditions import wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest

READY_S = 40


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
        timeout=90,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_operator_when_a_tree_runs_then_status_tells_the_truth_and_stop_ends_it_in_order(tree: TreeUnderTest) -> None:
    door = tree.start()
    wait_for(tree.ready, "/readyz 200", READY_S)

    def in_order() -> dict[str, Any] | None:
        code, status = grinder(tree, "status")
        return status if code == Exit.OK else None

    status = wait_for(in_order, "status says that it is ready", READY_S)
    assert status["board"]["fsm_state"] in {"READY", "ACTIVE", "THROTTLED"}
    assert all(status["board"]["processes"][process]["alive"] for process in TREE)

    metrics = tree.pid("metrics")
    os.kill(metrics, signal.SIGSTOP)
    code, status = grinder(tree, "status")
    os.kill(metrics, signal.SIGCONT)
    assert code == Exit.GATE
    assert status["readyz"] is None
    assert status["board"]["processes"]["executor"]["alive"]

    code, report = grinder(tree, "stop")
    assert code == Exit.OK
    assert list(report["stopped"]) == ["executor", "fsm", "syncer", "feed", "metrics", "venue"]
    assert door.wait(30) == Exit.OK
    ended = tree.supervisor_log(r"stopped: (\w+)")
    assert ended[-6:] == ["executor", "fsm", "syncer", "feed", "metrics", "venue"]

    code, status = grinder(tree, "status")
    assert code == Exit.FAILURE
    assert not any(process["alive"] for process in status["board"]["processes"].values())
    assert grinder(tree, "stop")[0] == Exit.GATE

"""A tree that ends leaves no order behind, however it ends, at a venue that outlives it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from grinder.model.control import FsmState
from tests.smoke.conditions import wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest, alive
from tests.smoke.truth import believed, require_agreement, require_sound
from tests.smoke.venues import OwnVenue

OURS = {"metrics", "feed", "syncer", "fsm", "executor"}


@pytest.fixture(scope="module")
def venue() -> Iterator[OwnVenue]:
    own = OwnVenue()
    yield own
    own.close()


@pytest.fixture(scope="module")
def tree(venue: OwnVenue) -> Iterator[TreeUnderTest]:
    remote = TreeUnderTest(GRINDER_PAPER_SPACING_BPS="2", GRINDER_PAPER_COOLDOWN_MS="0", **venue.environment())
    remote.programs = OURS
    yield remote
    remote.remove()


def start(tree: TreeUnderTest, venue: OwnVenue) -> None:
    """Start the tree unless it runs, and let it trade."""
    if tree.door is None:
        tree.start()
    wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE and believed(tree), "ACTIVE with orders", 60)
    trades = venue.counts()["trades"]
    wait_for(lambda: venue.counts()["trades"] > trades, "a trade", 40)


def test_tree_when_stopped_by_the_operators_command_then_no_order_rests(tree: TreeUnderTest, venue: OwnVenue) -> None:
    start(tree, venue)
    assert tree.states()["venue"] == "STOPPED", "a venue elsewhere must not be embedded too"
    done = subprocess.run(
        [sys.executable, "-m", "grinder.cli", "stop"],
        cwd=PROJECT,
        env=tree.environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert venue.live() == {}
    assert tree.door is not None
    said, _ = tree.door.communicate(timeout=30)
    assert tree.door.returncode == 0, said
    assert "Trading loop stopped. Total ticks: unknown" in said
    tree.close()


def test_tree_when_supervisord_is_killed_then_the_next_tree_takes_its_orders_over(
    tree: TreeUnderTest, venue: OwnVenue
) -> None:
    start(tree, venue)
    pids = [pid for pid in tree.pids().values() if pid]
    os.kill(tree.supervisor_pid(), signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in pids), "nothing left of the tree")
    tree.close()
    start(tree, venue)
    require_agreement(tree, venue)
    require_sound(tree, venue)


def test_tree_when_the_front_door_is_told_to_end_then_no_order_rests(tree: TreeUnderTest, venue: OwnVenue) -> None:
    start(tree, venue)
    assert tree.door is not None
    tree.door.send_signal(signal.SIGTERM)
    said, _ = tree.door.communicate(timeout=60)
    assert tree.door.returncode == 0, said
    assert re.search(r"Trading loop stopped\. Total ticks: [1-9][0-9]*\n", said), said
    assert venue.live() == {}
    assert venue.duplicates() == []
    assert venue.positions() == venue.traded()

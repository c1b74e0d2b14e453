"""A tree that ends leaves no order behind, however it ends, at a venue that outlives it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from grinder.model.control import FsmState
from tests.smoke.conditions import events_of, wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest, alive
from tests.smoke.truth import believed, require_agreement, require_sound
from tests.smoke.venues import OwnVenue

OURS = {"metrics", "feed", "syncer", "fsm", "executor"}
COUNTDOWN_S = 30
"""The shortest countdown that may be set: a test waits for it."""
ACTS = {"order.place", "order.modify", "order.cancel", "batch.place", "orders.cancel_all", "orders.countdown"}
"""What changes something at the venue; the other processes go on asking it for the time and the account."""


@pytest.fixture(scope="module")
def venue() -> Iterator[OwnVenue]:
    own = OwnVenue()
    yield own
    own.close()


@pytest.fixture(scope="module")
def tree(venue: OwnVenue) -> Iterator[TreeUnderTest]:
    remote = TreeUnderTest(
        GRINDER_PAPER_SPACING_BPS="2",
        GRINDER_PAPER_COOLDOWN_MS="0",
        GRINDER_DEAD_MAN_COUNTDOWN_MS=str(COUNTDOWN_S * 1_000),
        **venue.environment(),
    )
    remote.programs = OURS
    yield remote
    remote.remove()


def let_orders_rest(tree: TreeUnderTest) -> None:
    """Start the tree, or what of it does not run, and wait until orders of it rest."""
    if tree.door is None or tree.door.poll() is not None:
        tree.close()
        tree.start()
    elif stopped := OURS - tree.running():
        tree.ctl("start", *sorted(stopped))
    wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE and believed(tree), "ACTIVE with orders", 60)


def start(tree: TreeUnderTest, venue: OwnVenue) -> None:
    """Start the tree unless it runs, and let it trade."""
    let_orders_rest(tree)
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


def clean_stops(tree: TreeUnderTest) -> list[object]:
    """Return how each stop of the executor ended so far, oldest first."""
    return [event["clean"] for event in events_of(tree.root / "log" / "executor.log") if event["ev"] == "STOP"]


def require_handed_over(tree: TreeUnderTest, venue: OwnVenue, stops_before: int) -> None:
    """Require that the executor has ended clean, nothing rests, and the last word on the switch was to let it down."""
    assert venue.live() == {}
    assert clean_stops(tree)[stops_before:] == [True]
    acts = [row for row in venue.get("requests?limit=100000") if row["op"] in ACTS]
    assert (acts[-1]["op"], acts[-1]["code"]) == ("orders.countdown", 0)
    assert venue.get("state")["countdowns"] == []


def test_executor_when_stopped_in_each_way_then_no_order_rests_and_the_switch_is_let_down(
    tree: TreeUnderTest, venue: OwnVenue
) -> None:
    for stop in (
        lambda: os.kill(tree.pids()["executor"], signal.SIGTERM),
        lambda: tree.ctl("stop", "executor"),
        lambda: tree.ctl("stop", "all"),
    ):
        let_orders_rest(tree)
        assert venue.get("state")["countdowns"] != []
        before = len(clean_stops(tree))
        stop()
        wait_for(lambda: "executor" not in tree.running(), "the executor has ended", 30)
        assert tree.states()["executor"] in ("EXITED", "STOPPED")
        require_handed_over(tree, venue, before)


def test_host_when_it_loses_power_then_the_venue_cancels_within_the_countdown(
    tree: TreeUnderTest, venue: OwnVenue
) -> None:
    let_orders_rest(tree)
    assert tree.door is not None
    # Nobody gets to say anything: each process is stopped first, then all of them are killed.
    pids = [tree.door.pid, tree.supervisor_pid(), *(pid for pid in tree.pids().values() if pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    died_s = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    tree.close()
    wait_for(lambda: not any(alive(pid) for pid in pids), "nothing left of the tree")
    left = set(venue.live())
    assert left
    requests = venue.get("state")["requests"]
    wait_for(lambda: not venue.live(), "the venue cancels", COUNTDOWN_S + 5)
    print(f"{len(left)} orders gone {time.monotonic() - died_s:.1f} s after the power")
    wait_for(lambda: not venue.get("state")["countdowns"], "every countdown has run out", COUNTDOWN_S)
    assert venue.get("state")["requests"] == requests
    assert venue.live() == {}
    require_sound(tree, venue)

"""A tree that ends leaves no order behind, however it ends, at a venue that outlives it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from grinder.model.control import FsmState
from tests.smoke.conditions import PATIENCE_S, events_of, wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest, alive
from tests.smoke.truth import believed, require_agreement, require_sound
from tests.smoke.venues import OwnVenue

OURS = {"metrics", "feed", "syncer", "fsm", "executor"}
COUNTDOWN_S = 30
"""The shortest countdown that may be set."""
LATE_S = 15
"""How late venue and look may be on a host that is busy with other tests, seconds."""
LOOK_S = 0.2
ACTS = {"order.place", "order.modify", "order.cancel", "batch.place", "orders.cancel_all", "orders.countdown"}
"""What changes something at the venue; the other processes go on asking it for the time and the account."""


@pytest.fixture(scope="module")
def venue() -> Iterator[OwnVenue]:
    own = OwnVenue()
    yield own
    own.close()


@pytest.fixture(scope="module")
def tree(venue: OwnVenue) -> Iterator[TreeUnderTest]:
    remote = tree_at(venue)
    yield remote
    remote.remove()


def tree_at(venue: OwnVenue) -> TreeUnderTest:
    remote = TreeUnderTest(
        GRINDER_PAPER_SPACING_BPS="2",
        GRINDER_PAPER_COOLDOWN_MS="0",
        GRINDER_DEAD_MAN_COUNTDOWN_MS=str(COUNTDOWN_S * 1_000),
        **venue.environment(),
    )
    remote.programs = OURS
    return remote


class PowerLoss:
    """A host that loses power while its orders rest, and what its venue does then, watched while other tests run.

    ``left``: what rested when it was dead; ``gone_s``: when that was gone, seconds after its end; None: not yet.
    """

    def __init__(self) -> None:
        self.venue = OwnVenue()
        self.tree = tree_at(self.venue)
        self.left: set[str] = set()
        self.requests = 0
        self.gone_s: float | None = None
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def strike(self) -> None:
        """Let orders rest and end everything. Nobody gets to say a word: first each process is stopped, then all are
        killed; the market stands still, so that no trade takes what the venue is to cancel.
        """
        let_orders_rest(self.tree)
        assert self.tree.door is not None
        pids = [self.tree.door.pid, self.tree.supervisor_pid(), *(pid for pid in self.tree.pids().values() if pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self._died_s = time.monotonic()
        self.venue.post("tape", {"speed": 0})
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.tree.close()
        wait_for(lambda: not any(alive(pid) for pid in pids), "nothing left of the tree")
        self.left = set(self.venue.live())
        self.requests = self.venue.get("state")["requests"]
        self._watch.start()

    def close(self) -> None:
        self._over.set()
        if self._watch.is_alive():
            self._watch.join()
        self.tree.remove()
        self.venue.close()

    def _look(self) -> None:
        while self.gone_s is None and not self._over.wait(LOOK_S):
            asked_s = time.monotonic()
            with suppress(OSError):
                if not self.venue.live():
                    self.gone_s = asked_s - self._died_s


@pytest.fixture(scope="module")
def power_loss() -> Iterator[PowerLoss]:
    made = PowerLoss()
    try:
        made.strike()
        yield made
    finally:
        made.close()


def let_orders_rest(tree: TreeUnderTest) -> None:
    """Start the tree, or what of it does not run, and wait until orders of it rest."""
    if tree.door is None or tree.door.poll() is not None:
        tree.close()
        tree.start()
    elif stopped := OURS - tree.running():
        tree.ctl("start", *sorted(stopped))
    wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE and believed(tree), "ACTIVE with orders")


def start(tree: TreeUnderTest, venue: OwnVenue) -> None:
    """Start the tree unless it runs, and let it trade."""
    let_orders_rest(tree)
    trades = venue.counts()["trades"]
    wait_for(lambda: venue.counts()["trades"] > trades, "a trade")


@pytest.mark.usefixtures("power_loss")
def test_tree_when_stopped_by_the_operators_command_then_no_order_rests(tree: TreeUnderTest, venue: OwnVenue) -> None:
    start(tree, venue)
    assert tree.states()["venue"] == "STOPPED", "a venue elsewhere must not be embedded too"
    done = subprocess.run(
        [sys.executable, "-m", "grinder.cli", "stop"],
        cwd=PROJECT,
        env=tree.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert venue.live() == {}
    assert tree.door is not None
    said, _ = tree.door.communicate(timeout=PATIENCE_S)
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
    said, _ = tree.door.communicate(timeout=PATIENCE_S)
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
    acts = [row for row in venue.requests() if row["op"] in ACTS]
    assert (acts[-1]["op"], acts[-1]["code"]) == ("orders.countdown", 0)
    assert venue.get("state")["countdowns"] == []


def test_executor_when_stopped_in_each_way_then_no_order_rests_and_the_switch_is_let_down(
    tree: TreeUnderTest, venue: OwnVenue
) -> None:
    for stop in (
        lambda: os.kill(tree.pid("executor"), signal.SIGTERM),
        lambda: tree.ctl("stop", "executor"),
        lambda: tree.ctl("stop", "all"),
    ):
        let_orders_rest(tree)
        assert venue.get("state")["countdowns"] != []
        before = len(clean_stops(tree))
        stop()
        wait_for(lambda: tree.states().get("executor") in ("EXITED", "STOPPED"), "the executor has ended")
        require_handed_over(tree, venue, before)


def test_host_when_it_loses_power_then_the_venue_cancels_within_the_countdown(power_loss: PowerLoss) -> None:
    venue = power_loss.venue
    assert power_loss.left
    gone_s = wait_for(lambda: power_loss.gone_s, "the venue cancels", COUNTDOWN_S + LATE_S)
    print(f"{len(power_loss.left)} orders gone {gone_s:.1f} s after the power")
    assert gone_s < COUNTDOWN_S + LATE_S
    wait_for(lambda: not venue.get("state")["countdowns"], "every countdown has run out")
    assert venue.get("state")["requests"] == power_loss.requests
    assert venue.live() == {}
    require_sound(power_loss.tree, venue)

"""The tree on recorded data without a venue stream (``--fixture``): both forms, read-only and on paper, no network."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.model.control import FsmState
from tests.smoke.conditions import PATIENCE_S, events_of, wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest

LINES = PROJECT / "tests" / "fixtures" / "trading_loop" / "bookticker_5tick.jsonl"
RECORDED = Path(os.environ.get("GRINDER_TEST_DATA", PROJECT.parent / "shared" / "data")) / "binance_usdm"
RECORDED_LINES = 11_000
"""Longer than a tree takes to start on a busy host: it is not played again."""
CREDENTIALS = ("BINANCE_API_KEY", "BINANCE_API_SECRET")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """The beginning of a recording, cut inside a line as recordings are."""
    path = RECORDED / "usdm_btcusdt_20240718.gz"
    if not path.exists():
        pytest.skip(f"recorded venue data absent: {path} (set GRINDER_TEST_DATA)")
    with gzip.open(path, "rb") as file:
        lines = [file.readline() for _ in range(RECORDED_LINES)]
    target = tmp_path / "beginning.gz"
    target.write_bytes(gzip.compress(b"".join(lines)[:-20]))
    return target


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    local = TreeUnderTest(GRINDER_SYMBOLS="BTCUSDT")
    yield local
    local.remove()


def inet_sockets(pid: int) -> list[str]:
    """Return the TCP and UDP sockets that a process holds."""
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6", "udp", "udp6")]
    known = {line.split()[9] for table in tables for line in table}
    held = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue
        if target.startswith("socket:") and target[8:-1] in known:
            held.append(target)
    return held


def require_played(tree: TreeUnderTest, at_least: int) -> None:
    """Require that the feed delivers the file, without a socket to anywhere and without a word of an error."""
    wait_for(lambda: tree.count("grinder_ticks_received_total", connector="bookTicker") >= at_least, "ticks")
    assert inet_sockets(tree.pids()["feed"]) == []
    names = [event["ev"] for event in events_of(tree.root / "log" / "feed.log")]
    assert "CRASHED" not in names


@pytest.mark.parametrize("mode", ["read_only", "paper"])
def test_tree_when_the_fixture_has_the_runbooks_lines_then_they_are_played_to_the_end(
    tree: TreeUnderTest, mode: str
) -> None:
    tree.environ["GRINDER_TRADING_MODE"] = mode
    if mode == "read_only":
        tree.programs.discard("venue")
    tree.start("--fixture", str(LINES))
    wait_for(tree.answers, "the metrics process answers")
    require_played(tree, len(LINES.read_text().splitlines()))
    wait_for(lambda: tree.count("grinder_feed_ended") == 1, "the end of the file")
    assert tree.count("grinder_feed_dropped_total") == 0


def test_tree_when_the_fixture_is_a_recording_then_the_loop_is_active_on_it_and_ends_in_order(
    tree: TreeUnderTest, recorded: Path
) -> None:
    tree.start("--fixture", str(recorded))
    wait_for(tree.answers, "the metrics process answers")
    require_played(tree, 100)
    wait_for(lambda: tree.state() is FsmState.ACTIVE, "ACTIVE")
    assert tree.door is not None
    tree.door.send_signal(signal.SIGTERM)
    said, _ = tree.door.communicate(timeout=PATIENCE_S)
    assert tree.door.returncode == 0, said
    tree.door = None


def test_tree_when_read_only_on_a_recording_then_nothing_is_ordered(tree: TreeUnderTest, recorded: Path) -> None:
    tree.environ["GRINDER_TRADING_MODE"] = "read_only"
    tree.programs.discard("venue")
    tree.start("--fixture", str(recorded))
    wait_for(tree.answers, "the metrics process answers")
    require_played(tree, 100)
    assert tree.count("grinder_port_order_attempts_total") == 0
    assert inet_sockets(tree.pids()["executor"]) == []

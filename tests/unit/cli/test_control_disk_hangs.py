"""kill and override where the disk hangs, or somebody else holds the lock on it: the board has their word first."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grinder.adapters.board import attach_reader, create_board
from grinder.adapters.clock import SystemClock
from grinder.adapters.latch import LATCH_FILE
from grinder.adapters.override import (
    CODE_BITS,
    OPERATOR_LOCK_FILE,
    OVERRIDE_FILE,
    load_override,
    next_word,
    override_in,
    store_override,
)
from grinder.cli import beside, cluster, main, override
from grinder.model.board import Word
from grinder.model.control import Exit, Override

JOINS_S_MAX = 30.0
Say = Callable[[], str]


@pytest.fixture
def state_dir(state_dir: Path, run_dir: Path) -> Path:
    create_board(run_dir)
    return state_dir


def word(run_dir: Path, which: Word) -> int:
    board = attach_reader(run_dir)
    try:
        return board.read(which)
    finally:
        board.close()


@contextmanager
def hung(state_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the opening of a file take until this is left, as on a disk that hangs."""
    monkeypatch.setattr(beside, "DISK_S_MAX", 0.2)
    state_dir.mkdir(exist_ok=True)
    os.mkfifo(state_dir / name)
    before = threading.enumerate()
    yield
    deadline = time.monotonic() + JOINS_S_MAX
    while left := set(threading.enumerate()) - set(before):
        assert time.monotonic() < deadline, left
        # Lets everybody who waits to open it go on; what they then read is empty.
        os.close(os.open(state_dir / name, os.O_RDWR | os.O_NONBLOCK))
        left.pop().join(0.01)


def test_kill_when_the_disk_hangs_then_the_board_is_tripped_and_not_confirmed_in_time(
    run_dir: Path, state_dir: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hung(state_dir, LATCH_FILE, monkeypatch):
        assert main(["kill", "--reason", "x"]) == Exit.GATE
    assert "the latch file was NOT written (the disk does not answer)" in say()
    (evidence,) = (state_dir.parent / "artifacts" / "kill").glob("*.json")
    assert "the disk does not answer" in json.loads(evidence.read_text())["outcome"]
    assert word(run_dir, Word.TRIP_OPERATOR)


def test_kill_when_the_disk_hangs_then_the_cluster_is_spoken_to_all_the_same(
    run_dir: Path, state_dir: Path, closed_port: int, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRINDER_HA_ENABLED", "1")
    monkeypatch.setenv("GRINDER_ETCD_ENDPOINTS", f"127.0.0.1:{closed_port}")
    monkeypatch.setattr(cluster, "TELL_S_MAX", 0.05)
    with hung(state_dir, LATCH_FILE, monkeypatch):
        assert main(["kill", "--reason", "x"]) == Exit.GATE
        assert "the cluster was NOT told" in say()


@pytest.mark.parametrize("target", [Override.PAUSE, Override.EMERGENCY])
def test_override_when_raised_and_the_disk_hangs_then_the_board_has_it_and_not_saved(
    target: Override, run_dir: Path, state_dir: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(override, "DISK_S_MAX", 0.2)
    monkeypatch.setattr(override, "LOCK_WAIT_S_MAX", 0.0)
    with hung(state_dir, OVERRIDE_FILE, monkeypatch):
        assert main(["override", target.name]) == Exit.GATE
        assert override_in(word(run_dir, Word.OVERRIDE)) is target
        assert "NOT SAVED: the disk does not answer" in say()


def test_override_when_raised_while_somebody_holds_the_lock_then_the_board_has_it_before(
    run_dir: Path, state_dir: Path
) -> None:
    state_dir.mkdir()
    with (state_dir / OPERATOR_LOCK_FILE).open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        command = threading.Thread(target=main, args=(["override", "EMERGENCY"],))
        command.start()
        deadline = time.monotonic() + JOINS_S_MAX
        while word(run_dir, Word.OVERRIDE) == 0 and command.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        raised_first = command.is_alive() and not (state_dir / OVERRIDE_FILE).exists()
        command.join()
    assert raised_first
    assert override_in(word(run_dir, Word.OVERRIDE)) is Override.EMERGENCY
    assert load_override(state_dir).code is Override.EMERGENCY


@pytest.mark.parametrize(("from_now_ms", "stands"), [(-60_000, Override.PAUSE), (60_000, Override.EMERGENCY)])
def test_override_when_the_file_is_severer_then_refused_and_only_one_of_this_moment_is_put_on_the_board(
    from_now_ms: int, stands: Override, run_dir: Path, state_dir: Path, say: Say
) -> None:
    """An old one was lowered and not saved: it must not leave the market. A new one may be what ours overwrote."""
    store_override(state_dir, Override.EMERGENCY, "", "", SystemClock().utc_ms() + from_now_ms)
    assert main(["override", "PAUSE"]) == Exit.GATE
    said = say()
    assert "REFUSED: this lowers EMERGENCY" in said
    assert f"on the board is {stands.name}" in said
    assert override_in(word(run_dir, Word.OVERRIDE)) is stands


def test_override_when_raised_then_its_number_is_one_more_and_no_second_answer_is_asked_for(
    run_dir: Path, state_dir: Path
) -> None:
    main(["override", "PAUSE"])
    assert word(run_dir, Word.OVERRIDE) == next_word(0, Override.PAUSE)
    main(["override", "EMERGENCY"])
    assert word(run_dir, Word.OVERRIDE) >> CODE_BITS == 2

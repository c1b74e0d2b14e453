"""The log of a process's starts: which of them count as crashes, and for how long."""

from __future__ import annotations

from pathlib import Path

from grinder.adapters.crash_loop import StartLog
from grinder.model.control import Process
from grinder.model.limits import CRASH_LOOP_WINDOW_S
from grinder.model.units import NS_PER_S


def test_starts_when_none_ended_in_order_then_each_before_this_one_is_a_crash(tmp_path: Path) -> None:
    log = StartLog(tmp_path, Process.FSM)
    assert [log.begin(second * NS_PER_S) for second in range(4)] == [0, 1, 2, 3]
    assert StartLog(tmp_path, Process.FEED).begin(0) == 0


def test_starts_when_one_ended_in_order_then_it_is_no_crash(tmp_path: Path) -> None:
    log = StartLog(tmp_path, Process.FSM)
    log.begin(1)
    log.end()
    log.begin(2)
    assert log.begin(3) == 1


def test_starts_when_older_than_the_window_then_forgotten(tmp_path: Path) -> None:
    log = StartLog(tmp_path, Process.FSM)
    log.begin(0)
    log.begin(NS_PER_S)
    assert log.begin((CRASH_LOOP_WINDOW_S + 1) * NS_PER_S) == 1


def test_starts_when_the_file_is_torn_or_cannot_be_written_then_the_process_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "starts.fsm").write_bytes(b"12\xff\n3")
    assert StartLog(tmp_path, Process.FSM).begin(5) == 0
    assert StartLog(tmp_path / "absent", Process.FSM).begin(5) == 0
    StartLog(tmp_path / "absent", Process.FSM).end()

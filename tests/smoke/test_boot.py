from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from grinder.adapters.board import attach_reader
from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.model.board import Heartbeat, Word, word_of
from grinder.model.control import TRIP_CODES, Process, TripReason
from grinder.model.errors import SettingsError
from procs._boot import next_incarnation
from tests.disks import failing_disk, fill, small_disk
from tests.smoke.conditions import PATIENCE_S, events_of, wait_for

STAND_IN = (sys.executable, "-m", "tests.smoke.stand_in")


class Host:
    """Directories of one host, and the processes started on it; whatever still lives at the end is killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run_dir = root / "run"
        self.environ = {
            "PATH": os.environ["PATH"],
            "GRINDER_RUN_DIR": str(root / "run"),
            "GRINDER_STATE_DIR": str(root / "state"),
            "GRINDER_LOG_DIR": str(root / "log"),
            "GRINDER_ARTIFACT_DIR": str(root / "artifacts"),
        }
        self.children: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, python: tuple[str, ...] = STAND_IN, **changes: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [*python, *arguments], env={**self.environ, **changes}, stderr=subprocess.PIPE, text=True
        )
        self.children.append(child)
        return child

    def events(self, process: str, name: str) -> list[dict[str, object]]:
        return [event for event in events_of(self.root / "log" / f"{process}.log") if event["ev"] == name]

    def word(self, word: Word) -> int:
        board = attach_reader(self.run_dir)
        try:
            return board.read(word)
        finally:
            board.close()

    def ready_beat(self, process: Process) -> Heartbeat | None:
        """Return a process's heartbeat, if it says that it is ready."""
        board = attach_reader(self.run_dir)
        try:
            beat = board.heartbeat(process)
        finally:
            board.close()
        return beat if beat is not None and beat.ready else None

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.communicate()
        shutil.rmtree(self.root)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host(Path(tempfile.mkdtemp(dir="/tmp")))
    yield host
    host.close()


def ended(child: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = child.communicate(timeout=PATIENCE_S)
    return child.returncode, errors


@pytest.mark.parametrize(("process", "how"), [("fsm", "blocking"), ("syncer", "async")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_service_when_run_and_stopped_then_frames_flow_and_it_ends_with_0(
    host: Host, process: str, how: str, number: signal.Signals
) -> None:
    host.start("executor", "async")
    child = host.start(process, how)
    wait_for(lambda: host.events(process, "STAND_IN_FRAME"), "a frame")
    beat = wait_for(lambda: host.ready_beat(Process(process)), "its heartbeat says that it is ready")
    assert beat.pid == child.pid
    assert host.word(word_of("PID", Process(process))) == child.pid
    child.send_signal(number)
    assert ended(child) == (0, "")
    names = [str(event["ev"]) for event in events_of(host.root / "log" / f"{process}.log")]
    assert names[:2] == ["STAND_IN_START", "STARTED"]
    assert names[-3:] == ["STOPPING", "STAND_IN_STOP", "STOPPED"]


@pytest.mark.parametrize(
    ("process", "how", "flaw"),
    [
        ("fsm", "blocking", "crash-in-callback"),
        ("syncer", "async", "crash-in-callback"),
        ("syncer", "async", "crash-in-task"),
    ],
)
def test_service_when_it_raises_then_logged_with_traceback_and_2(host: Host, process: str, how: str, flaw: str) -> None:
    host.start("executor", "async")
    code, errors = ended(host.start(process, how, flaw))
    assert code == 2
    assert "ValueError: flawed on purpose" in errors
    (crash,) = host.events(process, "CRASHED")
    assert "flawed on purpose" in str(crash["traceback"])


def test_service_when_it_does_not_stop_then_it_is_ended_by_its_bound(host: Host) -> None:
    child = host.start("syncer", "async", "stubborn")
    wait_for(lambda: host.events("syncer", "STARTED"), "the start")
    child.send_signal(signal.SIGTERM)
    assert ended(child) == (0, "")
    assert host.events("syncer", "STOP_TIMEOUT")


def test_publisher_when_killed_and_back_then_its_listener_sees_a_gap_and_goes_on(host: Host) -> None:
    host.start("fsm", "blocking")
    first = host.start("executor", "async")
    wait_for(lambda: host.events("fsm", "STAND_IN_FRAME"), "a frame")
    first.kill()
    first.wait()
    host.start("executor", "async")
    (gap,) = wait_for(lambda: host.events("fsm", "STAND_IN_GAP"), "the gap")
    assert (gap["channel"], gap["missing"]) == ("orders", 0)
    assert host.word(Word.STARTS_EXECUTOR) == 2


@pytest.mark.parametrize("wanted", ["0", "1"])
def test_service_when_the_processor_is_to_stay_awake_then_it_holds_the_request_or_says_why_not(
    host: Host, wanted: str
) -> None:
    child = host.start("syncer", "async", GRINDER_CPU_DMA_LATENCY=wanted)
    wait_for(lambda: host.events("syncer", "STARTED"), "the start")
    held = "/dev/cpu_dma_latency" in opened_by(child.pid)
    refused = bool(host.events("syncer", "CPU_DMA_LATENCY_REFUSED"))
    assert held + refused == int(wanted)


def test_boot_when_slot_is_taken_then_75_and_it_says_by_whom(host: Host) -> None:
    owner = host.start("executor", "async")
    wait_for(lambda: host.events("executor", "STARTED"), "the start")
    code, errors = ended(host.start("executor", "async"))
    assert code == 75
    assert f"already running as pid {owner.pid}" in errors
    elsewhere = host.start("executor", "async", GRINDER_RUN_DIR=str(host.root / "other"))
    assert ended(elsewhere)[0] == 75
    assert owner.poll() is None


def test_boot_when_settings_are_wrong_then_78_and_every_problem(host: Host) -> None:
    changes = {"GRINDER_FSM_ENABLE": "1", "GRINDER_METRICS_PORT": "none", "GRINDER_TRADING_MODE": "live"}
    code, errors = ended(host.start("fsm", "blocking", **changes))
    assert code == 78
    assert all(name in errors for name in changes)
    assert not host.run_dir.exists()


def test_boot_when_assertions_are_off_then_78(host: Host) -> None:
    child = host.start("fsm", "blocking", python=(sys.executable, "-O", *STAND_IN[1:]))
    code, errors = ended(child)
    assert code == 78
    assert "-O" in errors


def test_boot_when_board_is_of_another_layout_then_78(host: Host) -> None:
    host.run_dir.mkdir()
    (host.run_dir / "board").write_bytes(b"something else")
    code, errors = ended(host.start("fsm", "blocking"))
    assert code == 78
    assert "another layout" in errors


def test_boot_when_run_directory_cannot_be_made_then_78(host: Host) -> None:
    (host.root / "file").write_text("")
    code, errors = ended(host.start("fsm", "blocking", GRINDER_RUN_DIR=str(host.root / "file" / "run")))
    assert code == 78
    assert "GRINDER_RUN_DIR" in errors


def test_boot_when_its_supervisor_is_gone_already_then_it_does_not_start(host: Host) -> None:
    code, errors = ended(host.start("fsm", "blocking", SUPERVISED_BY_PID="1"))
    assert code == 2
    assert "supervisord died" in errors


def test_boot_when_a_damaged_latch_lies_there_then_the_board_is_tripped(host: Host) -> None:
    (host.root / "state").mkdir()
    (host.root / "state" / "latch").write_bytes(b"\xff" * 1_024)
    host.start("executor", "async")
    wait_for(lambda: host.events("executor", "STARTED"), "the start")
    assert host.word(Word.TRIP_EXECUTOR) != 0
    assert host.word(Word.LATCH_FILE_LOADED) == 1


def test_boot_when_the_very_first_start_ends_before_it_is_counted_then_the_next_one_finds_a_latch_and_none_removed(
    host: Host,
) -> None:
    in_the_way = host.root / "state" / "incarnation.executor.new"
    in_the_way.mkdir(parents=True)
    child = host.start("executor", "async")
    assert ended(child)[0] != 0
    assert LatchFile(host.root / "state" / LATCH_FILE).peek(first_start=False).tripped is False
    in_the_way.rmdir()
    host.start("executor", "async")
    wait_for(lambda: host.events("executor", "STARTED"), "the start")
    assert host.word(Word.TRIP_EXECUTOR) == 0


def test_stop_when_it_comes_right_after_the_start_then_still_an_orderly_end(host: Host) -> None:
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-m", "procs.metrics"], env=host.environ, stderr=subprocess.PIPE, text=True
        )
        host.children.append(child)
        wait_for(partial(catches, child.pid, signal.SIGTERM), "the handler")
        child.send_signal(signal.SIGTERM)
        assert ended(child) == (0, "")


def opened_by(pid: int) -> list[str]:
    """Return what a process has open; what it closes meanwhile is left out."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


def catches(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal by now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) & (1 << (number - 1)))
    return False


def test_incarnation_when_taken_again_then_it_grows_and_is_never_behind_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "incarnation.fsm"
    assert next_incarnation(path, 1_000) == 1_000
    assert next_incarnation(path, 1_000) == 1_001
    assert next_incarnation(path, 900) == 1_002
    assert next_incarnation(path, 5_000) == 5_000


@pytest.mark.parametrize("kind", ["memory", "ext4"])
def test_incarnation_when_the_disk_is_full_then_it_grows_all_the_same(kind: str) -> None:
    with ExitStack() as stack:
        if kind == "memory":
            disk = stack.enter_context(small_disk(1 << 20))
        else:
            disk = stack.enter_context(failing_disk(8 << 20)).folder
        path = disk / "incarnation.fsm"
        assert next_incarnation(path, 9) == 9
        fill(disk)
        assert next_incarnation(path, 1_000) == 1_000
        assert next_incarnation(path, 1_000) == 1_001
        assert path.read_text() == "1001\n"


def test_incarnation_when_the_disk_is_full_and_there_is_none_then_refused() -> None:
    with small_disk(1 << 20) as disk:
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            next_incarnation(disk / "incarnation.fsm", 9)


def test_incarnation_when_its_file_is_damaged_then_refused(tmp_path: Path) -> None:
    (tmp_path / "incarnation.fsm").write_text("\0\0")
    with pytest.raises(SettingsError, match=r"incarnation\.fsm"):
        next_incarnation(tmp_path / "incarnation.fsm", 1)


def test_process_when_it_crashes_again_and_again_then_its_next_start_trips_the_kill_switch(host: Host) -> None:
    changes = {"GRINDER_CRASH_LOOP_STARTS": "2"}
    for trips in (0, 0, TRIP_CODES[TripReason.CRASH_LOOP]):
        child = host.start("executor", "async", "crash-in-task", **changes)
        assert ended(child)[0] == 2
        assert host.word(Word.TRIP_EXECUTOR) == trips
    record = LatchFile(host.root / "state" / LATCH_FILE).peek(first_start=False)
    assert (record.tripped, record.reason) == (True, TripReason.CRASH_LOOP)


def test_process_when_it_is_stopped_in_order_again_and_again_then_nothing_trips(host: Host) -> None:
    for _ in range(3):
        child = host.start("executor", "async", GRINDER_CRASH_LOOP_STARTS="2")
        wait_for(lambda: len(host.events("executor", "STARTED")) == len(host.children), "the start")
        child.send_signal(signal.SIGTERM)
        assert ended(child)[0] == 0
    assert host.word(Word.TRIP_EXECUTOR) == 0

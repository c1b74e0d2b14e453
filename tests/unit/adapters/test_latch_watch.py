from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grinder.adapters.audit import AUDIT_FILE
from grinder.adapters.board import attach_operator, attach_process, attach_reader, create_board
from grinder.adapters.clock import SystemClock
from grinder.adapters.latch import LatchFile
from grinder.adapters.latch_watch import LatchWatch
from grinder.model.board import TRIP_WORDS, Heartbeat, Word
from grinder.model.control import TRIP_CODES, Process, TripReason
from grinder.model.latch import ClearStage, LatchRecord
from tests.latch_hosts import HangingLatch
from tests.market import RecordingEvidence
from tests.smoke.conditions import wait_for


class Names:
    def __init__(self) -> None:
        self.names: list[str] = []

    def event(self, name: str, **fields: object) -> None:
        self.names.append(name)


@pytest.fixture
def file(tmp_path: Path) -> LatchFile:
    file = LatchFile(tmp_path / "latch")
    file.load(first_start=True)
    return file


@pytest.fixture
def log() -> Names:
    return Names()


@pytest.fixture
def evidence() -> RecordingEvidence:
    return RecordingEvidence()


@pytest.fixture
def watch(file: LatchFile, log: Names, evidence: RecordingEvidence, tmp_path: Path) -> Iterator[LatchWatch]:
    watch = LatchWatch(file, file.peek(first_start=False), SystemClock(), log, evidence, tmp_path)
    yield watch
    watch.close()


def test_trip_when_asked_then_it_is_in_the_file_and_known(watch: LatchWatch, file: LatchFile) -> None:
    watch.trip(TripReason.DRAWDOWN_LIMIT, Process.FSM)
    watch.trip(TripReason.MANUAL, None)
    wait_for(lambda: watch.record.tripped, "written")
    record = file.peek(first_start=False)
    assert (record.version, record.reason, record.who) == (1, TripReason.DRAWDOWN_LIMIT, "fsm")


def test_record_when_somebody_else_trips_and_clears_the_file_then_it_follows(
    watch: LatchWatch, file: LatchFile
) -> None:
    tripped = file.trip(TripReason.MANUAL, "anna", "drill", 1)
    wait_for(lambda: watch.record.tripped, "seen")
    file.clear(tripped.trip_id, "anna", "", 2)
    wait_for(lambda: not watch.record.tripped, "seen")


def test_record_when_the_file_vanishes_then_tripped(watch: LatchWatch, tmp_path: Path) -> None:
    (tmp_path / "latch").unlink()
    wait_for(lambda: watch.record.tripped, "seen")


def test_trip_when_the_file_cannot_be_written_then_it_is_tried_until_it_can(
    watch: LatchWatch, tmp_path: Path, log: Names
) -> None:
    folder, moved = tmp_path / "gone", tmp_path.with_name(tmp_path.name + "_moved")
    tmp_path.rename(moved)
    tmp_path.write_text("in the way")
    watch.trip(TripReason.MANUAL, None)
    wait_for(lambda: "LATCH_NOT_WRITTEN" in log.names, "said so")
    tmp_path.unlink()
    moved.rename(tmp_path)
    wait_for(lambda: LatchFile(tmp_path / "latch").peek(first_start=False).version == 1, "written after all")
    assert not folder.exists()


def test_trip_when_it_is_in_the_file_then_there_is_evidence_of_it_and_a_restart_writes_the_same(
    watch: LatchWatch, file: LatchFile, log: Names, evidence: RecordingEvidence, tmp_path: Path
) -> None:
    watch.trip(TripReason.REJECT_LOOP, Process.EXECUTOR)
    wait_for(lambda: evidence.files, "evidence of the first trip")
    first = file.peek(first_start=False)
    again = file.trip(TripReason.MANUAL, "anna", "drill", 5, again=True)
    wait_for(lambda: len(evidence.files) == 2, "evidence of the second trip")
    ts = first.utc_ms
    names = [f"kill/kill_switch_{ts}_TRIP_{first.trip_id}.json", f"kill/kill_switch_{ts}_TRIP_{again.trip_id}.json"]
    assert list(evidence.files) == names
    said = json.loads(evidence.files[names[0]])
    assert (said["reason"], said["who"], said["event"], said["outcome"]) == (
        "REJECT_LOOP",
        "executor",
        "TRIP",
        "LATCHED",
    )
    later = RecordingEvidence()
    LatchWatch(file, file.peek(first_start=False), SystemClock(), log, later, tmp_path).close()
    assert later.files == {names[1]: evidence.files[names[1]]}


def test_close_when_a_trip_waits_then_it_is_written_first(
    file: LatchFile, log: Names, evidence: RecordingEvidence, tmp_path: Path
) -> None:
    watch = LatchWatch(file, file.peek(first_start=False), SystemClock(), log, evidence, tmp_path)
    watch.trip(TripReason.MANUAL, None)
    watch.close()
    assert file.peek(first_start=False).tripped
    assert evidence.files


def test_follow_when_clear_then_it_holds_the_trip_of_the_other_host_and_when_tripped_then_nothing(
    watch: LatchWatch, file: LatchFile
) -> None:
    watch.follow("node-2-MANUAL-00000001", "node-2: drill")
    wait_for(lambda: watch.record.tripped, "followed")
    assert file.peek(first_start=False) == watch.record
    assert (watch.record.trip_id, watch.record.reason, watch.record.who) == (
        "node-2-MANUAL-00000001",
        TripReason.CLUSTER,
        "cluster",
    )
    watch.follow("node-3-MANUAL-00000002", "")
    watch.trip(TripReason.MANUAL, None)
    watch.trip_again(TripReason.DRAWDOWN_LIMIT, Process.FSM)
    wait_for(lambda: watch.record.version == 2, "tripped by this host too")
    assert (watch.record.reason, watch.record.who) == (TripReason.DRAWDOWN_LIMIT, "fsm")


def test_trip_when_the_disk_hangs_then_nobody_waits_and_it_has_the_name_that_the_file_gets(
    log: Names, evidence: RecordingEvidence, tmp_path: Path
) -> None:
    file = HangingLatch(tmp_path / "latch", "node-1")
    watch = LatchWatch(file, file.load(first_start=True), SystemClock(), log, evidence, tmp_path)
    assert watch.unwritten is None
    watch.trip(TripReason.DRAWDOWN_LIMIT, Process.FSM)
    wait_for(file.hangs.is_set, "it hangs")
    waiting = watch.unwritten
    watch.trip(TripReason.MANUAL, None)
    watch.follow("node-2-MANUAL-00000001", "")
    assert waiting is not None
    assert watch.unwritten == waiting
    assert not watch.record.tripped
    assert waiting.name.startswith("node-1-DRAWDOWN_LIMIT-")
    assert (waiting.tripped, waiting.reason, waiting.who) == (True, TripReason.DRAWDOWN_LIMIT, "fsm")
    file.goes_on.set()
    wait_for(lambda: watch.unwritten is None, "written")
    assert (watch.record.name, watch.record.version, watch.record.utc_ms) == (waiting.name, 1, waiting.utc_ms)
    watch.close()


def test_trips_when_many_come_while_the_disk_hangs_then_the_first_says_why_and_the_newest_names_it(
    log: Names, evidence: RecordingEvidence, tmp_path: Path
) -> None:
    file = HangingLatch(tmp_path / "latch", "node-1")
    watch = LatchWatch(file, file.load(first_start=True), SystemClock(), log, evidence, tmp_path)
    watch.trip(TripReason.DRAWDOWN_LIMIT, Process.FSM)
    wait_for(file.hangs.is_set, "it hangs")
    names = set()
    for _ in range(50):
        watch.trip_again(TripReason.FORCED_CLOSE, Process.EXECUTOR)
        newest = watch.unwritten
        assert newest is not None
        names.add(newest.name)
    assert len(names) == 50
    file.goes_on.set()
    wait_for(lambda: watch.unwritten is None, "written")
    record = watch.record
    assert (record.name, record.version, record.reason) == (newest.name, 2, TripReason.DRAWDOWN_LIMIT)
    watch.close()


def test_trips_when_asked_for_at_once_then_each_of_its_own_counts(watch: LatchWatch) -> None:
    watch.trip(TripReason.DRAWDOWN_LIMIT, Process.FSM)
    watch.trip_again(TripReason.ACCOUNT_MISMATCH, Process.SYNCER)
    wait_for(lambda: watch.record.version == 2, "both")


def test_clear_when_every_word_was_there_before_the_look_then_all_is_clear_with_evidence_and_an_audit_line(
    watch: LatchWatch, evidence: RecordingEvidence, tmp_path: Path
) -> None:
    create_board(tmp_path)
    with attach_operator(tmp_path) as board:
        board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    feed = attach_process(tmp_path, Process.FEED, ())
    feed.write(Word.TRIP_FEED, TRIP_CODES[TripReason.CRASH_LOOP])
    watch.follow("node-2-MANUAL-00000001", "")
    wait_for(lambda: watch.record.tripped, "followed")
    watch.clear("node-2-MANUAL-00000001", SystemClock().mono_ns(), "anna")
    wait_for(lambda: watch.clearing.stage is not ClearStage.UNDER_WAY, "cleared")
    assert watch.clearing.stage is ClearStage.CLEARED
    wait_for(lambda: not watch.record.tripped, "known")
    board = attach_reader(tmp_path)
    assert not any(board.read(word) for word in TRIP_WORDS)
    assert any("_RESET_node-2-MANUAL-00000001" in name for name in evidence.files)
    assert 'by":"anna' in (tmp_path / AUDIT_FILE).read_text()
    board.close()
    feed.close()


def test_clear_when_a_living_process_trips_again_then_held_and_the_operators_word_is_back(
    watch: LatchWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grinder.adapters.latch_watch.CLEAR_WAIT_S_MAX", 0.05)
    create_board(tmp_path)
    with attach_operator(tmp_path) as board:
        board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    fsm = attach_process(tmp_path, Process.FSM, ())
    fsm.beat(Heartbeat(Process.FSM, 123, 1, 0, SystemClock().mono_ns(), True, "", {}, ""))
    fsm.write(Word.TRIP_FSM, TRIP_CODES[TripReason.DRAWDOWN_LIMIT])
    watch.follow("node-2-MANUAL-00000001", "")
    wait_for(lambda: watch.record.tripped, "followed")
    watch.clear("node-2-MANUAL-00000001", 1, "anna")
    wait_for(lambda: watch.clearing.stage is not ClearStage.UNDER_WAY, "tried")
    assert watch.clearing.stage is ClearStage.HELD
    assert watch.clearing.problem.startswith("fsm did not clear")
    assert watch.record.tripped
    assert fsm.read(Word.TRIP_OPERATOR)
    fsm.close()


def test_clear_when_there_is_no_board_or_the_trip_is_another_then_nothing_is_cleared(
    watch: LatchWatch, file: LatchFile, tmp_path: Path
) -> None:
    watch.follow("node-2-MANUAL-00000001", "")
    wait_for(lambda: watch.record.tripped, "followed")
    for trip_id, stage in (("node-2-MANUAL-00000001", ClearStage.FAILED), ("of-before", ClearStage.HELD)):
        watch.clear(trip_id, SystemClock().mono_ns(), "anna")
        wait_for(lambda: watch.clearing.stage is not ClearStage.UNDER_WAY, "tried")
        assert watch.clearing.stage is stage
        assert file.peek(first_start=False).tripped
        if stage is ClearStage.FAILED:
            create_board(tmp_path)


class TrippedWhileRead(LatchFile):
    """A latch file that trips anew while the thread of a clearing reads it after that; ``trip_anew`` does it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.trip_anew: Callable[[], None] | None = None
        self._cleared = False

    def clear(self, trip_id: str, who: str, detail: str, utc_ms: int) -> LatchRecord:
        record = super().clear(trip_id, who, detail, utc_ms)
        self._cleared = True
        return record

    def peek(self, *, first_start: bool) -> LatchRecord:
        record = super().peek(first_start=first_start)
        if self._cleared and self.trip_anew is not None and threading.current_thread().name == "latch-clear":
            self._cleared = False
            self.trip_anew()
        return record


def test_trip_when_it_comes_while_a_clearing_ends_then_what_that_has_read_before_does_not_hide_it(
    log: Names, evidence: RecordingEvidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grinder.adapters.latch_watch.LOOK_PERIOD_S", 60.0)
    file = TrippedWhileRead(tmp_path / "latch")
    create_board(tmp_path)
    watch = LatchWatch(file, file.load(first_start=True), SystemClock(), log, evidence, tmp_path)
    watch.trip(TripReason.MANUAL, None)
    wait_for(lambda: watch.record.tripped, "tripped")

    def trip_anew() -> None:
        watch.trip_again(TripReason.DRAWDOWN_LIMIT, Process.FSM)
        wait_for(lambda: watch.record.reason is TripReason.DRAWDOWN_LIMIT, "tripped anew")

    file.trip_anew = trip_anew
    watch.clear(watch.record.trip_id, SystemClock().mono_ns(), "anna")
    wait_for(lambda: watch.clearing.stage is not ClearStage.UNDER_WAY, "cleared")
    wait_for(lambda: watch.record == file.peek(first_start=False), "the record is what the file says", 5.0)
    watch.close()

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.adapters.clock import SystemClock
from grinder.adapters.latch import LatchFile
from grinder.adapters.latch_watch import LatchWatch
from grinder.model.control import Process, TripReason
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
def watch(file: LatchFile, log: Names, evidence: RecordingEvidence) -> Iterator[LatchWatch]:
    watch = LatchWatch(file, file.peek(first_start=False), SystemClock(), log, evidence)
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
    watch: LatchWatch, file: LatchFile, log: Names, evidence: RecordingEvidence
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
    LatchWatch(file, file.peek(first_start=False), SystemClock(), log, later).close()
    assert later.files == {names[1]: evidence.files[names[1]]}


def test_close_when_a_trip_waits_then_it_is_written_first(
    file: LatchFile, log: Names, evidence: RecordingEvidence
) -> None:
    watch = LatchWatch(file, file.peek(first_start=False), SystemClock(), log, evidence)
    watch.trip(TripReason.MANUAL, None)
    watch.close()
    assert file.peek(first_start=False).tripped
    assert evidence.files

from __future__ import annotations

import hashlib
import os
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from grinder.adapters import evidence_chain
from grinder.adapters import log as log_module
from grinder.adapters.clock import SystemClock
from grinder.adapters.evidence_writer import EvidenceWriter
from grinder.adapters.log import EventLog
from grinder.adapters.telemetry import Recorder
from grinder.model.control import Process
from grinder.model.limits import EVIDENCE_PRUNE_EVERY_FILES, LOG_FILES_KEPT, LOG_QUEUE_EVENTS_MAX

CLOCK = SystemClock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(Process.FSM, os.getpid(), 3, CLOCK)


def open_log(path: Path, recorder: Recorder) -> EventLog:
    return EventLog(path, Process.FSM, os.getpid(), 3, CLOCK, recorder)


def lines_of(path: Path) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def test_log_when_closed_then_every_event_is_one_line_with_who_and_when(tmp_path: Path, recorder: Recorder) -> None:
    path = tmp_path / "deep" / "fsm.log"
    log = open_log(path, recorder)
    log.event("FSM_TRANSITION", to="ACTIVE", price=Decimal("1E+3"), count=3, none=None, odd={"a": 1}, text="two\nlines")
    log.event("NEXT")
    log.close()
    first, second = lines_of(path)
    assert (first["ev"], first["proc"], first["pid"], first["inc"]) == ("FSM_TRANSITION", "fsm", os.getpid(), 3)
    assert (first["to"], first["price"], first["count"], first["none"]) == ("ACTIVE", "1000", 3, None)
    assert (first["odd"], first["text"]) == ("{'a': 1}", "two\nlines")
    assert str(first["ts"]).endswith("Z")
    assert second["ev"] == "NEXT"


def test_log_when_a_field_has_a_secrets_name_then_blanked(tmp_path: Path, recorder: Recorder) -> None:
    log = open_log(tmp_path / "fsm.log", recorder)
    log.event("X", api_key="k1", binance_api_secret="s1", signature="g1", listenKey="l1", token="t1", symbol="BTCUSDT")
    log.close()
    text = (tmp_path / "fsm.log").read_text()
    assert not any(secret in text for secret in ("k1", "s1", "g1", "l1", "t1"))
    assert "BTCUSDT" in text


def test_log_when_values_do_not_fit_json_then_written_as_text(tmp_path: Path, recorder: Recorder) -> None:
    log = open_log(tmp_path / "fsm.log", recorder)
    log.event("ODD", huge=1 << 80, surrogate="\ud800", nan=float("nan"), raw=b"\xff")
    log.event("NEXT")
    log.close()
    odd, following = lines_of(tmp_path / "fsm.log")
    assert (odd["huge"], odd["surrogate"], odd["nan"]) == (str(1 << 80), "\\ud800", None)
    assert following["ev"] == "NEXT"


def test_log_when_the_writer_falls_behind_then_newest_are_dropped_and_counted(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "LOG_DRAIN_MS", 60_000)
    log = open_log(tmp_path / "fsm.log", recorder)
    for number in range(LOG_QUEUE_EVENTS_MAX + 5):
        log.event("X", number=number)
    log.close()
    assert len(lines_of(tmp_path / "fsm.log")) == LOG_QUEUE_EVENTS_MAX
    assert ("grinder_log_dropped_total", ("fsm",), 5.0) in recorder.snapshot().series


def test_log_when_file_is_full_grown_then_rotated_and_bounded(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "LOG_FILE_BYTES_MAX", 10)
    for _ in range(LOG_FILES_KEPT + 3):
        log = open_log(tmp_path / "fsm.log", recorder)
        log.event("X")
        log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["fsm.log", *(f"fsm.log.{number}" for number in range(1, LOG_FILES_KEPT + 1))]
    )


def test_evidence_when_written_then_file_and_sidecar_agree(tmp_path: Path, recorder: Recorder) -> None:
    log = open_log(tmp_path / "fsm.log", recorder)
    evidence = EvidenceWriter(tmp_path / "artifacts", Process.FSM, log, recorder)
    evidence.write("fsm", "fsm_transition_1_INIT_READY.txt", "to_state=READY\n")
    evidence.close()
    log.close()
    folder = tmp_path / "artifacts" / "fsm"
    assert {path.name for path in folder.iterdir()} == {
        "fsm_transition_1_INIT_READY.txt",
        "fsm_transition_1_INIT_READY.sha256",
    }
    digest = hashlib.sha256(b"to_state=READY\n").hexdigest()
    sidecar = (folder / "fsm_transition_1_INIT_READY.sha256").read_text()
    assert sidecar == f"{digest}  fsm_transition_1_INIT_READY.txt\n"


def test_evidence_when_it_cannot_be_written_then_logged_and_counted_and_the_next_works(
    tmp_path: Path, recorder: Recorder
) -> None:
    (tmp_path / "blocked").write_text("a file, not a directory")
    log = open_log(tmp_path / "fsm.log", recorder)
    evidence = EvidenceWriter(tmp_path, Process.FSM, log, recorder)
    evidence.write("blocked", "a.txt", "x")
    evidence.write("free", "b.txt", "y")
    evidence.close()
    log.close()
    assert (tmp_path / "free" / "b.txt").read_text() == "y"
    assert [line["ev"] for line in lines_of(tmp_path / "fsm.log")] == ["EVIDENCE_FAILED"]
    assert ("grinder_evidence_failed_total", ("fsm",), 1.0) in recorder.snapshot().series


def test_evidence_when_the_name_leaves_the_root_then_assertion(tmp_path: Path, recorder: Recorder) -> None:
    log = open_log(tmp_path / "fsm.log", recorder)
    evidence = EvidenceWriter(tmp_path, Process.FSM, log, recorder)
    for folder, name in (("../x", "a.txt"), ("x", "../a.txt"), ("x", "y/a.txt")):
        with pytest.raises(AssertionError):
            evidence.write(folder, name, "")
    evidence.close()
    log.close()


def test_evidence_when_more_is_written_than_kept_then_the_oldest_go_and_the_chain_still_holds(
    tmp_path: Path, recorder: Recorder
) -> None:
    log = open_log(tmp_path / "fsm.log", recorder)
    root = tmp_path / "artifacts"
    evidence = EvidenceWriter(root, Process.FSM, log, recorder, keep=3)
    for number in range(EVIDENCE_PRUNE_EVERY_FILES + 1):
        evidence.write("fsm", f"fsm_transition_{1000 + number}.txt", f"{number}\n")
    evidence.close()
    log.close()
    kept = sorted(path.name for path in (root / "fsm").glob("*.txt"))
    assert kept == [f"fsm_transition_{1000 + EVIDENCE_PRUNE_EVERY_FILES - back}.txt" for back in (2, 1, 0)]
    assert len(list((root / "fsm").glob("*.sha256"))) == len(kept)
    report = evidence_chain.check(root)
    assert (report.problems, report.files, report.pruned) == ((), 3, EVIDENCE_PRUNE_EVERY_FILES - 2)

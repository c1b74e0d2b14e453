"""`grinder status`: what the board, supervisord and /readyz show, with any of them dead."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from grinder.adapters.board import attach_process, create_board
from grinder.adapters.clock import SystemClock
from grinder.cli import main
from grinder.cli.status import read_board
from grinder.model.board import Heartbeat, Word, word_of
from grinder.model.control import TREE, TRIP_CODES, Exit, FsmState, Override, Process, TripReason
from tests.fakes import FakeBoard
from tests.unit.cli.supervisord import FakeSupervisord, served

NOW = 1_000_000_000_000


@contextmanager
def readyz(code: int, body: bytes) -> Iterator[int]:
    """Answer every GET with one body; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def beat(process: Process, now_mono_ns: int, reason: str = "") -> Heartbeat:
    return Heartbeat(process, 123, 1, now_mono_ns, now_mono_ns, not reason, reason, {}, "")


def test_status_when_nothing_runs_then_it_says_why_from_every_source(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == Exit.FAILURE
    text = capsys.readouterr().out
    assert text.startswith("NOT READY")
    assert "no answer from http" in text
    assert "no answer from supervisord" in text
    assert "there is no board" in text


def test_status_when_ready_then_zero(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_board(run_dir)
    now = SystemClock().mono_ns()
    for process in TREE:
        board = attach_process(run_dir, process, ())
        board.begin(123, 1)
        board.beat(beat(process, now))
        board.close()
    with served(run_dir, FakeSupervisord(("feed",))), readyz(200, b'{"ready": true, "reasons": []}') as port:
        monkeypatch.setenv("GRINDER_METRICS_PORT", str(port))
        assert main(["status", "--json"]) == Exit.OK
    status = json.loads(capsys.readouterr().out)
    assert status["ready"] is True
    assert status["programs"] == {"feed": "RUNNING pid 7, uptime 0:00:01"}
    assert all(status["board"]["processes"][process]["ready"] for process in TREE)


def test_status_when_not_ready_then_one_and_the_reasons(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_board(run_dir)
    with readyz(503, b'{"ready": false, "reasons": ["feed: no heartbeat for 3.0 s"]}') as port:
        monkeypatch.setenv("GRINDER_METRICS_PORT", str(port))
        assert main(["status"]) == Exit.GATE
    text = capsys.readouterr().out
    assert "feed: no heartbeat for 3.0 s" in text
    assert "never started" in text


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'"ready"'])
def test_status_when_the_answer_is_something_else_then_it_is_not_ready(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with readyz(200, body) as port:
        monkeypatch.setenv("GRINDER_METRICS_PORT", str(port))
        assert main(["status"]) == Exit.FAILURE
    assert capsys.readouterr().out.startswith("NOT READY")


def test_status_when_it_claims_ready_but_the_board_is_tripped_then_not_ready(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_board(run_dir)
    board = attach_process(run_dir, Process.FSM, ())
    board.write(Word.TRIP_FSM, TRIP_CODES[TripReason.DRAWDOWN_LIMIT])
    board.close()
    with readyz(200, b'{"ready": true}') as port:
        monkeypatch.setenv("GRINDER_METRICS_PORT", str(port))
        assert main(["status"]) == Exit.GATE
    assert "kill switch TRIPPED: DRAWDOWN_LIMIT by fsm" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "state"), list(enumerate(FsmState, start=1)))
def test_board_when_a_state_is_written_then_it_is_shown(number: int, state: FsmState) -> None:
    board = FakeBoard()
    board.write(Word.FSM_STATE, number)
    board.write(Word.FSM_STATE_SINCE_MONO_NS, NOW - 2_500_000_000)
    shown = read_board(board, NOW, NOW)
    assert (shown.fsm_state, shown.fsm_state_age_s) == (state, 2.5)


def test_board_when_codes_are_unknown_then_the_worst_is_shown() -> None:
    board = FakeBoard()
    for word, code in ((Word.FSM_STATE, 99), (Word.OVERRIDE, (7 << 8) | 9), (Word.ROLE, 9), (Word.TRIP_OPERATOR, 77)):
        board.write(word, code)
    shown = read_board(board, NOW, NOW)
    assert (shown.fsm_state, shown.override, shown.role) == ("UNKNOWN", Override.EMERGENCY.name, "UNKNOWN")
    assert shown.trips == {"operator": TripReason.ERROR}


def test_board_when_a_process_stopped_beating_then_it_is_dead() -> None:
    board = FakeBoard()
    board.write(word_of("HEARTBEAT", Process.FEED), NOW - 5_000_000_000)
    feed = read_board(board, NOW, NOW).processes["feed"]
    assert (feed.alive, feed.ready, feed.heartbeat_age_ms) == (False, False, 5_000)


def test_board_when_a_process_said_goodbye_then_it_is_not_alive_whatever_its_heartbeat() -> None:
    board = FakeBoard()
    board.beat(beat(Process.FEED, NOW, "stopped"))
    board.write(word_of("HEARTBEAT", Process.FEED), NOW)
    feed = read_board(board, NOW, NOW).processes["feed"]
    assert (feed.alive, feed.ready, feed.not_ready_reason) == (False, False, "stopped")


def test_board_when_a_record_is_torn_then_the_process_is_alive_but_not_ready() -> None:
    board = FakeBoard()
    board.write(word_of("HEARTBEAT", Process.FEED), NOW)
    feed = read_board(board, NOW, NOW).processes["feed"]
    assert (feed.alive, feed.ready) == (True, False)


def test_status_when_printed_as_json_then_it_can_be_read_back(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["status", "--json"])
    assert set(msgspec.json.decode(capsys.readouterr().out)) >= {"ready", "board", "programs", "readyz"}


def test_status_when_a_rollback_criterion_holds_then_it_is_named_from_board_and_page(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_board(run_dir)
    board = attach_process(run_dir, Process.EXECUTOR, ())
    board.write(Word.TRIP_EXECUTOR, TRIP_CODES[TripReason.MANUAL])
    board.close()
    stalled = {"name": "R5", "condition": "no account sync", "verdict": "holds", "figure": "130"}
    with readyz(200, json.dumps({"rollback": [stalled]}).encode()) as port:
        monkeypatch.setenv("GRINDER_METRICS_PORT", str(port))
        main(["status"])
    text = capsys.readouterr().out
    assert "ROLL BACK: R1 holds: kill switch tripped; see runbook 33" in text
    assert "ROLL BACK: R5 holds: no account sync (130)" in text
    assert "rollback criteria not known: R2, R3, R4, R6, R7; not clear: " in text


def test_status_when_an_exit_failed_before_everybody_restarted_then_r4_holds_without_the_page(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_board(run_dir)
    for _ in range(2):
        board = attach_process(run_dir, Process.EXECUTOR, ())
        board.begin(1, 1)
        board.write(Word.EXIT_ERRORS, board.read(Word.EXIT_ERRORS) + 1)
        board.close()
    main(["status"])
    assert "ROLL BACK: R4 holds: emergency exit ended in an error (2)" in capsys.readouterr().out


def test_status_when_the_latch_file_alone_is_tripped_then_the_switch_is_not_called_clear(
    run_dir: Path, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["kill", "--reason", "x"])
    create_board(run_dir)
    main(["status"])
    said = capsys.readouterr().out
    assert "kill switch TRIPPED in the latch file" in said
    assert "kill switch clear" not in said


def test_status_when_the_fsm_is_dead_then_its_last_state_does_not_make_r3_clear(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_board(run_dir)
    board = attach_process(run_dir, Process.FSM, ())
    board.write(Word.FSM_STATE, list(FsmState).index(FsmState.ACTIVE) + 1)
    board.write(Word.FSM_STATE_SINCE_MONO_NS, 1)
    board.close()
    main(["status", "--json"])
    (third,) = (each for each in json.loads(capsys.readouterr().out)["rollback"] if each["name"] == "R3")
    assert third["verdict"] == "unknown"


def test_status_when_paused_and_nothing_else_holds_it_then_it_says_that_it_goes_on_by_itself(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRINDER_STATE_DIR", str(run_dir))
    create_board(run_dir)
    board = attach_process(run_dir, Process.FSM, ())
    with readyz(200, json.dumps({"ready": True}).encode()) as port:
        monkeypatch.setenv("GRINDER_METRICS_PORT", str(port))
        for state, said in ((FsmState.ACTIVE, False), (FsmState.PAUSED, True)):
            board.write(Word.FSM_STATE, list(FsmState).index(state) + 1)
            main(["status"])
            assert ("paused: goes on by itself" in capsys.readouterr().out) is said
        board.write(Word.AWAITING_RESUME, 1)
        main(["status"])
        assert "paused: goes on by itself" not in capsys.readouterr().out
    board.close()


def test_status_when_nothing_can_be_asked_then_no_criterion_is_called_clear(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["status", "--json"])
    found = json.loads(capsys.readouterr().out)["rollback"]
    assert {each["name"]: each["verdict"] for each in found if each["verdict"] == "clear"} == {}


def test_board_when_the_host_is_alone_then_it_acts_and_nothing_of_etcd_is_needed() -> None:
    board = FakeBoard()
    board.write(Word.ROLE, 2)
    shown = read_board(board, NOW, NOW)
    assert (shown.role, shown.term, shown.cluster_permission) == ("ACTIVE", 0, "")
    assert shown.ha.startswith("off:")


def test_board_when_the_host_leads_then_term_lease_and_permit_are_shown_until_the_deadline() -> None:
    board = FakeBoard()
    words = {Word.ROLE: 2, Word.TERM: 17, Word.CLUSTER_PERMISSION: 1}
    deadlines = {Word.LEAD_DEADLINE_BOOT_NS: NOW + 3_500_000_000, Word.RISK_DEADLINE_BOOT_NS: NOW + 1_250_000_000}
    board.words |= words | deadlines
    board.beat(beat(Process.EXECUTOR, NOW))
    shown = read_board(board, NOW, NOW)
    assert (shown.role, shown.term, shown.lease_left_s, shown.permit_left_s) == ("ACTIVE", 17, 3.5, 1.25)
    assert (shown.ha, shown.cluster_permission) == ("leads, term 17", "ARMED")
    late = read_board(board, NOW, NOW + 3_500_000_000)
    assert (late.role, late.term, late.lease_left_s) == ("UNKNOWN", 0, 0.0)


def test_board_when_another_host_leads_then_the_executor_names_it() -> None:
    board = FakeBoard()
    board.write(Word.ROLE, 1)
    board.beat(beat(Process.EXECUTOR, NOW, "standby: node-2 leads (term 17)"))
    board.write(Word.CLUSTER_OVERRIDE, Override.PAUSE)
    shown = read_board(board, NOW, NOW)
    assert (shown.role, shown.ha, shown.override) == ("STANDBY", "standby: node-2 leads (term 17)", "PAUSE")

"""kill, reset, override, resume and exit with parts of the tree dead, hung or absent, on boards without processes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grinder.adapters.audit import AUDIT_FILE
from grinder.adapters.board import StateBoard, attach_process, attach_reader, create_board
from grinder.adapters.clock import SystemClock
from grinder.adapters.evidence_chain import check
from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.adapters.lock import SlotLock
from grinder.adapters.override import OVERRIDE_FILE, load_override, store_override
from grinder.adapters.state_link import link_state_dir
from grinder.cli import acts, main
from grinder.model.board import Demand, Heartbeat, Word
from grinder.model.control import Exit, FsmState, Override, Process, TripReason

SAFE = int(Demand.LOOKED)
EMERGENCY = list(FsmState).index(FsmState.EMERGENCY) + 1
DISK_BYTES = 4_096
Say = Callable[[], str]


@pytest.fixture
def fsm(run_dir: Path) -> Iterator[StateBoard]:
    """The board as an fsm that lives for a moment and knows that the account is safe."""
    create_board(run_dir)
    board = attach_process(run_dir, Process.FSM, ())
    board.begin(123, 1)
    board.write(Word.RISK_DEMAND, SAFE)
    board.beat(Heartbeat(Process.FSM, 123, 1, 0, SystemClock().mono_ns(), True, "", {}, ""))
    yield board
    board.close()


def latch(state_dir: Path) -> LatchFile:
    return LatchFile(state_dir / LATCH_FILE)


def word(run_dir: Path, which: Word) -> int:
    board = attach_reader(run_dir)
    try:
        return board.read(which)
    finally:
        board.close()


def kills(state_dir: Path) -> list[tuple[str, str, str]]:
    """Return what the evidence of the kill switch says, oldest first: event, trip id, words given."""
    files = sorted((state_dir.parent / "artifacts" / "kill").glob("*.json"))
    said = [json.loads(file.read_text()) for file in files]
    return [(each["event"], each["trip_id"], each["detail"]) for each in said]


def test_kill_when_no_tree_ever_ran_then_the_file_is_made_tripped_and_not_confirmed(
    run_dir: Path, state_dir: Path, say: Say
) -> None:
    assert main(["kill", "--reason", "first"]) == Exit.GATE
    said = say()
    assert said.startswith("NOT CONFIRMED")
    assert f"trip 1-MANUAL is in {state_dir}/latch" in said
    assert f"no tree has ever used {state_dir}, and none runs in {run_dir}" in said
    assert "GRINDER_STATE_DIR" in said
    assert latch(state_dir).load(first_start=True).detail == "first"
    assert kills(state_dir) == [("KILL", "1-MANUAL", "first")]
    assert check(state_dir.parent / "artifacts").problems == ()


def test_kill_when_the_tree_lives_with_another_state_folder_then_not_latched_where_nobody_looks(
    run_dir: Path, state_dir: Path, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a shell without the tree's settings: the default state folder is relative, and of whatever folder this is."""
    create_board(run_dir)
    link_state_dir(run_dir, state_dir)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("GRINDER_STATE_DIR")
    monkeypatch.setenv("GRINDER_RUN_DIR", str(tmp_path / "no-run"))
    assert main(["kill", "--reason", "x"]) == Exit.GATE
    assert f"is in {tmp_path}/elsewhere/var/state/latch" in say()
    assert not word(run_dir, Word.TRIP_OPERATOR)


@pytest.mark.parametrize("sign", ["run folder's link", "a start of the executor"])
def test_kill_when_a_tree_ran_and_none_does_then_latched_for_its_next_start(
    sign: str, run_dir: Path, state_dir: Path, say: Say
) -> None:
    state_dir.mkdir()
    if sign == "run folder's link":
        link_state_dir(run_dir, state_dir)
    else:
        latch(state_dir).load(first_start=True)
        (state_dir / "incarnation.executor").write_text("1")
    assert main(["kill", "--reason", "x"]) == Exit.OK
    assert "no tree runs here" in say()


def test_kill_when_processes_are_dead_then_latched_and_told(run_dir: Path, state_dir: Path, say: Say) -> None:
    create_board(run_dir)
    assert main(["kill", "--reason", "x"]) == Exit.OK
    assert "executor does not run" in say()
    assert word(run_dir, Word.TRIP_OPERATOR)


def test_kill_when_the_fsm_lives_and_is_silent_in_active_then_not_confirmed(
    fsm: StateBoard, state_dir: Path, say: Say
) -> None:
    fsm.write(Word.FSM_STATE, list(FsmState).index(FsmState.ACTIVE) + 1)
    assert main(["kill", "--reason", "x"]) == Exit.GATE
    assert say().startswith("NOT CONFIRMED: run `supervisorctl")
    fsm.write(Word.FSM_STATE, EMERGENCY)
    assert main(["kill", "--reason", "x"]) == Exit.OK


def test_kill_when_the_state_folder_cannot_be_written_then_the_board_is_tripped_and_not_confirmed(
    run_dir: Path, state_dir: Path, say: Say
) -> None:
    create_board(run_dir)
    state_dir.write_text("a file")
    assert main(["kill", "--reason", "x"]) == Exit.GATE
    said = say()
    assert "was NOT written" in said
    (evidence,) = (state_dir.parent / "artifacts" / "kill").glob("*.json")
    assert "was NOT written" in json.loads(evidence.read_text())["outcome"]
    assert "audit line was not written" in said
    assert word(run_dir, Word.TRIP_OPERATOR)


def test_kill_and_override_when_no_block_is_left_on_the_disk_then_both_are_durable(
    run_dir: Path, state_dir: Path
) -> None:
    create_board(run_dir)
    store_override(state_dir, Override.NONE, "", "", 0)
    latch(state_dir).load(first_start=True)
    (state_dir / AUDIT_FILE).write_bytes(b"x" * DISK_BYTES)

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, DISK_BYTES))

    for words, code in ((("kill", "--reason", "full"), Exit.OK), (("override", "PAUSE"), Exit.GATE)):
        done = subprocess.run(
            [sys.executable, "-m", "grinder.cli", *words],
            preexec_fn=fill_disk,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "audit line was not written" in done.stdout
        assert "NOT SAVED" not in done.stdout
    assert latch(state_dir).peek(first_start=False).detail == "full"
    assert load_override(state_dir).code is Override.PAUSE


def test_reset_when_everything_is_safe_then_operators_and_dead_processes_words_are_cleared_with_the_file(
    fsm: StateBoard, run_dir: Path, state_dir: Path, say: Say
) -> None:
    main(["kill", "--reason", "x"])
    executor = attach_process(run_dir, Process.EXECUTOR, ())
    executor.write(Word.TRIP_EXECUTOR, 1)
    executor.close()
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.OK
    assert not latch(state_dir).peek(first_start=False).tripped
    assert word(run_dir, Word.TRIP_OPERATOR) == word(run_dir, Word.TRIP_EXECUTOR) == 0
    assert kills(state_dir) == [("KILL", "1-MANUAL", "x"), ("RESET", "1-MANUAL", "reset")]
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.GATE
    assert "nothing is latched" in say()


def test_reset_when_a_process_that_lives_does_not_clear_then_still_latched(
    fsm: StateBoard, run_dir: Path, state_dir: Path, say: Say
) -> None:
    main(["kill", "--reason", "x"])
    fsm.write(Word.TRIP_FSM, 1)
    say()
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.GATE
    assert say().startswith("STILL LATCHED: fsm did not clear")
    assert latch(state_dir).peek(first_start=False).tripped
    assert word(run_dir, Word.TRIP_OPERATOR)
    assert fsm.read(Word.TRIP_FSM) == 1


def test_reset_when_a_dead_process_is_just_starting_then_its_word_is_left_to_it(
    fsm: StateBoard, run_dir: Path, state_dir: Path
) -> None:
    main(["kill", "--reason", "x"])
    feed = attach_process(run_dir, Process.FEED, ())
    feed.write(Word.TRIP_FEED, 1)
    feed.close()
    slot = SlotLock(run_dir / "feed.lock", "feed")
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.GATE
    slot.release()
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.OK


@pytest.mark.parametrize(
    ("demand", "why"),
    [
        (0, "has not looked"),
        (SAFE | Demand.DRAWDOWN_OVER_LIMIT, "drawdown over its limit"),
        (SAFE | Demand.DRAWDOWN_UNKNOWN, "drawdown is not known"),
        (SAFE | Demand.NOT_FLAT, "not flat"),
        (SAFE | Demand.POSITION_UNKNOWN, "positions are not known"),
    ],
)
def test_reset_when_an_input_demands_the_latch_then_refused_with_the_reason(
    fsm: StateBoard, state_dir: Path, say: Say, demand: int, why: str
) -> None:
    main(["kill", "--reason", "x"])
    fsm.write(Word.RISK_DEMAND, demand)
    say()
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.GATE
    assert why in say()
    assert latch(state_dir).peek(first_start=False).tripped


def test_reset_when_the_override_is_emergency_or_the_fsm_is_dead_then_refused(
    run_dir: Path, state_dir: Path, say: Say
) -> None:
    create_board(run_dir)
    store_override(state_dir, Override.EMERGENCY, "", "", 0)
    main(["kill", "--reason", "x"])
    say()
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.GATE
    said = say()
    assert "override is EMERGENCY (durable file)" in said
    assert "the fsm does not run" in said


def test_reset_when_only_the_board_is_tripped_then_its_id_is_board(fsm: StateBoard, state_dir: Path) -> None:
    main(["kill", "--reason", "x"])
    record = latch(state_dir).peek(first_start=False)
    latch(state_dir).clear(record.trip_id, "", "", 0)
    assert main(["reset", "--ack", record.trip_id]) == Exit.GATE
    assert main(["reset", "--ack", acts.BOARD_TRIP_ID]) == Exit.OK
    assert fsm.read(Word.TRIP_OPERATOR) == 0


def test_override_when_no_tree_runs_then_saved_and_not_acked(state_dir: Path, say: Say) -> None:
    assert main(["override", "PAUSE", "--reason", "later"]) == Exit.GATE
    said = say()
    assert "NOT ACKED: no tree runs here" in said
    assert "saved: it is in force from the next start on" in said
    assert load_override(state_dir).reason == "later"


@pytest.mark.parametrize("typed", ["emergency", "Emergency", "EMERGENCY"])
def test_override_when_typed_in_a_hurry_then_understood(typed: str, state_dir: Path) -> None:
    main(["override", typed])
    assert load_override(state_dir).code is Override.EMERGENCY


def test_override_when_the_executor_does_not_run_then_it_says_what_that_means(
    state_dir: Path, fsm: StateBoard, say: Say
) -> None:
    assert main(["override", "EMERGENCY"]) == Exit.GATE
    said = say()
    assert "it stands for the next start" in said
    assert "`grinder exit --yes`" in said


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "soon"])
def test_exit_when_the_time_to_wait_is_none_then_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["exit", "--yes", "--timeout-s", text])
    assert f"{text} is no number of seconds above 0" in capsys.readouterr().err


def test_exit_when_there_is_no_key_then_says_where_one_could_come_from(state_dir: Path, say: Say) -> None:
    assert main(["exit", "--yes"]) == Exit.GATE
    assert "BINANCE_API_SECRET_FILE" in say()


def test_override_when_lowered_while_latched_then_only_from_emergency_to_pause(
    run_dir: Path, state_dir: Path, say: Say
) -> None:
    create_board(run_dir)
    main(["override", "EMERGENCY"])
    main(["kill", "--reason", "x"])
    say()
    assert main(["override", "NONE", "--ack"]) == Exit.GATE
    assert "REFUSED: the kill switch is latched" in say()
    main(["override", "PAUSE", "--ack"])
    assert load_override(state_dir).code is Override.PAUSE
    main(["override", "NONE", "--ack"])
    assert load_override(state_dir).code is Override.PAUSE


def test_override_when_the_file_cannot_be_read_then_it_shows_pause(state_dir: Path, say: Say) -> None:
    state_dir.mkdir()
    (state_dir / OVERRIDE_FILE).write_text("?")
    assert main(["override", "show"]) == Exit.OK
    assert "in force              PAUSE" in say()


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda fsm: None, "does not wait"),
        (lambda fsm: fsm.write(Word.AWAITING_RESUME, 1) or fsm.write(Word.FSM_STATE, EMERGENCY), "still in EMERGENCY"),
        (lambda fsm: fsm.write(Word.AWAITING_RESUME, 1), "NOT ACKED"),
    ],
)
def test_resume_when_it_cannot_take_effect_then_refused_or_not_acked(
    fsm: StateBoard, state_dir: Path, say: Say, prepare: Callable[[StateBoard], None], why: str
) -> None:
    prepare(fsm)
    assert main(["resume", "--ack"]) == Exit.GATE
    assert why in say()


def test_resume_when_latched_or_nothing_runs_then_refused(fsm: StateBoard, state_dir: Path, say: Say) -> None:
    fsm.write(Word.AWAITING_RESUME, 1)
    main(["kill", "--reason", "x"])
    assert main(["resume", "--ack"]) == Exit.GATE
    assert "grinder reset --ack 1-MANUAL" in say()


def test_exit_when_there_is_no_key_then_refused_and_nothing_is_tripped(state_dir: Path, say: Say) -> None:
    assert main(["exit", "--yes"]) == Exit.GATE
    assert "no BINANCE_API_KEY" in say()
    assert not (state_dir / LATCH_FILE).exists()


def test_exit_when_the_venue_does_not_answer_then_not_proved_with_evidence_and_the_latch_tripped(
    state_dir: Path, say: Say, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("GRINDER_TRADING_MODE", "paper")
    monkeypatch.setenv("GRINDER_TRADING_LOOP_ACK", "YES_I_KNOW")
    monkeypatch.setenv("GRINDER_SIM_PORT", str(closed_port))
    assert main(["exit", "--yes", "--timeout-s", "0.3"]) == Exit.FAILURE
    assert "NOT PROVED FLAT: orders left unknown, positions left unknown" in say()
    (evidence,) = (state_dir.parent / "artifacts" / "exit").glob("*.json")
    said = json.loads(evidence.read_text())
    assert (said["result"], said["success"], said["left"]["orders"]) == ("timeout", False, None)
    assert kills(state_dir) == [("KILL", "1-MANUAL", "grinder exit")]
    assert latch(state_dir).peek(first_start=False).reason is TripReason.MANUAL


def test_audit_when_acts_succeed_and_are_refused_then_each_has_its_line(state_dir: Path) -> None:
    main(["kill", "--reason", "x"])
    main(["reset", "--ack", "nope"])
    lines = [json.loads(line) for line in (state_dir / AUDIT_FILE).read_text().splitlines()]
    assert [(line["act"], line["exit_code"]) for line in lines] == [("kill", 1), ("reset", 1)]
    assert lines[1]["arguments"] == {"ack": "nope"}

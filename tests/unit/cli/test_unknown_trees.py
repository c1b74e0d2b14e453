"""Commands where nobody can tell what runs: a board of another version, a supervisord that is hung, folders that are
somebody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grinder.adapters.board import create_board
from grinder.adapters.lock import SlotLock
from grinder.cli import main
from grinder.model.control import Exit, Process
from tests.unit.cli.supervisord import FakeSupervisord, served

Say = Callable[[], str]


@pytest.fixture
def executor(run_dir: Path) -> Iterator[None]:
    """An executor that holds its slot, beside a board that this version cannot read."""
    (run_dir / "board").write_bytes(b"of another version")
    slot = SlotLock(run_dir / f"{Process.EXECUTOR}.lock", str(Process.EXECUTOR))
    yield
    slot.release()


@pytest.fixture
def locked_away(run_dir: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder that cannot be looked into, for root neither."""
    monkeypatch.setenv("GRINDER_STATE_DIR", str(state_dir.parent / ("x" * 300)))


def test_kill_when_the_board_is_of_another_version_then_not_confirmed_and_no_word_of_no_tree(
    state_dir: Path, executor: None, say: Say
) -> None:
    state_dir.mkdir()
    (state_dir / "incarnation.executor").write_text("1")
    assert main(["kill", "--reason", "x"]) == Exit.GATE
    said = say()
    assert said.startswith("NOT CONFIRMED")
    assert "trip 1-MANUAL is in" in said
    assert "executor may run here" in said
    assert "no tree runs" not in said


def test_override_when_the_board_is_of_another_version_then_it_says_what_stops_new_orders(
    state_dir: Path, executor: None, run_dir: Path, say: Say
) -> None:
    assert main(["override", "show"]) == Exit.GATE
    assert "NOT KNOWN" in say()
    assert main(["override", "PAUSE"]) == Exit.GATE
    said = say()
    assert "executor may run here" in said
    assert f"to stop all new orders run `supervisorctl -s unix://{run_dir}/supervisor.sock stop executor`" in said


def test_stop_when_supervisord_does_not_answer_and_the_executor_lives_then_not_stopped_and_how(
    state_dir: Path, executor: None, run_dir: Path, say: Say
) -> None:
    assert main(["stop"]) == Exit.FAILURE
    said = say()
    assert said.startswith("NOT STOPPED")
    assert f"kill -TERM $(cat {run_dir}/executor.lock)" in said


def test_reset_and_resume_when_the_fsm_hangs_then_they_do_not_say_that_it_is_not_there(
    run_dir: Path, state_dir: Path, say: Say
) -> None:
    create_board(run_dir)
    slot = SlotLock(run_dir / f"{Process.FSM}.lock", str(Process.FSM))
    main(["kill", "--reason", "x"])
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.GATE
    assert main(["resume", "--ack"]) == Exit.GATE
    said = say()
    assert said.count("the fsm is silent") == 2
    assert said.count(f"`supervisorctl -s unix://{run_dir}/supervisor.sock restart fsm`") == 2
    slot.release()


def test_reset_and_resume_when_of_a_tree_that_runs_only_the_fsm_is_missing_then_they_say_what_starts_it(
    run_dir: Path, state_dir: Path, say: Say
) -> None:
    create_board(run_dir)
    main(["kill", "--reason", "x"])
    with served(run_dir, FakeSupervisord(("feed", "syncer", "executor"))):
        assert main(["reset", "--ack", "1-MANUAL"]) == Exit.GATE
        assert main(["resume", "--ack"]) == Exit.GATE
    said = say()
    started = f"the fsm does not run; start it with `supervisorctl -s unix://{run_dir}/supervisor.sock start fsm`"
    assert said.count(started) == 2
    assert "start the tree" not in said


def test_reset_and_resume_when_no_supervisord_answers_then_they_say_to_start_the_tree(
    run_dir: Path, state_dir: Path, say: Say
) -> None:
    create_board(run_dir)
    main(["kill", "--reason", "x"])
    assert main(["reset", "--ack", "1-MANUAL"]) == Exit.GATE
    assert main(["resume", "--ack"]) == Exit.GATE
    said = say()
    assert said.count("start the tree") == 2
    assert "start fsm" not in said


def test_status_when_the_board_is_of_another_version_then_it_does_not_say_that_no_tree_runs(
    state_dir: Path, executor: None, say: Say
) -> None:
    assert main(["status"]) == Exit.GATE
    assert "no tree runs" not in say()


@pytest.mark.parametrize("words", [["status"], ["reset", "--ack", "x"], ["override", "NONE", "--ack"], ["ceremony"]])
def test_command_when_the_state_folder_cannot_be_looked_into_then_it_says_so_and_ends(
    words: list[str], locked_away: None, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) != Exit.OK
    assert "File name too long" in say()


def test_kill_when_the_state_folder_cannot_be_looked_into_then_not_confirmed_and_why(
    locked_away: None, say: Say
) -> None:
    assert main(["kill", "--reason", "x"]) == Exit.GATE
    said = say()
    assert "the latch file was NOT written (File name too long)" in said
    assert "will find the latch" not in said


def test_check_when_the_bundle_cannot_be_read_then_not_checked(tmp_path: Path, say: Say) -> None:
    (tmp_path / "sha256sums.txt").write_bytes(b"\xff\xfe")
    assert main(["ceremony", "--check", str(tmp_path)]) == Exit.FAILURE
    assert say().startswith("NOT CHECKED")

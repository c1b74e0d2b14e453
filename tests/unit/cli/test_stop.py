"""`grinder stop`: in order, every program waited for, truthful about what it could not do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from grinder.adapters.audit import AUDIT_FILE
from grinder.adapters.supervisor_client import SupervisorClient, SupervisorError
from grinder.cli import beside, main
from grinder.model.control import Exit
from tests.unit.cli.supervisord import FakeSupervisord, served

TREE = ("venue", "metrics", "feed", "syncer", "fsm", "executor")
ORDER = ["stop executor", "stop fsm", "stop syncer", "stop feed", "stop metrics", "stop venue", "shutdown"]


@pytest.fixture(autouse=True)
def state_dir(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRINDER_STATE_DIR", str(run_dir / "kept"))
    return run_dir / "kept"


def test_stop_when_the_tree_runs_or_not_then_each_is_in_the_audit_file_with_who_and_how(
    run_dir: Path, state_dir: Path
) -> None:
    with served(run_dir, FakeSupervisord(TREE, stubborn=("executor",))):
        main(["stop"])
    main(["stop", "--json"])
    begun, done, nothing = (json.loads(line) for line in (state_dir / AUDIT_FILE).read_text().splitlines())
    assert (begun["act"], begun["phase"], begun["exit_code"]) == ("stop", "begun", None)
    assert (done["act"], done["phase"], done["exit_code"]) == ("stop", "done", Exit.FAILURE)
    assert "refused to stop executor" in done["result"]
    assert "fsm stopped in" in done["result"]
    assert done["operator"]["uid"] == os.getuid()
    assert done["utc_ms"] >= begun["utc_ms"] > 0
    assert (nothing["exit_code"], nothing["arguments"]) == (Exit.GATE, {"json": "True"})


def test_stop_when_the_audit_file_hangs_then_everything_is_stopped_and_it_is_said(
    run_dir: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(beside, "DISK_S_MAX", 0.2)
    state_dir.mkdir()
    os.mkfifo(state_dir / AUDIT_FILE)
    with served(run_dir, FakeSupervisord(TREE)) as fake:
        assert main(["stop"]) == Exit.OK
    assert fake.calls == ORDER
    assert "the audit line was not written" in capsys.readouterr().err
    with (state_dir / AUDIT_FILE).open("r+b", buffering=0) as pipe:
        assert pipe.readline()


def test_stop_when_the_tree_runs_then_the_executor_ends_first_and_supervisord_last(run_dir: Path) -> None:
    with served(run_dir, FakeSupervisord(TREE)) as fake:
        assert main(["stop"]) == Exit.OK
    assert fake.calls == ORDER


def test_stop_when_some_are_down_already_then_the_rest_is_stopped(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(run_dir, FakeSupervisord(("metrics", "executor"))) as fake:
        assert main(["stop", "--json"]) == Exit.OK
    assert fake.calls == ORDER
    stopped = json.loads(capsys.readouterr().out)["stopped"]
    assert stopped["fsm"] == "did not run"
    assert stopped["executor"].startswith("stopped in")


def test_stop_when_one_cannot_be_stopped_then_the_others_are_and_it_fails(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(run_dir, FakeSupervisord(TREE, stubborn=("executor",))) as fake:
        assert main(["stop"]) == Exit.FAILURE
    assert fake.calls == ORDER
    assert "refused to stop executor" in capsys.readouterr().out


def test_stop_when_nothing_runs_then_it_says_so(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop"]) == Exit.GATE
    assert "no answer from supervisord" in capsys.readouterr().out


def test_stop_when_the_environment_is_wrong_then_it_stops_all_the_same(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRINDER_TRADING_MODE", "live_trade")
    monkeypatch.setenv("GRINDER_FSM_ENABLED", "perhaps")
    with served(run_dir, FakeSupervisord(TREE)) as fake:
        assert main(["stop"]) == Exit.OK
    assert fake.calls == ORDER
    assert "note: GRINDER_FSM_ENABLED: 'perhaps' is wrong" in capsys.readouterr().err


def test_client_when_programs_are_asked_for_then_each_has_its_state(run_dir: Path) -> None:
    with served(run_dir, FakeSupervisord(("feed",))):
        (program,) = SupervisorClient(run_dir).programs()
    assert (program.name, program.state, program.pid, program.stopped) == ("feed", "RUNNING", 7, False)


def test_client_when_the_socket_is_dead_then_it_says_so_each_time(run_dir: Path) -> None:
    with served(run_dir, FakeSupervisord(())):
        client = SupervisorClient(run_dir)
        assert client.pid() == 4242
    for _ in range(2):
        with pytest.raises(SupervisorError, match="no answer"):
            client.pid()

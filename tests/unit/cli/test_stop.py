"""`grinder stop`: in order, every program waited for, truthful about what it could not do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grinder.adapters.supervisor_client import SupervisorClient, SupervisorError
from grinder.cli import main
from grinder.model.control import Exit
from tests.unit.cli.supervisord import FakeSupervisord, served

TREE = ("venue", "metrics", "feed", "syncer", "fsm", "executor")
ORDER = ["stop executor", "stop fsm", "stop syncer", "stop feed", "stop metrics", "stop venue", "shutdown"]


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

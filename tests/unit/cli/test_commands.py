"""The dispatch table, `grinder settings`, `grinder docs`, `grinder doctor`: what they print and how they end."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from grinder.cli import main
from grinder.cli.main import COMMANDS
from grinder.model.control import Exit
from tests.arch.sources import ROOT


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command_when_asked_for_help_then_it_helps(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command.name, "--help"])  # type: ignore[attr-defined]
    assert f"grinder {command.name}" in capsys.readouterr().out  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_main_when_called_without_a_command_then_it_lists_them(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(words)
    text = capsys.readouterr().out
    assert all(command.name in text and command.summary in text for command in COMMANDS)


@pytest.mark.parametrize("words", [["nope"], ["status", "--nope"], ["settings"], ["settings", "nope"]])
def test_main_when_called_wrongly_then_two(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)


def test_settings_check_when_right_then_zero(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "check"]) == Exit.OK
    assert capsys.readouterr().out == "settings are right\n"


def test_settings_check_when_wrong_then_78_and_every_problem(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRINDER_FSM_ENABLE", "1")
    assert main(["settings", "check", "--exchange-port", "futures", "--duration-s", "x"]) == Exit.CONFIGURATION
    problems = capsys.readouterr().err
    assert "did you mean GRINDER_FSM_ENABLED?" in problems
    assert "--duration-s (GRINDER_DURATION_S): 'x' is wrong" in problems
    assert "ALLOW_MAINNET_TRADE: must be 1" in problems


def test_settings_show_when_asked_then_values_origins_and_no_secret(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BINANCE_API_SECRET", "do-not-show-me")
    assert main(["settings", "show", "--json", "--paper-levels", "7"]) == Exit.OK
    text = capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads(text)["settings"]}
    assert rows["GRINDER_PAPER_LEVELS"] == {
        "name": "GRINDER_PAPER_LEVELS",
        "value": "7",
        "unit": "levels",
        "origin": "option",
    }
    assert rows["GRINDER_RUN_DIR"]["origin"] == "environment"
    assert rows["BINANCE_API_SECRET"]["value"] == "<hidden>"
    assert "do-not-show-me" not in text


def test_settings_show_when_wrong_then_the_table_and_the_problems(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRINDER_TRADING_MODE", "paper")
    assert main(["settings", "show"]) == Exit.CONFIGURATION
    shown = capsys.readouterr()
    assert "GRINDER_TRADING_MODE" in shown.out
    assert "GRINDER_TRADING_LOOP_ACK: must be YES_I_KNOW" in shown.err


def test_docs_when_a_page_is_old_then_check_says_so_and_write_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runbooks").mkdir()
    shutil.copy(ROOT / "ARCHITECTURE.md", tmp_path)
    assert main(["docs", "check", "--root", str(tmp_path)]) == Exit.GATE
    assert "runbooks/SETTINGS.md" in capsys.readouterr().err
    assert main(["docs", "write", "--root", str(tmp_path)]) == Exit.OK
    assert main(["docs", "check", "--root", str(tmp_path)]) == Exit.OK


def test_doctor_when_a_port_is_taken_then_it_is_missing(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == Exit.GATE
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["python"]["ok"]
    assert "in use" in findings["metrics port"]["detail"]


def test_doctor_when_all_is_there_then_zero(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("GRINDER_METRICS_PORT", str(port))
    assert main(["doctor"]) == Exit.OK

"""What a command does when nobody takes what it says, and when its operator breaks it off."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import pytest

from grinder.adapters.audit import AUDIT_FILE
from grinder.cli import main
from grinder.cli.steady import steady_streams
from grinder.model.control import Exit

PAPER = {"GRINDER_TRADING_MODE": "paper", "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW"}
START_S_MAX = 30.0


@pytest.fixture
def closed_pipe() -> Iterator[TextIO]:
    """The end of a pipe whose reader has read enough, as ``| head -1`` leaves it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


@pytest.fixture
def full_disk() -> Iterator[TextIO]:
    """A log on a disk that takes nothing."""
    with open("/dev/full", "w", encoding="utf-8") as stream:
        yield stream


def audited(state_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (state_dir / AUDIT_FILE).read_text().splitlines()]


def test_kill_when_nobody_reads_what_it_says_then_it_is_recorded_and_ends_as_it_would(
    state_dir: Path, closed_pipe: TextIO
) -> None:
    with redirect_stdout(closed_pipe):
        code = main(["kill", "--reason", "piped"])
    (line,) = audited(state_dir)
    assert (code, line["exit_code"], line["arguments"]) == (Exit.GATE, Exit.GATE, {"reason": "piped"})


@pytest.mark.parametrize("where", ["closed_pipe", "full_disk"])
def test_exit_when_nobody_takes_what_it_says_then_it_goes_on_to_its_end(
    where: str,
    state_dir: Path,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in PAPER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GRINDER_SIM_PORT", str(closed_port))
    with redirect_stdout(request.getfixturevalue(where)):
        code = main(["exit", "--yes", "--timeout-s", "0.2"])
    assert code == Exit.FAILURE
    assert [(line["phase"], line["exit_code"]) for line in audited(state_dir)] == [("begun", None), ("done", code)]
    assert len(list((state_dir.parent / "artifacts" / "exit").glob("*.json"))) == 1
    told = "note: not everything could be printed: No space left on device\n"
    assert capsys.readouterr().err.count(told) == (where == "full_disk")


def test_status_when_nobody_reads_what_it_says_then_the_exit_code_is_the_truth(
    state_dir: Path, closed_pipe: TextIO
) -> None:
    with redirect_stdout(closed_pipe):
        assert main(["status"]) == Exit.FAILURE


def test_words_when_the_terminal_has_no_characters_for_them_then_escaped_and_recorded(
    state_dir: Path, tmp_path: Path
) -> None:
    """A word of the command line that is no text in the operator's encoding."""
    said = tmp_path / "said"
    with said.open("w", encoding="utf-8") as stream, redirect_stdout(stream):
        assert main(["reset", "--ack", "\udcff"]) == Exit.GATE
    assert main(["kill", "--reason", "\udcff why"]) == Exit.GATE
    assert said.read_text().startswith("REFUSED")
    assert [line["arguments"] for line in audited(state_dir)] == [{"ack": "\\udcff"}, {"reason": "\\udcff why"}]


def test_command_when_asked_to_end_then_as_by_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt), steady_streams():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is not signal.default_int_handler


def test_exit_when_broken_off_then_said_and_recorded(state_dir: Path) -> None:
    """A hang-up of its terminal does not end it; Ctrl-C does, and it says so."""
    with socket.create_server(("127.0.0.1", 0)) as venue:
        venue.settimeout(START_S_MAX)
        environ = {**os.environ, **PAPER, "GRINDER_SIM_PORT": str(venue.getsockname()[1])}
        command = [sys.executable, "-m", "grinder.cli", "exit", "--yes"]
        leaving = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        connection, _ = venue.accept()
        with connection:
            leaving.send_signal(signal.SIGHUP)
            leaving.send_signal(signal.SIGINT)
            said, _ = leaving.communicate(timeout=START_S_MAX)
    assert leaving.returncode == Exit.FAILURE
    assert "INTERRUPTED" in said
    last = audited(state_dir)[-1]
    assert (last["act"], last["exit_code"], last["arguments"]) == ("exit", Exit.FAILURE, {"words": "--yes"})

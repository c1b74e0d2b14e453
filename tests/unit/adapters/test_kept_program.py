"""Programs kept by a front door: started again after a failure, left down after a stop, started by hand then."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.adapters import kept_program
from grinder.adapters.kept_program import KeptProgram, environment_of, environment_text
from tests.smoke.conditions import wait_for

SLEEPER = (sys.executable, "-c", "import sys, time; print('up', flush=True); time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
)
ENDS = "import os, sys; print(os.environ.get('WHAT'), flush=True); sys.exit(int(os.environ['CODE']))"


class Kept:
    """One program and its folder."""

    def __init__(self, folder: Path, command: tuple[str, ...], stop_s_max: float = 10.0, **environ: str) -> None:
        self.folder = folder
        self.write(**environ)
        self.program = KeptProgram("one", command, {"WHAT": "base"}, folder, stop_s_max)

    def write(self, **environ: str) -> None:
        (self.folder / "one.env").write_text(environment_text(environ))

    def said(self) -> str:
        return (self.folder / "one.out").read_text()

    def next_word(self) -> str:
        """Look until something happened, and return it."""
        return wait_for(self.program.look, "a word")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[list[Kept]]:
    made: list[Kept] = []
    yield made
    for each in made:
        each.program.stop()


@pytest.mark.parametrize("value", ["", "plain", "with 'quotes' and $dollars", "a=b", "#no comment"])
def test_environment_when_written_and_read_then_it_is_the_same(value: str) -> None:
    assert environment_of(environment_text({"ONE": value, "TWO": "2"})) == {"ONE": value, "TWO": "2"}


def test_program_when_it_fails_then_it_says_so_and_starts_again_after_a_while(
    kept: list[Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_program, "RESTART_S", 0.05)
    one = Kept(tmp_path, (sys.executable, "-c", ENDS), CODE="3")
    kept.append(one)
    one.program.start()
    assert "one ended with 3 and starts again" in one.next_word()
    assert one.program.started
    one.write(CODE="0", WHAT="changed")
    assert one.next_word() == "one starts again"
    assert "told to end and stays down" in one.next_word()
    assert one.said() == "base\nchanged\n"
    assert not (tmp_path / "one.pid").exists()


def test_program_when_it_was_told_to_end_then_it_stays_down_until_a_person_starts_it(
    kept: list[Kept], tmp_path: Path
) -> None:
    one = Kept(tmp_path, (sys.executable, "-c", ENDS), CODE="0")
    kept.append(one)
    one.program.start()
    assert "stays down" in one.next_word()
    assert not one.program.started
    assert one.program.look() == ""
    (tmp_path / "one.start").touch()
    assert one.program.look() == "one starts again"
    assert not (tmp_path / "one.start").exists()


def test_program_when_terminated_by_a_person_then_that_counts_as_told(kept: list[Kept], tmp_path: Path) -> None:
    one = Kept(tmp_path, SLEEPER)
    kept.append(one)
    one.program.start()
    assert one.program.running
    assert int((tmp_path / "one.pid").read_text()) > 0
    one.program.tell_to_end()
    assert "told to end" in one.next_word()


@pytest.mark.parametrize(("command", "code"), [(SLEEPER, -signal.SIGTERM), (STUBBORN, -signal.SIGKILL)])
def test_program_when_stopped_then_it_ends_in_order_or_is_killed(
    tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    one = Kept(tmp_path, command, stop_s_max=0.2)
    one.program.start()
    wait_for(lambda: "up" in one.said(), "it runs")
    assert one.program.stop() == code
    assert one.program.stop() is None
    assert not one.program.running

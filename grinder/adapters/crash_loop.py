"""Notices a process that crashes again and again: its starts without an orderly end, in a small file in memory.

supervisord gives up on crashes within a second of a start only; one that takes longer goes on for ever. Must never keep
a process from starting: it trips the kill switch, and what protects still runs.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

from grinder.model.control import Process
from grinder.model.limits import CRASH_LOOP_WINDOW_S
from grinder.model.units import NS_PER_S

_ENDED: Final = "ended"
_LINES_MAX: Final = 256


class StartLog:
    """The starts of one process since the run directory was made."""

    def __init__(self, run_dir: Path, process: Process) -> None:
        self._path = run_dir / f"starts.{process}"

    def begin(self, now_mono_ns: int) -> int:
        """Note a start; return how many starts of the last CRASH_LOOP_WINDOW_S, this one left out, ended in a crash."""
        lines = self._lines()
        self._write([*lines, str(now_mono_ns)])
        oldest_mono_ns = now_mono_ns - CRASH_LOOP_WINDOW_S * NS_PER_S
        crashes = 0
        for line, following in pairwise([*lines, ""]):
            crashes += line.isdigit() and following != _ENDED and int(line) >= oldest_mono_ns
        return crashes

    def end(self) -> None:
        """Note that this start ended in order."""
        self._write([*self._lines(), _ENDED])

    def _lines(self) -> list[str]:
        try:
            return self._path.read_text().split()
        except (OSError, UnicodeDecodeError):
            return []

    def _write(self, lines: list[str]) -> None:
        try:
            self._path.write_text("\n".join(lines[-_LINES_MAX:]) + "\n")
        except OSError:
            return

"""A host that trades: executor and syncer as production composes them, and a feeder in the place of feed and fsm.

Programs are forked, each in an environment of its host; the host's clock can be set, its folders be damaged.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from grinder.adapters.board import BOARD_FILE, attach_reader
from grinder.adapters.latch import LATCH_FILE
from grinder.model.board import Word, word_of
from grinder.model.control import Process
from grinder.model.errors import BoardError
from grinder.model.units import NS_PER_S
from tests.soak.cluster.permits import ROWS_FILE
from tests.soak.cluster.skewed_clock import CLOCK_VARIABLE, Skew, mono_to_boot_ns, now_ns
from tests.soak.mortal_ports import keep_files
from tests.soak.mortals import archive_of
from tests.soak.nursery import Child, Nursery

PROGRAMS = (Process.SYNCER, Process.FSM, Process.EXECUTOR)
"""What runs on a host, in the order of its start; the fsm's place is taken by the feeder."""

ASKED_FILE = "asked"
"""What the feeder asked for."""

PAUSE_FILE = "pause_at_send"
"""In the folder of the host: while it is there, the executor stops itself between its last look and the send."""

ROLE_LEADS = 2
KEEP_EVERY_S = 1.0


class DiedByItselfError(AssertionError):
    """A program ended that nobody had killed or stopped."""


class Host:
    """One host. ``environ``: settings of its programs. What tests write down lies in ``root``."""

    def __init__(self, name: str, root: Path, nursery: Nursery, environ: dict[str, str]) -> None:
        self.name = name
        self.root = root
        self.run_dir, self.state_dir = root / "run", Path(environ["GRINDER_STATE_DIR"])
        for folder in (self.run_dir, self.state_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.skew = Skew(root / "clock")
        self.environ = {**environ, CLOCK_VARIABLE: str(root / "clock")}
        self._nursery = nursery
        self.programs: dict[Process, Child] = {}
        self.stopping: set[Process] = set()
        self._keep_due_s = 0.0

    @property
    def rows_path(self) -> Path:
        """What it asked of etcd."""
        return self.root / ROWS_FILE

    @property
    def asked_path(self) -> Path:
        """What its feeder asked for."""
        return self.root / ASKED_FILE

    @property
    def latch_path(self) -> Path:
        """Its latch file."""
        return self.state_dir / LATCH_FILE

    def start(self, *programs: Process) -> None:
        """Start those of some programs that do not run; all of them if none is named."""
        for program in programs or PROGRAMS:
            if program not in self.programs:
                self.programs[program] = self._nursery.start(program, self.environ)

    def kill(self, *programs: Process) -> None:
        """kill -9 those of some programs that run."""
        for program in programs or PROGRAMS:
            child = self.programs.pop(program, None)
            self.stopping.discard(program)
            if child is not None:
                child.kill()
                child.wait()

    def signal(self, number: int, *programs: Process) -> None:
        """Send a signal to those of some programs that run."""
        for program in programs or PROGRAMS:
            if program in self.programs:
                self.programs[program].send_signal(number)

    def pause(self, *programs: Process) -> None:
        """SIGSTOP."""
        self.signal(signal.SIGSTOP, *programs)

    def resume(self, *programs: Process) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT, *programs)

    def stop(self, program: Process) -> None:
        """SIGTERM; ``reap`` finds out when it has ended."""
        if program in self.programs:
            self.stopping.add(program)
            self.programs[program].send_signal(signal.SIGTERM)

    def reap(self) -> None:
        """Forget programs that ended as they were asked to.

        Raises:
            DiedByItselfError: one ended that was not.
        """
        for program, child in tuple(self.programs.items()):
            code = child.poll()
            if code is None:
                continue
            del self.programs[program]
            asked = program in self.stopping
            self.stopping.discard(program)
            if not asked or code not in (0, -signal.SIGTERM):
                raise DiedByItselfError(f"{self.name}'s {program} ended with {code}")

    def keep_journal(self) -> None:
        """Keep the files of its journal, also those that it drops; now and then."""
        directory = self.state_dir / "journal"
        if time.monotonic() >= self._keep_due_s and directory.exists():
            self._keep_due_s = time.monotonic() + KEEP_EVERY_S
            # Where its disk is full the journal drops nothing either.
            with suppress(OSError):
                keep_files(directory, archive_of(self.state_dir))

    def words(self, *words: Word) -> tuple[int, ...]:
        """Return words of its board, zeros where there is none."""
        try:
            board = attach_reader(self.run_dir)
        except (BoardError, OSError):
            return (0,) * len(words)
        try:
            return board.read_all(words)
        finally:
            board.close()

    def leads(self) -> bool:
        """Tell whether by its own word it may lead now."""
        role, until = self.words(Word.ROLE, Word.LEAD_DEADLINE_BOOT_NS)
        return role == ROLE_LEADS and now_ns() + self.skew.slept_ns < until

    def beats(self, process: Process, within_s: float) -> bool:
        """Tell whether a process of it has beaten a short while ago."""
        return time.monotonic_ns() - self.words(word_of("HEARTBEAT", process))[0] < within_s * NS_PER_S

    def wins(self) -> dict[int, int]:
        """Return the terms under which it began to act, by its executor's log, with when that was, CLOCK_BOOTTIME."""
        return self._terms("LEADS")

    def losses(self) -> dict[int, int]:
        """Return the terms under which it acts no more, by its executor's log, with since when, CLOCK_BOOTTIME."""
        return self._terms("LEADS_NO_MORE")

    def _terms(self, event: str) -> dict[int, int]:
        boot_ns, wanted = mono_to_boot_ns(), f'"ev":"{event}"'.encode()
        path = self.root / "log" / "executor.log"
        lines = path.read_bytes().splitlines() if path.exists() else []
        rows = [msgspec.json.decode(line) for line in lines if wanted in line and line.endswith(b"}")]
        return {row["term"]: row["mono_ns"] + boot_ns for row in rows}

    def lose_board(self) -> None:
        """Remove the board; programs that run keep theirs."""
        (self.run_dir / BOARD_FILE).unlink(missing_ok=True)

    @contextmanager
    def shell(self) -> Iterator[None]:
        """Have this process's environment be that of an operator at this host."""
        before = dict(os.environ)
        os.environ.update(self.environ)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

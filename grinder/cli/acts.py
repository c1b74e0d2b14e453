"""What the operator's commands share: the tree's folders and board, who is alive, bounded waits, the audit line.

Must never let a part that is missing or dead keep a command from doing what it still can.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.audit import Act, Operator, append_act, this_operator
from grinder.adapters.board import StateBoard, attach_operator
from grinder.adapters.clock import SystemClock
from grinder.adapters.evidence import OPERATOR, write_evidence
from grinder.adapters.latch import LatchFile, host_latch, never_used
from grinder.adapters.lock import require_free
from grinder.adapters.override import load_override, override_in
from grinder.adapters.presence import alive
from grinder.adapters.state_link import linked_state_dir
from grinder.cli.beside import Beside
from grinder.cli.host import lenient_settings
from grinder.model.board import TRIP_WORDS, Word, word_of
from grinder.model.control import TREE, Exit, Override, Process
from grinder.model.errors import AlreadyRunningError, BoardError
from grinder.model.evidence import EvidenceFile
from grinder.model.latch import LatchRecord
from grinder.settings import Settings

ANSWER_S_MAX: Final = 3.0
"""Longest wait for a process's answer, seconds: more than HEARTBEAT_STALE_MS, so a dead one is known as dead."""

BOARD_TRIP_ID: Final = "board"
"""Trip id of a trip that is on the board and not in the file."""

DURABLE_SOURCE: Final = "durable file"
CLUSTER_SOURCE: Final = "cluster"
"""Names of the override's sources that are told apart."""

_LOOK_S_MAX: Final = 0.5
"""Longest wait for the tree's state directory to be seen, seconds: it comes before everything that is urgent."""

_POLL_S: Final = 0.001
_OVERRIDE_VARIABLE: Final = b"GRINDER_OPERATOR_OVERRIDE="


class Scene(msgspec.Struct, frozen=True):
    """Where a command acts. ``state_dir``: of the running tree, where one runs."""

    settings: Settings
    state_dir: Path
    operator: Operator
    clock: SystemClock

    @property
    def latch(self) -> LatchFile:
        """The durable latch."""
        return host_latch(self.settings, self.state_dir)

    @property
    def stop_hint(self) -> str:
        """What stops all new orders of this very tree, from any folder: others may run beside it."""
        return f"run `{self.supervisorctl('stop', Process.EXECUTOR)}`, or `grinder stop`"

    def supervisorctl(self, word: str, process: Process) -> str:
        """Return the command that does something to one process of this very tree, from any folder."""
        # Here, for it loads XML-RPC, and no command has time for that before it acts.
        from grinder.adapters.supervisor_client import SUPERVISOR_SOCKET

        socket = self.settings.run_dir.absolute() / SUPERVISOR_SOCKET
        return f"supervisorctl -s unix://{socket} {word} {process}"

    def how_to_bring_back(self, process: Process) -> str:
        """Say how a process that does not beat is missing, and what brings it back: a tree has only one of each."""
        from grinder.adapters.supervisor_client import SupervisorClient, SupervisorError

        if exists(self, process):
            return f"is silent; end it and start another with `{self.supervisorctl('restart', process)}`"
        try:
            SupervisorClient(self.settings.run_dir).pid()
        except SupervisorError:
            return "does not run, nor does a supervisord that could start it; start the tree"
        return f"does not run; start it with `{self.supervisorctl('start', process)}`"

    def latch_record(self) -> LatchRecord:
        """Return what the latch file says, as the executor would read it at its next start."""
        return self.latch.peek(first_start=never_used(self.state_dir))

    @contextmanager
    def board(self) -> Iterator[tuple[StateBoard | None, str]]:
        """Yield the board with the operator's words writable, or None and why there is none."""
        try:
            with attach_operator(self.settings.run_dir) as board:
                yield board, ""
        except (BoardError, OSError) as error:
            yield None, str(error)

    def audit(self, act: str, arguments: dict[str, str], code: int | None, result: str) -> str:
        """Append the audit line; a None code is one of an act that has only begun.

        Returns:
            What went wrong, or an empty string; a disk that hangs is waited for no longer than DISK_S_MAX.
        """
        phase = "begun" if code is None else "done"
        line = Act(self.clock.utc_ms(), self.operator, act, phase, arguments, code, result)
        problem = Beside(partial(append_act, self.state_dir, line)).value()
        return "the audit line was not written: the disk does not answer" if problem is None else problem


def scene() -> Scene:
    """Return where this command acts, from its environment and from the tree that runs there."""
    return scene_of(lenient_settings())


def scene_of(settings: Settings) -> Scene:
    """Return where a command with these settings acts, by the tree that runs there if its disk answers."""
    linked = Beside(partial(linked_state_dir, settings.run_dir, settings.state_dir)).value(_LOOK_S_MAX)
    return Scene(settings, linked or settings.state_dir, this_operator(), SystemClock())


def conclude(
    where: Scene, act: str, arguments: dict[str, str], code: Exit, *lines: str, printed: tuple[str, ...] = ()
) -> int:
    """Print how an act ended, record it with what was ``printed`` of it before, and return its exit code."""
    print("\n".join(lines), flush=True)
    problem = where.audit(act, arguments, code, "; ".join((*printed, *lines)))
    if problem:
        print(f"note: {problem}", flush=True)
    return code


def interrupted(act: str, words: Sequence[str]) -> int:
    """Say and record that an operator broke a command off, and return its exit code."""
    text = "INTERRUPTED: what it began may be done or not; `grinder status` shows what holds, and it may be said again"
    return conclude(scene(), act, {"words": " ".join(words)}, Exit.FAILURE, text)


def keep_evidence(where: Scene, file: EvidenceFile) -> str:
    """Write a file of evidence with its checksum; return where it is, or why there is none within DISK_S_MAX."""
    said = Beside(partial(_keep, where.settings.artifact_dir, file)).value()
    return "no evidence was written: the disk does not answer" if said is None else said


def _keep(root: Path, file: EvidenceFile) -> str:
    try:
        write_evidence(root, OPERATOR, file.folder, file.name, file.text)
    except (OSError, ValueError) as error:
        return f"no evidence was written: {error}"
    return f"evidence: {root / file.folder / file.name}"


def wait_until(condition: Callable[[], bool], since_mono_s: float | None = None) -> float | None:
    """Wait until a condition holds.

    Args:
        condition: asked every millisecond.
        since_mono_s: when what it waits for was done, seconds; now if not given.

    Returns:
        Milliseconds from then until it was seen to hold; None if that did not happen within ANSWER_S_MAX from now.
    """
    began = time.monotonic()
    since = began if since_mono_s is None else since_mono_s
    while not condition():
        if time.monotonic() - began > ANSWER_S_MAX:
            return None
        time.sleep(_POLL_S)
    return (time.monotonic() - since) * 1_000


def exists(where: Scene, process: Process) -> bool:
    """Tell whether a process holds its slot: it is there, though it may hang. True where nobody can tell."""
    try:
        require_free(where.settings.run_dir / f"{process}.lock", str(process))
    except (AlreadyRunningError, OSError):
        return True
    return False


def without_board(where: Scene, problem: str) -> tuple[str, bool]:
    """Say what is known of a tree whose board cannot be had, and whether that is that none runs."""
    present = [process.value for process in TREE if exists(where, process)]
    if present:
        return f"the board cannot be used ({problem}), and {', '.join(present)} may run here", False
    return f"no tree runs here ({problem})", True


def pid(board: StateBoard, process: Process) -> int:
    """Return the pid of a process, 0 before its first start."""
    return board.read(word_of("PID", process))


def tripped_words(board: StateBoard | None) -> tuple[Word, ...]:
    """Return the trip words that are set; none without a board."""
    return () if board is None else tuple(word for word in TRIP_WORDS if board.read(word))


def current_trip_id(record: LatchRecord, board: StateBoard | None) -> str:
    """Return the id of the trip that holds, or an empty string."""
    if record.tripped:
        return record.trip_id
    return BOARD_TRIP_ID if tripped_words(board) else ""


def started_with(board: StateBoard | None) -> Override:
    """Return the most severe override in the environments that fsm and executor, if they run, were started with."""
    if board is None:
        return Override.NONE
    living = (process for process in (Process.FSM, Process.EXECUTOR) if alive(board, process))
    return max((_started_with(pid(board, process)) for process in living), default=Override.NONE)


def _started_with(pid: int) -> Override:
    try:
        environment = Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return Override.NONE
    words = [each.removeprefix(_OVERRIDE_VARIABLE) for each in environment if each.startswith(_OVERRIDE_VARIABLE)]
    known = Override.__members__
    return known.get(words[-1].decode("ascii", "replace").strip().upper(), Override.NONE) if words else Override.NONE


def override_sources(where: Scene, board: StateBoard | None) -> dict[str, Override]:
    """Return every source of the override; the most severe is in force."""
    sources = {
        "environment at start": started_with(board),
        "board": override_in(board.read(Word.OVERRIDE)) if board is not None else Override.NONE,
        DURABLE_SOURCE: load_override(where.state_dir).code,
    }
    if where.settings.ha_enabled:
        # As this host knows it; nothing but the executor's read of etcd lowers it.
        sources[CLUSTER_SOURCE] = override_in(board.read(Word.CLUSTER_OVERRIDE)) if board is not None else Override.NONE
    return sources

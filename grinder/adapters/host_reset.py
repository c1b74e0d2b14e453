"""The end of a trip on this host, in an order that leaves no moment in which the kill switch is open by half.

The executor's word and the latch file hold until every other word is clear. Done by ``grinder reset`` for its own host,
and by the executor for an operator who cleared the cluster. Must never clear a trip that came after the look.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from grinder.adapters.board import StateBoard, attach_process
from grinder.adapters.clock import SystemClock
from grinder.adapters.latch import LatchFile, never_used
from grinder.adapters.lock import SlotLock
from grinder.adapters.presence import alive
from grinder.model.board import OPERATOR, TRIP_WORDS, WRITERS, Word, word_of
from grinder.model.control import Process
from grinder.model.errors import AlreadyRunningError
from grinder.model.latch import ClearStage


class HostReset(msgspec.Struct, frozen=True):
    """What a reset works on, and for whom.

    ``wait``: waits, within a bound, until a condition holds; tells whether it does.
    """

    run_dir: Path
    latch: LatchFile
    clock: SystemClock
    who: str
    wait: Callable[[Callable[[], bool]], bool]

    def clear(self, board: StateBoard, trip_id: str, looked_mono_ns: int) -> tuple[ClearStage, str]:
        """Clear the words of all but the executor, then the file, then the executor's word.

        Args:
            board: with the operator's words writable; the operator's lock is held (caller's duty).
            trip_id: what the latch file must still say.
            looked_mono_ns: a trip that a process saw later than this stays.

        Returns:
            CLEARED, HELD or FAILED, and what is in the way.
        """
        if self._record_tripped() and alive(board, Process.EXECUTOR):
            # Its word must hold while the others are cleared; it follows the file within a tenth of a second.
            self.wait(lambda: board.read(Word.TRIP_EXECUTOR) != 0)
        operator_code = board.read(Word.TRIP_OPERATOR)
        board.write(Word.RESET_MONO_NS, looked_mono_ns)
        board.write(Word.TRIP_OPERATOR, 0)
        others = tuple(word for word in TRIP_WORDS if word is not Word.TRIP_EXECUTOR)
        self._clear_of_the_dead(board, others)
        if not self.wait(lambda: not any(board.read(word) for word in others)):
            left = _names(board, others)
            _put_back(board, operator_code)
            return ClearStage.HELD, f"{left} did not clear, or tripped again"
        stage, problem = self._clear_file(trip_id)
        if stage is not ClearStage.CLEARED:
            _put_back(board, operator_code)
            return stage, problem
        self._clear_of_the_dead(board, (Word.TRIP_EXECUTOR,))
        if not self.wait(lambda: not any(board.read(word) for word in TRIP_WORDS)):
            left = _names(board, TRIP_WORDS)
            return ClearStage.HELD, f"{left} did not clear, or tripped again; look at `grinder status`"
        return ClearStage.CLEARED, ""

    def _record_tripped(self) -> bool:
        return self.latch.peek(first_start=never_used(self.latch.folder)).tripped

    def _clear_file(self, trip_id: str) -> tuple[ClearStage, str]:
        if not self._record_tripped():
            return ClearStage.CLEARED, ""
        try:
            record = self.latch.clear(trip_id, self.who, "reset", self.clock.utc_ms())
        except OSError as error:
            return ClearStage.FAILED, f"the latch file was not written ({error.strerror})"
        if record.tripped:
            return ClearStage.HELD, f"tripped again meanwhile ({record.trip_id}); look at `grinder status`"
        return ClearStage.CLEARED, ""

    def _clear_of_the_dead(self, board: StateBoard, words: tuple[Word, ...]) -> None:
        """Clear the words whose process is down, in its place: its slot is held meanwhile, so it cannot start."""
        for word in words:
            process = WRITERS[word]
            if process is OPERATOR or not board.read(word) or alive(board, process):
                continue
            try:
                slot = SlotLock(self.run_dir / f"{process}.lock", str(process))
            except (AlreadyRunningError, OSError):
                continue
            try:
                own = attach_process(self.run_dir, process, ())
                own.write(word_of("TRIP", process), 0)
                own.close()
            finally:
                slot.release()


def _put_back(board: StateBoard, operator_code: int) -> None:
    """Trip the operator's word again if it was; a trip that came meanwhile is not touched."""
    if operator_code:
        board.write(Word.TRIP_OPERATOR, operator_code)


def _names(board: StateBoard, words: tuple[Word, ...]) -> str:
    return ", ".join(word.name.removeprefix("TRIP_").lower() for word in words if board.read(word))

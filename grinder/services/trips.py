"""Every process's part in the kill switch: it answers an operator's reset, and the executor makes trips durable.

A process clears its own trip word only if it saw the trip before the operator looked. The executor's word follows the
latch file: set while the file says tripped, cleared only when an operator cleared the file. Must never clear anything
because of a restart.
"""

from __future__ import annotations

from typing import Final

from grinder.model.board import TRIP_WORDS, WRITERS, Word, word_of
from grinder.model.control import TRIP_CODES, Process, TripReason
from grinder.ports import Board, Latch, Log

_REASONS: Final = {code: reason for reason, code in TRIP_CODES.items()}


class TripWatch:
    """Looks at the trip words on the timer of its process. ``latch``: the durable latch, for the executor only."""

    def __init__(self, process: Process, board: Board, log: Log, latch: Latch | None) -> None:
        self._board = board
        self._log = log
        self._latch = latch
        self._word = word_of("TRIP", process)
        self._seen_mono_ns = 0
        self._latched = latch is not None and latch.record.tripped

    def on_timer(self, now_mono_ns: int) -> None:
        """Look once."""
        if not self._board.read(self._word):
            self._seen_mono_ns = 0
        elif not self._seen_mono_ns:
            self._seen_mono_ns = now_mono_ns
        if self._latch is not None:
            self._follow(self._latch, now_mono_ns)
        elif self._reset_asked:
            self._clear()

    @property
    def _reset_asked(self) -> bool:
        return 0 < self._seen_mono_ns <= self._board.read(Word.RESET_MONO_NS)

    def _follow(self, latch: Latch, now_mono_ns: int) -> None:
        """Bring this word and the latch file together: the tripped one wins, but for an operator's reset."""
        record = latch.record
        if record.tripped:
            if not self._latched:
                self._latched = True
                self._log.event("KILL_SWITCH_LATCHED", reason=record.reason, who=record.who, detail=record.detail)
            if not self._board.read(self._word):
                self._board.write(self._word, TRIP_CODES[record.reason])
                # Who resets right after this has seen it; at the next look it would count as a newer trip.
                self._seen_mono_ns = now_mono_ns
            return
        if self._latched:
            self._latched = False
            if self._reset_asked:
                self._clear()
        for word in TRIP_WORDS:
            code = self._board.read(word)
            if code:
                latch.trip(_REASONS.get(code, TripReason.ERROR), WRITERS[word])
                return

    def _clear(self) -> None:
        self._board.write(self._word, 0)
        self._seen_mono_ns = 0
        self._log.event("KILL_SWITCH_RESET")

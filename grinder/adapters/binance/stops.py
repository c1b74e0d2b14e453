"""Until when the venue has stopped this address: one process is told, and all of the host wait.

Two kinds: a pause (HTTP 429, 403) and a ban (418). On the board each process that asks the venue has two words of its
own, and the latest of all counts, so that a process that is started again finds what it was told before. Must never
shorten a stop.

Source: venue documentation, USDⓈ-M futures general info, "IP Limits": limits are of the address, not of the key; who
goes on after a 429 is banned for 2 minutes to 3 days, 2026-05-28.
"""

from __future__ import annotations

from grinder.model.board import BAN_WORDS, PAUSE_WORDS, WRITERS, Word
from grinder.model.control import Process
from grinder.ports import Board


class Stops:
    """What one process was told, for itself. Times are CLOCK_BOOTTIME nanoseconds: a suspend counts; 0 is never."""

    def __init__(self) -> None:
        self._paused_until_boot_ns = 0
        self._banned_until_boot_ns = 0

    @property
    def paused_until_boot_ns(self) -> int:
        """When the last pause ends."""
        return self._paused_until_boot_ns

    @property
    def banned_until_boot_ns(self) -> int:
        """When the last ban ends."""
        return self._banned_until_boot_ns

    def pause(self, until_boot_ns: int) -> None:
        """Take over a pause."""
        self._paused_until_boot_ns = max(self._paused_until_boot_ns, until_boot_ns)

    def ban(self, until_boot_ns: int) -> None:
        """Take over a ban."""
        self._banned_until_boot_ns = max(self._banned_until_boot_ns, until_boot_ns)


class SharedStops(Stops):
    """The same for every process of a board. ``writer``: whose words to write, one of those that ask the venue."""

    def __init__(self, board: Board, writer: Process | None) -> None:
        super().__init__()
        self._board = board
        self._pause_word = _own(PAUSE_WORDS, writer)
        self._ban_word = _own(BAN_WORDS, writer)

    @property
    def paused_until_boot_ns(self) -> int:
        """When the last pause ends that any of them was told of."""
        return max(self._board.read_all(PAUSE_WORDS))

    @property
    def banned_until_boot_ns(self) -> int:
        """When the last ban ends that any of them was told of."""
        return max(self._board.read_all(BAN_WORDS))

    def pause(self, until_boot_ns: int) -> None:
        """Tell all of a pause."""
        self._tell(self._pause_word, until_boot_ns)

    def ban(self, until_boot_ns: int) -> None:
        """Tell all of a ban."""
        self._tell(self._ban_word, until_boot_ns)

    def _tell(self, word: Word, until_boot_ns: int) -> None:
        if until_boot_ns > self._board.read(word):
            self._board.write(word, until_boot_ns)


def _own(words: tuple[Word, ...], writer: Process | None) -> Word:
    (word,) = (word for word in words if WRITERS[word] is writer)
    return word

"""Fakes shared by tests: implementations of ports, never patches of our own parts."""

from __future__ import annotations

from grinder.model.board import Heartbeat, Word, word_of
from grinder.model.control import Process
from grinder.model.market import BookTop, MarkPrice
from grinder.ports import Clock


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, mono_ns: int = 1_000_000_000_000, utc_ms: int = 1_800_000_000_000) -> None:
        self._mono_ns = mono_ns
        self._utc_ms = utc_ms
        self._slept_ns = 0

    def mono_ns(self) -> int:
        return self._mono_ns

    def boot_ns(self) -> int:
        return self._mono_ns + self._slept_ns

    def utc_ms(self) -> int:
        return self._utc_ms

    def advance_ms(self, milliseconds: float) -> None:
        self._mono_ns += int(milliseconds * 1_000_000)
        self._utc_ms += int(milliseconds)

    def suspend_ms(self, milliseconds: int) -> None:
        """Let the host sleep: CLOCK_MONOTONIC stands still."""
        self._slept_ns += milliseconds * 1_000_000
        self._utc_ms += milliseconds

    def set_wall(self, ahead_ms: int) -> None:
        """Set the wall clock, so much ahead of what it shows."""
        self._utc_ms += ahead_ms


def venue_clock_words(clock: Clock, venue_ahead_ms: int = 0) -> dict[Word, int]:
    """Return the board of a host that has just measured the venue's clock, which is so far ahead of our wall clock."""
    mono_ns, boot_ns, ahead_us = clock.mono_ns(), clock.boot_ns(), venue_ahead_ms * 1_000
    return {
        Word.VENUE_CLOCK_OFFSET_US: ahead_us,
        Word.VENUE_CLOCK_BOOT_OFFSET_US: clock.utc_ms() * 1_000 + ahead_us - boot_ns // 1_000,
        Word.VENUE_CLOCK_SUSPENDED_NS: boot_ns - mono_ns,
        Word.VENUE_CLOCK_CHECKED_MONO_NS: mono_ns,
    }


class FakeBoard:
    """A board in a dictionary; zero where nothing was written, as on a fresh board."""

    def __init__(self) -> None:
        self.words: dict[Word, int] = {}
        self.records: dict[Process, Heartbeat] = {}
        self.books: dict[str, BookTop] = {}
        self.marks: dict[str, MarkPrice] = {}

    def read(self, word: Word) -> int:
        return self.words.get(word, 0)

    def read_all(self, words: tuple[Word, ...]) -> tuple[int, ...]:
        return tuple(self.words.get(word, 0) for word in words)

    def write(self, word: Word, value: int) -> None:
        self.words[word] = value

    def beat(self, heartbeat: Heartbeat) -> None:
        self.records[heartbeat.process] = heartbeat
        self.words[word_of("HEARTBEAT", heartbeat.process)] = heartbeat.beat_mono_ns

    def heartbeat(self, process: Process) -> Heartbeat | None:
        return self.records.get(process)

    def book(self, symbol: str) -> BookTop | None:
        return self.books.get(symbol)

    def mark(self, symbol: str) -> MarkPrice | None:
        return self.marks.get(symbol)

    def publish_book(self, book: BookTop) -> None:
        self.books[book.symbol] = book

    def publish_mark(self, mark: MarkPrice) -> None:
        self.marks[mark.symbol] = mark

"""A board that passes everything on: what a dishonest one begins with."""

from __future__ import annotations

from grinder.model.board import Heartbeat, Word
from grinder.model.control import Process
from grinder.model.market import BookTop, MarkPrice
from grinder.ports import PriceBoard


class PassingBoard:
    """Implements ports.PriceBoard; what lies is overridden."""

    def __init__(self, inner: PriceBoard) -> None:
        self._inner = inner

    def read(self, word: Word) -> int:
        return self._inner.read(word)

    def read_all(self, words: tuple[Word, ...]) -> tuple[int, ...]:
        return self._inner.read_all(words)

    def write(self, word: Word, value: int) -> None:
        self._inner.write(word, value)

    def beat(self, heartbeat: Heartbeat) -> None:
        self._inner.beat(heartbeat)

    def heartbeat(self, process: Process) -> Heartbeat | None:
        return self._inner.heartbeat(process)

    def publish_book(self, book: BookTop) -> None:
        self._inner.publish_book(book)

    def publish_mark(self, mark: MarkPrice) -> None:
        self._inner.publish_mark(mark)

    def book(self, symbol: str) -> BookTop | None:
        return self._inner.book(symbol)

    def mark(self, symbol: str) -> MarkPrice | None:
        return self._inner.mark(symbol)

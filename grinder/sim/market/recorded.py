"""A recorded tape: lines ``<local receive time> <raw JSON>`` of the venue's own frames, gzipped or not.

The receive time may be in milli-, micro- or nanoseconds; JSON is the combined-stream wrapper, a bare event, or a REST
depth snapshot. A line that cannot be read (the last one may be cut) is counted and skipped.
"""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from grinder.model.units import NS_PER_S
from grinder.sim.exchange.rules import BUILT_IN, SymbolRules, inferred_rules
from grinder.sim.market.frames import event_of, plain_word, snapshot_of
from grinder.sim.market.tape import TapeEvent, plain_number

LINE_BYTES_MAX: Final = 8 << 20
LINES_SEARCHED_MAX: Final = 20_000
"""Lines searched for the first book ticker when a file is opened."""

_NS_PER_UNIT: Final = ((10**17, 1), (10**14, 1_000), (10**11, 1_000_000), (0, NS_PER_S))
"""Unit of a receive time by its size: nanoseconds, microseconds, milliseconds, seconds."""

_GZIP_MAGIC: Final = b"\x1f\x8b"


class TapeError(ValueError):
    """A recording that holds nothing to play."""


def receive_ns(text: bytes) -> int:
    """Return a receive time in nanoseconds, whatever its unit."""
    number = int(text)
    return next(number * unit for bound, unit in _NS_PER_UNIT if number >= bound)


class Recording:
    """One file. ``skipped``: lines that could not be read; ``played``: frames turned into events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = 0
        self.played = 0
        self.first_ns = 0
        self.rules: dict[str, SymbolRules] = {}
        self._has_trades: set[str] = set()
        self._only_symbol = ""
        self._survey()

    def frames(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (receive time in ns, frame without its wrapper)."""
        for line in self._lines():
            moment, _, raw = line.partition(b" ")
            try:
                frame = msgspec.json.decode(raw, type=dict[str, Any])
                moment_ns = receive_ns(moment)
            except (ValueError, msgspec.DecodeError):
                self.skipped += 1
                continue
            data = frame.get("data", frame)
            if isinstance(data, dict):
                yield moment_ns, data

    def events(self, start_ns: int, shift: int = 0) -> Iterator[TapeEvent]:
        """Yield events in tape time since ``start_ns``; ``shift`` is added to every id (for loops)."""
        for moment_ns, frame in self.frames():
            try:
                event = self._event(max(0, moment_ns - start_ns), frame, shift)
            except (KeyError, TypeError, ValueError):
                self.skipped += 1
                continue
            if event is not None:
                self.played += 1
                yield event

    def _event(self, due_ns: int, frame: dict[str, Any], shift: int) -> TapeEvent | None:
        if "lastUpdateId" in frame:
            return snapshot_of(frame, self._only_symbol, due_ns, shift)
        symbol = frame.get("s", "")
        if symbol not in self.rules:
            return None
        return event_of(frame, due_ns, shift, aggregates=symbol not in self._has_trades)

    def _survey(self) -> None:
        """Find the file's symbols, their rules and its first time.

        Raises:
            TapeError: if there is no book ticker near its beginning.
        """
        for number, (moment_ns, frame) in enumerate(self.frames()):
            self.first_ns = self.first_ns or moment_ns
            try:
                self._learn(frame)
            except (KeyError, TypeError, ValueError):
                self.skipped += 1
            if number >= LINES_SEARCHED_MAX:
                break
        if not self.rules:
            raise TapeError(f"{self.path}: no bookTicker frame in its first {LINES_SEARCHED_MAX} lines")
        self._only_symbol = next(iter(self.rules))
        self.skipped = 0

    def _learn(self, frame: dict[str, Any]) -> None:
        """Note which symbol a frame is of, and whether the file carries its trades one by one."""
        if frame.get("e") == "trade":
            self._has_trades.add(plain_word(frame["s"]))
        elif frame.get("e") == "bookTicker" and frame["s"] not in self.rules:
            symbol, price, qty = plain_word(frame["s"]), plain_number(frame["b"]), plain_number(frame["B"])
            self.rules[symbol] = BUILT_IN.get(symbol) or inferred_rules(symbol, price, qty)

    def _lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as probe:
            zipped = probe.read(2) == _GZIP_MAGIC
        with gzip.open(self.path, "rb") if zipped else self.path.open("rb") as file:
            while True:
                try:
                    line = file.readline(LINE_BYTES_MAX)
                except (EOFError, OSError, zlib.error):
                    self.skipped += 1
                    return
                if not line:
                    return
                if line.strip():
                    yield line


class RecordedTape:
    """One or more recordings played together; those of one day keep their distance in time."""

    def __init__(self, paths: list[Path], *, loop: bool) -> None:
        self.recordings = [Recording(path) for path in paths]
        self._loop = loop
        self._length_ns = 0

    @property
    def rules(self) -> list[SymbolRules]:
        """Rules of every symbol on the tape."""
        merged: dict[str, SymbolRules] = {}
        for recording in self.recordings:
            merged.update(recording.rules)
        return list(merged.values())

    def events(self) -> Iterator[TapeEvent]:
        """Yield every frame once, or again and again with growing ids when looped."""
        yield from self._once(0, 0)
        offset_ns, turn = self._length_ns, 1
        while self._loop:
            yield from self._once(offset_ns, turn)
            offset_ns += self._length_ns
            turn += 1

    def _once(self, offset_ns: int, turn: int) -> Iterator[TapeEvent]:
        firsts = [recording.first_ns for recording in self.recordings]
        together = max(firsts) - min(firsts) < 3_600 * NS_PER_S
        streams = [
            recording.events(min(firsts) if together else recording.first_ns, turn * 10**12)
            for recording in self.recordings
        ]
        last_ns = 0
        for event in heapq.merge(*streams, key=lambda each: each.due_ns):
            last_ns = max(last_ns, event.due_ns)
            yield msgspec.structs.replace(event, due_ns=last_ns + offset_ns) if offset_ns else event
        self._length_ns = last_ns + NS_PER_S

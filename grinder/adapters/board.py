"""The state board: a file in shared memory that every process of this host maps. Layout in ``grinder.model.board``.

Words are single aligned stores, one per cache line; records have two slots (``grinder.adapters.records``). Must never
lock, and never use ``struct.pack_into`` on a cell: it clears the cell first, and readers see that.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from grinder.adapters.records import CELL_BYTES, RECORD_BYTES, Record
from grinder.model.board import LAYOUT_VERSION, WORDS, WRITERS, Heartbeat, Word, word_of
from grinder.model.control import TREE, Process
from grinder.model.errors import BoardError
from grinder.model.limits import BOARD_RECORD_BYTES_MAX, SYMBOLS_MAX
from grinder.model.market import BookTop, MarkPrice

BOARD_FILE: Final = "board"
_LOCK_FILE: Final = "board.lock"

_MAGIC: Final = int.from_bytes(b"grinder\0", "little")
_LINE_BYTES: Final = 64
_CELLS_PER_LINE: Final = _LINE_BYTES // CELL_BYTES
_HEAD_CELL_MAGIC, _HEAD_CELL_LAYOUT, _HEAD_CELL_BOOT_HIGH, _HEAD_CELL_BOOT_LOW = range(4)
_WORDS_AT: Final = _LINE_BYTES
_RECORDS_AT: Final = _WORDS_AT + WORDS * _LINE_BYTES
_BOOKS_AT: Final = _RECORDS_AT + len(TREE) * RECORD_BYTES
_MARKS_AT: Final = _BOOKS_AT + SYMBOLS_MAX * RECORD_BYTES
BOARD_BYTES: Final = _MARKS_AT + SYMBOLS_MAX * RECORD_BYTES

_SURVIVES_RESTART: Final = ("TRIP_", "STARTS_", "AWAITING_", "CLUSTER_OVERRIDE", "PAUSE_", "BAN_", "EXIT_ERRORS")
"""Words that a process finds again when it comes back: a restart clears no trip, acknowledges no emergency, lifts no
override, makes the venue wait no shorter, and forgets no exit that failed."""

_BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
_PROOF_STORES: Final = 20_000
_DETAIL_CUT: Final = "detail left out"
_DECODE_HEARTBEAT: Final = msgspec.msgpack.Decoder(Heartbeat).decode
_DECODE_BOOK: Final = msgspec.msgpack.Decoder(BookTop).decode
_DECODE_MARK: Final = msgspec.msgpack.Decoder(MarkPrice).decode

assert _BOOKS_AT % _LINE_BYTES == 0


class StateBoard:
    """The mapped board, as one process (or the operator, or a reader) sees it. Made by the functions below."""

    def __init__(self, memory: mmap.mmap, symbols: tuple[str, ...], writer: Process | None, *, writable: bool) -> None:
        self._memory = memory
        self._view = memoryview(memory)
        self._cells = self._view[_WORDS_AT:_RECORDS_AT].cast("q")[::_CELLS_PER_LINE]
        self._writer = writer
        self._writable = writable
        self._encode = msgspec.msgpack.Encoder().encode
        self._records: dict[Process, Record] = {
            process: self._record(_RECORDS_AT, index) for index, process in enumerate(TREE)
        }
        self._books = {symbol: self._record(_BOOKS_AT, index) for index, symbol in enumerate(symbols)}
        self._marks = {symbol: self._record(_MARKS_AT, index) for index, symbol in enumerate(symbols)}
        self._decoded: dict[Record, tuple[int, Any]] = {}

    def read(self, word: Word) -> int:
        """Return a word: one load, no lock, no syscall."""
        return self._cells[word]

    def read_all(self, words: tuple[Word, ...]) -> tuple[int, ...]:
        """Return several words, each by one load."""
        cells = self._cells
        return tuple([cells[word] for word in words])

    def write(self, word: Word, value: int) -> None:
        """Store a signed 64-bit word that belongs to this writer (asserted)."""
        assert self._writable
        assert WRITERS[word] is self._writer, f"{word.name} is not a word of {self._writer}"
        self._cells[word] = value

    def begin(self, pid: int, incarnation: int) -> None:
        """Take over this process's words at its start: all clear but the trip, one more start, pid and incarnation."""
        assert self._writer is not None
        for word, writer in WRITERS.items():
            if writer is self._writer and not word.name.startswith(_SURVIVES_RESTART):
                self.write(word, 0)
        starts = word_of("STARTS", self._writer)
        self.write(starts, self.read(starts) + 1)
        self.write(word_of("INCARNATION", self._writer), incarnation)
        self.write(word_of("PID", self._writer), pid)

    def beat(self, heartbeat: Heartbeat) -> None:
        """Publish this process's heartbeat record, then its heartbeat word."""
        assert self._writer is heartbeat.process
        data = self._encode(heartbeat)
        if len(data) > BOARD_RECORD_BYTES_MAX:
            data = self._encode(
                msgspec.structs.replace(heartbeat, not_ready_reason=_DETAIL_CUT, input_seen_mono_ns={}, detail="")
            )
        self._records[heartbeat.process].write(data)
        self.write(word_of("HEARTBEAT", heartbeat.process), heartbeat.beat_mono_ns)

    def heartbeat(self, process: Process) -> Heartbeat | None:
        """Return a process's last heartbeat, or None if there is none or it is torn."""
        record = self._records.get(process)
        return None if record is None else _heartbeat(record)

    def publish_book(self, book: BookTop) -> None:
        """Store the last book of one of this tree's symbols; the feed only (asserted)."""
        assert self._writer is Process.FEED
        self._books[book.symbol].write(self._encode(book))

    def publish_mark(self, mark: MarkPrice) -> None:
        """Store the last mark price of one of this tree's symbols; the feed only (asserted)."""
        assert self._writer is Process.FEED
        self._marks[mark.symbol].write(self._encode(mark))

    def book(self, symbol: str) -> BookTop | None:
        """Return the last book of a symbol, or None if there is none or it is torn; judge its age."""
        book: BookTop | None = self._price(self._books.get(symbol), _DECODE_BOOK, symbol)
        return book

    def mark(self, symbol: str) -> MarkPrice | None:
        """Return the last mark price of a symbol, or None if there is none or it is torn; judge its age."""
        mark: MarkPrice | None = self._price(self._marks.get(symbol), _DECODE_MARK, symbol)
        return mark

    def close(self) -> None:
        """Unmap; the file stays."""
        for record in (*self._records.values(), *self._books.values(), *self._marks.values()):
            record.release()
        self._cells.release()
        self._view.release()
        self._memory.close()

    def _price(self, record: Record | None, decode: Callable[[bytes], Any], symbol: str) -> Any:
        """Return a symbol's price record; one of another symbol (another order of settings) does not count."""
        if record is None:
            return None
        version = record.version()
        last = self._decoded.get(record)
        if version and last is not None and last[0] == version:
            return last[1]
        data = record.read()
        if data is None:
            return None
        try:
            value = decode(data)
        except ValueError:
            return None
        if value.symbol != symbol:
            return None
        # Kept under the version seen before the read: if a newer one came meanwhile, the next look reads again.
        self._decoded[record] = (version, value)
        return value

    def _record(self, start: int, index: int) -> Record:
        offset = start + index * RECORD_BYTES
        return Record(self._view[offset : offset + RECORD_BYTES])


def create_board(run_dir: Path) -> None:
    """Put a fresh, all-clear board of this layout and boot in place, if there is not one already.

    For the starter of a tree: a board of another layout or boot is replaced, a valid one is kept with its trips.

    Raises:
        BoardError: if a word is not one single store on this machine.
        OSError: if the directory cannot be written.
    """
    with _locked(run_dir / _LOCK_FILE):
        path = run_dir / BOARD_FILE
        if path.exists() and not _problem(path):
            return
        _make(path)


def attach_process(run_dir: Path, process: Process, symbols: tuple[str, ...]) -> StateBoard:
    """Return the board with the words and record of ``process`` writable; made if there is none yet.

    Args:
        run_dir: directory of the tree.
        process: the writer.
        symbols: the tree's symbols in the order of its settings; SYMBOLS_MAX at most.

    Raises:
        BoardError: if the file is of another layout or another boot.
    """
    with _locked(run_dir / _LOCK_FILE):
        path = run_dir / BOARD_FILE
        if not path.exists():
            _make(path)
    return _attach(path, symbols, process, writable=True)


def attach_reader(run_dir: Path, symbols: tuple[str, ...] = ()) -> StateBoard:
    """Return the board, mapped read-only.

    Raises:
        BoardError: if there is none, or it is of another layout or another boot.
    """
    return _attach(run_dir / BOARD_FILE, symbols, None, writable=False)


@contextmanager
def attach_operator(run_dir: Path) -> Iterator[StateBoard]:
    """Yield the board with the operator's words writable. Takes no lock: a trip waits for nobody.

    Raises:
        BoardError: if there is none, or it is of another layout or another boot.
    """
    board = _attach(run_dir / BOARD_FILE, (), None, writable=True)
    try:
        yield board
    finally:
        board.close()


def prove_single_store(stores: int = _PROOF_STORES) -> None:
    """Show with a second process that a word is never seen half written on this machine.

    A child stores all-zero and all-one words by turns in shared memory while this process reads.

    Raises:
        BoardError: if any other value was seen.
    """
    with mmap.mmap(-1, mmap.PAGESIZE) as memory, memoryview(memory) as view, view.cast("q") as cells:
        done = _CELLS_PER_LINE
        child = os.fork()
        if child == 0:
            for _ in range(stores):
                cells[0] = -1
                cells[0] = 0
            cells[done] = 1
            os._exit(0)
        torn = 0
        while not cells[done]:
            torn += cells[0] not in (0, -1)
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
        os.waitpid(child, 0)
    if torn:
        raise BoardError(f"a 64-bit store is not atomic on this machine: {torn} half-written words were read")


def _make(path: Path) -> None:
    """Write a new board beside ``path`` and move it there: who opens the path finds a whole one or none."""
    prove_single_store()
    high, low = _boot_id()
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        for cell in (_MAGIC, LAYOUT_VERSION, high, low):
            file.write(cell.to_bytes(CELL_BYTES, "little", signed=True))
        file.truncate(BOARD_BYTES)
    fresh.replace(path)


def _attach(path: Path, symbols: tuple[str, ...], writer: Process | None, *, writable: bool) -> StateBoard:
    assert len(symbols) <= SYMBOLS_MAX
    problem = _problem(path)
    if problem:
        raise BoardError(f"{path}: {problem}; stop the tree and start it again, which makes a new board")
    descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return StateBoard(mmap.mmap(descriptor, BOARD_BYTES, access=access), symbols, writer, writable=writable)
    finally:
        os.close(descriptor)


def _problem(path: Path) -> str:
    """Return what is wrong with a board file, or an empty string."""
    try:
        with path.open("rb") as file:
            head = file.read(4 * CELL_BYTES)
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return "there is no board; the tree was not started on this host since it booted"
    if size != BOARD_BYTES:
        return f"{size} bytes, expected {BOARD_BYTES}: another layout"
    cells = memoryview(head).cast("q")
    if cells[_HEAD_CELL_MAGIC] != _MAGIC:
        return "not a board"
    if cells[_HEAD_CELL_LAYOUT] != LAYOUT_VERSION:
        return f"layout {cells[_HEAD_CELL_LAYOUT]}, expected {LAYOUT_VERSION}"
    if (cells[_HEAD_CELL_BOOT_HIGH], cells[_HEAD_CELL_BOOT_LOW]) != _boot_id():
        return "made before this host booted"
    return ""


def _boot_id() -> tuple[int, int]:
    """Return this boot's identity as two signed words."""
    raw = bytes.fromhex(_BOOT_ID_FILE.read_text().strip().replace("-", ""))
    high, low = memoryview(raw).cast("q")
    return high, low


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _heartbeat(record: Record) -> Heartbeat | None:
    """Return a record's heartbeat, or None if it is torn or of another form."""
    data = record.read()
    if data is None:
        return None
    try:
        return _DECODE_HEARTBEAT(data)
    except ValueError:
        return None

"""Journals on a real disk, for tests: opened and closed, filled, torn, waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal
from grinder.adapters.journal_files import read_files
from grinder.adapters.journal_format import MARKER
from grinder.settings import JournalSync

BOUND_S = 20.0


@contextmanager
def opened(directory: Path, sync: JournalSync = JournalSync.NONE) -> Iterator[FileJournal]:
    journal = FileJournal(directory, sync, SEGMENT_BYTES_MIN)
    try:
        yield journal
    finally:
        journal.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def fill_until_due(journal: FileJournal) -> list[bytes]:
    """Write records until a checkpoint is due, and return them."""
    records: list[bytes] = []
    while len(records) * 4_000 < SEGMENT_BYTES_MIN * 3 // 4:
        records.append(len(records).to_bytes(4, "little") * 1_000)
        assert journal.append(records[-1])
    until(lambda: journal.wants_checkpoint)
    return records


def fill_until_refused(journal: FileJournal) -> list[bytes]:
    """Write records until one is refused, with checkpoints as they fall due, and return what is on record then."""
    records: list[bytes] = []
    while journal.append(record := len(records).to_bytes(4, "little") * 29):
        records.append(record)
        if journal.wants_checkpoint:
            journal.checkpoint(list(records))
    return records


def tear(directory: Path) -> int:
    """Leave a part of a frame as the last bytes, as a loss of power does; return the file's number."""
    last = [file for file in read_files(directory) if not file.scan.unused][-1]
    with last.path.open("r+b") as file:
        file.seek(min(last.scan.end, len(last.data) - len(MARKER)))
        file.write(MARKER)
    return last.number

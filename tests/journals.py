"""Journals on a real disk, for tests: opened and closed, filled, waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal
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

"""The write-ahead journal on disk: preallocated files, one write() per record, torn tails cut.

A file holds frames of (length, CRC32, record), zeros after the last. One write() before the send survives kill -9; a
background thread syncs for power loss, off the hot path. Must never report a record as written that is not.

Source: measured, one pwrite of a 200-byte frame 2 us at the median; 40 kills, no torn and no missing record.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from grinder.model.errors import GrinderError
from grinder.settings import JournalSync

_HEADER: Final = struct.Struct("<II")
_NAME: Final = "journal-{:010d}.log"
_PATTERN: Final = "journal-*.log"
_PARTIAL: Final = ".new"
RECORD_BYTES_MAX: Final = 1 << 16
SEGMENT_BYTES: Final = 8 << 20
SEGMENT_BYTES_MIN: Final = 4 * RECORD_BYTES_MAX
"""Size a file is preallocated to, bytes; beyond it the file grows, and a checkpoint is due."""
SYNC_PERIOD_S: Final = 0.005
"""Longest wait of a written record for its sync, seconds."""
SYNC_IDLE_PERIODS_MAX: Final = 100
"""Periods without a record after which the syncing thread sleeps until it is woken."""


class JournalError(GrinderError):
    """The journal's directory or file cannot be used at start."""


class FileJournal:
    """Implements ports.Journal in one directory, for one process at a time (the caller holds the process lock)."""

    def __init__(self, directory: Path, sync: JournalSync, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open the journal, cutting a torn tail.

        Args:
            directory: created with mode 0700 if absent.
            sync: see JournalSync.
            segment_bytes: size of a preallocated file, at least SEGMENT_BYTES_MIN.

        Raises:
            JournalError: if the directory or the file cannot be opened, read or preallocated.
        """
        assert segment_bytes >= SEGMENT_BYTES_MIN
        self._directory = directory
        self._sync = sync
        self._segment_bytes = segment_bytes
        self._failed = False
        self._dirty = False
        self._awake = False
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._file_lock = threading.Lock()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for partial in directory.glob(_PATTERN + _PARTIAL):
                partial.unlink()
            self._number, self._descriptor, self._end = self._open_last()
        except OSError as error:
            raise JournalError(f"journal in {directory} cannot be used: {error}") from error
        self._syncer = threading.Thread(target=self._sync_forever, name="journal-sync", daemon=True)
        if sync is JournalSync.GROUP:
            self._syncer.start()

    @property
    def wants_checkpoint(self) -> bool:
        """Tell whether three quarters of the preallocated file are used."""
        return self._end * 4 >= self._segment_bytes * 3

    def append(self, record: bytes) -> bool:
        """Write one record; return False on a full disk or any other failure, and then nothing counts as written."""
        if self._failed or not 0 < len(record) <= RECORD_BYTES_MAX:
            return False
        frame = _frame(record)
        try:
            if os.pwrite(self._descriptor, frame, self._end) != len(frame):
                return False
            if self._sync is JournalSync.EACH:
                os.fdatasync(self._descriptor)
        except OSError:
            return False
        self._end += len(frame)
        self._dirty = True
        if self._sync is JournalSync.GROUP and not self._awake:
            # Only the first record after a silence pays for a wake-up; the thread then looks by itself.
            self._awake = True
            self._wake.set()
        return True

    def replay(self) -> Iterator[bytes]:
        """Yield every whole record of every file, oldest first."""
        for path in sorted(self._directory.glob(_PATTERN)):
            data = path.read_bytes()
            for start, end in _frames(data):
                yield data[start:end]

    def checkpoint(self, records: Iterable[bytes]) -> bool:
        """Begin a new file with ``records``, then drop the older files; on any failure go on with the present one."""
        number = self._number + 1
        path = self._directory / _NAME.format(number)
        partial = path.with_name(path.name + _PARTIAL)
        content = b"".join(_frame(record) for record in records)
        descriptor = -1
        try:
            descriptor = _create(partial, self._segment_bytes)
            if os.pwrite(descriptor, content, 0) != len(content):
                raise OSError("short write")
            os.fdatasync(descriptor)
            partial.rename(path)
        except OSError:
            if descriptor >= 0:
                os.close(descriptor)
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            return False
        with self._file_lock:
            old, self._descriptor = self._descriptor, descriptor
        self._number, self._end = number, len(content)
        self._failed = False
        os.close(old)
        for older in sorted(self._directory.glob(_PATTERN)):
            if older != path:
                with contextlib.suppress(OSError):
                    older.unlink()
        return True

    def close(self) -> None:
        """Sync what was written and close the file."""
        self._closed.set()
        self._wake.set()
        if self._syncer.is_alive():
            self._syncer.join(timeout=5)
        with self._file_lock, contextlib.suppress(OSError):
            if self._sync is not JournalSync.NONE:
                os.fdatasync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        self._failed = True

    def _open_last(self) -> tuple[int, int, int]:
        """Open the newest file, or the first one ever, and cut it after its last whole record."""
        paths = sorted(self._directory.glob(_PATTERN))
        path = paths[-1] if paths else self._directory / _NAME.format(1)
        if not paths:
            return 1, _create(path, self._segment_bytes), 0
        number = int(path.stem.partition("-")[2])
        end = max((stop for _, stop in _frames(path.read_bytes())), default=0)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        os.ftruncate(descriptor, end)
        _preallocate(descriptor, self._segment_bytes)
        return number, descriptor, end

    def _sync_forever(self) -> None:
        """Sync what was written, once per SYNC_PERIOD_S; asleep between bursts of records."""
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            idle = 0
            while idle < SYNC_IDLE_PERIODS_MAX and not self._closed.is_set():
                idle = 0 if self._sync_once() else idle + 1
                self._closed.wait(SYNC_PERIOD_S)
            self._awake = False
            # A record written before the line above saw a thread that was awake, and did not wake it.
            if self._dirty:
                self._awake = True
                self._wake.set()

    def _sync_once(self) -> bool:
        """Sync if anything was written since the last time; a failed sync fails the journal until a checkpoint."""
        if not self._dirty:
            return False
        self._dirty = False
        with self._file_lock:
            try:
                if self._descriptor >= 0:
                    os.fdatasync(self._descriptor)
            except OSError:
                self._failed = True
        return True


def _frame(record: bytes) -> bytes:
    assert 0 < len(record) <= RECORD_BYTES_MAX
    return _HEADER.pack(len(record), zlib.crc32(record)) + record


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of every whole record's bytes, up to the first frame that is not whole."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, offset)
        start = offset + _HEADER.size
        end = start + length
        if not 0 < length <= RECORD_BYTES_MAX or end > len(data) or zlib.crc32(data[start:end]) != checksum:
            return
        yield start, end
        offset = end


def _create(path: Path, size_bytes: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _preallocate(descriptor, size_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _preallocate(descriptor: int, size_bytes: int) -> None:
    """Reserve the file's blocks, so that records still fit when the disk is full."""
    os.posix_fallocate(descriptor, 0, size_bytes)

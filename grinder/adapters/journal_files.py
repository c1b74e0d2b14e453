"""The journal's files in their directory: read, prepare, put in place. Must never change a file of another format."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.journal_format import (
    FIRST_SEQUENCE,
    HEADER_BYTES,
    Header,
    Kind,
    Scan,
    frame_bytes,
    header_bytes,
    name_of,
    number_of,
    scan,
)
from grinder.model.errors import GrinderError

PATTERN: Final = "journal-*"
PARTIAL: Final = ".new"
DAMAGED: Final = "damaged-"
DAMAGED_KEPT: Final = 4
"""Damaged files that are kept for whoever wants to know what was in them."""
_ZEROS: Final = bytes(1 << 18)
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors that end by themselves when somebody makes room."""


class JournalError(GrinderError):
    """The journal's directory or file cannot be used at start."""


class JournalFormatError(JournalError):
    """A file in the journal's directory is not of the format that this version reads; nothing was changed."""


class OpenFile:
    """A file that is written: its number, its descriptor, the size it was prepared at, where the next frame goes.

    With a size of 0 it stands in for a file that there was no room for: it has a number, and takes nothing.
    """

    __slots__ = ("descriptor", "end", "number", "size_bytes")

    def __init__(self, number: int, descriptor: int, size_bytes: int, end: int = HEADER_BYTES) -> None:
        self.number = number
        self.descriptor = descriptor
        self.size_bytes = size_bytes
        self.end = end

    def begin(self) -> None:
        """Make it a log.

        Raises:
            OSError: if its header cannot be written.
        """
        header = Header(Kind.LOG, self.number, 0, self.size_bytes)
        write_whole(self.descriptor, header_bytes(header), 0)

    def put_back(self) -> None:
        """Take away what a write that failed has left behind the end: else the next start finds a torn tail.

        What cannot be taken away stays, and is found torn then.
        """
        with contextlib.suppress(OSError):
            # More than the longest frame: nothing that failed reaches further.
            write_whole(self.descriptor, _ZEROS[: max(0, self.size_bytes - self.end)], self.end)
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, max(self.size_bytes, self.end))


class JournalFile(msgspec.Struct):
    """A file that is read. ``data``: its bytes."""

    path: Path
    number: int
    data: bytes
    scan: Scan

    def records(self) -> Iterator[bytes]:
        """Yield its whole records."""
        for start, end in self.scan.records:
            yield self.data[start:end]


def read_files(directory: Path) -> list[JournalFile]:
    """Return every file, oldest first.

    Raises:
        JournalFormatError: if one is not of this format.
        OSError: if one cannot be read.
    """
    files = []
    for path in sorted(directory.glob(PATTERN)):
        if path.name.endswith(PARTIAL):
            continue
        number = number_of(path.name)
        data = path.read_bytes()
        found = "its name is none of ours" if number is None else scan(data, number)
        if isinstance(found, str):
            raise JournalFormatError(
                f"{path} is no order journal that this version can read: {found}. Nothing was changed. Start the "
                "version that wrote it, or move the folder away: orders that rest under our prefix are then taken over "
                "from the venue"
            )
        assert number is not None
        files.append(JournalFile(path, number, data, found))
    return files


def in_force(files: list[JournalFile]) -> list[JournalFile]:
    """Return the files that say something: from the newest checkpoint on."""
    begin = max((index for index, file in enumerate(files) if file.scan.header.kind is Kind.CHECKPOINT), default=0)
    return [file for file in files[begin:] if not file.scan.unused]


def read_records(directory: Path) -> Iterator[bytes]:
    """Yield every whole record that is in force, oldest first; needs no lock and changes nothing.

    Raises:
        JournalFormatError: if a file is not of this format.
        OSError: if one cannot be read.
    """
    for file in in_force(read_files(directory)):
        yield from file.records()


def spare_behind(files: list[JournalFile]) -> JournalFile | None:
    """Return a file that was prepared in full and lies behind all that say something, or None."""
    used = max((file.number for file in files if not file.scan.unused), default=0)
    spares = [file for file in files if file.number > used and 0 < file.scan.header.size_bytes == len(file.data)]
    return spares[-1] if spares else None


def create_spare(directory: Path, number: int, size_bytes: int) -> int:
    """Make a file of zeros that are on the disk, and return its descriptor; leaves nothing behind if that fails.

    Written, not only reserved: the first write into a block that is merely reserved costs a journal commit of its own.

    Raises:
        OSError: if there is no room, or the disk says no.
    """
    path = path_of(directory, number)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        for offset in range(0, size_bytes, len(_ZEROS)):
            write_whole(descriptor, _ZEROS[: size_bytes - offset], offset)
        write_whole(descriptor, header_bytes(Header(Kind.SPARE, number, 0, size_bytes)), 0)
        os.fdatasync(descriptor)
        sync_directory(directory)
    except OSError:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return descriptor


def write_checkpoint(path: Path, number: int, records: Iterable[bytes]) -> None:
    """Write a checkpoint's file: each record with a write of its own, so that the order path never waits for many.

    Raises:
        OSError: if it cannot be written and synced.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        end, sequence = HEADER_BYTES, FIRST_SEQUENCE
        for record in records:
            frame = frame_bytes(record, number, end, sequence)
            write_whole(descriptor, frame, end)
            end += len(frame)
            sequence += 1
        write_whole(descriptor, header_bytes(Header(Kind.CHECKPOINT, number, sequence - FIRST_SEQUENCE)), 0)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(descriptor: int, data: bytes, offset: int) -> None:
    """Write ``data`` at ``offset``.

    Raises:
        OSError: if not all of it was written; a part of it means that there is no room for the rest.
    """
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync_directory(directory: Path) -> None:
    """Force the directory's entries to the disk.

    Raises:
        OSError: if that fails.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def drop_before(directory: Path, number: int, damaged: frozenset[str]) -> None:
    """Remove the files before a number; damaged ones are put aside, the newest DAMAGED_KEPT of them."""
    for path in sorted(directory.glob(PATTERN)):
        found = number_of(path.name)
        if found is None or found >= number:
            continue
        with contextlib.suppress(OSError):
            if path.name in damaged:
                path.rename(path.with_name(DAMAGED + path.name))
            else:
                path.unlink()
    for path in sorted(directory.glob(f"{DAMAGED}*"))[:-DAMAGED_KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()


def size_of(directory: Path) -> int:
    """Return the bytes of all files."""
    sizes = 0
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            sizes += path.stat().st_size
    return sizes


def path_of(directory: Path, number: int) -> Path:
    """Return the path of a file's number."""
    return directory / name_of(number)

"""The kill-switch latch on disk: one small preallocated file, written in place, that works on a full disk.

Two checksummed slots in different sectors, written by turns. Whatever cannot be read counts as tripped; only an absent
file at the very first start counts as clear. Must never be cleared by a restart.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Final

import msgspec

from grinder.model.control import TripReason

LATCH_FILE: Final = "latch"
_SLOT_BYTES: Final = 512
_FILE_BYTES: Final = 2 * _SLOT_BYTES
_LENGTH_BYTES: Final = 2
_CRC_BYTES: Final = 4
_HEAD_BYTES: Final = _LENGTH_BYTES + _CRC_BYTES
_TEXT_CHARS_MAX: Final = 100
_UNREADABLE: Final = "the latch file cannot be read"
_ABSENT: Final = "the latch file is gone although this is not the first start"


class LatchRecord(msgspec.Struct, frozen=True, array_like=True):
    """State of the latch. ``reason``, ``who``, ``detail`` tell about the last change; ``version`` counts changes."""

    version: int
    tripped: bool
    reason: TripReason
    who: str
    detail: str
    utc_ms: int


class LatchFile:
    """The durable latch of one host. Only the executor, and the operator while it is down, may write it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, *, first_start: bool) -> LatchRecord:
        """Return the state of the latch; made, and clear, if this is the first start and there is no file.

        Args:
            first_start: this state directory has never been used.

        Raises:
            OSError: if a new file cannot be made.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            if not first_start:
                return _tripped(_ABSENT)
            self._create()
            return LatchRecord(0, False, TripReason.MANUAL, "", "", 0)
        except OSError as error:
            return _tripped(f"{_UNREADABLE}: {error.strerror}")
        return _newest(data)

    def store(self, record: LatchRecord) -> None:
        """Write a record durably, in place; its version must be one more than the last (caller's duty).

        Raises:
            OSError: if it could not be written and flushed.
        """
        body = msgspec.msgpack.encode(
            msgspec.structs.replace(record, who=record.who[:_TEXT_CHARS_MAX], detail=record.detail[:_TEXT_CHARS_MAX])
        )
        assert len(body) <= _SLOT_BYTES - _HEAD_BYTES
        head = len(body).to_bytes(_LENGTH_BYTES, "little") + zlib.crc32(body).to_bytes(_CRC_BYTES, "little")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, (head + body).ljust(_SLOT_BYTES, b"\0"), (record.version % 2) * _SLOT_BYTES)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _create(self) -> None:
        """Make the file at its full size, written and flushed, so that no later write needs a free block."""
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, bytes(_FILE_BYTES), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _tripped(detail: str) -> LatchRecord:
    return LatchRecord(0, True, TripReason.ERROR, "", detail, 0)


def _newest(data: bytes) -> LatchRecord:
    """Return the newest record of a file; tripped if any slot is damaged, for it may have held a trip."""
    if len(data) != _FILE_BYTES:
        return _tripped(_UNREADABLE)
    records = []
    for start in (0, _SLOT_BYTES):
        slot = data[start : start + _SLOT_BYTES]
        if slot == bytes(_SLOT_BYTES):
            continue
        record = _record(slot)
        if record is None:
            return _tripped(_UNREADABLE)
        records.append(record)
    if not records:
        return LatchRecord(0, False, TripReason.MANUAL, "", "", 0)
    return max(records, key=lambda record: record.version)


def _record(slot: bytes) -> LatchRecord | None:
    length = int.from_bytes(slot[:_LENGTH_BYTES], "little")
    body = slot[_HEAD_BYTES : _HEAD_BYTES + length]
    if zlib.crc32(body) != int.from_bytes(slot[_LENGTH_BYTES:_HEAD_BYTES], "little"):
        return None
    try:
        return msgspec.msgpack.decode(body, type=LatchRecord)
    except ValueError:
        return None

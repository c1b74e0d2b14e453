"""The kill-switch latch on disk: one small preallocated file, written in place, that works on a full disk.

Two checksummed slots in different sectors, written by turns, both from the start: zeros are what a power cut leaves,
not a record. Whatever cannot be read counts as tripped; only an absent file at the very first start counts as clear.
Must never be cleared by a restart.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from grinder.model.control import Process, TripReason
from grinder.model.latch import TRIP_NAME_BYTES_MAX, LatchRecord
from grinder.settings import Settings

__all__ = ["LATCH_FILE", "LatchFile", "LatchRecord", "host_latch", "never_used"]

LATCH_FILE: Final = "latch"
LOCK_WAIT_S_MAX: Final = 1.0
"""Longest wait for somebody else's change of the latch, seconds; a trip is written without the lock after that."""

OPERATOR_NAME: Final = "operator"
"""Who tripped, where only the operator's word on the board is known."""

SAME_ACT_MS: Final = 2_000
"""Longest time in which an operator's word on the board and what the operator writes into the file are one act."""

_LOCK_POLL_S: Final = 0.01
_SLOT_BYTES: Final = 512
_FILE_BYTES: Final = 2 * _SLOT_BYTES
_LENGTH_BYTES: Final = 2
_CRC_BYTES: Final = 4
_HEAD_BYTES: Final = _LENGTH_BYTES + _CRC_BYTES
_TEXT_BYTES_MAX: Final = 200
_NAME_RANDOM_BYTES: Final = 4
_UNREADABLE: Final = "the latch file cannot be read"
_ABSENT: Final = "the latch file is gone although this is not the first start"
_CLEAR: Final = LatchRecord(0, False, TripReason.MANUAL, "", "", 0)


class LatchFile:
    """The durable latch of one host. Written by the executor and by the operator, one at a time under a file lock.

    ``node``: name of the host in its cluster, which each trip's name begins with; empty on a host that is alone.
    """

    def __init__(self, path: Path, node: str = "") -> None:
        self._path = path
        self._node = node

    @property
    def folder(self) -> Path:
        """Where the file lies: the state directory."""
        return self._path.parent

    def load(self, *, first_start: bool) -> LatchRecord:
        """Return the state of the latch; made, and clear, if this is the first start and there is no file.

        Args:
            first_start: this state directory has never been used.

        Raises:
            OSError: if a new file cannot be made.
        """
        if first_start and not self._path.exists():
            self._create()
        return self.peek(first_start=first_start)

    def peek(self, *, first_start: bool) -> LatchRecord:
        """Return the state of the latch as ``load`` does, without making anything."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return _CLEAR if first_start else _tripped(_ABSENT)
        except OSError as error:
            return _tripped(f"{_UNREADABLE}: {error.strerror}")
        return _newest(data)

    def trip(
        self, reason: TripReason, who: str, detail: str, utc_ms: int, *, again: bool = False, name: str = ""
    ) -> LatchRecord:
        """Trip the latch durably; the first trip of this host keeps its reason.

        A file that cannot be read is left as it is.

        Args:
            reason: why.
            who: process or operator.
            detail: for people.
            utc_ms: now, Unix milliseconds.
            again: count this trip also where the latch is tripped already, which makes earlier trip ids void.
            name: of the trip in the cluster, as ``new_name`` gives it or as another host's trip has it that this one
                follows; empty for a new one.

        Returns:
            The state of the latch afterwards; tripped.

        Raises:
            OSError: if it could not be written and flushed.
        """
        if not self._path.exists():
            self._create()
        with self._locked(must=False):
            before = self.peek(first_start=False)
            if before.tripped and (not again or before.version == 0):
                return before
            version = before.version + 1
            given = name if 0 < len(name.encode()) <= TRIP_NAME_BYTES_MAX else ""
            if before.tripped and before.reason is not TripReason.CLUSTER:
                # The executor may have found the operator's word, and written the file for it, before the operator did.
                same_act = before.who == OPERATOR_NAME and not before.detail and utc_ms - before.utc_ms < SAME_ACT_MS
                kept = before.name if same_act else self.new_name(before.reason)
                first = msgspec.structs.replace(before, version=version, name=given or kept)
                record = first if first.detail else msgspec.structs.replace(first, who=who, detail=detail)
            else:
                record = LatchRecord(version, True, reason, who, detail, utc_ms, given or self.new_name(reason))
            self.store(record)
            return self.peek(first_start=False)

    def clear(self, trip_id: str, who: str, detail: str, utc_ms: int) -> LatchRecord:
        """Clear the latch durably if its trip is still the one that the operator named.

        Returns:
            The state of the latch afterwards; still tripped if the trip is another one.

        Raises:
            OSError: if it could not be written and flushed, or somebody else holds the file.
        """
        if not self._path.exists():
            absent = _tripped(_ABSENT)
            if trip_id != absent.trip_id:
                return absent
            self._create()
            return self.peek(first_start=False)
        with self._locked(must=True):
            before = self.peek(first_start=False)
            if before.trip_id != trip_id or not before.tripped:
                return before
            if before.version == 0:
                self._create(replace=True)
            else:
                self.store(LatchRecord(before.version + 1, False, before.reason, who, detail, utc_ms))
            return self.peek(first_start=False)

    def store(self, record: LatchRecord) -> None:
        """Write a record durably, in place; its version must be one more than the last (caller's duty).

        Raises:
            OSError: if it could not be written and flushed.
        """
        slot = _slot(record)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, slot, (record.version % 2) * _SLOT_BYTES)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def new_name(self, reason: TripReason) -> str:
        """Return a name that no trip has had: an acknowledgement of an earlier one must never fit; never waits.

        Empty on a host that is alone.
        """
        return f"{self._node}-{reason}-{os.urandom(_NAME_RANDOM_BYTES).hex()}" if self._node else ""

    @contextmanager
    def _locked(self, *, must: bool) -> Iterator[None]:
        """Hold the file's lock, so that no change is lost; where it ``must`` be held, raise if it cannot be."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        deadline_mono_s = time.monotonic() + LOCK_WAIT_S_MAX
        try:
            while not _try_lock(descriptor) and time.monotonic() < deadline_mono_s:
                time.sleep(_LOCK_POLL_S)
            if must and not _try_lock(descriptor):
                raise OSError(errno.ETIMEDOUT, "somebody else is changing the latch file", str(self._path))
            yield
        finally:
            os.close(descriptor)

    def _create(self, *, replace: bool = False) -> None:
        """Make the file at its full size, written and flushed, so that no later write needs a free block.

        Without ``replace``, a file that somebody else made meanwhile stays.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, _slot(_CLEAR) * 2, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if replace:
            fresh.replace(self._path)
        else:
            try:
                os.link(fresh, self._path)
            except FileExistsError:
                pass
            fresh.unlink()
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def never_used(state_dir: Path) -> bool:
    """Tell whether no executor ever started with a state directory; one that cannot be looked into may have been."""
    try:
        (state_dir / f"incarnation.{Process.EXECUTOR}").stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def host_latch(settings: Settings, state_dir: Path) -> LatchFile:
    """Return the durable latch of a state directory; where there is a cluster, its trips get names."""
    return LatchFile(state_dir / LATCH_FILE, settings.node_id if settings.ha_enabled else "")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _cut(text: str) -> str:
    """Return a text that fits the slot and any encoder: whole characters, no half of a surrogate pair."""
    return text.encode("utf-8", "replace")[:_TEXT_BYTES_MAX].decode("utf-8", "ignore")


def _tripped(detail: str) -> LatchRecord:
    return LatchRecord(0, True, TripReason.ERROR, "", detail, 0)


def _newest(data: bytes) -> LatchRecord:
    """Return the newest record of a file; tripped if any slot is damaged, for it may have held a trip."""
    if len(data) != _FILE_BYTES:
        return _tripped(_UNREADABLE)
    first, second = _record(data[:_SLOT_BYTES]), _record(data[_SLOT_BYTES:])
    if first is None or second is None:
        return _tripped(_UNREADABLE)
    return max(first, second, key=lambda record: record.version)


def _slot(record: LatchRecord) -> bytes:
    """Return a record as it lies in the file; texts that are too long are cut."""
    body = msgspec.msgpack.encode(msgspec.structs.replace(record, who=_cut(record.who), detail=_cut(record.detail)))
    assert len(record.name.encode()) <= TRIP_NAME_BYTES_MAX
    assert len(body) <= _SLOT_BYTES - _HEAD_BYTES
    head = len(body).to_bytes(_LENGTH_BYTES, "little") + zlib.crc32(body).to_bytes(_CRC_BYTES, "little")
    return (head + body).ljust(_SLOT_BYTES, b"\0")


def _record(slot: bytes) -> LatchRecord | None:
    length = int.from_bytes(slot[:_LENGTH_BYTES], "little")
    body = slot[_HEAD_BYTES : _HEAD_BYTES + length]
    if zlib.crc32(body) != int.from_bytes(slot[_LENGTH_BYTES:_HEAD_BYTES], "little"):
        return None
    try:
        return msgspec.msgpack.decode(body, type=LatchRecord)
    except ValueError:
        return None

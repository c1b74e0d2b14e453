"""The file that the risk memory outlives a process in: two checksummed slots in a preallocated file, written in turn.

A writer that dies leaves the other slot whole, and a full disk takes nothing away, for no byte is ever added. Must
never hold up the fsm: a thread writes, the newest state wins.
"""

from __future__ import annotations

import os
import threading
import zlib
from pathlib import Path
from typing import Final

import msgspec

from grinder.core.losses import NOTHING_LOST, RiskMemory
from grinder.model.limits import WRITER_CLOSE_S_MAX
from grinder.ports import Log

RISK_FILE: Final = "risk"
SLOT_BYTES: Final = 32_768
RETRY_S: Final = 0.5
"""Wait before a state that could not be written is tried again, seconds."""

_CRC_CHARS: Final = 8


class _Slot(msgspec.Struct, frozen=True):
    seq: int
    memory: RiskMemory


class RiskFile:
    """The RiskStore port. ``damaged``: there was a file, and nothing in it could be read."""

    def __init__(self, state_dir: Path, log: Log) -> None:
        """Read what an earlier run left, and begin to write; a file that cannot be had is logged, not raised."""
        self._log = log
        self._path = state_dir / RISK_FILE
        self._newest: RiskMemory | None = None
        self._wake = threading.Condition()
        self._ending = False
        self._failing = False
        self._seq, self.memory, self.damaged = 0, NOTHING_LOST, False
        self._descriptor = self._open()
        self._writer = threading.Thread(target=self._run, name="risk-memory", daemon=True)
        self._writer.start()

    def save(self, memory: RiskMemory) -> None:
        """Have a state written soon; one that waits already is replaced."""
        with self._wake:
            self._newest = memory
            self._wake.notify()

    def close(self) -> None:
        """Write what waits, within WRITER_CLOSE_S_MAX."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        self._writer.join(WRITER_CLOSE_S_MAX)
        if self._descriptor is not None and not self._writer.is_alive():
            os.close(self._descriptor)

    def _open(self) -> int | None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            held = os.pread(descriptor, 2 * SLOT_BYTES, 0)
            os.posix_fallocate(descriptor, 0, 2 * SLOT_BYTES)
        except OSError as error:
            self._log.event("RISK_MEMORY_FAILED", why=str(error))
            # Nobody knows what an earlier run lost.
            self.damaged = True
            return None
        found = [slot for slot in map(_decode, (held[:SLOT_BYTES], held[SLOT_BYTES:])) if slot is not None]
        if found:
            newest = max(found, key=lambda slot: slot.seq)
            self._seq, self.memory = newest.seq, newest.memory
        self.damaged = not found and bool(held.strip(b"\0"))
        return descriptor

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._newest is not None or self._ending)
                memory, self._newest = self._newest, None
            if memory is None:
                return
            if self._descriptor is not None and not self._write(self._descriptor, memory):
                self._again(memory)

    def _again(self, memory: RiskMemory) -> None:
        """Have a state that was not written written later, where no newer one waits."""
        with self._wake:
            if self._newest is None and not self._ending:
                self._wake.wait(RETRY_S)
                self._newest = memory if self._newest is None else self._newest

    def _write(self, descriptor: int, memory: RiskMemory) -> bool:
        """Write a state, and tell whether it is on the disk; one that is not leaves the other slot alone."""
        seq = self._seq + 1
        try:
            os.pwrite(descriptor, _encode(_Slot(seq, memory)), seq % 2 * SLOT_BYTES)
            os.fdatasync(descriptor)
        except OSError as error:
            if not self._failing:
                self._log.event("RISK_MEMORY_FAILED", why=str(error))
            self._failing = True
            return False
        self._seq, self._failing = seq, False
        return True


def _encode(slot: _Slot) -> bytes:
    """Return a slot: checksum in hexadecimal, JSON, blanks up to its size."""
    data = msgspec.json.encode(slot)
    assert _CRC_CHARS + 2 + len(data) <= SLOT_BYTES
    return (f"{zlib.crc32(data):08x} ".encode() + data).ljust(SLOT_BYTES - 1) + b"\n"


def _decode(raw: bytes) -> _Slot | None:
    crc, _, data = raw.rstrip().partition(b" ")
    if len(crc) != _CRC_CHARS or crc != f"{zlib.crc32(data):08x}".encode():
        return None
    try:
        return msgspec.json.decode(data, type=_Slot)
    except msgspec.MsgspecError:
        return None

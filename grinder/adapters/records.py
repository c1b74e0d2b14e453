"""Records in shared memory: two versioned slots each, one writer, any number of readers, no lock.

A writer killed in the middle leaves one slot torn and the other whole, so a reader never waits and never sees a mix.
"""

from __future__ import annotations

import zlib
from typing import Final

from grinder.model.limits import BOARD_READ_TRIES_MAX, BOARD_RECORD_BYTES_MAX

_HEAD_CELLS: Final = 4
_VERSION, _LENGTH, _CRC = 0, 1, 2
CELL_BYTES: Final = 8
SLOT_BYTES: Final = _HEAD_CELLS * CELL_BYTES + BOARD_RECORD_BYTES_MAX
RECORD_BYTES: Final = 2 * SLOT_BYTES

assert SLOT_BYTES % 64 == 0
assert BOARD_RECORD_BYTES_MAX % CELL_BYTES == 0


class Record:
    """One record. ``memory``: the RECORD_BYTES of it, aligned to eight bytes.

    Invariant: the version of a slot is not zero only while its length, checksum and bytes belong together, and it is
    stored last; versions grow, odd and even ones in different slots.
    """

    def __init__(self, memory: memoryview) -> None:
        assert len(memory) == RECORD_BYTES
        slots = (memory[:SLOT_BYTES], memory[SLOT_BYTES:])
        self._heads = tuple(slot[: _HEAD_CELLS * CELL_BYTES].cast("q") for slot in slots)
        self._bodies = tuple(slot[_HEAD_CELLS * CELL_BYTES :] for slot in slots)

    def write(self, data: bytes) -> None:
        """Publish ``data`` (BOARD_RECORD_BYTES_MAX at most, asserted); the single writer only."""
        length = len(data)
        assert length <= BOARD_RECORD_BYTES_MAX
        heads = self._heads
        version = max(heads[0][_VERSION], heads[1][_VERSION]) + 1
        slot = version & 1
        head = heads[slot]
        # Taken back first: a reader or a kill in the middle then finds the other slot, which is whole.
        head[_VERSION] = 0
        self._bodies[slot][:length] = data
        head[_LENGTH] = length
        head[_CRC] = _checksum(data, version)
        head[_VERSION] = version

    def version(self) -> int:
        """Return the version of the newest whole slot, 0 if there is none; the same version is the same bytes."""
        return max(self._heads[0][_VERSION], self._heads[1][_VERSION])

    def read(self) -> bytes | None:
        """Return the newest whole record, or None if there is none within BOARD_READ_TRIES_MAX tries."""
        for _ in range(BOARD_READ_TRIES_MAX):
            versions = (self._heads[0][_VERSION], self._heads[1][_VERSION])
            slot = 0 if versions[0] > versions[1] else 1
            version = versions[slot]
            if version == 0:
                continue
            head = self._heads[slot]
            length = head[_LENGTH]
            if not 0 <= length <= BOARD_RECORD_BYTES_MAX:
                continue
            data = bytes(self._bodies[slot][:length])
            checksum = head[_CRC]
            if head[_VERSION] == version and checksum == _checksum(data, version):
                return data
        return None

    def release(self) -> None:
        """Give the memory back, so that its map can be closed."""
        for view in (*self._heads, *self._bodies):
            view.release()


def _checksum(data: bytes, version: int) -> int:
    """CRC32 over the bytes, started from the version, so that bytes of another version do not pass."""
    return zlib.crc32(data, version & 0xFFFF_FFFF)

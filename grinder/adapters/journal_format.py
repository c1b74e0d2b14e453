"""The bytes of a journal file: a header, frames with a CRC each, zeros after the last. Pure: bytes in, values out.

Records are numbered from one in each file, and a file's number is never given again. A frame's CRC covers its place
(file number and offset) and its number, so that bytes of another place, an old file or inside a record never pass for
a record. Must never take damage for the end while a whole frame follows.
"""

from __future__ import annotations

import re
import struct
import zlib
from enum import IntEnum
from typing import Final

import msgspec

FORMAT: Final = 2
"""Format that this version writes and reads."""

MAGIC: Final = b"GRNDJRNL"
MARKER: Final = b"\xf5\xa7\x1dG"
HEADER_BYTES: Final = 64
RECORD_BYTES_MAX: Final = 1 << 16

_HEADER: Final = struct.Struct("<8sIIQQQ20xI")
_FRAME: Final = struct.Struct("<4sIQI")
_PLACE: Final = struct.Struct("<QQQI")
FIRST_SEQUENCE: Final = 1
FRAME_BYTES_MIN: Final = _FRAME.size + 1
_NAME: Final = re.compile(r"^journal-([0-9]{10})\.log$")

assert _HEADER.size == HEADER_BYTES


class Kind(IntEnum):
    """What a file holds: records as they were appended, all that earlier files still say, or nothing yet."""

    LOG = 1
    CHECKPOINT = 2
    SPARE = 3


class Header(msgspec.Struct, frozen=True):
    """``records``: how many a checkpoint holds, else 0. ``size_bytes``: as prepared; a shorter file was cut."""

    kind: Kind
    number: int
    records: int = 0
    size_bytes: int = 0


class Scan(msgspec.Struct, frozen=True):
    """What a file holds.

    ``records``: start and end of each whole record, in order. ``end``: offset behind the last whole frame.
    ``next_sequence``: of the next record. ``lost``: records that damage between whole ones has taken, or that a
    checkpoint lacks. ``torn_bytes``: bytes behind the last whole frame that are cut off, or not zero and of no frame.
    ``header_damaged``: its header had to be guessed from its name.
    """

    header: Header
    records: tuple[tuple[int, int], ...]
    end: int
    next_sequence: int
    lost: int
    torn_bytes: int
    header_damaged: bool

    @property
    def unused(self) -> bool:
        """Tell whether it was prepared and never used."""
        return self.header.kind is Kind.SPARE and not self.records and not self.torn_bytes

    @property
    def damaged(self) -> bool:
        """Tell whether anything is not as it was written."""
        return bool(self.lost or self.torn_bytes or self.header_damaged)


def name_of(number: int) -> str:
    """Return the file name of a file's number."""
    return f"journal-{number:010d}.log"


def number_of(name: str) -> int | None:
    """Return the number in a file's name, or None if it is no name of ours."""
    match = _NAME.match(name)
    return int(match[1]) if match else None


def header_bytes(header: Header) -> bytes:
    """Return a file's header; the magic is not under its CRC, so that either of the two survives one bad byte."""
    fields = (MAGIC, FORMAT, header.kind, header.number, header.records, header.size_bytes)
    whole = _HEADER.pack(*fields, 0)
    return _HEADER.pack(*fields, zlib.crc32(whole[len(MAGIC) : -4]))


def frame_bytes(record: bytes, number: int, offset: int, sequence: int) -> bytes:
    """Return the frame of a record at its place. ``record``: 1 to RECORD_BYTES_MAX bytes, asserted."""
    length = len(record)
    assert 0 < length <= RECORD_BYTES_MAX
    return _FRAME.pack(MARKER, length, sequence, _checksum(record, number, offset, sequence)) + record


def scan(data: bytes, name_number: int) -> Scan | str:
    """Return what a file holds, or why it is none of this format.

    ``name_number``: the number in its name. A header that cannot be trusted is replaced by what the name says.
    """
    header, foreign, other = _header(data, name_number)
    if other:
        return other
    spans, end, next_sequence = _frames(data, name_number)
    lost = next_sequence - FIRST_SEQUENCE - len(spans)
    if foreign and not spans:
        return "it does not begin like one"
    torn = len(data[max(end, HEADER_BYTES) :].rstrip(b"\0"))
    if header is None:
        kind = Kind.SPARE if _blank(data) else Kind.LOG
        return Scan(Header(kind, name_number), spans, end, next_sequence, lost, torn, kind is Kind.LOG)
    torn += max(0, header.size_bytes - len(data))
    lost += max(0, header.records - lost - len(spans)) if header.kind is Kind.CHECKPOINT else 0
    return Scan(header, spans, end, next_sequence, lost, torn, False)


def _header(data: bytes, name_number: int) -> tuple[Header | None, bool, str]:
    """Return the header if it is whole, whether nothing of it is ours, and what else than ours it surely is."""
    if len(data) < HEADER_BYTES:
        return None, not _blank(data) and not MAGIC.startswith(data[: len(MAGIC)]), ""
    magic, version, kind, number, records, size_bytes, checksum = _HEADER.unpack_from(data)
    if zlib.crc32(data[len(MAGIC) : HEADER_BYTES - 4]) != checksum:
        return None, magic != MAGIC and not _blank(data[:HEADER_BYTES]), ""
    if version != FORMAT:
        return None, False, f"it has format {version}, this version reads format {FORMAT}"
    if kind not in tuple(Kind) or number != name_number:
        return None, False, f"its header says that it is file {number}, of kind {kind}"
    return Header(Kind(kind), number, records, size_bytes), False, ""


def _blank(data: bytes) -> bool:
    """Tell whether there is nothing in a file: its making was cut short."""
    return not data.rstrip(b"\0")


def _frames(data: bytes, number: int) -> tuple[tuple[tuple[int, int], ...], int, int]:
    """Return the records' spans, the end of the last whole frame, and the next sequence number."""
    spans: list[tuple[int, int]] = []
    end, expected = HEADER_BYTES, FIRST_SEQUENCE
    while (found := _next_frame(data, number, end, expected)) is not None:
        start, end, sequence = found
        spans.append((start, end))
        expected = sequence + 1
    return tuple(spans), end, expected


def _next_frame(data: bytes, number: int, offset: int, expected: int) -> tuple[int, int, int] | None:
    """Return the first whole frame from ``offset`` on: its record's start and end, and its sequence number.

    Invariant: a sequence number never goes back, nor further on than records fit into the bytes that were skipped.
    """
    at = offset
    while (at := data.find(MARKER, at)) >= 0 and at + FRAME_BYTES_MIN <= len(data):
        _, length, sequence, checksum = _FRAME.unpack_from(data, at)
        start = at + _FRAME.size
        end = start + length
        room = (at - offset) // FRAME_BYTES_MIN
        fits = 0 < length <= RECORD_BYTES_MAX and end <= len(data)
        fits = fits and expected <= sequence <= expected + room
        if fits and _checksum(data[start:end], number, at, sequence) == checksum:
            return start, end, sequence
        at += 1
    return None


def _checksum(record: bytes, number: int, offset: int, sequence: int) -> int:
    return zlib.crc32(record, zlib.crc32(_PLACE.pack(number, offset, sequence, len(record))))

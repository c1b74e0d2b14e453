"""Whatever happens to the bytes of a journal: intact records are kept, none is invented, no number is given twice.

Invariant: what is replayed is what was written, less what the damage touched, in order; what is missing is reported.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal, JournalFormatError
from grinder.adapters.journal_format import HEADER_BYTES, MARKER, Header, Kind, Scan, frame_bytes, header_bytes, scan
from grinder.settings import JournalSync

NUMBER = 3
SIZE = 4_096
records = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=60),
        # Records that look like the journal's own bytes, of another place: one forged for its own would pass.
        st.builds(
            lambda text, offset, sequence: frame_bytes(text, NUMBER, offset, sequence),
            st.binary(min_size=1, max_size=9),
            st.integers(SIZE, SIZE + 600),
            st.integers(1, 12),
        ),
        st.just(MARKER * 4),
    ),
    max_size=12,
)


class Written:
    """A file's bytes, and where each record's frame lies in them."""

    def __init__(self, contents: list[bytes], kind: Kind = Kind.LOG, number: int = NUMBER) -> None:
        count = len(contents) if kind is Kind.CHECKPOINT else 0
        size = 0 if kind is Kind.CHECKPOINT else SIZE
        data = bytearray(header_bytes(Header(kind, number, count, size)))
        self.records = contents
        self.spans = []
        for index, record in enumerate(contents):
            frame = frame_bytes(record, number, len(data), index + 1)
            self.spans.append((len(data), len(data) + len(frame)))
            data += frame
        self.used = len(data)
        data += bytes(max(0, size - len(data)))
        self.data = bytes(data)

    def untouched(self, low: int, high: int) -> list[bytes]:
        """Return the records whose frames have no byte from ``low`` to before ``high``."""
        pairs = zip(self.records, self.spans, strict=True)
        return [record for record, (start, end) in pairs if end <= low or start >= high]


def read(data: bytes) -> tuple[Scan, list[bytes]]:
    found = scan(data, NUMBER)
    assert isinstance(found, Scan)
    return found, [data[start:end] for start, end in found.records]


@given(records, st.sampled_from([Kind.LOG, Kind.CHECKPOINT]), st.data())
def test_file_when_any_byte_is_wrong_then_only_its_record_is_lost_and_that_is_told(
    contents: list[bytes], kind: Kind, data: st.DataObject
) -> None:
    written = Written(contents, kind)
    at = data.draw(st.integers(0, len(written.data) - 1))
    damaged = bytearray(written.data)
    damaged[at] ^= data.draw(st.integers(1, 255))
    found, kept = read(bytes(damaged))
    assert kept == written.untouched(at, at + 1)
    assert found.damaged == (at >= 8)


@given(records, st.sampled_from([Kind.LOG, Kind.CHECKPOINT]), st.data())
def test_file_when_cut_anywhere_then_what_is_before_is_kept_and_the_cut_is_told(
    contents: list[bytes], kind: Kind, data: st.DataObject
) -> None:
    written = Written(contents, kind)
    at = data.draw(st.integers(0, len(written.data)))
    found, kept = read(written.data[:at])
    assert kept == written.untouched(at, len(written.data))
    if at == 0:
        assert found.unused
    else:
        assert found.damaged == (at < len(written.data))


@given(records, st.binary(max_size=300), st.data())
def test_file_when_a_stretch_is_overwritten_then_every_record_beside_it_is_kept_and_none_invented(
    contents: list[bytes], junk: bytes, data: st.DataObject
) -> None:
    written = Written(contents)
    at = data.draw(st.integers(HEADER_BYTES, written.used))
    damaged = written.data[:at] + junk + written.data[at + len(junk) :]
    found, kept = read(damaged)
    assert kept == (contents if damaged == written.data else written.untouched(at, at + len(junk)))
    lost = len(contents) - len(kept)
    if not lost or at + len(junk) <= written.spans[-1][0]:
        assert found.lost == lost
    # Zeros over the very last records look as if those had never been written.
    assert not lost or found.damaged or not any(junk)


@given(records, records)
def test_file_when_an_older_file_shows_through_then_none_of_its_records_comes_back(
    contents: list[bytes], older: list[bytes]
) -> None:
    new, old = Written(contents), Written(older, number=NUMBER - 1)
    _, kept = read(new.data[: new.used] + old.data[new.used :])
    assert kept == contents


@given(st.binary(max_size=400))
def test_file_when_it_is_anything_then_read_or_refused_and_no_record_invented(data: bytes) -> None:
    found = scan(data, NUMBER)
    assert isinstance(found, str) or found.records == ()


def sequences(directory: Path) -> list[tuple[int, int]]:
    """Return file and number of every whole record on the disk."""
    numbers = []
    for path in sorted(directory.glob("*journal-*.log")):
        data = path.read_bytes()
        file = int(path.stem.rpartition("-")[2])
        found = scan(data, file)
        assert isinstance(found, Scan)
        numbers += [(file, struct.unpack_from("<Q", data, start - 12)[0]) for start, _ in found.records]
    return numbers


def append_some(directory: Path, contents: list[bytes]) -> list[bytes]:
    """Open the journal, append, and return what it replays."""
    journal = FileJournal(directory, JournalSync.NONE, SEGMENT_BYTES_MIN)
    try:
        assert all(journal.append(record) for record in contents)
        return list(journal.replay())
    finally:
        journal.close()


@settings(max_examples=10, phases=[Phase.generate])
@given(
    st.lists(
        st.tuples(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), st.booleans(), st.data()),
        min_size=2,
        max_size=4,
    )
)
def test_journal_when_damaged_between_runs_then_goes_on_and_never_gives_a_number_twice(
    runs: list[tuple[list[bytes], bool, st.DataObject]],
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name) / "journal"
        ever: list[bytes] = []
        given_numbers: set[tuple[int, int]] = set()
        for contents, cut, data in runs:
            before = sequences(directory)
            ever += contents
            replayed = append_some(directory, contents)
            assert replayed[-len(contents) :] == contents
            remaining = iter(ever)
            assert all(record in remaining for record in replayed), "out of order or invented"
            new = set(sequences(directory)) - set(before)
            assert len(new) == len(contents)
            assert not new & given_numbers
            given_numbers |= new
            path = data.draw(st.sampled_from(sorted(directory.glob("journal-*.log"))))
            used = len(path.read_bytes().rstrip(b"\0"))
            # A header that is damaged twice is refused as foreign.
            at = data.draw(st.integers(min(used - 1, HEADER_BYTES), used - 1))
            damaged = bytearray(path.read_bytes())
            if cut:
                del damaged[at:]
            else:
                damaged[at] ^= data.draw(st.integers(1, 255))
            path.write_bytes(damaged)


def test_journal_when_its_format_is_newer_then_no_damage_makes_it_pass_for_ours() -> None:
    newer = bytearray(header_bytes(Header(Kind.LOG, NUMBER)))
    newer[8] = 9
    newer[60:64] = zlib.crc32(bytes(newer[8:60])).to_bytes(4, "little")
    assert "format 9" in str(scan(bytes(newer), NUMBER))
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        (Path(name) / "journal-0000000003.log").write_bytes(newer)
        with pytest.raises(JournalFormatError, match="format 9"):
            FileJournal(Path(name), JournalSync.NONE, SEGMENT_BYTES_MIN)

"""The journal on a real disk: torn tails, damage, syncs that fail, checkpoints, and a writer that is killed."""

from __future__ import annotations

import errno
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from grinder.adapters.journal import (
    RECORD_BYTES_MAX,
    SEGMENT_BYTES_MIN,
    FileJournal,
    JournalError,
    JournalFormatError,
)
from grinder.adapters.journal_files import create_spare, read_records
from grinder.adapters.journal_format import HEADER_BYTES, Header, Kind, frame_bytes, header_bytes, name_of, scan
from grinder.settings import JournalSync
from tests.journals import BOUND_S, fill_until_due, opened, until

KILLS = 5
WRITER = """
import os, sys
from pathlib import Path
from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal
from grinder.settings import JournalSync
journal = FileJournal(Path(sys.argv[1]), JournalSync(sys.argv[2]), SEGMENT_BYTES_MIN)
number = max((int.from_bytes(record[:8], "little") for record in journal.replay()), default=0)
while True:
    number += 1
    if not journal.append(number.to_bytes(8, "little") + bytes(number % 200)):
        os._exit(3)
    os.write(1, number.to_bytes(8, "little"))
    if journal.wants_checkpoint:
        journal.checkpoint([number.to_bytes(8, "little")])
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory(dir="/tmp") as name:
        yield Path(name) / "journal"


def the_log(directory: Path) -> Path:
    """Return the one file that holds records."""
    (path,) = (path for path in directory.glob("journal-*.log") if _kind(path) is Kind.LOG)
    return path


def _kind(path: Path) -> Kind:
    found = scan(path.read_bytes(), int(path.stem.partition("-")[2]))
    assert not isinstance(found, str)
    return found.header.kind


@pytest.mark.parametrize("sync", JournalSync)
def test_journal_when_opened_again_then_every_record_is_there_in_order(directory: Path, sync: JournalSync) -> None:
    records = [bytes([number]) * (number + 1) for number in range(50)]
    with opened(directory, sync) as first:
        assert all(first.append(record) for record in records[:25])
    assert not first.append(b"late")
    with opened(directory, sync) as second:
        assert list(second.replay()) == records[:25]
        assert all(second.append(record) for record in records[25:])
        assert list(second.replay()) == records
        assert second.loss.files == ()
    assert list(read_records(directory)) == records


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage"])
def test_journal_when_its_tail_is_torn_then_left_as_it_is_and_gone_on_behind(directory: Path, damage: str) -> None:
    with opened(directory) as first:
        first.append(b"one")
        first.append(b"two" * 10)
    path = the_log(directory)
    data = bytearray(path.read_bytes())
    last = len(data.rstrip(b"\0"))
    if damage == "cut":
        data[last - 5 :] = bytes(len(data) - last + 5)
    elif damage == "flip":
        data[last - 5] ^= 1
    else:
        data[last : last + 100] = b"x" * 100
    path.write_bytes(data)
    kept = [b"one"] if damage != "garbage" else [b"one", b"two" * 10]
    with opened(directory) as second:
        assert second.loss.files == (path.name,)
        assert second.loss.torn_bytes > 0
        assert list(second.replay()) == kept
        assert second.append(b"three")
        assert list(second.replay()) == [*kept, b"three"]
        assert path.read_bytes() == data
        until(lambda: second.wants_checkpoint)
        assert second.checkpoint([b"all"])
        until(lambda: second.health.checkpoints == 1)
    assert (directory / f"damaged-{path.name}").read_bytes() == data
    with opened(directory) as third:
        assert third.loss.files == ()
        assert list(third.replay()) == [b"all"]


def test_journal_when_damaged_in_the_middle_then_what_follows_is_kept_and_the_loss_reported(directory: Path) -> None:
    with opened(directory) as first:
        for record in (b"one", b"two", b"six", b"ten"):
            first.append(record)
    path = the_log(directory)
    data = bytearray(path.read_bytes())
    frame = 20 + 3
    data[HEADER_BYTES + frame : HEADER_BYTES + 3 * frame] = os.urandom(2 * frame)
    path.write_bytes(data)
    with opened(directory) as second:
        assert (second.loss.lost_records, second.loss.torn_bytes, second.loss.files) == (2, 0, (path.name,))
        assert second.append(b"new")
        assert list(second.replay()) == [b"one", b"ten", b"new"]
    with opened(directory) as third:
        assert third.loss.lost_records == 2


def test_journal_when_a_record_holds_the_bytes_of_frames_then_none_of_them_passes_for_a_record(directory: Path) -> None:
    inner = frame_bytes(b"never", 1, HEADER_BYTES + 20, 2)
    with opened(directory) as first:
        first.append(inner * 3)
        first.append(b"true")
    path = the_log(directory)
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 8] ^= 0xFF
    path.write_bytes(data)
    with opened(directory) as second:
        # The first of the three is at the very place that it names: only its number gives it away.
        assert list(second.replay()) == [b"true"]
        assert second.loss.lost_records == 1


def test_journal_when_a_file_is_of_a_newer_format_then_refused_and_untouched(directory: Path) -> None:
    with opened(directory) as first:
        first.append(b"one")
    path = the_log(directory)
    data = bytearray(path.read_bytes())
    data[8:12] = struct.pack("<I", 3)
    data[60:64] = struct.pack("<I", zlib.crc32(bytes(data[8:60])))
    path.write_bytes(data)
    before = sorted(item.name for item in directory.iterdir())
    with pytest.raises(JournalFormatError, match=r"format 3, this version reads format 2.*Nothing was changed"):
        FileJournal(directory, JournalSync.NONE, SEGMENT_BYTES_MIN)
    assert path.read_bytes() == data
    assert sorted(item.name for item in directory.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (name_of(1), b"\x03\0\0\0\x12\x34\x56\x78one" + bytes(1_000)),
        (name_of(1), b"SQLite format 3\0" + bytes(84)),
        (name_of(1), b"short"),
        ("journal-old.log", b""),
        (name_of(2), header_bytes(Header(Kind.LOG, 1))),
    ],
)
def test_journal_when_a_file_is_foreign_then_refused_and_untouched(directory: Path, name: str, content: bytes) -> None:
    directory.mkdir()
    (directory / name).write_bytes(content)
    for _ in range(2):
        with pytest.raises(JournalFormatError, match="Nothing was changed"):
            FileJournal(directory, JournalSync.NONE, SEGMENT_BYTES_MIN)
    assert (directory / name).read_bytes() == content


def test_journal_when_another_has_it_then_refused_with_its_pid(directory: Path) -> None:
    with opened(directory), pytest.raises(JournalError, match=f"pid {os.getpid()}"):
        FileJournal(directory, JournalSync.NONE, SEGMENT_BYTES_MIN)
    with opened(directory) as second:
        assert second.append(b"free again")


def test_journal_when_a_write_fails_then_false_and_earlier_records_stay(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(directory) as journal:
        assert journal.append(b"one")
        until(lambda: journal.health.size_bytes > 0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", lambda descriptor, data, offset: len(data) - 1)
            assert not journal.append(b"short")
            assert "cannot be written" in journal.health.trouble
            assert journal.wants_checkpoint
        assert journal.append(b"two")
        assert journal.health.trouble == ""
        assert list(journal.replay()) == [b"one", b"two"]
        assert not journal.append(b"")
        assert not journal.append(bytes(RECORD_BYTES_MAX + 1))


@pytest.mark.parametrize("sync", [JournalSync.GROUP, JournalSync.EACH])
def test_journal_when_a_sync_fails_then_nothing_is_taken_until_a_new_file_holds_everything(
    directory: Path, sync: JournalSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(directory, sync) as journal:
        until(lambda: journal.health.size_bytes > 0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            journal.append(b"one")
            until(lambda: bool(journal.health.trouble))
            assert "Input/output error" in journal.health.trouble
            assert not journal.append(b"two")
            assert journal.wants_checkpoint
            assert journal.checkpoint([b"kept"])
            until(lambda: "checkpoint" in journal.health.warning)
            assert not journal.append(b"two")
        until(lambda: journal.wants_checkpoint)
        assert journal.checkpoint([b"kept"])
        until(lambda: journal.health.checkpoints == 1)
        assert (journal.health.trouble, journal.health.warning) == ("", "")
        assert journal.append(b"two")
        assert list(journal.replay()) == [b"kept", b"two"]


def test_journal_when_the_new_file_fails_while_the_checkpoint_is_written_then_trouble_stays(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow() -> Iterator[bytes]:
        assert go_on.wait(BOUND_S)
        yield b"carried"

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(directory, JournalSync.EACH) as journal:
        fill_until_due(journal)
        assert journal.checkpoint(slow())
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            assert not journal.append(b"lost")
        go_on.set()
        until(lambda: journal.health.checkpoints == 1)
        assert not journal.append(b"still")
        until(lambda: journal.wants_checkpoint)
        assert journal.checkpoint([b"all"])
        until(lambda: journal.health.checkpoints == 2)
        assert journal.append(b"well")


def test_checkpoint_when_written_then_only_its_records_remain(directory: Path) -> None:
    with opened(directory, JournalSync.GROUP) as journal:
        fill_until_due(journal)
        assert journal.checkpoint(iter([b"kept", b"too"]))
        assert journal.append(b"new")
        until(lambda: journal.health.checkpoints == 1)
        assert not journal.wants_checkpoint
        assert list(journal.replay()) == [b"kept", b"too", b"new"]
    with opened(directory) as again:
        assert list(again.replay()) == [b"kept", b"too", b"new"]
        assert again.loss.files == ()
        # Lock, checkpoint, current file, prepared file.
        until(lambda: len(list(directory.iterdir())) == 4)


def test_checkpoint_when_its_records_are_slow_to_come_then_records_are_taken_meanwhile(directory: Path) -> None:
    go_on = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"first"
        assert go_on.wait(BOUND_S)
        yield b"second"

    with opened(directory) as journal:
        old = fill_until_due(journal)
        assert journal.checkpoint(slow())
        assert journal.append(b"meanwhile")
        assert not journal.checkpoint([b"another"])
        assert list(journal.replay()) == [*old, b"meanwhile"]
        go_on.set()
        until(lambda: journal.health.checkpoints == 1)
        assert list(journal.replay()) == [b"first", b"second", b"meanwhile"]


def test_checkpoint_when_killed_before_it_is_written_then_all_older_records_are_in_force(directory: Path) -> None:
    with opened(directory) as journal:
        old = fill_until_due(journal)
    number = int(the_log(directory).stem.partition("-")[2])
    (directory / f"{name_of(number + 1)}.new").write_bytes(b"half a checkpoint")
    for path in directory.glob("journal-*.log"):
        if _kind(path) is Kind.SPARE:
            path.unlink()
    os.close(create_spare(directory, number + 2, SEGMENT_BYTES_MIN))
    with (directory / name_of(number + 2)).open("r+b") as later:
        later.write(header_bytes(Header(Kind.LOG, number + 2)) + frame_bytes(b"later", number + 2, 64, 1))
    with opened(directory) as again:
        assert list(again.replay()) == [*old, b"later"]
        assert again.loss.files == ()
        until(lambda: again.wants_checkpoint)


def test_journal_when_its_directory_cannot_be_made_then_an_error_that_says_so(directory: Path) -> None:
    directory.write_text("in the way")
    with pytest.raises(JournalError, match="cannot be used"):
        FileJournal(directory, JournalSync.NONE, SEGMENT_BYTES_MIN)


@pytest.mark.parametrize("sync", JournalSync)
def test_journal_when_its_writer_is_killed_then_nothing_torn_and_nothing_sent_that_is_not_there(
    directory: Path, sync: JournalSync
) -> None:
    chance = random.Random(7)
    sent = 0
    for _ in range(KILLS):
        arguments = [sys.executable, "-c", WRITER, str(directory), sync.value]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 3_000)):
                assert len(writer.stdout.read(8)) == 8
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read()
            if len(rest) >= 8:
                sent = int.from_bytes(rest[: len(rest) // 8 * 8][-8:], "little")
        with opened(directory) as journal:
            numbers = [int.from_bytes(record[:8], "little") for record in journal.replay()]
            assert (journal.loss.lost_records, journal.loss.torn_bytes, journal.loss.files) == (0, 0, ())
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[-1] >= sent

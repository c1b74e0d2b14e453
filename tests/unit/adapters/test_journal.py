"""The journal on a real disk: torn tails, full disks, checkpoints, and a writer that is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from grinder.adapters import journal as module
from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal, JournalError
from grinder.settings import JournalSync

KILLS = 8
WRITER = """
import os, sys
from pathlib import Path
from grinder.adapters.journal import FileJournal
from grinder.settings import JournalSync
journal = FileJournal(Path(sys.argv[1]), JournalSync.GROUP)
number = sum(1 for _ in journal.replay())
while True:
    number += 1
    if not journal.append(number.to_bytes(8, "little") + bytes(number % 200)):
        os._exit(3)
    os.write(1, number.to_bytes(8, "little"))
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory(dir="/tmp") as name:
        yield Path(name) / "journal"


def opened(directory: Path, sync: JournalSync = JournalSync.NONE) -> FileJournal:
    return FileJournal(directory, sync, SEGMENT_BYTES_MIN)


@pytest.mark.parametrize("sync", JournalSync)
def test_journal_when_opened_again_then_every_record_is_there_in_order(directory: Path, sync: JournalSync) -> None:
    first = opened(directory, sync)
    records = [bytes([number]) * (number + 1) for number in range(50)]
    assert all(first.append(record) for record in records[:25])
    first.close()
    assert not first.append(b"late")
    second = opened(directory, sync)
    assert all(second.append(record) for record in records[25:])
    assert list(second.replay()) == records
    second.close()


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage"])
def test_journal_when_its_tail_is_torn_then_cut_and_written_over(directory: Path, damage: str) -> None:
    first = opened(directory)
    first.append(b"one")
    first.append(b"two" * 10)
    first.close()
    (path,) = directory.glob("journal-*.log")
    data = bytearray(path.read_bytes())
    last = 8 + 3 + 8 + 30
    if damage == "cut":
        data[last - 5 :] = bytes(len(data) - last + 5)
    elif damage == "flip":
        data[last - 5] ^= 1
    else:
        data[last : last + 100] = os.urandom(100)
    path.write_bytes(data)
    second = opened(directory)
    kept = [b"one"] if damage != "garbage" else [b"one", b"two" * 10]
    assert list(second.replay()) == kept
    assert second.append(b"three")
    assert list(second.replay()) == [*kept, b"three"]
    second.close()


def test_journal_when_cut_in_the_middle_then_what_followed_never_comes_back(directory: Path) -> None:
    first = opened(directory)
    for record in (b"one", b"two", b"six"):
        first.append(record)
    first.close()
    (path,) = directory.glob("journal-*.log")
    data = bytearray(path.read_bytes())
    data[11 + 8] ^= 1
    path.write_bytes(data)
    second = opened(directory)
    assert second.append(b"new")
    assert list(second.replay()) == [b"one", b"new"]
    second.close()


def test_journal_when_a_write_fails_then_false_and_earlier_records_stay(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(directory)
    assert journal.append(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "pwrite", lambda descriptor, data, offset: len(data) - 1)
        assert not journal.append(b"short")
    assert journal.append(b"two")
    assert list(journal.replay()) == [b"one", b"two"]
    assert not journal.append(b"")
    assert not journal.append(bytes(module.RECORD_BYTES_MAX + 1))
    journal.close()


def test_journal_when_the_disk_is_full_then_refused_and_not_torn(directory: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from grinder.adapters.journal import FileJournal, SEGMENT_BYTES_MIN
from grinder.settings import JournalSync
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (SEGMENT_BYTES_MIN + 1000, SEGMENT_BYTES_MIN + 1000))
journal = FileJournal(Path(sys.argv[1]), JournalSync.GROUP, SEGMENT_BYTES_MIN)
count = 0
while journal.append(b"x" * 1000):
    count += 1
assert not journal.append(b"x" * 1000)
print(count)
"""
    done = subprocess.run([sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=True)
    journal = opened(directory)
    assert len(list(journal.replay())) == int(done.stdout)
    journal.close()


def test_checkpoint_when_written_then_only_its_records_remain(directory: Path) -> None:
    journal = opened(directory)
    while not journal.wants_checkpoint:
        assert journal.append(b"x" * 5_000)
    assert journal.checkpoint([b"kept"])
    assert not journal.wants_checkpoint
    assert journal.append(b"new")
    assert list(journal.replay()) == [b"kept", b"new"]
    journal.close()
    again = opened(directory)
    assert list(again.replay()) == [b"kept", b"new"]
    assert len(list(directory.iterdir())) == 1
    again.close()


def test_checkpoint_when_it_cannot_be_written_then_the_present_file_goes_on(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    journal = opened(directory)
    assert journal.append(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "posix_fallocate", no_space)
        assert not journal.checkpoint([b"kept"])
    assert journal.append(b"two")
    assert list(journal.replay()) == [b"one", b"two"]
    journal.close()


def test_journal_when_its_directory_cannot_be_made_then_an_error_that_says_so(directory: Path) -> None:
    directory.write_text("in the way")
    with pytest.raises(JournalError, match="cannot be used"):
        opened(directory)


def test_journal_when_its_writer_is_killed_then_nothing_torn_and_nothing_sent_that_is_not_there(
    directory: Path,
) -> None:
    chance = random.Random(7)
    sent = 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 3_000)):
                assert len(writer.stdout.read(8)) == 8
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read()
            if len(rest) >= 8:
                sent = int.from_bytes(rest[: len(rest) // 8 * 8][-8:], "little")
        journal = FileJournal(directory, JournalSync.NONE)
        numbers = [int.from_bytes(record[:8], "little") for record in journal.replay()]
        journal.close()
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= sent

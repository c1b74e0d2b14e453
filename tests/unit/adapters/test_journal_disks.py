"""The journal on a disk that is full, may not grow, or turns read-only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from grinder.adapters.journal import RECORD_BYTES_MAX, SEGMENT_BYTES_MIN, FileJournal, JournalError
from grinder.adapters.journal_files import read_records
from grinder.adapters.journal_format import name_of
from grinder.model.orders import OrderState, Side
from grinder.model.reasons import DenyReason
from grinder.settings import JournalSync
from tests.account_world import ExecutorWorld, order_id
from tests.disks import failing_disk, fill, small_disk
from tests.journals import fill_until_due, fill_until_refused, opened, tear, until

D = Decimal


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory(dir="/tmp") as name:
        yield Path(name) / "journal"


def test_journal_when_a_file_may_not_grow_then_refused_and_not_torn(directory: Path) -> None:
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
print(count, journal.health.trouble)
"""
    done = subprocess.run([sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=True)
    count, trouble = done.stdout.split(maxsplit=1)
    assert trouble
    with opened(directory) as journal:
        assert len(list(journal.replay())) == int(count)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system with room for two prepared files and a bit."""
    with small_disk(2 * SEGMENT_BYTES_MIN + (128 << 10)) as folder:
        yield folder


def test_journal_when_the_disk_is_full_then_prepared_files_still_take_records(disk: Path) -> None:
    with opened(disk / "journal") as journal:
        until(lambda: journal.health.size_bytes > SEGMENT_BYTES_MIN)
        ballast = fill(disk)
        records = fill_until_due(journal)
        assert len(records) > 40
        assert journal.health.trouble == ""
        # The next file was prepared before; the checkpoint itself finds no room, and all older files stay in force.
        assert journal.checkpoint([b"carried"])
        until(lambda: "No space left" in journal.health.warning)
        assert journal.append(b"after")
        assert list(journal.replay()) == [*records, b"after"]
        count = 0
        while journal.append(bytes(1_000)):
            count += 1
        assert count > 100
        assert "No space left" in journal.health.trouble
        ballast.unlink()
        until(lambda: journal.wants_checkpoint)
        assert journal.checkpoint([b"carried"])
        until(lambda: journal.health.checkpoints == 1)
        assert journal.health.trouble == ""
        assert "checkpoint" not in journal.health.warning
        assert journal.append(b"again")
        assert list(journal.replay()) == [b"carried", b"again"]


def test_journal_when_it_starts_on_a_full_disk_then_goes_on_in_its_prepared_file(disk: Path) -> None:
    with opened(disk / "journal") as first:
        assert first.append(b"one")
        until(lambda: first.health.size_bytes > SEGMENT_BYTES_MIN)
    fill(disk)
    with opened(disk / "journal") as second:
        assert second.append(b"two")
        assert list(second.replay()) == [b"one", b"two"]
        assert second.checkpoint([b"both"])
        until(lambda: "No space left" in second.health.warning)
        assert second.append(b"three")
        assert second.health.trouble == ""
        assert list(second.replay()) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("kind", ["memory", "ext4"])
def test_journal_when_the_disk_was_full_for_long_then_the_next_start_goes_on_behind_the_last_record(kind: str) -> None:
    with ExitStack() as stack:
        if kind == "memory":
            disk = stack.enter_context(small_disk(2 * SEGMENT_BYTES_MIN + (128 << 10)))
        else:
            disk = stack.enter_context(failing_disk(8 << 20)).folder
        folder = disk / "journal"
        with opened(folder, JournalSync.GROUP) as first:
            until(lambda: first.health.size_bytes > SEGMENT_BYTES_MIN)
            ballast = fill(disk)
            # A few blocks, for less than a file: what is written grows into them.
            os.truncate(ballast, ballast.stat().st_size - (16 << 10))
            records = fill_until_refused(first)
            assert sum(map(len, records)) > SEGMENT_BYTES_MIN
        for _ in range(2):
            with opened(folder, JournalSync.GROUP) as again:
                assert again.loss.torn_bytes == 0
                assert list(again.replay()) == records
                assert not again.append(bytes(RECORD_BYTES_MAX))
                assert "No space left" in again.health.trouble
        ballast.unlink()
        with opened(folder, JournalSync.GROUP) as last:
            assert last.append(b"room")
            assert list(last.replay()) == [*records, b"room"]
            until(lambda: last.wants_checkpoint)
            assert last.checkpoint([b"all"])
            until(lambda: last.health.checkpoints == 1)
            assert last.loss.files == ()


def test_journal_when_a_longer_record_failed_before_a_shorter_one_then_no_byte_of_it_stays_behind(disk: Path) -> None:
    with opened(disk / "journal") as first:
        until(lambda: first.health.size_bytes > SEGMENT_BYTES_MIN)
        fill(disk)
        while first.append(bytes(4_000)):
            pass
        assert not first.append(b"x" * 4_000)
        assert first.append(b"short")
    with opened(disk / "journal") as second:
        assert second.loss.files == ()
        assert list(second.replay())[-1] == b"short"


def test_journal_when_its_tail_is_torn_on_a_full_disk_then_in_trouble_until_there_is_room(disk: Path) -> None:
    folder = disk / "journal"
    with opened(folder) as first:
        assert first.append(b"one")
        until(lambda: first.health.size_bytes > SEGMENT_BYTES_MIN)
    torn = tear(folder)
    (folder / name_of(torn + 2)).unlink()
    ballast = fill(disk)
    with opened(folder) as second:
        assert second.loss.files == (name_of(torn),)
        assert "No space left" in second.health.trouble
        for _ in range(2):
            assert not second.append(b"two")
            assert "No space left" in second.health.trouble
        assert not second.checkpoint([b"carried"])
        assert list(second.replay()) == [b"one"]
    # Nothing was left behind by that start; the next one finds the same.
    assert [path.name for path in folder.glob("journal-*")] == [name_of(torn)]
    with opened(folder, JournalSync.EACH) as third:
        assert not third.append(b"two")
        ballast.unlink()
        until(lambda: third.wants_checkpoint)
        assert third.checkpoint([b"carried"])
        assert third.append(b"three")
        until(lambda: third.health.checkpoints == 1)
        assert third.health.trouble == ""
        assert list(third.replay()) == [b"carried", b"three"]
    with opened(folder) as fourth:
        assert fourth.loss.files == ()
        assert list(fourth.replay()) == [b"carried", b"three"]


def test_journal_when_its_tail_is_torn_on_a_full_disk_then_the_file_prepared_before_takes_records(disk: Path) -> None:
    folder = disk / "journal"
    with opened(folder) as first:
        assert first.append(b"one")
        until(lambda: first.health.size_bytes > SEGMENT_BYTES_MIN)
    torn = tear(folder)
    fill(disk)
    with opened(folder) as second:
        assert second.append(b"two")
        assert second.health.trouble == ""
    with opened(folder) as third:
        assert third.loss.files == (name_of(torn),)
        assert list(third.replay()) == [b"one", b"two"]
        assert third.append(b"three")


def test_journal_when_its_first_start_finds_a_full_disk_then_in_trouble_until_there_is_room(disk: Path) -> None:
    folder = disk / "journal"
    folder.mkdir()
    (folder / "lock").write_text("1\n")
    ballast = fill(disk)
    with opened(folder) as journal:
        assert not journal.append(b"one")
        assert "No space left" in journal.health.trouble
        ballast.unlink()
        until(lambda: journal.wants_checkpoint)
        assert journal.checkpoint([])
        assert journal.append(b"one")
        assert journal.health.trouble == ""
        assert list(journal.replay()) == [b"one"]


def test_journal_when_the_file_system_turns_read_only_then_trouble_until_it_can_be_written(disk: Path) -> None:
    def remount(mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True, capture_output=True)

    folder = disk / "journal"
    with opened(folder) as first:
        assert first.append(b"one")
    remount("ro")
    try:
        with pytest.raises(JournalError, match="Read-only file system"):
            FileJournal(folder, JournalSync.NONE, SEGMENT_BYTES_MIN)
        assert list(read_records(folder)) == [b"one"]
    finally:
        remount("rw")
    with opened(folder) as second:
        assert second.append(b"two")


@pytest.mark.parametrize("sync", [JournalSync.NONE, JournalSync.EACH])
def test_journal_when_the_file_system_turns_read_only_while_it_runs_then_only_what_protects_leaves(
    sync: JournalSync,
) -> None:
    with failing_disk(8 << 20) as disk:
        folder = disk.folder / "journal"
        with opened(folder, sync) as journal:
            world = ExecutorWorld(journal=journal, exits=False)  # type: ignore[arg-type]  # a real one
            name = world.place(1)
            world.run(100)
            assert world.state(name) is OrderState.OPEN
            disk.fail()
            denied = world.place(2)
            assert world.updates(denied)[-1].reason == DenyReason.JOURNAL_FAILED
            assert "Read-only file system" in world.service.readiness()
            world.cancel(name)
            profit = world.place(3, client_order_id=order_id(3, "t1"), side=Side.SELL, price=D(101), reduce_only=True)
            world.run(100)
            assert world.state(name) is OrderState.CANCELED
            assert world.state(profit) is OrderState.OPEN
        disk.unmount()
        assert disk.mount()
        with opened(folder, sync) as journal:
            again = ExecutorWorld(journal=journal, venue=world.venue, exits=False)  # type: ignore[arg-type]
            again.run(12_000)
            assert again.service.readiness() == ""
            if sync is JournalSync.EACH:
                # Elsewhere what the kernel had not written went with the file system, as with the power.
                assert again.state(name) is OrderState.CANCELED
            assert [each.request.client_order_id for each in again.venue.open_orders()] == [profit]
            assert again.state(profit) is OrderState.OPEN
            assert again.updates(again.place(4))[-1].state is OrderState.PENDING_NEW

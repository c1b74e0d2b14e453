"""What the executor does while its journal cannot take a record, and what it says of damage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec
import pytest

from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal
from grinder.core.ledger import CountedRecord, Record, replay
from grinder.model.journal import JournalLoss
from grinder.model.limits import COUNTED_LATE_AT_ONCE_MAX
from grinder.model.orders import Fill, OrderState
from grinder.model.reasons import DenyReason
from grinder.settings import JournalSync
from tests.account_world import ExecutorWorld, MemoryJournal
from tests.disks import fill, small_disk
from tests.journals import fill_until_refused, opened, tear, until

D = Decimal
BOUND_S = 20.0
_records = msgspec.msgpack.Decoder(Record)


def run_until(world: ExecutorWorld, condition: Callable[[], bool]) -> None:
    """Pass the world's time, and a little of the disk's, until a condition holds."""
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        world.run(100)
        time.sleep(0.005)


def test_executor_when_the_disk_is_full_then_no_new_risk_protective_orders_go_and_it_mends_itself() -> None:
    with small_disk(2 * SEGMENT_BYTES_MIN + (128 << 10)) as disk:
        journal = FileJournal(disk / "journal", JournalSync.GROUP, SEGMENT_BYTES_MIN)
        world = ExecutorWorld(journal=journal)  # type: ignore[arg-type]
        resting, profit = world.place(1), world.place(2, reduce_only=True)
        world.run(200)
        ballast = fill(disk)
        while journal.append(bytes(4_000)):
            pass
        while journal.append(bytes(10)):
            pass
        denied = world.place(3)
        assert world.updates(denied)[-1].reason == DenyReason.JOURNAL_FAILED
        assert denied not in world.venue.orders
        world.run(100)
        assert "No space left on device" in world.service.readiness()
        protective = world.place(4, reduce_only=True)
        world.cancel(resting)
        world.cancel(profit)
        world.run(1_100)
        assert world.state(protective) is OrderState.OPEN
        assert [order.request.client_order_id for order in world.venue.open_orders()] == [protective]
        assert world.telemetry.counts["grinder_journal_failed_total",] >= 4
        assert world.telemetry.gauges["grinder_journal_trouble",] == 1
        ballast.unlink()
        run_until(world, lambda: not world.service.readiness())
        run_until(world, lambda: "JOURNAL_CHECKPOINT" in world.log.names())
        placed = world.place(5)
        world.run(100)
        assert world.state(placed) is OrderState.OPEN
        journal.close()
        # What left without a record is on record now.
        after = FileJournal(disk / "journal", JournalSync.GROUP, SEGMENT_BYTES_MIN)
        names = b"".join(after.replay())
        assert protective.encode() in names
        assert placed.encode() in names
        assert resting.encode() not in names
        after.close()
    assert [name for name in world.log.names() if name.startswith("JOURNAL_")][-2:].count("JOURNAL_CHECKPOINT") >= 1
    assert "JOURNAL_TROUBLE" in world.log.names()
    assert "JOURNAL_WELL_AGAIN" in world.log.names()


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_start_when_the_disk_is_full_then_only_what_protects_leaves_until_there_is_room(torn: bool) -> None:
    with small_disk(2 * SEGMENT_BYTES_MIN + (128 << 10)) as disk:
        with opened(disk / "journal", JournalSync.GROUP) as journal:
            world = ExecutorWorld(journal=journal)  # type: ignore[arg-type]
            resting, profit = world.place(1), world.place(2, reduce_only=True)
            world.run(200)
            until(lambda: journal.health.size_bytes > SEGMENT_BYTES_MIN)
            ballast = fill(disk)
            fill_until_refused(journal)
        if torn:
            tear(disk / "journal")
        with opened(disk / "journal", JournalSync.GROUP) as journal:
            again = ExecutorWorld(journal=journal, venue=world.venue)  # type: ignore[arg-type]
            again.run(12_000)
            assert {again.state(resting), again.state(profit)} == {OrderState.OPEN}
            assert again.updates(again.place(3))[-1].reason == DenyReason.JOURNAL_FAILED
            again.run(100)
            assert "No space left on device" in again.service.readiness()
            protective = again.place(4, reduce_only=True)
            again.cancel(resting)
            again.run(1_100)
            assert again.state(resting) is OrderState.CANCELED
            resting_now = {order.request.client_order_id for order in again.venue.open_orders()}
            assert resting_now == {profit, protective}
            ballast.unlink()
            run_until(again, lambda: "JOURNAL_CHECKPOINT" in again.log.names() and not again.service.readiness())
            placed = again.place(5)
            again.run(100)
            assert again.state(placed) is OrderState.OPEN
        with opened(disk / "journal", JournalSync.GROUP) as journal:
            assert journal.loss.files == ()
            assert set(replay(journal.replay()).orders) == {profit, protective, placed}


class FreshFileJournal(MemoryJournal):
    """A journal whose next file takes records again, and whose checkpoint is not written yet: older records stay."""

    def checkpoint(self, records: Iterable[bytes]) -> bool:
        self.wants_checkpoint = self.full = False
        return True


def fills_of(*worlds: ExecutorWorld) -> list[Decimal]:
    """Return the quantities of all fills told, by one executor after the other."""
    return [frame.qty for world in worlds for frame in world.publisher.frames if isinstance(frame, Fill)]


def counted_in(journal: MemoryJournal) -> int:
    return sum(isinstance(record, CountedRecord) for record in map(_records.decode, journal.records))


@pytest.mark.parametrize("qty", [D("0.4"), D(1)], ids=["rests", "ended"])
@pytest.mark.parametrize("mended_by", ["room", "checkpoint"])
def test_fill_when_the_journal_was_full_then_put_on_record_when_well_and_told_once_over_a_restart(
    qty: Decimal, mended_by: str
) -> None:
    journal = FreshFileJournal()
    first = ExecutorWorld(journal=journal)
    name = first.place(1)
    first.run(100)
    journal.full = True
    first.venue.trade(name, qty)
    first.run(3_000)
    assert fills_of(first) == [qty]
    assert counted_in(journal) == 0
    if mended_by == "room":
        journal.full = False
    else:
        journal.wants_checkpoint = True
    first.run(1_100)
    assert counted_in(journal) == 1
    first.run(3_000)
    assert counted_in(journal) == 1
    second = ExecutorWorld(journal=journal, venue=first.venue)
    second.run(15_000)
    assert second.service.readiness() == ""
    assert fills_of(first, second) == [qty]


def test_fill_when_the_disk_was_full_then_told_once_over_a_restart() -> None:
    with small_disk(2 * SEGMENT_BYTES_MIN + (128 << 10)) as disk:
        with opened(disk / "journal", JournalSync.GROUP) as journal:
            first = ExecutorWorld(journal=journal)  # type: ignore[arg-type]
            names = [first.place(1), first.place(2)]
            first.run(200)
            until(lambda: journal.health.size_bytes > SEGMENT_BYTES_MIN)
            ballast = fill(disk)
            fill_until_refused(journal)
            while journal.append(b"x"):
                pass
            first.venue.trade(names[0], D(1))
            first.venue.trade(names[1], D("0.3"))
            first.run(3_000)
            assert fills_of(first) == [D(1), D("0.3")]
            ballast.unlink()
            # Of the disk's time next to none: there is room, and no checkpoint yet.
            first.run(1_100)
            assert journal.health.trouble == ""
        with opened(disk / "journal", JournalSync.GROUP) as journal:
            second = ExecutorWorld(journal=journal, venue=first.venue)  # type: ignore[arg-type]
            second.run(15_000)
            assert second.service.readiness() == ""
            assert fills_of(first, second) == [D(1), D("0.3")]


def test_fills_when_many_wait_for_the_journal_then_a_part_at_a_time_and_in_the_end_all() -> None:
    journal = MemoryJournal()
    world = ExecutorWorld(journal=journal)
    name = world.place(1, qty=D(4))
    world.run(100)
    journal.full = True
    count = COUNTED_LATE_AT_ONCE_MAX + 10
    for _ in range(count):
        world.venue.trade(name, D("0.01"))
        world.deliver()
    assert len(fills_of(world)) == count
    journal.full = False
    world.run(1_000)
    assert counted_in(journal) == COUNTED_LATE_AT_ONCE_MAX
    world.run(1_000)
    assert counted_in(journal) == count


def test_executor_when_the_journal_has_trouble_then_new_risk_waits_and_the_reason_is_told_once() -> None:
    journal = MemoryJournal()
    world = ExecutorWorld(journal=journal)
    journal.trouble = "a record cannot be written: Read-only file system"
    journal.full = True
    world.run(5_000)
    assert world.service.readiness() == "order journal: a record cannot be written: Read-only file system"
    assert world.log.names().count("JOURNAL_TROUBLE") == 1
    journal.trouble, journal.full = "", False
    world.run(1_100)
    assert world.service.readiness() == ""


def test_start_when_the_journal_was_damaged_then_the_loss_is_told_and_counted() -> None:
    journal = MemoryJournal()
    journal.loss = JournalLoss(3, 17, ("journal-0000000001.log",))
    world = ExecutorWorld(journal=journal)
    told = [fields for name, fields in world.log.events if name == "JOURNAL_DAMAGED"]
    assert told == [{"files": ["journal-0000000001.log"], "lost_records": 3, "torn_bytes": 17}]
    assert world.telemetry.counts["grinder_journal_lost_records_total",] == 3


def test_executor_when_it_sends_nothing_then_the_journal_keeps_what_it_says() -> None:
    journal = MemoryJournal()
    ExecutorWorld(journal=journal).place(1)
    kept = list(journal.records)
    journal.wants_checkpoint = True
    idle = ExecutorWorld(journal=journal, sends=False)
    idle.run(3_000)
    assert journal.records == kept
    acting = ExecutorWorld(journal=journal, venue=idle.venue)
    acting.run(1_100)
    assert not journal.wants_checkpoint

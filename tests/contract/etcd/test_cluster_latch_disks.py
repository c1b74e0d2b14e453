"""A trip that the disk of its host does not take, on two hosts and a real etcd: it is not lost with the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.core.cluster_reset import trips_since_armed
from grinder.model.control import Exit, Process, TripReason
from tests.disks import failing_disk
from tests.etcd_kit import Cluster
from tests.latch_hosts import HangingLatch
from tests.latch_pair import Pair
from tests.smoke.conditions import wait_for


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


def test_trip_when_the_state_disk_turns_read_only_then_the_other_host_trips_and_it_outlives_the_host(
    pair: Pair, folder: Path
) -> None:
    with failing_disk(8 << 20) as disk:
        pair.a.stop()
        pair.a.file = LatchFile(disk.folder / LATCH_FILE, "a")
        pair.a.file.load(first_start=True)
        pair.a.start()
        disk.fail()
        outlives_the_host(pair)
        assert not pair.a.record.tripped
    back_on_a_sound_disk(pair, folder)


def test_trip_when_the_state_disk_hangs_then_the_other_host_trips_and_it_outlives_the_host(
    pair: Pair, folder: Path
) -> None:
    hangs = HangingLatch(folder / "hangs", "a")
    pair.a.stop()
    hangs.load(first_start=True)
    pair.a.file = hangs
    pair.a.start()
    outlives_the_host(pair)
    hangs.goes_on.set()
    back_on_a_sound_disk(pair, folder)


def outlives_the_host(pair: Pair) -> None:
    """Trip the first host's fsm, have the other follow, and end the first one."""
    pair.a.trip(Process.FSM, TripReason.DRAWDOWN_LIMIT)
    wait_for(lambda: pair.b.tripped, "followed")
    (trip,) = trips_since_armed(pair.view())
    assert (trip.node, trip.reason, trip.who) == ("a", TripReason.DRAWDOWN_LIMIT, "fsm")
    assert pair.b.record.trip_id == trip.trip_id
    pair.a.stop()
    pair.a.forget()


def back_on_a_sound_disk(pair: Pair, folder: Path) -> None:
    """Start the first host with a disk that knows of nothing: the cluster trips it, and an ack clears both."""
    pair.a.file = LatchFile(folder / "sound" / LATCH_FILE, "a")
    pair.a.file.load(first_start=True)
    pair.a.start()
    wait_for(lambda: pair.a.tripped, "tripped by the cluster")
    assert pair.a.record.trip_id == pair.b.record.trip_id
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.3)
    assert pair.a.clear
    assert pair.b.clear

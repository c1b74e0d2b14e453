"""The watch on three members of which one hangs, dies or has lost its quorum: it is found out, and another is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from grinder.model.cluster import OverrideCluster, TripCluster
from tests.contract.etcd.rig import Clients, Node, access, override_record, trip_record, until
from tests.etcd_kit import Cluster, Member

HUNG_BOUND_S = 2.5
"""Within which a trip is seen while a member hangs. Source: the targets that were set for it."""


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with Cluster(3, partitions=True) as cluster:
        yield cluster


@pytest.fixture
def follower(etcd: Cluster) -> Iterator[Member]:
    """A member that does not lead etcd."""
    yield etcd.followers()[0]
    etcd.wire.heal()
    for member in etcd.members:
        if member.pid:
            member.resume()
    etcd.start()


def clients_of(etcd: Cluster, first: Member) -> tuple[Clients, Clients]:
    """Clients that ask this member first, and ones of the same cluster that ask the others alone."""
    others = ",".join(member.endpoint for member in etcd.members if member is not first)
    near = Clients(access(etcd, endpoints=f"{first.endpoint},{others}"))
    return near, Clients(access(etcd, endpoints=others, cluster=near.way.cluster))


def test_watch_when_its_member_hangs_then_a_trip_is_seen_within_the_bound_and_the_next_one_at_once(
    etcd: Cluster, follower: Member
) -> None:
    async def main() -> None:
        near, far = clients_of(etcd, follower)
        node = Node(near.way)
        node.watch()
        await asyncio.to_thread(far.arm)
        await node.sees(lambda view: view.arm is not None)
        await until(lambda: "watch" in node.notes.times)
        watches = node.notes.times.count("watch")
        follower.pause()
        began = time.monotonic()
        await asyncio.to_thread(far.latches.perform, TripCluster(trip_record()))
        await node.sees(lambda view: view.latch is not None)
        assert time.monotonic() - began < HUNG_BOUND_S
        await until(lambda: ("watch", "no_answer") in node.notes.errors)
        await until(lambda: node.notes.times.count("watch") > watches)
        seen = len(node.views)
        await asyncio.to_thread(far.latches.perform, OverrideCluster(override_record()))
        await node.sees(lambda view: view.override is not None, since=seen)
        node.stores.close()
        near.connection.close()
        far.connection.close()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_watch_when_its_member_is_lost_then_it_goes_on_at_another(etcd: Cluster, follower: Member, how: str) -> None:
    async def main() -> None:
        near, far = clients_of(etcd, follower)
        node = Node(near.way)
        node.watch()
        await asyncio.to_thread(far.arm)
        await node.sees(lambda view: view.arm is not None)
        await until(lambda: "watch" in node.notes.times)
        watches = node.notes.times.count("watch")
        if how == "killed":
            follower.kill()
        else:
            etcd.wire.isolate(follower.name, tuple(m.name for m in etcd.members if m is not follower))
        await asyncio.to_thread(far.latches.perform, TripCluster(trip_record()))
        await node.sees(lambda view: view.latch is not None)
        await until(lambda: ("watch", "no_answer") in node.notes.errors)
        await until(lambda: node.notes.times.count("watch") > watches)
        assert min(view.revision - view.known_revision for view in node.views) >= 0, "no false loss of data"
        node.stores.close()
        near.connection.close()
        far.connection.close()

    asyncio.run(main())


def test_watch_when_quorum_is_lost_then_silence_is_named_and_it_ends_with_the_quorums_return(
    etcd: Cluster, follower: Member
) -> None:
    async def main() -> None:
        near, far = clients_of(etcd, follower)
        node = Node(near.way)
        node.watch()
        await asyncio.to_thread(far.arm)
        await node.sees(lambda view: view.arm is not None)
        await until(lambda: "watch" in node.notes.times)
        for member in etcd.members:
            if member is not follower:
                member.kill()
        await until(lambda: node.notes.errors.count(("read", "no_answer")) > 2)
        await until(lambda: ("watch", "no_answer") in node.notes.errors)
        seen = len(node.views)
        await asyncio.to_thread(etcd.start)
        await node.sees(lambda view: view.arm is not None, since=seen)
        node.stores.close()
        near.connection.close()
        far.connection.close()

    asyncio.run(main())

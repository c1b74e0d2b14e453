"""The watch on three members of which one hangs, dies or has lost its quorum: it is found out, and another is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from grinder.model.cluster import OverrideCluster, TripCluster
from tests.contract.etcd.rig import CALM_TIMEOUT_S, Clients, Node, access, override_record, trip_record, until
from tests.etcd_kit import Cluster, Member

TRIES = 5
"""Nodes that are begun until one has its watch at its first member: a slow answer makes it ask the next."""


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
    return near, Clients(access(etcd, endpoints=others, cluster=near.way.cluster, timeout_s=CALM_TIMEOUT_S))


async def watching(near: Clients, far: Clients) -> Node:
    """Return a node of an armed cluster whose watch is at its first member."""
    await asyncio.to_thread(far.arm)
    for _ in range(TRIES):
        node = Node(near.way)
        node.watch()
        await node.sees(lambda view: view.arm is not None)
        await until(lambda at=node.notes: "watch" in at.times)
        if not node.notes.errors:
            return node
        node.stores.close()
    raise AssertionError(f"the first member was slow {TRIES} times: {node.notes.errors}")


def test_watch_when_its_member_hangs_then_a_trip_is_seen_and_the_watch_goes_on_at_another(
    etcd: Cluster, follower: Member
) -> None:
    async def main() -> None:
        near, far = clients_of(etcd, follower)
        node = await watching(near, far)
        watches = node.notes.times.count("watch")
        follower.pause()
        await asyncio.to_thread(far.latches.perform, TripCluster(trip_record()))
        await node.sees(lambda view: view.latch is not None)
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
        node = await watching(near, far)
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
        node = await watching(near, far)
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

"""Both stores on a real etcd of one member: every change is told, every request has one reply, an end is an end."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from grinder.model.cluster import (
    CampaignEnded,
    ClusterView,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    NoAnswer,
    OverrideCluster,
    ReadCluster,
    ReportNode,
    TripCluster,
)
from grinder.model.limits import ETCD_CLOSE_S_MAX, ETCD_LIST_PERIOD_MS, ETCD_QUEUE_MAX
from grinder.model.units import MS_PER_S
from tests.contract.etcd.rig import (
    CALM_TIMEOUT_S,
    PATIENCE_S,
    TIMEOUT_S,
    Clients,
    Node,
    access,
    arm_record,
    node_record,
    override_record,
    trip_record,
    until,
)
from tests.etcd_kit import Cluster, wait_until

CHANGES, CHANGES_S = 100, 30.0
"""How many changes are told, and in what time at most, seconds."""
SLOW_S = 5.0
"""What threads may be late on a host that is busy with other tests, seconds."""
Steps = Callable[[Node, Clients], Awaitable[None]]


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with Cluster(1) as cluster:
        yield cluster


def run(etcd: Cluster, steps: Steps, timeout_s: float = TIMEOUT_S) -> None:
    """Run a test on a node of a cluster of its own, with another client beside it."""

    async def main() -> None:
        other = Clients(access(etcd, timeout_s=CALM_TIMEOUT_S))
        node = Node(access(etcd, cluster=other.way.cluster, timeout_s=timeout_s))
        try:
            await steps(node, other)
        finally:
            node.stores.close()
            other.connection.close()

    asyncio.run(main())


def test_ask_when_answered_then_the_reply_is_on_the_loops_thread_and_measured(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        threads: list[int] = []
        replies: list[Any] = []

        def take(reply: Any) -> None:
            threads.append(threading.get_ident())
            replies.append(reply)

        node.stores.leases.ask(GrantLease(5), take)
        assert not replies, "never at once"
        await until(lambda: bool(replies))
        assert isinstance(replies[0], Granted)
        assert threads == [threading.get_ident()]
        assert node.notes.times == ["grant"]

    run(etcd, steps, CALM_TIMEOUT_S)


def test_watch_when_another_changes_something_then_it_is_told(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        node.watch()
        await node.sees(lambda view: view.arm is None)
        await until(lambda: "watch" in node.notes.times)
        revision = await asyncio.to_thread(other.arm)
        seen = await node.sees(lambda view: view.arm is not None)
        assert seen.revision >= revision
        assert seen.known_revision <= seen.revision
        await asyncio.to_thread(other.latches.perform, TripCluster(trip_record()))
        await node.sees(lambda view: view.arm is None and view.latch is not None, since=len(node.views))

    run(etcd, steps)


def test_watch_when_nothing_changes_then_a_fresh_read_comes_every_second(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        began_boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        node.watch()
        await until(lambda: len(node.views) >= 3)
        asked = [view.asked_boot_ns for view in node.views]
        assert all(one < two for one, two in itertools.pairwise(asked))
        assert began_boot_ns < asked[0] < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert ETCD_LIST_PERIOD_MS <= 1_000

    run(etcd, steps)


def test_watch_when_etcd_is_killed_and_comes_back_then_it_goes_on(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        node.watch()
        await asyncio.to_thread(other.arm)
        await node.sees(lambda view: view.arm is not None)
        etcd.kill()
        await until(lambda: ("read", "no_answer") in node.notes.errors and ("watch", "no_answer") in node.notes.errors)
        (name, fields), *_ = [event for event in node.notes.events if event[1]["operation"] == "read"]
        assert (name, fields["outcome"]) == ("ETCD_FAILS", "no_answer")
        assert f"{etcd.endpoints}: UNAVAILABLE: " in str(fields["why"])
        seen = len(node.views)
        await asyncio.to_thread(etcd.start)
        back = await node.sees(lambda view: view.arm is not None, since=seen)
        assert back.revision >= back.known_revision, "nothing was lost"
        await until(lambda: ("ETCD_ANSWERS", {"operation": "watch"}) in node.notes.events)
        await asyncio.to_thread(other.latches.perform, TripCluster(trip_record()))
        await node.sees(lambda view: view.arm is None, since=seen)

    run(etcd, steps)


def test_close_when_a_watch_and_requests_run_then_what_was_broken_off_is_no_failure_of_etcd(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        node.watch()
        await until(lambda: "watch" in node.notes.times)
        ended: list[Any] = []
        (member,) = etcd.members
        member.pause()
        try:
            node.stores.leases.ask(GrantLease(5), ended.append)
            # The lane's thread has its turn, and the request is on its way.
            await asyncio.to_thread(threading.Event().wait, 0.05)
            node.stores.close()
            await until(lambda: bool(ended))
        finally:
            member.resume()
        assert isinstance(ended[0], NoAnswer), "nothing was broken off"
        assert (node.notes.events, node.notes.errors) == ([], [])

    run(etcd, steps, CALM_TIMEOUT_S)


def test_watch_when_etcd_was_down_at_the_start_then_it_begins_when_it_is_there(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        etcd.kill()
        node.watch()
        await until(lambda: len(node.notes.errors) > 2)
        assert isinstance(await node.ask(GrantLease(5)), NoAnswer)
        await asyncio.to_thread(etcd.start)
        await node.sees(lambda view: True)

    run(etcd, steps)


def test_watch_when_revisions_were_compacted_during_an_outage_then_the_change_is_told(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        node.watch()
        await asyncio.to_thread(other.arm)
        await node.sees(lambda view: view.arm is not None)
        etcd.members[0].pause()
        await until(lambda: ("read", "no_answer") in node.notes.errors)
        etcd.kill()
        await asyncio.to_thread(etcd.start)
        await asyncio.to_thread(other.latches.perform, TripCluster(trip_record()))
        revision = (await asyncio.to_thread(other.view)).revision
        await asyncio.to_thread(etcd.ctl, "compact", str(revision))
        await node.sees(lambda view: view.arm is None and view.latch is not None)
        await asyncio.to_thread(other.latches.perform, OverrideCluster(override_record()))
        await node.sees(lambda view: view.override is not None)

    run(etcd, steps)


def test_watch_when_etcd_was_wiped_then_the_loss_shows_once_and_it_goes_on(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        node.watch()
        await asyncio.to_thread(other.arm)
        before = await node.sees(lambda view: view.arm is not None)
        await asyncio.to_thread(etcd.wipe)
        lost = await node.sees(lambda view: view.revision < view.known_revision)
        assert lost.known_revision >= before.revision
        assert lost.arm is None
        await asyncio.to_thread(other.arm, arm_record("arm-2"))
        after = await node.sees(lambda view: view.arm is not None and view.arm.value.arm_id == "arm-2")
        assert after.revision >= after.known_revision
        assert sum(view.revision < view.known_revision for view in node.views) == 1

    run(etcd, steps)


def test_watch_when_an_older_snapshot_was_restored_then_the_loss_shows(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        await asyncio.to_thread(other.arm)
        snapshot = await asyncio.to_thread(etcd.snapshot)
        node.watch()
        await asyncio.to_thread(other.latches.perform, TripCluster(trip_record()))
        before = await node.sees(lambda view: view.latch is not None)
        await asyncio.to_thread(etcd.restore, snapshot)
        lost = await node.sees(lambda view: view.revision < view.known_revision)
        assert lost.known_revision >= before.revision
        assert lost.arm is not None, "it says armed again, and only the revision tells that it must not be believed"

    run(etcd, steps)


def test_read_when_a_loss_was_made_up_for_then_what_was_read_before_is_told_otherwise(etcd: Cluster) -> None:
    host = Clients(access(etcd, timeout_s=CALM_TIMEOUT_S))
    host.arm()
    snapshot = etcd.snapshot()
    host.latches.perform(OverrideCluster(override_record()))
    before = host.view()
    etcd.restore(snapshot)
    other = Clients(host.way)
    wait_until(lambda: report(other) > before.revision, PATIENCE_S, "more than was lost")
    after = host.view()
    assert after.revision >= after.known_revision, "its number tells nothing"
    assert after.cluster_id == before.cluster_id
    assert after.rewritten
    assert not host.view().rewritten


def test_read_when_a_loss_was_made_up_for_and_compacted_then_a_key_of_before_tells(etcd: Cluster) -> None:
    host, other = (Clients(way) for way in [access(etcd, timeout_s=CALM_TIMEOUT_S)] * 2)
    write(host)
    snapshot = etcd.snapshot()
    write(host)
    before = host.view()
    etcd.restore(snapshot)
    wait_until(lambda: report(other) > before.revision, PATIENCE_S, "more than was lost")
    etcd.ctl("compact", str(report(other)))
    after = host.view()
    assert after.revision >= after.known_revision
    assert after.rewritten
    assert not host.view().rewritten


def test_read_when_keys_come_and_go_or_were_compacted_then_nothing_is_told_otherwise(etcd: Cluster) -> None:
    host = Clients(access(etcd, timeout_s=CALM_TIMEOUT_S))
    other = Clients(host.way)
    for step in range(3):
        assert not host.view().rewritten
        host.arm(arm_record(f"arm-{step}"))
        assert not host.view().rewritten
        host.latches.perform(TripCluster(trip_record(f"trip-{step}")))
        assert report(other) > 0
    etcd.ctl("compact", str(report(host)))
    assert not host.view().rewritten
    report(host)
    assert not host.view().rewritten


def report(clients: Clients) -> int:
    """Write a host's report; return at which revision, 0 if it failed."""
    reply = clients.latches.perform(ReportNode(node_record(), 5))
    return reply.revision if isinstance(reply, Done) else 0


def write(clients: Clients) -> int:
    """Write the override; return at which revision, 0 if it failed."""
    reply = clients.latches.perform(OverrideCluster(override_record()))
    return reply.revision if isinstance(reply, Done) else 0


def test_requests_when_of_different_kinds_then_none_waits_for_another(etcd: Cluster) -> None:
    """While requests of one kind hang one after the other, the first of the other kinds end as soon as theirs."""

    async def steps(node: Node, other: Clients) -> None:
        ended: list[str] = []
        for request in (ReportNode(node_record(), 5), TripCluster(trip_record()), GrantLease(5)):
            await node.ask(request)
        etcd.members[0].pause()
        try:
            for _ in range(3):
                node.stores.latches.ask(ReportNode(node_record(), 5), lambda reply: ended.append("report"))
            node.stores.latches.ask(TripCluster(trip_record()), lambda reply: ended.append("trip"))
            node.stores.leases.ask(KeepAlive(1), lambda reply: ended.append("lease"))
            await until(lambda: len(ended) == 5)
        finally:
            etcd.members[0].resume()
        assert ended[-1] == "report"
        assert {"trip", "lease"} <= set(ended[:4])

    run(etcd, steps)


def test_ask_when_too_many_wait_then_the_newest_have_no_answer_and_each_has_one_reply(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        replies: list[tuple[int, Any]] = []
        etcd.members[0].pause()
        try:
            for number in range(ETCD_QUEUE_MAX + 5):
                node.stores.latches.ask(ReadCluster(), lambda reply, number=number: replies.append((number, reply)))
            await until(lambda: len(replies) >= 4)
            refused = [number for number, reply in replies if "wait already" in reply.why]
            assert len(refused) in (4, 5), "at most one is asked while the others wait"
            assert set(refused) <= set(range(ETCD_QUEUE_MAX, ETCD_QUEUE_MAX + 5))
        finally:
            etcd.members[0].resume()
        await until(lambda: len(replies) == ETCD_QUEUE_MAX + 5)
        assert sorted(number for number, _ in replies) == list(range(ETCD_QUEUE_MAX + 5))

    run(etcd, steps)


@pytest.mark.parametrize("hung", [False, True])
def test_close_when_requests_run_and_wait_then_bounded_and_each_has_one_reply(etcd: Cluster, hung: bool) -> None:
    async def steps(node: Node, other: Clients) -> None:
        replies: list[Any] = []
        node.watch()
        await node.sees(lambda view: True)
        if hung:
            etcd.members[0].pause()
        try:
            for _ in range(5):
                node.stores.leases.ask(GrantLease(5), replies.append)
                node.stores.latches.ask(ReadCluster(), replies.append)
                node.stores.latches.ask(TripCluster(trip_record()), replies.append)
            began = time.monotonic()
            node.stores.close()
            took = time.monotonic() - began
        finally:
            etcd.members[0].resume()
        assert took < 3 * ETCD_CLOSE_S_MAX + SLOW_S
        node.stores.leases.ask(GrantLease(5), replies.append)
        await until(lambda: len(replies) == 16)
        assert isinstance(replies[-1], NoAnswer)
        await until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("etcd-")])

    run(etcd, steps)


def test_watch_when_changes_come_one_after_the_other_then_it_does_not_wait_for_the_next_read_of_its_own(
    etcd: Cluster,
) -> None:
    async def steps(node: Node, other: Clients) -> None:
        node.watch()
        await until(lambda: "watch" in node.notes.times)
        for number in range(CHANGES):
            record = override_record(reason=str(number))
            await asyncio.to_thread(other.latches.perform, OverrideCluster(record))
            await node.sees(
                lambda view, record=record: view.override is not None and view.override.value == record,  # type: ignore[misc]
                since=len(node.views) - 1,
            )

    assert CHANGES * ETCD_LIST_PERIOD_MS / MS_PER_S > 1.5 * CHANGES_S, "by its own reads alone it would take too long"

    async def bounded(node: Node, other: Clients) -> None:
        await asyncio.wait_for(steps(node, other), CHANGES_S)

    run(etcd, bounded)


def test_close_when_views_are_on_their_way_then_none_is_told_any_more(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        node.watch()
        await until(lambda: "watch" in node.notes.times)
        for number in range(20):
            other.latches.perform(OverrideCluster(override_record(reason=str(number))))
        told = len(node.views)
        node.stores.close()
        await until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("etcd-")])
        assert len(node.views) == told

    run(etcd, steps)


def test_stores_when_one_leads_and_the_other_asks_then_both_see_the_same(etcd: Cluster) -> None:
    async def steps(node: Node, other: Clients) -> None:
        lease = await node.ask(GrantLease(5))
        assert isinstance(lease, Granted)
        ended = await asyncio.to_thread(other.lead)
        assert isinstance(ended, CampaignEnded)
        read = await node.ask(ReadCluster())
        assert isinstance(read, ClusterView)
        assert read.leader == ended.leader
        assert isinstance(await node.ask(ReportNode(node_record("n"), 5)), Done)
        assert (await asyncio.to_thread(other.view)).nodes == (node_record("n"),)

    run(etcd, steps, CALM_TIMEOUT_S)

"""Keys that no host wrote, in a real etcd: each counts as absent and is named, and the hosts go on beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from grinder.adapters.etcd.keys import NOBODY, Keys, encode
from grinder.core.lease_state import Lease, LeasePlan, full_delay, wait_after
from grinder.model.cluster import Campaign, CampaignEnded, Done, Granted, GrantLease, OverrideCluster, TripCluster
from grinder.model.control import Override
from grinder.model.limits import ETCD_VALUE_BYTES_MAX
from grinder.model.units import NS_PER_S
from tests.contract.etcd.rig import ME, OTHER, Clients, Node, node_record, override_record, trip_record, until
from tests.etcd_kit import Cluster

NOT_UTF_8 = "\udcff"
"""The byte FF, as a command line takes it."""

FOREVER = encode(msgspec.structs.replace(OTHER, ttl_s=10**9)).decode()


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with Cluster(1) as cluster:
        yield cluster


def put(etcd: Cluster, clients: Clients, name: str, value: str) -> None:
    """Write a key as somebody at the command line would."""
    etcd.ctl("put", Keys(clients.way.cluster).folder.decode() + name, "--", value)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("node/x", "node"),
        ("leader", "host"),
        ("elected", "node"),
        ("arm", "note"),
        ("override", "who"),
        ("trip/x", "who"),
    ],
)
def test_key_when_a_text_is_not_utf_8_then_absent_and_named(
    etcd: Cluster, clients: Clients, name: str, field: str
) -> None:
    put(etcd, clients, name, f'{{"{field}":"{NOT_UTF_8}"}}')
    view = clients.view()
    assert view.problem.startswith(f"key {name} cannot be read: ")
    assert (view.arm, view.override, view.trips, view.nodes) == (None, None, (), ())


def test_watch_when_a_host_is_written_that_is_not_utf_8_then_it_is_named_and_every_thread_goes_on(
    etcd: Cluster, clients: Clients
) -> None:
    async def main() -> None:
        node = Node(clients.way)
        try:
            node.watch()
            await until(lambda: "watch" in node.notes.times)
            await asyncio.to_thread(put, etcd, clients, "node/x", f'{{"node":"{NOT_UTF_8}"}}')
            named = await node.sees(lambda view: view.problem.startswith("key node/x cannot be read"))
            assert named.nodes == ()
            assert isinstance(await node.ask(OverrideCluster(override_record())), Done)
            assert isinstance(await node.ask(GrantLease(5)), Granted)
            await node.sees(lambda view: view.override is not None)
            assert "ETCD_THREAD_FELL" not in [name for name, _ in node.notes.events]
        finally:
            node.stores.close()

    asyncio.run(main())


def test_host_when_it_claims_a_term_that_cannot_be_then_it_is_named_and_nobody_hears_of_it(
    etcd: Cluster, clients: Clients
) -> None:
    put(etcd, clients, "node/x", encode(node_record("x", term=1 << 60)).decode())
    view = clients.view()
    assert view.problem.startswith("key node/x cannot be read: ")
    assert view.nodes == ()


def test_leader_when_written_with_a_lease_without_end_then_one_that_nobody_knows(
    etcd: Cluster, clients: Clients
) -> None:
    put(etcd, clients, "leader", FOREVER)
    view = clients.view()
    assert view.leader is not None
    assert view.leader.value == NOBODY
    assert view.problem.startswith("key leader cannot be read: ")


def test_elected_when_written_with_a_lease_without_end_then_a_winner_waits_no_longer_than_its_own(
    etcd: Cluster, clients: Clients
) -> None:
    put(etcd, clients, "elected", FOREVER)
    assert clients.view().problem.startswith("key elected cannot be read: ")
    won = clients.leases.perform(Campaign(clients.lease(), ME))
    assert isinstance(won, CampaignEnded)
    assert won.created
    plan, now_boot_ns = LeasePlan("a", "host-a", "boot", 7, 5, 1_000), 100 * NS_PER_S
    assert wait_after(won, Lease(), plan, now_boot_ns).until_boot_ns == full_delay(plan.ttl_s, now_boot_ns)
    assert clients.view().problem == "", "the election wrote it anew"


@pytest.mark.parametrize("reason", [NOT_UTF_8, "x" * (2 * ETCD_VALUE_BYTES_MAX), "\0" * ETCD_VALUE_BYTES_MAX])
def test_reason_when_it_is_long_or_in_other_bytes_then_every_host_can_read_the_trip_and_the_override(
    etcd: Cluster, clients: Clients, reason: str
) -> None:
    clients.arm()
    trip = msgspec.structs.replace(trip_record(), detail=reason, who=reason)
    assert isinstance(clients.latches.perform(TripCluster(trip)), Done)
    override = override_record(Override.EMERGENCY, reason)
    written = clients.latches.perform(OverrideCluster(override, 0))
    assert isinstance(written, Done)
    assert clients.latches.perform(OverrideCluster(override, 0)) == written, "asked again it is done all the same"
    view = clients.view()
    assert view.problem == ""
    assert view.latch is not None
    assert view.override is not None
    assert view.override.value.code is Override.EMERGENCY

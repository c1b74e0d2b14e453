"""Whether a host whose settings are not those of the leader before succeeds it, and how other settings get in."""

from __future__ import annotations

from grinder.model.cluster import Campaign, SharedSettings
from tests.cluster_store import FakeCluster
from tests.fakes import FakeClock
from tests.unit.services.test_leadership import GRD, WELL_MS, Node, leader

ABC = SharedSettings(order_prefix="abc")


def standby_of_another(cluster: FakeCluster, clock: FakeClock) -> Node:
    node = Node(cluster, clock, "node-b", settings=ABC)
    node.start()
    node.run(WELL_MS)
    return node


def test_standby_when_the_leader_has_another_prefix_then_it_says_so_and_does_not_succeed_it() -> None:
    first, cluster = leader()
    second = standby_of_another(cluster, first.clock)
    differs = "its settings are not those of node-a: GRINDER_ORDER_PREFIX: only here abc, only there grd"
    assert second.leadership.why.endswith(differs)
    assert ("SETTINGS_DIFFER", {"why": differs}) in second.log.events
    second.run(20_000)
    assert cluster.leader is None
    assert "who led last" in second.leadership.why
    assert not [request for request in second.store.asked if isinstance(request, Campaign)]
    third = Node(cluster, first.clock, "node-c")
    third.start()
    third.run(WELL_MS + 6_000)
    assert third.leads


def test_standby_when_the_leader_with_another_prefix_resigned_then_it_succeeds_it_and_stays() -> None:
    first, cluster = leader()
    second = standby_of_another(cluster, first.clock)
    first.leadership.stop()
    first.leadership.release(clean=True)
    first.store.pump()
    second.run(WELL_MS + 1_000)
    assert second.leads
    second.run(20_000)
    assert second.leads
    assert [what for what, _ in second.told] == ["won"]


def test_node_when_the_leader_is_gone_for_good_then_its_settings_and_an_ordered_stop_let_new_ones_in() -> None:
    first, cluster = leader()
    for name, settings, clean, leads in (
        ("node-b", ABC, True, False),
        ("node-b", GRD, False, True),
        ("node-b", ABC, True, False),
        ("node-b", GRD, True, True),
        ("node-b", ABC, True, True),
    ):
        node = Node(cluster, first.clock, name, settings=settings)
        node.start()
        node.run(WELL_MS + 12_000)
        assert node.leads is leads
        node.leadership.stop()
        node.leadership.release(clean=clean)
        node.store.pump()
        node.run(500)

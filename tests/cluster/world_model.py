"""Three hosts, an etcd cluster, a venue and an operator in one thread of virtual time; a seed is a whole history.

First faults, then calm. During both, what must never be is judged at the venue and at the latches; at the end of the
calm one host must lead, under a permission, with every latch open.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from grinder.core import cluster_reset
from grinder.model.cluster import ClusterView, Done, NodeRecord
from grinder.model.control import HaRole
from tests.cluster.etcd_model import Etcd
from tests.cluster.fault_model import FAULTS, LENGTHS_NS
from tests.cluster.history import Known
from tests.cluster.host_model import Host, Rules
from tests.cluster.schedule import MS, S, Schedule
from tests.cluster.venue_model import Venue

HOSTS = ("a", "b", "c")
STORM_NS = 14 * S
CALM_NS = 60 * S
FAULTS_MAX = 6


class Outcome(msgspec.Struct, frozen=True):
    """What a seed came to. ``found``: what must never be; ``calm_ns``: from the last fault's end to order."""

    seed: int
    found: list[str]
    counts: Counter[str]
    faults: list[str]
    events: int
    calm_ns: int


class World:
    """``plan``: the faults, as (time, name, length), drawn from the seed among ``faults``."""

    def __init__(self, seed: int, rules: Rules | None = None, faults: tuple[str, ...] = tuple(FAULTS)) -> None:
        self.seed = seed
        self.schedule = Schedule(seed)
        random = self.schedule.random
        self.ttl_s = random.choice((3, 5))
        self.watch_tells = random.random() < 0.3
        self.hosts: list[Host] = []
        self.etcd = Etcd(self.schedule, self._on_commit, self._on_loss, self._on_elected)
        self.venue = Venue(self.etcd, self.ttl_s)
        world = (self.schedule, self.etcd, self.venue)
        self.rules = rules or Rules()
        self.hosts = [Host(name, world, self.ttl_s, self.rules) for name in HOSTS]
        self.venue.hosts = self.hosts
        self.arms = 0
        self.plan = self._plan(faults)
        for at_ns, name, length_ns in self.plan:
            self.schedule.after(at_ns, FAULTS[name], self, length_ns)
        self.schedule.after(self.schedule.between(0, S), self._operate)

    def _plan(self, faults: tuple[str, ...]) -> list[tuple[int, str, int]]:
        """Draw the faults; some come together, and an election is what most of them are about."""
        random, plan, at_ns = self.schedule.random, [], 4 * S
        for _ in range(random.randint(1, FAULTS_MAX)):
            length_ns = self.schedule.between(*LENGTHS_NS) if random.random() < 0.5 else self.schedule.between(0, S)
            plan.append((at_ns, random.choice(faults), length_ns))
            at_ns += self.schedule.between(0, 4 * S) if random.random() < 0.7 else self.schedule.between(0, 50 * MS)
            at_ns = min(at_ns, STORM_NS)
        return plan

    def one_host(self) -> Host:
        """Pick a host, mostly the one that leads."""
        leaders = [host for host in self.hosts if host.up and host.board.role is HaRole.ACTIVE]
        random = self.schedule.random
        return random.choice(leaders if leaders and random.random() < 0.7 else self.hosts)

    def crash(self, host: Host, down_ns: int) -> None:
        host.crash()
        self.schedule.after(down_ns, self.start, host)

    def start(self, host: Host) -> None:
        """Start a host that is down; one that is on its way down, when it is."""
        if not host.up:
            host.start()
        elif host.lease.stopping:
            self.schedule.after(S, self.start, host)

    def _on_commit(self) -> None:
        """Tell the watches that there is something; a member that is apart tells nobody."""
        for host in self.hosts:
            if host.up and self.etcd.answers(host.member) and host.member not in host.net.no_way_back:
                view = self.etcd.view() if self.watch_tells else None
                self.schedule.after(host.net.delay_ns(), host.run, host.life, host.ring, view)

    def _on_loss(self) -> None:
        for host in self.hosts:
            host.etcd_lost(self.etcd.revision)

    def _on_elected(self, term: int) -> None:
        self.venue.elected(term)

    def _operate(self) -> None:
        """The operator looks now and then, and clears the cluster some time after; he acknowledges what he saw."""
        random = self.schedule.random
        self.schedule.after(self.schedule.between(500 * MS, 3 * S), self._operate)
        if self.etcd.leader is None:
            return
        nodes = tuple(
            NodeRecord(
                host.name, host.name, HaRole.STANDBY, host.kept_term, host.held.trip_id if host.held else "", 1, "", 0
            )
            for host in self.hosts
            if host.up
        )
        view = msgspec.structs.replace(self.etcd.view(), nodes=nodes)
        if view.arm is None and nodes and (random.random() < 0.5 or self._calm):
            self.schedule.after(self.schedule.between(0, 300 * MS), self._arm, view)
        elif view.arm is not None and self._calm and any(host.held for host in self.hosts):
            # A host holds what the permission does not name: latched for the whole cluster first, then cleared.
            self.schedule.after(self.schedule.between(0, 300 * MS), self.etcd.delete, "arm")

    def _arm(self, view: ClusterView) -> None:
        if self.etcd.leader is None:
            return
        self.arms += 1
        request = cluster_reset.arming(view, arm_id=f"arm-{self.arms}", operator="test", note="", utc_ms=0)
        # Named before it is sent: what is acknowledged is acknowledged, whether etcd hears of it or not.
        reply = self.etcd.serve(self.etcd.leader, request, 0, Known())
        if isinstance(reply, Done):
            self.venue.acknowledged.update(request.record.acks)

    @property
    def _calm(self) -> bool:
        return self.schedule.now_ns > 100 * S + STORM_NS + LENGTHS_NS[1]

    def in_order(self) -> bool:
        """Tell whether one host leads and may take risk, and every latch is open."""
        active = [host for host in self.hosts if host.up and host.board.role is HaRole.ACTIVE]
        if len(active) != 1 or not self._calm or any(host.held for host in self.hosts):
            return False
        return active[0].board.risk_deadline_boot_ns > active[0].clock.boot_ns()

    def run(self) -> Outcome:
        """Live through the faults and the calm after them."""
        storm_ns = max(at_ns + length_ns for at_ns, _, length_ns in self.plan) + 3 * S
        calm_from_ns = self.schedule.now_ns + storm_ns
        self.schedule.run(calm_from_ns + CALM_NS, self.in_order)
        found = list(self.venue.found)
        if not self.in_order():
            found.append("no_order: " + "; ".join(f"{host.name} {host.board.why} {host.held}" for host in self.hosts))
        calm_ns = max(0, self.schedule.now_ns - calm_from_ns)
        names = [name for _, name, _ in self.plan]
        return Outcome(self.seed, found, self.venue.counts, names, self.schedule.events, calm_ns)

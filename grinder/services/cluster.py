"""The executor's side of the cluster, put together: one watch, and everyone who follows it.

Made only where high availability is on. Must never decide anything: the parts do.
"""

from __future__ import annotations

import msgspec

from grinder.core.lease_state import LeasePlan
from grinder.model.cluster import ClusterView
from grinder.model.control import TripReason
from grinder.ports import Board, ClusterLatch, LatchStore, LeaseStore, TermStore
from grinder.services.cluster_latch import ClusterLatchPorts, ClusterLatchService, HostFacts, Lead
from grinder.services.lead import Duties
from grinder.services.leadership import Leadership, LeadershipPorts
from grinder.services.order_store import ExecutorPorts


class ClusterPorts(msgspec.Struct, frozen=True):
    """What the executor has of the cluster.

    ``plan`` and ``facts``: who this host is in it. ``latch``: this host's own, durable; ``latches``: the cluster's.
    """

    plan: LeasePlan
    facts: HostFacts
    leases: LeaseStore
    latches: LatchStore
    terms: TermStore
    latch: ClusterLatch


class Cluster:
    """Implements Membership. A trip in the cluster reaches this host's board before anything else of a view does."""

    def __init__(self, cluster: ClusterPorts, ports: ExecutorPorts, board: Board, duties: Duties) -> None:
        self._latches = cluster.latches
        self._leadership = Leadership(
            LeadershipPorts(cluster.leases, cluster.terms, board, ports.clock, ports.log), cluster.plan, duties
        )
        self._latch = ClusterLatchService(
            ClusterLatchPorts(cluster.latches, cluster.latch, board, ports.clock, ports.log),
            cluster.facts,
            self._lead,
        )

    def on_start(self) -> None:
        """Begin to find out who leads."""
        self._leadership.on_start()
        self._latches.watch(self._on_view)

    def on_timer(self) -> None:
        """Look at deadlines, trips and reports."""
        self._leadership.on_timer()
        self._latch.on_timer()

    def glance(self) -> None:
        """Look whether something tripped here, so that the other hosts need not wait for a timer."""
        self._latch.glance()

    def on_order_seen(self, term: int) -> None:
        """Learn that the venue tells of an order of ours of a term."""
        self._leadership.on_order_seen(term)

    def on_own_trip(self, reason: TripReason) -> None:
        """Have a trip of the executor itself count, whatever holds already."""
        self._latch.on_own_trip(reason)

    def stop(self) -> None:
        """Begin to leave for good."""
        self._leadership.stop()

    def release(self, *, clean: bool) -> None:
        """Give the lease back."""
        self._leadership.release(clean=clean)

    @property
    def left(self) -> bool:
        """Tell whether a stop may end."""
        return self._leadership.left

    @property
    def why(self) -> str:
        """Where this host stands, for people."""
        return self._leadership.why

    def _lead(self) -> Lead:
        return Lead(self._leadership.role, self._leadership.highest_term)

    def _on_view(self, view: ClusterView) -> None:
        self._latch.on_view(view)
        self._leadership.on_view(view)

"""What the pages of this folder share: clients of a real etcd, records to put there, both stores with their loop."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from grinder.adapters.clock import SystemClock
from grinder.adapters.etcd.connection import Access, Connection
from grinder.adapters.etcd.latch import LatchClient
from grinder.adapters.etcd.lease import LeaseClient
from grinder.adapters.etcd.stores import EtcdStores
from grinder.model.cluster import (
    ArmCluster,
    ArmRecord,
    Campaign,
    CampaignEnded,
    ClusterView,
    Done,
    Granted,
    GrantLease,
    LeaderRecord,
    NodeRecord,
    OverrideRecord,
    ReadCluster,
    SharedSettings,
    TripRecord,
)
from grinder.model.control import HaRole, Override, TripReason
from tests.etcd_certificates import Identity
from tests.etcd_kit import Cluster

TIMEOUT_S = 0.5
"""What one request may take where a member hangs, seconds: a test waits for it."""

CALM_TIMEOUT_S = 10.0
"""The same where none hangs: a host may be busy with other tests."""

PATIENCE_S = 60.0
ME = LeaderRecord(node="a", host="host-a", boot_id="boot", pid=7, utc_ms=1, ttl_s=5)
SHARED = SharedSettings("grd", "BTCUSDT", "live_trade", "futures", "https://fapi.binance.com")
OTHER = LeaderRecord(node="b", host="host-b", boot_id="boot", pid=8, utc_ms=2, ttl_s=5, settings=SHARED)


def arm_record(arm_id: str = "arm-1", acks: tuple[str, ...] = (), epoch_base: int = 0) -> ArmRecord:
    return ArmRecord(arm_id=arm_id, epoch_base=epoch_base, acks=acks, operator="op", note="", utc_ms=3)


def trip_record(trip_id: str = "trip-1", node: str = "a", reason: TripReason = TripReason.MANUAL) -> TripRecord:
    return TripRecord(trip_id=trip_id, node=node, reason=reason, who="op", detail="", arm_id="arm-1", utc_ms=4)


def node_record(node: str = "a", **fields: Any) -> NodeRecord:
    said = {"host": "h", "role": HaRole.STANDBY, "term": 0, "trip_id": "", "demand": 0, "problem": "", "utc_ms": 5}
    return NodeRecord(node=node, **(said | fields))


def override_record(code: Override = Override.PAUSE, reason: str = "") -> OverrideRecord:
    return OverrideRecord(code=code, who="op", reason=reason, utc_ms=6)


def access(
    etcd: Cluster,
    *,
    cluster: str = "",
    identity: Identity | None = None,
    endpoints: str = "",
    timeout_s: float = TIMEOUT_S,
) -> Access:
    """A way to a cluster of this test's own, in an etcd that others share."""
    ends = tuple((endpoints or etcd.endpoints).split(","))
    files = () if identity is None else (str(identity.ca), str(identity.cert), str(identity.key))
    return Access(ends, cluster or f"c{secrets.token_hex(4)}", timeout_s, *files)


class Clients:
    """Both clients on one connection, as the commands have them."""

    def __init__(self, way: Access) -> None:
        self.way = way
        self.connection = Connection(way)
        self.leases = LeaseClient(self.connection, way.cluster)
        self.latches = LatchClient(self.connection, way.cluster, SystemClock())

    def view(self) -> ClusterView:
        reply = self.latches.perform(ReadCluster())
        assert isinstance(reply, ClusterView), reply
        return reply

    def lease(self, ttl_s: int = 5) -> int:
        reply = self.leases.perform(GrantLease(ttl_s))
        assert isinstance(reply, Granted), reply
        return reply.lease_id

    def lead(self, record: LeaderRecord = ME, lease_id: int = 0) -> CampaignEnded:
        reply = self.leases.perform(Campaign(lease_id or self.lease(), record))
        assert isinstance(reply, CampaignEnded), reply
        return reply

    def arm(self, record: ArmRecord | None = None) -> int:
        view = self.view()
        latch = view.latch.mod_revision if view.latch is not None else 0
        reply = self.latches.perform(ArmCluster(record or arm_record(), latch, view.revision))
        assert isinstance(reply, Done), reply
        return reply.revision


class Notes:
    """Telemetry and Log ports that remember."""

    def __init__(self) -> None:
        self.times: list[str] = []
        self.ends_s: list[float] = []
        self.errors: list[tuple[str, str]] = []
        self.events: list[tuple[str, dict[str, object]]] = []

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        assert name == "grinder_etcd_errors_total"
        self.errors.append((labels[0], labels[1]))

    def gauge(self, name: str, value: float, *labels: str) -> None:
        assert name == "grinder_etcd_certificate_end_seconds"
        self.ends_s.append(value)

    def observe(self, name: str, value: float, *labels: str) -> None:
        assert name == "grinder_etcd_request_seconds"
        assert value >= 0
        self.times.append(labels[0])

    def event(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))


class Node:
    """Both ports of one process, with what came out of them."""

    def __init__(self, way: Access) -> None:
        self.notes = Notes()
        self.stores = EtcdStores(way, SystemClock(), self.notes, self.notes)
        self.views: list[ClusterView] = []

    def watch(self) -> None:
        self.stores.latches.watch(self.views.append)

    async def ask(self, request: Any) -> Any:
        """Ask by the port that takes it and wait for the one reply."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        store: Any = self.stores.leases if isinstance(request, GrantLease | Campaign) else self.stores.latches
        store.ask(request, reply.set_result)
        return await asyncio.wait_for(reply, PATIENCE_S)

    async def sees(self, what: Callable[[ClusterView], bool], *, since: int = 0) -> ClusterView:
        """Wait for a view, not among the first ``since`` ones."""

        async def wait() -> ClusterView:
            at = since
            while True:
                for view in self.views[at:]:
                    if what(view):
                        return view
                at = len(self.views)
                await asyncio.sleep(0.001)

        return await asyncio.wait_for(wait(), PATIENCE_S)


async def until(holds: Callable[[], bool]) -> None:
    """Look until a condition holds."""

    async def wait() -> None:
        while not holds():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(wait(), PATIENCE_S)

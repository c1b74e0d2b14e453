"""One cluster's etcd in memory, on the test's clock: keys at revisions, leases, and per node two ports with faults.

``FakeCluster`` is the truth: keys with revisions and leases that expire. ``NodeStore`` is both cluster ports of one
node: what it asks is carried out and answered when the test pumps it, late, lost on the way there or on the way back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from grinder.model.cluster import (
    ArmCluster,
    ArmRecord,
    AskPermit,
    AskTimeToLive,
    Campaign,
    CampaignEnded,
    ClusterView,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LatchReply,
    LatchRequest,
    LeaderRecord,
    LeaseReply,
    LeaseRequest,
    LifeLeft,
    NoAnswer,
    NotDone,
    OverrideCluster,
    PermitAnswer,
    ReadCluster,
    ReportNode,
    Resign,
    RevokeLease,
    Stored,
    TripCluster,
)
from grinder.model.units import NS_PER_MS, NS_PER_S

NO_ANSWER_MS = 1_000
"""How long a port waits for an answer before it says that there was none, milliseconds."""

LIST_MS = 1_000
"""Period of the linearizable read behind the watch, milliseconds."""


class Key(msgspec.Struct):
    """A key: its value, its revisions, its lease (0 without one)."""

    value: Any
    create_revision: int
    mod_revision: int
    lease_id: int


class Lease(msgspec.Struct):
    """A lease: how long it lives after a keepalive, and until when it does now."""

    ttl_s: int
    until_ns: int


class FakeCluster:
    """``now_ns``: the cluster's own clock; ``no_space``: every put is refused, deletes pass."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
        self.revision = 1
        self.cluster_id = 77
        self.raft_term = 2
        self.keys: dict[str, Key] = {}
        self.leases: dict[int, Lease] = {}
        self.no_space = False
        self._lease_ids = 1_000

    # What a test does to it -----------------------------------------------------------------------

    def arm(self, *, epoch_base: int = 0, acks: tuple[str, ...] = ()) -> None:
        """Give the permission, as an operator does."""
        record = ArmRecord(f"arm-{self.revision}", epoch_base, acks, "operator", "", 0)
        self._write({"arm": (record, 0), "epoch": (epoch_base, 0)})

    def delete(self, name: str) -> None:
        """Delete a key by hand."""
        self._write({}, deleted=(name,))

    def revoke(self, lease_id: int) -> None:
        """Take a lease away, as an operator or a defect of the server does."""
        self.leases.pop(lease_id)
        self._drop_leased(lease_id)

    def wipe(self) -> None:
        """Lose everything."""
        self.keys.clear()
        self.leases.clear()
        self.revision = 1
        self.cluster_id += 1

    def expire(self) -> None:
        """End every lease whose time is over."""
        now = self.now_ns()
        for lease_id in [name for name, lease in self.leases.items() if lease.until_ns <= now]:
            del self.leases[lease_id]
            self._drop_leased(lease_id)

    @property
    def leader(self) -> Stored[LeaderRecord] | None:
        """The leader key as it stands."""
        self.expire()
        return self._stored("leader")

    def view(self, *, asked_boot_ns: int, known_revision: int) -> ClusterView:
        """Return every key at one revision."""
        self.expire()
        return ClusterView(
            self.revision,
            self.cluster_id,
            self.raft_term,
            asked_boot_ns,
            known_revision,
            leader=self._stored("leader"),
            resigned=self._number("resigned"),
            epoch_base=self._number("epoch"),
            arm=self._stored("arm"),
            latch=self._stored("latch"),
            trips=tuple(self._under("trip/")),
            override=self._stored("override"),
            nodes=tuple(self._under("node/")),
            elected=self._stored("elected"),
        )

    # What a request does to it --------------------------------------------------------------------

    def do(self, request: LeaseRequest | LatchRequest) -> LeaseReply | LatchReply:
        """Carry out one request; ReadCluster is not one of them, for its answer depends on who asked and when."""
        self.expire()
        carry_out: dict[type, Callable[[Any], LeaseReply | LatchReply]] = {
            GrantLease: self._grant,
            Campaign: self._campaign,
            KeepAlive: self._keep_alive,
            AskPermit: self._permit,
            AskTimeToLive: self._life_left,
            Resign: self._resign,
            RevokeLease: self._revoke,
            TripCluster: self._trip,
            ArmCluster: self._arm,
            OverrideCluster: self._override,
            ReportNode: self._report,
        }
        return carry_out[type(request)](request)

    def _grant(self, request: GrantLease) -> LeaseReply:
        if self.no_space:
            return NotDone("no space")
        self._lease_ids += 1
        self.leases[self._lease_ids] = Lease(request.ttl_s, self.now_ns() + request.ttl_s * NS_PER_S)
        return Granted(self._lease_ids, request.ttl_s)

    def _campaign(self, request: Campaign) -> LeaseReply:
        created, predecessor = "leader" not in self.keys, None
        if created:
            if request.lease_id not in self.leases or self.no_space:
                return NotDone("no such lease" if not self.no_space else "no space")
            predecessor = self._stored("elected")
            self._write({"leader": (request.record, request.lease_id), "elected": (request.record, 0)})
        leader = self._stored("leader")
        assert leader is not None
        return CampaignEnded(leader, created, self._number("resigned"), self._number("epoch"), predecessor)

    def _keep_alive(self, request: KeepAlive) -> LeaseReply:
        lease = self.leases.get(request.lease_id)
        if lease is None:
            return LifeLeft(0, self.raft_term)
        lease.until_ns = self.now_ns() + lease.ttl_s * NS_PER_S
        return LifeLeft(lease.ttl_s, self.raft_term)

    def _permit(self, request: AskPermit) -> LeaseReply:
        leader = self.keys.get("leader")
        leads = self._created("leader") == request.leader_revision and leader is not None
        leads = leads and leader is not None and leader.lease_id == request.lease_id
        armed = self._created("arm") == request.arm_revision
        return PermitAnswer(leads, armed, self.revision, self.raft_term)

    def _life_left(self, request: AskTimeToLive) -> LeaseReply:
        lease = self.leases.get(request.lease_id)
        left_s = -1 if lease is None else (lease.until_ns - self.now_ns()) // NS_PER_S
        return LifeLeft(left_s, self.raft_term)

    def _resign(self, request: Resign) -> LeaseReply:
        if self._created("leader") != request.leader_revision:
            return NotDone("another leads")
        self._write({"resigned": (request.leader_revision, 0)}, deleted=("leader",))
        self.leases.pop(request.lease_id, None)
        self._drop_leased(request.lease_id)
        return Done(self.revision)

    def _revoke(self, request: RevokeLease) -> LeaseReply:
        if self.leases.pop(request.lease_id, None) is None:
            return NotDone("no such lease")
        self._drop_leased(request.lease_id)
        return Done(self.revision)

    def _trip(self, request: TripCluster) -> LatchReply:
        record = request.record
        if self.no_space:
            self._write({}, deleted=("arm",))
            return Done(self.revision, complete=False)
        name = f"trip/{record.trip_id}"
        if name not in self.keys:
            written: dict[str, tuple[object, int]] = {name: (record, 0)}
            if "latch" not in self.keys:
                written["latch"] = (record, 0)
            self._write(written, deleted=("arm",))
        return Done(self.revision)

    def _arm(self, request: ArmCluster) -> LatchReply:
        latch = self.keys.get("latch")
        since = any(
            key.create_revision > request.view_revision for name, key in self.keys.items() if name.startswith("trip/")
        )
        same = request.latch_revision == (latch.mod_revision if latch is not None else 0)
        if since or not same or "arm" in self.keys or self.no_space:
            return NotDone("the latch has changed")
        written: dict[str, tuple[object, int]] = {"arm": (request.record, 0), "epoch": (request.record.epoch_base, 0)}
        self._write(written, deleted=("latch",))
        return Done(self.revision)

    def _override(self, request: OverrideCluster) -> LatchReply:
        key = self.keys.get("override")
        if request.mod_revision is not None and request.mod_revision != (key.mod_revision if key is not None else 0):
            return NotDone("the override has changed")
        self._write({"override": (request.record, 0)})
        return Done(self.revision)

    def _report(self, request: ReportNode) -> LatchReply:
        if self.no_space:
            return NotDone("no space")
        name = f"node/{request.record.node}"
        known = self.keys.get(name)
        lease_id = known.lease_id if known is not None else 0
        if lease_id not in self.leases:
            self._lease_ids += 1
            lease_id = self._lease_ids
        self.leases[lease_id] = Lease(request.ttl_s, self.now_ns() + request.ttl_s * NS_PER_S)
        self._write({name: (request.record, lease_id)})
        return Done(self.revision)

    # Keys -----------------------------------------------------------------------------------------

    def _created(self, name: str) -> int:
        return self.keys[name].create_revision if name in self.keys else 0

    def _number(self, name: str) -> int:
        return int(self.keys[name].value) if name in self.keys else 0

    def _stored(self, name: str) -> Stored[Any] | None:
        key = self.keys.get(name)
        return None if key is None else Stored(key.value, key.create_revision, key.mod_revision, key.lease_id)

    def _under(self, folder: str) -> list[Any]:
        keys = [key for name, key in self.keys.items() if name.startswith(folder)]
        return [key.value for key in sorted(keys, key=lambda key: key.create_revision)]

    def _write(self, written: dict[str, tuple[object, int]], deleted: tuple[str, ...] = ()) -> None:
        """Change keys in one transaction, at one revision."""
        gone = [name for name in deleted if name in self.keys]
        if not written and not gone:
            return
        self.revision += 1
        for name in gone:
            del self.keys[name]
        for name, (value, lease_id) in written.items():
            known = self.keys.get(name)
            created = self.revision if known is None else known.create_revision
            self.keys[name] = Key(value, created, self.revision, lease_id)

    def _drop_leased(self, lease_id: int) -> None:
        self._write({}, deleted=tuple(name for name, key in self.keys.items() if key.lease_id == lease_id))


class NodeStore:
    """The LeaseStore and the LatchStore of one node.

    ``up``: requests reach the cluster. ``answers``: its answers come back. ``delay_ms``: one way. A request that is not
    answered ends with NoAnswer after NO_ANSWER_MS. ``boot_ns``: the node's CLOCK_BOOTTIME.
    """

    def __init__(self, cluster: FakeCluster, boot_ns: Callable[[], int]) -> None:
        self.cluster = cluster
        self.boot_ns = boot_ns
        self.up = True
        self.answers = True
        self.delay_ms = 0
        self.asked: list[LeaseRequest | LatchRequest] = []
        self._calls: deque[tuple[int, Callable[[], None]]] = deque()
        self._on_view: Callable[[ClusterView], None] | None = None
        self._known_revision = 0
        self._listed_ns = -LIST_MS * NS_PER_MS

    def ask(self, request: Any, on_reply: Callable[[Any], None]) -> None:
        """Ask; carried out and answered by later pumps."""
        self.asked.append(request)
        asked_boot_ns, known_revision = self.boot_ns(), self._known_revision
        self._later(self.delay_ms, lambda: self._arrive(request, on_reply, asked_boot_ns, known_revision))

    def watch(self, on_view: Callable[[ClusterView], None]) -> None:
        """Tell every change and a linearizable read every second, when pumped."""
        assert self._on_view is None
        self._on_view = on_view

    def pump(self) -> None:
        """Let everything happen that is due now."""
        self.cluster.expire()
        now = self.cluster.now_ns()
        if self._on_view is not None and now - self._listed_ns >= LIST_MS * NS_PER_MS:
            self._listed_ns = now
            self.ask(ReadCluster(), self._listed)
        for _ in range(10_000):
            due = [call for call in self._calls if call[0] <= now]
            if not due:
                break
            self._calls = deque(call for call in self._calls if call[0] > now)
            for _, call in due:
                call()
        else:
            raise AssertionError("the node and the cluster talk for ever")
        if self.up and self.answers and self.cluster.revision > self._known_revision and self._on_view is not None:
            self._tell(self.cluster.view(asked_boot_ns=0, known_revision=self._known_revision))

    def crash(self) -> None:
        """Forget whatever was on its way, and who watches: the process is gone."""
        self._calls.clear()
        self._on_view = None

    def _later(self, milliseconds: int, call: Callable[[], None]) -> None:
        self._calls.append((self.cluster.now_ns() + milliseconds * NS_PER_MS, call))

    def _arrive(self, request: Any, on_reply: Callable[[Any], None], asked_boot_ns: int, known_revision: int) -> None:
        if not self.up:
            self._later(NO_ANSWER_MS, lambda: on_reply(NoAnswer("unreachable")))
            return
        if isinstance(request, ReadCluster):
            reply: Any = self.cluster.view(asked_boot_ns=asked_boot_ns, known_revision=known_revision)
        else:
            reply = self.cluster.do(request)
        if self.answers:
            self._later(self.delay_ms, lambda: on_reply(reply))
        else:
            self._later(NO_ANSWER_MS, lambda: on_reply(NoAnswer("the answer was lost")))

    def _listed(self, reply: LatchReply) -> None:
        if isinstance(reply, ClusterView):
            self._tell(reply)

    def _tell(self, view: ClusterView) -> None:
        self._known_revision = view.revision
        if self._on_view is not None:
            self._on_view(view)

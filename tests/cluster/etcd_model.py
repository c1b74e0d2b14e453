"""An etcd cluster of three members as far as leases and this project's keys go, with the ways in which it fails.

What is committed is one history of keys at revisions. A member answers linearizably only while it is of a majority that
has a leader. One that led and was cut off goes on acknowledging keepalives for a while, by a clock of its own: the next
leader gave every lease its whole life again when it was elected, and knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from grinder.model.cluster import (
    ArmCluster,
    AskPermit,
    AskTimeToLive,
    Campaign,
    CampaignEnded,
    ClusterView,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LifeLeft,
    NotDone,
    PermitAnswer,
    ReadCluster,
    ReportNode,
    Resign,
    RevokeLease,
    Stored,
    TripCluster,
)
from tests.cluster.history import History, Key, Keys, Known, Reading
from tests.cluster.schedule import MS, S, Schedule

MEMBERS = 3
SCAN_NS = 500 * MS


class Life(msgspec.Struct):
    ttl_s: int
    until_ns: int


class Stale(msgspec.Struct):
    """A member that led and does not know better yet: until when, in which term, and the leases by its clock."""

    member: int
    raft_term: int
    until_ns: int
    leases: dict[int, int]


class Etcd:
    """``on_commit``: told of each change; ``on_loss``: of lost data; ``on_elected``: of a term that begins.

    ``gone_ns``: when leader keys went; ``unarmed_ns``: the permission.
    ``arm_in_force``: revision of the permission that was given last and not taken back. ``came_back_ns``: when another
    one stood there again after a loss of data, 0 where none does. ``lost_ns``: when data was lost last, 0 for never;
    ``told_ns``: since then, when a host's report first told of a term.
    """

    def __init__(
        self,
        schedule: Schedule,
        on_commit: Callable[[], None],
        on_loss: Callable[[], None],
        on_elected: Callable[[int], None],
    ) -> None:
        self.schedule = schedule
        self.on_commit = on_commit
        self.on_loss = on_loss
        self.on_elected = on_elected
        self.revision = schedule.random.choice((1, 1_000))
        self.cluster_id = 1
        self.raft_term = 2
        self.leader: int | None = 0
        self.apart: set[int] = set()
        self.stale: Stale | None = None
        self.keys: Keys = {}
        self.history = History(self.revision)
        self.leases: dict[int, Life] = {}
        self.no_space = False
        self.snapshots: list[tuple[int, Keys, dict[int, int]]] = []
        self.gone_ns: dict[int, int] = {}
        self.unarmed_ns: int | None = 0
        self.came_back_ns = 0
        self.arm_in_force = 0
        self.lost_ns = 0
        self.told_ns: dict[int, int] = {}
        self._lease_ids = 100
        self._election = 0
        self._view: ClusterView | None = None
        self._carry_out: dict[type, Callable[[Any], Any]] = {
            GrantLease: self._grant,
            Campaign: self._campaign,
            AskPermit: self._permit,
            Resign: self._resign,
            RevokeLease: self._revoke,
            TripCluster: self._trip,
            ArmCluster: self._arm,
            ReportNode: self._report,
        }
        schedule.after(SCAN_NS, self._scan)
        schedule.after(3 * S, self._take_snapshot)

    # Members --------------------------------------------------------------------------------------

    def set_apart(self, members: set[int], *, acknowledges_ns: int = 0) -> None:
        """Cut members off from the others, or stop them; a leader among them may go on acknowledging for a while."""
        if self.leader in members and acknowledges_ns:
            leases = {lease_id: life.until_ns for lease_id, life in self.leases.items()}
            until_ns = self.schedule.now_ns + acknowledges_ns
            self.stale = Stale(self.leader, self.raft_term, until_ns, leases)
        self.apart = members
        self._elect_if_needed()

    def heal(self) -> None:
        self.apart = set()
        self.stale = None
        self._elect_if_needed()

    def _elect_if_needed(self) -> None:
        """A leader that is apart leads no more; without one, a majority elects another after its timeout."""
        if self.leader is not None and (self.leader in self.apart or len(self.apart) > 1):
            self.leader = None
        if self.leader is None and len(self.apart) <= 1:
            self._election += 1
            self.schedule.after(self.schedule.between(S, 2_200 * MS), self._elect, self._election)

    def _elect(self, election: int) -> None:
        if election != self._election or self.leader is not None or len(self.apart) > 1:
            return
        self.raft_term += 1
        self.leader = self.schedule.random.choice([member for member in range(MEMBERS) if member not in self.apart])
        for life in self.leases.values():
            life.until_ns = self.schedule.now_ns + life.ttl_s * S

    def answers(self, member: int) -> bool:
        return self.leader is not None and member not in self.apart

    # Requests -------------------------------------------------------------------------------------

    def serve(self, member: int, request: Any, asked_boot_ns: int, known: Known) -> Any:
        """Return the answer of a member, or None where none comes."""
        kind = type(request)
        if not self.answers(member):
            stale = self.stale
            if stale is None or stale.member != member or self.schedule.now_ns >= stale.until_ns:
                return None
            return self._stale_answer(stale, request) if kind in (KeepAlive, AskTimeToLive) else None
        if kind is KeepAlive:
            life = self.leases.get(request.lease_id)
            if life is None:
                return LifeLeft(0, self.raft_term)
            life.until_ns = self.schedule.now_ns + life.ttl_s * S
            return LifeLeft(life.ttl_s, self.raft_term)
        if kind is AskTimeToLive:
            life = self.leases.get(request.lease_id)
            left_s = -1 if life is None else max(0, (life.until_ns - self.schedule.now_ns) // S)
            return LifeLeft(left_s, self.raft_term)
        if kind is ReadCluster:
            return self._read(asked_boot_ns, known)
        return self._carry_out[kind](request)

    def _stale_answer(self, stale: Stale, request: Any) -> LifeLeft:
        until_ns = stale.leases.get(request.lease_id)
        if until_ns is None:
            return LifeLeft(-1 if isinstance(request, AskTimeToLive) else 0, stale.raft_term)
        if isinstance(request, AskTimeToLive):
            return LifeLeft(max(0, (until_ns - self.schedule.now_ns) // S), stale.raft_term)
        ttl_s = self.leases[request.lease_id].ttl_s if request.lease_id in self.leases else 5
        stale.leases[request.lease_id] = self.schedule.now_ns + ttl_s * S
        return LifeLeft(ttl_s, stale.raft_term)

    def _read(self, asked_boot_ns: int, known: Known) -> Reading:
        """Return every key, and whether those of a revision that a host knows are told otherwise now."""
        rewritten = self.revision >= known.revision and self.history.tells_otherwise(known)
        view = msgspec.structs.replace(
            self.view(), asked_boot_ns=asked_boot_ns, known_revision=known.revision, rewritten=rewritten
        )
        return Reading(view, Known(self.revision, self.keys))

    def view(self) -> ClusterView:
        """Return every key at this revision, as a watch tells it."""
        if self._view is None:
            trips = tuple(key.value for name, key in self.keys.items() if name.startswith("trip/"))
            self._view = ClusterView(
                self.revision,
                self.cluster_id,
                self.raft_term,
                0,
                0,
                leader=self._stored("leader"),
                resigned=self._number("resigned"),
                epoch_base=self._number("epoch"),
                arm=self._stored("arm"),
                latch=self._stored("latch"),
                trips=trips,
                nodes=tuple(key.value for name, key in self.keys.items() if name.startswith("node/")),
            )
        elif self._view.raft_term != self.raft_term:
            self._view = msgspec.structs.replace(self._view, raft_term=self.raft_term)
        return self._view

    def _grant(self, request: GrantLease) -> Any:
        if self.no_space:
            return NotDone("no space")
        self._lease_ids += 1
        self.leases[self._lease_ids] = Life(request.ttl_s, self.schedule.now_ns + request.ttl_s * S)
        return Granted(self._lease_ids, request.ttl_s)

    def _campaign(self, request: Campaign) -> Any:
        created, predecessor = "leader" not in self.keys, None
        if created:
            if request.lease_id not in self.leases or self.no_space:
                return NotDone("no such lease, or no space")
            predecessor = self._stored("elected")
            self._write({"leader": (request.record, request.lease_id), "elected": (request.record, 0)})
            self.on_elected(self._number("epoch") + self.revision)
        leader = self._stored("leader")
        assert leader is not None
        return CampaignEnded(leader, created, self._number("resigned"), self._number("epoch"), predecessor)

    def _permit(self, request: AskPermit) -> PermitAnswer:
        key = self.keys.get("leader")
        leads = key is not None and (key.create_revision, key.lease_id) == (request.leader_revision, request.lease_id)
        arm_holds = self._created("arm") == request.arm_revision
        return PermitAnswer(leads, arm_holds, self.revision, self.raft_term)

    def _resign(self, request: Resign) -> Any:
        if self._created("leader") != request.leader_revision:
            return NotDone("another leads")
        self._write({"resigned": (request.leader_revision, 0)}, ("leader",))
        self._revoke(RevokeLease(request.lease_id))
        return Done(self.revision)

    def _revoke(self, request: RevokeLease) -> Any:
        if self.leases.pop(request.lease_id, None) is None:
            return NotDone("no such lease")
        self._write({}, tuple(name for name, key in self.keys.items() if key.lease_id == request.lease_id))
        return Done(self.revision)

    def _trip(self, request: TripCluster) -> Done:
        name = f"trip/{request.record.trip_id}"
        if name in self.keys:
            return Done(self.revision)
        if self.no_space:
            self._write({}, ("arm",))
            return Done(self.revision, complete=False)
        written: dict[str, tuple[Any, int]] = {name: (request.record, 0)}
        if "latch" not in self.keys:
            written["latch"] = (request.record, 0)
        self._write(written, ("arm",))
        return Done(self.revision)

    def _arm(self, request: ArmCluster) -> Any:
        latch = self.keys.get("latch")
        later = any(
            key.mod_revision > request.view_revision for name, key in self.keys.items() if name.startswith("trip/")
        )
        same = request.latch_revision == (0 if latch is None else latch.mod_revision)
        if later or not same or "arm" in self.keys or self.no_space:
            return NotDone("not as it was looked at")
        self._write({"arm": (request.record, 0), "epoch": (request.record.epoch_base, 0)}, ("latch",))
        return Done(self.revision)

    def _report(self, request: ReportNode) -> Any:
        """Take what a host says of itself. Watches are not told: the hosts read every half second anyhow."""
        if self.no_space:
            return NotDone("no space")
        name = f"node/{request.record.node}"
        lease_id = self.keys[name].lease_id if name in self.keys else 0
        if lease_id not in self.leases:
            self._lease_ids += 1
            lease_id = self._lease_ids
        self.leases[lease_id] = Life(request.ttl_s, self.schedule.now_ns + request.ttl_s * S)
        self._write({name: (request.record, lease_id)}, quiet=True)
        self.told_ns.setdefault(request.record.term, self.schedule.now_ns)
        return Done(self.revision)

    # By hand, and by disaster ---------------------------------------------------------------------

    def delete(self, name: str) -> None:
        if self.leader is not None:
            self._write({}, (name,))

    def revoke_leader(self) -> None:
        key = self.keys.get("leader")
        if key is not None and self.leader is not None:
            self._revoke(RevokeLease(key.lease_id))

    def wipe(self, *, same_cluster: bool) -> None:
        self._become({}, self.schedule.random.randrange(1, 4), {}, same_cluster=same_cluster)

    def restore(self, *, same_cluster: bool, newest: bool = False) -> None:
        """Go back to a snapshot; every lease in it lives its whole life again."""
        snapshots = self.snapshots or [(1, {}, {})]
        revision, keys, leases = snapshots[-1] if newest else self.schedule.random.choice(snapshots)
        self._become(keys, revision, leases, same_cluster=same_cluster)

    def _become(self, keys: Keys, revision: int, leases: dict[int, int], *, same_cluster: bool) -> None:
        led = self._created("leader")
        self.keys = keys
        self.revision = revision
        self.history.go_back(revision, keys)
        self.leases = {lease_id: Life(ttl_s, self.schedule.now_ns + ttl_s * S) for lease_id, ttl_s in leases.items()}
        self.lost_ns = self.schedule.now_ns
        self.told_ns = {key.value.term: self.lost_ns for name, key in keys.items() if name.startswith("node/")}
        self.cluster_id += 0 if same_cluster else 1
        self.raft_term += 1
        self.stale = None
        self._view = None
        if led:
            self.gone_ns[led] = self.schedule.now_ns
        self.gone_ns.pop(self._created("leader"), None)
        self._note_arm()
        if "arm" in keys and self._created("arm") != self.arm_in_force:
            self.came_back_ns = self.schedule.now_ns
            self.arm_in_force = self._created("arm")
            self.on_loss()
        self.on_commit()

    def _take_snapshot(self) -> None:
        leases = {lease_id: life.ttl_s for lease_id, life in self.leases.items()}
        self.snapshots.append((self.revision, self.keys, leases))
        self.schedule.after(self.schedule.between(S, 4 * S), self._take_snapshot)

    def _scan(self) -> None:
        if self.leader is not None:
            now_ns = self.schedule.now_ns
            for lease_id in [lease_id for lease_id, life in self.leases.items() if life.until_ns <= now_ns]:
                self._revoke(RevokeLease(lease_id))
        self.schedule.after(SCAN_NS, self._scan)

    # Keys -----------------------------------------------------------------------------------------

    def _created(self, name: str) -> int:
        key = self.keys.get(name)
        return 0 if key is None else key.create_revision

    def _number(self, name: str) -> int:
        key = self.keys.get(name)
        return 0 if key is None else int(key.value)

    def _stored(self, name: str) -> Stored[Any] | None:
        key = self.keys.get(name)
        return None if key is None else Stored(key.value, key.create_revision, key.mod_revision, key.lease_id)

    def _write(
        self, written: dict[str, tuple[Any, int]], deleted: tuple[str, ...] = (), *, quiet: bool = False
    ) -> None:
        gone = [name for name in deleted if name in self.keys]
        if not written and not gone:
            return
        self.revision += 1
        self.keys = dict(self.keys)
        self.history.note(self.revision, self.keys)
        for name in gone:
            key = self.keys.pop(name)
            if name == "arm":
                self.arm_in_force = 0
            if name == "leader":
                self.gone_ns[key.create_revision] = self.schedule.now_ns
        for name, (value, lease_id) in written.items():
            created = self._created(name) or self.revision
            self.keys[name] = Key(value, created, self.revision, lease_id)
            if name == "leader":
                self.gone_ns.pop(created, None)
            elif name == "arm":
                self.came_back_ns, self.arm_in_force = 0, created
        self._view = None
        if not quiet:
            self._note_arm()
            self.on_commit()

    def _note_arm(self) -> None:
        if "arm" in self.keys:
            self.unarmed_ns = None
        elif self.unarmed_ns is None:
            self.unarmed_ns = self.schedule.now_ns

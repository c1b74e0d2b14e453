"""What hosts say to each other through etcd, as values: the keys of a cluster, what is asked of it, what comes back.

Every key stands under ``/grinder/v1/<cluster>/``. The folder is small, so a whole one is read at once and at one
revision: that is a ClusterView. An answer that did not come says nothing about what was done.

Invariant: ``arm`` is a permission. Where it is absent, for whatever reason, no host takes new risk.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Generic, TypeVar

import msgspec

from grinder.model.control import HaRole, Override, TripReason
from grinder.model.limits import ETCD_LEASE_TTL_S_MAX, TERM_MAX

V = TypeVar("V")

LeaseLife = Annotated[int, msgspec.Meta(ge=0, le=ETCD_LEASE_TTL_S_MAX)]
Term = Annotated[int, msgspec.Meta(ge=0, le=TERM_MAX)]
"""Whole seconds; a term, or what is added to one. Anybody may write a key by hand: beyond these it cannot be read."""


class EtcdOperation(StrEnum):
    """What is asked of etcd, as metrics name it."""

    GRANT = "grant"
    CAMPAIGN = "campaign"
    KEEP_ALIVE = "keep_alive"
    PERMIT = "permit"
    TIME_TO_LIVE = "time_to_live"
    RESIGN = "resign"
    REVOKE = "revoke"
    READ = "read"
    TRIP = "trip"
    ARM = "arm"
    OVERRIDE = "override"
    REPORT = "report"
    WATCH = "watch"


class EtcdFailure(StrEnum):
    """How a request ends that is not carried out, as metrics name it: see NoAnswer and NotDone."""

    NO_ANSWER = "no_answer"
    NOT_DONE = "not_done"


class SharedSettings(msgspec.Struct, frozen=True):
    """What every host of a cluster must have the same, as texts for people; empty: not told, as by an older release.

    ``symbols``: in alphabetical order. ``venue``: the built-in address, or that it is one of the host's own.
    """

    order_prefix: str = ""
    symbols: str = ""
    trading_mode: str = ""
    exchange_port: str = ""
    venue: str = ""


class LeaderRecord(msgspec.Struct, frozen=True):
    """Key ``leader``, bound to the leader's lease; its create revision is the fencing token. And key ``elected``.

    ``elected`` is put by the same transaction, without a lease, and never deleted: its mod revision is the token of the
    last leader there was, however that one ended. ``ttl_s``: for how long the leader believes a confirmed lease.
    """

    node: str
    host: str
    boot_id: str
    pid: int
    utc_ms: int
    ttl_s: LeaseLife
    settings: SharedSettings = SharedSettings()


class ArmRecord(msgspec.Struct, frozen=True):
    """Key ``arm``: while it is there, new risk is permitted. A trip deletes it.

    ``arm_id``: made anew each time. ``acks``: trips that the operator has seen; a host that holds one of them, and only
    such a host, may clear its own latch. ``epoch_base``: added to revisions so that terms grow over a loss of etcd's
    data; arming puts it into key ``epoch`` too, which a trip leaves alone.
    """

    arm_id: str
    epoch_base: Term
    acks: tuple[str, ...]
    operator: str
    note: str
    utc_ms: int


class TripRecord(msgspec.Struct, frozen=True):
    """Keys ``trip/<trip id>``, never changed, and ``latch``, the first of them since the cluster was armed.

    ``trip_id``: unique in the cluster. ``who``: process or operator. ``arm_id``: the permission that it ended, empty
    where it was not known.
    """

    trip_id: str
    node: str
    reason: TripReason
    who: str
    detail: str
    arm_id: str
    utc_ms: int


class OverrideRecord(msgspec.Struct, frozen=True):
    """Key ``override``: the operator's override of every host of the cluster; absent is NONE."""

    code: Override
    who: str
    reason: str
    utc_ms: int


class NodeRecord(msgspec.Struct, frozen=True):
    """Keys ``node/<node>``, each bound to a short lease: what a host that lives says of itself.

    ``trip_id``: the trip its latch holds, empty if it is clear. ``demand``: board word RISK_DEMAND. ``term``: the one
    it acts under or acted under last. ``override``: that of the cluster as this host's processes see it.
    """

    node: str
    host: str
    role: HaRole
    term: Term
    trip_id: str
    demand: int
    problem: str
    utc_ms: int
    override: Override = Override.NONE
    settings: SharedSettings = SharedSettings()


class Stored(msgspec.Struct, Generic[V], frozen=True):
    """The value of a key with the revisions of its first and its last write, and its lease (0 without one)."""

    value: V
    create_revision: int
    mod_revision: int
    lease_id: int = 0


class ClusterView(msgspec.Struct, frozen=True):
    """Every key of the cluster at one revision.

    ``cluster_id``, ``raft_term``: of the etcd cluster that answered. ``asked_boot_ns``: CLOCK_BOOTTIME right before a
    linearizable read left; 0 where the view came from a watch, which proves nothing about now. ``known_revision``: the
    highest revision that this host had seen when it asked: an answer below it means that etcd lost data. ``resigned``:
    create revision of the leader key of the last clean resignation, 0 before the first. ``epoch_base``: key ``epoch``,
    0 before the first. ``trips``: in the order in which they were recorded. ``problem``: a key that cannot be read,
    which then counts as absent (a leader that cannot be read: as one of nobody known). ``rewritten``: of the revision
    that was read last, etcd now says something else than it said then: it lost data, and has gone on since.
    ``elected``: who led last, or leads.
    """

    revision: int
    cluster_id: int
    raft_term: int
    asked_boot_ns: int
    known_revision: int
    leader: Stored[LeaderRecord] | None = None
    resigned: int = 0
    epoch_base: int = 0
    arm: Stored[ArmRecord] | None = None
    latch: Stored[TripRecord] | None = None
    trips: tuple[TripRecord, ...] = ()
    override: Stored[OverrideRecord] | None = None
    nodes: tuple[NodeRecord, ...] = ()
    problem: str = ""
    rewritten: bool = False
    elected: Stored[LeaderRecord] | None = None


class GrantLease(msgspec.Struct, frozen=True):
    """Ask for a lease; the server may grant a longer one."""

    ttl_s: int


class Campaign(msgspec.Struct, frozen=True):
    """Create the leader key under a lease if it does not exist, and put ``elected``, in one transaction.

    Both branches read ``leader`` and ``epoch``; the one that creates also reads ``elected`` (as it was before) and
    ``resigned``.
    """

    lease_id: int
    record: LeaderRecord


class KeepAlive(msgspec.Struct, frozen=True):
    """Extend a lease to its full life."""

    lease_id: int


class AskPermit(msgspec.Struct, frozen=True):
    """Ask, linearizably, whether the leader key and the arm key are still those that were created at these revisions.

    Only a quorum can answer; that is what makes it more than a keepalive. ``lease_id``: under which the leader key must
    stand: after a loss of data a revision may come again for another's key. ``arm_revision`` 0: that there is no
    ``arm``. One transaction reads both keys, so that each is answered for itself.
    """

    leader_revision: int
    arm_revision: int
    lease_id: int


class AskTimeToLive(msgspec.Struct, frozen=True):
    """Ask how long a lease, anybody's, has to live."""

    lease_id: int


class Resign(msgspec.Struct, frozen=True):
    """Delete our leader key and record the resignation in one transaction, then give the lease back."""

    lease_id: int
    leader_revision: int


class RevokeLease(msgspec.Struct, frozen=True):
    """Give a lease back."""

    lease_id: int


class ReadCluster(msgspec.Struct, frozen=True):
    """Read every key of the cluster, linearizably."""


class TripCluster(msgspec.Struct, frozen=True):
    """Delete ``arm``, record the trip, and make it the latch if there is none, in one transaction.

    Where etcd has no space left, ``arm`` is deleted alone. Asked twice with one trip id it is recorded once.
    """

    record: TripRecord


class ArmCluster(msgspec.Struct, frozen=True):
    """Create ``arm`` and delete ``latch``, if the latch is the one of ``latch_revision`` and nothing tripped since.

    ``latch_revision``: mod revision of the latch, 0 for none. ``view_revision``: of the view that the operator
    acknowledged; a trip recorded after it makes the request fail.
    """

    record: ArmRecord
    latch_revision: int
    view_revision: int


class OverrideCluster(msgspec.Struct, frozen=True):
    """Write ``override``. ``mod_revision``: what it must be at, 0 for absent; None to write in any case."""

    record: OverrideRecord
    mod_revision: int | None = None


class ReportNode(msgspec.Struct, frozen=True):
    """Write ``node/<node>`` under a lease of its own, which is kept alive by the next report."""

    record: NodeRecord
    ttl_s: int


LeaseRequest = GrantLease | Campaign | KeepAlive | AskPermit | AskTimeToLive | Resign | RevokeLease
LatchRequest = ReadCluster | TripCluster | ArmCluster | OverrideCluster | ReportNode


class Granted(msgspec.Struct, frozen=True):
    """A lease. ``ttl_s``: as granted."""

    lease_id: int
    ttl_s: int


class CampaignEnded(msgspec.Struct, frozen=True):
    """Whose leader key stands after a campaign; ours where its lease is the one of the request.

    ``predecessor``: key ``elected`` as this campaign found it, if it created the key; its mod revision is the token of
    the leader before. None where there never was one, and where the key was there already. ``created``: which of the
    two. ``resigned`` and ``epoch_base``: as in ClusterView, at the same revision.
    """

    leader: Stored[LeaderRecord]
    created: bool
    resigned: int
    epoch_base: int
    predecessor: Stored[LeaderRecord] | None = None


class LifeLeft(msgspec.Struct, frozen=True):
    """Time that a lease has left, whole seconds rounded down by the server.

    ``ttl_s``: of a keepalive: as granted, 0 or less where the lease is gone; of a question: 0 where it has run out, -1
    where there is no such lease, which does not tell how it ended. ``raft_term``: in the header of the answer.
    """

    ttl_s: int
    raft_term: int


class PermitAnswer(msgspec.Struct, frozen=True):
    """Whether each of the two keys is still the one that was asked about; both as of one ``revision``.

    ``raft_term``: in the header of the answer. A keepalive answered in another term than the permit proves nothing: it
    may have been acknowledged by a deposed etcd leader, and the lease runs elsewhere by another clock.
    """

    leader_holds: bool
    arm_holds: bool
    revision: int
    raft_term: int


class Done(msgspec.Struct, frozen=True):
    """The request was carried out at ``revision``.

    ``complete``: False where a trip could only delete ``arm`` and not be recorded: it holds, and is asked again.
    """

    revision: int
    complete: bool = True


class NotDone(msgspec.Struct, frozen=True):
    """etcd answered that the request was not carried out: a compare failed, a key is gone, access is denied."""

    why: str


class NoAnswer(msgspec.Struct, frozen=True):
    """No member answered in time: the request may have been carried out or may be so later."""

    why: str


LeaseReply = Granted | CampaignEnded | LifeLeft | PermitAnswer | Done | NotDone | NoAnswer
LatchReply = ClusterView | Done | NotDone | NoAnswer

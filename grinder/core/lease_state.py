"""Values of the lease machine: where it is, what it asks, what it tells the board; and when a winner may act.

Every time here is CLOCK_BOOTTIME. Must never make a deadline later than what a confirmed answer allows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.cluster import CampaignEnded, LeaderRecord, LeaseRequest, SharedSettings, Stored
from grinder.model.control import HaRole
from grinder.model.units import MS_PER_S, NS_PER_MS

MARGIN_MS: Final = 1_000
"""Time before the end of a confirmed lease at which a leader stops acting, milliseconds. Source: design, section 6."""

RISK_WINDOW_MS: Final = 2_000
"""Time after a permit was asked for in which new risk may be taken, milliseconds. Source: design, section 6."""

DRIFT_MS: Final = 20
"""Added to every wait for another host's deadline, milliseconds: two clocks 0.05 % apart over a lease of 40 s."""

POLL_MS: Final = 500
SHOWN_AGE_MS_MAX: Final = 1_200
"""Period at which a standby asks what is left of the leader's lease, milliseconds, and how long before its end was seen
an answer still says something of it. Less than a second was left: then the leader's own deadline, a margin before the
end, had passed. A whole second says nothing: a short lease whose renewals are slow is down to that, and well."""

SUSPEND_MS_MIN: Final = 50
"""Growth of CLOCK_BOOTTIME over CLOCK_MONOTONIC that is a suspend, milliseconds."""

RETRY_MS_MIN: Final = 100
RETRY_MS_MAX: Final = 1_000
"""Bounds of the wait before a request that failed or was not answered is made again, milliseconds."""

UNHEALTHY_MS: Final = 3_000
HEALTHY_MS: Final = 2_000
"""How long a node is not well before it gives up the lease, and how long well before it stands for election."""

LEAVE_MS_MAX: Final = 15_000
"""Longest time in which a leader that is not well puts its orders in order before the lease is revoked."""

REVOCATIONS_MAX: Final = 8
"""Most leases that wait to be given back; an older one runs out by itself."""

assert MARGIN_MS >= MS_PER_S
assert 2 * POLL_MS < SHOWN_AGE_MS_MAX
assert RETRY_MS_MIN < RETRY_MS_MAX <= MARGIN_MS < RISK_WINDOW_MS


class Now(msgspec.Struct, frozen=True, gc=False):
    """The clocks of a host at one moment; the boot clock read first, so that a pause between two is no suspend."""

    boot_ns: int
    mono_ns: int
    utc_ms: int


class LeasePlan(msgspec.Struct, frozen=True):
    """Who stands for election, and the settings of it. ``settings``: what it tells the others of its own."""

    node: str
    host: str
    boot_id: str
    pid: int
    ttl_s: int
    renew_interval_ms: int
    settings: SharedSettings = SharedSettings()


class Phase(StrEnum):
    """Where the machine is. IDLE: it has no lease. CANDIDATE: it keeps one warm. CAMPAIGNING: the outcome is open."""

    IDLE = "IDLE"
    CANDIDATE = "CANDIDATE"
    CAMPAIGNING = "CAMPAIGNING"
    LEADING = "LEADING"
    RESIGNING = "RESIGNING"
    STOPPED = "STOPPED"


class Asked(msgspec.Struct, frozen=True):
    """A request to send now. ``number``: tells it from every other; ``asked_boot_ns``: t0 of what its answer proves.

    ``known_revision``: highest revision that had been seen when it was asked.
    """

    number: int
    request: LeaseRequest
    asked_boot_ns: int
    known_revision: int


class Revocation(msgspec.Struct, frozen=True):
    """A lease to give back. ``number``: of the request under way, 0 for none; after ``until`` it has run out."""

    lease_id: int
    until_boot_ns: int
    wake_boot_ns: int = 0
    number: int = 0


class Shown(msgspec.Struct, frozen=True):
    """That the lease of the leader with this token had less than a second left, by an answer of etcd."""

    token: int
    asked_boot_ns: int
    answered_boot_ns: int


class Tenure(msgspec.Struct, frozen=True):
    """A leadership of this machine.

    ``confirm_by_boot_ns``: when it ends if nothing is confirmed. ``act_boot_ns``: end of the lock delay.
    ``round_boot_ns``: when the last round began; ``round_raft_term``: that its keepalive was answered in, 0 before and
    after. ``lead`` and ``risk`` deadline: 0 before the first.
    """

    token: int
    epoch_base: int
    confirm_by_boot_ns: int
    act_boot_ns: int
    delay_why: str
    round_boot_ns: int = 0
    round_raft_term: int = 0
    lead_deadline_boot_ns: int = 0
    risk_deadline_boot_ns: int = 0

    @property
    def term(self) -> int:
        """The fencing token that orders carry."""
        return self.epoch_base + self.token


class Lease(msgspec.Struct, frozen=True):
    """State of the machine.

    ``awaiting``: number of the request that the phase waits for, 0 for none; ``polling``: of a question about the
    leader's lease. ``wake_boot_ns``: when the phase goes on. ``ttl_s``: as asked or granted, the shorter. ``leader``:
    whose key stood last; ``vacant``: it is known to be gone. ``revision``: highest seen since etcd last lost data, 0
    before the first view. ``arm_revision``: create revision of ``arm``, 0 for absent. ``highest_term``: ever seen;
    ``kept_term``: the highest that is on the disk; ``led``: the newest that was seen to be led, and under which lease.
    ``own_token``: of the last leadership of this machine;
    ``own_deadline_boot_ns``: until when commands of an earlier one may still arrive; ``doubt_until_boot_ns``: until
    when a leader may act that etcd has forgotten, or that a lock delay was for which ended early. ``ill``: why the node
    is not well, empty if it is; ``health_boot_ns``: since when. ``stopping``: for good. ``leaving``: why a leader gives
    up in order, since ``leaving_boot_ns``. ``heard_boot_ns``: when etcd was last proved to answer; ``read_boot_ns``:
    when the newest linearizable view was asked for.
    ``clocks_apart_ns``: CLOCK_BOOTTIME less CLOCK_MONOTONIC.
    """

    highest_term: int = 0
    kept_term: int = 0
    led: tuple[int, int] = (0, 0)
    phase: Phase = Phase.IDLE
    numbers: int = 0
    awaiting: int = 0
    polling: int = 0
    wake_boot_ns: int = 0
    poll_boot_ns: int = 0
    failures: int = 0
    lease_id: int = 0
    ttl_s: int = 0
    tenure: Tenure | None = None
    own_token: int = 0
    own_deadline_boot_ns: int = 0
    doubt_until_boot_ns: int = 0
    leader: Stored[LeaderRecord] | None = None
    vacant: bool = False
    shown: Shown | None = None
    revision: int = 0
    cluster_id: int = 0
    epoch_base: int = 0
    arm_revision: int = 0
    revocations: tuple[Revocation, ...] = ()
    ill: str = "its health is not known yet"
    health_boot_ns: int = 0
    stopping: bool = False
    leaving: str = ""
    leaving_boot_ns: int = 0
    last_end: str = ""
    heard_boot_ns: int = 0
    read_boot_ns: int = 0
    clocks_apart_ns: int | None = None


class Standing(msgspec.Struct, frozen=True):
    """What this host is in its cluster, for the board and for people.

    ``term``: own one while it leads, the lock delay included, else 0. Deadlines are 0 unless the role is ACTIVE.
    ``leader``: node that leads as far as is known. ``leaving``: why the lease is about to be given up: refuse risk, put
    the orders in order, then call ``release``. ``highest_term``: to be kept on the disk; before that no role is ACTIVE.
    """

    role: HaRole
    term: int
    risk_deadline_boot_ns: int
    lead_deadline_boot_ns: int
    why: str
    leader: str
    leaving: str
    highest_term: int


class Wait(msgspec.Struct, frozen=True):
    """Until when a winner must not act, and why; a time that is past is no wait."""

    until_boot_ns: int
    why: str


def changed(lease: Lease, **fields: object) -> Lease:
    """Return the machine with these fields changed."""
    return msgspec.structs.replace(lease, **fields)


def wait_after(won: CampaignEnded, lease: Lease, plan: LeasePlan, now_boot_ns: int) -> Wait:
    """Return how long a winner must still fear an act of a leader before.

    Args:
        won: the answer to the campaign.
        lease: the machine before that answer.
        plan: who won.
        now_boot_ns: when the answer came, CLOCK_BOOTTIME.

    Source: Chubby's lock-delay (Burrows, OSDI 2006, section 2.4).
    """
    waits = (
        _wait_for_predecessor(won, lease, plan, now_boot_ns),
        Wait(_later(lease.own_deadline_boot_ns, DRIFT_MS), "commands of this node's earlier term may be on their way"),
        Wait(lease.doubt_until_boot_ns, "a leader may act that etcd or this host's clock knows nothing of"),
    )
    return max(waits, key=lambda wait: wait.until_boot_ns)


def _wait_for_predecessor(won: CampaignEnded, lease: Lease, plan: LeasePlan, now_boot_ns: int) -> Wait:
    """Return the wait for the leader right before.

    Nobody was before, it resigned, or its lease was about to run out when last seen, so that it had stopped by itself:
    then none. Otherwise its lease was taken away early, and it may not know yet.
    """
    before, longest_boot_ns = won.predecessor, full_delay(longest_ttl_s(lease, plan), now_boot_ns)
    if before is None:
        if won.created and lease.highest_term == 0:
            return Wait(now_boot_ns, "nobody led before")
        return Wait(longest_boot_ns, "who led before is not known")
    token, full_boot_ns = before.mod_revision, full_delay(max(plan.ttl_s, before.value.ttl_s), now_boot_ns)
    if won.epoch_base + token < lease.highest_term:
        return Wait(max(full_boot_ns, longest_boot_ns), "etcd does not know of a later leader")
    if won.resigned == token:
        return Wait(now_boot_ns, "the leader before resigned")
    if lease.own_token == token and now_boot_ns < _later(lease.own_deadline_boot_ns, MARGIN_MS):
        # Only while its own lease may still have lived: of a later leader, an etcd that was restored may know nothing.
        return Wait(now_boot_ns, "this node led before")
    shown = lease.shown
    if shown is not None and shown.token == token and now_boot_ns - shown.asked_boot_ns <= SHOWN_AGE_MS_MAX * NS_PER_MS:
        return Wait(_later(shown.answered_boot_ns, DRIFT_MS), "the lease before ran out")
    return Wait(full_boot_ns, "the lease before ended early")


def longest_ttl_s(lease: Lease, plan: LeasePlan) -> int:
    """Return how long a lease of a leader may be of which etcd knows nothing: as ours, or as of the last one seen."""
    return plan.ttl_s if lease.leader is None else max(plan.ttl_s, lease.leader.value.ttl_s)


def full_delay(ttl_s: int, now_boot_ns: int) -> int:
    """Return when a leader that was confirmed right before now has stopped by itself."""
    return _later(now_boot_ns, ttl_s * MS_PER_S - MARGIN_MS + DRIFT_MS)


def _later(boot_ns: int, milliseconds: int) -> int:
    return boot_ns + milliseconds * NS_PER_MS

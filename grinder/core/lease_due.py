"""How the lease machine moves by itself: what the time ends, and what is due to be asked of etcd in each phase.

Must never send a keepalive for a lease under which a campaign is open, nor one for a lease that was given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from grinder.core.lease_state import (
    HEALTHY_MS,
    LEAVE_MS_MAX,
    MARGIN_MS,
    POLL_MS,
    REVOCATIONS_MAX,
    SUSPEND_MS_MIN,
    UNHEALTHY_MS,
    Asked,
    Lease,
    LeasePlan,
    Now,
    Phase,
    Revocation,
    changed,
    full_delay,
    longest_ttl_s,
)
from grinder.model.cluster import (
    AskPermit,
    AskTimeToLive,
    Campaign,
    GrantLease,
    KeepAlive,
    LeaderRecord,
    LeaseRequest,
    Resign,
    RevokeLease,
)
from grinder.model.units import NS_PER_MS, NS_PER_S


class Step(msgspec.Struct, frozen=True):
    """The machine after an input, and what to ask of etcd at once."""

    lease: Lease
    asked: tuple[Asked, ...] = ()


def checked(lease: Lease, plan: LeasePlan, now: Now) -> Lease:
    """Let what the time alone decides come first: a suspend, a deadline that passed, an illness that lasted."""
    apart_ns = now.boot_ns - now.mono_ns
    known_ns = lease.clocks_apart_ns
    if known_ns is None or apart_ns > known_ns:
        lease = changed(lease, clocks_apart_ns=apart_ns)
    suspended = known_ns is not None and apart_ns - known_ns >= SUSPEND_MS_MIN * NS_PER_MS
    if suspended:
        # How long it slept is told by a clock of whole seconds: a wait that began before may seem over too early.
        lease = doubted(lease, plan, now)
    tenure = lease.tenure
    if tenure is None or lease.phase is not Phase.LEADING:
        return lease
    if suspended:
        return demoted(lease, plan, now, "the host was suspended")
    if now.boot_ns >= (tenure.lead_deadline_boot_ns or tenure.confirm_by_boot_ns):
        return demoted(lease, plan, now, "the lease was not confirmed in time")
    if lease.ill and now.boot_ns - lease.health_boot_ns >= UNHEALTHY_MS * NS_PER_MS:
        lease = leaving(lease, f"not well: {lease.ill}", now)
    if lease.leaving and not lease.stopping and now.boot_ns - lease.leaving_boot_ns >= LEAVE_MS_MAX * NS_PER_MS:
        return demoted(lease, plan, now, lease.leaving)
    return lease


def leaving(lease: Lease, why: str, now: Now) -> Lease:
    """Begin to give a leadership up in order; it is renewed until the orders are in order."""
    if lease.leaving:
        return lease
    return changed(lease, leaving=why, leaving_boot_ns=now.boot_ns)


def demoted(lease: Lease, plan: LeasePlan, now: Now, why: str) -> Lease:
    """End a leadership at once and give its lease back, so that the wait for the next one is no longer than it must."""
    return give_back(ended(lease, now, why), lease.lease_id, now.boot_ns + plan.ttl_s * NS_PER_S)


def ended(lease: Lease, now: Now, why: str) -> Lease:
    """End a leadership in memory: no deadline of it holds any more, but commands that left may arrive until then.

    What was left of its lock delay is still to be waited for: the next leader may be this host again.
    """
    deadline_boot_ns = 0 if lease.tenure is None else lease.tenure.lead_deadline_boot_ns
    act_boot_ns = 0 if lease.tenure is None else lease.tenure.act_boot_ns
    return changed(
        lease,
        phase=Phase.STOPPED if lease.stopping else Phase.IDLE,
        awaiting=0,
        wake_boot_ns=now.boot_ns,
        failures=0,
        lease_id=0,
        tenure=None,
        own_token=lease.own_token if lease.tenure is None else lease.tenure.token,
        own_deadline_boot_ns=max(lease.own_deadline_boot_ns, deadline_boot_ns),
        doubt_until_boot_ns=max(lease.doubt_until_boot_ns, act_boot_ns),
        leaving="",
        last_end=why,
    )


def doubted(lease: Lease, plan: LeasePlan, now: Now) -> Lease:
    """Remember that a leader may act for a whole lease of which etcd, or this host's clock, knows nothing."""
    until_boot_ns = full_delay(longest_ttl_s(lease, plan), now.boot_ns)
    return changed(lease, doubt_until_boot_ns=max(lease.doubt_until_boot_ns, until_boot_ns))


def resigned(lease: Lease) -> Lease:
    """Come to the end of a resignation, answered or given up; the lease itself was given back with it."""
    return changed(lease, phase=Phase.STOPPED if lease.stopping else Phase.IDLE, lease_id=0, tenure=None, failures=0)


def give_back(lease: Lease, lease_id: int, until_boot_ns: int) -> Lease:
    """Have a lease revoked, tried again until it has run out by itself."""
    return changed(lease, revocations=(*lease.revocations, Revocation(lease_id, until_boot_ns))[-REVOCATIONS_MAX:])


def go_on(lease: Lease, plan: LeasePlan, now: Now) -> Step:
    """Ask for what is due: of the phase, about the leader's lease, and to give leases back."""
    asked: list[Asked] = []
    lease = _DUE[lease.phase](lease, plan, now, asked)
    if lease.phase is Phase.CANDIDATE:
        lease = _poll_due(lease, now, asked)
    if lease.revocations:
        lease = _revoke_due(lease, now, asked)
    return Step(lease, tuple(asked))


def _ask(lease: Lease, request: LeaseRequest, now: Now, asked: list[Asked]) -> Lease:
    asked.append(Asked(lease.numbers + 1, request, now.boot_ns, lease.revision))
    return changed(lease, numbers=lease.numbers + 1)


def _await(lease: Lease, request: LeaseRequest, now: Now, asked: list[Asked]) -> Lease:
    """Ask, and have the phase wait for the answer."""
    lease = _ask(lease, request, now, asked)
    return changed(lease, awaiting=lease.numbers)


def _idle_due(lease: Lease, plan: LeasePlan, now: Now, asked: list[Asked]) -> Lease:
    if lease.stopping:
        return changed(lease, phase=Phase.STOPPED, awaiting=0)
    if lease.awaiting or now.boot_ns < lease.wake_boot_ns:
        return lease
    return _await(lease, GrantLease(plan.ttl_s), now, asked)


def _candidate_due(lease: Lease, plan: LeasePlan, now: Now, asked: list[Asked]) -> Lease:
    if lease.stopping:
        over = give_back(lease, lease.lease_id, now.boot_ns + plan.ttl_s * NS_PER_S)
        return changed(over, phase=Phase.STOPPED, awaiting=0, lease_id=0)
    if lease.vacant and not obstacle(lease, now.boot_ns):
        return _campaign(lease, plan, now, asked)
    if lease.awaiting or now.boot_ns < lease.wake_boot_ns:
        return lease
    return _await(lease, KeepAlive(lease.lease_id), now, asked)


def obstacle(lease: Lease, now_boot_ns: int) -> str:
    """Return why this machine does not stand for election even where nobody leads, empty if it does."""
    if lease.ill:
        return f"this node is not well: {lease.ill}"
    if now_boot_ns - lease.health_boot_ns < HEALTHY_MS * NS_PER_MS:
        return "this node has not been well for long enough"
    if not lease.revision:
        return "etcd was not read yet"
    if lease.epoch_base + lease.revision < lease.highest_term:
        next_term = lease.epoch_base + lease.revision + 1
        return (
            f"the next term would be {next_term}, after {lease.highest_term}: etcd lost data, the epoch must be raised"
        )
    return ""


def _campaign(lease: Lease, plan: LeasePlan, now: Now, asked: list[Asked]) -> Lease:
    """Stand for election. Until the answer is known no keepalive goes out: it could prolong a lost leadership."""
    record = LeaderRecord(plan.node, plan.host, plan.boot_id, plan.pid, now.utc_ms, plan.ttl_s, plan.settings)
    lease = changed(lease, phase=Phase.CAMPAIGNING)
    return _await(lease, Campaign(lease.lease_id, record), now, asked)


def _campaigning_due(lease: Lease, plan: LeasePlan, now: Now, asked: list[Asked]) -> Lease:
    if lease.stopping or (lease.ill and now.boot_ns - lease.health_boot_ns >= UNHEALTHY_MS * NS_PER_MS):
        over = give_back(lease, lease.lease_id, now.boot_ns + plan.ttl_s * NS_PER_S)
        return _idle_due(changed(over, phase=Phase.IDLE, awaiting=0, lease_id=0), plan, now, asked)
    if lease.awaiting or now.boot_ns < lease.wake_boot_ns:
        return lease
    return _campaign(lease, plan, now, asked)


def _leading_due(lease: Lease, plan: LeasePlan, now: Now, asked: list[Asked]) -> Lease:
    """Begin a round, or go on with it: the permit follows its keepalive at once, for only together they prove."""
    tenure = lease.tenure
    assert tenure is not None
    if lease.awaiting:
        return lease
    if tenure.round_raft_term:
        return _await(lease, AskPermit(tenure.token, lease.arm_revision, lease.lease_id), now, asked)
    if now.boot_ns < lease.wake_boot_ns:
        return lease
    lease = changed(lease, tenure=msgspec.structs.replace(tenure, round_boot_ns=now.boot_ns))
    return _await(lease, KeepAlive(lease.lease_id), now, asked)


def _resigning_due(lease: Lease, plan: LeasePlan, now: Now, asked: list[Asked]) -> Lease:
    tenure = lease.tenure
    assert tenure is not None
    if lease.awaiting or now.boot_ns < lease.wake_boot_ns:
        return lease
    if now.boot_ns >= (tenure.lead_deadline_boot_ns or tenure.confirm_by_boot_ns) + MARGIN_MS * NS_PER_MS:
        return resigned(lease)
    return _await(lease, Resign(lease.lease_id, tenure.token), now, asked)


def _stopped_due(lease: Lease, plan: LeasePlan, now: Now, asked: list[Asked]) -> Lease:
    return lease


_DUE: Final[dict[Phase, Callable[[Lease, LeasePlan, Now, list[Asked]], Lease]]] = {
    Phase.IDLE: _idle_due,
    Phase.CANDIDATE: _candidate_due,
    Phase.CAMPAIGNING: _campaigning_due,
    Phase.LEADING: _leading_due,
    Phase.RESIGNING: _resigning_due,
    Phase.STOPPED: _stopped_due,
}

assert set(_DUE) == set(Phase)


def _poll_due(lease: Lease, now: Now, asked: list[Asked]) -> Lease:
    """Ask what is left of the leader's lease, so that its end, when it comes, can be told from an early one."""
    if lease.polling or lease.leader is None or lease.vacant or now.boot_ns < lease.poll_boot_ns:
        return lease
    lease = _ask(lease, AskTimeToLive(lease.leader.lease_id), now, asked)
    return changed(lease, polling=lease.numbers, poll_boot_ns=now.boot_ns + POLL_MS * NS_PER_MS)


def _revoke_due(lease: Lease, now: Now, asked: list[Asked]) -> Lease:
    left = []
    for back in lease.revocations:
        if now.boot_ns >= back.until_boot_ns and not back.number:
            continue
        if not back.number and now.boot_ns >= back.wake_boot_ns:
            lease = _ask(lease, RevokeLease(back.lease_id), now, asked)
            back = msgspec.structs.replace(back, number=lease.numbers)
        left.append(back)
    return changed(lease, revocations=tuple(left))

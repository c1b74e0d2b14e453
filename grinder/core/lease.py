"""The leader's lease as a pure machine: answers of etcd, views and clocks in; requests and where this host stands out.

A leadership is a leader key that this machine created under a lease, and it never takes up one that it gave up or let
pass. It renews by rounds: a keepalive, then a permit that only a quorum can give, in one term of etcd; both deadlines
count from when the round began. Must never extend a deadline by an answer that did not come, by half a round, or by
one that ended after the deadline before it.

Invariant: role ACTIVE with a deadline d at time t implies that a quorum of etcd held the leader key to be ours after
``d - ttl + margin``, and the lease to live until ``d + margin`` or longer.
Invariant: new risk until r implies that a read asked for at ``r - risk window`` or later found no loss of data.
Invariant: terms under which this machine acts only rise, and each is on the disk before.

Source: Gray and Cheriton, "Leases" (SOSP 1989); Chubby's lock-delay (Burrows, OSDI 2006).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from grinder.core.lease_due import Step, checked, demoted, doubted, ended, give_back, go_on, leaving, obstacle, resigned
from grinder.core.lease_state import (
    MARGIN_MS,
    RETRY_MS_MAX,
    RETRY_MS_MIN,
    RISK_WINDOW_MS,
    Asked,
    Lease,
    LeasePlan,
    Now,
    Phase,
    Shown,
    Standing,
    Tenure,
    changed,
    wait_after,
)
from grinder.model.cluster import (
    AskPermit,
    AskTimeToLive,
    Campaign,
    CampaignEnded,
    ClusterView,
    Granted,
    GrantLease,
    KeepAlive,
    LeaseReply,
    LifeLeft,
    NoAnswer,
    PermitAnswer,
    Resign,
    RevokeLease,
)
from grinder.model.control import HaRole
from grinder.model.units import MS_PER_S, NS_PER_MS, NS_PER_S


def tick(lease: Lease, plan: LeasePlan, now: Now) -> Step:
    """Take the time: let deadlines pass, and ask for what is due."""
    return go_on(checked(lease, plan, now), plan, now)


def answered(lease: Lease, plan: LeasePlan, asked: Asked, reply: LeaseReply, now: Now) -> Step:
    """Take the answer to a request. One that came too late, or that nobody waits for any more, proves nothing."""
    lease = checked(lease, plan, now)
    if not isinstance(reply, NoAnswer):
        lease = changed(lease, heard_boot_ns=max(lease.heard_boot_ns, asked.asked_boot_ns))
    if asked.number == lease.polling:
        lease = _polled(changed(lease, polling=0), asked, reply, now)
    elif asked.number == lease.awaiting:
        lease = _TAKE[type(asked.request)](changed(lease, awaiting=0), plan, asked, reply, now)
    elif isinstance(reply, Granted):
        lease = give_back(lease, reply.lease_id, now.boot_ns + reply.ttl_s * NS_PER_S)
    elif isinstance(asked.request, RevokeLease):
        lease = _revoked(lease, asked, reply, now)
    return go_on(lease, plan, now)


def saw(lease: Lease, plan: LeasePlan, view: ClusterView, now: Now) -> Step:
    """Take a view of the cluster: who leads, whether risk is permitted, from where terms count."""
    lease = checked(lease, plan, now)
    proved = view.asked_boot_ns > 0
    lost = proved and _went_back(lease, view)
    if not lost and (view.revision < lease.revision or (lease.cluster_id and view.cluster_id != lease.cluster_id)):
        return go_on(lease, plan, now)
    arm_revision = 0 if view.arm is None else view.arm.create_revision
    highest = lease.highest_term
    led = lease.led
    if view.leader is not None and view.leader.lease_id != lease.lease_id:
        term = view.epoch_base + view.leader.create_revision
        # A term that was another's before: etcd lost that one. Whoever has it now hears of a higher one, and ends.
        again = term == led[0] and view.leader.lease_id != led[1]
        highest = max(highest, term + again)
        led = (term, view.leader.lease_id) if term > led[0] or again else led
    told = max((node.term for node in view.nodes), default=0)
    tenure = lease.tenure
    lease = doubted(lease, plan, now) if lost else lease
    seen = changed(
        lease,
        revision=view.revision,
        cluster_id=view.cluster_id,
        epoch_base=view.epoch_base,
        arm_revision=arm_revision,
        highest_term=max(highest, told),
        led=led,
        leader=view.leader if view.leader is not None else lease.leader,
        vacant=view.leader is None,
        heard_boot_ns=max(lease.heard_boot_ns, view.asked_boot_ns),
        read_boot_ns=max(lease.read_boot_ns, view.asked_boot_ns),
    )
    if tenure is None or lease.phase is not Phase.LEADING:
        return go_on(seen, plan, now)
    ours = view.leader is not None and view.leader.lease_id == lease.lease_id
    if lost:
        seen = demoted(seen, plan, now, "etcd lost data")
    elif not ours and view.revision >= tenure.token:
        seen = demoted(seen, plan, now, "the leader key is gone")
    elif view.epoch_base != tenure.epoch_base and view.revision >= tenure.token:
        seen = demoted(seen, plan, now, "terms count from a new epoch")
    elif told > tenure.term:
        seen = demoted(seen, plan, now, f"another host knows of term {told}")
    elif arm_revision != lease.arm_revision:
        # The permission that was proved is gone; a new one is proved by a round of its own, begun at once.
        unproved = msgspec.structs.replace(tenure, risk_deadline_boot_ns=0)
        seen = changed(seen, tenure=unproved, wake_boot_ns=now.boot_ns)
    return go_on(seen, plan, now)


def health(lease: Lease, plan: LeasePlan, ill: str, now: Now) -> Step:
    """Take how the node is: ``ill`` says what is wrong with it, empty for nothing. One word may change nothing yet."""
    if bool(ill) != bool(lease.ill):
        lease = changed(lease, health_boot_ns=now.boot_ns)
    return tick(changed(lease, ill=ill), plan, now)


def stop(lease: Lease, plan: LeasePlan, now: Now) -> Step:
    """Begin to give the lease up for good; a leader goes on renewing until ``release``."""
    lease = changed(lease, stopping=True)
    if lease.phase is Phase.LEADING:
        lease = leaving(lease, "stopping", now)
    return tick(lease, plan, now)


def release(lease: Lease, plan: LeasePlan, now: Now, *, clean: bool) -> Step:
    """Give the leadership up now; a machine that does not stop stands for election again when it is fit.

    Args:
        lease: the machine; it leads, or this changes nothing.
        plan: who it is.
        now: the clocks.
        clean: no command of this term is on its way or rests at the venue, so that the next leader may act at once.
    """
    lease = checked(lease, plan, now)
    tenure = lease.tenure
    if tenure is None or lease.phase is not Phase.LEADING:
        return go_on(lease, plan, now)
    if not clean or now.boot_ns < tenure.act_boot_ns:
        # A resignation on record lets the next one act at once, which in the lock delay would be too early.
        return go_on(demoted(lease, plan, now, lease.leaving or "released"), plan, now)
    over = changed(ended(lease, now, lease.leaving or "released"), own_deadline_boot_ns=lease.own_deadline_boot_ns)
    return go_on(changed(over, phase=Phase.RESIGNING, tenure=tenure, lease_id=lease.lease_id), plan, now)


def _revoked(lease: Lease, asked: Asked, reply: LeaseReply, now: Now) -> Lease:
    """Take the answer to a revocation: done with, whatever it says; tried again if there was none."""
    left = tuple(back for back in lease.revocations if back.number != asked.number)
    if isinstance(reply, NoAnswer):
        again_boot_ns = now.boot_ns + RETRY_MS_MIN * NS_PER_MS
        left += tuple(
            msgspec.structs.replace(back, number=0, wake_boot_ns=again_boot_ns)
            for back in lease.revocations
            if back.number == asked.number
        )
    return changed(lease, revocations=left)


def deposed(lease: Lease, plan: LeasePlan, term: int, now: Now) -> Step:
    """Take a term that was seen at the venue; a newer one than ours means that another leads, whatever etcd says."""
    lease = changed(checked(lease, plan, now), highest_term=max(lease.highest_term, term))
    if lease.phase is Phase.LEADING and lease.tenure is not None and term > lease.tenure.term:
        lease = demoted(lease, plan, now, f"the venue has an order of term {term}")
    return go_on(lease, plan, now)


def kept(lease: Lease, term: int) -> Lease:
    """Take that a term is on the disk: this machine may act under it, and will under no lower one."""
    return changed(lease, kept_term=max(lease.kept_term, term), highest_term=max(lease.highest_term, term))


def standing(lease: Lease, plan: LeasePlan, now_boot_ns: int) -> Standing:
    """Return where this host stands, for the board and for people; deadlines only ever tell what a round proved."""
    leader = "" if lease.leader is None or lease.vacant else lease.leader.value.node
    tenure = lease.tenure
    if tenure is None or lease.phase is not Phase.LEADING:
        role, why = _apart(lease, plan, leader, now_boot_ns)
        return Standing(role, 0, 0, 0, why, leader, "", lease.highest_term)
    why = ""
    if now_boot_ns >= (tenure.lead_deadline_boot_ns or tenure.confirm_by_boot_ns):
        why = "the lease was not confirmed in time"
    elif tenure.lead_deadline_boot_ns == 0:
        why = "elected, not confirmed yet"
    elif now_boot_ns < tenure.act_boot_ns:
        left_ms = (tenure.act_boot_ns - now_boot_ns) // NS_PER_MS
        why = f"lock delay, {left_ms} ms: {tenure.delay_why}"
    elif lease.kept_term < tenure.term:
        why = f"term {tenure.term} is not on the disk yet"
    if why:
        return Standing(HaRole.STANDBY, tenure.term, 0, 0, why, plan.node, lease.leaving, lease.highest_term)
    # A permit cannot tell a permission from the same one brought back by a restore; a read of everything can.
    read_until_boot_ns = lease.read_boot_ns + RISK_WINDOW_MS * NS_PER_MS
    risk_deadline_boot_ns = 0 if lease.leaving else min(tenure.risk_deadline_boot_ns, read_until_boot_ns)
    why = lease.leaving or ("" if lease.arm_revision else "leads; the cluster is not armed")
    return Standing(
        HaRole.ACTIVE,
        tenure.term,
        risk_deadline_boot_ns,
        tenure.lead_deadline_boot_ns,
        why,
        plan.node,
        lease.leaving,
        lease.highest_term,
    )


def finished(lease: Lease) -> bool:
    """Tell whether a stop is through: nothing is held, and nothing is waited for."""
    return lease.phase is Phase.STOPPED and not lease.revocations


def _apart(lease: Lease, plan: LeasePlan, leader: str, now_boot_ns: int) -> tuple[HaRole, str]:
    """Return the role of a host that does not lead, and why it does not."""
    if lease.phase is Phase.STOPPED or lease.stopping:
        return HaRole.UNKNOWN, "stopping"
    if lease.phase is Phase.RESIGNING:
        return HaRole.STANDBY, f"resigning: {lease.last_end}"
    if not lease.heard_boot_ns or now_boot_ns - lease.heard_boot_ns > plan.ttl_s * NS_PER_S:
        ended = f"; led until: {lease.last_end}" if lease.last_end else ""
        return HaRole.UNKNOWN, f"etcd does not answer{ended}"
    if leader and lease.leader is not None:
        return HaRole.STANDBY, f"{leader} leads (term {lease.epoch_base + lease.leader.create_revision})"
    ended = f"; led until: {lease.last_end}" if lease.last_end else ""
    if lease.leader is not None and not lease.vacant:
        return HaRole.STANDBY, "the leader key cannot be read, so nobody stands for election" + ended
    return HaRole.STANDBY, (obstacle(lease, now_boot_ns) or "nobody leads") + ended


# Answers ------------------------------------------------------------------------------------------


def _retry(lease: Lease, now: Now) -> Lease:
    """Wait a little longer after each failure in a row."""
    wait_ms = min(RETRY_MS_MAX, RETRY_MS_MIN << min(lease.failures, 10))
    return changed(lease, failures=lease.failures + 1, wake_boot_ns=now.boot_ns + wait_ms * NS_PER_MS)


def _take_grant(lease: Lease, plan: LeasePlan, asked: Asked, reply: LeaseReply, now: Now) -> Lease:
    if not isinstance(reply, Granted):
        return _retry(lease, now)
    return changed(
        lease,
        phase=Phase.CANDIDATE,
        lease_id=reply.lease_id,
        ttl_s=min(plan.ttl_s, reply.ttl_s),
        failures=0,
        wake_boot_ns=asked.asked_boot_ns + plan.renew_interval_ms * NS_PER_MS,
    )


def _take_keepalive(lease: Lease, plan: LeasePlan, asked: Asked, reply: LeaseReply, now: Now) -> Lease:
    if not isinstance(reply, LifeLeft):
        return _retry(lease, now)
    gone = reply.ttl_s <= 0
    if lease.tenure is not None:
        if gone:
            return demoted(lease, plan, now, "etcd let the lease go")
        return changed(lease, tenure=msgspec.structs.replace(lease.tenure, round_raft_term=reply.raft_term))
    if gone:
        return changed(lease, phase=Phase.IDLE, lease_id=0, wake_boot_ns=now.boot_ns)
    return changed(lease, failures=0, wake_boot_ns=asked.asked_boot_ns + plan.renew_interval_ms * NS_PER_MS)


def _take_permit(lease: Lease, plan: LeasePlan, asked: Asked, reply: LeaseReply, now: Now) -> Lease:
    tenure = lease.tenure
    assert tenure is not None
    raft_term = tenure.round_raft_term
    tenure = msgspec.structs.replace(tenure, round_raft_term=0)
    lease = changed(lease, tenure=tenure)
    if not isinstance(reply, PermitAnswer):
        return _retry(lease, now)
    if reply.revision < asked.known_revision:
        return demoted(doubted(lease, plan, now), plan, now, "etcd lost data")
    if not reply.leader_holds:
        return demoted(lease, plan, now, "the leader key is gone")
    if reply.raft_term != raft_term:
        return _retry(lease, now)
    lead_deadline_boot_ns = tenure.round_boot_ns + (lease.ttl_s * MS_PER_S - MARGIN_MS) * NS_PER_MS
    assert now.boot_ns < lead_deadline_boot_ns, "the deadline before, which is earlier, ends a leadership first"
    assert isinstance(asked.request, AskPermit)
    same_arm = asked.request.arm_revision == lease.arm_revision
    armed = reply.arm_holds and same_arm and lease.arm_revision > 0
    risk_deadline_boot_ns = tenure.round_boot_ns + RISK_WINDOW_MS * NS_PER_MS if armed else 0
    proved = msgspec.structs.replace(
        tenure,
        lead_deadline_boot_ns=lead_deadline_boot_ns,
        risk_deadline_boot_ns=min(risk_deadline_boot_ns, lead_deadline_boot_ns),
    )
    wake_boot_ns = tenure.round_boot_ns + plan.renew_interval_ms * NS_PER_MS if same_arm else now.boot_ns
    revision = max(lease.revision, reply.revision)
    return changed(lease, tenure=proved, failures=0, wake_boot_ns=wake_boot_ns, revision=revision)


def _take_campaign(lease: Lease, plan: LeasePlan, asked: Asked, reply: LeaseReply, now: Now) -> Lease:
    if isinstance(reply, NoAnswer):
        return _retry(lease, now)
    if not isinstance(reply, CampaignEnded):
        # The lease may have run out while the answer was open; a new one is as good.
        over = give_back(lease, lease.lease_id, now.boot_ns + plan.ttl_s * NS_PER_S)
        return _retry(changed(over, phase=Phase.IDLE, lease_id=0), now)
    revision = max(lease.revision, reply.leader.create_revision)
    known = changed(
        lease, leader=reply.leader, vacant=False, epoch_base=reply.epoch_base, revision=revision, failures=0
    )
    term = reply.epoch_base + reply.leader.create_revision
    if reply.leader.lease_id != lease.lease_id:
        return changed(
            known, phase=Phase.CANDIDATE, highest_term=max(lease.highest_term, term), wake_boot_ns=now.boot_ns
        )
    wait = wait_after(reply, lease, plan, now.boot_ns)
    confirm_by_boot_ns = asked.asked_boot_ns + (lease.ttl_s * MS_PER_S - MARGIN_MS) * NS_PER_MS
    tenure = Tenure(
        token=reply.leader.create_revision,
        epoch_base=reply.epoch_base,
        confirm_by_boot_ns=confirm_by_boot_ns,
        act_boot_ns=wait.until_boot_ns,
        delay_why=wait.why,
    )
    won = changed(known, phase=Phase.LEADING, tenure=tenure, wake_boot_ns=now.boot_ns, last_end="", leaving="")
    if term <= lease.highest_term:
        return demoted(doubted(won, plan, now), plan, now, f"term {term} is not above {lease.highest_term}")
    if now.boot_ns >= confirm_by_boot_ns:
        return demoted(won, plan, now, "the answer to the campaign came too late")
    return changed(won, highest_term=term, led=(term, lease.lease_id))


def _take_resign(lease: Lease, plan: LeasePlan, asked: Asked, reply: LeaseReply, now: Now) -> Lease:
    return _retry(lease, now) if isinstance(reply, NoAnswer) else resigned(lease)


_TAKE: Final[dict[type, Callable[[Lease, LeasePlan, Asked, LeaseReply, Now], Lease]]] = {
    GrantLease: _take_grant,
    KeepAlive: _take_keepalive,
    AskPermit: _take_permit,
    Campaign: _take_campaign,
    Resign: _take_resign,
}


def _polled(lease: Lease, asked: Asked, reply: LeaseReply, now: Now) -> Lease:
    """Take what is left of the leader's lease: about to end, which is remembered; gone, which is a reason to stand."""
    leader = lease.leader
    assert isinstance(asked.request, AskTimeToLive)
    if not isinstance(reply, LifeLeft) or leader is None or leader.lease_id != asked.request.lease_id:
        return lease
    if reply.ttl_s < 0:
        return changed(lease, vacant=True)
    if reply.ttl_s > 0:
        return changed(lease, shown=None)
    return changed(lease, shown=Shown(leader.create_revision, asked.asked_boot_ns, now.boot_ns))


def _went_back(lease: Lease, view: ClusterView) -> bool:
    """Tell whether a linearizable view shows less than was known when it was asked for, or shows that otherwise."""
    another = lease.cluster_id != 0 and view.cluster_id != lease.cluster_id
    return another or view.rewritten or view.revision < min(lease.revision, view.known_revision)

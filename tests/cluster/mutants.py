"""Rules with one of them broken each, as somebody might write them; the simulation must find every one."""

from __future__ import annotations

from typing import Any

import msgspec

from grinder.core import cluster_latch
from grinder.core.cluster_latch import Acknowledged, Following, Verdict
from grinder.core.lease_due import Step
from grinder.core.lease_state import MARGIN_MS, RISK_WINDOW_MS, Asked, Lease, LeasePlan, Now, Phase
from grinder.core.lease_state import Standing as LeaseStanding
from grinder.core.permit import Deed, Standing
from grinder.model.cluster import AskPermit, ClusterView, PermitAnswer
from grinder.model.reasons import DenyReason
from tests.cluster.host_model import Rules
from tests.cluster.schedule import MS, S

replace = msgspec.structs.replace


def with_deadlines(step: Step, lead_boot_ns: int, risk_boot_ns: int) -> Step:
    """Move the deadlines of a leader that has some."""
    tenure = step.lease.tenure
    if tenure is None or not tenure.lead_deadline_boot_ns:
        return step
    risk_boot_ns = risk_boot_ns if tenure.risk_deadline_boot_ns else 0
    moved = replace(tenure, lead_deadline_boot_ns=lead_boot_ns, risk_deadline_boot_ns=risk_boot_ns)
    return Step(replace(step.lease, tenure=moved), step.asked)


class DeadlineFromReply(Rules):
    """Both deadlines count from when the answer was looked at."""

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        step = super().answered(state, plan, asked, reply, now)
        if not isinstance(reply, PermitAnswer) or not reply.leader_holds:
            return step
        lead_boot_ns = now.boot_ns + plan.ttl_s * S - MARGIN_MS * MS
        return with_deadlines(step, lead_boot_ns, now.boot_ns + RISK_WINDOW_MS * MS)


class NoMargin(Rules):
    """A leader acts until the very end of its lease."""

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        step = super().answered(state, plan, asked, reply, now)
        if not isinstance(reply, PermitAnswer) or step.lease.tenure is None:
            return step
        tenure = step.lease.tenure
        lead_boot_ns = tenure.round_boot_ns + (plan.ttl_s * S) + MARGIN_MS * MS
        return with_deadlines(step, lead_boot_ns, tenure.risk_deadline_boot_ns)


class NoPermit(Rules):
    """A keepalive that was acknowledged is enough."""

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        if isinstance(asked.request, AskPermit) and state.tenure is not None:
            reply = PermitAnswer(True, True, asked.known_revision, state.tenure.round_raft_term)
        return super().answered(state, plan, asked, reply, now)


class NoRaftTerm(Rules):
    """A keepalive counts whoever acknowledged it."""

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        if isinstance(reply, PermitAnswer) and state.tenure is not None:
            reply = replace(reply, raft_term=state.tenure.round_raft_term)
        return super().answered(state, plan, asked, reply, now)


class NoLockDelay(Rules):
    """Whoever wins acts at once."""

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        step = super().answered(state, plan, asked, reply, now)
        if step.lease.tenure is None:
            return step
        return Step(replace(step.lease, tenure=replace(step.lease.tenure, act_boot_ns=0)), step.asked)


class StampAfterLook(Rules):
    """The timestamp is taken when the command is signed."""

    stamps_first = False


class WholeWindow(Rules):
    """Every command is given the operator's whole window."""

    def window_ms(self, deed: Deed, term: int, board: Standing) -> int | DenyReason:
        window = super().window_ms(deed, term, board)
        return window if isinstance(window, DenyReason) else 1_000


class NoHighestTerm(Rules):
    """Whatever revision a leader key has is a term."""

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        return super().answered(replace(state, highest_term=0), plan, asked, reply, now)

    def tick(self, state: Lease, plan: LeasePlan, now: Now) -> Step:
        return super().tick(replace(state, highest_term=0), plan, now)

    def see(self, state: Following, view: ClusterView, now: int) -> Following:
        return super().see(replace(state, highest_term=0), view, now)


class TakesUpAgain(Rules):
    """A deadline that passed ends nothing where the leader key still stands: the next good round goes on with it."""

    def _spared(self, state: Lease, plan: LeasePlan, now: Now) -> Lease:
        tenure = state.tenure
        if state.phase is not Phase.LEADING or tenure is None or now.boot_ns < tenure.lead_deadline_boot_ns:
            return state
        spared = replace(tenure, lead_deadline_boot_ns=0, confirm_by_boot_ns=now.boot_ns + 60 * S)
        return replace(state, tenure=spared)

    def tick(self, state: Lease, plan: LeasePlan, now: Now) -> Step:
        return super().tick(self._spared(state, plan, now), plan, now)

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        return super().answered(self._spared(state, plan, now), plan, asked, reply, now)


class IgnoresLowerRevisions(Rules):
    """An answer with less than is known is an old one."""

    def saw(self, state: Lease, plan: LeasePlan, view: ClusterView, now: Now) -> Step:
        return super().tick(state, plan, now) if view.revision < state.revision else super().saw(state, plan, view, now)

    def see(self, state: Following, view: ClusterView, now: int) -> Following:
        deaf = state.view is not None and view.revision < state.view.revision
        return state if deaf else super().see(replace(state, highest_term=0), view, now)

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        if isinstance(reply, PermitAnswer):
            reply = replace(reply, revision=max(reply.revision, asked.known_revision))
        return super().answered(state, plan, asked, reply, now)


class CountsRevisionsAlone(Rules):
    """Data is lost where a revision is lower than before, and nowhere else."""

    def saw(self, state: Lease, plan: LeasePlan, view: ClusterView, now: Now) -> Step:
        return super().saw(state, plan, replace(view, rewritten=False), now)

    def see(self, state: Following, view: ClusterView, now: int) -> Following:
        return super().see(state, replace(view, rewritten=False), now)


class PermitIsEnough(Rules):
    """A leader that has a permit needs to have read nothing."""

    def standing(self, state: Lease, plan: LeasePlan, now_boot_ns: int) -> LeaseStanding:
        return super().standing(replace(state, read_boot_ns=now_boot_ns), plan, now_boot_ns)


class DeafToOthers(Rules):
    """What the other hosts tell of terms is not listened to."""

    def saw(self, state: Lease, plan: LeasePlan, view: ClusterView, now: Now) -> Step:
        return super().saw(state, plan, replace(view, nodes=()), now)


class LatchIsPresence(Rules):
    """The kill switch is a key that is put: where there is none, risk may be taken."""

    def decide(self, state: Following, now: int) -> tuple[Following, Verdict]:
        view, held = state.view, state.held
        if view is None or view.latch is not None:
            return super().decide(state, now)
        if held is None:
            return state, Verdict()
        recorded = state.told_revision > 0
        return (
            (state, Verdict(acknowledged=Acknowledged(held.trip_id, "", "")))
            if recorded
            else super().decide(state, now)
        )


class OpensOnDeletion(Rules):
    """A trip that etcd does not know of any more is over."""

    def decide(self, state: Following, now: int) -> tuple[Following, Verdict]:
        view, held = state.view, state.held
        if view is None or held is None or view.arm is None or view.latch is not None:
            return super().decide(state, now)
        return state, Verdict(acknowledged=Acknowledged(held.trip_id, "", ""))


class FollowsTripsAlone(Rules):
    """A permission that is gone without a recorded trip is nothing to trip for."""

    def decide(self, state: cluster_latch.Following, now: int) -> tuple[Following, Verdict]:
        state, verdict = super().decide(state, now)
        return state, replace(verdict, follow=None if verdict.follow and not verdict.follow.trip_id else verdict.follow)


CAUGHT_BY = {
    DeadlineFromReply: ("pause_in_round",),
    NoMargin: ("lease_revoked", "partition", "pause"),
    NoPermit: ("host_cut_off_with_leader",),
    NoLockDelay: ("lease_revoked", "partition"),
    StampAfterLook: ("pause_in_send",),
    WholeWindow: ("partition",),
    NoHighestTerm: ("wiped", "restored", "crash"),
    IgnoresLowerRevisions: ("wiped", "restored"),
    CountsRevisionsAlone: ("small_loss",),
    PermitIsEnough: ("small_loss",),
    DeafToOthers: ("crash", "restored_while_all_are_down"),
    LatchIsPresence: ("trip", "latch_deleted", "wiped"),
    OpensOnDeletion: ("trip", "latch_deleted", "arm_deleted"),
    FollowsTripsAlone: ("arm_deleted", "latch_deleted"),
}
"""Every broken rule, and faults that show it."""

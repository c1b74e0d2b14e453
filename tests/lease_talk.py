"""One lease machine and a test that plays etcd: what it asks is kept until the test answers it."""

from __future__ import annotations

from typing import Any

import msgspec

from grinder.core import lease
from grinder.core.lease_due import Step
from grinder.core.lease_state import Asked, Lease, LeasePlan, Now, Standing
from grinder.model.cluster import (
    ArmRecord,
    AskPermit,
    Campaign,
    CampaignEnded,
    ClusterView,
    Granted,
    GrantLease,
    KeepAlive,
    LeaderRecord,
    LeaseReply,
    LifeLeft,
    NodeRecord,
    PermitAnswer,
    Stored,
)
from grinder.model.control import HaRole
from grinder.model.units import NS_PER_MS, NS_PER_S

TTL_S = 5
ARM = Stored(ArmRecord("arm", 0, (), "operator", "", 0), 7, 7)
ARM_REVISION = 7
OTHER_LEASE = 900


def leader(node: str, token: int, lease_id: int, ttl_s: int = TTL_S) -> Stored[LeaderRecord]:
    return Stored(LeaderRecord(node, node, "boot", 1, 0, ttl_s), token, token, lease_id)


def node(name: str, term: int) -> NodeRecord:
    return NodeRecord(name, name, HaRole.STANDBY, term, "", 0, "", 0)


class Talk:
    """``asked``: requests that wait for their answer, oldest first; ``sent``: every request there was."""

    def __init__(self, highest_term: int = 0, *, rules: Any = lease) -> None:
        self.rules = rules
        self.plan = LeasePlan("a", "host-a", "boot", 1, TTL_S, 1_000)
        self.lease: Lease = lease.kept(Lease(), highest_term)
        self.boot_ns = 1_000 * NS_PER_S
        self.suspended_ns = 0
        self.asked: list[Asked] = []
        self.sent: list[Asked] = []
        self.revision = 10

    @property
    def now(self) -> Now:
        return Now(self.boot_ns, self.boot_ns - self.suspended_ns, 0)

    def take(self, step: Step) -> None:
        self.lease = step.lease
        self.asked += step.asked
        self.sent += step.asked

    def wait(self, milliseconds: int) -> None:
        """Let time pass, with a tick at its end."""
        self.boot_ns += milliseconds * NS_PER_MS
        self.take(self.rules.tick(self.lease, self.plan, self.now))

    def answer(self, kind: type, reply: LeaseReply) -> Asked:
        """Answer the oldest request of a kind."""
        asked = next(each for each in self.asked if isinstance(each.request, kind))
        self.asked.remove(asked)
        self.take(self.rules.answered(self.lease, self.plan, asked, reply, self.now))
        return asked

    def see(self, stands: Stored[LeaderRecord] | None = None, *, proved: bool = True, **fields: Any) -> None:
        """Take a view; of now and armed unless the fields say otherwise."""
        asked_boot_ns = self.boot_ns if proved else 0
        view = ClusterView(self.revision, 1, 2, asked_boot_ns, self.revision, leader=stands, arm=ARM)
        self.take(lease.saw(self.lease, self.plan, msgspec.structs.replace(view, **fields), self.now))

    def well(self) -> None:
        self.take(lease.health(self.lease, self.plan, "", self.now))

    def candidate(self, stands: Stored[LeaderRecord] | None) -> None:
        """Come up well, with a lease, and see who leads; ready to stand for election."""
        self.well()
        self.answer(GrantLease, Granted(100, TTL_S))
        self.revision = max(self.revision, 0 if stands is None else stands.create_revision)
        self.see(stands)
        self.boot_ns += 2_500 * NS_PER_MS
        self.see(stands)
        self.take(self.rules.tick(self.lease, self.plan, self.now))

    def win(self, token: int = 20, **ended: Any) -> None:
        """Be elected; by default as the first leader ever."""
        own = leader("a", token, self.lease.lease_id)
        won = CampaignEnded(own, True, 0, 0)
        self.answer(Campaign, msgspec.structs.replace(won, **ended))
        self.revision = max(self.revision, token)
        self.lease = lease.kept(self.lease, self.standing.highest_term)

    def round(self, *, leader_holds: bool = True, arm_holds: bool = True, raft_terms: tuple[int, int] = (2, 2)) -> int:
        """Answer a whole round; return when it began."""
        began = self.answer(KeepAlive, LifeLeft(TTL_S, raft_terms[0])).asked_boot_ns
        self.answer(AskPermit, PermitAnswer(leader_holds, arm_holds, self.revision, raft_terms[1]))
        return began

    def lead(self) -> int:
        """Come up and lead, armed; return when the round that proves it began."""
        self.candidate(None)
        self.win()
        began = self.round()
        assert self.standing.role is HaRole.ACTIVE
        return began

    @property
    def standing(self) -> Standing:
        return lease.standing(self.lease, self.plan, self.boot_ns)

    def waiting(self, kind: type) -> list[Any]:
        return [each.request for each in self.asked if isinstance(each.request, kind)]

"""The lease machine under any order of answers, silence, lies of time and views: what its standing may never claim.

Invariants: a deadline counts from a keepalive after which a permit was given, in one term of etcd and for the key and
lease at hand; terms that act only rise; no keepalive goes out while a campaign is open; what was given up never leads.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.core import lease
from grinder.core.lease_state import MARGIN_MS, RISK_WINDOW_MS, Asked, Phase
from grinder.model.cluster import (
    AskPermit,
    AskTimeToLive,
    Campaign,
    CampaignEnded,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LeaseReply,
    LifeLeft,
    NoAnswer,
    PermitAnswer,
)
from grinder.model.control import HaRole
from grinder.model.units import NS_PER_MS, NS_PER_S
from tests.lease_talk import ARM, TTL_S, Talk, leader

LEAD_NS = TTL_S * NS_PER_S - MARGIN_MS * NS_PER_MS
MOVES = st.tuples(
    st.sampled_from(("answer", "answer", "answer", "answer", "silence", "wait", "pause", "view", "ill", "suspend")),
    st.integers(0, 7),
)


class Play(Talk):
    """``keepalives``: when the last one answered was asked, by lease and term of etcd.

    ``proved_ns``: when the last round began that was answered whole; ``read_ns``: when the last linearizable view was
    asked for; ``acted``: terms that were ACTIVE, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.leases = 100
        self.keepalives: dict[tuple[int, int], int] = {}
        self.proved_ns = 0
        self.read_ns = 0
        self.acted: list[int] = []

    def move(self, kind: str, amount: int) -> None:
        if kind in ("answer", "silence") and self.asked:
            asked = self.asked.pop(amount % len(self.asked))
            reply = NoAnswer("timeout") if kind == "silence" else self.reply(asked, amount)
            self.take(lease.answered(self.lease, self.plan, asked, reply, self.now))
        elif kind == "view":
            token = self.revision if amount == 7 else 0 if self.lease.tenure is None else self.lease.tenure.token
            self.read_ns = self.boot_ns if amount % 2 == 0 else self.read_ns
            key = leader("a", token, self.lease.lease_id + (amount == 6)) if amount in (0, 1, 2, 3, 6, 7) else None
            self.see(key, proved=amount % 2 == 0, arm=None if amount == 3 else ARM)
        elif kind == "ill":
            self.take(lease.health(self.lease, self.plan, "dead" if amount > 4 else "", self.now))
        else:
            self.boot_ns += NS_PER_S if kind == "pause" else 0
            self.suspended_ns += NS_PER_S if kind == "suspend" and amount > 5 else 0
            self.wait(amount * 150)
        if self.standing.leaving:
            self.take(lease.release(self.lease, self.plan, self.now, clean=amount > 3))
        self.lease = lease.kept(self.lease, self.standing.highest_term)

    def reply(self, asked: Asked, amount: int) -> LeaseReply:
        request, raft_term = asked.request, 1 + amount // 4
        self.revision += 1
        if isinstance(request, GrantLease):
            self.leases += 1
            return Granted(self.leases, TTL_S + amount % 2)
        if isinstance(request, Campaign):
            return CampaignEnded(leader("a", self.revision, request.lease_id + (amount == 7)), True, 0, 0)
        if isinstance(request, KeepAlive):
            key = (request.lease_id, raft_term)
            self.keepalives[key] = max(self.keepalives.get(key, 0), asked.asked_boot_ns)
            return LifeLeft(0 if amount == 7 else TTL_S, raft_term)
        if isinstance(request, AskPermit):
            if amount not in (6, 7):
                self.proved_ns = max(self.proved_ns, self.keepalives.get((request.lease_id, raft_term), 0))
            return PermitAnswer(amount not in (6, 7), amount != 5, self.revision, raft_term)
        return LifeLeft(amount - 1, 2) if isinstance(request, AskTimeToLive) else Done(self.revision)

    def check(self, sent_before: int) -> None:
        standing = self.standing
        if any(isinstance(each.request, KeepAlive) for each in self.sent[sent_before:]):
            assert self.lease.phase is not Phase.CAMPAIGNING
        if standing.role is not HaRole.ACTIVE:
            assert standing.lead_deadline_boot_ns == standing.risk_deadline_boot_ns == 0
            return
        assert self.boot_ns < standing.lead_deadline_boot_ns <= self.proved_ns + LEAD_NS
        assert standing.risk_deadline_boot_ns <= self.proved_ns + RISK_WINDOW_MS * NS_PER_MS
        assert standing.risk_deadline_boot_ns <= self.read_ns + RISK_WINDOW_MS * NS_PER_MS
        assert standing.risk_deadline_boot_ns <= standing.lead_deadline_boot_ns
        assert self.lease.kept_term >= standing.term
        if standing.term not in self.acted[-1:]:
            assert standing.term > max(self.acted, default=0)
            self.acted.append(standing.term)


@settings(max_examples=150)
@given(st.lists(MOVES, max_size=150))
def test_lease_when_anything_happens_then_it_claims_no_more_than_was_proved(moves: list[tuple[str, int]]) -> None:
    play = Play()
    play.well()
    for kind, amount in moves:
        sent_before = len(play.sent)
        play.move(kind, amount)
        play.check(sent_before)


def test_play_when_all_goes_well_then_it_leads() -> None:
    play = Play()
    play.well()
    for _ in range(40):
        play.move("view", 4 if play.lease.tenure is None else 0)
        play.move("wait", 3)
        play.move("answer", 0)
        play.check(len(play.sent))
        if play.standing.role is HaRole.ACTIVE:
            break
    assert play.acted

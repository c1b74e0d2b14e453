"""The lease machine: everything that ends a leadership, and how it is given up in order."""

from __future__ import annotations

import pytest

from grinder.core import lease
from grinder.core.lease_state import (
    HEALTHY_MS,
    LEAVE_MS_MAX,
    MARGIN_MS,
    RETRY_MS_MAX,
    RISK_WINDOW_MS,
    SUSPEND_MS_MIN,
    UNHEALTHY_MS,
    Phase,
    full_delay,
)
from grinder.model.cluster import (
    AskPermit,
    Campaign,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LeaderRecord,
    LifeLeft,
    NoAnswer,
    PermitAnswer,
    Resign,
    RevokeLease,
    Stored,
)
from grinder.model.control import HaRole
from grinder.model.units import NS_PER_MS, NS_PER_S
from tests.cluster.mutants import TakesUpAgain
from tests.lease_talk import OTHER_LEASE, TTL_S, Talk, leader, node

LEAD_NS = TTL_S * NS_PER_S - MARGIN_MS * NS_PER_MS
RISK_NS = RISK_WINDOW_MS * NS_PER_MS
OTHER = leader("b", 15, OTHER_LEASE)
SILENT = NoAnswer("timeout")


def deposed_by_time(talk: Talk) -> bool:
    """Lead, let the deadline pass while an answer is on its way, then take it; tell whether that ended it."""
    talk.lead()
    talk.wait(1_000)
    talk.boot_ns += LEAD_NS - 500 * NS_PER_MS
    talk.answer(KeepAlive, LifeLeft(TTL_S, 2))
    if talk.waiting(AskPermit):
        talk.answer(AskPermit, PermitAnswer(True, True, talk.revision, 2))
    return talk.standing.role is not HaRole.ACTIVE


class TestEnds:
    def test_deadline_when_it_passes_then_no_answer_revives_it(self) -> None:
        assert deposed_by_time(Talk())
        assert not deposed_by_time(Talk(rules=TakesUpAgain()))

    def test_deadline_when_it_passes_then_the_old_lease_is_revoked_and_a_new_one_asked_for(self) -> None:
        talk = Talk()
        talk.lead()
        talk.boot_ns += LEAD_NS
        assert talk.standing.role is HaRole.STANDBY
        talk.wait(0)
        assert talk.waiting(RevokeLease) == [RevokeLease(100)]
        assert len(talk.waiting(GrantLease)) == 1
        assert talk.standing.lead_deadline_boot_ns == 0

    def test_confirmation_when_none_comes_then_it_ends(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.win()
        talk.boot_ns += LEAD_NS
        assert talk.standing.why == "the lease was not confirmed in time"
        talk.wait(0)
        assert talk.standing.term == 0

    def test_keepalive_when_the_lease_is_gone_then_it_ends(self) -> None:
        talk = Talk()
        talk.lead()
        talk.wait(1_000)
        talk.answer(KeepAlive, LifeLeft(0, 2))
        assert talk.standing.lead_deadline_boot_ns == 0

    @pytest.mark.parametrize("holds", [False, True])
    def test_permit_when_the_key_is_not_ours_or_etcd_went_back_then_it_ends(self, holds: bool) -> None:
        talk = Talk()
        talk.lead()
        talk.wait(1_000)
        talk.answer(KeepAlive, LifeLeft(TTL_S, 2))
        talk.answer(AskPermit, PermitAnswer(holds, True, talk.revision if not holds else 3, 2))
        assert talk.standing.term == 0

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"revision": 25}, "the leader key is gone"),
            ({"revision": 25, "leader": leader("b", 25, OTHER_LEASE)}, "the leader key is gone"),
            ({"revision": 25, "leader": leader("a", 20, 101)}, "the leader key is gone"),
            ({"revision": 25, "leader": leader("a", 20, 100), "epoch_base": 9}, "terms count from a new epoch"),
            ({"revision": 3, "known_revision": 20, "leader": leader("a", 20, 100)}, "etcd lost data"),
            ({"revision": 25, "cluster_id": 8, "leader": leader("a", 20, 100)}, "etcd lost data"),
            ({"revision": 25, "rewritten": True, "leader": leader("a", 20, 100)}, "etcd lost data"),
            (
                {"revision": 25, "leader": leader("a", 20, 100), "nodes": (node("b", 21),)},
                "another host knows of term 21",
            ),
        ],
    )
    def test_view_when_it_speaks_against_us_then_it_ends(self, fields: dict[str, object], why: str) -> None:
        talk = Talk()
        talk.lead()
        talk.see(**fields)
        assert talk.standing.lead_deadline_boot_ns == 0
        assert talk.lease.last_end == why

    def test_view_when_a_term_is_led_under_another_lease_than_before_then_a_higher_one_is_known_once(self) -> None:
        """Told to the others, it ends the one who leads under a term that was used before etcd lost data."""
        talk = Talk()
        talk.candidate(leader("b", 15, OTHER_LEASE))
        talk.see(leader("b", 15, OTHER_LEASE))
        assert talk.standing.highest_term == 15
        for _ in range(2):
            talk.see(leader("c", 15, OTHER_LEASE + 1))
            assert talk.standing.highest_term == 16

    def test_view_when_it_is_older_than_what_is_known_then_it_changes_nothing(self) -> None:
        talk = Talk()
        talk.lead()
        talk.see(None, revision=12, known_revision=12, proved=False)
        talk.see(None, revision=12, known_revision=12)
        assert talk.standing.role is HaRole.ACTIVE

    def test_suspend_when_the_host_was_asleep_then_it_ends_and_a_pause_between_two_clocks_is_none(self) -> None:
        talk = Talk()
        talk.lead()
        talk.suspended_ns -= 300 * NS_PER_MS
        talk.wait(1)
        talk.suspended_ns = 0
        talk.wait(1)
        assert talk.standing.role is HaRole.ACTIVE
        talk.suspended_ns += SUSPEND_MS_MIN * NS_PER_MS
        talk.wait(1)
        assert talk.standing.lead_deadline_boot_ns == 0
        assert talk.lease.last_end == "the host was suspended"

    def test_suspend_when_this_host_wins_again_then_it_waits_a_whole_lease_whatever_its_clock_made_of_the_sleep(
        self,
    ) -> None:
        talk = Talk()
        talk.lead()
        talk.suspended_ns += 10 * NS_PER_S
        talk.boot_ns += 10 * NS_PER_S
        talk.wait(1)
        again_boot_ns = full_delay(TTL_S, talk.boot_ns)
        talk.answer(GrantLease, Granted(101, TTL_S))
        talk.see(None)
        talk.win(30, resigned=20, predecessor=leader("a", 20, 100))
        talk.round()
        assert talk.lease.tenure is not None
        assert talk.lease.tenure.act_boot_ns == again_boot_ns
        assert talk.standing.role is HaRole.STANDBY

    def test_doubt_when_the_leader_that_etcd_forgot_has_a_longer_lease_then_that_one_is_waited_for(self) -> None:
        talk = Talk()
        longer = Stored(LeaderRecord("b", "b", "boot", 1, 0, 3 * TTL_S), 15, 15, OTHER_LEASE)
        talk.candidate(longer)
        talk.see(longer)
        talk.see(None, revision=12, known_revision=15)
        assert talk.lease.doubt_until_boot_ns == full_delay(3 * TTL_S, talk.boot_ns)

    def test_lock_delay_when_it_ends_early_and_this_host_wins_again_then_the_rest_of_it_is_waited_for(self) -> None:
        talk = Talk(highest_term=9)
        talk.candidate(None)
        talk.win(20, predecessor=leader("b", 9, OTHER_LEASE, ttl_s=30))
        talk.round()
        delayed_boot_ns = full_delay(30, talk.boot_ns)
        talk.wait(1_000)
        talk.answer(KeepAlive, LifeLeft(0, 2))
        assert talk.lease.last_end == "etcd let the lease go"
        talk.answer(GrantLease, Granted(101, TTL_S))
        talk.see(None)
        talk.win(30, predecessor=leader("a", 20, 100))
        assert talk.lease.tenure is not None
        assert talk.lease.tenure.act_boot_ns == delayed_boot_ns

    def test_venue_when_it_tells_of_a_newer_term_then_it_ends_and_no_old_term_is_taken(self) -> None:
        talk = Talk()
        talk.lead()
        talk.take(lease.deposed(talk.lease, talk.plan, 19, talk.now))
        assert talk.standing.role is HaRole.ACTIVE
        talk.take(lease.deposed(talk.lease, talk.plan, 21, talk.now))
        assert talk.standing.lead_deadline_boot_ns == 0
        assert talk.lease.highest_term == 21

    def test_revocation_when_it_is_not_answered_then_tried_again_until_the_lease_ran_out(self) -> None:
        talk = Talk()
        talk.lead()
        talk.boot_ns += LEAD_NS
        talk.wait(0)
        talk.answer(RevokeLease, SILENT)
        talk.wait(RETRY_MS_MAX)
        assert len(talk.waiting(RevokeLease)) == 1
        talk.answer(RevokeLease, SILENT)
        talk.wait(TTL_S * 1_000)
        assert talk.waiting(RevokeLease) == []
        assert talk.lease.revocations == ()


class TestLeaving:
    def test_stop_when_it_leads_then_renewed_until_released_and_then_resigned(self) -> None:
        talk = Talk()
        talk.lead()
        talk.take(lease.stop(talk.lease, talk.plan, talk.now))
        standing = talk.standing
        assert (standing.role, standing.leaving, standing.risk_deadline_boot_ns) == (HaRole.ACTIVE, "stopping", 0)
        talk.wait(1_000)
        talk.round()
        talk.take(lease.stop(talk.lease, talk.plan, talk.now))
        talk.take(lease.release(talk.lease, talk.plan, talk.now, clean=True))
        assert talk.standing.lead_deadline_boot_ns == 0
        assert talk.waiting(Resign) == [Resign(100, 20)]
        talk.answer(Resign, SILENT)
        talk.wait(RETRY_MS_MAX)
        assert not lease.finished(talk.lease)
        talk.answer(Resign, Done(30))
        assert lease.finished(talk.lease)
        assert talk.waiting(GrantLease) == []

    def test_stop_when_the_resignation_is_never_answered_then_it_ends_with_the_lease(self) -> None:
        talk = Talk()
        talk.lead()
        talk.take(lease.stop(talk.lease, talk.plan, talk.now))
        talk.take(lease.release(talk.lease, talk.plan, talk.now, clean=True))
        talk.boot_ns += TTL_S * NS_PER_S
        talk.answer(Resign, SILENT)
        talk.wait(RETRY_MS_MAX)
        assert lease.finished(talk.lease)

    def test_stop_when_not_everything_is_in_order_then_revoked_and_not_resigned(self) -> None:
        talk = Talk()
        talk.lead()
        talk.take(lease.stop(talk.lease, talk.plan, talk.now))
        talk.take(lease.release(talk.lease, talk.plan, talk.now, clean=False))
        assert talk.waiting(Resign) == []
        talk.answer(RevokeLease, Done(30))
        assert lease.finished(talk.lease)

    def test_stop_when_in_the_lock_delay_then_revoked_for_a_resignation_would_cut_the_delay_short(self) -> None:
        talk = Talk(highest_term=15)
        talk.revision = 16
        talk.candidate(None)
        talk.win(predecessor=OTHER)
        talk.round()
        assert "lock delay" in talk.standing.why
        talk.take(lease.stop(talk.lease, talk.plan, talk.now))
        talk.take(lease.release(talk.lease, talk.plan, talk.now, clean=True))
        assert talk.waiting(Resign) == []
        assert talk.waiting(RevokeLease) == [RevokeLease(100)]

    def test_stop_when_it_is_a_candidate_or_asks_for_a_lease_then_every_lease_is_given_back(self) -> None:
        talk = Talk()
        talk.candidate(OTHER)
        talk.take(lease.stop(talk.lease, talk.plan, talk.now))
        assert talk.waiting(RevokeLease) == [RevokeLease(100)]
        fresh = Talk()
        fresh.well()
        fresh.take(lease.stop(fresh.lease, fresh.plan, fresh.now))
        fresh.answer(GrantLease, Granted(100, TTL_S))
        assert fresh.waiting(RevokeLease) == [RevokeLease(100)]
        assert (fresh.standing.role, fresh.standing.why) == (HaRole.UNKNOWN, "stopping")

    def test_illness_when_it_is_short_then_nothing_and_when_it_lasts_then_the_lease_is_given_up_in_order(self) -> None:
        talk = Talk()
        talk.lead()
        talk.take(lease.health(talk.lease, talk.plan, "the feed is dead", talk.now))
        talk.wait(1_000)
        assert talk.standing.leaving == ""
        for _ in range(3):
            talk.round()
            talk.wait(1_000)
        assert talk.standing.leaving == "not well: the feed is dead"
        talk.see(leader("a", 20, 100))
        talk.take(lease.health(talk.lease, talk.plan, "the fsm is dead", talk.now))
        talk.take(lease.release(talk.lease, talk.plan, talk.now, clean=True))
        assert talk.standing.why == "resigning: not well: the feed is dead"
        talk.answer(Resign, Done(30))
        talk.answer(GrantLease, Granted(101, TTL_S))
        talk.see(None, revision=31)
        talk.wait(5_000)
        assert talk.waiting(Campaign) == []
        talk.well()
        talk.wait(HEALTHY_MS)
        assert len(talk.waiting(Campaign)) == 1

    def test_illness_when_nothing_gets_in_order_then_the_lease_is_revoked(self) -> None:
        talk = Talk()
        talk.lead()
        talk.take(lease.health(talk.lease, talk.plan, "the feed is dead", talk.now))
        for _ in range((UNHEALTHY_MS + LEAVE_MS_MAX) // 1_000 + 1):
            talk.wait(1_000)
            if talk.waiting(KeepAlive):
                talk.round()
        assert talk.lease.last_end == "not well: the feed is dead"
        assert len(talk.waiting(RevokeLease)) == 1

    def test_release_when_it_does_not_lead_then_nothing(self) -> None:
        talk = Talk()
        talk.candidate(OTHER)
        talk.take(lease.release(talk.lease, talk.plan, talk.now, clean=True))
        assert talk.lease.phase is Phase.CANDIDATE

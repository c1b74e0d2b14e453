"""The lease machine: how it comes to lead, and what each deadline counts from."""

from __future__ import annotations

import pytest

from grinder.core import lease
from grinder.core.lease_state import (
    HEALTHY_MS,
    MARGIN_MS,
    RETRY_MS_MAX,
    RISK_WINDOW_MS,
    UNHEALTHY_MS,
)
from grinder.model.cluster import (
    AskPermit,
    AskTimeToLive,
    Campaign,
    CampaignEnded,
    Granted,
    GrantLease,
    KeepAlive,
    LifeLeft,
    NoAnswer,
    NotDone,
    PermitAnswer,
    RevokeLease,
)
from grinder.model.control import HaRole
from grinder.model.units import NS_PER_MS, NS_PER_S
from tests.cluster.mutants import NoRaftTerm
from tests.lease_talk import ARM_REVISION, OTHER_LEASE, TTL_S, Talk, leader

LEAD_NS = TTL_S * NS_PER_S - MARGIN_MS * NS_PER_MS
RISK_NS = RISK_WINDOW_MS * NS_PER_MS
OTHER = leader("b", 15, OTHER_LEASE)
SILENT = NoAnswer("timeout")


def heeds_raft_terms(talk: Talk) -> bool:
    """Lead, then have a round answered half by a deposed etcd leader; tell whether it counted for nothing."""
    began = talk.lead()
    talk.wait(1_000)
    talk.round(raft_terms=(2, 3))
    return talk.standing.lead_deadline_boot_ns == began + LEAD_NS


class TestBecomingLeader:
    def test_start_when_nobody_leads_then_it_leads_and_deadlines_count_from_the_rounds_first_request(self) -> None:
        talk = Talk()
        began = talk.lead()
        standing = talk.standing
        assert (standing.role, standing.term, standing.why) == (HaRole.ACTIVE, 20, "")
        assert standing.lead_deadline_boot_ns == began + LEAD_NS
        assert standing.risk_deadline_boot_ns == began + RISK_NS
        assert talk.waiting(KeepAlive) == []

    def test_start_when_answers_are_slow_then_the_deadlines_are_no_later(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.win()
        began = talk.boot_ns
        talk.boot_ns += 400 * NS_PER_MS
        talk.answer(KeepAlive, LifeLeft(TTL_S, 2))
        talk.boot_ns += 400 * NS_PER_MS
        talk.answer(AskPermit, PermitAnswer(True, True, talk.revision, 2))
        assert talk.standing.lead_deadline_boot_ns == began + LEAD_NS
        assert talk.standing.risk_deadline_boot_ns == began + RISK_NS

    def test_permit_when_asked_then_it_names_the_key_its_lease_and_the_permission(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.win()
        talk.answer(KeepAlive, LifeLeft(TTL_S, 2))
        assert talk.waiting(AskPermit) == [AskPermit(20, ARM_REVISION, 100)]

    def test_start_when_another_leads_then_it_stands_by_warm(self) -> None:
        talk = Talk()
        talk.candidate(OTHER)
        assert talk.waiting(Campaign) == []
        assert len(talk.waiting(KeepAlive)) == 1
        assert (talk.standing.role, talk.standing.why) == (HaRole.STANDBY, "b leads (term 15)")
        assert talk.standing.leader == "b"

    def test_start_when_the_node_is_not_well_long_enough_then_it_does_not_stand_for_election(self) -> None:
        talk = Talk()
        talk.well()
        talk.answer(GrantLease, Granted(100, TTL_S))
        talk.see(None)
        talk.wait(HEALTHY_MS - 100)
        assert talk.waiting(Campaign) == []
        talk.wait(100)
        assert len(talk.waiting(Campaign)) == 1

    def test_start_when_etcd_is_silent_then_it_asks_for_ever_with_bounded_waits(self) -> None:
        talk = Talk()
        talk.well()
        for _ in range(30):
            talk.answer(GrantLease, SILENT)
            assert talk.standing.role is HaRole.UNKNOWN
            talk.wait(RETRY_MS_MAX)
            assert len(talk.waiting(GrantLease)) == 1

    def test_win_when_the_term_is_not_on_the_disk_then_it_does_not_act(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.answer(Campaign, CampaignEnded(leader("a", 20, 100), True, 0, 0))
        talk.revision = 20
        talk.round()
        assert talk.standing.role is HaRole.STANDBY
        assert talk.standing.highest_term == 20
        talk.lease = lease.kept(talk.lease, 20)
        assert talk.standing.role is HaRole.ACTIVE

    def test_win_when_the_lease_is_longer_than_asked_then_the_shorter_one_counts(self) -> None:
        talk = Talk()
        talk.well()
        talk.answer(GrantLease, Granted(100, 3 * TTL_S))
        talk.see(None)
        talk.wait(HEALTHY_MS)
        talk.win()
        began = talk.round()
        assert talk.standing.lead_deadline_boot_ns == began + LEAD_NS

    def test_win_when_the_cluster_is_not_armed_then_it_leads_without_risk(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.see(None, arm=None)
        talk.win()
        began = talk.round()
        assert talk.standing.role is HaRole.ACTIVE
        assert talk.standing.risk_deadline_boot_ns == 0
        assert talk.standing.lead_deadline_boot_ns == began + LEAD_NS


class TestCampaign:
    def test_campaign_when_its_answer_is_lost_then_the_same_again_and_no_keepalive_meanwhile(self) -> None:
        talk = Talk()
        talk.candidate(None)
        before = len([each for each in talk.sent if isinstance(each.request, KeepAlive)])
        first = talk.answer(Campaign, SILENT).request
        talk.wait(RETRY_MS_MAX)
        again = talk.waiting(Campaign)[0]
        assert isinstance(first, Campaign)
        assert again.lease_id == first.lease_id == 100
        talk.answer(Campaign, SILENT)
        talk.wait(RETRY_MS_MAX)
        assert len([each for each in talk.sent if isinstance(each.request, KeepAlive)]) == before

    def test_campaign_when_the_key_stands_under_our_lease_then_we_won_and_wait_for_whoever_was_before(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.answer(Campaign, SILENT)
        talk.see(leader("a", 20, 100), revision=20)
        talk.wait(RETRY_MS_MAX)
        talk.win(created=False)
        talk.round()
        assert talk.standing.role is HaRole.STANDBY
        assert "lock delay" in talk.standing.why
        assert talk.standing.term == 20

    def test_campaign_when_another_was_faster_then_a_candidate_again(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.answer(Campaign, CampaignEnded(OTHER, False, 0, 0))
        assert talk.standing.why == "b leads (term 15)"
        assert talk.lease.highest_term == 15

    def test_campaign_when_the_lease_is_gone_then_a_new_one(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.answer(Campaign, NotDone("no such lease"))
        talk.wait(RETRY_MS_MAX)
        assert len(talk.waiting(GrantLease)) == 1

    def test_campaign_when_the_node_falls_ill_meanwhile_then_given_up_with_its_lease(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.take(lease.health(talk.lease, talk.plan, "the feed is dead", talk.now))
        talk.wait(UNHEALTHY_MS)
        assert talk.waiting(RevokeLease) == [RevokeLease(100)]

    def test_campaign_when_the_term_would_not_be_new_then_it_does_not_stand(self) -> None:
        talk = Talk(highest_term=500)
        talk.candidate(None)
        assert talk.waiting(Campaign) == []
        assert "etcd lost data: the next term would be 11, after 500" in talk.standing.why or "500" in talk.standing.why
        talk.see(None, epoch_base=490, revision=11)
        assert len(talk.waiting(Campaign)) == 1

    def test_campaign_when_won_under_an_old_term_then_given_back_at_once(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.lease = lease.kept(talk.lease, 40)
        talk.answer(Campaign, CampaignEnded(leader("a", 20, 100), True, 0, 0))
        assert talk.waiting(RevokeLease) == [RevokeLease(100)]
        assert talk.standing.term == 0

    def test_campaign_when_its_answer_comes_too_late_then_nothing_is_led(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.boot_ns += LEAD_NS
        talk.answer(Campaign, CampaignEnded(leader("a", 20, 100), True, 0, 0))
        assert talk.standing.term == 0

    def test_candidate_when_the_leaders_lease_is_gone_by_a_poll_then_it_stands_without_a_view(self) -> None:
        talk = Talk()
        talk.candidate(OTHER)
        talk.answer(AskTimeToLive, LifeLeft(-1, 2))
        assert len(talk.waiting(Campaign)) == 1

    def test_candidate_when_its_own_lease_ran_out_then_a_new_one(self) -> None:
        talk = Talk()
        talk.candidate(OTHER)
        talk.answer(KeepAlive, LifeLeft(0, 2))
        assert len(talk.waiting(GrantLease)) == 1

    def test_candidate_when_its_keepalive_is_not_answered_then_again_soon(self) -> None:
        talk = Talk()
        talk.candidate(OTHER)
        talk.answer(KeepAlive, SILENT)
        talk.wait(RETRY_MS_MAX)
        assert len(talk.waiting(KeepAlive)) == 1

    def test_candidate_when_the_leaders_lease_is_about_to_end_then_remembered_until_it_is_not(self) -> None:
        talk = Talk()
        talk.candidate(OTHER)
        talk.answer(AskTimeToLive, LifeLeft(0, 2))
        assert talk.lease.shown is not None
        assert talk.lease.shown.token == 15
        for reply in (SILENT, LifeLeft(1, 2)):
            talk.wait(500)
            talk.answer(AskTimeToLive, reply)
        assert talk.lease.shown is None

    def test_candidate_when_etcd_falls_silent_then_its_role_is_unknown(self) -> None:
        talk = Talk()
        talk.candidate(OTHER)
        talk.wait(TTL_S * 1_000 + 1)
        assert (talk.standing.role, talk.standing.why) == (HaRole.UNKNOWN, "etcd does not answer")

    def test_candidate_when_nobody_leads_and_its_campaign_is_open_then_it_says_so(self) -> None:
        talk = Talk()
        talk.candidate(None)
        assert (talk.standing.role, talk.standing.why) == (HaRole.STANDBY, "nobody leads")

    def test_candidate_when_the_leader_key_cannot_be_read_then_it_says_so_and_does_not_stand(self) -> None:
        talk = Talk()
        talk.candidate(leader("", 15, 0))
        assert not talk.waiting(Campaign)
        assert talk.standing.why == "the leader key cannot be read, so nobody stands for election"

    def test_candidate_when_it_has_seen_no_view_then_it_does_not_stand(self) -> None:
        talk = Talk()
        talk.well()
        talk.answer(GrantLease, SILENT)
        talk.wait(1)
        assert talk.waiting(GrantLease) == []
        talk.wait(HEALTHY_MS)
        talk.answer(GrantLease, Granted(100, TTL_S))
        assert talk.standing.why == "etcd was not read yet"


class TestRounds:
    def test_round_when_the_arm_is_another_then_no_risk_and_the_lead_goes_on(self) -> None:
        talk = Talk()
        talk.lead()
        talk.wait(1_000)
        began = talk.round(arm_holds=False)
        assert talk.standing.risk_deadline_boot_ns == 0
        assert talk.standing.lead_deadline_boot_ns == began + LEAD_NS

    def test_view_when_the_permission_goes_then_no_risk_at_once_and_when_it_is_back_a_round_at_once(self) -> None:
        talk = Talk()
        talk.lead()
        own = leader("a", 20, 100)
        talk.see(own, arm=None, proved=False, revision=21)
        assert talk.standing.risk_deadline_boot_ns == 0
        assert talk.standing.role is HaRole.ACTIVE
        talk.revision = 21
        talk.round()
        assert talk.standing.risk_deadline_boot_ns == 0
        talk.see(own, revision=22)
        talk.revision = 22
        began = talk.round()
        assert talk.standing.risk_deadline_boot_ns == began + RISK_NS

    def test_risk_when_nothing_is_read_then_it_ends_whatever_the_rounds_prove_and_the_lead_goes_on(self) -> None:
        """A permission that was restored holds by every permit; only a read of everything shows that it was gone."""
        talk, own = Talk(), leader("a", 20, 100)
        read_ns = talk.lead()
        talk.wait(1_000)
        began = talk.round()
        assert talk.standing.risk_deadline_boot_ns == read_ns + RISK_NS
        assert talk.standing.lead_deadline_boot_ns == began + LEAD_NS
        talk.see(own, proved=False)
        assert talk.standing.risk_deadline_boot_ns == read_ns + RISK_NS, "what a watch tells proves nothing about now"
        talk.see(own)
        assert talk.standing.risk_deadline_boot_ns == began + RISK_NS

    def test_round_when_the_arm_changed_in_the_middle_then_no_risk_and_another_round_at_once(self) -> None:
        talk = Talk()
        talk.lead()
        talk.wait(1_000)
        talk.answer(KeepAlive, LifeLeft(TTL_S, 2))
        talk.see(leader("a", 20, 100), arm=None, revision=21)
        talk.answer(AskPermit, PermitAnswer(True, True, 21, 2))
        assert talk.standing.risk_deadline_boot_ns == 0
        assert len(talk.waiting(KeepAlive)) == 1

    def test_round_when_its_last_answer_comes_after_the_deadline_it_would_prove_then_it_proves_nothing(self) -> None:
        talk = Talk()
        talk.candidate(None)
        talk.boot_ns += 100 * NS_PER_MS
        talk.win()
        talk.answer(KeepAlive, LifeLeft(TTL_S, 2))
        talk.boot_ns += LEAD_NS
        talk.answer(AskPermit, PermitAnswer(True, True, talk.revision, 2))
        assert talk.standing.lead_deadline_boot_ns == 0

    @pytest.mark.parametrize("reply", [SILENT, NotDone("busy")])
    def test_round_when_it_is_not_answered_then_deadlines_stay_and_it_is_tried_again(self, reply: NoAnswer) -> None:
        talk = Talk()
        began = talk.lead()
        talk.wait(1_000)
        talk.answer(KeepAlive, reply)
        talk.wait(RETRY_MS_MAX)
        talk.answer(KeepAlive, LifeLeft(TTL_S, 2))
        talk.answer(AskPermit, reply)
        assert talk.standing.lead_deadline_boot_ns == began + LEAD_NS
        talk.wait(RETRY_MS_MAX)
        assert len(talk.waiting(KeepAlive)) == 1

    def test_round_when_two_etcd_leaders_answered_it_then_it_proves_nothing(self) -> None:
        assert heeds_raft_terms(Talk())
        assert not heeds_raft_terms(Talk(rules=NoRaftTerm()))

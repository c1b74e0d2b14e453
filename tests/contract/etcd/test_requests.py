"""Every request of lease and latch against a real etcd: what it does, what it answers, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from grinder.adapters.etcd.keys import NOBODY, Keys
from grinder.adapters.etcd.latch import KEYS_MAX
from grinder.model.cluster import (
    ArmCluster,
    AskPermit,
    AskTimeToLive,
    Campaign,
    CampaignEnded,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LifeLeft,
    NotDone,
    OverrideCluster,
    PermitAnswer,
    ReportNode,
    Resign,
    RevokeLease,
    TripCluster,
)
from grinder.model.control import HaRole, Override, TripReason
from grinder.model.limits import ETCD_TRIPS_KEPT, ETCD_VALUE_BYTES_MAX
from tests.contract.etcd.rig import (
    CALM_TIMEOUT_S,
    ME,
    OTHER,
    PATIENCE_S,
    Clients,
    access,
    arm_record,
    node_record,
    override_record,
    trip_record,
)
from tests.etcd_kit import Cluster, wait_until


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with Cluster(1) as cluster:
        yield cluster


def key(clients: Clients, name: str) -> str:
    return Keys(clients.way.cluster).folder.decode() + name


class TestLease:
    def test_grant_when_asked_then_a_new_lease_with_what_the_server_grants(self, clients: Clients) -> None:
        first, second = clients.leases.perform(GrantLease(5)), clients.leases.perform(GrantLease(1))
        assert isinstance(first, Granted)
        assert isinstance(second, Granted)
        assert (first.ttl_s, second.ttl_s) == (5, 2)
        assert first.lease_id != second.lease_id

    def test_campaign_when_nobody_leads_then_the_key_is_ours_and_its_creation_the_token(self, clients: Clients) -> None:
        lease_id = clients.lease()
        ended = clients.lead(ME, lease_id)
        assert ended.leader.value == ME
        assert ended.leader.lease_id == lease_id
        assert (ended.created, ended.predecessor, ended.resigned, ended.epoch_base) == (True, None, 0, 0)
        view = clients.view()
        assert view.leader == ended.leader
        assert view.revision == ended.leader.create_revision

    def test_campaign_when_somebody_leads_then_they_are_named(self, clients: Clients) -> None:
        first, second = clients.lead(ME), clients.lead(OTHER)
        assert not second.created
        assert second.leader == first.leader

    def test_campaign_when_its_answer_was_lost_then_the_next_one_shows_our_own_key(self, clients: Clients) -> None:
        lease_id = clients.lease()
        first = clients.lead(ME, lease_id)
        assert clients.lead(ME, lease_id) == msgspec.structs.replace(first, created=False)

    def test_campaign_when_one_led_before_then_it_is_named_as_it_was(self, clients: Clients) -> None:
        first = clients.lead(OTHER)
        clients.arm(arm_record(epoch_base=9))
        clients.leases.perform(RevokeLease(first.leader.lease_id))
        seen = clients.view()
        second = clients.lead(ME)
        assert seen.leader is None
        assert seen.elected == second.predecessor
        assert second.predecessor is not None
        assert second.predecessor.value == OTHER
        assert second.predecessor.mod_revision == first.leader.create_revision
        assert (second.created, second.epoch_base, second.resigned) == (True, 9, 0)

    def test_campaign_when_the_lease_is_gone_then_not_done(self, clients: Clients) -> None:
        reply = clients.leases.perform(Campaign(12345, ME))
        assert isinstance(reply, NotDone)
        assert "lease not found" in reply.why
        assert clients.view().leader is None

    def test_keepalive_when_the_lease_lives_then_its_whole_life(self, clients: Clients) -> None:
        reply = clients.leases.perform(KeepAlive(clients.lease()))
        assert reply == LifeLeft(5, clients.view().raft_term)

    def test_keepalive_when_the_lease_was_revoked_by_hand_then_no_life(self, etcd: Cluster, clients: Clients) -> None:
        lease_id = clients.lease()
        etcd.ctl("lease", "revoke", f"{lease_id:x}")
        reply = clients.leases.perform(KeepAlive(lease_id))
        assert isinstance(reply, LifeLeft)
        assert reply.ttl_s <= 0

    def test_time_to_live_when_asked_then_whole_seconds_and_less_than_none_where_unknown(
        self, clients: Clients
    ) -> None:
        known, unknown = (clients.leases.perform(AskTimeToLive(lease)) for lease in (clients.lease(), 12345))
        assert isinstance(known, LifeLeft)
        assert known.ttl_s in range(1, 6)
        assert isinstance(unknown, LifeLeft)
        assert unknown.ttl_s == -1

    @pytest.mark.parametrize("armed", [False, True])
    def test_permit_when_both_stand_then_both_hold(self, clients: Clients, armed: bool) -> None:
        arm = clients.arm() if armed else 0
        leader = clients.lead().leader
        reply = clients.leases.perform(AskPermit(leader.create_revision, arm, leader.lease_id))
        assert isinstance(reply, PermitAnswer)
        assert (reply.leader_holds, reply.arm_holds) == (True, True)
        assert (reply.revision, reply.raft_term) == (clients.view().revision, clients.view().raft_term)

    def test_permit_when_one_has_changed_then_each_is_answered_for_itself(self, clients: Clients) -> None:
        arm, ended = clients.arm(), clients.lead()
        token = ended.leader.create_revision

        def holds(leader_revision: int, arm_revision: int, another: int = 0) -> tuple[bool, bool]:
            lease_id = ended.leader.lease_id + another
            reply = clients.leases.perform(AskPermit(leader_revision, arm_revision, lease_id))
            assert isinstance(reply, PermitAnswer)
            return reply.leader_holds, reply.arm_holds

        assert holds(token, 0) == (True, False)
        assert holds(token, arm + 1) == (True, False)
        assert holds(token + 1, arm) == (False, True)
        assert holds(token, arm, another=1) == (False, True)
        clients.latches.perform(TripCluster(trip_record()))
        assert holds(token, arm) == (True, False)
        assert holds(token, 0) == (True, True)
        clients.leases.perform(RevokeLease(ended.leader.lease_id))
        assert holds(token, arm) == (False, False)

    def test_permit_when_asked_then_nothing_is_written(self, clients: Clients) -> None:
        token = clients.lead().leader.create_revision
        before = clients.view().revision
        for _ in range(3):
            clients.leases.perform(AskPermit(token, 0, 1))
        assert clients.view().revision == before

    def test_resign_when_we_lead_then_recorded_and_the_lease_is_given_back(self, clients: Clients) -> None:
        leader = clients.lead().leader
        assert isinstance(clients.leases.perform(Resign(leader.lease_id, leader.create_revision)), Done)
        view = clients.view()
        assert (view.leader, view.resigned) == (None, leader.create_revision)
        life = clients.leases.perform(AskTimeToLive(leader.lease_id))
        assert isinstance(life, LifeLeft)
        assert life.ttl_s == -1

    def test_resign_when_asked_twice_then_done_twice(self, clients: Clients) -> None:
        leader = clients.lead().leader
        for _ in range(2):
            assert isinstance(clients.leases.perform(Resign(leader.lease_id, leader.create_revision)), Done)

    def test_resign_when_another_leads_then_not_done_and_theirs_stays(self, clients: Clients) -> None:
        mine = clients.lead().leader
        clients.leases.perform(RevokeLease(mine.lease_id))
        theirs = clients.lead(OTHER)
        assert isinstance(clients.leases.perform(Resign(mine.lease_id, mine.create_revision)), NotDone)
        view = clients.view()
        assert (view.leader, view.resigned) == (theirs.leader, 0)

    def test_revoke_when_done_then_the_leader_key_is_gone_and_again_it_is_not_done(self, clients: Clients) -> None:
        lease_id = clients.lead().leader.lease_id
        assert isinstance(clients.leases.perform(RevokeLease(lease_id)), Done)
        assert clients.view().leader is None
        assert isinstance(clients.leases.perform(RevokeLease(lease_id)), NotDone)

    def test_lease_when_not_kept_alive_then_the_leader_key_goes_by_itself(self, clients: Clients) -> None:
        clients.lead(ME, clients.lease(1))
        wait_until(lambda: clients.view().leader is None, PATIENCE_S, "the lease ended")


class TestLatch:
    def test_arm_when_never_armed_then_permission_and_epoch_stand(self, clients: Clients) -> None:
        record = arm_record(acks=("t",), epoch_base=7)
        revision = clients.arm(record)
        view = clients.view()
        assert view.arm is not None
        assert (view.arm.value, view.arm.create_revision, view.epoch_base) == (record, revision, 7)

    def test_trip_when_armed_then_permission_gone_trip_and_latch_recorded(self, clients: Clients) -> None:
        clients.arm()
        record = trip_record()
        assert clients.latches.perform(TripCluster(record)) == Done(clients.view().revision)
        view = clients.view()
        assert view.arm is None
        assert view.latch is not None
        assert (view.latch.value, view.trips) == (record, (record,))

    def test_trip_when_asked_twice_then_recorded_once(self, clients: Clients) -> None:
        clients.arm()
        replies = [clients.latches.perform(TripCluster(trip_record())) for _ in range(2)]
        assert replies[0] == replies[1]
        assert clients.view().trips == (trip_record(),)

    def test_trip_when_it_comes_late_after_a_new_arm_then_that_stays(self, clients: Clients) -> None:
        clients.latches.perform(TripCluster(trip_record()))
        clients.arm(arm_record("arm-2", acks=("trip-1",)))
        clients.latches.perform(TripCluster(trip_record()))
        assert clients.view().arm is not None

    def test_trips_when_several_then_the_first_is_the_latch_and_all_are_kept(self, clients: Clients) -> None:
        records = [trip_record(f"trip-{number}", reason=TripReason.ERROR) for number in range(3)]
        for record in records:
            clients.latches.perform(TripCluster(record))
        view = clients.view()
        assert view.latch is not None
        assert (view.latch.value, view.trips) == (records[0], tuple(records))

    def test_arm_when_the_latch_was_looked_at_then_it_goes(self, clients: Clients) -> None:
        clients.latches.perform(TripCluster(trip_record()))
        clients.arm(arm_record(acks=("trip-1",)))
        view = clients.view()
        assert view.latch is None
        assert view.arm is not None
        assert view.trips == (trip_record(),)

    def test_arm_when_a_trip_came_since_the_look_then_refused(self, clients: Clients) -> None:
        clients.latches.perform(TripCluster(trip_record()))
        seen = clients.view()
        assert seen.latch is not None
        clients.latches.perform(TripCluster(trip_record("trip-2")))
        reply = clients.latches.perform(ArmCluster(arm_record(), seen.latch.mod_revision, seen.revision))
        assert isinstance(reply, NotDone)
        assert "something tripped since" in reply.why
        assert clients.view().arm is None

    def test_arm_when_the_latch_is_another_then_refused(self, clients: Clients) -> None:
        before = clients.view()
        clients.latches.perform(TripCluster(trip_record()))
        now = clients.view()
        assert now.latch is not None
        for latch, revision in ((0, before.revision), (0, now.revision), (now.latch.mod_revision + 1, now.revision)):
            assert isinstance(clients.latches.perform(ArmCluster(arm_record(), latch, revision)), NotDone)
        assert clients.view().arm is None

    def test_arm_when_armed_already_then_refused_by_name_and_ours_asked_again_is_done(self, clients: Clients) -> None:
        view = clients.view()
        revision = clients.arm(arm_record("arm-1"))
        other = clients.latches.perform(ArmCluster(arm_record("arm-2"), 0, view.revision))
        assert other == NotDone("the cluster is armed already by op")
        assert clients.latches.perform(ArmCluster(arm_record("arm-1"), 0, view.revision)) == Done(revision)

    def test_trips_when_many_were_seen_then_arming_keeps_the_newest(self, clients: Clients) -> None:
        count = ETCD_TRIPS_KEPT + 5
        for number in range(count):
            clients.latches.perform(TripCluster(trip_record(f"trip-{number:03}")))
        clients.arm()
        assert [trip.trip_id for trip in clients.view().trips] == [f"trip-{number:03}" for number in range(5, count)]

    def test_override_when_compared_then_written_once(self, clients: Clients) -> None:
        first = clients.latches.perform(OverrideCluster(override_record(), 0))
        assert isinstance(first, Done)
        again = clients.latches.perform(OverrideCluster(override_record(), 0))
        assert again == first, "its answer was lost: it is done all the same"
        other = clients.latches.perform(OverrideCluster(override_record(Override.EMERGENCY), 0))
        assert isinstance(other, NotDone)
        assert isinstance(clients.latches.perform(OverrideCluster(override_record(Override.NONE))), Done)
        view = clients.view()
        assert view.override is not None
        assert view.override.value.code is Override.NONE

    def test_report_when_repeated_then_one_lease_lives_on_and_a_lost_one_is_replaced(
        self, etcd: Cluster, clients: Clients
    ) -> None:
        for term in range(2):
            reply = clients.latches.perform(ReportNode(node_record("n1", term=term, role=HaRole.ACTIVE), 5))
            assert isinstance(reply, Done)
        assert clients.view().nodes == (node_record("n1", term=1, role=HaRole.ACTIVE),)
        (line,) = [line for line in etcd.ctl("get", key(clients, "node/n1"), "-w", "json").splitlines() if line]
        (pair,) = msgspec.json.decode(line)["kvs"]
        assert (pair["version"], pair["lease"] > 0) == (2, True)
        etcd.ctl("lease", "revoke", f"{pair['lease']:x}")
        assert clients.view().nodes == ()
        assert isinstance(clients.latches.perform(ReportNode(node_record("n1"), 5)), Done)
        assert clients.view().nodes == (node_record("n1"),)


class TestView:
    def test_view_when_another_cluster_is_beside_it_then_only_its_own_keys(self, etcd: Cluster) -> None:
        one, two = (Clients(access(etcd, cluster=name, timeout_s=CALM_TIMEOUT_S)) for name in ("c", "c-2"))
        one.lead(ME)
        assert two.view().leader is None
        two.lead(OTHER)
        assert one.view().leader != two.view().leader

    @pytest.mark.parametrize("name", ["arm", "latch", "override", "resigned", "epoch", "trip/x", "node/x"])
    @pytest.mark.parametrize("value", ["", "{}", "null", '{"arm_id": 1}', "-1", "x" * (ETCD_VALUE_BYTES_MAX + 1)])
    def test_key_when_it_cannot_be_read_then_absent_and_named(
        self, etcd: Cluster, clients: Clients, name: str, value: str
    ) -> None:
        etcd.ctl("put", key(clients, name), "--", value)
        view = clients.view()
        assert view.problem.startswith(f"key {name} cannot be read: ")
        assert (view.arm, view.latch, view.override, view.resigned, view.epoch_base) == (None, None, None, 0, 0)
        assert (view.trips, view.nodes) == ((), ())

    def test_leader_when_it_cannot_be_read_then_one_that_nobody_knows(self, etcd: Cluster, clients: Clients) -> None:
        etcd.ctl("put", key(clients, "leader"), "garbage")
        view = clients.view()
        assert view.leader is not None
        assert view.leader.value == NOBODY
        assert view.problem.startswith("key leader cannot be read")
        reply = clients.leases.perform(Campaign(clients.lease(), ME))
        assert isinstance(reply, CampaignEnded)
        assert (reply.created, reply.leader.value) == (False, NOBODY)

    def test_view_when_there_are_too_many_keys_then_it_says_so(self, etcd: Cluster, clients: Clients) -> None:
        for number in range(KEYS_MAX + 1):
            clients.latches.perform(TripCluster(trip_record(f"trip-{number:03}")))
        assert clients.view().problem.startswith(f"more than {KEYS_MAX} keys")

    def test_view_when_read_then_it_carries_what_was_known_before(self, clients: Clients) -> None:
        first = clients.view()
        clients.arm()
        second = clients.view()
        assert second.known_revision == second.revision > first.revision
        assert second.cluster_id == first.cluster_id != 0
        assert second.asked_boot_ns > first.asked_boot_ns > 0

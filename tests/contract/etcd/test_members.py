"""Members that die, hang, are cut off or are too old: who is asked next, within which bound, and what is said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest

from grinder.adapters.etcd.compat import rpc
from grinder.model.cluster import (
    AskPermit,
    ClusterView,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LifeLeft,
    NoAnswer,
    NotDone,
    ReadCluster,
    TripCluster,
)
from grinder.model.limits import ETCD_MEMBERS_TRIED_MAX
from tests.contract.etcd.rig import PATIENCE_S, TIMEOUT_S, Clients, access, trip_record
from tests.etcd_kit import Cluster, wait_until
from tests.etcd_relay import HOST, Relays

BOUND_S = ETCD_MEMBERS_TRIED_MAX * 2 * TIMEOUT_S + 1.0
"""Each member is asked for its version and then for what is wanted; the rest is for a loaded machine."""


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with Cluster(3, partitions=True) as cluster:
        yield cluster


@pytest.fixture
def clients(etcd: Cluster) -> Iterator[Clients]:
    """Clients that ask a member first that is not etcd's leader."""
    followers = etcd.followers()
    others = [member for member in etcd.members if member is not followers[0]]
    ends = ",".join(member.endpoint for member in (followers[0], *others))
    clients = Clients(access(etcd, endpoints=ends))
    yield clients
    clients.connection.close()
    etcd.wire.heal()
    for member in etcd.members:
        if member.pid:
            member.resume()
    etcd.start()


def first_of(etcd: Cluster, clients: Clients) -> int:
    """Where in the cluster the member stands that is asked first."""
    return [member.endpoint for member in etcd.members].index(clients.way.endpoints[0])


def test_request_when_the_first_member_is_dead_then_the_next_one_answers(etcd: Cluster, clients: Clients) -> None:
    etcd.members[first_of(etcd, clients)].kill()
    wait_until(lambda: isinstance(clients.leases.perform(GrantLease(5)), Granted), PATIENCE_S, "the next one answers")


def test_request_when_a_member_dies_between_then_the_next_one_answers(etcd: Cluster, clients: Clients) -> None:
    lease_id = clients.lease()
    etcd.members[first_of(etcd, clients)].kill()
    wait_until(lambda: isinstance(clients.leases.perform(KeepAlive(lease_id)), LifeLeft), PATIENCE_S, "an answer")


@pytest.mark.parametrize("known", [False, True])
def test_request_when_a_member_hangs_then_the_next_one_is_asked_once_and_from_then_on(
    etcd: Cluster, clients: Clients, known: bool
) -> None:
    if known:
        clients.view()
    hung = etcd.members[first_of(etcd, clients)]
    hung.pause()
    assert isinstance(clients.latches.perform(TripCluster(trip_record())), Done)
    after = [clients.latches.perform(ReadCluster()) for _ in range(3)]
    assert all(isinstance(reply, ClusterView) for reply in after)
    asked = [reply.asked_boot_ns for reply in after if isinstance(reply, ClusterView)]
    assert asked[-1] - asked[0] < 2 * TIMEOUT_S * 1e9, "the hung one is not asked again"


def test_request_when_the_leader_of_etcd_dies_then_answered_again_once_there_is_another(
    etcd: Cluster, clients: Clients
) -> None:
    clients.view()
    etcd.leader().kill()
    wait_until(lambda: isinstance(clients.leases.perform(GrantLease(5)), Granted), PATIENCE_S, "an answer")


def test_request_when_there_is_no_quorum_then_no_answer_within_the_bound_and_the_reason(
    etcd: Cluster, clients: Clients
) -> None:
    lease_id = clients.lease()
    for member in etcd.members:
        if member.endpoint != clients.way.endpoints[0]:
            member.kill()
    requests = (GrantLease(5), AskPermit(1, 0, 2))
    for request in requests:
        began = time.monotonic()
        reply = clients.leases.perform(request)
        assert isinstance(reply, NoAnswer)
        assert time.monotonic() - began < BOUND_S
        assert all(end in reply.why for end in clients.way.endpoints)
        assert "Connection refused" in reply.why
    wait_until(lambda: isinstance(clients.leases.perform(KeepAlive(lease_id)), NoAnswer), PATIENCE_S, "no leader")


def test_request_when_all_are_dead_then_no_answer_and_when_they_are_back_an_answer(
    etcd: Cluster, clients: Clients
) -> None:
    clients.view()
    etcd.kill()
    assert isinstance(clients.latches.perform(ReadCluster()), NoAnswer)
    etcd.start()
    wait_until(lambda: isinstance(clients.latches.perform(ReadCluster()), ClusterView), PATIENCE_S, "an answer")


def test_permit_when_the_member_we_ask_leads_but_is_cut_off_then_no_permit_by_it_alone(
    etcd: Cluster, clients: Clients
) -> None:
    leader = etcd.leader()
    alone = Clients(access(etcd, endpoints=leader.endpoint))
    leading = alone.lead().leader
    etcd.wire.isolate(leader.name, tuple(member.name for member in etcd.followers()))
    assert isinstance(alone.leases.perform(AskPermit(leading.create_revision, 0, leading.lease_id)), NoAnswer)
    assert isinstance(alone.latches.perform(ReadCluster()), NoAnswer)
    alone.connection.close()


def test_grant_when_its_first_answer_is_late_then_one_lease_and_not_two(etcd: Cluster) -> None:
    """The first member does what it is asked and its answer never comes; the next is asked for the same lease."""
    leader, follower = etcd.leader(), etcd.followers()[0]
    before = len(etcd.ctl("lease", "list").splitlines())
    with Relays() as relays:
        port = relays.add("deaf", leader.client_port)
        clients = Clients(access(etcd, endpoints=f"{HOST}:{port},{follower.endpoint}"))
        clients.view()
        relays.wire.cut(("deaf", ""))
        reply = clients.leases.perform(GrantLease(7))
        assert isinstance(reply, Granted)
        assert reply.ttl_s == 7
        clients.connection.close()
    assert len(etcd.ctl("lease", "list").splitlines()) == before + 1


class TestVersion:
    class Old(rpc.MaintenanceServicer):  # type: ignore[misc, name-defined]
        """A member of another version; it must never be asked for anything else."""

        def __init__(self, version: str) -> None:
            self.version = version

        def Status(self, request: object, context: object) -> object:
            return rpc.StatusResponse(version=self.version)

    @contextmanager
    def serving(self, version: str, port: int) -> Iterator[int]:
        server = grpc.server(futures.ThreadPoolExecutor(2))
        rpc.add_MaintenanceServicer_to_server(self.Old(version), server)
        bound = server.add_insecure_port(f"{HOST}:{port}")
        server.start()
        yield bound
        server.stop(0).wait()

    @pytest.fixture
    def old_port(self, request: pytest.FixtureRequest) -> Iterator[int]:
        with self.serving(request.param, 0) as port:
            yield port

    @pytest.mark.parametrize("old_port", ["3.5.15", "3.4.34", "2.3.8", "", "unknown"], indirect=True)
    def test_member_when_too_old_then_refused_by_its_version(self, etcd: Cluster, old_port: int) -> None:
        clients = Clients(access(etcd, endpoints=f"{HOST}:{old_port}"))
        reply = clients.leases.perform(GrantLease(5))
        assert isinstance(reply, NoAnswer)
        assert "which is unsafe for leases; 3.5.16 or newer is needed" in reply.why
        clients.connection.close()

    @pytest.mark.parametrize("old_port", ["3.5.15"], indirect=True)
    def test_member_when_too_old_beside_a_new_one_then_that_one_is_used(self, etcd: Cluster, old_port: int) -> None:
        clients = Clients(access(etcd, endpoints=f"{HOST}:{old_port},{etcd.members[0].endpoint}"))
        assert isinstance(clients.leases.perform(GrantLease(5)), Granted)
        clients.connection.close()

    @pytest.mark.parametrize("old_port", ["3.5.16", "3.5.30", "3.6.0-rc.1", "3.10.0+git"], indirect=True)
    def test_member_when_new_enough_then_asked(self, etcd: Cluster, old_port: int) -> None:
        clients = Clients(access(etcd, endpoints=f"{HOST}:{old_port}"))
        assert "UNIMPLEMENTED" in why(clients)
        clients.connection.close()

    def test_member_when_replaced_by_an_older_one_then_refused(self, etcd: Cluster) -> None:
        with self.serving("3.5.16", 0) as port:
            clients = Clients(access(etcd, endpoints=f"{HOST}:{port}"))
            assert "UNIMPLEMENTED" in why(clients)
        assert "UNAVAILABLE" in why(clients)
        with self.serving("3.5.15", port):
            wait_until(lambda: "unsafe for leases" in why(clients), PATIENCE_S, "refused")
        clients.connection.close()


def why(clients: Clients) -> str:
    reply = clients.leases.perform(GrantLease(5))
    assert isinstance(reply, NoAnswer | NotDone)
    return reply.why

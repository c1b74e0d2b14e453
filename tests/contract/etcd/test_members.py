"""Members that die, hang, are cut off or are too old: who is asked next, within which bound, and what is said."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from math import inf

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
from grinder.model.units import NS_PER_S
from tests.contract.etcd.rig import CALM_TIMEOUT_S, PATIENCE_S, TIMEOUT_S, Clients, access, trip_record
from tests.etcd_kit import Cluster, Member, wait_until
from tests.etcd_relay import HOST, Relays

BOUND_S = ETCD_MEMBERS_TRIED_MAX * 2 * TIMEOUT_S + 5.0
"""Each member is asked for its version and then for what is wanted; the rest is for a loaded machine."""


LATE_S = 3.0
"""What one request may take where an answer never comes and the next member's must, seconds."""


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
    wait_until(lambda: done_beside(clients, hung), PATIENCE_S, "the next one does it")
    wait_until(lambda: three_reads_s(clients) < 2 * TIMEOUT_S, PATIENCE_S, "the hung one is not asked again")


def done_beside(clients: Clients, hung: Member) -> bool:
    """Tell whether a trip is done though a member hangs; where it is not, another one was asked and was slow."""
    reply = clients.latches.perform(TripCluster(trip_record()))
    if isinstance(reply, Done):
        return True
    assert isinstance(reply, NoAnswer)
    assert any(end in reply.why for end in clients.way.endpoints if end != hung.endpoint), reply.why
    return False


def three_reads_s(clients: Clients) -> float:
    """Return how long it was from the first to the third of three reads, seconds: a slow host makes it longer."""
    after = [clients.latches.perform(ReadCluster()) for _ in range(3)]
    asked = [reply.asked_boot_ns for reply in after if isinstance(reply, ClusterView)]
    return (asked[-1] - asked[0]) / NS_PER_S if len(asked) == len(after) else inf


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
    calm = Clients(access(etcd, endpoints=leader.endpoint, cluster=alone.way.cluster, timeout_s=CALM_TIMEOUT_S))
    leading = calm.lead().leader
    calm.connection.close()
    etcd.wire.isolate(leader.name, tuple(member.name for member in etcd.followers()))
    assert isinstance(alone.leases.perform(AskPermit(leading.create_revision, 0, leading.lease_id)), NoAnswer)
    assert isinstance(alone.latches.perform(ReadCluster()), NoAnswer)
    alone.connection.close()


def test_grant_when_its_first_answer_is_late_then_one_lease_and_not_two(etcd: Cluster) -> None:
    """The first member does what it is asked and its answer never comes; the next is asked for the same lease."""
    leader, follower = etcd.leader(), etcd.followers()[0]
    before = leases_of(etcd)
    with Relays() as relays:
        port = relays.add("deaf", leader.client_port)
        clients = Clients(access(etcd, endpoints=f"{HOST}:{port},{follower.endpoint}", timeout_s=LATE_S))
        clients.view()
        relays.wire.cut(("deaf", ""))
        reply = clients.leases.perform(GrantLease(7))
        assert isinstance(reply, Granted)
        assert reply.ttl_s == 7
        clients.connection.close()
    assert len(leases_of(etcd) - before) == 1


def leases_of(etcd: Cluster) -> set[str]:
    """Return the ids of all leases; those of other tests run out meanwhile."""
    return set(re.findall(r"^[0-9a-f]+$", etcd.ctl("lease", "list"), re.MULTILINE))


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
        clients = Clients(access(etcd, endpoints=f"{HOST}:{old_port}", timeout_s=CALM_TIMEOUT_S))
        reply = clients.leases.perform(GrantLease(5))
        assert isinstance(reply, NoAnswer)
        assert "which is unsafe for leases; 3.5.16 or newer is needed" in reply.why
        clients.connection.close()

    @pytest.mark.parametrize("old_port", ["3.5.15"], indirect=True)
    def test_member_when_too_old_beside_a_new_one_then_that_one_is_used(self, etcd: Cluster, old_port: int) -> None:
        ends = f"{HOST}:{old_port},{etcd.members[0].endpoint}"
        clients = Clients(access(etcd, endpoints=ends, timeout_s=CALM_TIMEOUT_S))
        assert isinstance(clients.leases.perform(GrantLease(5)), Granted)
        clients.connection.close()

    @pytest.mark.parametrize("old_port", ["3.5.16", "3.5.30", "3.6.0-rc.1", "3.10.0+git"], indirect=True)
    def test_member_when_new_enough_then_asked(self, etcd: Cluster, old_port: int) -> None:
        clients = Clients(access(etcd, endpoints=f"{HOST}:{old_port}", timeout_s=CALM_TIMEOUT_S))
        assert "UNIMPLEMENTED" in why(clients)
        clients.connection.close()

    def test_member_when_replaced_by_an_older_one_then_refused(self, etcd: Cluster) -> None:
        with self.serving("3.5.16", 0) as port:
            clients = Clients(access(etcd, endpoints=f"{HOST}:{port}", timeout_s=CALM_TIMEOUT_S))
            assert "UNIMPLEMENTED" in why(clients)
        assert "UNAVAILABLE" in why(clients)
        with self.serving("3.5.15", port):
            wait_until(lambda: "unsafe for leases" in why(clients), PATIENCE_S, "refused")
        clients.connection.close()


def why(clients: Clients) -> str:
    reply = clients.leases.perform(GrantLease(5))
    assert isinstance(reply, NoAnswer | NotDone)
    return reply.why

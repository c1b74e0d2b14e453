"""Who may talk to etcd: certificates of both sides, roles by common name; what is refused is said, never silent."""

from __future__ import annotations

import asyncio
import datetime
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.adapters.etcd.connection import access_of
from grinder.adapters.etcd.keys import ROOT
from grinder.model.cluster import (
    ClusterView,
    Granted,
    GrantLease,
    KeepAlive,
    LeaseReply,
    LifeLeft,
    NoAnswer,
    NotDone,
    ReadCluster,
    TripCluster,
)
from grinder.model.errors import SettingsError
from grinder.settings import load
from tests.contract.etcd.rig import CALM_TIMEOUT_S, PATIENCE_S, Clients, Node, access, trip_record, until
from tests.etcd_certificates import Authority, Identity
from tests.etcd_kit import Cluster, wait_until

OVER = datetime.timedelta(hours=-1)
MINE, THEIRS = "mine", "theirs"
LEASE_S = 300
"""Longer than it takes to fill a member, seconds."""


class Secured:
    """A member with mutual TLS, and with roles: user ``node`` may use the cluster MINE alone."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.stranger = Authority(folder, "stranger")
        self.node = self.authority.identity("node")
        self.root = self.authority.identity("root")

    def grant(self, etcd: Cluster) -> None:
        """Set up users and roles as an operator does, and switch them on."""
        prefix = f"{ROOT}/{MINE}/"
        for words in (
            ("user", "add", "root", "--no-password"),
            ("user", "grant-role", "root", "root"),
            ("role", "add", "grinder"),
            ("role", "grant-permission", "grinder", "--prefix=true", "readwrite", prefix),
            ("user", "add", "node", "--no-password"),
            ("user", "grant-role", "node", "grinder"),
            ("auth", "enable"),
        ):
            etcd.ctl(*words, identity=self.root)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def secured(folder: Path) -> Secured:
    return Secured(folder)


@pytest.fixture(scope="module")
def etcd(secured: Secured) -> Iterator[Cluster]:
    with Cluster(1, identity=secured.authority.identity("server")) as cluster:
        secured.grant(cluster)
        yield cluster


def grant_with(etcd: Cluster, identity: Identity | None, cluster: str = MINE) -> LeaseReply:
    clients = Clients(access(etcd, cluster=cluster, identity=identity))
    reply = clients.leases.perform(GrantLease(5))
    clients.connection.close()
    return reply


def test_identity_when_known_then_every_kind_of_request_passes(etcd: Cluster, secured: Secured) -> None:
    clients = Clients(access(etcd, cluster=MINE, identity=secured.node, timeout_s=CALM_TIMEOUT_S))
    leader = clients.lead().leader
    assert isinstance(clients.leases.perform(KeepAlive(leader.lease_id)), LifeLeft)
    clients.arm()
    clients.latches.perform(TripCluster(trip_record()))
    view = clients.view()
    assert (view.leader, view.arm, view.trips) == (leader, None, (trip_record(),))
    clients.connection.close()


def test_identity_when_another_clusters_then_denied_and_said(etcd: Cluster, secured: Secured) -> None:
    clients = Clients(access(etcd, cluster=THEIRS, identity=secured.node, timeout_s=CALM_TIMEOUT_S))
    for reply in (clients.latches.perform(ReadCluster()), clients.latches.perform(TripCluster(trip_record()))):
        assert isinstance(reply, NotDone)
        assert "PERMISSION_DENIED: etcdserver: permission denied" in reply.why
    clients.connection.close()


def test_identity_when_its_name_has_no_role_then_denied_and_said(etcd: Cluster, secured: Secured) -> None:
    nobody = secured.authority.identity("nobody")
    clients = Clients(access(etcd, cluster=MINE, identity=nobody, timeout_s=CALM_TIMEOUT_S))
    reply = clients.latches.perform(ReadCluster())
    assert isinstance(reply, NotDone)
    assert "PERMISSION_DENIED" in reply.why or "INVALID_ARGUMENT" in reply.why or "FAILED_PRECONDITION" in reply.why
    clients.connection.close()


def test_identity_when_its_certificate_is_over_then_no_answer_and_the_reason(etcd: Cluster, secured: Secured) -> None:
    expired = secured.authority.identity("node", OVER)
    reply = grant_with(etcd, expired)
    assert isinstance(reply, NoAnswer)
    assert f"our certificate {expired.cert} ended " in reply.why


def test_identity_when_of_another_authority_then_no_answer(etcd: Cluster, secured: Secured) -> None:
    foreign = secured.stranger.identity("node")
    assert isinstance(grant_with(etcd, foreign._replace(ca=secured.authority.ca)), NoAnswer)


def test_server_when_of_another_authority_then_it_is_not_believed(etcd: Cluster, secured: Secured) -> None:
    reply = grant_with(etcd, secured.node._replace(ca=secured.stranger.ca))
    assert isinstance(reply, NoAnswer)
    assert "certificate" in reply.why.lower()


def test_client_when_it_has_no_certificate_then_no_answer(etcd: Cluster) -> None:
    assert isinstance(grant_with(etcd, None), NoAnswer)


def test_server_when_in_the_clear_then_a_client_with_certificates_does_not_talk_to_it(secured: Secured) -> None:
    with Cluster(1) as plain:
        assert isinstance(grant_with(plain, secured.node), NoAnswer)


def test_file_when_it_cannot_be_read_then_an_error_of_the_settings(etcd: Cluster, secured: Secured) -> None:
    with pytest.raises(SettingsError, match="GRINDER_ETCD_\\*_FILE: cannot be read"):
        Clients(access(etcd, identity=secured.node._replace(key=secured.node.key.with_name("gone"))))


def test_settings_when_files_are_named_then_they_are_the_way_in(etcd: Cluster, secured: Secured) -> None:
    settings = load(
        {
            "GRINDER_HA_ENABLED": "1",
            "GRINDER_CLUSTER": MINE,
            "GRINDER_ETCD_ENDPOINTS": etcd.endpoints,
            "GRINDER_ETCD_CA_FILE": str(secured.node.ca),
            "GRINDER_ETCD_CERT_FILE": str(secured.node.cert),
            "GRINDER_ETCD_KEY_FILE": str(secured.node.key),
        }
    )
    clients = Clients(access_of(settings))
    wait_until(lambda: isinstance(clients.leases.perform(GrantLease(5)), Granted), PATIENCE_S, "a lease")
    clients.connection.close()


def test_watch_when_its_role_is_taken_away_then_the_silence_has_a_name_and_ends(
    etcd: Cluster, secured: Secured
) -> None:
    """etcd cancels a watch that may not be, or leaves an old one silent: either way the reads say so."""

    async def main() -> None:
        node = Node(access(etcd, cluster=MINE, identity=secured.node, timeout_s=CALM_TIMEOUT_S))
        node.watch()
        await node.sees(lambda view: True)
        await until(lambda: any(node.notes.ends_s))
        await asyncio.to_thread(etcd.ctl, "user", "revoke-role", "node", "grinder", identity=secured.root)
        try:
            await until(lambda: ("read", "not_done") in node.notes.errors)
            fails = {fields["operation"]: fields for name, fields in node.notes.events if name == "ETCD_FAILS"}
            assert "permission denied" in str(fails["read"]["why"])
        finally:
            node.stores.close()
            await asyncio.to_thread(etcd.ctl, "user", "grant-role", "node", "grinder", identity=secured.root)

    asyncio.run(main())


def test_watch_when_denied_from_the_start_then_said_at_once(etcd: Cluster, secured: Secured) -> None:
    async def main() -> None:
        node = Node(access(etcd, cluster=THEIRS, identity=secured.node))
        node.watch()
        await until(lambda: ("read", "not_done") in node.notes.errors)
        assert not node.views
        node.stores.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def full() -> Iterator[tuple[Cluster, Clients, int]]:
    with Cluster(1, quota_bytes=2 << 20) as cluster:
        clients = Clients(access(cluster, timeout_s=CALM_TIMEOUT_S))
        clients.arm()
        leader = clients.lead(lease_id=clients.lease(LEASE_S)).leader
        text = secrets.token_hex(50_000)
        for number in range(100):
            try:
                cluster.ctl("put", f"/filler/{number}", text)
            except AssertionError:
                break
        else:
            raise AssertionError("it is not full")
        yield cluster, clients, leader.lease_id
        clients.connection.close()


class TestQuota:
    """A member whose quota is used up: puts are refused, or carried out and called refused; deletes pass."""

    def test_keepalive_when_full_then_the_leader_goes_on(self, full: tuple[Cluster, Clients, int]) -> None:
        _, clients, lease_id = full
        reply = clients.leases.perform(KeepAlive(lease_id))
        assert isinstance(reply, LifeLeft)
        assert reply.ttl_s == LEASE_S

    def test_grant_when_full_then_no_answer_for_it_may_have_been_done(self, full: tuple[Cluster, Clients, int]) -> None:
        reply = full[1].leases.perform(GrantLease(5))
        assert isinstance(reply, NoAnswer)
        assert "RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded" in reply.why

    def test_trip_when_full_then_the_permission_goes_all_the_same_and_it_is_recorded_once_there_is_space(
        self, full: tuple[Cluster, Clients, int]
    ) -> None:
        etcd, clients, _ = full
        before = clients.latches.perform(ReadCluster())
        assert isinstance(before, ClusterView)
        assert before.arm is not None
        for _ in range(2):
            reply = clients.latches.perform(TripCluster(trip_record()))
            assert (getattr(reply, "complete", None)) is False
            after = clients.view()
            assert (after.arm, after.latch, after.trips) == (None, None, ())
        etcd.ctl("del", "--prefix", "/filler/")
        etcd.ctl("compact", str(clients.view().revision))
        etcd.ctl("defrag")
        etcd.ctl("alarm", "disarm")
        reply = clients.latches.perform(TripCluster(trip_record()))
        assert (getattr(reply, "complete", None)) is True
        assert clients.view().trips == (trip_record(),)

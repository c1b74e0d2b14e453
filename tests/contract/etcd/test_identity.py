"""Our own certificate: what is wrong with it is said, and one that was replaced is taken without a restart."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.adapters.etcd.identity import MEANINGS, Files, meaning_of, problem_of, read_identity, renewed
from grinder.model.cluster import Granted, GrantLease, NoAnswer, NotDone, ReadCluster
from tests.contract.etcd.rig import CALM_TIMEOUT_S, Clients, access
from tests.etcd_certificates import Authority, Identity
from tests.etcd_kit import Cluster

OVER = datetime.timedelta(hours=-1)
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def etcd(authority: Authority) -> Iterator[Cluster]:
    with Cluster(1, identity=authority.identity("server")) as cluster:
        yield cluster


@pytest.fixture
def own(folder: Path, authority: Authority) -> Identity:
    """The places that a host has its files in, for one test."""
    place = Path(tempfile.mkdtemp(dir=folder))
    return Identity(authority.ca, place / "node.pem", place / "node.key")


def put(own: Identity, made: Identity) -> None:
    """Put a pair in its place as an operator does: the key, then the certificate."""
    own.key.write_bytes(made.key.read_bytes())
    own.cert.write_bytes(made.cert.read_bytes())


def files(identity: Identity) -> Files:
    return Files(str(identity.ca), str(identity.cert), str(identity.key))


def test_pair_when_replaced_in_place_then_the_next_connection_shows_the_new_one(
    etcd: Cluster, authority: Authority, own: Identity
) -> None:
    put(own, authority.identity("node", OVER))
    clients = Clients(access(etcd, identity=own, timeout_s=CALM_TIMEOUT_S))
    refused = clients.leases.perform(GrantLease(5))
    assert isinstance(refused, NoAnswer)
    assert f"our certificate {own.cert} ended " in refused.why
    put(own, authority.identity("node"))
    clients.leases.perform(GrantLease(5))
    assert isinstance(clients.leases.perform(GrantLease(5)), Granted)
    clients.connection.close()


def test_pair_when_half_of_it_is_replaced_then_the_old_one_is_shown_until_it_is_whole(
    etcd: Cluster, authority: Authority, own: Identity
) -> None:
    put(own, authority.identity("node"))
    clients = Clients(access(etcd, identity=own, timeout_s=CALM_TIMEOUT_S))
    own.key.write_bytes(authority.identity("node").key.read_bytes())
    clients.connection.next_member()
    assert isinstance(clients.leases.perform(GrantLease(5)), Granted)
    own.cert.unlink()
    clients.connection.next_member()
    assert isinstance(clients.leases.perform(GrantLease(5)), Granted)
    clients.connection.close()


def test_authority_when_replaced_in_place_then_the_members_are_believed_by_the_new_one(
    etcd: Cluster, authority: Authority, folder: Path, own: Identity
) -> None:
    put(own, authority.identity("node"))
    mine = own._replace(ca=own.cert.with_name("ca.pem"))
    mine.ca.write_bytes(Authority(folder, "former").ca.read_bytes())
    clients = Clients(access(etcd, identity=mine, timeout_s=CALM_TIMEOUT_S))
    unknown = clients.leases.perform(GrantLease(5))
    assert isinstance(unknown, NoAnswer)
    assert f"is of no authority in {mine.ca}" in unknown.why
    mine.ca.write_bytes(authority.ca.read_bytes())
    clients.leases.perform(GrantLease(5))
    assert isinstance(clients.leases.perform(GrantLease(5)), Granted)
    clients.connection.close()


def test_certificate_when_of_another_authority_or_with_anothers_key_then_said(
    etcd: Cluster, authority: Authority, folder: Path, own: Identity
) -> None:
    foreign = Authority(folder, "foreign").identity("node")
    for made, said in (
        (foreign, f"our certificate {own.cert} is of no authority in {own.ca}"),
        (
            authority.identity("node")._replace(key=foreign.key),
            f"our key {own.key} does not belong to our certificate {own.cert}",
        ),
    ):
        put(own, made)
        clients = Clients(access(etcd, identity=own, timeout_s=CALM_TIMEOUT_S))
        refused = clients.latches.perform(ReadCluster())
        assert isinstance(refused, NoAnswer | NotDone)
        assert said in refused.why
        clients.connection.close()


def test_client_when_it_has_no_certificate_then_that_is_said(etcd: Cluster) -> None:
    clients = Clients(access(etcd))
    refused = clients.latches.perform(ReadCluster())
    assert isinstance(refused, NoAnswer)
    assert "no GRINDER_ETCD_*_FILE is set" in refused.why
    clients.connection.close()


def test_problem_when_looked_for_then_the_first_thing_that_is_wrong(authority: Authority, own: Identity) -> None:
    assert "cannot be read" in problem_of(files(own), NOW)
    put(own, authority.identity("node"))
    assert problem_of(files(own), NOW) == ""
    assert "begins" in problem_of(files(own), NOW - datetime.timedelta(days=3))
    assert f"{own.cert} ended" in problem_of(files(own), NOW + datetime.timedelta(days=3))
    held = read_identity(files(own))
    for path, what in ((own.key, "our key"), (own.cert, "our certificate")):
        good = path.read_bytes()
        path.write_text("-----BEGIN NOTHING-----\n")
        assert f"{what} {path} cannot be read" in problem_of(files(own), NOW)
        assert renewed(files(own), held, NOW) == held
        path.write_bytes(good)
    junk = own._replace(ca=own.cert.with_name("junk.pem"))
    junk.ca.write_text("junk")
    assert f"our authority {junk.ca} cannot be read" in problem_of(files(junk), NOW)
    assert problem_of(Files(), NOW) == ""


def test_meaning_when_words_are_known_then_who_and_what_is_named() -> None:
    mine = Files("/tls/ca.pem", "/tls/node.pem", "/tls/node.key")
    for said, _ in MEANINGS:
        means = meaning_of(f"ipv4: {said}: OK", "host-a.example:2379", mine)
        assert means
        assert "{" not in means
    assert "host-a.example" in meaning_of("Hostname Verification Check failed.", "host-a.example:2379", mine)
    assert meaning_of("Connection refused", "host-a.example:2379", mine) == ""
    assert meaning_of("Connection refused", "host-a.example:2379", Files()) == ""

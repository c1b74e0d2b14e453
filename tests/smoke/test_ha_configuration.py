"""The files of conf/ha and the commands of runbook 07, section 2, started for real: three members of etcd, two trees.

All tests but the first share one cluster, in order; each leaves one leader and one standby behind.
"""

from __future__ import annotations

import datetime
import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from socket import create_connection
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from grinder.adapters.kept_program import environment_of
from grinder.cli.cluster import cluster_status
from grinder.model.board import Word
from grinder.settings import load
from tests.smoke.conditions import wait_for
from tests.smoke.ha_hosts import HA, LETTERS, Host, Hosts, certificates, leads, run, settings_of
from tests.smoke.test_ha import kill_tree, require_terms_in_order
from tests.smoke.trees import TreeUnderTest
from tests.smoke.venues import ANSWER_S

PREFIX = "/grinder/v1/live/"
OURS = {
    "ETCD_INITIAL_CLUSTER",
    "ETCD_DATA_DIR",
    "ETCD_LISTEN_PEER_URLS",
    "ETCD_LISTEN_CLIENT_URLS",
    "ETCD_LISTEN_METRICS_URLS",
    "ETCD_INITIAL_ADVERTISE_PEER_URLS",
    "ETCD_ADVERTISE_CLIENT_URLS",
    *(f"ETCD_{side}{kind}_FILE" for side in ("", "PEER_") for kind in ("TRUSTED_CA", "CERT", "KEY")),
    "GRINDER_ETCD_ENDPOINTS",
    *(f"GRINDER_ETCD_{kind}_FILE" for kind in ("CA", "CERT", "KEY")),
}
"""Settings of the shipped files that are others here: addresses, ports and folders."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    three = Hosts("ab")
    try:
        three.start()
        three.permit()
        certificates(three.made, "client", "node-c")
        yield three
        assert [host.tree.stop() for host in three.trees] == [0, 0], "each tree stops in order"
    finally:
        three.remove()


def lost(host: Host, **changes: str) -> dict[str, str]:
    """Return what a command on a host is told by each member that it cannot use, with the host's files as they are."""
    settings = {**host.node.settings, **changes}
    problems = {
        end: cluster_status(load({**settings, "GRINDER_ETCD_ENDPOINTS": end})).problem
        for end in settings["GRINDER_ETCD_ENDPOINTS"].split(",")
    }
    return {end: problem for end, problem in problems.items() if problem}


def refused_by(host: Host, ends: tuple[str, ...]) -> dict[str, str] | None:
    """Return why these members, and no others, are of no use to a host; None while another one is, or none says why."""
    found = lost(host)
    return found if set(found) == set(ends) and all("(its certificate is " in why for why in found.values()) else None


def in_order(host: Host, ends: tuple[str, ...]) -> bool:
    """Tell whether the doctor finds a host's own certificate and every member in order."""
    said = host.node.grinder("doctor").stdout
    found = re.findall(r"^(\w+) +etcd member +(\S+)", said, re.MULTILINE)
    own = re.search(r"^ok +etcd certificate .* ends ", said, re.MULTILINE)
    return own is not None and found == [("ok", end) for end in ends]


def named_by_etcd(hosts: Hosts) -> bool:
    """Tell whether etcd has the name of the one that leads, and the other one may take no risk."""
    leader = hosts.leader()
    (standby,) = (host for host in hosts.trees if host is not leader)
    told = hosts.ctl("operator", "get", "--print-value-only", f"{PREFIX}leader").stdout
    named = bool(told) and json.loads(told)["node"] == leader.node.name
    return named and not standby.node.word(Word.RISK_DEADLINE_BOOT_NS)


def greets(hosts: Hosts, port: int, user: str) -> bool:
    """Tell whether somebody's certificate is let in at a port."""
    context = ssl.create_default_context(cafile=str(hosts.made / "ca.pem"))
    context.load_cert_chain(hosts.made / f"{user}.pem", hosts.made / f"{user}.key")
    try:
        with context.wrap_socket(create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1") as peer:
            peer.settimeout(ANSWER_S)
            peer.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            return bool(peer.recv(1))
    except (ssl.SSLError, ConnectionError):
        return False


def make_over(folder: Path, pem: Path) -> None:
    """Have the authority sign a certificate again that is over since yesterday."""
    key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    old = x509.load_pem_x509_certificate(pem.read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    again = (
        x509.CertificateBuilder(authority.subject, old.subject, old.public_key(), old.serial_number + 1)
        .not_valid_before(now - datetime.timedelta(days=3))
        .not_valid_after(now - datetime.timedelta(days=1))
    )
    for extension in old.extensions:
        again = again.add_extension(extension.value, extension.critical)
    pem.unlink()
    pem.write_bytes(again.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))  # type: ignore[arg-type]


def test_tree_when_alone_then_nothing_of_etcd_is_loaded_and_readyz_says_so() -> None:
    tree = TreeUnderTest()
    try:
        tree.start()
        wait_for(tree.ready, "/readyz 200")
        with urlopen(f"http://127.0.0.1:{tree.metrics_port}/readyz", timeout=ANSWER_S) as answer:
            assert "nothing of etcd is needed" in json.load(answer)["ha"]
        assert tree.count("grinder_ha_is_leader") == 1
        assert tree.count("grinder_ha_role", role="ACTIVE") == 1
        for program, pid in tree.pids().items():
            loaded = Path(f"/proc/{pid}/maps").read_text()
            assert not re.search(r"grpc|protobuf|etcd", loaded), program
    finally:
        tree.remove()


def test_files_when_words_are_replaced_then_addresses_and_folders_alone_are_others(hosts: Hosts) -> None:
    changed: set[str] = set()
    for host in hosts.trees:
        for unit, files in (
            ("grinder-etcd.service", ("etcd.env", f"etcd-{host.letter}.env")),
            ("grinder@.service", ("cluster.env", f"{host.node.name}.env")),
        ):
            shipped = environment_of("".join((HA / name).read_text() for name in files))
            here = settings_of(unit, host.node.name, host.words)
            assert here.keys() >= shipped.keys()
            changed |= {name for name, value in shipped.items() if here[name] != value}
            assert "example" not in "".join(here.values())
    assert changed == OURS


def test_certificates_when_made_then_keys_are_private_and_each_says_until_when(hosts: Hosts) -> None:
    assert {path.stat().st_mode & 0o777 for path in hosts.made.glob("*.key")} == {0o600}
    for host in hosts.trees:
        modes = {path.name: path.stat().st_mode & 0o777 for path in (host.etc / "tls").iterdir()}
        private = {f"{whose}.{kind}": 0o400 for whose in ("member", "node") for kind in ("key", "pem")}
        assert modes == {"ca.pem": 0o444, **private}
    shown = certificates(hosts.made, "show")
    assert len(re.findall(r"^\S+\.pem +notAfter=", shown, re.MULTILINE)) == 1 + len(LETTERS) + 5
    again = run(HA / "certificates.sh", hosts.made, "authority")
    assert again.returncode == 1
    assert "is there" in again.stderr


def test_user_when_it_writes_then_the_keys_of_its_cluster_alone_are_open(hosts: Hosts) -> None:
    for user in ("node-a", "operator"):
        assert hosts.ctl(user, "put", f"{PREFIX}smoke", "x").returncode == 0
        assert hosts.ctl(user, "del", f"{PREFIX}smoke").returncode == 0
        for words in (("put", "/grinder/v1/other/x", "x"), ("get", "--prefix", "/grinder/v1/liv"), ("user", "list")):
            assert "permission denied" in hosts.ctl(user, *words).stderr, words


def test_member_or_snapshot_when_asked_for_then_root_alone_may(hosts: Hosts) -> None:
    for words, said in (
        (("defrag",), "Finished"),
        (("snapshot", "save", f"{hosts.root}/snapshot.db"), "saved"),
        (("member", "remove", "1"), "not found"),
    ):
        refused = hosts.ctl("node-a", *words, endpoint=hosts.endpoints[0])
        assert "permission denied" in refused.stderr, words
        done = hosts.ctl("root", *words, endpoint=hosts.endpoints[0])
        assert said in done.stdout + done.stderr, words


def test_stranger_when_it_asks_then_it_is_refused(hosts: Hosts) -> None:
    assert hosts.ctl("node-c", "get", PREFIX).returncode != 0, "a certificate without a user"
    assert hosts.ctl("etcd-a", "get", PREFIX).returncode != 0, "a member is no client"
    bare = {name: value for name, value in hosts.identity("root").items() if "CERT" not in name or "CA" in name}
    impatient = ("--command-timeout=1s", "--dial-timeout=1s")
    assert run("etcdctl", *impatient, "get", PREFIX, **{**bare, "ETCDCTL_KEY": ""}).returncode != 0, "no certificate"


def test_user_when_let_in_later_then_access_is_run_again(hosts: Hosts) -> None:
    done = run(HA / "access.sh", "live", "node-c", **hosts.identity("root"))
    assert done.returncode == 0, done.stderr
    assert hosts.ctl("node-c", "get", PREFIX).returncode == 0


def test_peer_port_when_a_client_knocks_then_only_members_are_let_in(hosts: Hosts) -> None:
    assert greets(hosts, hosts.all[0].peer_port, "etcd-b")
    assert not greets(hosts, hosts.all[0].peer_port, "node-a")


def test_trees_when_started_from_the_shipped_files_then_one_acts_and_one_stands_by(hosts: Hosts) -> None:
    hosts.until(hosts.trades, "one acts, one stands by, and orders rest")
    hosts.until(lambda: named_by_etcd(hosts), "etcd names the one that acts, and the other one takes no risk")
    for host in hosts.trees:
        first = host.node.settings["GRINDER_ETCD_ENDPOINTS"].split(",")[0]
        assert first == f"127.0.0.1:{host.client_port}", "each asks the member beside it first"


def test_leader_when_its_tree_is_killed_then_the_other_acts_and_it_comes_back_only_with_a_certificate_of_ours(
    hosts: Hosts,
) -> None:
    """It comes back with a pair of another authority: it takes no risk and says why, until the pair is put right."""
    old = hosts.leader()
    term = old.node.word(Word.TERM)
    kill_tree(old.node)
    old.tree.stop()
    (other,) = (host for host in hosts.trees if host is not old)
    hosts.until(lambda: leads(other) and other.node.word(Word.TERM) > term, "the other leads")
    foreign = hosts.root / "foreign"
    certificates(foreign, "authority")
    certificates(foreign, "client", old.node.name)
    old.bring(foreign, old.node.name, "node")
    old.tree.start()
    why = f"our certificate {old.etc}/tls/node.pem is of no authority in {old.etc}/tls/ca.pem"
    hosts.until(lambda: any(why in str(each["why"]) for each in old.said("ETCD_FAILS")), "it says why")
    hosts.until(lambda: old.node.look().role == "UNKNOWN", "it does not know who leads")
    assert (old.node.word(Word.RISK_DEADLINE_BOOT_NS), old.node.word(Word.LEAD_DEADLINE_BOOT_NS)) == (0, 0)
    pid = old.node.pid("executor")
    old.bring(hosts.made, old.node.name, "node")
    hosts.until(hosts.trades, "it stands by")
    assert old.node.pid("executor") == pid, "without a restart"
    assert hosts.venue is not None
    require_terms_in_order(hosts.venue)


def test_members_when_a_certificate_is_over_or_of_another_name_then_each_is_named_and_the_trees_go_on(
    hosts: Hosts,
) -> None:
    first, second, third = hosts.all
    make_over(hosts.made, second.etc / "tls" / "member.pem")
    certificates(hosts.made, "member", "etcd-c", "host-c.example")
    third.bring(hosts.made, "etcd-c", "member")
    # A member that is well may be late to answer on a busy host, and one that is not may be late to say why.
    wrong = wait_for(lambda: refused_by(first, hosts.endpoints[1:]), "two members are of no use, and say why")
    assert set(wrong) == {hosts.endpoints[1], hosts.endpoints[2]}
    assert "(its certificate is over)" in wrong[hosts.endpoints[1]]
    assert "(its certificate is not made out to 127.0.0.1)" in wrong[hosts.endpoints[2]]
    bare = dict.fromkeys((f"GRINDER_ETCD_{kind}_FILE" for kind in ("CA", "CERT", "KEY")), "")
    wanted = "wants certificates: no GRINDER_ETCD_*_FILE is set"
    wait_for(lambda: [wanted in why for why in lost(first, **bare).values()] == [True] * 3, "each wants certificates")
    hosts.until(hosts.trades, "the trees go on")
    certificates(hosts.made, "member", "etcd-c", "host-c.example", "127.0.0.1")
    for host in (second, third):
        host.bring(hosts.made, f"etcd-{host.letter}", "member")
    wait_for(lambda: in_order(first, hosts.endpoints), "the doctor finds the certificate and every member in order")

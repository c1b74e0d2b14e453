"""The files of conf/ha, names and folders replaced: certificates, three members of etcd, who may do what."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from socket import create_connection
from urllib.request import urlopen

import pytest

from grinder.adapters.parent import end_with_parent
from tests.etcd_kit import BIN, require_etcd
from tests.free_ports import free_ports
from tests.smoke.conditions import wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest

HA = PROJECT / "conf" / "ha"
MEMBERS = ("a", "b", "c")
USERS = ("root", "node-a", "node-b", "operator")
PREFIX = "/grinder/v1/live/"


def run(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the tools of etcd on the path."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(word) for word in words], env={"PATH": path, **environ}, capture_output=True, text=True, check=False
    )


def certificates(folder: Path, *words: str) -> str:
    done = run(HA / "certificates.sh", folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Members:
    """Three members as their files say, on loopback."""

    def __init__(self, root: Path) -> None:
        self.tls = root / "tls"
        certificates(self.tls, "authority")
        for member in MEMBERS:
            certificates(self.tls, "member", f"etcd-{member}", f"host-{member}.example", "127.0.0.1")
        for user in USERS:
            certificates(self.tls, "client", user)
        self.client_ports = dict(zip(MEMBERS, free_ports(3), strict=True))
        self.peer_ports = dict(zip(MEMBERS, free_ports(3), strict=True))
        self._root = root
        self._children = [self._start(member, port) for member, port in zip(MEMBERS, free_ports(3), strict=True)]

    def _start(self, member: str, metrics_port: int) -> subprocess.Popen[bytes]:
        text = (HA / "etcd.env").read_text() + (HA / f"etcd-{member}.env").read_text()
        for each in MEMBERS:
            text = text.replace(f"host-{each}.example:2380", f"127.0.0.1:{self.peer_ports[each]}")
        text = (
            text.replace(f"host-{member}.example:2379", f"127.0.0.1:{self.client_ports[member]}")
            .replace("0.0.0.0:2380", f"127.0.0.1:{self.peer_ports[member]}")
            .replace("0.0.0.0:2379", f"127.0.0.1:{self.client_ports[member]}")
            .replace("127.0.0.1:2381", f"127.0.0.1:{metrics_port}")
            .replace("/etc/grinder/tls/member", f"{self.tls}/etcd-{member}")
            .replace("/etc/grinder/tls", str(self.tls))
            .replace("/var/lib/grinder-etcd", str(self._root / f"data-{member}"))
        )
        assert "example" not in re.sub(r"#.*", "", text)
        settings = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
        with (self._root / f"etcd-{member}.out").open("wb") as output:
            return subprocess.Popen(
                [BIN / "etcd"], env=settings, stdout=output, stderr=output, preexec_fn=end_with_parent
            )

    def ctl(self, user: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run etcdctl with somebody's certificate."""
        return run("etcdctl", *words, **self.identity(user))

    def identity(self, user: str) -> dict[str, str]:
        """Return the environment that makes etcdctl somebody."""
        return {
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": ",".join(f"127.0.0.1:{port}" for port in self.client_ports.values()),
            "ETCDCTL_CACERT": str(self.tls / "ca.pem"),
            "ETCDCTL_CERT": str(self.tls / f"{user}.pem"),
            "ETCDCTL_KEY": str(self.tls / f"{user}.key"),
        }

    def greets(self, port: int, user: str) -> bool:
        """Tell whether somebody's certificate is let in at a port."""
        context = ssl.create_default_context(cafile=str(self.tls / "ca.pem"))
        context.load_cert_chain(self.tls / f"{user}.pem", self.tls / f"{user}.key")
        try:
            with context.wrap_socket(create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1") as peer:
                peer.settimeout(10)
                peer.sendall(b"GET /version HTTP/1.0\r\n\r\n")
                return bool(peer.recv(1))
        except (ssl.SSLError, ConnectionError):
            return False

    def said(self) -> str:
        """Return what the members wrote."""
        return "".join(path.read_text() for path in self._root.glob("*.out"))

    def close(self) -> None:
        """End them."""
        for child in self._children:
            child.kill()
            child.wait()


@pytest.fixture(scope="module")
def members() -> Iterator[Members]:
    require_etcd()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        three = Members(Path(folder))
        try:
            healthy = "endpoint", "health"
            wait_for(lambda: three.ctl("root", *healthy).returncode == 0, f"members answer: {three.said()}", 20)
            done = run(HA / "access.sh", "live", "node-a", "operator", **three.identity("root"))
            assert done.returncode == 0, done.stderr
            yield three
        finally:
            three.close()


def test_certificates_when_made_then_keys_are_private_and_each_says_until_when(members: Members) -> None:
    assert {path.stat().st_mode & 0o777 for path in members.tls.glob("*.key")} == {0o600}
    shown = certificates(members.tls, "show")
    assert len(re.findall(r"^\S+\.pem +notAfter=", shown, re.MULTILINE)) == 1 + len(MEMBERS) + len(USERS)
    again = run(HA / "certificates.sh", members.tls, "authority")
    assert again.returncode == 1
    assert "is there" in again.stderr


def test_user_when_it_writes_then_the_keys_of_its_cluster_alone_are_open(members: Members) -> None:
    for user in ("node-a", "operator"):
        assert members.ctl(user, "put", f"{PREFIX}{user}", "x").returncode == 0
        refused = members.ctl(user, "put", "/grinder/v1/other/x", "x")
        assert "permission denied" in refused.stderr
        assert "permission denied" in members.ctl(user, "get", "--prefix", "/grinder/v1/liv").stderr
        assert "permission denied" in members.ctl(user, "user", "list").stderr


def test_stranger_when_it_asks_then_it_is_refused(members: Members) -> None:
    assert members.ctl("node-b", "get", PREFIX).returncode != 0, "a certificate without a user"
    assert members.ctl("etcd-a", "get", PREFIX).returncode != 0, "a member is no client"
    bare = {name: value for name, value in members.identity("root").items() if "CERT" not in name or "CA" in name}
    assert (
        run(
            "etcdctl", "--command-timeout=1s", "--dial-timeout=1s", "get", PREFIX, **{**bare, "ETCDCTL_KEY": ""}
        ).returncode
        != 0
    ), "no certificate"


def test_user_when_let_in_later_then_access_is_run_again(members: Members) -> None:
    done = run(HA / "access.sh", "live", "node-b", **members.identity("root"))
    assert done.returncode == 0, done.stderr
    assert members.ctl("node-b", "put", f"{PREFIX}node-b", "x").returncode == 0


def test_peer_port_when_a_client_knocks_then_only_members_are_let_in(members: Members) -> None:
    port = members.peer_ports["a"]
    assert members.greets(port, "etcd-b")
    assert not members.greets(port, "node-a")


def test_member_when_its_certificate_is_made_again_then_the_new_one_is_shown_without_a_restart(
    members: Members,
) -> None:
    def shown() -> bytes:
        context = ssl.create_default_context(cafile=str(members.tls / "ca.pem"))
        context.load_cert_chain(members.tls / "root.pem", members.tls / "root.key")
        address = "127.0.0.1", members.client_ports["c"]
        with context.wrap_socket(create_connection(address), server_hostname="127.0.0.1") as connection:
            certificate = connection.getpeercert(binary_form=True)
            assert certificate is not None
            return certificate

    before = shown()
    certificates(members.tls, "member", "etcd-c", "host-c.example", "127.0.0.1")
    assert shown() != before
    assert members.ctl("root", "endpoint", "health").returncode == 0


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
"""What ProtectSystem=strict of the unit does to the project's folder, in a mount namespace of its own."""


@pytest.mark.skipif(run("unshare", "-rm", "true").returncode != 0, reason="no mount namespaces for us on this host")
def test_tree_when_the_project_is_read_only_as_under_its_unit_then_it_starts_and_stops() -> None:
    tree = TreeUnderTest()
    (PROJECT / "var").mkdir(exist_ok=True)
    try:
        door = (sys.executable, "-m", "procs.run_trading", "--duration-s", "2")
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", READ_ONLY, "sh", PROJECT, *door],
            cwd=PROJECT,
            env=tree.environ,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Trading loop stopped" in done.stdout
    finally:
        tree.remove()


def test_tree_when_alone_then_nothing_of_etcd_is_loaded_and_readyz_says_so() -> None:
    tree = TreeUnderTest()
    try:
        tree.start()
        wait_for(tree.ready, "/readyz 200", 40)
        with urlopen(f"http://127.0.0.1:{tree.metrics_port}/readyz", timeout=5) as answer:
            assert "nothing of etcd is needed" in json.load(answer)["ha"]
        assert tree.count("grinder_ha_is_leader") == 1
        assert tree.count("grinder_ha_role", role="ACTIVE") == 1
        for program, pid in tree.pids().items():
            loaded = Path(f"/proc/{pid}/maps").read_text()
            assert not re.search(r"grpc|protobuf|etcd", loaded), program
    finally:
        tree.remove()

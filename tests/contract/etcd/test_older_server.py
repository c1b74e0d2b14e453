"""A real etcd that is too old: Debian's one before, by the recipe of ``make etcd`` with another suite. Is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.adapters.etcd.connection import SERVER_VERSION_MIN, Access
from grinder.adapters.parent import end_with_parent
from grinder.model.cluster import Done, GrantLease, NoAnswer, TripCluster
from tests.contract.etcd.rig import PATIENCE_S, TIMEOUT_S, Clients, trip_record
from tests.etcd_kit import ROOT, Cluster, wait_until
from tests.free_ports import HOST, free_ports

OTHERWISE = {"suite": "bookworm", "pinned": "3.4.23-4+b4", "least": "3.4.0"}
RECIPE_S_MAX = 300

pytestmark = [pytest.mark.soak, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def older() -> Iterator[tuple[str, str]]:
    """Version and endpoint of one member."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        recipe = (ROOT / ".ci" / "etcd").read_text()
        for variable, value in OTHERWISE.items():
            recipe, found = re.subn(rf"^{variable}=.*$", f"{variable}={value}", recipe, flags=re.MULTILINE)
            assert found == 1, variable
        (folder / ".ci").mkdir()
        (folder / ".ci" / "etcd").write_text(recipe)
        nowhere = {**os.environ, "ETCD": str(folder / "none")}
        subprocess.run(["sh", folder / ".ci" / "etcd"], env=nowhere, check=True, timeout=RECIPE_S_MAX)
        binary = folder / "build" / "etcd" / "bin" / "etcd"
        if not binary.exists():
            pytest.skip((folder / "build" / "etcd.lacking").read_text())
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
        version = said.split("\n")[0].removeprefix("etcd Version: ")
        if tuple(int(part) for part in version.split(".")) >= SERVER_VERSION_MIN:
            pytest.skip(f"the etcd {version} that is installed here is found wherever an older one is looked for")
        client, peer = (f"http://{HOST}:{port}" for port in free_ports(2))
        options = ("--listen-client-urls", client, "--advertise-client-urls", client, "--data-dir", folder / "data")
        peers = ("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--name", "m")
        child = subprocess.Popen(
            [binary, *options, *peers, "--initial-cluster", f"m={peer}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
        )
        try:
            tool = shutil.which("etcdctl", path=binary.parent)
            health = [str(tool), "endpoint", "health"]
            environ = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": client}
            wait_until(
                lambda: subprocess.run(health, env=environ, capture_output=True, check=False).returncode == 0,
                PATIENCE_S,
                "the older one answers",
            )
            yield version, client.removeprefix("http://")
        finally:
            child.kill()
            child.wait()


def test_server_when_really_too_old_then_it_is_refused_by_its_version(older: tuple[str, str]) -> None:
    version, endpoint = older
    clients = Clients(Access((endpoint,), "live", TIMEOUT_S))
    for reply in (clients.leases.perform(GrantLease(5)), clients.latches.perform(TripCluster(trip_record()))):
        assert isinstance(reply, NoAnswer)
        assert f"{endpoint}: its etcd is {version}, which is unsafe for leases; 3.5.16 or newer is needed" in reply.why
    clients.connection.close()


def test_server_when_really_too_old_beside_a_new_one_then_that_one_is_asked(older: tuple[str, str]) -> None:
    with Cluster(1) as etcd:
        clients = Clients(Access((older[1], etcd.members[0].endpoint), "live", TIMEOUT_S))
        assert isinstance(clients.latches.perform(TripCluster(trip_record())), Done)
        clients.connection.close()

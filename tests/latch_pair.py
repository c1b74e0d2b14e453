"""Two real hosts as far as the kill switch goes, and an operator on a third, in one etcd."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from grinder.cli import main
from grinder.cli.cluster import reach
from grinder.core.cluster_reset import NEVER_ARMED, standing_trip
from grinder.model.cluster import ClusterView
from grinder.model.control import Exit
from grinder.settings import Settings, explain
from tests.etcd_kit import Cluster
from tests.latch_hosts import RealHost
from tests.smoke.conditions import wait_for

_NUMBERS = itertools.count(1)
OPERATOR_MS = 900
"""What one request of the operator may take, milliseconds: as much as may be set, for a host may be busy with tests."""


class Pair:
    """A cluster of its own in an etcd: two hosts, and an operator on a third."""

    def __init__(self, etcd: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.etcd = etcd
        self.name = f"c{next(_NUMBERS)}"
        self.hosts = tuple(RealHost(folder, node, etcd.endpoints, self.name) for node in ("a", "b"))
        self.a, self.b = self.hosts
        for name in [name for name in os.environ if name.startswith(("GRINDER_", "BINANCE_", "ALLOW_"))]:
            monkeypatch.delenv(name)
        for name, value in {
            "GRINDER_CLUSTER": self.name,
            "GRINDER_ETCD_ENDPOINTS": etcd.endpoints,
            "GRINDER_HA_REQUEST_TIMEOUT_MS": str(OPERATOR_MS),
            "GRINDER_HA_RENEW_INTERVAL_MS": "100",
            "GRINDER_RUN_DIR": str(folder / "operator" / "run"),
            "GRINDER_STATE_DIR": str(folder / "operator" / "state"),
            "GRINDER_ARTIFACT_DIR": str(folder / "operator" / "artifacts"),
        }.items():
            monkeypatch.setenv(name, value)

    @property
    def settings(self) -> Settings:
        return explain(os.environ, read_file=lambda path: path.read_text())[2]

    def view(self) -> ClusterView:
        def read() -> ClusterView | None:
            with reach(self.settings) as cluster:
                view = cluster.read()
            return view if isinstance(view, ClusterView) else None

        view = wait_for(read, "etcd answers")
        assert view is not None
        return view

    def key(self, name: str) -> str:
        return f"/grinder/v1/{self.name}/{name}"

    def start(self) -> None:
        for host in self.hosts:
            host.start()
        wait_for(lambda: len(self.view().nodes) == 2, "both hosts report")

    def arm(self) -> None:
        """Arm a new cluster, as its operator does first of all."""
        wait_for(lambda: all(host.tripped for host in self.hosts), "without a permission both are tripped")
        wait_for(lambda: main(["reset", "--ack", NEVER_ARMED, "--cluster"]) == Exit.OK, "armed", every_s=0.2)
        assert all(host.clear for host in self.hosts)

    def reset(self) -> int:
        """Clear the cluster; it is cleared too where a host was later than the command before this one waited."""
        standing = standing_trip(self.view())
        if not standing and all(host.clear for host in self.hosts):
            return Exit.OK
        return main(["reset", "--ack", standing, "--cluster"])

    def both(self, holds: Callable[[RealHost], bool], what: str) -> None:
        wait_for(lambda: all(holds(host) for host in self.hosts), what)

    def close(self) -> None:
        for host in self.hosts:
            host.close()

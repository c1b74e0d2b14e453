"""The programs of a cluster on one machine, in the order in which they start and stop. For paper alone."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grinder.adapters.kept_program import KeptProgram, environment_text
from grinder.adapters.scrape import fetch
from grinder.cli.nodes import NodeLook, Seat
from grinder.model.limits import TREE_STOP_S_MAX

PROJECT: Final = Path(__file__).parent.parent
NODES: Final = ("node-a", "node-b", "node-c")
HOST: Final = "127.0.0.1"
PAPER: Final = PROJECT / "conf" / "paper.sh"

QUOTA_BYTES: Final = 32 << 20
"""Space of etcd, bytes: enough for days of a cluster, and filled within seconds by a drill that means to."""

NODE_STOP_S_MAX: Final = TREE_STOP_S_MAX + 10.0
PROGRAM_STOP_S_MAX: Final = 10.0
"""Longest orderly stop of a node, and of the venue or a member of etcd, seconds."""


class Cluster:
    """The programs of a cluster, and where they are."""

    def __init__(self, options: argparse.Namespace, run_root: Path) -> None:
        """Prepare; nothing starts yet. ``run_root``: an empty folder in memory for the nodes' run folders."""
        self._options = options
        self.folder: Path = options.folder.absolute()
        self.venue_port: int = options.venue_port
        self.ports = [options.etcd_port + 2 * number for number in range(options.members)]
        self.seats = [
            Seat(name, run_root / name, options.metrics_port + number)
            for number, name in enumerate(NODES[: options.nodes])
        ]
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("GRINDER_", "ETCD_"))}
        etcd = (str(options.etcd.absolute() / "etcd"),)
        self.members = [KeptProgram(name, etcd, bare, self.folder, PROGRAM_STOP_S_MAX) for name in self._member_names]
        # A real venue counts by address, and each host has its own; here all of them share one.
        weight = ("--weight-limit-1m", str(options.weight_limit_1m * options.nodes))
        orders = ("--order-limit-10s", str(options.order_limit_10s), "--order-limit-1m", str(options.order_limit_1m))
        venue = (sys.executable, "-m", "procs.venue", "--port", str(self.venue_port), *weight, *orders)
        self.venue = KeptProgram("venue", venue, bare, self.folder, PROGRAM_STOP_S_MAX)
        self.nodes = {
            seat.name: KeptProgram(seat.name, (str(PAPER),), os.environ, self.folder, NODE_STOP_S_MAX)
            for seat in self.seats
        }

    @property
    def programs(self) -> tuple[KeptProgram, ...]:
        """All of them, in the order of their start."""
        return (*self.members, self.venue, *self.nodes.values())

    def required_ports(self) -> tuple[int, ...]:
        """Return every port that must be free."""
        own = (self.venue_port, *(seat.metrics_port for seat in self.seats))
        return (*own, *(port for client in self.ports for port in (client, client + 1)))

    def settings(self, seat: Seat) -> dict[str, str]:
        """Return what makes a paper tree a node of this cluster, and a shell one that speaks to it."""
        venue = f"{HOST}:{self.venue_port}"
        tools = (PROJECT / ".venv" / "bin", self._options.etcd.absolute())
        return {
            "GRINDER_HA_ENABLED": "true",
            "GRINDER_CLUSTER": "paper",
            "GRINDER_NODE_ID": seat.name,
            "GRINDER_ETCD_ENDPOINTS": self.endpoints,
            "GRINDER_VENUE_REST_URL": f"http://{venue}",
            "GRINDER_VENUE_WS_URL": f"ws://{venue}",
            "GRINDER_VENUE_WS_API_URL": f"ws://{venue}/ws-fapi/v1",
            "GRINDER_METRICS_PORT": str(seat.metrics_port),
            "GRINDER_RUN_DIR": str(seat.run_dir),
            "GRINDER_STATE_DIR": str(self.folder / seat.name / "state"),
            "GRINDER_LOG_DIR": str(self.folder / seat.name / "log"),
            "GRINDER_ARTIFACT_DIR": str(self.folder / seat.name / "artifacts"),
            "ETCDCTL_ENDPOINTS": self.endpoints,
            "PATH": os.pathsep.join((*map(str, tools), os.environ.get("PATH", os.defpath))),
        }

    def ended(self) -> str:
        """Return the names of the programs that were started and have ended; empty if none has."""
        return ", ".join(program.name for program in self.programs if program.started and not program.running)

    @property
    def endpoints(self) -> str:
        """The members as settings name them."""
        return ",".join(f"{HOST}:{port}" for port in self.ports)

    def write_environments(self) -> None:
        """Write what each program shall see; a person may change the files before a program's next start."""
        self._write("venue", {})
        for number, name in enumerate(self._member_names):
            self._write(name, self._member(number))
        for seat in self.seats:
            self._write(seat.name, self.settings(seat))

    def etcd_health(self) -> str:
        """Return which members answer, for people."""
        words = ("ok" if fetch(HOST, port, "/health") else "NO ANSWER" for port in self.ports)
        return "  ".join(f"{member.name} {word}" for member, word in zip(self.members, words, strict=True))

    def stop(self, looks: list[NodeLook]) -> list[str]:
        """Stop what runs, whoever leads last, so that nobody takes over from it; then the venue, then etcd.

        Returns:
            What did not end as it should, for people.
        """
        leading = {look.name for look in looks if look.leads}
        problems = []
        for name, node in sorted(self.nodes.items(), key=lambda item: item[0] in leading):
            if node.stop() not in (0, None):
                problems.append(f"{name} did not stop in order; see {self.folder / name}.out")
        self.venue.stop()
        # One by one: a leading member that finds no other to hand over to waits for seconds.
        for member in self.members:
            member.stop()
        return problems

    @property
    def _member_names(self) -> tuple[str, ...]:
        return tuple(f"etcd-{number + 1}" for number in range(self._options.members))

    def _member(self, number: int) -> dict[str, str]:
        """Return the settings of a member: those of conf/ha/etcd.env, without TLS and with little space."""
        name, port = self._member_names[number], self.ports[number]
        client, peer = f"http://{HOST}:{port}", f"http://{HOST}:{port + 1}"
        listed = zip(self._member_names, self.ports, strict=True)
        return {
            "ETCD_NAME": name,
            "ETCD_DATA_DIR": str(self.folder / name),
            "ETCD_LISTEN_CLIENT_URLS": client,
            "ETCD_ADVERTISE_CLIENT_URLS": client,
            "ETCD_LISTEN_PEER_URLS": peer,
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": peer,
            "ETCD_INITIAL_CLUSTER": ",".join(f"{each}=http://{HOST}:{at + 1}" for each, at in listed),
            "ETCD_INITIAL_CLUSTER_STATE": "new",
            "ETCD_INITIAL_CLUSTER_TOKEN": "grinder-paper",
            "ETCD_HEARTBEAT_INTERVAL": "100",
            "ETCD_ELECTION_TIMEOUT": "1000",
            "ETCD_GRPC_KEEPALIVE_MIN_TIME": "1s",
            "ETCD_AUTO_COMPACTION_MODE": "periodic",
            "ETCD_AUTO_COMPACTION_RETENTION": "1h",
            "ETCD_QUOTA_BACKEND_BYTES": str(QUOTA_BYTES),
            "ETCD_LOG_LEVEL": "warn",
        }

    def _write(self, name: str, environ: Mapping[str, str]) -> None:
        (self.folder / f"{name}.env").write_text(environment_text(environ))

"""A real etcd for tests: one or three members on loopback, killed, paused, cut off, wiped and restored at will.

Members run with ``--unsafe-no-fsync`` (tests of loops, not of disks). Everything lives in a folder under /tmp. A guard
process ends the members and removes the folder when the test process is gone, however that went.

The binaries are those that ``make etcd`` has put under build/etcd/bin.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.etcd_certificates import Identity
from tests.etcd_relay import Relays, Wire, socket_owner
from tests.free_ports import HOST, free_ports

ROOT: Final = Path(__file__).parents[1]
BIN: Final = ROOT / "build" / "etcd" / "bin"
LACKING: Final = ROOT / "build" / "etcd.lacking"
START_TIMEOUT_S: Final = 90.0
END_TIMEOUT_S: Final = 60.0
"""With patience for a machine that is busy with other tests."""

LOOK_PERIOD_S: Final = 0.01
AGAIN_S: Final = 0.3
"""How long a member that ended at its start is left alone before it is started again."""

GUARD: Final = """
pids=" "
while read -r what pid; do
    case $what in
        +) pids="$pids$pid " ;;
        -) pids=$(echo "$pids" | sed "s/ $pid / /") ;;
    esac
done
for pid in $pids; do kill -9 "$pid"; done 2>/dev/null
rm -rf "$1"
"""


def require_etcd() -> None:
    """Skip, loudly, where there is no etcd; fail there under CI."""
    if (BIN / "etcd").exists():
        return
    why = LACKING.read_text().strip() if LACKING.exists() else "not there yet: make etcd"
    if os.environ.get("CI"):
        pytest.fail(f"no etcd: {why}", pytrace=False)
    pytest.skip(f"etcd NOT TESTED: {why}")


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look until a condition holds; fail after a time, saying what did not come."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(LOOK_PERIOD_S)


class Member:
    """One etcd process with its folder and ports."""

    def __init__(self, name: str, folder: Path, cluster: Cluster) -> None:
        self.name = name
        self.folder = folder
        self.data = folder / "data"
        self.client_port, self.peer_port, self.metrics_port, self.advertised_port = free_ports(4)
        self._cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """``host:port`` of its clients' side."""
        return f"{HOST}:{self.client_port}"

    @property
    def pid(self) -> int:
        """Its process id, 0 while it is down; also when it ended by itself."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        assert not self.pid, f"{self.name} runs"
        self._end(signal.SIGKILL)
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(BIN / "etcd"), *self._cluster.options(self)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "GOMAXPROCS": "2"},
                start_new_session=True,
            )
        self._cluster.guard("+", self._process.pid)

    def kill(self) -> None:
        """End it at once; its data stays."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop it (SIGSTOP): its sockets stay open and acknowledge, it answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Remove its data; it must be down."""
        assert not self.pid, f"{self.name} runs"
        shutil.rmtree(self.data, ignore_errors=True)

    def healthy(self) -> bool:
        """Tell whether it answers linearizable reads: it runs, has a leader, and a quorum stands."""
        return self._get("/health") is not None

    def leads(self) -> bool:
        """Tell whether it says that it is etcd's leader."""
        return "\netcd_server_is_leader 1\n" in (self._get("/metrics") or "")

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.metrics_port}{path}", timeout=2.0) as answer:
                return str(answer.read(), "utf-8")
        except (urllib.error.URLError, OSError):
            return None

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_TIMEOUT_S)
        self._cluster.guard("-", process.pid)
        self._process = None


class Cluster:
    """One or three members; a context manager that leaves nothing behind. Skips the test where there is no etcd.

    Args:
        size: how many members.
        identity: the server's certificate: clients need one of the same authority then (peers stay plain).
        quota_bytes: of the backend; 0 for etcd's default.
        partitions: peers talk through relays, so that ``wire`` can cut members off.
        heartbeat_ms, election_ms: as in production by default.
    """

    def __init__(
        self,
        size: int = 1,
        *,
        identity: Identity | None = None,
        quota_bytes: int = 0,
        partitions: bool = False,
        heartbeat_ms: int = 100,
        election_ms: int = 1000,
    ) -> None:
        require_etcd()
        self.folder = Path(tempfile.mkdtemp(prefix="etcd-", dir="/tmp"))
        self._identity = identity
        self._extra = [f"--heartbeat-interval={heartbeat_ms}", f"--election-timeout={election_ms}"]
        if quota_bytes:
            self._extra.append(f"--quota-backend-bytes={quota_bytes}")
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self.folder)], stdin=subprocess.PIPE, start_new_session=True
        )
        self.members = tuple(Member(f"m{number}", self.folder / f"m{number}", self) for number in range(1, size + 1))
        self._relays = Relays() if partitions else None
        if self._relays is None:
            for member in self.members:
                member.advertised_port = member.peer_port

    @property
    def endpoints(self) -> str:
        """Every member's clients' side, as GRINDER_ETCD_ENDPOINTS has it."""
        return ",".join(member.endpoint for member in self.members)

    @property
    def wire(self) -> Wire:
        """What lies between the members, by their names; only with ``partitions``."""
        assert self._relays is not None, "no relays: partitions=True"
        return self._relays.wire

    def __enter__(self) -> Self:
        try:
            self._start_relays()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Start every member that is down and wait until each one is healthy."""
        for member in self.members:
            if not member.pid:
                member.start()
        self._wait_healthy(self.members)

    def wait_healthy(self) -> None:
        """Wait until every member that runs answers linearizable reads."""
        self._wait_healthy(tuple(member for member in self.members if member.pid))

    def _wait_healthy(self, members: tuple[Member, ...]) -> None:
        """Wait for members; one that ended meanwhile, its port taken for a moment, is started again."""

        def well(member: Member) -> bool:
            if not member.pid:
                time.sleep(AGAIN_S)
                member.start()
            return member.healthy()

        for member in members:
            try:
                wait_until(partial(well, member), START_TIMEOUT_S, f"{member.name} healthy")
            except AssertionError as error:
                log = member.log.strip()
                last = log[log.rfind("\n") + 1 :]
                raise AssertionError(f"{error}; pid {member.pid}: {last}\n{log[-2000:]}") from None

    def kill(self) -> None:
        """End every member at once; the data stays."""
        for member in self.members:
            member.kill()

    def leader(self) -> Member:
        """Return the member that leads; waits for one."""
        wait_until(lambda: any(member.pid and member.leads() for member in self.members), START_TIMEOUT_S, "a leader")
        return next(member for member in self.members if member.pid and member.leads())

    def followers(self) -> tuple[Member, ...]:
        """Return all members but the leader."""
        leader = self.leader()
        return tuple(member for member in self.members if member is not leader)

    def wipe(self) -> None:
        """Lose every member's data: down, emptied, up again as a new cluster on the same ports."""
        self.kill()
        for member in self.members:
            member.wipe()
        self.start()

    def snapshot(self) -> Path:
        """Save what the first member holds; return the file."""
        path = self.folder / f"snapshot-{time.monotonic_ns()}"
        self.ctl("snapshot", "save", str(path), endpoint=self.members[0].endpoint)
        return path

    def restore(self, snapshot: Path) -> None:
        """Bring every member back to a snapshot, as an operator would who forgets to bump the revision."""
        self.kill()
        tool = BIN / ("etcdutl" if (BIN / "etcdutl").exists() else "etcdctl")
        for member in self.members:
            member.wipe()
            target = ("--name", member.name, "--data-dir", str(member.data))
            urls = ("--initial-advertise-peer-urls", f"http://{HOST}:{member.advertised_port}")
            group = ("--initial-cluster", self._initial_cluster, "--initial-cluster-token", self.folder.name)
            command = [str(tool), "snapshot", "restore", str(snapshot), *target, *urls, *group]
            subprocess.run(command, check=True, capture_output=True, timeout=START_TIMEOUT_S)
        self.start()

    def ctl(self, *words: str, endpoint: str = "", identity: Identity | None = None) -> str:
        """Run etcdctl as the operator and return what it printed; its failure is the test's."""
        files = identity or self._identity
        tls = () if files is None else (f"--cacert={files.ca}", f"--cert={files.cert}", f"--key={files.key}")
        ends = f"--endpoints={endpoint or self.endpoints}"
        done = subprocess.run(
            [str(BIN / "etcdctl"), ends, *tls, *words],
            env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT_S,
        )
        assert done.returncode == 0, f"etcdctl {words}: {done.stderr}"
        return done.stdout

    def close(self) -> None:
        """End everything and remove the folder."""
        for member in self.members:
            member.kill()
        if self._relays is not None:
            self._relays.close()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(END_TIMEOUT_S)

    def guard(self, what: str, pid: int) -> None:
        """Have the guard end a process with us (``+``), or forget it (``-``)."""
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{what} {pid}\n".encode())
        self._guard.stdin.flush()

    def options(self, member: Member) -> list[str]:
        """Return the command line of a member."""
        files = self._identity
        scheme = "http" if files is None else "https"
        client_url = f"{scheme}://{member.endpoint}"
        tls = [] if files is None else ["--client-cert-auth", f"--trusted-ca-file={files.ca}"]
        tls += [] if files is None else [f"--cert-file={files.cert}", f"--key-file={files.key}"]
        return [
            f"--name={member.name}",
            f"--data-dir={member.data}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls=http://{HOST}:{member.peer_port}",
            f"--initial-advertise-peer-urls=http://{HOST}:{member.advertised_port}",
            f"--listen-metrics-urls=http://{HOST}:{member.metrics_port}",
            f"--initial-cluster={self._initial_cluster}",
            f"--initial-cluster-token={self.folder.name}",
            "--grpc-keepalive-min-time=1s",
            "--unsafe-no-fsync",
            "--log-level=warn",
            *tls,
            *self._extra,
        ]

    @property
    def _initial_cluster(self) -> str:
        return ",".join(f"{member.name}=http://{HOST}:{member.advertised_port}" for member in self.members)

    def _start_relays(self) -> None:
        if self._relays is None:
            return
        self._relays.__enter__()
        for member in self.members:
            self._relays.add(member.name, member.peer_port, port=member.advertised_port, owner=self._owner)

    def _owner(self, port: int) -> str:
        return socket_owner(port, {member.name: member.pid for member in self.members if member.pid})

"""Two hosts that may trade one account, three members of etcd, one venue: real processes on a network that can be cut.

Nothing supervises but the rig. Everything that the judge needs is kept outside of the hosts: the venue's requests and
orders, the keys of etcd, the latch files, and what each host asked of etcd.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from grinder.adapters.board import attach_process
from grinder.adapters.latch import LatchFile
from grinder.cli.acts import scene
from grinder.cli.kill import trip_now
from grinder.model.board import word_of
from grinder.model.control import TRIP_CODES, Process, TripReason
from grinder.model.units import NS_PER_MS, NS_PER_S
from tests.etcd_certificates import Authority, Identity
from tests.etcd_relay import HOST, Relays
from tests.smoke.venues import ROWS, OwnVenue
from tests.soak.cluster.etcd_field import CLUSTER, MEMBER_OF, NODES, EtcdField, UnansweredError, end_of
from tests.soak.cluster.hosts import Host
from tests.soak.cluster.node import LIE_VARIABLE
from tests.soak.cluster.operators import Operator, standing_in
from tests.soak.cluster.permits import permits_of, rows_of
from tests.soak.cluster.skewed_clock import mono_to_boot_ns, now_ns
from tests.soak.cluster.small_disks import disks_if_permitted
from tests.soak.cluster.verdicts import COMMANDS, ClockOff, Rest, Span, Spoken, World, as_it_was
from tests.soak.cluster.watcher import Watcher
from tests.soak.load import SYMBOL
from tests.soak.nursery import Nursery
from tests.soak.rig import VENUE_OPTIONS, environment_of

COUNTDOWN_MS = 30_000
"""The shortest that may be set."""

FIRST_S_MAX = 120.0
ROOM_S_MAX = 60.0
PAUSE_S = 0.01
ROWS_EVERY_S = 5.0
VENUE_END = "venue"
KEYS = {"a": ("sim-key", "sim-secret"), "b": ("key-b", "secret-b")}
"""Both of one account; the venue's list of requests tells by them who spoke."""


class Timing(msgspec.Struct, frozen=True):
    """Settings of a lease and of the members.

    ``secure``: members take clients with a certificate only. ``disks``: they have disks of their own, if that may be.
    """

    ttl_s: int
    renew_ms: int
    request_ms: int
    etcd_ms: tuple[int, int]
    secure: bool = False
    disks: bool = False


SHORT = Timing(3, 500, 300, (50, 500))
NORMAL = Timing(5, 1_000, 500, (100, 1_000))
STEADY = Timing(3, 500, 300, (100, 1_000))
SECURE = Timing(3, 500, 300, (50, 500), secure=True)
DISKS = msgspec.structs.replace(NORMAL, disks=True)


class NotReadyError(AssertionError):
    """Something that hosts live on did not start."""


class ClusterRig:
    """All of it. ``lies``: which of the hosts breaks a rule, and how."""

    def __init__(self, seed: int, timing: Timing = SHORT, lies: dict[str, str] | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.timing = timing
        self.root = Path(tempfile.mkdtemp(dir="/tmp", prefix="cluster-"))
        self.authority = Authority(self.root) if timing.secure else None
        self._open = ExitStack()
        try:
            self._build(lies or {})
        except BaseException:
            self.close()
            raise
        self.unwell: list[Span] = []
        self.venue_off: list[ClockOff] = []
        self.told: list[Span] = []
        self.heeding: list[tuple[str, Span]] = []
        self.unkept: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._rows_due_s = 0.0

    def _build(self, lies: dict[str, str]) -> None:
        """Start what hosts live on, and have the hosts ready to be started; what is open is closed in reverse."""
        self.disks = disks_if_permitted((*MEMBER_OF.values(), *NODES)) if self.timing.disks else None
        if self.disks is not None:
            self._open.callback(self.disks.close)
        self.field = EtcdField(self.seed, self.timing.etcd_ms, self.authority, self.disks)
        self._open.callback(self.field.close)
        self._relays = Relays(self.field.wire)
        self._open.enter_context(self._relays)
        self.venue = venue_started(self.seed)
        self._open.callback(self.venue.close)
        self.venue.post("keys", {"key": KEYS["b"][0], "secret": KEYS["b"][1], "account": KEYS["a"][0]})
        self._nursery = Nursery(self.root / "output", "tests.soak.cluster.node")
        self._open.callback(self._nursery.close)
        self.hosts = {
            node: Host(node, self.root / node, self._nursery, self._environment(node, lies)) for node in NODES
        }
        for host in self.hosts.values():
            self._open.callback(host.kill)
        self.watcher = Watcher({node: host.latch_path for node, host in self.hosts.items()}, self.field)
        self._open.callback(self.watcher.close)
        self.operator = Operator(self.hosts[NODES[0]], self.watcher)

    def _environment(self, node: str, lies: dict[str, str]) -> dict[str, str]:
        port = self._relays.add(VENUE_END, self.venue.port, owner=lambda _: end_of(node))
        key, secret = KEYS[node]
        return {
            **environment_of(self.root / node, self.venue),
            "GRINDER_VENUE_REST_URL": f"http://{HOST}:{port}",
            "GRINDER_VENUE_WS_URL": f"ws://{HOST}:{port}",
            "GRINDER_VENUE_WS_API_URL": f"ws://{HOST}:{port}/ws-fapi/v1",
            "BINANCE_API_KEY": key,
            "BINANCE_API_SECRET": secret,
            "GRINDER_HA_ENABLED": "1",
            "GRINDER_CLUSTER": CLUSTER,
            "GRINDER_NODE_ID": node,
            "GRINDER_ETCD_ENDPOINTS": self.field.endpoints[node],
            "GRINDER_HA_LEASE_TTL_S": str(self.timing.ttl_s),
            "GRINDER_HA_RENEW_INTERVAL_MS": str(self.timing.renew_ms),
            "GRINDER_HA_REQUEST_TIMEOUT_MS": str(self.timing.request_ms),
            "GRINDER_DEAD_MAN_COUNTDOWN_MS": str(COUNTDOWN_MS),
            LIE_VARIABLE: lies.get(node, ""),
            **({} if self.disks is None else {"GRINDER_STATE_DIR": str(self.disks.folder(node) / "state")}),
            **self._certificates(node),
        }

    def _certificates(self, node: str) -> dict[str, str]:
        if self.authority is None:
            return {}
        paths = certificate_paths(self.root / node)
        put_certificate(paths, self.authority.identity(node))
        return dict(
            zip(
                ("GRINDER_ETCD_CA_FILE", "GRINDER_ETCD_CERT_FILE", "GRINDER_ETCD_KEY_FILE"),
                map(str, paths),
                strict=True,
            )
        )

    def begin(self) -> None:
        """Start every program, arm the cluster for the first time, and wait until orders flow."""
        for host in self.hosts.values():
            host.start()
        self.clear(FIRST_S_MAX)
        assert self.until_flow(FIRST_S_MAX), f"no orders; see {self.root}"

    def live(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, or until a condition holds; return whether it does."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            if until():
                return True
            for host in self.hosts.values():
                host.reap()
                host.keep_journal()
            if time.monotonic() >= self._rows_due_s:
                self.fetch_rows()
            time.sleep(PAUSE_S)
        return until()

    def mend(self) -> None:
        """Bring back everything that is down."""
        self.field.wire.heal()
        for member in self.field.cluster.members:
            if not member.pid:
                member.start()
        for host in self.hosts.values():
            host.resume()
            host.start()

    def placed(self) -> int:
        """Return how many orders the venue has taken."""
        return self.venue.counts()["placed"]

    def until_flow(self, bound_s: float, orders: int = 3) -> bool:
        """Wait until orders flow; return whether they do."""
        wanted = self.placed() + orders
        due_s = 0.0

        def flow() -> bool:
            nonlocal due_s
            if time.monotonic() < due_s:
                return False
            due_s = time.monotonic() + 0.05
            return self.placed() >= wanted

        return self.live(bound_s, flow)

    def leader(self) -> str:
        """Return the host that by its own word may lead now; empty if none may, or more than one."""
        leading = [node for node, host in self.hosts.items() if host.leads()]
        return leading[0] if len(leading) == 1 else ""

    def trip_word(self, node: str) -> None:
        """Trip as ``grinder kill`` on a host does first: its board and its latch file."""
        with self.hosts[node].shell():
            trip_now(scene(), "drill")

    def trip_file(self, node: str) -> None:
        """Trip the latch file of a host, and nothing else."""
        with self.hosts[node].shell():
            where = scene()
            where.latch.trip(TripReason.MANUAL, where.operator.text, "drill", where.clock.utc_ms())

    def trip_process(self, node: str, process: Process) -> None:
        """Trip as a process of a host does: its own word on the board, and nothing else."""
        board = attach_process(self.hosts[node].run_dir, process, (SYMBOL,))
        try:
            board.write(word_of("TRIP", process), TRIP_CODES[TripReason.ERROR])
        finally:
            board.close()

    def holds_trip(self, node: str) -> bool:
        """Tell whether the latch file of a host says *tripped* now."""
        return LatchFile(self.hosts[node].latch_path).peek(first_start=False).tripped

    def all_latched(self) -> bool:
        """Tell whether the latch of every host holds a trip."""
        return len(self.watcher.look()) == len(self.hosts)

    def armed(self) -> bool:
        """Tell whether nothing says *tripped*."""
        try:
            keys = self.field.keys()
        except UnansweredError:
            return False
        return "arm" in keys and not self.watcher.look()

    def clear(self, bound_s: float) -> None:
        """Be the operator until no host and no key says *tripped*, or the time is over."""
        deadline_s = time.monotonic() + bound_s
        trip_id = "never-armed"
        while time.monotonic() < deadline_s and not self.armed():
            done, said = self.operator.reset(trip_id)
            if done and self.live(2.0, lambda: not self.watcher.look()):
                return
            trip_id = standing_in(said) or trip_id
            self.live(0.2)

    def make_room(self) -> None:
        """Let etcd take puts again; it may have to elect a leader first."""

        def made() -> bool:
            try:
                self.field.clear_alarms()
            except UnansweredError:
                return False
            return True

        assert self.live(ROOM_S_MAX, made), "etcd does not make room"

    def fetch_rows(self) -> None:
        """Take what the venue was asked since the last time."""
        self._rows_due_s = time.monotonic() + ROWS_EVERY_S
        since = self._rows[-1]["seq"] if self._rows else 0
        self._rows += self.venue.requests(since)

    def faults_struck(self) -> Counter[str]:
        """Return how often each fault of the venue struck."""
        return Counter(row["fault"] for row in self._rows if row["fault"])

    def world(self) -> World:
        """Return everything that the judge looks at."""
        self.fetch_rows()
        assert len(self._rows) == self._rows[-1]["seq"], "requests were forgotten before they were fetched"
        boot_ns = mono_to_boot_ns()
        nodes = {key: node for node, (key, _) in KEYS.items()}
        spoken = [
            Spoken(row["mono_ns"] + boot_ns, nodes[row["key"]], row["op"], row["client_id"])
            for row in self._rows
            if row["op"] in COMMANDS and row["key"] in nodes and row["executed"]
        ]
        permits = [
            permit
            for node, host in self.hosts.items()
            for permit in permits_of(node, rows_of(host.rows_path), self.timing.ttl_s)
        ]
        return World(
            ttl_ns=self.timing.ttl_s * NS_PER_S,
            countdown_ns=COUNTDOWN_MS * NS_PER_MS,
            ended=now_ns(),
            spoken=spoken,
            permits=permits,
            rests=self._rests(spoken),
            latched=list(self.watcher.latched),
            acknowledged=[*self.operator.acknowledged, *self.watcher.acks.values()],
            disarmed=list(self.watcher.disarmed),
            unwell=list(self.unwell),
            told=list(self.told),
            heeding=[span for _, span in self.heeding],
            unkept=list(self.unkept),
        )

    def _rests(self, spoken: list[Spoken]) -> list[Rest]:
        """Return every order that came into the book, with when that was and when it left it."""
        began = {each.name: each.at for each in spoken if each.operation == "order.place"}
        wall_ns = now_ns() - time.time_ns()
        rests = []
        for row in self.venue.get(f"orders?limit={ROWS}"):
            name = row["clientOrderId"]
            if row["timeInForce"] == "IOC" or Decimal(row["origQty"]) == 0:
                continue
            ended = None if row["live"] else as_it_was(row["updateTime"] * NS_PER_MS + wall_ns, self.venue_off)
            rests.append(Rest(name, began.get(name, row["time"] * NS_PER_MS + wall_ns), ended))
        return rests

    def said(self) -> str:
        """Return what programs wrote to their outputs."""
        path = self.root / "output"
        return path.read_text(errors="replace")[-4_000:] if path.exists() else ""

    def close(self, *, keep: bool = False) -> None:
        """End everything; ``keep``: leave the folders for whoever wants to look."""
        if keep and self.disks is not None:
            for host in self.hosts.values():
                shutil.copytree(host.state_dir, host.root / "state", dirs_exist_ok=True)
        self._open.close()
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)


def venue_started(seed: int) -> OwnVenue:
    """Return a venue.

    Raises:
        NotReadyError: it ended before it said where it is.
    """
    try:
        return OwnVenue("--seed", str(seed), *VENUE_OPTIONS)
    except (IndexError, ValueError) as error:
        raise NotReadyError("the venue did not start") from error


def certificate_paths(root: Path) -> tuple[Path, ...]:
    """Return where a host has the certificate of the authority, its own, and its key."""
    return root / "ca.pem", root / "cert.pem", root / "key.pem"


def put_certificate(paths: tuple[Path, ...], identity: Identity) -> None:
    """Give a host an identity; what reads it then is what starts next."""
    paths[0].parent.mkdir(mode=0o700, exist_ok=True)
    for path, source in zip(paths, identity, strict=True):
        path.write_bytes(source.read_bytes())

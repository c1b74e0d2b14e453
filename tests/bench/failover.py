"""What a failure of the leader costs: two whole trees, three members of etcd and one venue, beside etcd alone.

The same cluster as `make ha`, with its members of etcd asked bare in the same run: how long a lease outlives its holder
and how long a key takes to a watch bound everything above them. Times are read from the venue's own list of requests
and from the boards, looked at every other millisecond. Nothing is asserted; a figure that has a target says how many
samples missed it.

    python -m tests.bench.failover [--rounds 4] [--trips 20]

A p99 is printed of P99_SAMPLES and more: `--trips 100` has one. Members of etcd write to this disk, with fsync.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from grinder.adapters.board import StateBoard, attach_reader
from grinder.adapters.clock import SystemClock
from grinder.cli import main as grinder
from grinder.core.lease_state import HEALTHY_MS
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.control import Exit
from grinder.model.errors import BoardError
from grinder.model.orders import parse_order_id
from tests.bench.etcd_floor import BareEtcd
from tests.bench.tick_to_order import Samples, processor_awake, share
from tests.smoke.conditions import events_of, wait_for
from tests.smoke.ha_cluster import ClusterUnderTest, Node

TIMINGS: Final = {5: (1_000, 500), 3: (500, 300), 2: (300, 200)}
"""Lease in seconds to its renewal and request timeout in ms."""

ROWS: Final = 2_000
"""Most requests fetched at once: the venue answers nobody meanwhile."""

RISK_OPS: Final = frozenset({"order.place", "order.modify"})
ENTRY_LEVELS: Final = "bs"
"""First letters of the level in the ids of orders that add risk; the others only reduce it."""

LOOK_S: Final = 0.002
READY_S: Final = 90.0
LOSSES: Final = 3
SETTLED_S: Final = (HEALTHY_MS + 500) / 1_000
"""How long leader and standby are well before anything is done to them: otherwise a standby does not stand yet."""

P99_SAMPLES: Final = 100
"""Of fewer samples the ninety-ninth of a hundred is the largest, and is called that."""

CRASH_MS, HAND_OVER_MS, LAST_RISK_MS, TRIP_MS, TRIP_HUNG_MS = 6_000, 250, 4_000, 50, 2_500
"""Targets, milliseconds: a crash at a lease of 5 s, a hand-over, the last act of risk after etcd is lost, a trip."""

US: Final = 1_000
FOLLOWING: Final = {
    "GRINDER_CRASH_LOOP_STARTS": "0",
    "GRINDER_FSM_COOLDOWN_MS": "1000",
    "GRINDER_ACCOUNT_SYNC_INTERVAL_MS": "700",
    "GRINDER_PAPER_COOLDOWN_MS": "0",
    "GRINDER_GRID_REBALANCE_STEPS": "0.2",
    "GRINDER_LIVE_ADAPTIVE_SPACING_ENABLED": "0",
}
"""The grid follows the market closely, so that there is hardly a moment without an order; kills are no crash loop."""

UNLIMITED: Final = ("--order-limit-10s", "100000000", "--order-limit-1m", "100000000")
"""So close that it would use up the account's orders of a minute, which no new leader gets anew: it would be ready, and
send its first order with the next minute."""


class Change(NamedTuple):
    """From the act, or from the executor's order to stop, to the next leader, us; from the act until its executor would
    take an order, and to the first that the venue took.
    """

    to_leader: float
    from_stop: float
    to_ready: float
    to_order: float


class Looker:
    """Looks at the boards of all nodes: since when each leads, took orders first and is tripped, CLOCK_MONOTONIC."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self._nodes = nodes
        self._boards: dict[str, StateBoard] = {}
        self._clock = SystemClock()
        self._stop = threading.Event()
        self.led: dict[str, int] = {}
        self.ready: dict[str, int] = {}
        self.tripped: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextlib.contextmanager
    def looking(self) -> Iterator[Looker]:
        """Look until the end of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            for node in self._nodes:
                with contextlib.suppress(BoardError, OSError):
                    self._look(node.name, self._boards.get(node.name) or attach_reader(node.run_dir))

    def _look(self, name: str, board: StateBoard) -> None:
        self._boards[name] = board
        now = time.monotonic_ns()
        leads = board.read(Word.ROLE) == 2 and board.read(Word.LEAD_DEADLINE_BOOT_NS) > self._clock.boot_ns()
        self._note(self.led, name, now, holds=leads)
        ready = name in self.ready or board.read(Word.EXECUTOR_READY) == 1
        self._note(self.ready, name, now, holds=leads and ready)
        self._note(self.tripped, name, now, holds=any(board.read_all(TRIP_WORDS)))

    def led_after(self, began: int) -> tuple[int, str] | None:
        """Return who has begun to lead after a moment, and when."""
        return next(((at, name) for name, at in tuple(self.led.items()) if at > began), None)

    @staticmethod
    def _note(since: dict[str, int], name: str, now: int, *, holds: bool) -> None:
        if not holds:
            since.pop(name, None)
        else:
            since.setdefault(name, now)


class Drill:
    """One cluster, and everything that is done to it."""

    def __init__(self, cluster: ClusterUnderTest, looker: Looker) -> None:
        self.cluster = cluster
        self.looker = looker
        self._seen = 0
        self._taken: list[tuple[int, str, int]] = []

    def settle(self) -> tuple[Node, Node]:
        """Wait until one leads with orders in the market and the other is a warm standby; return both."""
        wait_for(self._settled, "a leader and a warm standby", READY_S, every_s=0.1)
        since = time.monotonic()
        while time.monotonic() - since < SETTLED_S:
            time.sleep(LOOK_S * 50)
            if not self._settled():
                return self.settle()
        leader = self.cluster.leader()
        return leader, next(node for node in self.cluster.nodes if node is not leader)

    def _settled(self) -> bool:
        leaders = self.cluster.leaders()
        if len(leaders) != 1 or not self.cluster.venue.live():
            return False
        others = [node.look() for node in self.cluster.nodes if node is not leaders[0]]
        return all(
            look.role == "STANDBY"
            and not any(why.startswith(("feed", "syncer", "market", "account")) for why in look.why)
            for look in others
        )

    def fail_over(self, act: Callable[[Node], object]) -> Change:
        """Do something to the leader and wait for the next one, which may be itself, started again."""
        old, _ = self.settle()
        began = time.monotonic_ns()
        done = threading.Thread(target=act, args=(old,))
        done.start()
        led, name = wait_for(lambda: self.looker.led_after(began), "a leader", READY_S, every_s=0.01)
        term = next(node for node in self.cluster.nodes if node.name == name).word(Word.TERM)
        first = wait_for(lambda: self._first_of(term), f"an order of term {term}", READY_S, every_s=0.05)
        ready = wait_for(lambda: self.looker.ready.get(name), f"{name} takes orders", READY_S, every_s=0.01)
        done.join()
        stopping = next((at for at in self._stops_of(old) if at > began), began)
        return Change((led - began) / US, (led - stopping) / US, (ready - began) / US, (first - began) / US)

    @staticmethod
    def _stops_of(node: Node) -> list[int]:
        """Return when its executor got each order to stop, CLOCK_MONOTONIC."""
        log = Path(node.settings["GRINDER_LOG_DIR"], "executor.log")
        return [int(str(event["mono_ns"])) for event in events_of(log) if event["ev"] == "STOPPING"]

    def _first_of(self, term: int) -> int:
        """Return when the venue read the first order of a term that it took, 0 before there is one."""
        return next((at for at, op, of in self.commands() if op == "order.place" and of == term), 0)

    def commands(self) -> list[tuple[int, str, int]]:
        """Return the entries and their amendments that the venue took, oldest first: when, what, and of which term."""
        while rows := self.cluster.venue.get(f"requests?since={self._seen}&limit={ROWS}"):
            self._seen = rows[-1]["seq"]
            for row in rows:
                order_id = parse_order_id(row["client_id"])
                adds = order_id is not None and order_id.level[0] in ENTRY_LEVELS
                if row["op"] in RISK_OPS and row["code"] == 0 and adds:
                    self._taken.append((row["mono_ns"], row["op"], order_id.term))
        return self._taken

    def lose_etcd(self) -> tuple[float, float]:
        """Stop every member; return when the last act that adds risk reached the venue, and when none could, us."""
        leader, _ = self.settle()
        pids = self.cluster.member_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        lost = time.monotonic_ns()
        try:
            wait_for(lambda: leader.look().risk_left_s <= 0, "no permit", READY_S)
            closed_boot_ns = leader.word(Word.RISK_DEADLINE_BOOT_NS)
            wait_for(lambda: not self.cluster.leaders(), "nobody leads", READY_S)
            last = max(at for at, _, _ in self.commands())
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        offset = SystemClock().boot_ns() - time.monotonic_ns()
        return max(0, last - lost) / US, (closed_boot_ns - offset - lost) / US

    def change_lease(self, ttl_s: int) -> list[Change]:
        """Give both nodes another lease, one after the other; return the hand-overs by `grinder stop`."""
        renew_ms, request_ms = TIMINGS[ttl_s]
        samples = []
        for _ in self.cluster.nodes:
            leader, _ = self.settle()
            with (leader.folder / f"{leader.name}.env").open("a") as file:
                file.write(f"GRINDER_HA_LEASE_TTL_S={ttl_s}\nGRINDER_HA_RENEW_INTERVAL_MS={renew_ms}\n")
                file.write(f"GRINDER_HA_REQUEST_TIMEOUT_MS={request_ms}\n")
            samples.append(self.fail_over(lambda node: node.grinder("stop")))
            wait_for(lambda node=leader: not (node.folder / f"{node.name}.pid").exists(), "ended", READY_S)
            leader.bring_back()
        self.settle()
        return samples

    def trips(self, count: int) -> Samples:
        """Trip on the standby, again and again; return the time until the leader's interlocks were closed, us."""
        leader, standby = self.settle()
        samples = []
        for _ in range(count):
            self._operate(standby, "kill", "--reason", "bench")
            closed = wait_for(lambda: self.looker.tripped.get(leader.name), "closed", READY_S)
            samples.append((closed - self.looker.tripped[standby.name]) / US)
            self._reset(standby)
        for node in self.cluster.nodes:
            node.insist("resume", "--ack")
        return samples

    def _reset(self, node: Node) -> None:
        """Clear the cluster, as an operator does, and wait until every node is clear."""

        def cleared() -> bool:
            _, said = self._operate(node, "status", "--json")
            return self._operate(node, "reset", "--ack", json.loads(said)["latch"]["trip_id"])[0] == Exit.OK

        wait_for(cleared, "reset", READY_S, every_s=0.1)
        wait_for(lambda: not self.looker.tripped, "every node is clear", READY_S)

    @staticmethod
    def _operate(node: Node, *words: str) -> tuple[int, str]:
        """Run a command as on a node, in this process; return its exit code and what it said."""
        said = io.StringIO()
        before = dict(os.environ)
        os.environ.update(node.settings)
        try:
            with contextlib.redirect_stdout(said):
                return grinder(list(words)), said.getvalue()
        finally:
            os.environ.clear()
            os.environ.update(before)


def kill_executor(node: Node) -> None:
    """kill -9 of the process that leads; supervisord starts it again."""
    os.kill(node.word(Word.PID_EXECUTOR), signal.SIGKILL)


def stop_executor(node: Node) -> None:
    """Hand over, and come back as a standby."""
    node.ctl("stop", "executor")
    node.ctl("start", "executor")


def line(name: str, samples: Samples, floor: Samples | None = None, target_ms: int = 0) -> None:
    """Print one figure, milliseconds, beside its floor and its target, if it has them."""
    print(figure(name, samples, floor, target_ms), flush=True)


def figure(name: str, samples: Samples, floor: Samples | None = None, target_ms: int = 0) -> str:
    """Return one figure as a line."""
    largest_ms = max(samples, default=0.0) / US
    p99 = f"{share(samples, 0.99) / US:9.1f}" if len(samples) >= P99_SAMPLES else f"{'-':>9}"
    beside = f"   / floor: {share(samples, 0.5) / share(floor, 0.5):.1f}" if floor else ""
    if target_ms:
        late = sum(sample > target_ms * US for sample in samples)
        beside += f"   target {target_ms}: " + (f"MISSED by {late} of {len(samples)}" if late else "kept by all")
    return f"  {name:<64}{len(samples):>4} {share(samples, 0.5) / US:9.1f} {p99} {largest_ms:9.1f}{beside}"


def changes(name: str, samples: list[Change], floor: Samples, target_ms: int = 0) -> None:
    """Print what a change of leader took."""
    line(f"{name}: to the new leader", [each.to_leader for each in samples], floor, target_ms)
    if any(each.from_stop != each.to_leader for each in samples):
        without_tool = [each.from_stop for each in samples]
        line("  of that from SIGTERM in the executor, without the tool's start", without_tool, None, target_ms)
    line(f"{name}: until it takes orders", [each.to_ready for each in samples], floor)
    line(f"{name}: to its first order", [each.to_order for each in samples], floor)


def measure(drill: Drill, rounds: int, trips: int) -> None:
    """Measure everything and print it."""
    bare = BareEtcd(drill.cluster.nodes[0].settings["ETCDCTL_ENDPOINTS"].split(",")[0])
    transactions, watched = bare.transactions(200), bare.put_to_watch(200)
    line("etcd alone: compare and put", transactions)
    line("etcd alone: put to watch", watched)
    expired = {ttl_s: bare.expiries(ttl_s, rounds) for ttl_s in TIMINGS}
    for ttl_s, samples in expired.items():
        line(f"etcd alone: lease of {ttl_s} s, grant to deletion seen", samples)
    bare.close()
    stops = [drill.fail_over(stop_executor) for _ in range(rounds)]
    changes("supervisorctl stop executor", stops, transactions, HAND_OVER_MS)
    line("kill on the standby to interlock closed on the leader", drill.trips(trips), watched, TRIP_MS)
    hung = drill.cluster.member_pids()[0]
    os.kill(hung, signal.SIGSTOP)
    try:
        line("  the same with one member of etcd hung", drill.trips(max(3, trips // 4)), watched, TRIP_HUNG_MS)
    finally:
        os.kill(hung, signal.SIGCONT)
    losses = [drill.lose_etcd() for _ in range(LOSSES)]
    line("etcd lost to the last act of risk at the venue", [last for last, _ in losses], None, LAST_RISK_MS)
    line("etcd lost to the end of the permit", [closed for _, closed in losses])
    for ttl_s in TIMINGS:
        if ttl_s != next(iter(TIMINGS)):
            changes("grinder stop", drill.change_lease(ttl_s), transactions, HAND_OVER_MS)
        crashes = [drill.fail_over(kill_executor) for _ in range(rounds)]
        target_ms = CRASH_MS if ttl_s == next(iter(TIMINGS)) else 0
        changes(f"kill -9 of the leader, lease {ttl_s} s", crashes, expired[ttl_s], target_ms)


def main() -> None:
    """Print the figures, milliseconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--trips", type=int, default=20)
    chosen = options.parse_args()
    # Not before the host's other programs, unlike the other benches: under real-time scheduling the threads that ask
    # etcd wait for the loop they ask for.
    with processor_awake():
        cluster = ClusterUnderTest(*UNLIMITED, **FOLLOWING)
        try:
            cluster.start()
            print("two nodes, three members of etcd (with fsync), on one machine; milliseconds")
            print(f"  {'':<64}{'n':>4} {'p50':>9} {'p99':>9} {'largest':>9}", flush=True)
            looker = Looker(cluster.nodes)
            with looker.looking():
                measure(Drill(cluster, looker), chosen.rounds, chosen.trips)
        finally:
            cluster.remove()


if __name__ == "__main__":
    main()

"""A whole cluster on this machine, on paper: etcd, one simulated venue and several nodes, to learn and to drill with.

In the foreground: shows every node, starts again what fails, as systemd would on real hosts, and stops everything in
order. Exit codes: 0 stopped as asked, 1 something cannot be had (nothing is left running), 2 failure, 75 already
running.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import procs
from grinder.adapters.clock import SystemClock
from grinder.adapters.lock import SlotLock
from grinder.adapters.scrape import fetch
from grinder.adapters.tree import why_not_listen
from grinder.cli.nodes import NodeLook, Seat, look_at, table
from grinder.core.cluster_reset import NEVER_ARMED
from grinder.model.control import Exit, FsmState
from grinder.model.errors import AlreadyRunningError
from procs._cluster import HOST, PROJECT, Cluster

BANNER: Final = "GRINDER CLUSTER"

START_S_MAX: Final = 60.0
"""Longest wait for one part to answer after its start, seconds."""

WIDTH: Final = 160
"""Longest line where there is no terminal, characters."""

LOOK_S: Final = 1.0
_POLL_S: Final = 0.25


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    options = argparse.ArgumentParser(prog="python3 -m procs.run_cluster", description=__doc__)
    add = options.add_argument
    add("--nodes", type=int, choices=(2, 3), default=2, help="how many trees")
    add("--members", type=int, choices=(1, 3), default=3, help="how many members of etcd")
    add("--metrics-port", type=int, default=9090, help="page of the first node; the others have the next ports")
    add("--venue-port", type=int, default=18080, help="the simulated venue")
    add("--etcd-port", type=int, default=12379, help="first member; each takes two ports, one after the other")
    add("--weight-limit-1m", type=int, default=2_400, help="request weight per minute and node that the venue grants")
    add("--order-limit-10s", type=int, default=300, help="orders per 10 s that it grants the account")
    add("--order-limit-1m", type=int, default=1_200, help="orders per minute that it grants the account")
    add("--etcd", type=Path, default=PROJECT / "build" / "etcd" / "bin", help="folder of etcd and etcdctl")
    add("--folder", type=Path, default=PROJECT / "var" / "ha", help="state and logs; begun anew at each start")
    add("--duration-s", type=float, default=0.0, help="stop after so many seconds; 0 runs until told to stop")
    return options


class FailedError(Exception):
    """A part cannot be had; its text says which and why."""


def main(arguments: list[str] | None = None) -> int:
    """Run the cluster until it is told to stop; return the exit code."""
    options = parser().parse_args(arguments)
    folder: Path = options.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        lock = SlotLock(folder / "cluster.lock", f"a cluster ({folder})")
    except AlreadyRunningError as error:
        return _refused(Exit.ALREADY_RUNNING, str(error))
    _clear(folder)
    memory = Path("/dev/shm")
    run_root = Path(tempfile.mkdtemp(prefix="grinder-ha-", dir=memory if memory.is_dir() else None))
    try:
        return _run(Cluster(options, run_root), options)
    finally:
        shutil.rmtree(run_root)
        lock.release()


def _run(cluster: Cluster, options: argparse.Namespace) -> int:
    """Start, show and stop a cluster."""
    screen = Screen(cluster)
    code = Exit.OK
    try:
        _start(cluster)
        _explain(cluster)
        _arm(cluster)
        deadline_mono_s = time.monotonic() + options.duration_s if options.duration_s else float("inf")
        while not procs.stop_requested() and time.monotonic() < deadline_mono_s:
            screen.tell(*filter(None, (program.look() for program in cluster.programs)))
            screen.show()
            _wait(procs.stop_requested, LOOK_S)
    except FailedError as error:
        code = _refused(Exit.GATE, str(error))
    _say(f"{BANNER} stopping: standbys first, the leader last, then the venue and etcd.")
    if problems := cluster.stop(screen.looks):
        code = _refused(Exit.FAILURE, *problems)
    _say(f"{BANNER} stopped.")
    return code


class Screen:
    """The nodes as a table: in place on a terminal, else a line for each change."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._clock = SystemClock()
        self._height = 0
        self._columns = 0
        self._told: dict[str, tuple[object, ...]] = {}
        self.looks: list[NodeLook] = []

    def show(self) -> None:
        """Look at every node and show what is seen."""
        self.looks = [look_at(seat, self._clock) for seat in self._cluster.seats]
        columns = shutil.get_terminal_size((WIDTH, 0)).columns
        lines = [
            *table(self.looks, columns),
            f"etcd: {self._cluster.etcd_health()}",
        ]
        if sys.stdout.isatty():
            # A terminal that changed its width has broken the lines anew: where the old table begins is not known.
            in_place = self._height and columns == self._columns
            back = f"\033[{self._height}A\033[J" if in_place else ""
            self._height, self._columns = len(lines), columns
            _say(back + "\n".join(lines))
        elif changed := [look for look in self.looks if self._told.get(look.name) != look.facts]:
            self._told.update((look.name, look.facts) for look in changed)
            _say(*lines)

    def tell(self, *events: str) -> None:
        """Print what happened; it stays, and the table begins anew below it."""
        if events:
            self._height = 0
            _say(*events)


def _start(cluster: Cluster) -> None:
    """Start everything, each part when what it needs answers.

    Raises:
        FailedError: if a port is taken, a program is not there, or a part does not answer.
    """
    if taken := [port for port in cluster.required_ports() if why_not_listen(HOST, port)]:
        raise FailedError(f"{HOST}: port {', '.join(map(str, taken))} cannot be listened on; see --help for others")
    try:
        cluster.write_environments()
        for member in cluster.members:
            member.start()
        _require(lambda: "NO ANSWER" not in cluster.etcd_health(), "etcd answers", cluster)
        cluster.venue.start()
        _require(lambda: fetch(HOST, cluster.venue_port, "/sim/state") is not None, "the venue answers", cluster)
        for node in cluster.nodes.values():
            node.start()
    except OSError as error:
        raise FailedError(f"{error}; `make ha` has everything made that is needed") from error


def _arm(cluster: Cluster) -> None:
    """Give the cluster its first permission to take risk, which on real hosts is an operator's act.

    Raises:
        FailedError: if it is still refused at the bound.
    """
    first = cluster.seats[0]
    _say("A new cluster may take no risk until an operator permits it. This is paper, so it is done for you:")
    _insist(cluster, first, "reset", "--ack", NEVER_ARMED)
    for seat in cluster.seats:
        _resume(cluster, seat)


def _resume(cluster: Cluster, seat: Seat) -> None:
    """Let a node go on that has been in an emergency; one that was too slow to notice it has nothing to wait for.

    Raises:
        FailedError: if the emergency does not end, or resuming is refused until the bound.
    """
    clock = SystemClock()
    _require(lambda: look_at(seat, clock).loop != FsmState.EMERGENCY, f"{seat.name} is out of EMERGENCY", cluster)
    if look_at(seat, clock).awaits_resume:
        _insist(cluster, seat, "resume", "--ack")


def _insist(cluster: Cluster, seat: Seat, *words: str) -> None:
    """Repeat a command of an operator on one node until it is done.

    Raises:
        FailedError: with what it said last, if it is not done within START_S_MAX.
    """
    said = ""

    def done() -> bool:
        nonlocal said
        ran = subprocess.run(
            [sys.executable, "-m", "grinder.cli", *words],
            env={**os.environ, **cluster.settings(seat)},
            capture_output=True,
            text=True,
            check=False,
        )
        said = (ran.stdout or ran.stderr).strip()
        return ran.returncode == Exit.OK or procs.stop_requested()

    _say(f"  {seat.name}$ grinder {' '.join(words)}")
    if not _wait(done, START_S_MAX):
        raise FailedError(f"grinder {' '.join(words)}: {said}; see {cluster.folder}")


def _require(condition: Callable[[], bool], what: str, cluster: Cluster) -> None:
    """Wait for a part; a stop signal ends the wait.

    Raises:
        FailedError: if a program of the cluster ends meanwhile, or the bound has passed.
    """
    deadline_mono_s = time.monotonic() + START_S_MAX
    while not condition() and not procs.stop_requested():
        if ended := cluster.ended():
            raise FailedError(f"{ended} ended while waiting for this: {what}; see {cluster.folder}")
        if time.monotonic() > deadline_mono_s:
            raise FailedError(f"not so within {START_S_MAX:.0f} s: {what}; see {cluster.folder}")
        time.sleep(_POLL_S)


def _wait(condition: Callable[[], bool], bound_s: float) -> bool:
    """Wait until a condition holds; return whether it does."""
    deadline_mono_s = time.monotonic() + bound_s
    while not (holds := condition()) and time.monotonic() < deadline_mono_s:
        time.sleep(_POLL_S)
    return holds


def _explain(cluster: Cluster) -> None:
    """Say where everything is and what to try."""
    _say(
        f"{BANNER} on paper: {len(cluster.members)} members of etcd, {len(cluster.nodes)} nodes, one simulated venue.",
        *(f"  {seat.name}  http://{HOST}:{seat.metrics_port}/" for seat in cluster.seats),
        f"  logs    {cluster.folder}",
        "In another terminal:",
        *(f"  set -a; . {cluster.folder}/{seat.name}.env; set +a   # speak to {seat.name}" for seat in cluster.seats),
        "then, for example:",
        "  grinder status                                # this node",
        "  supervisorctl -s unix://$GRINDER_RUN_DIR/supervisor.sock stop executor    # hand over; start it again after",
        "  kill -9 $(supervisorctl -s unix://$GRINDER_RUN_DIR/supervisor.sock pid executor)   # a crash",
        f"  kill -9 $(cat {cluster.folder}/{cluster.seats[0].name}.pid)   # the whole tree; it comes back after 10 s",
        "  grinder stop                                  # the whole tree, in order; it stays down, until you",
        f"  touch {cluster.folder}/{cluster.seats[0].name}.start",
        f"  kill -STOP $(cat {cluster.folder}/etcd-1.pid)   # a hung member of etcd; -CONT, or -9",
        "  grinder kill --reason drill                   # no new risk anywhere",
        "runbooks/07_HA_OPERATIONS.md says what to expect. Press Ctrl+C to stop.",
    )


def _clear(folder: Path) -> None:
    """Remove what an earlier cluster left in its folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "cluster.lock":
            path.unlink()


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _refused(code: Exit, *problems: str) -> Exit:
    sys.stderr.writelines(f"{BANNER} FATAL: {problem}\n" for problem in problems)
    return code


if __name__ == "__main__":
    sys.exit(main())

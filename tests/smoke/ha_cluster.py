"""A whole cluster for a test: what `make ha` runs, on free ports, in a folder of its own, with its nodes in reach."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from grinder.adapters.board import attach_reader
from grinder.adapters.clock import SystemClock
from grinder.adapters.kept_program import environment_of
from grinder.adapters.parent import end_with_parent
from grinder.cli.nodes import NodeLook, Seat, look_at
from grinder.model.board import Word
from grinder.model.control import Exit
from tests.etcd_kit import BIN, require_etcd
from tests.free_ports import free_ports
from tests.smoke.commands import UNANSWERED
from tests.smoke.conditions import PATIENCE_S, wait_for
from tests.smoke.standing import last_line, not_running
from tests.smoke.trees import PROJECT
from tests.smoke.venues import VenueView

PORTS = 16
"""Ports of one cluster: two pages, the venue, two of each member, and some to spare."""

START_S = 240.0
"""Most that a test waits for a cluster to start, seconds: a host may be busy with other tests."""

SETTLED = {
    "reset": (("NOT EVERY HOST IS CLEAR", "not known whether"), "is not latched: armed by"),
    "resume": (("NOT ACKED",), "does not wait for an acknowledgement"),
}
"""How a command says that somebody is later than it waits, and how it says when it is repeated that he is done."""

T = TypeVar("T")


class Node:
    """One node of the cluster, as an operator of its host sees it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.settings = environment_of((folder / f"{name}.env").read_text())
        self.run_dir = Path(self.settings["GRINDER_RUN_DIR"])
        self.metrics_port = int(self.settings["GRINDER_METRICS_PORT"])

    def look(self) -> NodeLook:
        """Return what it looks like now."""
        return look_at(Seat(self.name, self.run_dir, self.metrics_port), SystemClock())

    def word(self, word: Word) -> int:
        """Return a word of its board."""
        board = attach_reader(self.run_dir)
        try:
            return board.read(word)
        finally:
            board.close()

    def pid(self, program: str) -> int:
        """Return the pid of one of its programs, 0 while it does not run."""
        said = self.ctl("pid", program).strip()
        return int(said) if said.isdigit() else 0

    def standing(self) -> str:
        """Return in one line which of its programs do not run."""
        return not_running(self.run_dir, Path(self.settings["GRINDER_LOG_DIR"]))

    @property
    def front_door_pid(self) -> int:
        """The pid of the process that keeps its tree."""
        return int((self.folder / f"{self.name}.pid").read_text())

    def ctl(self, *words: str) -> str:
        """Run supervisorctl as an operator does, and return what it prints."""
        command = [str(Path(sys.executable).parent / "supervisorctl"), "-s", f"unix://{self.run_dir}/supervisor.sock"]
        return subprocess.run(
            [*command, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        ).stdout

    def grinder(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command of an operator here."""
        return subprocess.run(
            [sys.executable, "-m", "grinder.cli", *words],
            cwd=PROJECT,
            env={**os.environ, **self.settings},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def insist(self, *words: str, bound_s: float = PATIENCE_S) -> None:
        """Repeat a command until it is done, also by somebody who is later than it waits."""
        said, later = "", False
        late, settled = SETTLED.get(words[0], ((), ""))

        def done() -> bool:
            nonlocal said, later
            ran = self.grinder(*words)
            said = ran.stdout + ran.stderr
            later = later or any(word in said for word in late)
            return ran.returncode == 0 or (later and settled in said and " holds " not in said)

        try:
            wait_for(done, f"{self.name}: grinder {' '.join(words)}", bound_s, every_s=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}: {said}") from error

    def confirmed(self, *words: str) -> str:
        """Give a command that is obeyed at once, again where somebody was slow to answer; return what it printed."""

        def said() -> str:
            done = self.grinder(*words)
            slow = any(word in done.stdout for word in UNANSWERED)
            assert done.returncode == Exit.OK or slow, done.stdout + done.stderr
            return done.stdout if done.returncode == Exit.OK else ""

        return wait_for(said, f"{self.name}: grinder {' '.join(words)}")

    def bring_back(self) -> None:
        """Start its tree again after it was told to end."""
        (self.folder / f"{self.name}.start").touch()


class ClusterUnderTest:
    """Keywords are settings of the nodes that differ from those of `make ha`; ``options`` are run_cluster's own.

    The venue grants any weight: tests sync the account more often than an operator would.
    """

    def __init__(self, *options: str, **settings: str) -> None:
        require_etcd()
        self.folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="ha-"))
        first = free_ports(PORTS)[0]
        own = ("--weight-limit-1m", "100000000", *options)
        ports = ("--metrics-port", str(first), "--venue-port", str(first + 3), "--etcd-port", str(first + 4))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GRINDER_")}
        with (self.folder.parent / f"{self.folder.name}.out").open("wb") as output:
            self.output = Path(output.name)
            self.door = subprocess.Popen(
                [sys.executable, "-m", "procs.run_cluster", "--folder", str(self.folder), *ports, *own],
                cwd=PROJECT,
                env={**clean, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent,
            )
        self.venue = VenueView(first + 3)
        self.nodes: tuple[Node, ...] = ()

    def start(self) -> None:
        """Wait until somebody leads and orders rest."""
        # The environments are written one after the other, and the first program starts when all of them are.
        self.until(lambda: self.door.poll() is not None or self.member_pids(), "the first member starts", START_S)
        self.nodes = tuple(Node(path.stem, self.folder) for path in sorted(self.folder.glob("node-?.env")))
        self.until(lambda: self.door.poll() is not None or (self.shown() and self.trades()), "it trades", START_S)
        assert self.door.poll() is None, f"{self.standing()}\n{self.said()}"

    def shown(self) -> bool:
        """Tell whether the front door has done everything and shows the nodes."""
        return "\nnode " in self.output.read_text()

    def until(self, condition: Callable[[], T], what: str, bound_s: float = PATIENCE_S) -> T:
        """Wait for a condition; say how every node looks where it does not come."""
        try:
            return wait_for(condition, what, bound_s)
        except AssertionError as error:
            looks = [node.look() for node in self.nodes]
            raise AssertionError(f"{error}; {self.standing()}; {looks}\n{self.said()}") from error

    def trades(self) -> bool:
        """Tell whether one node leads and has orders in the market, the other stands by."""
        looks = [node.look() for node in self.nodes]
        return sum(look.leads for look in looks) == 1 and self.all_up() and bool(self.venue.live())

    def all_up(self) -> bool:
        """Tell whether each node has a role that it knows."""
        return all(node.look().role in ("ACTIVE", "STANDBY") for node in self.nodes)

    def leaders(self) -> list[Node]:
        """Return the nodes that lead now."""
        return [node for node in self.nodes if node.look().leads]

    def leader(self) -> Node:
        """Return the one node that leads; wait for it."""
        return self.until(lambda: found[0] if len(found := self.leaders()) == 1 else None, "one leads")

    def standby(self) -> Node:
        """Return a node that does not lead while another one does."""
        leader = self.leader()
        return next(node for node in self.nodes if node is not leader)

    def member_pids(self) -> list[int]:
        """Return the pids of the members of etcd."""
        return [int(path.read_text()) for path in sorted(self.folder.glob("etcd-*.pid"))]

    def ctl(self, *words: str) -> str:
        """Run etcdctl and return what it printed; its failure is the test's."""
        done = subprocess.run(
            [str(BIN / "etcdctl"), *words],
            env={"PATH": os.environ["PATH"], "ETCDCTL_ENDPOINTS": self.nodes[0].settings["ETCDCTL_ENDPOINTS"]},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def standing(self) -> str:
        """Return in one line how the front door stands, and which program of a node does not run."""
        door = f"front door {self.door.poll()} ({last_line(self.output)})"
        return "; ".join((door, *(f"{node.name}: {node.standing()}" for node in self.nodes)))

    def said(self) -> str:
        """Return what the front door and the nodes wrote."""
        words = [self.output.read_text()[-3_000:]]
        words += [f"{path.name}: {path.read_text()[-1_000:]}" for path in sorted(self.folder.glob("*.out"))]
        return "\n".join(words)

    def close(self) -> str:
        """End everything in order, and return what the front door said."""
        if self.door.poll() is None:
            self.door.send_signal(signal.SIGINT)
        try:
            self.door.wait(120)
        except subprocess.TimeoutExpired:
            self.door.kill()
            self.door.wait()
        return self.output.read_text()

    def remove(self) -> None:
        """Close, and remove the folder."""
        self.close()
        shutil.rmtree(self.folder)
        self.output.unlink()

"""A host of a cluster as far as the kill switch goes, on a real board, a real latch file and a real etcd.

The words of fsm and executor are answered by the real watch of each, the account is what the test says. In a thread, or
as a process of its own (``python -m tests.latch_hosts``), which can be killed at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

from grinder.adapters.board import StateBoard, attach_process, create_board
from grinder.adapters.clock import SystemClock
from grinder.adapters.etcd.connection import Access
from grinder.adapters.etcd.stores import EtcdStores
from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.adapters.latch_watch import LatchWatch
from grinder.model.board import TRIP_WORDS, Demand, Heartbeat, Word, word_of
from grinder.model.control import TRIP_CODES, HaRole, Process, TripReason
from grinder.model.latch import LatchRecord
from grinder.services.cluster_latch import ClusterLatchPorts, ClusterLatchService, HostFacts, Lead
from grinder.services.trips import TripWatch

TICK_S = 0.02
CALL_TIMEOUT_S = 0.5


class Silent:
    """A log, a telemetry and an evidence sink that keep nothing."""

    def event(self, name: str, **fields: object) -> None: ...

    def count(self, name: str, *labels: str, by: float = 1.0) -> None: ...

    def gauge(self, name: str, value: float, *labels: str) -> None: ...

    def observe(self, name: str, value: float, *labels: str) -> None: ...

    def write(self, folder: str, name: str, text: str) -> None: ...


class HangingLatch(LatchFile):
    """A latch on a disk that takes a write and does not come back from it until ``goes_on``."""

    def __init__(self, path: Path, node: str) -> None:
        super().__init__(path, node)
        self.hangs, self.goes_on = threading.Event(), threading.Event()

    def store(self, record: LatchRecord) -> None:
        super().store(record)
        self.hangs.set()
        assert self.goes_on.wait(30)


class RealHost:
    """``folder``: run and state folder of the host, which outlive it. Both processes run from ``start`` to ``stop``."""

    def __init__(self, folder: Path, node: str, endpoints: str, cluster: str) -> None:
        self.node = node
        self.run_dir, self.state_dir = folder / node / "run", folder / node / "state"
        self.access = Access(tuple(endpoints.split(",")), cluster, CALL_TIMEOUT_S)
        self.file = LatchFile(self.state_dir / LATCH_FILE, node)
        self.demand = int(Demand.LOOKED)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.state_dir.mkdir(parents=True, exist_ok=True)
        create_board(self.run_dir)
        both = (Process.FSM, Process.EXECUTOR)
        self.boards = {process: attach_process(self.run_dir, process, ()) for process in both}

    def start(self) -> None:
        """Begin to run, in a thread."""
        self._stopping.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.live()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End without a word; board and file stay."""
        self._stopping.set()
        assert self._thread is not None
        self._thread.join(10)
        self._thread = None

    def close(self) -> None:
        """End, if it runs, and let the board go."""
        if self._thread is not None:
            self.stop()
        for board in self.boards.values():
            board.close()

    def forget(self) -> None:
        """Lose the board, as a host that is switched off does."""
        assert self._thread is None
        for process, board in self.boards.items():
            board.write(word_of("TRIP", process), 0)

    @property
    def board(self) -> StateBoard:
        """The executor's board."""
        return self.boards[Process.EXECUTOR]

    @property
    def record(self) -> LatchRecord:
        """What the latch file says."""
        return self.file.peek(first_start=False)

    @property
    def tripped(self) -> bool:
        """Board and file both say so."""
        return self.record.tripped and any(self.board.read(word) for word in TRIP_WORDS)

    @property
    def clear(self) -> bool:
        """Neither says tripped."""
        return not self.record.tripped and not any(self.board.read(word) for word in TRIP_WORDS)

    def trip(self, process: Process, reason: TripReason) -> None:
        """Have a process trip."""
        self.boards[process].write(word_of("TRIP", process), TRIP_CODES[reason])

    async def live(self) -> None:
        """Run both processes until stopped."""
        clock, silent = SystemClock(), Silent()
        first_start = not (self.state_dir / "incarnation.executor").exists()
        record = self.file.load(first_start=first_start)
        (self.state_dir / "incarnation.executor").write_text("1\n")
        if record.tripped:
            self.board.write(Word.TRIP_EXECUTOR, TRIP_CODES[record.reason])
        latch = LatchWatch(self.file, record, clock, silent, silent, self.run_dir)
        watches = [
            TripWatch(process, board, silent, latch if process is Process.EXECUTOR else None)
            for process, board in self.boards.items()
        ]
        with EtcdStores(self.access, clock, silent, silent) as stores:
            ports = ClusterLatchPorts(stores.latches, latch, self.board, clock, silent)
            facts = HostFacts(self.node, "localhost", clock.utc_ms())
            service = ClusterLatchService(ports, facts, lambda: Lead(HaRole.STANDBY, 0))
            stores.latches.watch(service.on_view)
            while not self._stopping.is_set():
                now = clock.mono_ns()
                self._beat(now)
                for watch in watches:
                    watch.on_timer(now)
                service.on_timer()
                await asyncio.sleep(TICK_S)
        latch.close()

    def _beat(self, now_mono_ns: int) -> None:
        for process, board in self.boards.items():
            board.beat(Heartbeat(process, os.getpid(), 1, 0, now_mono_ns, True, "", {}, ""))
        self.boards[Process.FSM].write(Word.RISK_DEMAND, self.demand)


def main(folder: str, node: str, endpoints: str, cluster: str) -> None:
    """Run a host until killed; each line of stdin trips its fsm."""
    host = RealHost(Path(folder), node, endpoints, cluster)
    host.start()
    for _ in sys.stdin:
        host.trip(Process.FSM, TripReason.DRAWDOWN_LIMIT)
        print("tripped", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Hosts of one cluster as far as the kill switch goes: board, processes, latch file in memory, the real services.

Time moves by ``World.run``; the cluster is the fake etcd of ``tests.cluster_store``. A latch file is written when its
host's thread gets its turn, so a kill -9 in between loses what was not written.
"""

from __future__ import annotations

import msgspec

from grinder.core.cluster_reset import arming, refusals, standing_trip
from grinder.model.board import TRIP_WORDS, Demand, Word, word_of
from grinder.model.cluster import ClusterView, Done, LatchReply, TripCluster, TripRecord
from grinder.model.control import TREE, TRIP_CODES, HaRole, Process, TripReason
from grinder.model.latch import Clearing, ClearStage, LatchRecord
from grinder.services.cluster_latch import ClusterLatchPorts, ClusterLatchService, HostFacts, Lead
from grinder.services.trips import TripWatch
from tests.cluster_store import FakeCluster, NodeStore
from tests.fakes import FakeBoard, FakeClock

TICK_MS = 50
CLEAR_TICKS_MAX = 6
"""Ticks after which a clearing gives the words up."""


class Events:
    """A log that remembers."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def event(self, name: str, **fields: object) -> None:
        self.names.append(name)


class MemoryLatch:
    """The ClusterLatch port over a file in memory, which outlives the executor; its thread runs in ``turn``."""

    def __init__(self, node: str, board: FakeBoard, clock: FakeClock, world: World) -> None:
        self.node = node
        self.board = board
        self.clock = clock
        self.world = world
        self.file = LatchRecord(0, False, TripReason.MANUAL, "", "", 0)
        self.record = self.file
        self.clearing = Clearing("", ClearStage.NONE)
        self.broken = False
        self._wanted: list[LatchRecord] = []
        self._again: list[LatchRecord] = []
        self._clear: tuple[str, int] | None = None
        self._operator_code = 0

    @property
    def unwritten(self) -> LatchRecord | None:
        waiting = [*self._wanted, *self._again]
        return waiting[-1] if waiting else None

    def trip(self, reason: TripReason, who: Process | None) -> None:
        if self.unwritten is None:
            self._wanted.append(self._new(reason, "operator" if who is None else who.value))

    def trip_again(self, reason: TripReason, who: Process | None) -> None:
        self._again.append(self._new(reason, "operator" if who is None else who.value))

    def follow(self, trip_id: str, detail: str) -> None:
        if self.unwritten is None:
            self._wanted.append(self._new(TripReason.CLUSTER, "cluster", trip_id, detail))

    def clear(self, trip_id: str, looked_mono_ns: int, who: str) -> None:
        assert self.clearing.stage is not ClearStage.UNDER_WAY
        self.clearing = Clearing(trip_id, ClearStage.UNDER_WAY)
        self._clear = (trip_id, CLEAR_TICKS_MAX)
        self._operator_code = self.board.read(Word.TRIP_OPERATOR)
        self.board.write(Word.RESET_MONO_NS, looked_mono_ns)
        self.board.write(Word.TRIP_OPERATOR, 0)

    def kill_by_operator(self) -> LatchRecord:
        """What ``grinder kill`` does on this host: word, file, word."""
        self.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
        self._write(self._new(TripReason.MANUAL, "anna"), again=True)
        self.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
        return self.file

    def turn(self) -> None:
        """Let the thread work once, if the disk does."""
        if not self.broken:
            for record in self._wanted:
                self._write(record, again=False)
            for record in self._again:
                self._write(record, again=True)
            self._wanted, self._again = [], []
        self._go_on_clearing()
        self.record = self.file

    def _go_on_clearing(self) -> None:
        if self._clear is None:
            return
        trip_id, left = self._clear
        others = [word for word in TRIP_WORDS if word is not Word.TRIP_EXECUTOR]
        if any(self.board.read(word) for word in others):
            self._clear = (trip_id, left - 1)
            if left <= 0:
                self._end(ClearStage.HELD)
        elif self.broken:
            self._end(ClearStage.FAILED)
        elif self.file.trip_id != trip_id:
            self._end(ClearStage.HELD)
        else:
            self.file = LatchRecord(self.file.version + 1, False, self.file.reason, "", "reset", 0)
            self._end(ClearStage.CLEARED)

    def _end(self, stage: ClearStage) -> None:
        assert self._clear is not None
        if stage is not ClearStage.CLEARED and self._operator_code:
            self.board.write(Word.TRIP_OPERATOR, self._operator_code)
        self.clearing = Clearing(self._clear[0], stage, "" if stage is ClearStage.CLEARED else "in vain")
        self._clear = None

    def _new(self, reason: TripReason, who: str, name: str = "", detail: str = "") -> LatchRecord:
        own = f"{self.node}-{reason}-{self.world.number()}"
        return LatchRecord(0, True, reason, who, detail, self.clock.utc_ms(), name or own)

    def _write(self, record: LatchRecord, *, again: bool) -> None:
        if self.file.tripped and not again:
            return
        self.file = msgspec.structs.replace(record, version=self.file.version + 1)

    def forget(self) -> None:
        """Lose what was not written: the executor is gone."""
        self._wanted, self._again, self._clear = [], [], None
        self.clearing = Clearing("", ClearStage.NONE)


class LatchHost:
    """One host: its processes run unless it is ``down``; ``role`` and ``term`` are what leadership would say."""

    def __init__(self, node: str, world: World) -> None:
        self.node = node
        self.world = world
        self.board = FakeBoard()
        self.log = Events()
        self.store = NodeStore(world.cluster, world.clock.boot_ns)
        self.latch = MemoryLatch(node, self.board, world.clock, world)
        self.down = True
        self.incarnation = 0
        self.term = 0
        self.demand = int(Demand.LOOKED)
        self.cleared: list[str] = []
        self.start()

    def start(self) -> None:
        """Start the executor and the others; the board and the file are those of before."""
        assert self.down
        self.down = False
        self.incarnation += 1
        self.latch.turn()
        if self.latch.record.tripped:
            self.board.write(Word.TRIP_EXECUTOR, TRIP_CODES[self.latch.record.reason])
        self.watches = [
            TripWatch(process, self.board, self.log, self.latch if process is Process.EXECUTOR else None)
            for process in TREE
        ]
        ports = ClusterLatchPorts(self.store, self.latch, self.board, self.world.clock, self.log)
        facts = HostFacts(self.node, "host", self.incarnation)
        self.service = ClusterLatchService(ports, facts, lambda: Lead(HaRole.STANDBY, self.term))
        self.store.watch(self.service.on_view)

    def kill(self) -> None:
        """kill -9 of every process of the host."""
        assert not self.down
        self.down = True
        self.store.crash()
        self.latch.forget()

    def reboot(self) -> None:
        """Lose the board, as a host that is switched off does."""
        assert self.down
        for word in TRIP_WORDS:
            self.board.write(word, 0)

    def trip(self, process: Process, reason: TripReason = TripReason.DRAWDOWN_LIMIT) -> None:
        """What a process does that trips: it writes its word."""
        self.board.write(word_of("TRIP", process), TRIP_CODES[reason])

    def kill_command(self) -> str:
        """``grinder kill`` on this host: board, file, then etcd once; return the trip."""
        record = self.latch.kill_by_operator()
        if self.store.up:
            trip = TripRecord(record.name, self.node, record.reason, "anna", "", "", record.utc_ms)
            self.world.cluster.do(TripCluster(trip))
        return record.name

    def tick(self) -> None:
        """One tick of every process, and the latch's thread."""
        if self.down:
            return
        now = self.world.clock.mono_ns()
        self.board.write(word_of("HEARTBEAT", Process.FSM), now)
        self.board.write(Word.RISK_DEMAND, self.demand)
        for watch in self.watches:
            watch.on_timer(now)
        self.store.pump()
        self.service.glance()
        was = self.latch.file
        self.service.on_timer()
        self.latch.turn()
        if was.tripped and not self.latch.file.tripped:
            self.cleared.append(was.name)
        self.service.glance()
        self.store.pump()

    @property
    def tripped(self) -> bool:
        """The kill switch as the interlocks see it: any word on the board."""
        return any(self.board.read(word) for word in TRIP_WORDS)


class World:
    """The cluster and its hosts."""

    def __init__(self, *nodes: str, armed: bool = True) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock.boot_ns)
        self._numbers = 0
        if armed:
            self.cluster.arm()
        self.hosts = {node: LatchHost(node, self) for node in nodes}

    def __getitem__(self, node: str) -> LatchHost:
        return self.hosts[node]

    def number(self) -> int:
        """Return a number that was never returned before."""
        self._numbers += 1
        return self._numbers

    def run(self, milliseconds: int) -> None:
        """Let time pass."""
        for _ in range(milliseconds // TICK_MS):
            self.clock.advance_ms(TICK_MS)
            self.cluster.expire()
            for host in self.hosts.values():
                host.tick()

    def view(self) -> ClusterView:
        """Return the cluster as an operator reads it."""
        return self.cluster.view(asked_boot_ns=self.clock.boot_ns(), known_revision=0)

    def reset(self, named: str = "", view: ClusterView | None = None) -> list[str]:
        """``grinder reset``: return what speaks against it; nothing if the cluster was armed."""
        seen = view or self.view()
        problems = refusals(seen, named or standing_trip(seen))
        if problems:
            return problems
        request = arming(seen, arm_id=f"arm-{self.number()}", operator="anna", note="", utc_ms=0)
        reply: LatchReply = self.cluster.do(request)
        return [] if isinstance(reply, Done) else [str(reply)]

    def settle(self) -> None:
        """Let everybody see everything, and reports be written."""
        self.run(3_000)

"""The latch file as the executor has it while it runs: read again and again, and written, by a thread of its own.

The executor's loop never waits for this file, whatever its disk does; where it notes a new leader's term, it does wait
for a disk (``term_file.py``). Must never give a trip up: what cannot be written is tried again until it is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.audit import Act, append_act, this_operator
from grinder.adapters.board import attach_operator
from grinder.adapters.clock import SystemClock
from grinder.adapters.host_reset import HostReset
from grinder.adapters.latch import OPERATOR_NAME, LatchFile
from grinder.adapters.override import operator_lock
from grinder.model.control import Exit, Process, TripReason
from grinder.model.errors import BoardError
from grinder.model.evidence import KillEvent, kill_file
from grinder.model.latch import Clearing, ClearStage, LatchRecord
from grinder.model.limits import WRITER_CLOSE_S_MAX
from grinder.ports import EvidenceSink, Log

LOOK_PERIOD_S: Final = 0.1
"""Period of the looks at the file, and of the tries to write it, seconds."""

CLEAR_WAIT_S_MAX: Final = 3.0
"""Longest wait for the processes of this host at each step of a clearing, seconds: more than HEARTBEAT_STALE_MS."""

_SAY_AGAIN_LOOKS: Final = 100
_POLL_S: Final = 0.005
_OF_THE_CLUSTER: Final = "cluster"


class _Wanted(msgspec.Struct, frozen=True):
    """A trip that is to be written, as LatchFile.trip takes it; it has its name and its time before it is written."""

    reason: TripReason
    who: str
    detail: str
    utc_ms: int
    name: str
    again: bool = False


class LatchWatch:
    """The ClusterLatch port. A file that says *tripped* is as good as a trip word, also where the board is gone."""

    def __init__(
        self, file: LatchFile, record: LatchRecord, clock: SystemClock, log: Log, evidence: EvidenceSink, run_dir: Path
    ) -> None:
        """Begin to look.

        Args:
            file: the durable latch.
            record: what it said at the start of this process.
            clock: for the time of a trip.
            log: where a file that cannot be written is reported.
            evidence: gets a file for each trip, also for one of before this start: written again, it is the same.
            run_dir: where the board is on which ``clear`` works.
        """
        self._file = file
        self._record = record
        self._clock = clock
        self._log = log
        self._evidence = evidence
        self._run_dir = run_dir
        self._evident_trip_id = ""
        self._wanted: deque[_Wanted] = deque()
        self._wanted_lock = threading.Lock()
        self._clearing = Clearing("", ClearStage.NONE)
        self._failures = 0
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="latch", daemon=True)
        self._thread.start()

    @property
    def record(self) -> LatchRecord:
        """What the file said last."""
        return self._record

    @property
    def unwritten(self) -> LatchRecord | None:
        """The newest trip that waits to be written, None for none; its name and time are what the file will get."""
        with self._wanted_lock:
            wanted = self._wanted[-1] if self._wanted else None
        if wanted is None:
            return None
        return LatchRecord(0, True, wanted.reason, wanted.who, wanted.detail, wanted.utc_ms, wanted.name)

    @property
    def clearing(self) -> Clearing:
        """How the last ``clear`` goes."""
        return self._clearing

    def trip(self, reason: TripReason, who: Process | None) -> None:
        """Have a trip written; returns at once. A second call before it is written changes nothing."""
        if not self._wanted:
            self._want(self._new(reason, _name(who)))

    def trip_again(self, reason: TripReason, who: Process | None) -> None:
        """Have a trip written as one of its own, also where the latch is tripped; returns at once."""
        self._want(self._new(reason, _name(who), again=True))

    def follow(self, trip_id: str, detail: str) -> None:
        """Have the trip of another host written under its id; returns at once. Nothing where a trip waits already."""
        if not self._wanted:
            self._want(self._new(TripReason.CLUSTER, _OF_THE_CLUSTER, detail, trip_id))

    def clear(self, trip_id: str, looked_mono_ns: int, who: str) -> None:
        """Begin to clear a trip by a thread of its own: trips are written meanwhile; nothing while one is at it."""
        if self._clearing.stage is ClearStage.UNDER_WAY:
            return
        self._clearing = Clearing(trip_id, ClearStage.UNDER_WAY)
        work = (trip_id, looked_mono_ns, who)
        threading.Thread(target=self._clear, args=work, name="latch-clear", daemon=True).start()

    def close(self) -> None:
        """Write what waits, within WRITER_CLOSE_S_MAX."""
        self._ending = True
        self._wake.set()
        self._thread.join(WRITER_CLOSE_S_MAX)

    def _new(self, reason: TripReason, who: str, detail: str = "", name: str = "", *, again: bool = False) -> _Wanted:
        return _Wanted(reason, who, detail, self._clock.utc_ms(), name or self._file.new_name(reason), again)

    def _want(self, wanted: _Wanted) -> None:
        with self._wanted_lock:
            if len(self._wanted) > 1:
                # The first says why, the newest is what clears it: what lay in between needs no write of its own.
                self._wanted.pop()
            self._wanted.append(wanted)
        self._wake.set()

    def _first_wanted(self) -> _Wanted | None:
        with self._wanted_lock:
            return self._wanted[0] if self._wanted else None

    def _run(self) -> None:
        while not self._ending:
            self._show()
            self._wake.wait(LOOK_PERIOD_S)
            self._wake.clear()
            self._look()
        self._look()
        self._show()

    def _show(self) -> None:
        """Keep evidence of a trip that there is none of."""
        record = self._record
        trip_id = record.trip_id if record.tripped else ""
        if trip_id and trip_id != self._evident_trip_id:
            utc_ms = record.utc_ms or self._clock.utc_ms()
            self._keep_evidence(KillEvent.TRIP, record, trip_id, record.who, utc_ms, "LATCHED")
        self._evident_trip_id = trip_id

    def _keep_evidence(
        self, event: KillEvent, record: LatchRecord, trip_id: str, who: str, ts_utc_ms: int, outcome: str
    ) -> None:
        file = kill_file(event, record, trip_id, who, ts_utc_ms, outcome)
        self._evidence.write(file.folder, file.name, file.text)

    def _look(self) -> None:
        while (wanted := self._first_wanted()) is not None:
            try:
                self._record = self._file.trip(
                    wanted.reason,
                    wanted.who,
                    wanted.detail,
                    wanted.utc_ms,
                    again=wanted.again,
                    name=wanted.name,
                )
            except OSError as error:
                if self._failures % _SAY_AGAIN_LOOKS == 0:
                    self._log.event("LATCH_NOT_WRITTEN", reason=wanted.reason, why=error.strerror)
                self._failures += 1
                return
            self._failures = 0
            with self._wanted_lock:
                self._wanted.popleft()
        self._record = self._file.peek(first_start=False)

    def _clear(self, trip_id: str, looked_mono_ns: int, who: str) -> None:
        stage, problem = self._reset(trip_id, looked_mono_ns, who)
        # Not for ``record``, which the other thread alone keeps: it might hide a trip of a moment later.
        record = self._file.peek(first_start=False)
        self._wake.set()
        outcome = "cleared" if stage is ClearStage.CLEARED else f"STILL LATCHED: {problem}"
        utc_ms = self._clock.utc_ms()
        self._keep_evidence(KillEvent.RESET, record, trip_id, who, utc_ms, outcome)
        code = Exit.OK if stage is ClearStage.CLEARED else Exit.GATE
        line = Act(utc_ms, this_operator(), "reset of the cluster", "done", {"ack": trip_id, "by": who}, code, outcome)
        unwritten = append_act(self._file.folder, line)
        self._log.event("CLUSTER_RESET", trip_id=trip_id, who=who, outcome=outcome, audit=unwritten or "written")
        self._clearing = Clearing(trip_id, stage, problem)

    def _reset(self, trip_id: str, looked_mono_ns: int, who: str) -> tuple[ClearStage, str]:
        reset = HostReset(self._run_dir, self._file, self._clock, who, _wait)
        try:
            with operator_lock(self._file.folder) as locked, attach_operator(self._run_dir) as board:
                if not locked:
                    return ClearStage.FAILED, "another operator's command is under way"
                return reset.clear(board, trip_id, looked_mono_ns)
        except (BoardError, OSError) as error:
            return ClearStage.FAILED, str(error)


def _name(who: Process | None) -> str:
    return OPERATOR_NAME if who is None else who.value


def _wait(condition: Callable[[], bool]) -> bool:
    deadline_mono_s = time.monotonic() + CLEAR_WAIT_S_MAX
    while not condition():
        if time.monotonic() > deadline_mono_s:
            return False
        time.sleep(_POLL_S)
    return True

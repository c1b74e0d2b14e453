"""The latch file as the executor has it while it runs: read again and again, and written, by a thread of its own.

The executor never waits for a disk. Must never give a trip up: what cannot be written is tried again until it is.
"""

from __future__ import annotations

import threading
from typing import Final

from grinder.adapters.latch import LatchFile
from grinder.model.control import Process, TripReason
from grinder.model.evidence import KillEvent, kill_file
from grinder.model.latch import LatchRecord
from grinder.model.limits import WRITER_CLOSE_S_MAX
from grinder.ports import Clock, EvidenceSink, Log

LOOK_PERIOD_S: Final = 0.1
"""Period of the looks at the file, and of the tries to write it, seconds."""

_SAY_AGAIN_LOOKS: Final = 100


class LatchWatch:
    """The Latch port. A file that says *tripped* is as good as a trip word, also where the board is gone."""

    def __init__(self, file: LatchFile, record: LatchRecord, clock: Clock, log: Log, evidence: EvidenceSink) -> None:
        """Begin to look.

        Args:
            file: the durable latch.
            record: what it said at the start of this process.
            clock: for the time of a trip.
            log: where a file that cannot be written is reported.
            evidence: gets a file for each trip, also for one of before this start: written again, it is the same.
        """
        self._file = file
        self._record = record
        self._clock = clock
        self._log = log
        self._evidence = evidence
        self._evident_trip_id = ""
        self._wanted: tuple[TripReason, str] | None = None
        self._failures = 0
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="latch", daemon=True)
        self._thread.start()

    @property
    def record(self) -> LatchRecord:
        """What the file said last."""
        return self._record

    def trip(self, reason: TripReason, who: Process | None) -> None:
        """Have a trip written; returns at once. A second call before it is written changes nothing."""
        if self._wanted is None:
            self._wanted = (reason, "operator" if who is None else who.value)
            self._wake.set()

    def close(self) -> None:
        """Write what waits, within WRITER_CLOSE_S_MAX."""
        self._ending = True
        self._wake.set()
        self._thread.join(WRITER_CLOSE_S_MAX)

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
            ts_utc_ms = record.utc_ms or self._clock.utc_ms()
            file = kill_file(KillEvent.TRIP, record, trip_id, record.who, ts_utc_ms, "LATCHED")
            self._evidence.write(file.folder, file.name, file.text)
        self._evident_trip_id = trip_id

    def _look(self) -> None:
        wanted = self._wanted
        if wanted is None:
            self._record = self._file.peek(first_start=False)
            return
        try:
            self._record = self._file.trip(*wanted, "", self._clock.utc_ms())
        except OSError as error:
            if self._failures % _SAY_AGAIN_LOOKS == 0:
                self._log.event("LATCH_NOT_WRITTEN", reason=wanted[0], why=error.strerror)
            self._failures += 1
            return
        self._failures = 0
        self._wanted = None

"""The reconcile audit on the disk: lines appended by a thread of its own, rotated by size and by number.

Fail-open: a line that cannot be written is counted and logged, and nothing waits for it.
"""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Full, Queue

from grinder.model.control import Process
from grinder.model.limits import AUDIT_FILE_BYTES_MAX, AUDIT_FILE_LINES_MAX, AUDIT_QUEUE_MAX, WRITER_CLOSE_S_MAX
from grinder.ports import Log, Telemetry


class ReconcileAudit:
    """The AuditSink port; ``path``: the file, whose older ones have ``.1``, ``.2``... after its name."""

    def __init__(self, path: Path, process: Process, log: Log, telemetry: Telemetry) -> None:
        self._path = path
        self._process = process
        self._log = log
        self._telemetry = telemetry
        self._lines = -1
        self._queue: Queue[str | None] = Queue(AUDIT_QUEUE_MAX)
        self._writer = threading.Thread(target=self._run, name="audit", daemon=True)
        self._writer.start()

    def write(self, line: str) -> None:
        """Queue one line."""
        try:
            self._queue.put_nowait(line)
        except Full:
            self._failed("queue full")

    def close(self) -> None:
        """Write what waits, within WRITER_CLOSE_S_MAX."""
        try:
            self._queue.put(None, timeout=WRITER_CLOSE_S_MAX)
        except Full:
            return
        self._writer.join(WRITER_CLOSE_S_MAX)

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._append(line.encode() + b"\n")
            except OSError as error:
                self._failed(str(error))

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        size = self._path.stat().st_size if self._path.exists() else 0
        if self._lines < 0:
            self._lines = self._path.read_bytes().count(b"\n") if size else 0
        if size + len(data) > AUDIT_FILE_BYTES_MAX or self._lines >= AUDIT_FILE_LINES_MAX:
            self._rotate()
        with self._path.open("ab") as file:
            file.write(data)
        self._lines += 1

    def _rotate(self) -> None:
        number = 1
        while (older := self._path.with_name(f"{self._path.name}.{number}")).exists():
            number += 1
        self._path.rename(older)
        self._lines = 0
        self._log.event("AUDIT_ROTATED", file=older.name)

    def _failed(self, why: str) -> None:
        self._telemetry.count("grinder_evidence_failed_total", self._process)
        self._log.event("AUDIT_WRITE_FAILED", file=self._path.name, why=why)


class NoAudit:
    """The AuditSink port where no audit is wanted."""

    def write(self, line: str) -> None:
        """Drop the line."""

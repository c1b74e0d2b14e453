"""The DecisionSink of the fsm process: a file written by a thread of its own, in batches.

Must never block or raise in the caller, and never go on after a decision was lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from grinder.core.events import Effect, Event
from grinder.core.recording import Header, decision_record, header_record
from grinder.model.limits import RECORDING_DRAIN_MS, RECORDING_QUEUE_MAX, WRITER_CLOSE_S_MAX
from grinder.model.units import MS_PER_S
from grinder.ports import DecisionSink, Log, Telemetry


class RecordingFile:
    """A recording under way. One caller's thread, one writer's."""

    def __init__(self, file: BinaryIO, log: Log, telemetry: Telemetry) -> None:
        self._file = file
        self._log = log
        self._telemetry = telemetry
        self._waiting: deque[tuple[Event, tuple[Effect, ...]]] = deque()
        self._header: Header | None = None
        self._ended = False
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._run, name="recording", daemon=True)

    def begin(self, header: Header) -> None:
        """Say how the engine starts, and start to write."""
        assert self._header is None
        self._header = header
        self._writer.start()

    def record(self, event: Event, effects: tuple[Effect, ...]) -> None:
        """Queue one decision; the recording ends where the queue is full."""
        if self._ended:
            return
        if len(self._waiting) >= RECORDING_QUEUE_MAX:
            self._end("writer fell behind")
            return
        self._waiting.append((event, effects))

    def close(self) -> None:
        """Write what waits, within WRITER_CLOSE_S_MAX."""
        self._closing.set()
        if self._writer.is_alive():
            self._writer.join(WRITER_CLOSE_S_MAX)
        self._file.close()

    def _run(self) -> None:
        assert self._header is not None
        try:
            self._file.write(header_record(self._header))
            while not self._closing.wait(RECORDING_DRAIN_MS / MS_PER_S):
                self._drain()
            self._drain()
        except OSError as error:
            self._end(str(error))

    def _drain(self) -> None:
        waiting, write = self._waiting, self._file.write
        for _ in range(len(waiting)):
            write(decision_record(*waiting.popleft()))
        self._file.flush()

    def _end(self, why: str) -> None:
        self._ended = True
        self._telemetry.count("grinder_fsm_recording_lost_total")
        self._log.event("RECORDING_ENDED", why=why)


@contextmanager
def open_recording(path: str, log: Log, telemetry: Telemetry) -> Iterator[DecisionSink | None]:
    """Give a recording into the file ``path``, closed at the end; None where the path is empty or cannot be written.

    A recording is a tool for people and no input of a decision: that it cannot be written is logged, and trading goes
    on. A file that exists is moved aside, never written over.
    """
    if not path:
        yield None
        return
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(target.with_name(f"{target.name}.{target.stat().st_mtime_ns}"))
        file = target.open("xb")
    except OSError as error:
        log.event("RECORDING_FAILED", path=path, why=str(error))
        yield None
        return
    recording = RecordingFile(file, log, telemetry)
    log.event("RECORDING", path=path)
    try:
        yield recording
    finally:
        recording.close()

"""Log events of one process: NDJSON lines in its own file, written by a background thread.

The caller only appends to a bounded queue: a full disk or a stalled pipe never holds a trading process. Must never
show a secret: fields with a telling name are blanked, and only plain values are written as they are.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Final

import msgspec

from grinder.model.control import Process
from grinder.model.limits import (
    LOG_DRAIN_MS,
    LOG_FILE_BYTES_MAX,
    LOG_FILES_KEPT,
    LOG_QUEUE_EVENTS_MAX,
    WRITER_CLOSE_S_MAX,
)
from grinder.model.units import MS_PER_S
from grinder.ports import Clock, Telemetry

_SECRET_NAME: Final = re.compile(r"secret|password|token|signature|api_?key|authorization|listen_?key", re.IGNORECASE)
_BLANKED: Final = "<redacted>"
_JSON_INTEGER_END: Final = 1 << 63


class EventLog:
    """The Log port of one process. ``event`` may be called from any thread."""

    def __init__(
        self, path: Path, process: Process, pid: int, incarnation: int, clock: Clock, telemetry: Telemetry
    ) -> None:
        """Open ``path`` for appending (made with its directory if absent) and start the writer.

        Raises:
            OSError: if the file cannot be opened.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._process = process
        self._pid = pid
        self._incarnation = incarnation
        self._clock = clock
        self._telemetry = telemetry
        self._queue: deque[tuple[int, int, str, dict[str, object]]] = deque()
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._run, name="log", daemon=True)
        self._writer.start()

    def event(self, name: str, **fields: object) -> None:
        """Queue one event; dropped and counted when LOG_QUEUE_EVENTS_MAX events wait."""
        if len(self._queue) >= LOG_QUEUE_EVENTS_MAX:
            self._telemetry.count("grinder_log_dropped_total", self._process)
            return
        self._queue.append((self._clock.utc_ms(), self._clock.mono_ns(), name, fields))

    def close(self) -> None:
        """Write what waits, within WRITER_CLOSE_S_MAX."""
        self._closing.set()
        self._writer.join(WRITER_CLOSE_S_MAX)
        if not self._writer.is_alive():
            self._file.close()

    def _run(self) -> None:
        while not self._closing.wait(LOG_DRAIN_MS / MS_PER_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        lines = []
        for _ in range(LOG_QUEUE_EVENTS_MAX):
            if not self._queue:
                break
            lines.append(self._line(*self._queue.popleft()))
        if not lines:
            return
        try:
            self._file.write(b"".join(lines))
            if self._file.tell() >= LOG_FILE_BYTES_MAX:
                self._rotate()
        except OSError:
            self._telemetry.count("grinder_log_dropped_total", self._process, by=len(lines))

    def _line(self, utc_ms: int, mono_ns: int, name: str, fields: dict[str, object]) -> bytes:
        moment = datetime.fromtimestamp(utc_ms / MS_PER_S, UTC)
        event = {
            "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "mono_ns": mono_ns,
            "proc": self._process,
            "pid": self._pid,
            "inc": self._incarnation,
            "ev": name,
        }
        for field, value in fields.items():
            event[field] = _BLANKED if _SECRET_NAME.search(field) else _plain(value)
        return msgspec.json.encode(event) + b"\n"

    def _rotate(self) -> None:
        self._file.close()
        for number in reversed(range(1, LOG_FILES_KEPT)):
            older = _numbered(self._path, number)
            if older.exists():
                older.replace(_numbered(self._path, number + 1))
        self._path.replace(_numbered(self._path, 1))
        self._file = self._path.open("ab", buffering=0)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _plain(value: object) -> str | int | float | bool | None:
    """Return a value as JSON can hold it; anything that is not a plain value as its ``str``."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < _JSON_INTEGER_END:
        return value
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()

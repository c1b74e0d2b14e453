"""Evidence files with their checksum sidecars, written whole or not at all, off the hot path.

A sidecar reads ``<64 hex digits>  <file name>`` so that ``sha256sum -c`` checks it. Must never block or raise in the
caller; what cannot be written is logged and counted.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from queue import Full, Queue
from typing import Final

from grinder.model.control import Process
from grinder.model.limits import EVIDENCE_QUEUE_FILES_MAX, WRITER_CLOSE_S_MAX
from grinder.ports import Log, Telemetry

SIDECAR_SUFFIX: Final = ".sha256"


class EvidenceWriter:
    """The EvidenceSink port of one process; files go below ``root``."""

    def __init__(self, root: Path, process: Process, log: Log, telemetry: Telemetry) -> None:
        self._root = root
        self._process = process
        self._log = log
        self._telemetry = telemetry
        self._queue: Queue[tuple[str, str, str] | None] = Queue(EVIDENCE_QUEUE_FILES_MAX)
        self._writer = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._writer.start()

    def write(self, folder: str, name: str, text: str) -> None:
        """Queue one text file and its sidecar for ``root/folder/name``."""
        assert ".." not in Path(folder).parts
        assert name == Path(name).name
        try:
            self._queue.put_nowait((folder, name, text))
        except Full:
            self._failed(name, "queue full")

    def close(self) -> None:
        """Write what waits, within WRITER_CLOSE_S_MAX."""
        try:
            self._queue.put(None, timeout=WRITER_CLOSE_S_MAX)
        except Full:
            return
        self._writer.join(WRITER_CLOSE_S_MAX)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            folder, name, text = item
            try:
                write_evidence(self._root / folder, name, text)
            except OSError as error:
                self._failed(name, str(error))

    def _failed(self, name: str, why: str) -> None:
        self._telemetry.count("grinder_evidence_failed_total", self._process)
        self._log.event("EVIDENCE_FAILED", file=name, why=why)


def write_evidence(directory: Path, name: str, text: str) -> None:
    """Write a text file and its sidecar; each appears whole or not at all, the sidecar last.

    Raises:
        OSError: if one of them cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = text.encode("utf-8", "backslashreplace")
    sidecar = f"{Path(name).stem}{SIDECAR_SUFFIX}"
    _replace(directory / name, data)
    _replace(directory / sidecar, f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode())


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.write_bytes(data)
    fresh.replace(path)

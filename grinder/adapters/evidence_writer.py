"""The thread that writes a process's evidence, and takes the oldest of it away, off the hot path.

Must never block or raise in the caller; what cannot be written is logged and counted.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import threading
from collections import Counter
from pathlib import Path
from queue import Full, Queue

from grinder.adapters import evidence_chain
from grinder.adapters.evidence import write_evidence
from grinder.adapters.evidence_chain import SIDECAR_SUFFIX, Deed
from grinder.model.control import Process
from grinder.model.limits import EVIDENCE_PRUNE_EVERY_FILES, EVIDENCE_QUEUE_FILES_MAX, WRITER_CLOSE_S_MAX
from grinder.ports import Log, Telemetry


class EvidenceWriter:
    """The EvidenceSink port of one process; files go below ``root``.

    ``keep``: newest entries, files or bundles, that stay in each folder; 0 keeps all.
    """

    def __init__(self, root: Path, process: Process, log: Log, telemetry: Telemetry, *, keep: int = 0) -> None:
        self._root = root
        self._keep = keep
        self._written: Counter[str] = Counter()
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
                write_evidence(self._root, self._process, folder, name, text)
                self._prune(Path(folder).parts[0])
            except (OSError, ValueError) as error:
                self._failed(name, str(error))

    def _prune(self, folder: str) -> None:
        """Take the oldest entries of a folder away, at its first file and at every so many after it."""
        due = self._written[folder] % EVIDENCE_PRUNE_EVERY_FILES == 0
        self._written[folder] += 1
        if due and self._keep:
            prune(self._root, self._process, folder, self._keep)

    def _failed(self, name: str, why: str) -> None:
        self._telemetry.count("grinder_evidence_failed_total", self._process)
        self._log.event("EVIDENCE_FAILED", file=name, why=why)


def prune(root: Path, writer: str, folder: str, keep: int) -> int:
    """Remove all but the ``keep`` newest entries of a folder, by name, for names begin with their time.

    Returns:
        Entries removed: a file with its sidecar, or a bundle.

    Raises:
        OSError: if one cannot be removed.
        ValueError: if the chain is damaged.
    """
    names = sorted(path.name for path in (root / folder).iterdir() if not path.name.startswith("."))
    entries = [list(group) for _, group in itertools.groupby(names, key=lambda name: Path(name).stem)]
    gone = entries[: max(0, len(entries) - keep)]
    for name in itertools.chain.from_iterable(gone):
        _remove(root, writer, root / folder / name)
    return len(gone)


def _remove(root: Path, writer: str, path: Path) -> None:
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    for file in files:
        if file.suffix != SIDECAR_SUFFIX:
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            evidence_chain.append(root, writer, Deed.PRUNED, file.relative_to(root).as_posix(), sha256)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()

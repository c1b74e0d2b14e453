"""The chain over the evidence: one line per file written or pruned, each carrying the hash of the line before it.

One chain per writer below ``chain/`` of the artifact directory. It shows that a file was changed, added or taken away
afterwards. What it cannot show is a tail cut off together with its files, unless a bundle kept the head of the chain.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from grinder.model.limits import EVIDENCE_CHAIN_LINE_BYTES_MAX

CHAIN_FOLDER: Final = "chain"
SIDECAR_SUFFIX: Final = ".sha256"
GENESIS: Final = "0" * 64
"""The hash before the first line."""

_SUFFIX: Final = ".jsonl"


class Deed(StrEnum):
    """What a line records. ``PRUNED``: retention took the file away, on purpose."""

    WROTE = "wrote"
    PRUNED = "pruned"


class Link(msgspec.Struct, frozen=True):
    """One line. ``file``: below the artifact directory. ``previous``: SHA-256 of the line before, without its end."""

    seq: int
    deed: Deed
    file: str
    sha256: str
    previous: str


class Head(msgspec.Struct, frozen=True):
    """Where a chain ends: ``seq`` of its last line and that line's SHA-256."""

    seq: int
    sha256: str


class Report(msgspec.Struct, frozen=True):
    """What a check found. ``heads``: by writer. ``problems``: one line each; empty means that all of it holds."""

    files: int
    pruned: int
    heads: dict[str, Head]
    problems: tuple[str, ...]


def append(root: Path, writer: str, deed: Deed, file: str, sha256: str) -> Head:
    """Append one line to a writer's chain, under a lock; a torn last line is cut off first.

    Args:
        root: the artifact directory.
        writer: whose chain.
        deed: what was done.
        file: to which file, below ``root``.
        sha256: of its bytes, 64 hex digits.

    Returns:
        The new head.

    Raises:
        OSError: if it cannot be written.
        ValueError: if the chain's last line is not one.
    """
    path = root / CHAIN_FOLDER / f"{writer}{_SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end, head = _end_of(descriptor)
        line = msgspec.json.encode(Link(head.seq + 1, deed, file, sha256, head.sha256))
        os.ftruncate(descriptor, end)
        os.pwrite(descriptor, line + b"\n", end)
        return Head(head.seq + 1, _hash(line))
    finally:
        os.close(descriptor)


def check(root: Path) -> Report:
    """Check every chain below ``root`` against itself and against the files that are there."""
    expected: dict[str, str] = {}
    heads: dict[str, Head] = {}
    problems: list[str] = []
    pruned: list[str] = []
    for path in sorted((root / CHAIN_FOLDER).glob(f"*{_SUFFIX}")):
        heads[path.stem] = Head(0, GENESIS)
        for link, head in _links(path, problems):
            heads[path.stem] = head
            if link.deed is Deed.WROTE:
                expected[link.file] = link.sha256
            else:
                pruned.append(link.file)
    gone = frozenset(pruned)
    # Afterwards, for one writer may prune what another wrote.
    expected = {file: sha256 for file, sha256 in expected.items() if file not in gone or (root / file).exists()}
    problems += _changed(root, expected)
    problems += _unlisted(root, expected)
    return Report(len(expected), len(pruned), heads, tuple(problems))


def _links(path: Path, problems: list[str]) -> Iterator[tuple[Link, Head]]:
    """Yield the lines of a chain, each with the head it makes, up to the first that does not follow."""
    head = Head(0, GENESIS)
    with path.open("rb") as source:
        for raw in source:
            where = f"{CHAIN_FOLDER}/{path.name}:{head.seq + 1}"
            if not raw.endswith(b"\n"):
                problems.append(f"{where}: the last line is torn")
                return
            line = raw[:-1]
            try:
                link = msgspec.json.decode(line, type=Link)
            except msgspec.MsgspecError as error:
                problems.append(f"{where}: not a line of a chain: {error}")
                return
            if (link.seq, link.previous) != (head.seq + 1, head.sha256):
                problems.append(f"{where}: does not follow from the line before it")
                return
            head = Head(link.seq, _hash(line))
            yield link, head


def _changed(root: Path, expected: dict[str, str]) -> list[str]:
    problems = []
    for file, sha256 in sorted(expected.items()):
        try:
            found = hashlib.sha256((root / file).read_bytes()).hexdigest()
        except OSError as error:
            problems.append(f"{file}: {error.strerror}")
            continue
        if found != sha256:
            problems.append(f"{file}: was changed after it was written")
    return problems


def _unlisted(root: Path, expected: dict[str, str]) -> list[str]:
    """Name the files in folders of evidence that no chain has: added by hand, or their writer died in between."""
    folders = sorted({Path(file).parts[0] for file in expected})
    present = (path for folder in folders for path in sorted((root / folder).rglob("*")) if path.is_file())
    names = (path.relative_to(root).as_posix() for path in present if path.suffix != SIDECAR_SUFFIX)
    return [f"{name}: is in no chain" for name in names if name not in expected and not Path(name).name.startswith(".")]


def _end_of(descriptor: int) -> tuple[int, Head]:
    """Return where the next line goes, bytes, and the head there; a torn last line does not count."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - 2 * EVIDENCE_CHAIN_LINE_BYTES_MAX)
    tail = os.pread(descriptor, size - start, start)
    whole = tail[: tail.rfind(b"\n") + 1]
    if not whole:
        if start:
            raise ValueError("the chain does not end in a line")
        return 0, Head(0, GENESIS)
    line = whole[:-1].rsplit(b"\n", 1)[-1]
    return start + len(whole), Head(msgspec.json.decode(line, type=Link).seq, _hash(line))


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()

"""What the processes of a tree hold, sampled while they run: memory, descriptors, threads, sockets, files on disk.

A rise is read off a straight line laid through the samples after a warm-up: one sample says nothing, a line through
hundreds of them does.
"""

from __future__ import annotations

import csv
import os
import statistics
from collections.abc import Iterable
from pathlib import Path

import msgspec

from grinder.model.units import MS_PER_S

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
S_PER_H = 3_600
MIB = 1 << 20
TREE = "tree"
"""Stands for the process where a sample is of the whole tree's files."""

PLACED = "orders_placed"
"""Quantity of the tree: orders that the venue took so far."""

QUANTITIES = ("rss_mib", "fds", "threads", "sockets")
FILES = ("journal_mib", "state_mib", "log_mib", "artifact_mib")


class Sample(msgspec.Struct, frozen=True):
    """One number at one time. ``at_s``: seconds since the first sample."""

    at_s: float
    process: str
    quantity: str
    value: float


def of_process(at_s: float, name: str, pid: int) -> list[Sample]:
    """Return what a process holds now; nothing if it is gone."""
    folder = Path(f"/proc/{pid}")
    try:
        pages = int((folder / "statm").read_text().split()[1])
        threads = len(list((folder / "task").iterdir()))
        # Closed here and now: a process that ends meanwhile leaves the iterator half read.
        with os.scandir(folder / "fd") as entries:
            links = [os.readlink(entry.path) for entry in entries]
    except OSError:
        return []
    sockets = sum(link.startswith("socket:") for link in links)
    values = (pages * PAGE_BYTES / MIB, len(links), threads, sockets)
    return [Sample(at_s, name, quantity, value) for quantity, value in zip(QUANTITIES, values, strict=True)]


def of_files(at_s: float, state: Path, log: Path, artifacts: Path) -> list[Sample]:
    """Return the sizes of what a tree keeps on disk."""
    sizes = (size_of(state / "journal"), size_of(state), size_of(log), size_of(artifacts))
    return [Sample(at_s, TREE, quantity, size / MIB) for quantity, size in zip(FILES, sizes, strict=True)]


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; a file may vanish while it is looked at."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


class Line(msgspec.Struct, frozen=True):
    """A straight line through the samples of one quantity of one process, after the warm-up."""

    process: str
    quantity: str
    first: float
    last: float
    highest: float
    slope_per_h: float
    rise: float


def line_through(samples: list[Sample]) -> Line:
    """Return the line of least squares through samples of one kind, two at least.

    ``rise``: by how much the line rises from the first sample to the last; first and last are medians of a tenth.
    """
    times, values = [sample.at_s for sample in samples], [sample.value for sample in samples]
    slope = statistics.linear_regression(times, values).slope
    tenth = max(1, len(values) // 10)
    return Line(
        samples[0].process,
        samples[0].quantity,
        statistics.median(values[:tenth]),
        statistics.median(values[-tenth:]),
        max(values),
        slope * S_PER_H,
        slope * (times[-1] - times[0]),
    )


def lines(samples: Iterable[Sample], *, after_s: float) -> list[Line]:
    """Return the line of every quantity of every process, of the samples after a warm-up."""
    sorted_out: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if sample.at_s >= after_s:
            sorted_out.setdefault((sample.process, sample.quantity), []).append(sample)
    return [line_through(each) for each in sorted_out.values() if len(each) > 1]


def write_csv(path: Path, samples: Iterable[Sample]) -> None:
    """Write every sample: time in milliseconds, process, quantity, value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("at_ms", "process", "quantity", "value"))
        for sample in samples:
            table.writerow((round(sample.at_s * MS_PER_S), sample.process, sample.quantity, round(sample.value, 3)))


def summary(found: Iterable[Line]) -> str:
    """Return the lines as a table for people."""
    head = f"{'process':10} {'quantity':13} {'first':>9} {'last':>9} {'highest':>9} {'per hour':>10}"
    rows = [
        f"{line.process:10} {line.quantity:13} {line.first:9.2f} {line.last:9.2f} {line.highest:9.2f}"
        f" {line.slope_per_h:+10.2f}"
        for line in found
    ]
    return "\n".join((head, *rows))

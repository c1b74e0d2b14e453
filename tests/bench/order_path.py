"""What an order costs in the executor: the journal's write, and the whole way from an intent to its bytes on the wire.

The journal: each mode of GRINDER_JOURNAL_SYNC in turn with a bare ``os.write()`` of the same bytes, record by record,
so that both see the same disk at the same time. The order path: as the executor of a real tree says itself, in its own
histogram, beside a bare WebSocket send of as many bytes to the same kind of venue in the same run. Nothing is asserted.

    python -m tests.bench.order_path [--records 5000] [--seconds 20] [--rate 50]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import uvloop
from websockets.asyncio.client import connect

from grinder.adapters.journal import FileJournal
from grinder.adapters.journal_format import frame_bytes
from grinder.settings import JournalSync
from tests.bench.tick_to_order import SYMBOL, processor_awake, real_time, row, share, tree, venue

RECORD_BYTES = 160
"""Size of a placement on record."""
REQUEST_BYTES = 420
"""Size of a signed placement."""
PACE_S = 0.0005
"""Wait between two records: orders come one by one."""
METRIC = "grinder_executor_intent_to_wire_seconds"


def journal(sync: JournalSync, folder: Path, records: int) -> tuple[list[float], list[float], list[float]]:
    """Return, microseconds, of each record: a bare write, a bare write with its fdatasync, and the journal's append."""
    made = FileJournal(folder / f"journal-{sync.value}", sync)
    bare = os.open(folder / f"bare-{sync.value}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    synced = os.open(folder / f"synced-{sync.value}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    record = os.urandom(RECORD_BYTES)
    data = frame_bytes(record, 1, 64, 1)
    floors: list[float] = []
    forced: list[float] = []
    appends: list[float] = []
    for _ in range(records):
        began = time.perf_counter_ns()
        os.write(bare, data)
        wrote = time.perf_counter_ns()
        assert made.append(record)
        appended = time.perf_counter_ns()
        floors.append((wrote - began) / 1_000)
        appends.append((appended - wrote) / 1_000)
        if sync is JournalSync.EACH:
            began = time.perf_counter_ns()
            os.write(synced, data)
            os.fdatasync(synced)
            forced.append((time.perf_counter_ns() - began) / 1_000)
        if made.wants_checkpoint:
            made.checkpoint([record])
        time.sleep(PACE_S)
    made.close()
    os.close(bare)
    os.close(synced)
    return floors, forced, appends


async def bare_sends(port: int, count: int) -> list[float]:
    """Return how long each of some WebSocket sends took until the kernel had the bytes, microseconds."""
    samples = []
    async with connect(f"ws://127.0.0.1:{port}/ws-fapi/v1", compression=None) as connection:
        text = b'{"id":%d,"method":"time","padding":"' + b"x" * (REQUEST_BYTES - 50) + b'"}'
        for number in range(count):
            began = time.perf_counter_ns()
            connection.protocol.send_text(text % number)
            connection.transport.writelines(connection.protocol.data_to_send())
            samples.append((time.perf_counter_ns() - began) / 1_000)
            await connection.recv()
    return samples


def quantile_us(buckets: list[tuple[float, float]], part: float) -> float:
    """Return a quantile of a histogram, microseconds, linear inside a bucket. ``buckets``: upper bound, count below."""
    wanted = buckets[-1][1] * part
    low, before = 0.0, 0.0
    for bound, below in buckets:
        if below >= wanted:
            width = (wanted - before) / max(1.0, below - before)
            return (low + (bound - low) * width) * 1e6 if bound != float("inf") else low * 1e6
        low, before = bound, below
    return float("nan")


def histogram(metrics_port: int) -> list[tuple[float, float]]:
    """Return the executor's histogram: upper bound in seconds, and how many were not above it."""
    with urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    rows = (line for line in lines if line.startswith(f"{METRIC}_bucket"))
    return sorted((float(line.split('le="')[1].split('"')[0]), float(line.rpartition(" ")[2])) for line in rows)


def order_path(seconds: float, rate_per_s: float, folder: Path) -> None:
    """Let a tree trade and print what its executor says of its order path, beside bare sends."""
    with processor_awake(), real_time(wanted=True):
        with venue(rate_per_s, folder) as port:
            floor = uvloop.run(bare_sends(port, 2_000))
            print(row("bare WebSocket send", floor))
        with venue(rate_per_s, folder) as port, tree(port, folder) as metrics_port:
            time.sleep(seconds)
            buckets = histogram(metrics_port)
    count = buckets[-1][1]
    marks = [quantile_us(buckets, part) for part in (0.5, 0.99, 0.999)]
    print(f"  {'intent to wire, executor':<28}{count:>8.0f} " + " ".join(f"{mark:9.0f}" for mark in marks))
    ratios = marks[0] / share(floor, 0.5), marks[1] / share(floor, 0.99)
    print(f"  intent to wire / bare send, p50: {ratios[0]:.1f}, p99: {ratios[1]:.1f}")


def main() -> None:
    """Print the figures, microseconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=5_000)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--rate", type=float, default=50.0)
    options.add_argument("--folder", type=Path, default=None, help="where the journal is written; default: var")
    chosen = options.parse_args()
    beside = chosen.folder or Path("var")
    beside.mkdir(parents=True, exist_ok=True)
    print(f"journal, {RECORD_BYTES}-byte records one by one, beside bare writes of the same bytes, microseconds")
    print(f"  {'':<28}{'samples':>8} {'p50':>9} {'p99':>9} {'p99.9':>9}")
    with tempfile.TemporaryDirectory(dir=beside, prefix="bench-") as name:
        for sync in JournalSync:
            floors, forced, appends = journal(sync, Path(name), chosen.records)
            print(fine(f"bare write ({sync.value})", floors))
            if forced:
                print(fine("bare write and fdatasync", forced))
            print(fine(f"append, {sync.value}", appends), flush=True)
    print(f"order path of {SYMBOL}, {chosen.rate:g} ticks/s, microseconds")
    order_path(chosen.seconds, chosen.rate, Path(tempfile.mkdtemp(dir="/tmp", prefix="bench-")))


def fine(name: str, samples: list[float]) -> str:
    """Return one line with a decimal: these are a few microseconds."""
    marks = " ".join(f"{share(samples, part):9.1f}" for part in (0.5, 0.99, 0.999))
    return f"  {name:<28}{len(samples):>8} {marks}"


if __name__ == "__main__":
    main()

"""Tick-to-order latency of the real tree, measured at the simulated venue, beside the bare floor of the same hops.

Floor and tree run in turn against the same kind of venue process in the same run and under the same conditions, so
that the ratio holds where absolute times do not (shared machines are noisy). Where the host permits it, both run with
real-time scheduling and without deep idle states, so that other programs count less. Nothing is asserted. Then the rate
of ticks is raised until fewer are answered than sent: by requests at the venue, or by decisions of the tree's fsm.

    python -m tests.bench.tick_to_order [--rounds 3] [--seconds 8] [--rate 50]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import msgspec

from tests.free_ports import free_port

SYMBOL = "BTCUSDT"
ORDER_OPS = frozenset({"order.place", "order.modify"})
FLOOR_OPS = frozenset({"time"})
SWEEP_RATES = (250, 500, 1_000, 2_000, 4_000, 8_000)
SWEEP_S = 4.0
MISSED_SHARE_MAX = 0.1
"""Share of the ticks of one step of the sweep that may be without an answer; counts may be a quarter second old."""
VENUE_PRIORITY, HOST_PRIORITY = 2, 1
READY_S_MAX = 30.0
Samples = list[float]


def fetch(url: str) -> dict[str, object] | list[dict[str, object]]:
    with urlopen(url, timeout=5) as answer:
        return msgspec.json.decode(answer.read())


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + READY_S_MAX
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {READY_S_MAX} s")


@contextlib.contextmanager
def started(*arguments: str, env: dict[str, str] | None = None, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], env={**os.environ, **(env or {})}, stdout=sink, stderr=sink
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def venue(rate_per_s: float, folder: Path) -> Iterator[int]:
    port = free_port()
    unlimited = "1000000000"
    options = ("--port", str(port), "--tape", "step", "--step-rate", str(rate_per_s), "--step-ticks", "180")
    limits = ("--order-limit-10s", unlimited, "--order-limit-1m", unlimited, "--weight-limit-1m", unlimited)
    with started("procs.venue", *options, *limits, "--symbols", SYMBOL, log=folder / "venue.out") as process:
        # The venue is the clock of this measurement and no part of it: it must read a request when it arrives, not
        # when floor or tree have no more use for the processor.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(process.pid, os.SCHED_RR, os.sched_param(VENUE_PRIORITY))
        wait_until(lambda: bool(fetch(f"http://127.0.0.1:{port}/sim/state")), "simulated venue")
        yield port


@contextlib.contextmanager
def floor(port: int, folder: Path) -> Iterator[None]:
    """Run the three bare hops."""
    run_dir = tempfile.mkdtemp(dir="/tmp", prefix="floor-")
    stream, api = f"ws://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/ws-fapi/v1"
    with contextlib.ExitStack() as stack:
        for role, url in (("executor", api), ("fsm", ""), ("feed", stream)):
            stack.enter_context(
                started("tests.bench.floor", role, run_dir, url, SYMBOL, log=folder / f"floor-{role}.out")
            )
        wait_until(lambda: len(requests_of(port, FLOOR_OPS)) > 5, "floor")
        yield


@contextlib.contextmanager
def tree(port: int, folder: Path) -> Iterator[int]:
    """Run the five processes under supervisord as an operator would; yields the metrics port."""
    metrics_port = free_port()
    work = Path(tempfile.mkdtemp(dir="/tmp", prefix="tree-"))
    env = {
        "GRINDER_TRADING_MODE": "paper",
        "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW",
        "GRINDER_MAX_ORDERS_ACK": "YES_I_ACCEPT_MULTI_ORDER",
        "GRINDER_FSM_ENABLED": "1",
        "GRINDER_ACCOUNT_SYNC_ENABLED": "1",
        "GRINDER_VENUE_REST_URL": f"http://127.0.0.1:{port}",
        "GRINDER_VENUE_WS_URL": f"ws://127.0.0.1:{port}",
        "GRINDER_VENUE_WS_API_URL": f"ws://127.0.0.1:{port}/ws-fapi/v1",
        "GRINDER_RUN_DIR": str(work / "run"),
        "GRINDER_STATE_DIR": str(work / "state"),
        "GRINDER_LOG_DIR": str(folder),
        "GRINDER_ARTIFACT_DIR": str(work / "artifacts"),
        "BINANCE_API_KEY": "sim-key",
        "BINANCE_API_SECRET": "sim-secret",
        # Every move of the tape is 3 bps: the grid follows each, and no level is reached by one.
        "GRINDER_SOR_ENABLED": "1",
        "GRINDER_GRID_REBALANCE_STEPS": "0.2",
        "GRINDER_LIVE_ADAPTIVE_SPACING_ENABLED": "0",
    }
    flags = (
        *("--symbols", SYMBOL, "--armed", "--max-orders-per-run", "1000000", "--max-notional-per-order", "500"),
        *("--paper-levels", "1", "--paper-size-per-level", "0.002", "--paper-cooldown-ms", "0"),
        *("--metrics-port", str(metrics_port)),
    )
    with started("procs.run_trading", *flags, env=env, log=folder / "tree.out"):
        wait_until(lambda: len(requests_of(port, ORDER_OPS)) > 5, "tree")
        yield metrics_port


def requests_of(port: int, ops: frozenset[str], since: int = 0) -> list[dict[str, object]]:
    rows = fetch(f"http://127.0.0.1:{port}/sim/requests?since={since}&limit=100000")
    assert isinstance(rows, list)
    return [row for row in rows if row["op"] in ops]


def tick_times_ns(port: int) -> list[int]:
    rows = fetch(f"http://127.0.0.1:{port}/sim/ticks?limit=50000")
    return sorted(int(str(row["mono_ns"])) for row in rows if isinstance(row, dict))


def latencies_us(port: int, ops: frozenset[str], seconds: float) -> Samples:
    """Return, for each tick of the next ``seconds`` that caused one, the time to the first request after it."""
    began_ns = time.monotonic_ns()
    time.sleep(seconds)
    ticks = [tick for tick in tick_times_ns(port) if tick >= began_ns]
    arrivals = sorted(int(str(row["mono_ns"])) for row in requests_of(port, ops))
    samples: Samples = []
    position = 0
    for tick, following in itertools.pairwise(ticks):
        while position < len(arrivals) and arrivals[position] < tick:
            position += 1
        if position < len(arrivals) and arrivals[position] < following:
            samples.append((arrivals[position] - tick) / 1_000)
    return samples


def share(samples: Samples, part: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


def row(name: str, samples: Samples) -> str:
    marks = " ".join(f"{share(samples, part):9.0f}" for part in (0.5, 0.99, 0.999))
    return f"  {name:<28}{len(samples):>8} {marks}"


def answered(port: int, metrics_port: int | None) -> int:
    """Return how many ticks were answered: requests of the floor, books that the tree's fsm decided on."""
    if metrics_port is None:
        state = fetch(f"http://127.0.0.1:{port}/sim/state")
        assert isinstance(state, dict)
        return int(str(state["requests"]))
    with urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    values = {
        name: int(float(value))
        for name, _, value in (line.rpartition(" ") for line in text.splitlines())
        if name.startswith("grinder_bus_") and 'process="fsm"' in name
    }
    read = sum(value for name, value in values.items() if "frames_total" in name and 'channel="market"' in name)
    return read - sum(value for name, value in values.items() if "superseded_total" in name)


def falls_behind(port: int, metrics_port: int | None) -> bool:
    """Tell whether fewer ticks are answered than sent, for as long as one step of the sweep lasts."""

    def look() -> tuple[int, int]:
        state = fetch(f"http://127.0.0.1:{port}/sim/state")
        assert isinstance(state, dict)
        return int(str(state["ticks"])), answered(port, metrics_port)

    ticks_before, answers_before = look()
    time.sleep(SWEEP_S)
    ticks, answers = look()
    return answers - answers_before < (1 - MISSED_SHARE_MAX) * (ticks - ticks_before)


def set_speed(port: int, speed: float) -> None:
    request = Request(f"http://127.0.0.1:{port}/sim/tape", msgspec.json.encode({"speed": speed}), method="POST")
    with urlopen(request, timeout=5):
        return


def sweep(name: str, run: Callable[[int, Path], contextlib.AbstractContextManager[int | None]], folder: Path) -> None:
    """Raise the rate until it is too much; the venue plays its tape faster, nothing is started anew."""
    first = SWEEP_RATES[0]
    with venue(first, folder) as port, run(port, folder) as metrics_port:
        for rate_per_s in SWEEP_RATES:
            set_speed(port, rate_per_s / first)
            time.sleep(1.0)
            if falls_behind(port, metrics_port):
                print(f"  {name:<28} falls behind at {rate_per_s}/s", flush=True)
                return
    print(f"  {name:<28} keeps up with {SWEEP_RATES[-1]}/s", flush=True)


@contextlib.contextmanager
def processor_awake() -> Iterator[bool]:
    """Hold the processor out of deep idle states for floor and tree alike, where that is permitted."""
    try:
        descriptor = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
    except OSError:
        yield False
        return
    os.write(descriptor, (0).to_bytes(4, "little"))
    try:
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def real_time(wanted: bool) -> Iterator[bool]:
    """Schedule this process and all that it starts before the host's other programs, where that is permitted."""
    try:
        if wanted:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(HOST_PRIORITY))
    except PermissionError:
        wanted = False
    try:
        yield wanted
    finally:
        if wanted:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def main() -> None:
    """Run the rounds and print the figures, microseconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--rate", type=float, default=50.0)
    options.add_argument("--no-sweep", action="store_true")
    options.add_argument("--shared", action="store_true", help="share the processors with other programs evenly")
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="bench-"))
    with processor_awake() as awake:
        with real_time(not chosen.shared) as first:
            held = ("deep idle off" if awake else "deep idle on", "real-time" if first else "shared processors")
            print(f"tick to order at the venue, {chosen.rate:g} ticks/s, microseconds; {', '.join(held)}")
            latency(chosen.rounds, chosen.seconds, chosen.rate, folder)
        if not chosen.no_sweep:
            print("rate that is too much")
            sweep("floor", floor_without_metrics, folder)
            sweep("tree", tree, folder)


def latency(rounds: int, seconds: float, rate_per_s: float, folder: Path) -> None:
    """Measure floor and tree by turns and print both, and the medians of their ratios."""
    floors: list[Samples] = []
    trees: list[Samples] = []
    print(f"  {'':<28}{'samples':>8} {'p50':>9} {'p99':>9} {'p99.9':>9}")
    for number in range(1, rounds + 1):
        with venue(rate_per_s, folder) as port, floor(port, folder):
            floors.append(latencies_us(port, FLOOR_OPS, seconds))
        print(row(f"floor, round {number}", floors[-1]), flush=True)
        with venue(rate_per_s, folder) as port, tree(port, folder):
            trees.append(latencies_us(port, ORDER_OPS, seconds))
        print(row(f"tree, round {number}", trees[-1]), flush=True)
    for part, name in ((0.5, "p50"), (0.99, "p99")):
        ratio = statistics.median(
            share(tree_samples, part) / share(floor_samples, part)
            for tree_samples, floor_samples in zip(trees, floors, strict=True)
        )
        print(f"  tree / floor, {name}, median of rounds: {ratio:.2f}")


@contextlib.contextmanager
def floor_without_metrics(port: int, folder: Path) -> Iterator[None]:
    """Run the floor for the sweep, where its far end is counted at the venue."""
    with floor(port, folder):
        yield None


if __name__ == "__main__":
    main()

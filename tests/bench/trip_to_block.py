"""From a trip to the last order that adds risk on the wire, and from an operator's command to its acknowledgement.

Trip: an executor that gets more intents than it can send is tripped at random moments by the board word, the file and
the command; the venue says when the last order arrived. The floor is a process that sends as fast as it is answered
while a mapped word is clear. Acknowledgement: ``grinder override`` and ``grinder kill`` on a whole tree, as they say it
themselves and as long as the command took, beside a process that only looks at a word with the tree's period and an
interpreter that only starts. Counted are the trips at which an order was on its way. Nothing is
asserted.

    python -m tests.bench.trip_to_block [--trips 200] [--rounds 20]
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from grinder.adapters.latch import LATCH_FILE, LatchFile
from tests.bench.tick_to_order import (
    FLOOR_OPS,
    Samples,
    processor_awake,
    real_time,
    requests_of,
    row,
    share,
    started,
    venue,
    wait_until,
)
from tests.bench.trip_floor import ACK, WORD, mapped
from tests.smoke.trees import PROJECT, TreeUnderTest
from tests.smoke.venues import OwnVenue
from tests.soak.rig import UNLIMITED
from tests.soak.trip_judge import Verdict, Way
from tests.soak.trip_rig import HONEST

SEED = 5
TICKS_PER_S = 1.0
HOLD_S = 0.03
BETWEEN_S = (0.0, 0.06)
POLL_S = 0.001
READY_S = 60.0
TOOK = re.compile(r"(?:in|after) (\d+) ms")
"""How long a process took, in the words of the command."""


@contextlib.contextmanager
def bare(role: str, url: str, folder: Path) -> Iterator[memoryview]:
    """Run one bare floor; yields its words."""
    path = folder / f"{role}.words"
    words = mapped(path)
    with started("tests.bench.trip_floor", role, str(path), url, log=folder / f"{role}.out"):
        yield words


def floor_block(trips: int, folder: Path) -> Samples:
    """Return, for each trip at which a request was on its way, the time to its arrival, microseconds."""
    random = Random(SEED)
    periods: list[tuple[int, int]] = []
    with venue(TICKS_PER_S, folder) as port, bare("sender", f"ws://127.0.0.1:{port}/ws-fapi/v1", folder) as words:
        wait_until(lambda: len(requests_of(port, FLOOR_OPS)) > 5, "bare sender")
        for _ in range(trips):
            time.sleep(random.uniform(*BETWEEN_S))
            began = time.monotonic_ns()
            words[WORD] = 1
            time.sleep(HOLD_S)
            periods.append((began, time.monotonic_ns()))
            words[WORD] = 0
        arrived = sorted(int(str(each["mono_ns"])) for each in requests_of(port, FLOOR_OPS))
    after = ([each for each in arrived if began < each < ended] for began, ended in periods)
    return [(late[-1] - began) / 1_000 for late, (began, _) in zip(after, periods, strict=True) if late]


def floor_ack(rounds: int, folder: Path) -> Samples:
    """Return how long the bare looker took to acknowledge, microseconds."""
    random = Random(SEED)
    samples = []
    with bare("looker", "", folder) as words:
        for number in range(1, rounds + 1):
            time.sleep(random.uniform(*BETWEEN_S))
            began = time.monotonic_ns()
            words[WORD] = number
            while words[ACK] != number:
                time.sleep(POLL_S)
            samples.append((time.monotonic_ns() - began) / 1_000)
    return samples


def tripped(trips: int) -> Verdict:
    """Trip an executor under more risk than it can send, and return what the venue counted."""
    command = [sys.executable, "-m", "tests.soak.trip_rig", str(SEED), str(trips), HONEST, "full"]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Verdict)


class Acts:
    """An operator's commands on one tree: what they said of each process, and how long each took, microseconds."""

    def __init__(self, tree: TreeUnderTest) -> None:
        self._tree = tree
        self.acks: dict[str, Samples] = {}
        self.whole: dict[str, Samples] = {}

    def do(self, *words: str, counted: bool = True) -> int:
        """Run one command; return its exit code."""
        began = time.perf_counter_ns()
        done = subprocess.run(
            [sys.executable, "-m", "grinder.cli", *words],
            cwd=PROJECT,
            env=self._tree.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        took_us = (time.perf_counter_ns() - began) / 1_000
        said = [float(each) * 1_000 for each in TOOK.findall(done.stdout)]
        if counted and done.returncode == 0 and said:
            self.acks.setdefault(words[0], []).append(max(said))
            self.whole.setdefault(words[0], []).append(took_us)
        return done.returncode

    def until_done(self, *words: str) -> None:
        """Repeat a command until it is not refused any more."""
        wait_until(lambda: self.do(*words, counted=False) == 0, " ".join(words))

    def round(self) -> None:
        """Pause and go on, then kill, reset and go on."""
        self.do("override", "PAUSE")
        self.until_done("override", "NONE", "--ack")
        self.do("kill", "--reason", "bench")
        file = LatchFile(self._tree.root / "state" / LATCH_FILE)
        self.until_done("reset", "--ack", file.peek(first_start=False).trip_id)
        self.until_done("resume", "--ack")


def acknowledged(rounds: int) -> Acts:
    """Let an operator act on a whole tree that trades, at a venue that never has enough of its exits."""
    market = OwnVenue("--weight-limit-1m", UNLIMITED, "--order-limit-10s", UNLIMITED, "--order-limit-1m", UNLIMITED)
    tree = TreeUnderTest(**market.environment(), GRINDER_FSM_COOLDOWN_MS="1000", GRINDER_ACCOUNT_SYNC_INTERVAL_MS="700")
    acts = Acts(tree)
    try:
        tree.door = tree.front_door()
        wait_until(tree.ready, "tree")
        for _ in range(rounds):
            acts.round()
    finally:
        tree.remove()
        market.close()
    return acts


def interpreter(rounds: int) -> Samples:
    """Return how long an interpreter takes to start and end, microseconds."""
    samples = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        samples.append((time.perf_counter_ns() - began) / 1_000)
    return samples


def compare(name: str, measured: Samples, floor: Samples) -> None:
    """Print one measurement beside its floor."""
    ratios = ", ".join(f"{share(measured, part) / share(floor, part):.1f}" for part in (0.5, 0.99))
    print(f"{row(name, measured)}   / floor, p50, p99: {ratios}", flush=True)


def main() -> None:
    """Print the figures, microseconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trips", type=int, default=200)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--shared", action="store_true", help="share the processors with other programs evenly")
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="bench-"))
    with processor_awake(), real_time(not chosen.shared):
        print("from a trip to the last order that adds risk, at the venue, microseconds")
        print(f"  {'':<28}{'samples':>8} {'p50':>9} {'p99':>9} {'p99.9':>9}")
        floor = floor_block(chosen.trips, folder)
        print(row(f"bare sender, of {chosen.trips}", floor), flush=True)
        verdict = tripped(chosen.trips)
        for way in Way:
            compare(f"{way}, of {verdict.trips[way]}", verdict.block_us[way], floor)
        print("from an operator's command to its acknowledgement by fsm and executor, microseconds")
        looked = floor_ack(chosen.rounds * 5, folder)
        print(row("bare look every 50 ms", looked), flush=True)
        acts = acknowledged(chosen.rounds)
        for name, samples in acts.acks.items():
            compare(f"grinder {name}, word to ack", samples, looked)
        starts = interpreter(chosen.rounds)
        print(row("interpreter alone", starts))
        for name, samples in acts.whole.items():
            compare(f"grinder {name}, whole", samples, starts)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()

"""One real executor under a flood of risk, tripped again and again: no program starts for a trip, only for the rig.

    python -m tests.soak.trip_rig SEED TRIPS LIE PACE

The venue, ``procs.executor``, ``procs.syncer`` and the flood are processes of their own; this one is the operator. It
trips at random moments in every way there is, waits until the executor has latched, and resets as ``grinder reset``
does. At the end it prints the verdict as JSON. LIE: a dishonest executor instead, or ``none``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from grinder.adapters.audit import this_operator
from grinder.adapters.board import StateBoard, attach_process, attach_reader
from grinder.adapters.clock import SystemClock
from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.cli import main as grinder
from grinder.cli.acts import Scene, scene
from grinder.cli.kill import trip_now
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.control import TRIP_CODES, Exit, Process, TripReason
from tests.smoke.conditions import wait_for
from tests.smoke.venues import PROJECT, OwnVenue
from tests.soak.flood import Sent
from tests.soak.rig import VENUE_OPTIONS, environment_of
from tests.soak.trip_judge import Trip, Verdict, Way, arrivals_of, judge

HONEST = "none"
WAYS = (Way.WORD, Way.COMMAND, Way.WORD, Way.FILE)
"""By turns; each at a random moment."""

WORDS = {Word.TRIP_OPERATOR: None, Word.TRIP_FEED: Process.FEED, Word.TRIP_METRICS: Process.METRICS}
"""Trip words that are set directly, and who sets them: processes of which this rig runs none that could clear them."""

READY_S_MAX = 60.0
FLOWS_S_MAX = 20.0
LATCHED_S_MAX = 10.0
POLL_S = 0.001
BEFORE_S, HOLD_S = (0.0, 0.06), (0.0, 0.03)
LONG_HOLD_S, LONG_HOLD_EVERY_TRIPS = 0.6, 9
"""Most trips are reset soon after the executor has latched; some hold for long, for what is slow to come."""

FLOWING_ORDERS = 3
ROWS_EVERY_TRIPS = 200
"""How often the venue's list of requests is fetched, trips: it is long, and the venue answers nobody meanwhile."""


class TripRig:
    """The processes, and the operator's hands on them."""

    def __init__(self, seed: int, lie: str, pace: str) -> None:
        self.random = Random(seed)
        self.root = Path(tempfile.mkdtemp(dir="/tmp", prefix="trip-"))
        for name in ("run", "state"):
            (self.root / name).mkdir(mode=0o700)
        self.venue = OwnVenue("--seed", str(seed), *VENUE_OPTIONS)
        environ = environment_of(self.root, self.venue)
        os.environ.update(environ)
        self._environ = environ
        self._output = (self.root / "output").open("ab")
        executor = ("procs.executor",) if lie == HONEST else ("tests.soak.trip_ports", lie)
        run_dir = self.root / "run"
        self._programs = [self._start(*executor), self._start("procs.syncer")]
        self._flood = self._start(
            "tests.soak.flood", str(run_dir), str(self.venue.port), str(seed), pace, stdout=subprocess.PIPE
        )
        self.clock = SystemClock()
        wait_for((run_dir / "board").exists, "a board", READY_S_MAX)
        self._boards = [self._attach(writer) for writer in WORDS.values() if writer is not None]
        self.board = attach_reader(run_dir)
        self.where: Scene = scene()
        self.rows: list[dict[str, object]] = []

    def _start(self, *module: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=PROJECT,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=stdout or self._output,
            stderr=self._output,
        )

    def _attach(self, writer: Process) -> StateBoard:
        return attach_process(self.root / "run", writer, ())

    def trips(self, count: int) -> list[Trip]:
        """Trip and reset so many times, each when risk flows again."""
        self._until_risk_flows(READY_S_MAX)
        made = []
        for number in range(count):
            time.sleep(self.random.uniform(*BEFORE_S))
            long = number % LONG_HOLD_EVERY_TRIPS == 0
            made.append(self._trip(WAYS[number % len(WAYS)], LONG_HOLD_S if long else self.random.uniform(*HOLD_S)))
            self._reset()
            if number % ROWS_EVERY_TRIPS == 0:
                self._fetch_rows()
            self._until_risk_flows(FLOWS_S_MAX)
        return made

    def _trip(self, way: Way, hold_s: float) -> Trip:
        began = self.clock.mono_ns()
        if way is Way.WORD:
            self._trip_word()
        elif way is Way.COMMAND:
            trip_now(self.where, "drill")
        else:
            self.where.latch.trip(TripReason.MANUAL, this_operator().text, "drill", self.clock.utc_ms())
        written = self.clock.mono_ns()
        self._until(lambda: self.board.read(Word.TRIP_EXECUTOR) != 0, f"latched after {way}")
        latched = self.clock.mono_ns()
        time.sleep(hold_s)
        if way is Way.FILE:
            return Trip(way, written, latched, latched, self.clock.mono_ns())
        return Trip(way, began, written, latched, self.clock.mono_ns())

    def _trip_word(self) -> None:
        code = TRIP_CODES[TripReason.MANUAL]
        writer = self.random.choice([None, *self._boards])
        if writer is None:
            with self.where.board() as (board, problem):
                assert board is not None, problem
                board.write(Word.TRIP_OPERATOR, code)
        else:
            writer.write(Word.TRIP_FEED if writer is self._boards[0] else Word.TRIP_METRICS, code)

    def _reset(self) -> None:
        """Clear the switch as an operator does; what the command prints goes where the programs' words go."""
        trip_id = LatchFile(self.root / "state" / LATCH_FILE).peek(first_start=False).trip_id
        with (self.root / "said").open("w+") as said, contextlib.redirect_stdout(said):
            code = grinder(["reset", "--ack", trip_id])
            said.seek(0)
            assert code == Exit.OK, said.read()
        assert not any(self.board.read_all(TRIP_WORDS))

    def _until_risk_flows(self, bound_s: float) -> None:
        wanted = self._placed() + FLOWING_ORDERS
        self._until(lambda: self._placed() >= wanted, "orders in the market", bound_s, every_s=0.01)

    def _placed(self) -> int:
        return self.venue.counts()["placed"]

    def _until(
        self, condition: Callable[[], bool], what: str, bound_s: float = LATCHED_S_MAX, every_s: float = POLL_S
    ) -> None:
        wait_for(condition, f"{what}; see {self.root}", bound_s, every_s=every_s)

    def _fetch_rows(self) -> None:
        since = self.rows[-1]["seq"] if self.rows else 0
        self.rows += self.venue.requests(since)

    def sent(self) -> Sent:
        """End the flood and return what it asked for."""
        said, _ = self._flood.communicate(timeout=30)
        return msgspec.json.decode(said, type=Sent)

    def verdict(self, made: list[Trip]) -> Verdict:
        """End the flood and judge."""
        sent = self.sent()
        self._fetch_rows()
        assert len(self.rows) == self.rows[-1]["seq"], "requests were forgotten before they were fetched"
        return judge(made, arrivals_of(self.rows, sent))

    def close(self) -> None:
        """End everything and remove what it wrote."""
        for program in (*self._programs, self._flood):
            program.kill()
            program.communicate()
        for board in (*self._boards, self.board):
            board.close()
        self.venue.close()
        self._output.close()


def main(seed: int, trips: int, lie: str, pace: str) -> None:
    rig = TripRig(seed, lie, pace)
    try:
        verdict = rig.verdict(rig.trips(trips))
    finally:
        rig.close()
    shutil.rmtree(rig.root)
    sys.stdout.buffer.write(msgspec.json.encode(verdict))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])

"""One venue, one executor and one syncer as real processes, one load; whatever dies is started again at once.

Nothing supervises here but the rig itself, so that a death costs no more than the start that follows it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from grinder.adapters.parent import PARENT_VARIABLE
from grinder.model.control import Process
from grinder.settings.variable import JournalSync
from tests.smoke.venues import OwnVenue
from tests.soak.faults import stir, switch_on
from tests.soak.load import PREFIX, SYMBOL, Load
from tests.soak.mortal_ports import keep_files
from tests.soak.mortals import BROKEN_VARIABLE, archive_of
from tests.soak.nursery import Child, Nursery
from tests.soak.steps import STEP_VARIABLE

PROJECT = Path(__file__).parent.parent.parent
PAUSE_S = 0.004
STIR_S = 1.5
STOP_S_MAX = 25.0
UNLIMITED = "1000000000"
VENUE_OPTIONS = (
    *("--symbols", SYMBOL, "--updates-per-s", "10", "--volatility-bps", "6", "--wallet", "1000000"),
    *("--weight-limit-1m", UNLIMITED, "--order-limit-10s", UNLIMITED, "--order-limit-1m", UNLIMITED),
)
SYNC_VARIABLE = "GRINDER_JOURNAL_SYNC"
MORTALS = (Process.EXECUTOR, Process.SYNCER)


class DiedByItselfError(AssertionError):
    """A process ended that nobody had killed."""


def environment_of(root: Path, venue: OwnVenue) -> dict[str, str]:
    """Return the settings of programs that keep everything below ``root`` and trade without a bound at this venue."""
    return {
        "PATH": os.environ["PATH"],
        "GRINDER_TRADING_MODE": "paper",
        "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW",
        "GRINDER_MAX_ORDERS_ACK": "YES_I_ACCEPT_MULTI_ORDER",
        "GRINDER_ARMED": "1",
        "GRINDER_SYMBOLS": SYMBOL,
        "GRINDER_FSM_ENABLED": "1",
        "GRINDER_ACCOUNT_SYNC_ENABLED": "1",
        "GRINDER_ACCOUNT_SYNC_INTERVAL_MS": "600",
        "GRINDER_MAX_NOTIONAL_PER_ORDER": "1000000",
        "GRINDER_MAX_ORDERS_PER_RUN": "1000000",
        "GRINDER_ORDER_PREFIX": PREFIX,
        "GRINDER_CRASH_LOOP_STARTS": "0",
        "GRINDER_RUN_DIR": str(root / "run"),
        "GRINDER_STATE_DIR": str(root / "state"),
        "GRINDER_LOG_DIR": str(root / "log"),
        "GRINDER_ARTIFACT_DIR": str(root / "artifacts"),
        PARENT_VARIABLE: str(os.getpid()),
        **venue.environment(),
    }


class Rig:
    """``seed``: of load and faults. ``broken``: a dishonest port for the executor, for the proof of the checks."""

    def __init__(self, seed: int, *, broken: str = "") -> None:
        self.random = Random(seed)
        self._syncs = Random(f"syncs {seed}")
        self.synced: Counter[JournalSync] = Counter()
        self.broken = broken
        self.root = Path(tempfile.mkdtemp(dir="/tmp", prefix="kill-"))
        self.run_dir = self.root / "run"
        self.state_dir = self.root / "state"
        self.venue = OwnVenue("--seed", str(seed), *VENUE_OPTIONS)
        self._environ = {**environment_of(self.root, self.venue), BROKEN_VARIABLE: broken}
        for directory in (self.run_dir, self.state_dir):
            directory.mkdir(mode=0o700)
        self.load = Load(self.run_dir, self.venue, self.random)
        self.programs: dict[Process, Child | subprocess.Popen[bytes]] = {}
        self._nursery = Nursery(self.root / "output")
        self._output = (self.root / "output").open("ab")
        self._stir_due_s = 0.0
        self._unkept = False
        self.faulty = False

    def start(self, program: Process, plan: str = "", *, mortal: bool = True) -> None:
        """Start a program; ``plan``: step at which it shall die, or nothing; not ``mortal``: production's own."""
        if program is Process.EXECUTOR:
            self._keep_files()
            # Only the mortal one keeps what it drops.
            self._unkept = not mortal
        environ = {**self._environ, STEP_VARIABLE: plan, SYNC_VARIABLE: self._sync_of(program)}
        if mortal:
            self.programs[program] = self._nursery.start(program, environ)
        else:
            self.programs[program] = subprocess.Popen(
                [sys.executable, "-m", f"procs.{program.value}"],
                cwd=PROJECT,
                env=environ,
                stdout=self._output,
                stderr=self._output,
            )

    def kill(self, program: Process) -> None:
        """kill -9."""
        process = self.programs.pop(program)
        process.kill()
        process.wait()

    def died(self, program: Process) -> bool:
        """Tell whether a program that was started has been killed by its own step, and forget it then.

        Raises:
            DiedByItselfError: if it ended in any other way.
        """
        process = self.programs[program]
        code = process.poll()
        if code is None:
            return False
        del self.programs[program]
        if code != -signal.SIGKILL:
            raise DiedByItselfError(f"{program} ended with {code}; see {self.root}: {self.said()[-2_000:]}")
        return True

    def trouble(self) -> None:
        """Switch all faults on."""
        self.faulty = True
        switch_on(self.venue)

    def calm(self) -> None:
        """Switch all faults off."""
        self.faulty = False
        self.venue.delete("faults")

    def step(self) -> None:
        """Move the load on, and trouble the streams now and then."""
        self.load.step()
        if self._unkept:
            self._keep_files()
        if self.faulty and time.monotonic() >= self._stir_due_s:
            self._stir_due_s = time.monotonic() + STIR_S
            stir(self.venue, self.random)
        time.sleep(PAUSE_S)

    def _sync_of(self, program: Process) -> JournalSync:
        """Return how a life forces its journal to the disk: each life of the executor draws anew."""
        if program is not Process.EXECUTOR:
            return JournalSync.GROUP
        sync = self._syncs.choice(list(JournalSync))
        self.synced[sync] += 1
        return sync

    def _keep_files(self) -> None:
        keep_files(self.state_dir / "journal", archive_of(self.state_dir))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Go on for so long, or until a condition holds; return whether it does."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            if until():
                return True
            self.step()
        return until()

    def stop(self, program: Process) -> int:
        """Stop a program in order; return its exit code, or -9 if it had to be killed."""
        process = self.programs[program]
        process.send_signal(signal.SIGTERM)
        self.run(STOP_S_MAX, lambda: process.poll() is not None)
        if process.poll() is None:
            process.kill()
        del self.programs[program]
        return process.wait()

    def said(self) -> str:
        """Return what the programs wrote to their outputs."""
        self._output.flush()
        return (self.root / "output").read_text(errors="replace")

    def close(self, *, keep: bool = False) -> None:
        """End everything; ``keep``: leave the directories for whoever wants to look."""
        for program in tuple(self.programs):
            self.kill(program)
        self._nursery.close()
        self.load.close()
        self.venue.close()
        self._output.close()
        if not keep:
            shutil.rmtree(self.root)

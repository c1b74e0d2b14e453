"""A whole tree of its own for a test: front door, supervisord and the real processes, on free ports, on paper."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec

from grinder.adapters.board import attach_reader
from grinder.adapters.lock import require_free
from grinder.adapters.parent import end_with_parent
from grinder.adapters.supervisor_client import Program, SupervisorClient, SupervisorError
from grinder.model.board import Word
from grinder.model.control import FsmState
from tests.free_ports import free_ports
from tests.smoke.conditions import CLUES, PATIENCE_S, wait_for
from tests.smoke.standing import not_running
from tests.smoke.venues import ANSWER_S, VenueView

PROJECT = Path(__file__).parent.parent.parent
PROGRAMS = ("venue", "metrics", "feed", "syncer", "fsm", "executor")
START_S = 120.0
"""Most that a test waits for a tree to start, seconds: a host may be busy with other tests."""


class TreeUnderTest:
    """Directories and environment of one tree; ``start`` may be called again after it ended. A killed
    test takes it along, in order.

    Keywords are settings that differ from those of `make run`. ``programs``: those that shall run.
    """

    def __init__(self, **changes: str) -> None:
        self.root = Path(tempfile.mkdtemp(dir="/tmp"))
        self.run_dir = self.root / "run"
        metrics_port, sim_port = free_ports(2)
        self.metrics_port = metrics_port
        paper = (line.split("=", 1) for line in (PROJECT / "conf" / "env" / "paper.env").read_text().splitlines())
        self.environ = {
            **dict(pair for pair in paper if len(pair) == 2 and not pair[0].startswith("#")),
            "PATH": os.environ["PATH"],
            "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW",
            "GRINDER_MAX_ORDERS_ACK": "YES_I_ACCEPT_MULTI_ORDER",
            "GRINDER_RUN_DIR": str(self.run_dir),
            "GRINDER_STATE_DIR": str(self.root / "state"),
            "GRINDER_LOG_DIR": str(self.root / "log"),
            "GRINDER_ARTIFACT_DIR": str(self.root / "artifacts"),
            "GRINDER_METRICS_PORT": str(metrics_port),
            "GRINDER_SIM_PORT": str(sim_port),
            **changes,
        }
        self.venue = VenueView(sim_port)
        self.programs = set(PROGRAMS)
        self.client = SupervisorClient(self.run_dir)
        self.door: subprocess.Popen[str] | None = None

    def front_door(self, *flags: str) -> subprocess.Popen[str]:
        """Start run_trading and return it."""
        return subprocess.Popen(
            [sys.executable, "-m", "procs.run_trading", *flags],
            cwd=PROJECT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=end_with_parent,
        )

    def start(self, *flags: str) -> subprocess.Popen[str]:
        """Start the tree and wait until every program of ``programs`` runs; where one does not, end it and say why."""
        self.door = self.front_door(*flags)
        try:
            wait_for(self._started, "every program RUNNING", START_S)
        except AssertionError as error:
            raise AssertionError(self._account()) from error
        CLUES.append(self.status_line)
        return self.door

    def status_line(self) -> str:
        """Return what `grinder status` says of this tree, and which program does not run, in one line."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "grinder.cli", "status"],
                cwd=PROJECT,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=ANSWER_S,
                check=False,
            )
            said = " | ".join(done.stdout.splitlines())
        except subprocess.TimeoutExpired:
            said = "grinder status says nothing"
        return f"{self.run_dir}: {not_running(self.run_dir, self.root / 'log')} | {said}"

    def states(self) -> dict[str, str]:
        """Return the state of each program; empty while supervisord does not answer."""
        return {program.name: program.state for program in self._programs()}

    def running(self) -> set[str]:
        """Return the programs that run."""
        return {name for name, state in self.states().items() if state == "RUNNING"}

    def pids(self) -> dict[str, int]:
        """Return the pid of each program, 0 while it does not run; wait for supervisord's answer."""
        return {program.name: program.pid for program in wait_for(self.client.programs, "supervisord answers")}

    def pid(self, name: str) -> int:
        """Return the pid of a program; wait until it runs."""
        return wait_for(lambda: self.pids()[name], f"{name} runs")

    def kill(self, name: str) -> int:
        """Kill a program the hard way; return the pid that it had."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def word(self, word: Word) -> int:
        """Return a word of the tree's board."""
        board = attach_reader(self.run_dir)
        try:
            return board.read(word)
        finally:
            board.close()

    def answers(self) -> bool:
        """Tell whether the metrics process answers."""
        try:
            return bool(self.status())
        except OSError:
            return False

    def ready(self) -> bool:
        """Tell whether /readyz answers 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=ANSWER_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def state(self) -> FsmState | None:
        """Return the state of the loop, None before it has one."""
        number = self.word(Word.FSM_STATE)
        return list(FsmState)[number - 1] if number else None

    def count(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series that carry these labels."""
        with urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=ANSWER_S) as answer:
            lines = answer.read().decode().splitlines()
        series = (line.rsplit(" ", 1) for line in lines if re.match(rf"{name}[{{ ]", line))
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(value) for key, value in series if all(word in key for word in wanted))

    def status(self) -> dict[str, Any]:
        """Return what the status page shows."""
        with urlopen(f"http://127.0.0.1:{self.metrics_port}/status.json", timeout=ANSWER_S) as answer:
            return dict(msgspec.json.decode(answer.read()))

    def ctl(self, *words: str) -> str:
        """Run supervisorctl as an operator does, and return what it prints."""
        command = [str(Path(sys.executable).parent / "supervisorctl"), "-s", f"unix://{self.run_dir}/supervisor.sock"]
        return subprocess.run(
            [*command, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        ).stdout

    def supervisor_log(self, pattern: str) -> list[str]:
        """Return what the groups of a pattern matched in supervisord's log, in order."""
        return re.findall(pattern, (self.root / "log" / "supervisord.log").read_text())

    def supervisor_pid(self) -> int:
        """Return the pid of supervisord; wait until it is written."""
        return int(wait_for((self.run_dir / "supervisord.pid").read_text, "supervisord's pid"))

    def close(self) -> str:
        """End whatever still lives, and return what the front door printed."""
        said = ""
        if self.status_line in CLUES:
            CLUES.remove(self.status_line)
        if self.door is not None:
            if self.door.poll() is None:
                self.door.send_signal(signal.SIGTERM)
            try:
                said, _ = self.door.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.door.kill()
                said, _ = self.door.communicate()
            self.door = None
        return said

    def remove(self) -> None:
        """Close, wait for those that end by themselves after their supervisord, and remove the directories."""
        self.close()
        wait_for(self._over, "nothing of the tree is left")
        shutil.rmtree(self.root)

    def _over(self) -> bool:
        for slot in self.run_dir.glob("*.lock"):
            require_free(slot, slot.name)
        return True

    def _started(self) -> bool:
        assert self.door is not None
        assert self.door.poll() is None, "the front door ended"
        return self.running() == self.programs

    def _account(self) -> str:
        """End a tree that did not start; return what is known of it, what tells most on the first line."""
        assert self.door is not None
        states, code = self.states(), self.door.poll()
        said = self.close()
        logs = {path.name: path.read_text(errors="replace").splitlines() for path in (self.root / "log").glob("*.*")}
        lame: dict[str, tuple[object, list[str]]]
        lame = {name: (state, logs.get(f"{name}.out", [])[-1:]) for name, state in states.items() if state != "RUNNING"}
        lame = lame or {"supervisord": (states or "no answer", logs.get("supervisord.log", [])[-1:])}
        first = f"the tree did not start: front door {code} {said.splitlines()[-1:]}, not running {lame}"
        return "\n".join([first, said, *(f"{name}: {line}" for name, lines in logs.items() for line in lines[-20:])])

    def _programs(self) -> tuple[Program, ...]:
        try:
            return self.client.programs()
        except SupervisorError:
            return ()


def alive(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"

"""Starts mortals at the price of a fork: it has imported everything once, and each child goes on from there.

    python -m tests.soak.nursery OUTPUT MODULE

MODULE has a function ``live`` that takes the program's name and becomes it.

One JSON object per line on standard input asks for a child: ``{"program": ..., "environ": {...}}``. Answers are lines
on standard output: ``started PID``, and ``ended PID CODE`` as soon as a child has ended. Children write to OUTPUT.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from grinder.adapters.parent import PARENT_VARIABLE
from grinder.model.control import Process

MORTALS = "tests.soak.mortals"
LOOK_S = 0.005
PROJECT = Path(__file__).parent.parent.parent


class Wanted(msgspec.Struct):
    """A child to start."""

    program: Process
    environ: dict[str, str]


class Child:
    """A child as its rig sees it; the part of ``subprocess.Popen`` that a rig needs."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid

    def poll(self) -> int | None:
        return self._nursery.ended(self.pid)

    def wait(self) -> int:
        while (code := self.poll()) is None:
            self._nursery.listen(wait_s=1.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks, as its rig sees it."""

    def __init__(self, output: Path, module: str = MORTALS) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.nursery", str(output), module],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._heard = b""
        self._started: list[int] = []
        self._ended: dict[int, int] = {}

    def start(self, program: Process, environ: dict[str, str]) -> Child:
        """Start a child and return it."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(Wanted(program, environ)) + b"\n")
        self._process.stdin.flush()
        while not self._started:
            self.listen(wait_s=1.0)
        return Child(self, self._started.pop())

    def ended(self, pid: int) -> int | None:
        """Return the exit code of a child, None while it lives."""
        self.listen(wait_s=0.0)
        return self._ended.get(pid)

    def listen(self, *, wait_s: float) -> None:
        """Take what the process says."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], wait_s)[0]:
            return
        said = os.read(descriptor, 65_536)
        assert said, "the nursery is gone"
        *lines, self._heard = (self._heard + said).split(b"\n")
        for line in lines:
            word, pid, *code = line.split()
            if word == b"started":
                self._started.append(int(pid))
            else:
                self._ended[int(pid)] = int(code[0])

    def close(self) -> None:
        """End it; its children end with it."""
        self._process.kill()
        self._process.communicate()


def born(wanted: Wanted, output: str, live: Callable[[Process], NoReturn]) -> NoReturn:
    """Become the program that is wanted, in a fresh child, and end with its exit code."""
    os.environ.clear()
    os.environ.update({**wanted.environ, PARENT_VARIABLE: str(os.getppid())})
    sink = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (sink, 1), (sink, 2)):
        os.dup2(source, target)
    code = 2
    try:
        live(wanted.program)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve(output: str, module: str) -> None:
    """Fork for every line that comes, and tell of every child that ends."""
    live = importlib.import_module(module).live
    gc.freeze()
    heard = b""
    while True:
        if select.select([0], [], [], LOOK_S)[0]:
            said = os.read(0, 65_536)
            if not said:
                return
            *lines, heard = (heard + said).split(b"\n")
            for line in lines:
                wanted = msgspec.json.decode(line, type=Wanted)
                pid = os.fork()
                if pid == 0:
                    born(wanted, output, live)
                os.write(1, f"started {pid}\n".encode())
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            continue
        if pid:
            os.write(1, f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    serve(*sys.argv[1:3])

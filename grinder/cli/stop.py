"""``grinder stop``: stop the tree in order, each program waited for, then supervisord itself.

``supervisorctl stop all`` signals everybody at once; here the executor ends first, with everything it may need alive.
Must work with any environment and with dead parts, wait for no disk, and never report success while something runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Final

from grinder.adapters.supervisor_client import SupervisorClient, SupervisorError
from grinder.cli.acts import Scene, exists, scene
from grinder.cli.beside import Beside
from grinder.cli.host import print_json
from grinder.model.control import TREE, Exit, Process
from grinder.model.limits import STOP_EXECUTOR_S_MAX, STOP_S_MAX

ACT = "stop"
STOP_MARGIN_S: Final = 15.0
"""Time over a program's own bound in which supervisord kills it and says so, seconds."""

SHUTDOWN_S_MAX: Final = 60.0
"""Longest wait for supervisord to end after every program has, seconds."""

_LOOK_PERIOD_S: Final = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Stop this host's tree; 0 everything has ended, 1 nothing ran, 2 something could not be stopped."""
    where = scene()
    client = SupervisorClient(where.settings.run_dir)
    try:
        supervisor_pid = client.pid()
    except SupervisorError as error:
        return _report(where, arguments, {}, *_unsupervised(where, error))
    # Recorded beside the stop, and before its end: who stops a tree may be stopped himself.
    begun = Beside(partial(where.audit, ACT, _given(arguments), None, ""))
    stopped: dict[str, str] = {}
    problem = ""
    for process in reversed(Process):
        problem = _stop(client, process, stopped, quiet=arguments.json) or problem
    try:
        client.shutdown()
    except SupervisorError as error:
        problem = problem or str(error)
    if not _ended(client):
        problem = f"supervisord (pid {supervisor_pid}) still answers after {SHUTDOWN_S_MAX:.0f} s"
    begun.value()
    return _report(where, arguments, stopped, problem, Exit.FAILURE if problem else Exit.OK)


def _unsupervised(where: Scene, error: SupervisorError) -> tuple[str, Exit]:
    """Say what there is where supervisord does not answer: nothing, or programs that only a signal reaches."""
    present = [process.value for process in reversed(TREE) if exists(where, process)]
    if not present:
        return f"nothing to stop: {error}", Exit.GATE
    slot = where.settings.run_dir.absolute() / f"{Process.EXECUTOR}.lock"
    hint = f"`kill -TERM $(cat {slot})` stops the executor in order, `grinder kill` all new risk"
    return f"NOT STOPPED: {error}, and {', '.join(present)} may run here; {hint}", Exit.FAILURE


def _stop(client: SupervisorClient, process: Process, stopped: dict[str, str], *, quiet: bool) -> str:
    """Stop one program, note how it went, and return what went wrong."""
    bound_s = STOP_EXECUTOR_S_MAX if process is Process.EXECUTOR else STOP_S_MAX
    began = time.monotonic()
    try:
        was_running = client.stop(process.value, bound_s + STOP_MARGIN_S)
    except SupervisorError as error:
        stopped[process.value] = f"not stopped: {error}"
        return str(error)
    took = f"stopped in {time.monotonic() - began:.1f} s"
    stopped[process.value] = took if was_running else "did not run"
    if not quiet and was_running:
        print(f"{process.value} {took}", flush=True)
    return ""


def _ended(client: SupervisorClient) -> bool:
    """Wait until supervisord no longer answers."""
    deadline = time.monotonic() + SHUTDOWN_S_MAX
    while time.monotonic() < deadline:
        try:
            client.pid()
        except SupervisorError:
            return True
        time.sleep(_LOOK_PERIOD_S)
    return False


def _report(where: Scene, arguments: argparse.Namespace, stopped: dict[str, str], problem: str, code: Exit) -> int:
    ended = problem or "everything has ended"
    if arguments.json:
        print_json({"stopped": stopped, "problem": problem})
    else:
        print(ended, flush=True)
    programs = (f"{program} {how}" for program, how in stopped.items())
    unrecorded = where.audit(ACT, _given(arguments), code, "; ".join((ended, *programs)))
    if unrecorded:
        print(f"note: {unrecorded}", file=sys.stderr)
    return code


def _given(arguments: argparse.Namespace) -> dict[str, str]:
    return {"json": str(arguments.json)}

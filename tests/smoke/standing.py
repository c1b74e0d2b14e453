"""How programs stand that a test waits for in vain, in one line each: a test run may show little more of a failure."""

from __future__ import annotations

from pathlib import Path

from grinder.adapters.supervisor_client import SupervisorClient, SupervisorError

AS_MEANT = ("RUNNING", "STOPPED")
"""States of a program that nobody need tell of: a test stops some, and a venue elsewhere has the tree start none."""


def last_line(path: Path) -> str:
    """Return the last line of a file that is not empty; empty where there is none."""
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def not_running(run_dir: Path, log_dir: Path) -> str:
    """Return which programs of a tree are not as they were meant, each with its state and the last line it wrote."""
    try:
        programs = SupervisorClient(run_dir).programs()
    except SupervisorError as error:
        return f"{error}; {last_line(log_dir / 'supervisord.log')}"
    lame = [program for program in programs if program.state not in AS_MEANT]
    said = (f"{program.name} {program.state} ({last_line(log_dir / f'{program.name}.out')})" for program in lame)
    return ", ".join(said) or "every program runs or was stopped"

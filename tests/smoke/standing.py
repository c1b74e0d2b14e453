"""How programs stand that a test waits for in vain, in one line each: a test run may show little more of a failure."""

from __future__ import annotations

from pathlib import Path

from grinder.adapters.supervisor_client import SupervisorClient, SupervisorError


def last_line(path: Path) -> str:
    """Return the last line of a file that is not empty; empty where there is none."""
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def not_running(run_dir: Path, log_dir: Path) -> str:
    """Return which programs of a tree do not run, each with its state and the last line it wrote."""
    try:
        programs = SupervisorClient(run_dir).programs()
    except SupervisorError as error:
        return f"{error}; {last_line(log_dir / 'supervisord.log')}"
    lame = [program for program in programs if program.state != "RUNNING" and program.name != "venue"]
    said = (f"{program.name} {program.state} ({last_line(log_dir / f'{program.name}.out')})" for program in lame)
    return ", ".join(said) or "every program runs"

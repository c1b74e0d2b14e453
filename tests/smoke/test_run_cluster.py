"""The front door of a cluster refuses in words and leaves nothing running, whatever is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from socket import create_server

import pytest

from grinder.adapters.lock import SlotLock
from grinder.model.control import Exit
from tests.free_ports import free_ports
from tests.smoke.conditions import PATIENCE_S
from tests.smoke.trees import PROJECT

BOUND_S = PATIENCE_S


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it on free ports."""
    page, _, venue, member, _ = free_ports(5)
    ports = ("--metrics-port", str(page), "--venue-port", str(venue), "--etcd-port", str(member))
    return subprocess.run(
        [sys.executable, "-m", "procs.run_cluster", "--folder", str(folder), *ports, "--members", "1", *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


def processes(folder: Path) -> list[str]:
    """Return the command lines that name a folder."""
    return [line for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder) in (line := command_line(path))]


def command_line(path: Path) -> str:
    """Return what a process was started with, nothing of one that has ended meanwhile."""
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_cluster_when_another_one_has_the_folder_then_it_says_so_and_touches_nothing(tmp_path: Path) -> None:
    lock = SlotLock(tmp_path / "cluster.lock", "a cluster")
    (tmp_path / "kept").touch()
    done = run(tmp_path)
    lock.release()
    assert done.returncode == Exit.ALREADY_RUNNING
    assert "a cluster" in done.stderr
    assert (tmp_path / "kept").exists()


def test_cluster_when_a_port_is_taken_then_it_names_it_and_starts_nothing(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(tmp_path, "--venue-port", port)
    assert (done.returncode, port in done.stderr) == (Exit.GATE, True), done.stderr
    assert not list(tmp_path.glob("*.out"))


@pytest.mark.parametrize(("program", "word"), [(None, "No such file"), ("#!/bin/sh\nexit 3\n", "etcd-1 ended")])
def test_cluster_when_etcd_is_absent_or_ends_then_it_says_why_and_nothing_is_left(
    tmp_path: Path, program: str | None, word: str
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    if program is not None:
        (tools / "etcd").write_text(program)
        (tools / "etcd").chmod(0o755)
    folder = tmp_path / "ha"
    done = run(folder, "--etcd", str(tools))
    assert (done.returncode, word in done.stderr, "Traceback" in done.stderr) == (Exit.GATE, True, False), done.stderr
    assert processes(folder) == []

"""The screen of a cluster on a terminal: the table stays in its place, what happened stays above it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from procs._cluster import Cluster
from procs.run_cluster import Screen, parser
from tests.free_ports import free_port


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """Return the lines that a person sees: going up takes away what is below."""
        lines: list[str] = []
        for line in self.getvalue().splitlines():
            back = re.match(r"\x1b\[(\d+)A\x1b\[J", line)
            if back is not None:
                del lines[-int(back.group(1)) :]
            lines.append(line[back.end() :] if back is not None else line)
        return lines


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A cluster of which nothing runs."""
    ports = ("--metrics-port", str(free_port()), "--venue-port", str(free_port()), "--etcd-port", str(free_port()))
    return Cluster(parser().parse_args(["--folder", str(tmp_path), *ports]), tmp_path)


def test_screen_when_nothing_happens_then_one_table_in_its_place(cluster: Cluster) -> None:
    terminal, screen = Terminal(), Screen(cluster)
    with contextlib.redirect_stdout(terminal):
        for _ in range(3):
            screen.show()
            screen.tell()
    head, *nodes, etcd = terminal.screen()
    assert head.startswith("node ")
    assert [line.split()[:2] for line in nodes] == [["node-a", "down"], ["node-b", "down"]]
    assert etcd.startswith("etcd: ")


def test_screen_when_something_happens_then_it_stays_above_a_table_that_begins_anew(cluster: Cluster) -> None:
    terminal, screen = Terminal(), Screen(cluster)
    with contextlib.redirect_stdout(terminal):
        screen.show()
        screen.tell("node-a ended", "node-b ended")
        screen.show()
        screen.show()
    lines = terminal.screen()
    at = lines.index("node-a ended")
    assert lines[at + 1] == "node-b ended"
    assert [line.split()[0] for line in lines[:at]] == [line.split()[0] for line in lines[at + 2 :]]
    assert [line.split()[0] for line in lines[:at]] == ["node", "node-a", "node-b", "etcd:"]


def test_screen_when_the_terminal_changes_its_width_then_nothing_of_the_old_table_is_counted_on(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, screen = Terminal(), Screen(cluster)
    with contextlib.redirect_stdout(terminal):
        for columns in ("150", "40", "40"):
            monkeypatch.setenv("COLUMNS", columns)
            screen.show()
    lines = terminal.screen()
    assert [line.split()[0] for line in lines] == ["node", "node-a", "node-b", "etcd:"] * 2
    assert max(map(len, lines[4:7])) <= 40

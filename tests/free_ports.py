"""TCP ports of loopback for tests that start programs: nobody else's, and kept from other tests while we live."""

from __future__ import annotations

import socket
from random import SystemRandom
from typing import Final

HOST: Final = "127.0.0.1"
LOWEST, HIGHEST = 12_000, 32_000
"""Outgoing connections take theirs above these, so none is taken by chance while the program that has it is down."""

TRIES_MAX: Final = 1000
_random: Final = SystemRandom()
_kept: Final[list[socket.socket]] = []


def free_port() -> int:
    """Return a port that nobody has."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has, one after the other."""
    for _ in range(TRIES_MAX):
        first = _random.randrange(LOWEST, HIGHEST - count)
        ports = list(range(first, first + count))
        if _keep(ports):
            return ports
    raise AssertionError(f"no {count} free ports between {LOWEST} and {HIGHEST}")


def _keep(ports: list[int]) -> bool:
    """Take the ports among tests, by names that the kernel frees with this process; tell whether all were free."""
    marks: list[socket.socket] = []
    for port in ports:
        mark = socket.socket(socket.AF_UNIX)
        marks.append(mark)
        try:
            mark.bind(f"\0grinder-test-port-{port}")
            with socket.socket() as probe:
                probe.bind((HOST, port))
        except OSError:
            for each in marks:
                each.close()
            return False
    _kept.extend(marks)
    return True

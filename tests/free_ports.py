"""TCP ports of loopback for tests that start programs: nobody else's, and kept from other tests while we live."""

from __future__ import annotations

import socket
from random import SystemRandom
from typing import Final

HOST: Final = "127.0.0.1"
LOWEST, HIGHEST = 12_000, 32_000
"""Below those of outgoing connections on most hosts."""

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
    """Take the ports, until this process ends; tell whether all were free."""
    taken: list[socket.socket] = []
    for port in ports:
        mark = socket.socket()
        taken.append(mark)
        try:
            mark.bind((HOST, port))
        except OSError:
            for each in taken:
                each.close()
            return False
        # Taken alone; from here on a server, which binds in this way, may listen there beside us. No test takes it so,
        # and no outgoing connection is given a port that somebody holds.
        mark.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _kept.extend(taken)
    return True

"""The operator of a cluster under faults: clears trips, and keeps what each command of his has really acknowledged."""

from __future__ import annotations

import contextlib
import io
import re

from grinder.cli import main as grinder
from grinder.model.control import Exit
from tests.soak.cluster.hosts import Host
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.verdicts import Acknowledged
from tests.soak.cluster.watcher import Watcher

_STANDING = re.compile(r"trip is (\S+), not")
_ARMED = re.compile(r"armed; acknowledged: (.*?); \d+ of before")
_REFUSED = "REFUSED: "
_NO_TRIP = "no trip"


def standing_in(said: str) -> str:
    """Return which trip a command wants to be named; empty if it does not say."""
    named = _STANDING.search(said)
    return named.group(1) if named else ""


def acknowledged_in(said: str, named: str) -> tuple[str, ...]:
    """Return the trips that a command says it has acknowledged, the named one first.

    None where it was refused, or does not know whether etcd has armed the cluster: then what counts is the permission
    that is found there.
    """
    armed = _ARMED.search(said)
    if armed is None:
        return ()
    return named, *(each for each in armed.group(1).split(", ") if each not in (named, _NO_TRIP))


class Operator:
    """Gives his commands at one host. ``acknowledged``: by command; permissions are seen by the watcher."""

    def __init__(self, host: Host, watcher: Watcher) -> None:
        self._host = host
        self._watcher = watcher
        self.acknowledged: list[Acknowledged] = []

    def reset(self, trip_id: str) -> tuple[bool, str]:
        """Acknowledge a trip; return whether the cluster was cleared, and what the command said."""
        self._watcher.look()
        began, out = now_ns(), io.StringIO()
        with self._host.shell(), contextlib.redirect_stdout(out):
            code = grinder(["reset", "--cluster", "--ack", trip_id])
        said = out.getvalue()
        acks = acknowledged_in(said, trip_id)
        if acks:
            self.acknowledged.append(Acknowledged(began, acks))
        if not said.startswith(_REFUSED):
            self._watcher.look_for_permission()
        return code == Exit.OK, said

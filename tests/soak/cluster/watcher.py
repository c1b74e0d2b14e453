"""Looks at the latches of the hosts and at the keys of the cluster all the time, on a thread of its own.

What it says was so, was so: etcd is read linearizably, and a span in which a key was absent ends with the last look
that found it absent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from grinder.adapters.latch import LatchFile
from grinder.model.units import NS_PER_MS
from tests.soak.cluster.etcd_field import EtcdField, UnansweredError
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.verdicts import Acknowledged, Latched, Span

LOOK_S = 0.02
ETCD_EVERY_LOOKS = 8


class Reign(msgspec.Struct):
    """A leader key as it was seen: whose, its create revision, and from when to when."""

    node: str
    revision: int
    since: int
    until: int


class Watcher:
    """What it has seen so far. ``latches``: where the latch file of each host is, or will be."""

    def __init__(self, latches: dict[str, Path], field: EtcdField) -> None:
        self._latches = latches
        self._field = field
        self.latched: list[Latched] = []
        self.disarmed: list[Span] = []
        self.reigns: list[Reign] = []
        self.acks: dict[str, Acknowledged] = {}
        self._held: dict[str, str | None] = dict.fromkeys(latches)
        self._absent = False
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def look(self) -> tuple[str, ...]:
        """Look at the latch files now; return the trips they hold."""
        with self._lock:
            for node, path in self._latches.items():
                if self._held[node] is None and not path.exists():
                    continue
                record = LatchFile(path).peek(first_start=False)
                trip_id = record.trip_id if record.tripped else ""
                if trip_id != self._held[node]:
                    self._held[node] = trip_id
                    self.latched.append(Latched(node, now_ns(), trip_id))
            return tuple(trip_id for trip_id in self._held.values() if trip_id)

    def look_for_permission(self) -> None:
        """Keep what the permission that etcd holds now acknowledges, if it holds one and says so."""
        with suppress(UnansweredError, OSError):
            self._see_permission(self._field.keys())

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        looks = 0
        while not self._ending.wait(LOOK_S):
            self.look()
            looks += 1
            if looks % ETCD_EVERY_LOOKS == 0:
                self._look_into_etcd()

    def _look_into_etcd(self) -> None:
        before = now_ns()
        try:
            keys = self._field.keys()
        except (UnansweredError, OSError):
            self._absent = False
            return
        after = now_ns()
        self._see_permission(keys)
        if "arm" in keys:
            self._absent = False
        elif self._absent:
            self.disarmed[-1] = Span(self.disarmed[-1].since, before)
        else:
            self._absent = True
            self.disarmed.append(Span(after, after))
        if "leader" in keys:
            self._see_leader(keys["leader"], before, after)

    def _see_permission(self, keys: dict[str, dict[str, str]]) -> None:
        """Keep a permission as of when the operator's command made it, which was before anybody could act on it."""
        if "arm" not in keys:
            return
        record = msgspec.json.decode(keys["arm"]["value"])
        made = record["utc_ms"] * NS_PER_MS + now_ns() - time.time_ns()
        self.acks.setdefault(record["arm_id"], Acknowledged(made, tuple(record["acks"])))

    def _see_leader(self, row: dict[str, str], before: int, after: int) -> None:
        node, revision = msgspec.json.decode(row["value"])["node"], int(row["create_revision"])
        last = self.reigns[-1] if self.reigns else None
        if last is not None and (last.node, last.revision) == (node, revision):
            last.until = before
        else:
            self.reigns.append(Reign(node, revision, after, after))


def reigns_by(reigns: Iterable[Reign]) -> dict[str, int]:
    """Return how often each host has led."""
    counts: dict[str, int] = {}
    for reign in reigns:
        counts[reign.node] = counts.get(reign.node, 0) + 1
    return counts

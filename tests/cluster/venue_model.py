"""A venue that cannot know who leads, and the judge that sits there with the truth.

It accepts a command while its timestamp is neither too old for the command's own window nor a second ahead. The judge
looks at what it accepted, at the clocks of the hosts and at the history of etcd, and writes down what must never be.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from grinder.core.lease_state import MARGIN_MS, RISK_WINDOW_MS
from grinder.core.permit import Deed
from tests.cluster.schedule import MS, S

if TYPE_CHECKING:
    from tests.cluster.etcd_model import Etcd
    from tests.cluster.host_model import Host

SLACK_NS = 30 * MS
"""For clocks that run apart over one lease, and for the rounding of windows to milliseconds."""


class Command(msgspec.Struct, frozen=True):
    """As it arrives. ``deadline_boot_ns``: of its permit, by its host's clock; ``switch``: the dead-man's switch."""

    deed: Deed
    term: int
    token: int
    life: int
    stamp_venue_ns: int
    window_ms: int
    deadline_boot_ns: int
    switch: bool


class Venue:
    """``found``: what must never be. ``acknowledged``: trips that the operator has acknowledged, in truth."""

    def __init__(self, etcd: Etcd, ttl_s: int) -> None:
        self.etcd = etcd
        self.ttl_s = ttl_s
        self.hosts: list[Host] = []
        self.found: list[str] = []
        self.counts: Counter[str] = Counter()
        self.newest_term = 0
        self.hosts_of_term: dict[int, tuple[str, int]] = {}
        self.acknowledged: set[str] = set()

    def arrive(self, host: Host, command: Command) -> None:
        """Take a command or refuse it, and judge what was taken."""
        now_ns = self.etcd.schedule.now_ns
        age_ns = now_ns - command.stamp_venue_ns
        if age_ns > command.window_ms * MS or age_ns < -S:
            self.counts["refused"] += 1
            return
        self.counts["switch" if command.switch else command.deed] += 1
        if command.term < self.newest_term and not self._forgotten(self.newest_term):
            self._wrong(f"older_term: {command.deed} of term {command.term} after {self.newest_term}")
        self.newest_term = max(self.newest_term, command.term)
        if self.hosts_of_term.setdefault(command.term, (host.name, command.life)) != (host.name, command.life):
            self._wrong(f"same_term: {host.name} under term {command.term}, another's")
        if host.clock.boot_ns() > command.deadline_boot_ns:
            self._wrong(f"after_deadline: {command.deed} of {host.name}")
        gone_ns = self.etcd.gone_ns.get(command.token)
        if gone_ns is not None and now_ns - gone_ns > self.ttl_s * S - MARGIN_MS * MS + SLACK_NS:
            self._wrong(f"long_deposed: {command.deed} of {host.name}, {(now_ns - gone_ns) // MS} ms")
        forgetful = self.etcd.came_back_ns > 0 and host.loss_boot_ns > 0 and command.life == host.life
        proved_later = command.deadline_boot_ns > host.loss_boot_ns + RISK_WINDOW_MS * MS
        if command.deed is Deed.RISK and forgetful and proved_later and self.etcd.history.tells_otherwise(host.lost):
            self._wrong(f"restored: {host.name} obeys a permission of before etcd lost data")
        unarmed_ns = self.etcd.unarmed_ns
        late_ns = 0 if unarmed_ns is None else now_ns - unarmed_ns - RISK_WINDOW_MS * MS
        if command.deed is Deed.RISK and late_ns > SLACK_NS:
            self._wrong(f"unarmed: {host.name}, {late_ns // MS} ms after the permission must have ended")

    def elected(self, term: int) -> None:
        """Learn that a term begins; that it was another's before, nobody may be left to know."""
        if term in self.hosts_of_term and self._forgotten(term):
            del self.hosts_of_term[term]

    def _forgotten(self, term: int) -> bool:
        """Tell whether a leader cannot know of a term: etcd lost it, and every host that saw it was down at the time.

        Once such a host is back and has told etcd, the leader has until its next read must have ended.
        """
        etcd = self.etcd
        witnessed = any(host.up and host.kept_term >= term and host.began_ns <= etcd.lost_ns for host in self.hosts)
        due_ns = etcd.schedule.now_ns - RISK_WINDOW_MS * MS - SLACK_NS
        told = any(known >= term and since_ns < due_ns for known, since_ns in etcd.told_ns.items())
        forgotten = etcd.lost_ns > 0 and not witnessed and not told
        self.counts["forgotten"] += int(forgotten)
        return forgotten

    def untripped(self, host: Host, trip_id: str) -> None:
        """Judge that a host opened its latch."""
        self.counts["cleared"] += 1
        if trip_id not in self.acknowledged:
            self._wrong(f"untripped: {host.name} gave up {trip_id}")

    def not_tripped(self, host: Host) -> None:
        """Judge that a host is clear after it saw that the permission is gone."""
        self._wrong(f"not_tripped: {host.name}")

    def _wrong(self, what: str) -> None:
        if len(self.found) < 50:
            self.found.append(f"{self.etcd.schedule.now_ns / S:.3f} s {what}")

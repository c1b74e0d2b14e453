"""The table of faults: what can happen to a cluster on this machine, each by its number in the list of failure tests.

A fault strikes, may last, and is lifted. Which host, which member, how long: drawn from the rig's own randomness. One
that did not come about, since etcd did not answer or nobody sent anything, is not counted.

Where a machine does not let tests mount file systems, nobody has a disk of its own, and the faults that want them are
left out (9, 12).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import msgspec

from grinder.model.control import Process
from grinder.model.units import NS_PER_MS
from tests.soak.cluster import strikes_etcd as etcd
from tests.soak.cluster import strikes_hosts as hosts
from tests.soak.cluster.cluster_rig import VENUE_END, ClusterRig
from tests.soak.cluster.etcd_field import end_of
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.strikes_etcd import members
from tests.soak.cluster.strikes_hosts import BRIEF_S, Strike, leader_or_any
from tests.soak.cluster.verdicts import ClockOff, Span
from tests.soak.faults import ACTS, ORDER_FAULTS, QUERY_FAULTS

SHORT_S, LONG_S, TOLD_S, STALL_S = (0.5, 3.0), (2.0, 6.0), (0.5, 4.0), (2.0, 9.0)


class Fault(msgspec.Struct, frozen=True):
    """One row. ``lasts_s``: how long between strike and lift; ``weight``: how often it is drawn beside the others.

    ``number``: in the list of failure tests. ``latches``: hosts are tripped by it, and an operator must clear them.
    ``secure``: only where members want certificates; ``disks``: only where there are small disks. ``quick``: may
    strike while another one lasts.
    """

    name: str
    number: int
    strike: Strike
    lasts_s: tuple[float, float]
    weight: int = 2
    latches: bool = False
    secure: bool = False
    disks: bool = False
    quick: bool = False


@contextmanager
def venue_slow(rig: ClusterRig, random: Random) -> Iterator[None]:
    """What a host sends the venue is late, or waits on the way."""
    node = leader_or_any(rig, random)
    ways = rig.field.ways((end_of(node),), (VENUE_END,), random.choice(["both", "out"]))
    if random.random() < 0.5:
        rig.field.wire.cut(*ways)
    else:
        rig.field.wire.slow(*ways, delay_s=random.uniform(0.05, 0.9))
    yield
    rig.field.wire.heal()


@contextmanager
def cut_off_and_venue_slow(rig: ClusterRig, random: Random) -> Iterator[None]:
    """The leader is cut from etcd while what it sends the venue is late."""
    node = leader_or_any(rig, random)
    rig.field.wire.slow(*rig.field.ways((end_of(node),), (VENUE_END,), "out"), delay_s=random.uniform(0.2, 0.9))
    rig.field.wire.cut(*rig.field.ways((end_of(node),), members(rig)))
    yield
    rig.field.wire.heal()


@contextmanager
def venue_faulty(rig: ClusterRig, random: Random) -> Iterator[None]:
    """The venue errs: outcomes unknown, answers late, connections cut; and a leader may die while it does."""
    for kind, (probability, delay_ms) in ORDER_FAULTS.items():
        rule = {"kind": kind, "op": "order.place", "count": 0, "probability": probability, "delay_ms": delay_ms}
        rig.venue.post("faults", rule)
    for kind, (probability, delay_ms) in QUERY_FAULTS.items():
        rule = {"kind": kind, "op": "orders.open", "count": 0, "probability": probability, "delay_ms": delay_ms}
        rig.venue.post("faults", rule)
    rig.venue.post("faults", random.choice(ACTS[4:]))
    if random.random() < 0.5:
        rig.live(random.uniform(*BRIEF_S))
        rig.hosts[leader_or_any(rig, random)].kill(Process.EXECUTOR)
    yield
    rig.venue.delete("faults")


@contextmanager
def venue_clock_off(rig: ClusterRig, random: Random) -> Iterator[None]:
    """The venue's clock is off, so that it refuses requests for their time (-1021)."""
    ahead_ms, since = random.choice([-1_200, -300, 300, 1_200]), now_ns()
    rig.venue.post("faults", {"kind": "clock_skew", "skew_ms": ahead_ms})
    yield
    rig.venue.delete("faults")
    rig.venue_off.append(ClockOff(Span(since, now_ns()), ahead_ms * NS_PER_MS))


_E = Process.EXECUTOR
TABLE: tuple[Fault, ...] = (
    Fault("executor killed", 1, hosts.killed, BRIEF_S, weight=4, quick=True),
    Fault("host killed", 1, hosts.host_killed, SHORT_S, weight=4, quick=True),
    Fault("both hosts killed", 1, hosts.all_killed, BRIEF_S, weight=1),
    Fault("feeder or syncer killed", 1, hosts.unwell, SHORT_S),
    Fault("executor stopped in order", 2, hosts.stopped, SHORT_S, weight=4, quick=True),
    Fault("executor paused", 3, hosts.paused(_E), LONG_S, weight=4),
    Fault("executor paused briefly", 3, hosts.paused(_E), BRIEF_S),
    Fault("host paused", 3, hosts.paused(), LONG_S, weight=3),
    Fault("syncer or feeder paused", 3, hosts.paused(Process.SYNCER, Process.FSM), SHORT_S, weight=1),
    Fault("paused between look and send", 4, hosts.paused_at_send, LONG_S, weight=5, quick=True),
    Fault("host cut from etcd", 5, etcd.cut_off("both"), LONG_S, weight=3),
    Fault("host hears nothing of etcd", 5, etcd.cut_off("in"), LONG_S),
    Fault("etcd hears nothing of host", 5, etcd.cut_off("out"), LONG_S),
    Fault("host cut off with its member", 5, etcd.cut_off("both", with_member=True), LONG_S, weight=3),
    Fault("host and member hear nothing", 5, etcd.cut_off("in", with_member=True), LONG_S, weight=1),
    Fault("host and member are not heard", 5, etcd.cut_off("out", with_member=True), LONG_S, weight=1),
    Fault("etcd leader cut off", 5, etcd.etcd_leader_cut_off, LONG_S),
    Fault("slow or lossy network", 6, etcd.lossy, LONG_S),
    Fault("slow way to the venue", 6, venue_slow, SHORT_S, weight=3),
    Fault("cut off, and slow to the venue", 6, cut_off_and_venue_slow, LONG_S, weight=3),
    Fault("etcd leader killed", 7, etcd.member("kill", leader=True), SHORT_S, weight=3),
    Fault("etcd leader paused", 7, etcd.member("pause", leader=True), SHORT_S, weight=3),
    Fault("quorum lost", 8, etcd.quorum_lost, SHORT_S, weight=3),
    Fault("disk of a member stalls", 9, etcd.disk_stalled, STALL_S, weight=3, disks=True),
    Fault("disk of a member full", 12, etcd.disk_full, LONG_S, weight=3, disks=True),
    Fault("disk of a host full, and a trip", 12, hosts.disk_full, SHORT_S, weight=3, latches=True, disks=True),
    Fault("leader key deleted", 10, etcd.leader_deleted, LONG_S, weight=4, quick=True),
    Fault("arm deleted", 13, etcd.disarmed, BRIEF_S, latches=True),
    Fault("no space in etcd, then a trip", 11, etcd.no_space, TOLD_S, latches=True),
    Fault("trip", 15, hosts.told, TOLD_S, latches=True),
    Fault("trip by a process's word", 15, hosts.told_by_process(latch_broken=False), TOLD_S, latches=True),
    Fault("trip by a word, the latch file broken", 16, hosts.told_by_process(latch_broken=True), TOLD_S, latches=True),
    Fault("member paused, then a trip", 14, hosts.told_with_member_hung, TOLD_S, weight=3, latches=True),
    Fault("etcd wiped", 13, etcd.wiped, BRIEF_S, weight=1, latches=True),
    Fault("etcd restored", 13, etcd.restored, BRIEF_S, weight=1, latches=True),
    Fault("member paused", 14, etcd.member("pause", leader=False), SHORT_S),
    Fault("trip storm", 15, hosts.trip_storm, BRIEF_S, weight=4, latches=True),
    Fault("tripped and started without etcd", 16, etcd.tripped_without_etcd, SHORT_S, weight=1, latches=True),
    Fault("latch file damaged", 16, hosts.latch_damaged, BRIEF_S, weight=1, latches=True),
    Fault("board lost", 16, hosts.board_lost, BRIEF_S, weight=1),
    Fault("wall clock jumped", 17, hosts.clock_jumped, SHORT_S),
    Fault("host suspended", 18, hosts.suspended, SHORT_S),
    Fault("certificate bad", 19, hosts.certificate_bad, SHORT_S, weight=3, secure=True),
    Fault("compacted unheard", 20, etcd.compacted, SHORT_S),
    Fault("venue errs", 21, venue_faulty, SHORT_S, weight=3),
    Fault("venue's clock off", 21, venue_clock_off, SHORT_S, weight=1),
)
QUICK = tuple(fault for fault in TABLE if fault.quick)
"""Faults that may strike while another one lasts."""

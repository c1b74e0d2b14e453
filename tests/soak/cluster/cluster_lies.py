"""Clusters that break one rule of leadership, and what must strike for it to be seen.

    python -m tests.soak.cluster.cluster_lies LIE

What the judge found is printed as JSON: the kinds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import msgspec

from grinder.model.control import Process
from tests.soak.cluster import strikes_etcd as etcd
from tests.soak.cluster import strikes_hosts as hosts
from tests.soak.cluster.cluster_campaign import UNREADY
from tests.soak.cluster.cluster_rig import NORMAL, SHORT, ClusterRig, Timing
from tests.soak.cluster.etcd_field import NODES, end_of
from tests.soak.cluster.hosts import PAUSE_FILE
from tests.soak.cluster.node import (
    ADOPTS_LATE,
    FORGETS_TRIP,
    FROM_REPLY,
    NO_DELAY,
    NO_HEALTH,
    NO_PERMIT,
    PUTS_LATCH,
    STAMPS_LATE,
)
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.strikes_hosts import Strike
from tests.soak.cluster.verdicts import Broken, Span, judge

SEED = 41
TRIES = 4
STARTS = 3
FLOWS_S_MAX = 30.0
SLOW_S = 0.42
"""How long etcd's answers take to a host that counts from them; within the deadline of a request."""


class Scene(msgspec.Struct, frozen=True):
    """What shows a lie: rules of which one is then broken, what happens to the cluster, and its settings."""

    rules: frozenset[Broken]
    play: Callable[[ClusterRig], None]
    timing: Timing = SHORT


def struck(strike: Strike, lasts_s: float) -> Callable[[ClusterRig], None]:
    """Return a play in which one fault strikes."""

    def play(rig: ClusterRig) -> None:
        with strike(rig, rig.random):
            rig.live(lasts_s)

    return play


def held_at_send(rig: ClusterRig) -> None:
    """The leader is stopped between its last look and the send until its lead is long over."""
    rig.live(FLOWS_S_MAX, lambda: bool(rig.leader()))
    host = rig.hosts[rig.leader() or NODES[0]]
    pause = host.root / PAUSE_FILE
    pause.touch()
    rig.live(2.0, lambda: not pause.exists())
    rig.live(4.0)
    host.resume(Process.EXECUTOR)


def slow_then_cut(rig: ClusterRig) -> None:
    """The leader hears etcd late, and then not at all."""
    node = rig.leader() or NODES[0]
    members = etcd.members(rig)
    rig.field.wire.slow(*rig.field.ways((end_of(node),), members, "in"), delay_s=SLOW_S)
    rig.live(4.0)
    rig.field.wire.cut(*rig.field.ways((end_of(node),), members))
    rig.live(4.0)


def deleted_unheard(rig: ClusterRig) -> None:
    """The leader key is deleted while the leader hears nothing of etcd, and adds risk."""
    node = rig.leader()
    if not node:
        return
    rig.field.wire.cut(*rig.field.ways((end_of(node),), etcd.members(rig)))
    rig.field.delete("leader")
    rig.live(4.0)


def unfed(rig: ClusterRig) -> None:
    """The feeder of the leader dies and nobody starts it again."""
    node = rig.leader() or NODES[0]
    since = now_ns()
    rig.hosts[node].kill(Process.SYNCER)
    rig.live(15.0)
    rig.unwell.append(Span(since, now_ns(), node))


def tripped_beside(rig: ClusterRig) -> None:
    """The host that does not lead trips."""
    node = next(node for node in NODES if node != rig.leader())
    since = now_ns()
    rig.trip_word(node)
    rig.live(4.0)
    rig.told.append(Span(since, now_ns()))


def tripped_and_started(rig: ClusterRig) -> None:
    """A host trips, and its programs start again."""
    rig.trip_word(NODES[0])
    rig.live(1.0)
    rig.hosts[NODES[0]].kill()
    rig.hosts[NODES[0]].start()
    rig.live(3.0)


_LATE = frozenset({Broken.RISK_PAST_PERMIT, Broken.ACT_PAST_LEAD})
SCENES: dict[str, Scene] = {
    FROM_REPLY: Scene(_LATE, slow_then_cut, NORMAL),
    NO_PERMIT: Scene(_LATE, struck(etcd.cut_off("both", with_member=True), 5.0)),
    STAMPS_LATE: Scene(_LATE, held_at_send),
    NO_DELAY: Scene(frozenset({Broken.ACTED_EARLY}), deleted_unheard),
    PUTS_LATCH: Scene(frozenset({Broken.TRIP_UNHEARD}), tripped_beside),
    NO_HEALTH: Scene(frozenset({Broken.LED_UNWELL}), unfed),
    ADOPTS_LATE: Scene(frozenset({Broken.STRANGER_RESTS}), struck(hosts.host_killed, 6.0)),
    FORGETS_TRIP: Scene(frozenset({Broken.UNTRIPPED}), tripped_and_started),
}


def seen(lie: str, kinds: Iterable[str]) -> bool:
    """Tell whether a lie is among what was found."""
    return any(broken.name in kinds for broken in SCENES[lie].rules)


def begun(timing: Timing, lie: str) -> ClusterRig:
    """Return a rig in which orders flow; another one where the machine was too slow for the first."""
    for tries_left in reversed(range(STARTS)):
        try:
            rig = ClusterRig(SEED, timing, dict.fromkeys(NODES, lie))
            try:
                rig.begin()
            except BaseException:
                rig.close()
                raise
            return rig
        except UNREADY:
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def found(lie: str) -> set[str]:
    """Play the scene of a lie until its rule is seen to be broken, TRIES times at most; return what was found."""
    scene = SCENES[lie]
    rig = begun(scene.timing, lie)
    kinds: set[str] = set()
    try:
        for _ in range(TRIES):
            scene.play(rig)
            rig.mend()
            # What was held up until now is on its way.
            rig.live(1.0)
            kinds |= {broken.name for broken, _ in judge(rig.world())}
            if seen(lie, kinds):
                break
            rig.clear(FLOWS_S_MAX)
            rig.until_flow(FLOWS_S_MAX)
    finally:
        rig.close()
    return kinds


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(sorted(found(sys.argv[1]))))

"""Clusters that break one rule of leadership, and what must strike for it to be seen.

    python -m tests.soak.cluster.cluster_lies LIE

LIE may be HONEST: then hosts break none, and every scene is played. What the judge found is printed as JSON.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from grinder.model.control import Process
from tests.soak.cluster import strikes_etcd as etcd
from tests.soak.cluster.cluster_rig import NORMAL, SHORT, ClusterRig, Timing
from tests.soak.cluster.etcd_field import MEMBER_OF, NODES, end_of
from tests.soak.cluster.hosts import PAUSE_FILE
from tests.soak.cluster.node import (
    ADOPTS_LATE,
    FORGETS_TRIP,
    FROM_REPLY,
    NO_DELAY,
    NO_HEALTH,
    NO_PERMIT,
    STAMPS_LATE,
    TELLS_NOBODY,
)
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.verdicts import Broken, Span, judge

SEED = 41
TRIES = 6
FLOWS_S_MAX = 30.0
HONEST = "honest"
PLACEMENTS_HAVE = "newClientOrderId"
SLOW_S = 0.42
"""How long etcd's answers take to a host that counts from them; within the deadline of a request."""


Play = Callable[[ClusterRig, str], None]
"""What happens to the cluster; the leader is named."""


class Scene(msgspec.Struct, frozen=True):
    """What shows a lie: rules of which one is then broken, what happens to the cluster, and its settings."""

    rules: frozenset[Broken]
    play: Play
    timing: Timing = SHORT


class Shown(msgspec.Struct):
    """How a lie was seen: what the judge found and how often, one finding that shows the lie, plays it took."""

    lie: str
    kinds: dict[str, int] = msgspec.field(default_factory=dict)
    example: str = ""
    tries: int = 0
    seconds: float = 0.0


def leader_of(rig: ClusterRig) -> str:
    """Return the host that leads, once one does."""
    assert rig.live(FLOWS_S_MAX, lambda: bool(rig.leader())), "nobody leads"
    return rig.leader() or NODES[0]


def cut_off(rig: ClusterRig, node: str) -> None:
    """The leader is cut from etcd, but for the member on its own host."""
    own = MEMBER_OF[node]
    rig.field.wire.cut(*rig.field.ways((end_of(node), own), tuple(name for name in etcd.members(rig) if name != own)))
    rig.live(5.0)


def killed(rig: ClusterRig, node: str) -> None:
    """The leader dies and leaves many orders to the other host."""
    rig.live(4.0)
    rig.hosts[node].kill()
    rig.live(8.0)


def held_at_send(rig: ClusterRig, node: str) -> None:
    """The leader is stopped between its last look and the send until its lead is long over."""
    host = rig.hosts[node]
    pause = host.root / PAUSE_FILE
    pause.write_text(PLACEMENTS_HAVE)
    rig.live(2.0, lambda: not pause.exists())
    rig.live(4.0)
    host.resume(Process.EXECUTOR)


def slow_then_cut(rig: ClusterRig, node: str) -> None:
    """The leader hears etcd late, and then not at all."""
    members = etcd.members(rig)
    rig.field.wire.slow(*rig.field.ways((end_of(node),), members, "in"), delay_s=SLOW_S)
    rig.live(4.0)
    rig.field.wire.cut(*rig.field.ways((end_of(node),), members))
    rig.live(4.0)


def deleted_unheard(rig: ClusterRig, node: str) -> None:
    """The leader key is deleted while the leader hears nothing of etcd, and adds risk."""
    rig.field.wire.cut(*rig.field.ways((end_of(node),), etcd.members(rig)))
    rig.field.delete("leader")
    rig.live(4.0)


def unfed(rig: ClusterRig, node: str) -> None:
    """The syncer of the leader dies and nobody starts it again."""
    since = now_ns()
    rig.hosts[node].kill(Process.SYNCER)
    rig.live(15.0)
    rig.unwell.append(Span(since, now_ns(), node))


def tripped_beside(rig: ClusterRig, node: str) -> None:
    """The host that does not lead trips."""
    since = now_ns()
    rig.trip_word(next(other for other in NODES if other != node))
    rig.live(4.0)
    rig.told.append(Span(since, now_ns()))


def tripped_and_started(rig: ClusterRig, node: str) -> None:
    """The leader trips, a reset is refused, and its programs start again."""
    rig.trip_word(node)
    rig.live(1.0)
    rig.operator.reset("of-nobody")
    rig.hosts[node].kill()
    rig.hosts[node].start()
    rig.live(3.0)


_LATE = frozenset({Broken.RISK_PAST_PERMIT, Broken.ACT_PAST_LEAD})
SCENES: dict[str, Scene] = {
    FROM_REPLY: Scene(_LATE, slow_then_cut, NORMAL),
    NO_PERMIT: Scene(_LATE, cut_off),
    STAMPS_LATE: Scene(_LATE, held_at_send),
    NO_DELAY: Scene(frozenset({Broken.ACTED_EARLY}), deleted_unheard),
    TELLS_NOBODY: Scene(frozenset({Broken.TRIP_UNHEARD}), tripped_beside),
    NO_HEALTH: Scene(frozenset({Broken.LED_UNWELL}), unfed),
    ADOPTS_LATE: Scene(frozenset({Broken.STRANGER_RESTS}), killed),
    FORGETS_TRIP: Scene(frozenset({Broken.UNTRIPPED}), tripped_and_started),
}


def seen(known: Shown) -> bool:
    """Tell whether the lie is among what was found."""
    return any(broken.name in known.kinds for broken in SCENES[known.lie].rules)


def shown(lie: str) -> Shown:
    """Play the scene of a lie until its rule is seen to be broken, TRIES times at most; return what was found."""
    scene, began_s = SCENES[lie], time.monotonic()
    rig = ClusterRig(SEED, scene.timing, dict.fromkeys(NODES, lie))
    known = Shown(lie)
    try:
        rig.begin()
        for _ in range(TRIES):
            known.tries += 1
            scene.play(rig, leader_of(rig))
            rig.mend()
            # What was held up until now is on its way.
            rig.live(1.0)
            findings = judge(rig.world())
            known.kinds = dict(Counter(broken.name for broken, _ in findings))
            if seen(known):
                known.example = next(detail for broken, detail in findings if broken in scene.rules)
                break
            rig.clear(FLOWS_S_MAX)
            rig.until_flow(FLOWS_S_MAX)
    finally:
        rig.close()
    known.seconds = time.monotonic() - began_s
    return known


def honest() -> Shown:
    """Play every scene with hosts that keep the rules; return what was found."""
    began_s, known = time.monotonic(), Shown(HONEST)
    rig = ClusterRig(SEED, NORMAL)
    try:
        rig.begin()
        for scene in SCENES.values():
            known.tries += 1
            scene.play(rig, leader_of(rig))
            rig.mend()
            rig.clear(FLOWS_S_MAX)
            rig.until_flow(FLOWS_S_MAX)
        findings = judge(rig.world())
    finally:
        rig.close()
    known.kinds = dict(Counter(broken.name for broken, _ in findings))
    known.example = next((detail for _, detail in findings), "")
    known.seconds = time.monotonic() - began_s
    return known


if __name__ == "__main__":
    played = honest() if sys.argv[1] == HONEST else shown(sys.argv[1])
    sys.stdout.buffer.write(msgspec.json.encode(played))

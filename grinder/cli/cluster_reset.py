"""``grinder reset`` where there is a cluster: one new permission in etcd, upon which each host clears itself.

Must never arm the cluster but by compare with what the operator looked at, nor call a host clear that has not said so.
"""

from __future__ import annotations

import uuid
from typing import Final

from grinder.cli.acts import Scene, conclude, keep_evidence
from grinder.cli.cluster import Reach, reach
from grinder.core.cluster_reset import arming, refusals, standing_trip, trips_since_armed
from grinder.model.cluster import ArmCluster, ClusterView, Done, NoAnswer, NotDone
from grinder.model.control import Exit, TripReason
from grinder.model.evidence import KillEvent, kill_file
from grinder.model.latch import LatchRecord

ACT: Final = "reset"


def run(where: Scene, named: str) -> int:
    """Clear the cluster; 0 every living host is clear, 1 refused, not known, or a host is not."""
    given = {"ack": named, "cluster": where.settings.cluster}
    with reach(where.settings) as cluster:
        view = cluster.read()
        if isinstance(view, NoAnswer):
            return conclude(where, ACT, given, Exit.GATE, f"REFUSED: the cluster is not known ({view.why})")
        problems = refusals(view, named)
        if problems:
            return conclude(where, ACT, given, Exit.GATE, f"REFUSED: {problems[0]}", *problems[1:])
        code, lines = _arm(where, cluster, view)
    who, utc_ms = where.operator.text, where.clock.utc_ms()
    about = LatchRecord(0, code is not Exit.OK, TripReason.CLUSTER, who, "", utc_ms, named)
    file = kill_file(KillEvent.RESET, about, named, who, utc_ms, "; ".join(lines))
    return conclude(where, ACT, given, code, *lines, keep_evidence(where, file))


def _arm(where: Scene, cluster: Reach, view: ClusterView) -> tuple[Exit, list[str]]:
    """Arm the cluster as this view shows it, and wait for its hosts."""
    request = arming(
        view,
        arm_id=uuid.uuid4().hex,
        operator=where.operator.text,
        note=f"reset from {where.settings.node_id}",
        utc_ms=where.clock.utc_ms(),
    )
    refusal = _refused(cluster, request)
    if refusal:
        return Exit.GATE, [f"STILL LATCHED: {refusal}; look at `grinder status`"]
    acks = request.record.acks
    new = [trip.trip_id for trip in trips_since_armed(view)]
    lines = [f"armed; acknowledged: {', '.join(new) or 'no trip'}; {len(acks) - len(new)} of before once more"]
    if request.record.epoch_base != view.epoch_base:
        lines.append(f"etcd had lost data: terms go on above {request.record.epoch_base + view.revision}")
    arm_id = request.record.arm_id

    def tripped_again(seen: ClusterView) -> str:
        armed = seen.arm is not None and seen.arm.value.arm_id == arm_id
        return "" if armed else f"is latched: the cluster tripped again, {standing_trip(seen) or 'and was armed again'}"

    nodes, cleared = cluster.follow(view.nodes, lambda node: not node.trip_id, "is clear", tripped_again)
    if cleared:
        head = "cleared; after an emergency the loop of the leader waits in PAUSED for `grinder resume --ack` there"
        return Exit.OK, [head, *lines, *nodes]
    return Exit.GATE, ["NOT EVERY HOST IS CLEAR: look at `grinder status` there", *lines, *nodes]


def _refused(cluster: Reach, request: ArmCluster) -> str:
    """Ask once; return why the cluster is not armed, or an empty string. What has no answer is looked up."""
    reply = cluster.perform(request)
    if isinstance(reply, Done):
        return ""
    if isinstance(reply, NotDone):
        return f"the cluster has changed since this command looked ({reply.why})"
    view = cluster.read()
    if isinstance(view, ClusterView) and view.arm is not None and view.arm.value.arm_id == request.record.arm_id:
        return ""
    return "not known whether etcd has armed the cluster"

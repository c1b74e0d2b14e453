"""``grinder override --cluster``: one override for every host of the cluster, from any host that reaches etcd.

Must never lower it without ``--ack``, while the cluster is latched, or where somebody else has changed it meanwhile.
"""

from __future__ import annotations

from typing import Final

from grinder.cli.acts import Scene, conclude
from grinder.cli.cluster import Reach, reach
from grinder.core.cluster_reset import standing_trip
from grinder.model.cluster import ClusterView, Done, NoAnswer, NotDone, OverrideCluster, OverrideRecord
from grinder.model.control import Exit, Override

ACT: Final = "override"

UNREAD: Final = "key override cannot be read"
"""In the problem of a view whose override somebody wrote by hand."""

TRIES_MAX: Final = 5
"""How often an override that raises the severity is tried where somebody else writes between look and try."""


def run(where: Scene, target: Override, reason: str, *, acked: bool) -> int:
    """Set it; 0 every living host has it, 1 refused, not known, or a host has not answered."""
    given = {"override": target.name, "reason": reason, "ack": str(acked), "cluster": where.settings.cluster}
    record = OverrideRecord(target, where.operator.text, reason, where.clock.utc_ms())
    with reach(where.settings) as cluster:
        view = _set(cluster, record, acked=acked)
        if isinstance(view, str):
            return conclude(where, ACT, given, Exit.GATE, view)
        nodes, good = cluster.follow(view.nodes, lambda node: node.override is target, f"has {target.name}")
    head = f"override {target.name} of the cluster {'is in force' if good else 'NOT ACKED'}"
    nodes = nodes or ["no host of the cluster lives; one that starts will find it"]
    return conclude(where, ACT, given, Exit.OK if good else Exit.GATE, head, *nodes)


def _set(cluster: Reach, record: OverrideRecord, *, acked: bool) -> ClusterView | str:
    """Write it over what was looked at; return that look, or why it is not written.

    The most severe one is written over anything, and any over what nobody can read, for that is in force nowhere.
    Another that raises the severity is tried again where somebody wrote meanwhile, unless it would lower it now: that
    nobody has looked at.
    """
    why = ""
    for number in range(TRIES_MAX):
        view = cluster.read()
        if isinstance(view, NoAnswer):
            return f"REFUSED: the cluster is not known ({view.why})"
        raises = record.code >= standing(view)
        if number and not raises:
            break
        if refusal := _refusal(view, record.code, acked=acked):
            return f"REFUSED: {refusal}"
        over_anything = record.code is max(Override) or UNREAD in view.problem
        revision = 0 if view.override is None else view.override.mod_revision
        reply = cluster.ask(OverrideCluster(record, None if over_anything else revision))
        if isinstance(reply, Done):
            return view
        why = reply.why if isinstance(reply, NotDone | NoAnswer) else "etcd answered something else"
        if not raises or not isinstance(reply, NotDone):
            break
    return f"NOT SET: {why}; look with `grinder override show --cluster`"


def show(where: Scene) -> int:
    """Print the cluster's override; 0 known, 1 not."""
    with reach(where.settings) as cluster:
        view = cluster.read()
    if isinstance(view, NoAnswer):
        print(f"{'cluster':<21} not known ({view.why})")
        return Exit.GATE
    about = f"  {view.override.value.reason} ({view.override.value.who})" if view.override is not None else ""
    print(f"{'cluster':<21} {standing(view).name}{about}")
    for node in view.nodes:
        print(f"{node.node:<21} {'has it' if node.override is standing(view) else f'has {node.override.name}'}")
    return Exit.OK


def standing(view: ClusterView) -> Override:
    """Return the override that is in force for the whole cluster."""
    return view.override.value.code if view.override is not None else Override.NONE


def _refusal(view: ClusterView, target: Override, *, acked: bool) -> str:
    """Return why the severity may not be lowered, or an empty string; raising it is never refused."""
    if target >= standing(view):
        return ""
    if not acked:
        return f"this lowers {standing(view).name}; say that you mean it with --ack"
    trip_id = standing_trip(view)
    # A host under EMERGENCY speaks against a reset, so the step to PAUSE is open: it permits nothing new.
    if trip_id and target is not Override.PAUSE:
        return f"the cluster is latched ({trip_id}); lower it to PAUSE at most, and clear the latch first"
    return ""

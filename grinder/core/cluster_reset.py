"""Whether an operator may clear the cluster's kill switch, and what is written to etcd then. Pure.

Must never acknowledge a trip that was not in the view which the operator acts on, and never permit risk while a host
that lives demands the latch or does not know.

Invariant: a permission acknowledges only trips recorded in, or held by a living host of, the view that it names.
Invariant: the next term under a permission is higher than every term that a host of the view knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from grinder.model.board import Demand
from grinder.model.cluster import ArmCluster, ArmRecord, ClusterView, NodeRecord, TripRecord
from grinder.model.control import TripReason
from grinder.model.latch import TRIP_NAME_BYTES_MAX
from grinder.model.limits import ETCD_TRIPS_KEPT, ETCD_VALUE_BYTES_MAX

NEVER_ARMED: Final = "never-armed"
"""What an operator may name where nothing but the lack of a permission tripped the hosts: in a new cluster."""

ACKS_MAX: Final = 128
"""Most recorded trips that one permission acknowledges, the newest; beside them, whatever living hosts hold."""

assert ETCD_TRIPS_KEPT < ACKS_MAX
assert 2 * ACKS_MAX * TRIP_NAME_BYTES_MAX <= ETCD_VALUE_BYTES_MAX

DEMANDS: Final = {
    Demand.DRAWDOWN_OVER_LIMIT: "drawdown over its limit; a loss that was taken counts until the fsm is restarted",
    Demand.DRAWDOWN_UNKNOWN: "the drawdown is not known yet; wait for the account sync",
    Demand.DAY_LOSS_OVER_LIMIT: "the loss of the day is over its limit, or not known; it counts until midnight UTC",
    Demand.NOT_FLAT: "the account is not flat; close it with `grinder exit --yes`",
    Demand.POSITION_UNKNOWN: "the account's positions are not known; wait for the account sync",
}


def demanded(demand: int) -> list[str]:
    """Return what board word RISK_DEMAND says against clearing, in words; nobody having looked is one of them."""
    if not demand & Demand.LOOKED:
        return ["the fsm has not looked at the account yet"]
    return [text for flag, text in DEMANDS.items() if demand & flag]


def trips_since_armed(view: ClusterView) -> tuple[TripRecord, ...]:
    """Return the trips that an operator has to know of, oldest first: the latch and what was recorded after it."""
    if view.latch is None:
        return ()
    names = [trip.trip_id for trip in view.trips]
    first = view.latch.value
    return view.trips[names.index(first.trip_id) :] if first.trip_id in names else (first, *view.trips)


def standing_trip(view: ClusterView) -> str:
    """Return what an operator must name to clear the cluster; empty where it is armed.

    That is the newest trip that has a cause of its own. Where there is none, the first that followed from the lack of a
    permission; each of those may be named as well.
    """
    if view.arm is not None:
        return ""
    since = trips_since_armed(view)
    causes = [trip.trip_id for trip in since if trip.reason is not TripReason.CLUSTER]
    return causes[-1] if causes else since[0].trip_id if since else NEVER_ARMED


def refusals(view: ClusterView, named: str) -> list[str]:
    """Return everything that speaks against clearing the cluster; nothing if it may be cleared.

    Args:
        view: of a linearizable read.
        named: the trip that the operator acknowledges.
    """
    if view.problem:
        return [f"etcd holds what cannot be read ({view.problem}); delete that key by hand once you know what it was"]
    standing = standing_trip(view)
    if view.arm is not None:
        held = [f"{node.node} holds {node.trip_id}" for node in view.nodes if node.trip_id]
        return [f"the cluster is not latched: armed by {view.arm.value.operator}", *held]
    if named != standing and not (_nothing_tripped(view) and named in _nameable(view)):
        return [f"the cluster's trip is {standing}, not {named}; look at `grinder status` again"]
    if not view.nodes:
        return ["no host of the cluster lives, so nobody knows the account; start the trees (they start latched) first"]
    return [f"{node.node}: {problem}" for node in view.nodes for problem in _problems(view, node)]


def arming(view: ClusterView, *, arm_id: str, operator: str, note: str, utc_ms: int) -> ArmCluster:
    """Return the request that clears the cluster as this view shows it.

    Args:
        view: what the operator looked at; not armed (caller's duty).
        arm_id: new.
        operator: who clears it.
        note: for people.
        utc_ms: now, Unix milliseconds.
    """
    assert view.arm is None
    record = ArmRecord(arm_id, epoch_base(view), acknowledged(view), operator, note, utc_ms)
    return ArmCluster(record, 0 if view.latch is None else view.latch.mod_revision, view.revision)


def acknowledged(view: ClusterView) -> tuple[str, ...]:
    """Return the trips that clearing this view acknowledges, oldest first: those recorded, and those that hosts hold.

    Earlier ones are among them: a host that was down when they were cleared still holds them.
    """
    recorded = tuple(dict.fromkeys(trip.trip_id for trip in (*view.trips, *trips_since_armed(view))))[-ACKS_MAX:]
    held = (node.trip_id for node in view.nodes if node.trip_id and node.trip_id not in recorded)
    return (*dict.fromkeys(held), *recorded)


def epoch_base(view: ClusterView) -> int:
    """Return what is added to revisions, so that every new term is higher than each that a living host knows.

    It changes only after etcd lost data: then its revisions have begun anew.
    """
    highest = max((node.term for node in view.nodes), default=0)
    return max(view.epoch_base, highest - view.revision)


def _nothing_tripped(view: ClusterView) -> bool:
    """Tell whether every trip since the cluster was armed was made by a host that found no permission."""
    return all(trip.reason is TripReason.CLUSTER for trip in trips_since_armed(view))


def _nameable(view: ClusterView) -> set[str]:
    """Return what may be named where nothing tripped: any host's own trip, and that there never was a permission."""
    never = all(trip.reason is TripReason.CLUSTER for trip in view.trips)
    return {trip.trip_id for trip in trips_since_armed(view)} | ({NEVER_ARMED} if never else set())


def _problems(view: ClusterView, node: NodeRecord) -> Iterator[str]:
    """Yield what speaks against clearing on one host."""
    if node.problem:
        yield node.problem
    known = {trip.trip_id for trip in (*view.trips, *trips_since_armed(view))}
    if not node.trip_id:
        yield "has not latched yet; try again"
    elif node.trip_id not in known and node.trip_id != NEVER_ARMED:
        yield f"holds trip {node.trip_id}, which it has not told the cluster yet; try again"
    yield from demanded(node.demand)

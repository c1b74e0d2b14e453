"""The cluster's kill switch as one host follows it. Pure: what its latch says, views of etcd and replies come in; a
request to etcd, a trip to follow, or the proof that the operator has acknowledged what this host holds go out.

Must never take the absence of anything for an acknowledgement.

Invariant: ``Verdict.acknowledged`` only by a permission, read linearizably, that names the very trip which the latch
holds; names are never used twice, so that permission is younger than the trip.
Invariant: while the latch holds a trip that no permission acknowledges, etcd is asked to record it until it shows it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.model.cluster import ArmRecord, ClusterView, Done, LatchReply, NoAnswer, NotDone, TripCluster, TripRecord
from grinder.model.units import NS_PER_MS

RETRY_MS_MIN: Final = 50
RETRY_MS_MAX: Final = 1_000
"""Bounds of the wait before etcd is asked again to record a trip, milliseconds."""

VIEW_WAIT_MS: Final = 2_000
"""Longest wait for the first view before a trip is told without one, milliseconds: it may be acknowledged already."""

VIEW_AGE_MS_MAX: Final = 2_000
"""Age of a view up to which it proves an acknowledgement, milliseconds."""

NO_PERMISSION: Final = "etcd holds no permission for this cluster: it was never armed, or lost it"
DATA_LOST: Final = "etcd lost data: it answered with less than was known, or with something else"
FOREIGN_PERMISSION: Final = "etcd holds a permission that does not acknowledge a recorded trip"
NOT_READ: Final = "etcd has not been read yet"


class Following(msgspec.Struct, frozen=True):
    """Where one host stands.

    ``held``: the trip in its latch, its own or a followed one, None where the latch is clear; ``held_boot_ns``: since
    when it is known. ``view``: the newest, taken at ``view_boot_ns``. ``read``: the newest linearizable one. ``lost``:
    etcd lost data while this host was clear, and it has not tripped for it yet. ``highest_term``: that this host has
    known since ``highest_boot_ns``. ``told_revision``: at which etcd said that the trip is recorded, 0 before.
    ``awaiting``: number of the request under way, 0 for none.
    """

    node: str
    held: TripRecord | None = None
    held_boot_ns: int = 0
    view: ClusterView | None = None
    view_boot_ns: int = 0
    read: ClusterView | None = None
    lost: bool = False
    highest_term: int = 0
    highest_boot_ns: int = 0
    told_revision: int = 0
    awaiting: int = 0
    numbers: int = 0
    failures: int = 0
    retry_boot_ns: int = 0
    problem: str = ""


class Asked(msgspec.Struct, frozen=True):
    """A request to send now; its reply comes back with ``number``."""

    number: int
    request: TripCluster


class Follow(msgspec.Struct, frozen=True):
    """A trip that this host must take over. ``trip_id``: empty where nobody recorded one; then it is an own one."""

    trip_id: str
    detail: str


class Acknowledged(msgspec.Struct, frozen=True):
    """The proof that lets this host clear its latch of ``trip_id``. ``operator``: who acknowledged it."""

    trip_id: str
    arm_id: str
    operator: str


class Verdict(msgspec.Struct, frozen=True):
    """What follows now. ``again``: why the host must trip anew under a name of its own, empty for not."""

    ask: Asked | None = None
    follow: Follow | None = None
    acknowledged: Acknowledged | None = None
    again: str = ""


def hold(state: Following, held: TripRecord | None, now_boot_ns: int) -> Following:
    """Take what the latch of this host says now: None for clear."""
    known = "" if state.held is None else state.held.trip_id
    if (held is None and state.held is None) or (held is not None and held.trip_id == known):
        return state
    return msgspec.structs.replace(
        state,
        held=held,
        held_boot_ns=now_boot_ns,
        lost=state.lost and held is None,
        told_revision=0,
        awaiting=0,
        failures=0,
        retry_boot_ns=0,
        problem="",
    )


def see(state: Following, view: ClusterView, now_boot_ns: int) -> Following:
    """Take a view. One that is older than what is known is dropped, unless etcd itself went back."""
    before, linearizable = state.view, view.asked_boot_ns > 0
    taken = msgspec.structs.replace(
        state, view=view, view_boot_ns=now_boot_ns, read=view if linearizable else state.read
    )
    if linearizable and (_went_back(state, view) or _is_behind(state, view)):
        return msgspec.structs.replace(taken, lost=state.held is None, told_revision=0)
    if before is not None and (view.cluster_id != before.cluster_id or view.revision < before.revision):
        return state
    return taken


def lost_data(before: ClusterView, view: ClusterView) -> bool:
    """Tell whether a view that was taken after another one shows that etcd lost data between them."""
    shrunk = view.revision < max(before.revision, view.known_revision)
    return shrunk or view.rewritten or view.cluster_id != before.cluster_id


def knows_term(state: Following, term: int, now_boot_ns: int) -> Following:
    """Take the highest leader term that this host knows, at first from its disk: etcd that is behind it lost data."""
    if term <= state.highest_term:
        return state
    return msgspec.structs.replace(state, highest_term=term, highest_boot_ns=now_boot_ns)


def answer(state: Following, number: int, reply: LatchReply, now_boot_ns: int) -> Following:
    """Take the reply to a request; one to an older request changes nothing."""
    if number != state.awaiting:
        return state
    if isinstance(reply, Done) and reply.complete:
        again = now_boot_ns + RETRY_MS_MAX * NS_PER_MS
        return msgspec.structs.replace(
            state, awaiting=0, told_revision=reply.revision, failures=0, retry_boot_ns=again, problem=""
        )
    problem = "etcd has no space left to record the trip; the permission is deleted"
    if isinstance(reply, NotDone | NoAnswer):
        problem = f"the trip is not recorded in etcd yet ({reply.why})"
    wait_ms = min(RETRY_MS_MIN << min(state.failures, 5), RETRY_MS_MAX)
    return msgspec.structs.replace(
        state,
        awaiting=0,
        failures=state.failures + 1,
        retry_boot_ns=now_boot_ns + wait_ms * NS_PER_MS,
        problem=problem,
    )


def decide(state: Following, now_boot_ns: int) -> tuple[Following, Verdict]:
    """Return what follows from where the host stands, and the state with a request that it must send noted."""
    view, held = state.view, state.held
    if held is None:
        return state, Verdict(follow=_to_follow(state))
    arm = None if view is None else view.arm
    if arm is not None and held.trip_id in arm.value.acks:
        return state, Verdict(acknowledged=_proof(state, held, arm.value, now_boot_ns))
    recorded = view is not None and any(trip.trip_id == held.trip_id for trip in view.trips)
    if recorded:
        state = msgspec.structs.replace(state, problem="")
        return state, Verdict(again=FOREIGN_PERMISSION if arm is not None else "")
    if state.awaiting or now_boot_ns < state.retry_boot_ns:
        return state, Verdict()
    if view is None and now_boot_ns - state.held_boot_ns < VIEW_WAIT_MS * NS_PER_MS:
        return state, Verdict()
    if view is not None and view.revision < state.told_revision:
        return state, Verdict()
    number = state.numbers + 1
    record = msgspec.structs.replace(held, arm_id=arm.value.arm_id) if arm is not None else held
    return msgspec.structs.replace(state, awaiting=number, numbers=number), Verdict(
        ask=Asked(number, TripCluster(record))
    )


def standing_problem(state: Following) -> str:
    """Return what an operator should know of the cluster's latch beside that it is tripped, or an empty string."""
    return NOT_READ if state.read is None else state.problem


def _to_follow(state: Following) -> Follow | None:
    """Return the trip that a host whose latch is clear must take over, None if there is none."""
    view = state.view
    if state.lost:
        return Follow("", DATA_LOST)
    if view is None or view.arm is not None:
        return None
    if view.latch is None:
        return Follow("", NO_PERMISSION)
    trip = view.latch.value
    return Follow(trip.trip_id, f"{trip.node}: {trip.reason} by {trip.who}: {trip.detail}")


def _proof(state: Following, held: TripRecord, arm: ArmRecord, now_boot_ns: int) -> Acknowledged | None:
    """Return the acknowledgement, if a linearizable read of this moment shows it too."""
    read = state.read
    if read is None or read.arm is None or read.arm.value != arm:
        return None
    if now_boot_ns - read.asked_boot_ns > VIEW_AGE_MS_MAX * NS_PER_MS:
        return None
    return Acknowledged(held.trip_id, arm.arm_id, arm.operator)


def _went_back(state: Following, view: ClusterView) -> bool:
    """Tell whether etcd answered a linearizable read with less than was known when it was asked, or is another one, or
    tells what was read before otherwise.

    What was known is what the view says, and what this host had taken before the question left.
    """
    before, read = state.view, state.read
    if view.rewritten or view.revision < view.known_revision:
        return True
    if before is None:
        return False
    if view.cluster_id != before.cluster_id:
        return True
    later = view.asked_boot_ns > state.view_boot_ns
    return later and (view.revision < before.revision or (read is not None and view.raft_term < read.raft_term))


def _is_behind(state: Following, view: ClusterView) -> bool:
    """Tell whether no leader could be elected under a term that is new: what gave the highest one is lost.

    This tells of a loss while no host was up to see etcd go back.
    """
    return view.asked_boot_ns > state.highest_boot_ns and view.epoch_base + view.revision < state.highest_term

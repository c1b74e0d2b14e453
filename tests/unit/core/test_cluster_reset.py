"""What speaks against clearing the cluster, row by row, and what a permission acknowledges."""

from __future__ import annotations

import msgspec
import pytest

from grinder.core.cluster_reset import (
    ACKS_MAX,
    NEVER_ARMED,
    acknowledged,
    arming,
    demanded,
    epoch_base,
    refusals,
    standing_trip,
    trips_since_armed,
)
from grinder.model.board import Demand
from grinder.model.cluster import ArmRecord, ClusterView, NodeRecord, Stored, TripRecord
from grinder.model.control import HaRole, TripReason

SAFE = int(Demand.LOOKED)


def trip(trip_id: str) -> TripRecord:
    return TripRecord(trip_id, trip_id[0], TripReason.MANUAL, "anna", "drill", "arm-1", 5)


def node(name: str, trip_id: str, *, demand: int = SAFE, problem: str = "", term: int = 7) -> NodeRecord:
    return NodeRecord(name, "host", HaRole.STANDBY, term, trip_id, demand, problem, 5)


def latched(*trips: str, nodes: tuple[NodeRecord, ...] = (), before: tuple[str, ...] = ()) -> ClusterView:
    """Return a cluster whose latch is the first of ``trips``; those ``before`` it were cleared long ago."""
    recorded = tuple(trip(each) for each in (*before, *trips))
    latch = Stored(trip(trips[0]), 30, 31) if trips else None
    return ClusterView(40, 1, 2, 9, 40, latch=latch, trips=recorded, nodes=nodes)


ARMED = ClusterView(
    40, 1, 2, 9, 40, arm=Stored(ArmRecord("arm-1", 0, (), "bert", "", 1), 20, 20), nodes=(node("b", "old"),)
)
BOTH = (node("a", "a1"), node("b", "a1"))


def test_standing_trip_when_trips_followed_the_latch_then_the_newest_must_be_named() -> None:
    assert standing_trip(latched("a1")) == "a1"
    assert standing_trip(latched("a1", "b1", before=("z",))) == "b1"
    assert standing_trip(latched(before=("z",))) == NEVER_ARMED
    assert standing_trip(ARMED) == ""


def test_trips_since_armed_when_the_latchs_own_record_is_gone_then_the_latch_and_all_there_are_count() -> None:
    view = msgspec.structs.replace(latched("a1"), trips=(trip("b1"),))
    assert [each.trip_id for each in trips_since_armed(view)] == ["a1", "b1"]


def test_refusals_when_every_host_is_latched_safe_and_well_then_none() -> None:
    assert refusals(latched("a1", nodes=BOTH), "a1") == []
    assert refusals(latched(nodes=(node("a", NEVER_ARMED),)), NEVER_ARMED) == []


def test_refusals_when_only_the_lack_of_a_permission_tripped_then_any_of_those_trips_may_be_named() -> None:
    own, other = (msgspec.structs.replace(trip(name), reason=TripReason.CLUSTER) for name in ("a1", "b1"))
    view = msgspec.structs.replace(latched(nodes=BOTH), latch=Stored(own, 30, 31), trips=(own, other))
    assert standing_trip(view) == "a1"
    assert refusals(view, "a1") == refusals(view, "b1") == refusals(view, NEVER_ARMED) == []
    assert refusals(view, "z") != []
    before = msgspec.structs.replace(view, trips=(trip("z"), own, other))
    assert refusals(before, "b1") == []
    assert refusals(before, NEVER_ARMED) != []
    tripped = msgspec.structs.replace(view, trips=(own, trip("a2"), other))
    assert standing_trip(tripped) == "a2"
    assert all(refusals(tripped, name) for name in ("a1", "b1", NEVER_ARMED))
    assert refusals(tripped, "a2") == []


@pytest.mark.parametrize(
    ("view", "named", "said"),
    [
        (latched("a1", nodes=BOTH), "a0", "the cluster's trip is a1, not a0; look at `grinder status` again"),
        (latched("a1", "b1", nodes=BOTH), "a1", "the cluster's trip is b1, not a1; look at `grinder status` again"),
        (latched("a1"), "a1", "no host of the cluster lives"),
        (latched("a1", nodes=(node("a", ""),)), "a1", "a: has not latched yet"),
        (latched("a1", nodes=(node("a", "a2"),)), "a1", "a: holds trip a2, which it has not told"),
        (latched("a1", nodes=(node("a", "a1", problem="fsm is dead"),)), "a1", "a: fsm is dead"),
        (latched("a1", nodes=(node("a", "a1", demand=0),)), "a1", "a: the fsm has not looked"),
        (latched("a1", nodes=(node("a", "a1", demand=SAFE | Demand.NOT_FLAT),)), "a1", "a: the account is not flat"),
        (ARMED, "old", "the cluster is not latched: armed by bert"),
        (msgspec.structs.replace(latched("a1", nodes=BOTH), problem="key arm"), "a1", "etcd holds what cannot be read"),
    ],
)
def test_refusals_when_something_speaks_against_it_then_it_is_said(view: ClusterView, named: str, said: str) -> None:
    first, *_ = refusals(view, named)
    assert first.startswith(said)


@pytest.mark.parametrize("flag", [flag for flag in Demand if flag is not Demand.LOOKED])
def test_demanded_when_a_flag_is_set_then_it_is_said_in_words(flag: Demand) -> None:
    assert len(demanded(SAFE | flag)) == 1
    assert demanded(SAFE) == []
    assert demanded(int(flag)) == ["the fsm has not looked at the account yet"]


def test_arming_when_latched_then_it_compares_latch_and_view_and_acknowledges_what_was_seen() -> None:
    view = latched("a1", "b1", nodes=(node("a", "a1"), node("b", "z")), before=("z",))
    request = arming(view, arm_id="new", operator="anna", note="n", utc_ms=9)
    assert (request.latch_revision, request.view_revision) == (31, 40)
    assert request.record == ArmRecord("new", 0, ("z", "a1", "b1"), "anna", "n", 9)
    assert arming(latched(), arm_id="new", operator="", note="", utc_ms=0).latch_revision == 0


def test_acknowledged_when_there_are_too_many_then_the_newest() -> None:
    names = tuple(f"t{number}" for number in range(ACKS_MAX + 5))
    assert acknowledged(latched(*names)) == names[5:]


@pytest.mark.parametrize(
    ("base", "terms", "expected"),
    [(0, (), 0), (0, (33, 40), 0), (0, (41,), 1), (0, (1_000, 41), 960), (960, (1_000,), 960), (960, (2_000,), 1_960)],
)
def test_epoch_base_when_etcd_lost_data_then_the_next_term_is_above_every_known_one(
    base: int, terms: tuple[int, ...], expected: int
) -> None:
    nodes = tuple(node(str(index), "a1", term=term) for index, term in enumerate(terms))
    view = msgspec.structs.replace(latched("a1", nodes=nodes), epoch_base=base)
    assert epoch_base(view) == expected
    assert all(epoch_base(view) + view.revision + 1 > term for term in terms)

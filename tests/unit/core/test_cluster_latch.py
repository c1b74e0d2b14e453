"""What follows for one host from its latch, views of etcd and replies, branch by branch."""

from __future__ import annotations

import msgspec
import pytest

from grinder.core.cluster_latch import (
    DATA_LOST,
    FOREIGN_PERMISSION,
    NO_PERMISSION,
    NOT_READ,
    RETRY_MS_MAX,
    RETRY_MS_MIN,
    VIEW_AGE_MS_MAX,
    VIEW_WAIT_MS,
    Acknowledged,
    Follow,
    Following,
    Verdict,
    answer,
    decide,
    hold,
    knows_term,
    see,
    standing_problem,
)
from grinder.model.cluster import ArmRecord, ClusterView, Done, NoAnswer, NotDone, Stored, TripRecord
from grinder.model.control import TripReason
from grinder.model.units import NS_PER_MS

NOW = 1_000_000 * NS_PER_MS
HELD = TripRecord("a-MANUAL-1", "a", TripReason.MANUAL, "anna", "drill", "", 5)
OTHER = TripRecord("b-ERROR-2", "b", TripReason.ERROR, "fsm", "why", "arm-0", 6)


def arm(*acks: str, arm_id: str = "arm-1") -> Stored[ArmRecord]:
    return Stored(ArmRecord(arm_id, 0, acks, "bert", "", 7), 10, 10)


def view(
    revision: int = 20,
    *,
    permit: Stored[ArmRecord] | None = None,
    trips: tuple[TripRecord, ...] = (),
    latch: TripRecord | None = None,
    asked: int = NOW,
    known: int = 0,
    cluster_id: int = 1,
    raft_term: int = 2,
) -> ClusterView:
    stored = None if latch is None else Stored(latch, 11, 11)
    return ClusterView(revision, cluster_id, raft_term, asked, known, arm=permit, latch=stored, trips=trips)


def at(seen: ClusterView | None, held: TripRecord | None = None) -> Following:
    state = Following("a")
    if held is not None:
        state = hold(state, held, NOW)
    return state if seen is None else see(state, seen, NOW)


def verdict(state: Following, now_boot_ns: int = NOW) -> Verdict:
    return decide(state, now_boot_ns)[1]


def test_clear_host_when_armed_then_nothing_and_without_a_permission_it_follows() -> None:
    assert verdict(at(None)) == Verdict()
    assert verdict(at(view(permit=arm()))) == Verdict()
    assert verdict(at(view())) == Verdict(follow=Follow("", NO_PERMISSION))
    assert verdict(at(view(latch=OTHER))) == Verdict(follow=Follow("b-ERROR-2", "b: ERROR by fsm: why"))


def test_tripped_host_when_acknowledged_then_only_a_fresh_linearizable_read_of_that_permission_proves_it() -> None:
    proof = Acknowledged("a-MANUAL-1", "arm-1", "bert")
    acked = at(view(permit=arm("a-MANUAL-1")), HELD)
    assert verdict(acked) == Verdict(acknowledged=proof)
    assert verdict(acked, NOW + VIEW_AGE_MS_MAX * NS_PER_MS) == Verdict(acknowledged=proof)
    assert verdict(acked, NOW + VIEW_AGE_MS_MAX * NS_PER_MS + 1) == Verdict()
    watched = at(view(permit=arm("a-MANUAL-1"), asked=0), HELD)
    assert verdict(watched) == Verdict()
    changed = see(acked, view(21, permit=arm("a-MANUAL-1", arm_id="arm-2"), asked=0), NOW)
    assert verdict(changed) == Verdict()
    gone = see(acked, view(21, asked=0), NOW)
    assert verdict(gone).acknowledged is None


def test_tripped_host_when_not_acknowledged_then_it_tells_until_the_trip_is_recorded() -> None:
    state, said = decide(at(view(permit=arm("z")), HELD), NOW)
    assert said.ask is not None
    assert said.ask.request.record == msgspec.structs.replace(HELD, arm_id="arm-1")
    assert verdict(state) == Verdict()
    assert verdict(at(view(trips=(HELD,)), HELD)) == Verdict()
    assert verdict(at(view(permit=arm("z"), trips=(HELD,)), HELD)) == Verdict(again=FOREIGN_PERMISSION)
    _, unarmed = decide(at(view(), HELD), NOW)
    assert unarmed.ask is not None
    assert unarmed.ask.request.record == HELD


def test_tripped_host_when_nothing_was_read_yet_then_it_waits_a_moment_before_it_tells() -> None:
    state = at(None, HELD)
    assert verdict(state, NOW + VIEW_WAIT_MS * NS_PER_MS - 1) == Verdict()
    assert verdict(state, NOW + VIEW_WAIT_MS * NS_PER_MS).ask is not None
    assert standing_problem(state) == NOT_READ


@pytest.mark.parametrize("reply", [NoAnswer("late"), NotDone("denied"), Done(21, complete=False)])
def test_answer_when_the_trip_is_not_recorded_then_asked_again_with_growing_waits(
    reply: NoAnswer | NotDone | Done,
) -> None:
    state, _ = decide(at(view(), HELD), NOW)
    waits = []
    for _ in range(7):
        state = answer(state, state.awaiting, reply, NOW)
        waits.append((state.retry_boot_ns - NOW) // NS_PER_MS)
        assert standing_problem(state)
        assert verdict(state, state.retry_boot_ns - 1) == Verdict()
        state, said = decide(state, state.retry_boot_ns)
        assert said.ask is not None
    assert waits == [RETRY_MS_MIN, 100, 200, 400, 800, RETRY_MS_MAX, RETRY_MS_MAX]


def test_answer_when_it_is_recorded_then_a_view_of_that_revision_is_awaited() -> None:
    state, _ = decide(at(view(), HELD), NOW)
    assert answer(state, state.awaiting + 1, Done(21), NOW) is state
    told = answer(state, state.awaiting, Done(21), NOW)
    assert standing_problem(told) == ""
    later = NOW + RETRY_MS_MAX * NS_PER_MS
    assert verdict(told, later) == Verdict()
    assert verdict(see(told, view(21), later), later).ask is not None
    assert verdict(see(told, view(21, trips=(HELD,)), later), later) == Verdict()


def test_hold_when_another_trip_is_in_the_file_then_it_is_told_at_once() -> None:
    state, _ = decide(at(view(), HELD), NOW)
    assert hold(state, HELD, NOW) is state
    other = hold(state, OTHER, NOW)
    assert verdict(other).ask is not None
    assert hold(Following("a"), None, NOW) == Following("a")


def test_see_when_a_view_is_older_than_what_is_known_then_it_is_dropped() -> None:
    known = at(view(20, permit=arm()))
    assert see(known, view(19, asked=0), NOW) is known
    assert see(known, view(19, asked=NOW - 1), NOW) is known
    assert see(known, view(21, asked=0, cluster_id=2), NOW) is known


@pytest.mark.parametrize(
    "later",
    [
        view(19, permit=arm(), asked=NOW + 1),
        view(30, permit=arm(), known=31),
        view(30, permit=arm(), cluster_id=2),
        view(30, permit=arm(), asked=NOW + 1, raft_term=1),
        msgspec.structs.replace(view(30, permit=arm(), known=20), rewritten=True),
    ],
)
def test_see_when_etcd_answers_with_less_than_was_known_then_a_clear_host_trips_and_goes_on_from_there(
    later: ClusterView,
) -> None:
    lost = see(at(view(20, permit=arm())), later, NOW + 2)
    assert verdict(lost) == Verdict(follow=Follow("", DATA_LOST))
    assert lost.view is later
    held = hold(lost, HELD, NOW)
    assert not held.lost
    assert see(at(view(20), HELD), later, NOW + 2).lost is False


def test_see_when_etcd_is_behind_the_highest_term_then_it_lost_data() -> None:
    state = knows_term(Following("a"), 25, NOW)
    assert knows_term(state, 25, NOW + 1) is state
    assert see(state, view(24, permit=arm(), asked=NOW + 1), NOW + 2).lost
    assert not see(state, view(25, permit=arm(), asked=NOW + 1), NOW + 2).lost
    assert not see(state, view(24, permit=arm(), asked=NOW), NOW + 2).lost

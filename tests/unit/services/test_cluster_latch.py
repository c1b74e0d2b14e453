"""The cluster's kill switch over all ways to trip, follow, clear and fail, on hosts without processes or etcd."""

from __future__ import annotations

import msgspec
import pytest

from grinder.model.board import Demand, Word
from grinder.model.cluster import OverrideCluster, OverrideRecord, ReportNode
from grinder.model.control import TRIP_CODES, Override, Process, TripReason
from grinder.services.cluster_latch import ABSENT, ARMED, REPORT_TTL_S
from tests.latch_world import World


@pytest.fixture
def world() -> World:
    world = World("a", "b")
    world.settle()
    return world


def test_hosts_when_the_cluster_is_armed_then_they_are_clear_and_say_so(world: World) -> None:
    assert not world["a"].tripped
    assert not world["b"].tripped
    assert [(node.node, node.trip_id, node.problem) for node in world.view().nodes] == [("a", "", ""), ("b", "", "")]
    assert world["a"].service.problem == ""
    assert [host.board.read(Word.CLUSTER_PERMISSION) for host in world.hosts.values()] == [ARMED, ARMED]


def test_trip_when_a_process_trips_then_the_other_host_is_tripped_on_board_and_file_under_the_same_name(
    world: World,
) -> None:
    world["a"].trip(Process.FSM)
    world.run(400)
    own = world["a"].latch.file
    assert own.reason is TripReason.DRAWDOWN_LIMIT
    assert world["b"].tripped
    followed = world["b"].latch.file
    assert (followed.trip_id, followed.reason) == (own.trip_id, TripReason.CLUSTER)
    assert followed.detail == "a: DRAWDOWN_LIMIT by fsm: "
    assert "arm" not in world.cluster.keys
    assert world.view().latch is not None
    assert [host.board.read(Word.CLUSTER_PERMISSION) for host in world.hosts.values()] == [ABSENT, ABSENT]


def test_follow_when_the_view_comes_then_the_board_is_tripped_before_the_file(world: World) -> None:
    world["b"].latch.broken = True
    world["a"].kill_command()
    world["b"].store.pump()
    assert world["b"].board.read(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.CLUSTER]
    assert not world["b"].latch.file.tripped
    world.run(200)
    world["b"].latch.broken = False
    world.run(200)
    assert world["b"].latch.file.tripped


def test_glance_when_a_process_trips_then_the_other_host_is_tripped_without_any_timer(world: World) -> None:
    a, b = world["a"], world["b"]
    a.trip(Process.FSM)
    for _ in range(3):
        a.service.glance()
        a.latch.turn()
    a.store.pump()
    b.store.pump()
    assert b.board.read(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.CLUSTER]
    world.settle()
    assert len(world.view().trips) == 1
    assert world.reset() == []
    for _ in range(100):
        world.run(50)
        a.service.glance()
    assert not a.tripped
    assert not b.tripped


def test_trips_when_both_hosts_trip_at_once_then_there_is_one_latch_and_both_are_recorded(world: World) -> None:
    world["a"].trip(Process.FSM)
    world["b"].trip(Process.SYNCER, TripReason.ACCOUNT_MISMATCH)
    world.settle()
    assert len(world.view().trips) == 2
    assert {host.latch.file.reason for host in world.hosts.values()} == {
        TripReason.DRAWDOWN_LIMIT,
        TripReason.ACCOUNT_MISMATCH,
    }


def test_reset_when_the_newest_trip_is_named_then_every_host_clears_and_only_then(world: World) -> None:
    trip_id = world["a"].kill_command()
    world.settle()
    assert world.reset("other") == [f"the cluster's trip is {trip_id}, not other; look at `grinder status` again"]
    assert world["a"].tripped
    assert world.reset(trip_id) == []
    world.settle()
    assert not world["a"].tripped
    assert not world["b"].tripped
    assert [host.cleared for host in world.hosts.values()] == [[trip_id], [trip_id]]
    assert [node.trip_id for node in world.view().nodes] == ["", ""]


def test_reset_when_a_host_trips_between_look_and_reset_then_it_is_refused(world: World) -> None:
    trip_id = world["a"].kill_command()
    world.settle()
    seen = world.view()
    world["b"].trip(Process.FSM)
    world.settle()
    assert "the latch has changed" in world.reset(trip_id, seen)[0]
    assert world["a"].tripped
    assert world["b"].tripped


def test_reset_when_a_host_trips_right_after_it_then_all_are_tripped_again_by_the_new_one(world: World) -> None:
    world["a"].kill_command()
    world.settle()
    assert world.reset() == []
    world["b"].trip(Process.FSM)
    world.settle()
    assert world["a"].tripped
    assert world["b"].tripped
    assert world["b"].cleared == []
    (newest,) = world.view().trips[1:]
    assert newest.node == "b"


def test_word_when_it_is_set_while_the_latch_holds_then_it_is_a_trip_of_its_own_that_an_older_ack_does_not_clear(
    world: World,
) -> None:
    first = world["a"].kill_command()
    world.settle()
    world["b"].trip(Process.SYNCER, TripReason.ACCOUNT_MISMATCH)
    world.settle()
    assert world["b"].latch.file.trip_id != first
    assert world.reset(first)[0].startswith(f"the cluster's trip is {world['b'].latch.file.trip_id}")
    world.cluster.arm(acks=(first,))
    world.settle()
    assert world["b"].cleared == []
    assert world["a"].tripped


def test_word_when_it_does_not_clear_upon_the_ack_then_it_counts_as_a_new_trip(world: World) -> None:
    world["b"].trip(Process.FSM)
    world.settle()
    assert world.reset() == []
    world.run(50)
    # It clears its word and finds the same drawdown at once.
    for _ in range(20):
        world["b"].trip(Process.FSM)
        world.run(50)
        world["b"].trip(Process.FSM)
    world.settle()
    assert world["a"].tripped
    assert world["b"].tripped
    assert "arm" not in world.cluster.keys


def test_word_when_it_is_set_while_a_followed_trip_is_on_its_way_into_the_file_then_it_is_a_trip_of_its_own(
    world: World,
) -> None:
    world["b"].latch.broken = True
    followed = world["a"].kill_command()
    world.run(100)
    world["b"].trip(Process.SYNCER, TripReason.ACCOUNT_MISMATCH)
    world.run(100)
    world["b"].latch.broken = False
    world.settle()
    assert world["b"].latch.file.trip_id != followed
    assert world["b"].latch.file.trip_id in [trip.trip_id for trip in world.view().trips]


def test_word_when_its_process_never_clears_it_then_the_host_trips_the_cluster_again(world: World) -> None:
    world["b"].trip(Process.SYNCER, TripReason.ACCOUNT_MISMATCH)
    world.settle()
    first = world["b"].latch.file.trip_id
    # The process hangs: it holds its slot, and looks at nothing.
    world["b"].watches = [each for each in world["b"].watches if each._word is not Word.TRIP_SYNCER]
    assert world.reset(first) == []
    world.settle()
    assert world["b"].latch.file.trip_id != first
    assert world["b"].cleared == []
    assert "arm" not in world.cluster.keys


def test_operators_word_when_an_older_trip_is_acknowledged_before_the_file_follows_then_nothing_clears(
    world: World,
) -> None:
    first = world["a"].kill_command()
    world.settle()
    world["b"].board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    world.run(50)
    assert world.reset(first) == []
    world.run(6_000)
    assert world["b"].cleared == []
    assert world["b"].tripped
    assert "arm" not in world.cluster.keys


def test_operators_word_when_the_file_never_follows_then_it_counts_as_a_trip_of_its_own(world: World) -> None:
    first = world["a"].kill_command()
    world.settle()
    world["b"].board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    world.run(5_000)
    assert world["b"].latch.file.trip_id != first


def test_operators_trip_when_the_host_is_tripped_already_then_the_commands_own_name_stays(world: World) -> None:
    world["a"].kill_command()
    world.settle()
    second = world["b"].kill_command()
    world.run(6_000)
    assert world["b"].latch.file.trip_id == second
    assert world.reset(second) == []
    world.settle()
    assert not world["b"].tripped


def test_override_when_the_cluster_has_one_then_it_is_on_every_board_and_its_absence_lifts_nothing(
    world: World,
) -> None:
    for code in (Override.PAUSE, Override.EMERGENCY, Override.PAUSE):
        world.cluster.do(OverrideCluster(OverrideRecord(code, "anna", "", 0)))
        world.settle()
        assert world["b"].board.read(Word.CLUSTER_OVERRIDE) == code
        assert [node.override for node in world.view().nodes] == [code, code]
    world.cluster.delete("override")
    world.settle()
    assert world["b"].board.read(Word.CLUSTER_OVERRIDE) == Override.PAUSE
    world.cluster.do(OverrideCluster(OverrideRecord(Override.NONE, "anna", "", 0)))
    world.settle()
    assert world["b"].board.read(Word.CLUSTER_OVERRIDE) == Override.NONE


def test_reset_when_a_host_demands_the_latch_or_is_unwell_then_refused(world: World) -> None:
    world["a"].kill_command()
    world["b"].demand = int(Demand.LOOKED | Demand.NOT_FLAT)
    world.settle()
    assert world.reset()[0].startswith("b: the account is not flat")
    world["b"].demand = int(Demand.LOOKED)
    world["b"].board.write(Word.OVERRIDE, Override.EMERGENCY)
    world.settle()
    assert world.reset()[0].startswith("b: the override is EMERGENCY")


def test_reset_when_two_hosts_go_by_one_name_then_refused_until_one_is_gone(world: World) -> None:
    world["a"].kill_command()
    world.settle()
    other = next(node for node in world.view().nodes if node.node == "b")
    world.cluster.do(ReportNode(msgspec.structs.replace(other, host="elsewhere"), 5))
    world.run(1_500)
    assert world.reset()[0].startswith("b: another host, elsewhere, goes by this one's name")
    world.run(2 * REPORT_TTL_S * 1_000)
    assert world.reset() == []


def test_file_when_it_cannot_be_read_then_its_trip_has_a_name_that_no_earlier_one_had(world: World) -> None:
    unreadable = "0-ERROR"
    names = []
    for _ in range(2):
        record = world["a"].latch.file
        world["a"].latch.file = type(record)(0, True, TripReason.ERROR, "", "cannot be read", 0)
        world.settle()
        (node,) = [node for node in world.view().nodes if node.node == "a"]
        assert unreadable in node.trip_id
        names.append(node.trip_id)
        assert world.reset() == []
        world.settle()
        assert not world["a"].latch.file.tripped
    assert len(set(names)) == 2


def test_reset_when_an_earlier_clearing_failed_on_a_host_then_that_does_not_stand_in_the_way_of_the_next(
    world: World,
) -> None:
    world["a"].kill_command()
    world.settle()
    world["b"].latch.broken = True
    assert world.reset() == []
    world.settle()
    assert world["b"].tripped
    second = world["a"].kill_command()
    world.settle()
    world["b"].latch.broken = False
    world.settle()
    assert world.reset(second) == []
    world.settle()
    assert not world["a"].tripped
    assert not world["b"].tripped


def test_own_trip_when_another_hosts_is_followed_then_its_acknowledgement_does_not_clear_this_one(
    world: World,
) -> None:
    a, b = world["a"], world["b"]
    b.trip(Process.FSM)
    world.run(300)
    followed = a.latch.file.trip_id
    a.service.on_own_trip(TripReason.FORCED_CLOSE)
    world.settle()
    own = a.latch.file
    assert (own.reason, own.who) == (TripReason.FORCED_CLOSE, "executor")
    assert [trip.trip_id for trip in world.view().trips] == [followed, own.trip_id]
    world.cluster.arm(acks=(followed,))
    world.settle()
    assert a.tripped
    assert b.tripped
    assert world.reset(own.trip_id) == []
    world.settle()
    assert not a.tripped
    assert not b.tripped


def test_own_trip_when_nothing_holds_then_its_word_alone_is_the_trip(world: World) -> None:
    world["a"].trip(Process.EXECUTOR, TripReason.FORCED_CLOSE)
    world["a"].service.on_own_trip(TripReason.FORCED_CLOSE)
    world.settle()
    assert len(world.view().trips) == 1

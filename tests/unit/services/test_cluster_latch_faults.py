"""The cluster's kill switch while etcd is lost, wiped, brought back or full, and hosts are killed and started."""

from __future__ import annotations

import pytest

from grinder.core.cluster_latch import DATA_LOST, NO_PERMISSION, NOT_READ
from grinder.model.board import Word
from grinder.model.cluster import OverrideCluster, OverrideRecord
from grinder.model.control import TRIP_CODES, Override, Process, TripReason
from grinder.services.cluster_latch import FILE_WAIT_MS, OPERATOR_FILE_WAIT_MS
from tests.latch_world import TICK_MS, World


@pytest.fixture
def world() -> World:
    world = World("a", "b")
    world.settle()
    return world


def test_arm_when_it_is_deleted_by_hand_then_every_host_trips_and_stays_so_when_it_is_put_back(world: World) -> None:
    world.cluster.delete("arm")
    world.settle()
    assert world["a"].tripped
    assert world["b"].latch.file.detail in (NO_PERMISSION, f"a: CLUSTER by cluster: {NO_PERMISSION}")
    world.cluster.arm()
    world.settle()
    assert world["a"].tripped
    assert world["b"].tripped


def test_etcd_when_it_was_never_armed_then_the_first_reset_arms_it(world: World) -> None:
    fresh = World("a", "b", armed=False)
    assert fresh["a"].service.problem == NOT_READ
    fresh.settle()
    assert fresh["a"].tripped
    assert fresh["b"].tripped
    assert fresh.reset("never-armed") == []
    fresh.settle()
    assert not fresh["a"].tripped
    assert not fresh["b"].tripped


def test_etcd_when_it_is_wiped_then_every_host_trips_and_the_trips_are_recorded_again(world: World) -> None:
    world.cluster.wipe()
    world.settle()
    assert world["a"].tripped
    assert DATA_LOST in world["a"].latch.file.detail
    held = world["a"].latch.file.trip_id
    world.cluster.wipe()
    world.settle()
    assert world["a"].latch.file.trip_id == held
    assert held in [trip.trip_id for trip in world.view().trips]


def test_etcd_when_it_lost_the_revisions_that_made_terms_then_the_reset_raises_the_epoch_above_them(
    world: World,
) -> None:
    world["b"].term = 5_000
    world.settle()
    assert world["a"].tripped
    world.cluster.wipe()
    world.settle()
    assert world.reset() == []
    view = world.view()
    assert view.epoch_base + view.revision > 5_000
    world.settle()
    assert not world["a"].tripped
    assert not world["b"].tripped


def test_etcd_when_it_is_brought_back_to_an_armed_state_then_who_is_tripped_stays_so_and_the_others_trip(
    world: World,
) -> None:
    keys, revision = dict(world.cluster.keys), world.cluster.revision
    world["a"].kill_command()
    world.settle()
    assert world.reset() == []
    world.settle()
    second = world["a"].kill_command()
    world.run(50)
    world.cluster.keys, world.cluster.revision = dict(keys), revision
    world.settle()
    assert world["a"].latch.file.trip_id == second
    assert world["b"].tripped
    assert "arm" not in world.cluster.keys


def test_etcd_when_a_clear_cluster_is_brought_back_then_every_host_trips(world: World) -> None:
    keys, revision = dict(world.cluster.keys), world.cluster.revision
    world["a"].kill_command()
    world.settle()
    assert world.reset() == []
    world.settle()
    world.cluster.keys, world.cluster.revision = dict(keys), revision
    world.settle()
    assert world["a"].tripped
    assert DATA_LOST in world["a"].latch.file.detail or DATA_LOST in world["b"].latch.file.detail


def test_etcd_when_it_has_no_space_then_the_other_host_trips_all_the_same_and_the_record_follows(world: World) -> None:
    world.cluster.no_space = True
    world["a"].trip(Process.FSM)
    world.run(1_000)
    assert "arm" not in world.cluster.keys
    assert world["b"].tripped
    assert "no space" in world["a"].service.problem
    world.cluster.no_space = False
    world.settle()
    assert {trip.node for trip in world.view().trips} == {"a", "b"}
    assert world.reset() == []
    world.settle()
    assert not world["a"].tripped
    assert not world["b"].tripped


def test_trip_when_etcd_is_out_of_reach_then_it_holds_here_and_is_told_later(world: World) -> None:
    world["a"].store.up = False
    world["a"].trip(Process.FSM)
    world.run(5_000)
    assert world["a"].latch.file.tripped
    assert not world["b"].tripped
    assert "not recorded in etcd yet" in world["a"].service.problem
    world["a"].store.up = True
    world.settle()
    assert world["b"].tripped
    assert world["a"].service.problem == ""


def test_restart_when_tripped_and_etcd_is_down_then_tripped_and_when_it_is_back_still(world: World) -> None:
    world["a"].kill_command()
    world.settle()
    world["b"].kill()
    world["b"].store.up = False
    world["b"].start()
    world.run(4_000)
    assert world["b"].tripped
    assert world["b"].service.problem
    world["b"].store.up = True
    world.settle()
    assert world["b"].tripped
    assert world["b"].latch.file.trip_id == world["a"].latch.file.trip_id


def test_host_when_it_was_down_at_the_reset_then_it_clears_by_the_same_acknowledgement(world: World) -> None:
    trip_id = world["a"].kill_command()
    world.settle()
    world["b"].kill()
    world.run(8_000)
    assert world.reset(trip_id) == []
    world["b"].start()
    world.settle()
    assert world["b"].cleared == [trip_id]


def test_host_when_words_were_set_while_no_executor_looked_then_an_acknowledgement_of_before_does_not_count(
    world: World,
) -> None:
    trip_id = world["a"].kill_command()
    world.settle()
    world["b"].kill()
    world.run(8_000)
    assert world.reset(trip_id) == []
    world["b"].trip(Process.SYNCER, TripReason.ACCOUNT_MISMATCH)
    world["b"].start()
    world.settle()
    assert world["b"].cleared == []
    assert world["a"].tripped


def test_kill_9_when_it_comes_right_after_the_word_then_the_trip_is_neither_lost_here_nor_there(world: World) -> None:
    world["a"].trip(Process.FSM)
    world["a"].kill()
    world["a"].start()
    world.settle()
    assert world["a"].tripped
    assert world["b"].tripped


@pytest.mark.parametrize("ticks", range(6))
def test_kill_9_when_it_comes_ticks_after_the_trip_then_both_hosts_are_tripped_in_the_end(ticks: int) -> None:
    world = World("a", "b")
    world.settle()
    world["a"].trip(Process.FSM)
    world.run(ticks * 50)
    world["a"].kill()
    world.run(500)
    world["a"].start()
    world.settle()
    assert world["a"].tripped
    assert world["b"].tripped


def test_trip_when_the_file_cannot_be_written_then_the_cluster_hears_of_it_and_it_outlives_the_host(
    world: World,
) -> None:
    a, b = world["a"], world["b"]
    a.latch.broken = True
    a.trip(Process.FSM)
    world.run(FILE_WAIT_MS + 3 * TICK_MS)
    assert b.tripped
    assert not a.latch.file.tripped
    (trip,) = world.view().trips
    assert (trip.node, trip.reason, trip.who) == ("a", TripReason.DRAWDOWN_LIMIT, "fsm")
    assert a.log.names.count("LATCH_FILE_LATE") == 1
    a.kill()
    world.run(10_000)
    assert b.tripped
    a.reboot()
    a.latch.broken = False
    a.start()
    world.settle()
    assert a.tripped
    assert a.latch.file.trip_id == trip.trip_id
    assert world.reset(trip.trip_id) == []
    world.settle()
    assert not a.tripped
    assert not b.tripped


def test_trip_when_the_file_takes_it_late_then_under_the_name_that_was_told_and_it_is_no_second_one(
    world: World,
) -> None:
    a = world["a"]
    a.latch.broken = True
    a.trip(Process.FSM)
    world.settle()
    (told,) = world.view().trips
    a.latch.broken = False
    world.settle()
    assert a.latch.file.trip_id == told.trip_id
    assert len(world.view().trips) == 1
    assert world.reset(told.trip_id) == []
    world.settle()
    assert [host.cleared for host in world.hosts.values()] == [[told.trip_id], [told.trip_id]]
    assert len(world.view().trips) == 1


def test_reset_when_the_file_cannot_be_written_yet_then_the_others_clear_and_this_host_does_once_it_is(
    world: World,
) -> None:
    a = world["a"]
    a.latch.broken = True
    a.trip(Process.FSM)
    world.settle()
    assert world.reset() == []
    world.settle()
    assert not world["b"].tripped
    assert a.tripped
    (node,) = [node for node in world.view().nodes if node.node == "a"]
    assert "does not take its trip" in node.problem
    a.latch.broken = False
    world.settle()
    assert not a.tripped
    assert not a.latch.file.tripped
    assert "arm" in world.cluster.keys
    assert len(world.view().trips) == 1


def test_word_when_it_is_set_after_a_trip_that_no_file_has_was_told_then_it_is_a_trip_of_its_own(world: World) -> None:
    a = world["a"]
    a.latch.broken = True
    a.trip(Process.FSM)
    world.settle()
    (first,) = world.view().trips
    a.trip(Process.SYNCER, TripReason.ACCOUNT_MISMATCH)
    world.settle()
    assert len(world.view().trips) == 2
    world.cluster.arm(acks=(first.trip_id,))
    world.settle()
    assert a.tripped
    assert "arm" not in world.cluster.keys
    a.latch.broken = False
    world.settle()
    assert a.latch.file.trip_id == world.view().trips[-1].trip_id
    assert world.reset() == []
    world.settle()
    assert not a.tripped


def test_word_when_it_is_set_while_an_earlier_trip_is_in_a_file_that_takes_no_more_then_the_cluster_hears_of_it(
    world: World,
) -> None:
    a = world["a"]
    first = a.kill_command()
    world.settle()
    a.latch.broken = True
    a.trip(Process.SYNCER, TripReason.ACCOUNT_MISMATCH)
    world.settle()
    assert [trip.reason for trip in world.view().trips] == [TripReason.MANUAL, TripReason.ACCOUNT_MISMATCH]
    world.cluster.arm(acks=(first,))
    world.settle()
    assert world["b"].tripped


def test_permission_when_it_comes_back_unasked_while_the_file_cannot_be_written_then_deleted_every_time(
    world: World,
) -> None:
    world["a"].latch.broken = True
    world["a"].trip(Process.FSM)
    world.settle()
    for _ in range(3):
        world.cluster.arm()
        world.settle()
        assert "arm" not in world.cluster.keys
        assert world["a"].tripped
        assert world["b"].tripped


def test_permission_when_it_comes_back_unasked_and_the_file_takes_no_more_then_one_trip_is_made_of_that(
    world: World,
) -> None:
    a = world["a"]
    a.kill_command()
    world.settle()
    a.latch.broken = True
    world.cluster.arm()
    world.settle()
    assert "arm" not in world.cluster.keys
    assert a.log.names.count("CLUSTER_TRIPS_AGAIN") == 1


def test_glance_when_the_file_does_not_take_the_executors_own_trip_then_told_without_any_timer(world: World) -> None:
    a, b = world["a"], world["b"]
    a.trip(Process.EXECUTOR, TripReason.FORCED_CLOSE)
    a.latch.trip(TripReason.FORCED_CLOSE, Process.EXECUTOR)
    a.service.glance()
    world.clock.advance_ms(FILE_WAIT_MS)
    a.service.glance()
    a.store.pump()
    b.store.pump()
    assert b.tripped


def test_own_trip_when_the_cluster_has_no_permission_and_the_file_cannot_be_written_then_told_too(world: World) -> None:
    for host in world.hosts.values():
        host.latch.broken = True
    world.cluster.delete("arm")
    world.settle()
    assert {trip.node for trip in world.view().trips} == {"a", "b"}


def test_operators_word_when_the_command_never_comes_to_the_file_then_the_cluster_hears_of_it(world: World) -> None:
    world["a"].latch.broken = True
    world["a"].board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    world.run(OPERATOR_FILE_WAIT_MS - 5 * TICK_MS)
    assert not world["b"].tripped
    world.run(10 * TICK_MS)
    assert world["b"].tripped


def test_executors_own_trip_when_the_file_cannot_be_written_then_told(world: World) -> None:
    world["a"].latch.broken = True
    world["a"].trip(Process.EXECUTOR, TripReason.FORCED_CLOSE)
    world.settle()
    assert world["b"].tripped


def test_override_when_etcd_is_brought_back_to_before_it_was_set_then_it_stays_until_one_is_set_again(
    world: World,
) -> None:
    def say(code: Override) -> None:
        world.cluster.do(OverrideCluster(OverrideRecord(code, "anna", "", 0)))
        world.settle()

    say(Override.NONE)
    keys, revision = dict(world.cluster.keys), world.cluster.revision
    say(Override.EMERGENCY)
    world.cluster.keys, world.cluster.revision = dict(keys), revision
    world.settle()
    assert [world[name].board.read(Word.CLUSTER_OVERRIDE) for name in "ab"] == [Override.EMERGENCY] * 2
    say(Override.PAUSE)
    assert [world[name].board.read(Word.CLUSTER_OVERRIDE) for name in "ab"] == [Override.PAUSE] * 2

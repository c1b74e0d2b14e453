"""Two executors of one account and one cluster: who leads acts, who does not is silent, orders never lack a keeper.

The world itself refuses an order of an older term after one of a newer; each test says what else must hold.
"""

from __future__ import annotations

import pytest

from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, Process, TripReason
from tests.two_hosts import COUNTDOWN_MS, TTL_S, Host, TwoHosts

HEALTHY_MS = 2_000
"""How long a host must be well before it stands for election."""

CRASH_MS = TTL_S * 1_000 + 1_000
"""Longest time from the death of a leader to the next one, its lease's life included."""

SILENT_MS = TTL_S * 1_000 - 1_000
"""When a leader that hears nothing of etcd has stopped by itself."""


def led_by_a(seed: int = 1) -> TwoHosts:
    """Return two hosts of which the first leads and trades, and the second would like to."""
    world = TwoHosts(seed)
    world.a.start()
    world.until(lambda: world.a.leads and world.a.ready, HEALTHY_MS + 1_000)
    world.b.start()
    world.run(HEALTHY_MS + 1_000)
    assert world.placed_by(world.a)
    assert not world.commands_of(world.b)
    return world


def check_kept(world: TwoHosts, host: Host, *, reducing: set[str]) -> None:
    """Check that a host keeps everything that rests: only its own entries, and what reduced before it came."""
    resting = world.resting()
    own = f"grd-{host.base36_term}-"
    assert {name for name, order in resting.items() if not order.reduce_only and not name.startswith(own)} == set()
    assert reducing <= {name for name, order in resting.items() if order.reduce_only}
    assert set(resting) <= host.keeps()


def reducing(world: TwoHosts) -> set[str]:
    return {name for name, order in world.resting().items() if order.reduce_only}


@pytest.mark.parametrize("seed", range(3))
def test_start_when_two_hosts_begin_at_once_then_one_leads_and_the_other_touches_nothing(seed: int) -> None:
    world = TwoHosts(seed)
    world.a.start()
    world.b.start()
    world.run(HEALTHY_MS + 3_000)
    assert [host.leads for host in world.hosts].count(True) == 1
    loser = world.b if world.a.leads else world.a
    assert not world.commands_of(loser)
    assert "leads (term" in loser.service.readiness()


@pytest.mark.parametrize("seed", range(3))
def test_crash_when_the_leader_dies_then_the_other_takes_over_everything_that_rests(seed: int) -> None:
    world = led_by_a(seed)
    before = reducing(world)
    term, entries = world.a.term, set(world.resting()) - before
    assert entries
    assert before
    world.a.kill()
    took_ms = world.until(lambda: world.b.leads and world.b.ready, CRASH_MS)
    assert took_ms >= SILENT_MS - 1_000
    assert world.b.term > term
    assert not entries & set(world.resting())
    world.run(2_000)
    assert world.placed_by(world.b)
    check_kept(world, world.b, reducing=before)
    assert world.countdown_ms() > COUNTDOWN_MS // 2


def test_crash_when_the_dead_leader_comes_back_then_it_is_the_standby_and_its_old_orders_are_not_its_own() -> None:
    world = led_by_a()
    world.a.kill()
    world.until(lambda: world.b.leads and world.b.ready, CRASH_MS)
    before = len(world.commands_of(world.a))
    world.a.start()
    world.run(HEALTHY_MS + 2_000)
    assert world.b.leads
    assert len(world.commands_of(world.a)) == before
    check_kept(world, world.b, reducing=set())


def test_crash_when_the_executor_alone_is_started_again_at_once_then_it_leads_again_under_a_new_term() -> None:
    world = led_by_a()
    world.b.kill()
    term, before = world.a.term, reducing(world)
    world.a.kill()
    world.run(500)
    world.a.start()
    world.until(lambda: world.a.leads and world.a.ready, CRASH_MS + HEALTHY_MS)
    assert world.a.term > term
    world.run(1_000)
    check_kept(world, world.a, reducing=before)


@pytest.mark.parametrize("seed", range(3))
def test_stop_when_asked_for_then_the_other_leads_within_a_quarter_of_a_second(seed: int) -> None:
    world = led_by_a(seed)
    term = world.a.term
    world.a.service.on_stop()
    took_ms = world.until(lambda: world.b.leads, 250)
    assert world.b.term > term
    assert not [name for name in world.resting() if name.startswith(f"grd-{world.a.base36_term}-")]
    world.until(lambda: world.b.ready, 250)
    assert not world.a.alive or world.a.service.stopped
    assert took_ms < 250
    world.run(1_000)
    assert world.placed_by(world.b)


def test_stop_when_the_venue_does_not_answer_then_not_resigned_and_the_other_waits_the_lock_delay() -> None:
    world = led_by_a()
    world.a.wire.connected = False
    world.a.service.on_stop()
    took_ms = world.until(lambda: world.b.leads, 15_000 + CRASH_MS)
    assert took_ms >= 15_000 + SILENT_MS - 500
    assert world.cluster.view(asked_boot_ns=0, known_revision=0).resigned == 0
    world.until(lambda: world.b.ready, 2_000)


@pytest.mark.parametrize("seed", range(3))
def test_partition_when_the_leader_is_cut_off_from_etcd_then_it_falls_silent_before_the_other_speaks(seed: int) -> None:
    world = led_by_a(seed)
    world.a.store.up = False
    cut_ms = world.now_ms
    world.until(lambda: world.b.leads and world.b.ready, CRASH_MS + 2_000)
    world.run(2_000)
    last_risk = max(each.at_ms for each in world.commands_of(world.a) if each.name.endswith("-b1"))
    last_of_a = max(each.at_ms for each in world.commands_of(world.a))
    first_of_b = min(each.at_ms for each in world.commands_of(world.b))
    assert last_risk - cut_ms <= 2_000
    assert last_of_a - cut_ms <= SILENT_MS
    assert last_of_a < first_of_b
    assert not world.a.leads
    world.a.store.up = True
    world.run(HEALTHY_MS + 2_000)
    assert "node-b leads" in world.a.service.readiness()
    check_kept(world, world.b, reducing=set())


@pytest.mark.parametrize("seed", range(3))
def test_pause_when_the_leader_is_stopped_beyond_its_lease_then_nothing_of_it_is_taken_afterwards(seed: int) -> None:
    world = led_by_a(seed)
    world.a.stopped = True
    world.until(lambda: world.b.leads and world.b.ready, CRASH_MS)
    woke_ms = world.now_ms
    world.a.stopped = False
    world.run(3_000)
    assert not [each for each in world.commands_of(world.a) if each.at_ms > woke_ms]
    assert "node-b leads" in world.a.service.readiness()


@pytest.mark.parametrize("process", [Process.FEED, Process.FSM, Process.SYNCER])
def test_health_when_a_process_of_the_leader_is_gone_for_long_then_it_hands_over_in_order(process: Process) -> None:
    world = led_by_a()
    world.a.peers[process] = False
    took_ms = world.until(lambda: world.b.leads, 6_000)
    assert took_ms >= 3_000
    assert world.cluster.view(asked_boot_ns=0, known_revision=0).resigned > 0
    world.run(1_000)
    assert world.placed_by(world.b)
    assert not world.a.service.stopped
    world.a.peers[process] = True
    world.run(HEALTHY_MS + 1_000)
    assert "node-b leads" in world.a.service.readiness()


def test_health_when_the_only_other_host_is_not_well_either_then_nobody_leads_until_one_is() -> None:
    world = led_by_a()
    world.b.peers[Process.FEED] = False
    world.run(3_000)
    world.a.kill()
    world.run(CRASH_MS)
    assert not world.b.leads
    assert world.b.service.readiness().startswith("standby: this node is not well: feed does not answer")
    world.b.peers[Process.FEED] = True
    world.until(lambda: world.b.leads and world.b.ready, HEALTHY_MS + SILENT_MS + 1_000)


def test_venue_when_it_tells_of_a_newer_term_then_the_leader_is_silent_at_once() -> None:
    world = led_by_a()
    for host in world.hosts:
        # A term beyond anything that etcd knows of: it may have lost data too, which trips by itself.
        host.latch.trips_expected = True
    world.place_of_term(world.a.term + 1_000)
    world.run(20)
    stopped_ms = world.now_ms
    assert not world.a.leads
    world.run(1_000)
    assert not [each for each in world.commands_of(world.a) if each.at_ms > stopped_ms]


def test_term_when_it_cannot_be_written_to_the_disk_then_nobody_acts_under_it() -> None:
    world = TwoHosts()
    world.a.terms.fails = True
    world.a.start()
    world.run(HEALTHY_MS + 2_000)
    assert not world.a.leads
    assert "is not on the disk yet" in world.a.service.readiness()
    assert not world.commands_of(world.a)
    world.a.terms.fails = False
    world.until(lambda: world.a.leads and world.a.ready, 2_000)
    assert world.a.terms.term == world.a.term


def test_etcd_when_it_is_not_there_at_the_start_then_the_role_is_unknown_until_it_is() -> None:
    world = TwoHosts()
    world.a.up = False
    world.a.start()
    world.run(20_000)
    assert world.a.board.read(Word.ROLE) == 0
    assert world.a.service.readiness() == "unknown: etcd does not answer"
    assert not world.commands_of(world.a)
    world.a.store.up = True
    world.until(lambda: world.a.leads and world.a.ready, 5_000)


@pytest.mark.parametrize("host_dies", [True, False])
def test_switch_when_the_leader_goes_then_two_hosts_never_wind_it_up_against_each_other(host_dies: bool) -> None:
    world = led_by_a()
    if host_dies:
        world.a.kill()
    else:
        world.a.store.up = False
    world.until(lambda: world.b.leads, CRASH_MS + 2_000)
    took_over_ms = world.now_ms
    world.run(COUNTDOWN_MS + 5_000)
    assert not [each for each in world.commands_of(world.a) if each.at_ms >= took_over_ms]
    assert world.resting()
    assert world.countdown_ms() > COUNTDOWN_MS // 2


def test_orders_when_both_hosts_die_then_the_venue_takes_them_back_within_lease_and_countdown() -> None:
    world = led_by_a()
    world.a.kill()
    world.b.kill()
    world.run(COUNTDOWN_MS + 1_000)
    assert not world.resting()


def trip_both(world: TwoHosts) -> None:
    """Let both hosts be tripped, as by the cluster's switch, with nothing asked for any more."""
    for host in world.hosts:
        host.trades = False
        host.latch.trips_expected = True
        host.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])


def test_exit_when_both_hosts_are_tripped_then_the_leader_alone_leaves_the_market() -> None:
    world = led_by_a()
    trip_both(world)
    world.core.top("60000.00", "50", "60000.10", "50")
    world.run(3_000)
    assert world.core.held() == 0
    assert not world.resting()
    assert not world.commands_of(world.b)


def test_exit_when_the_leader_dies_in_the_middle_then_the_next_one_finishes_it() -> None:
    world = led_by_a()
    trip_both(world)
    world.run(20)
    assert world.core.held() > 0
    world.a.kill()
    world.core.top("60000.00", "50", "60000.10", "50")
    world.until(lambda: world.b.leads, CRASH_MS)
    world.run(3_000)
    assert world.core.held() == 0
    assert not world.resting()
    assert all(name.startswith(f"grd-{world.b.base36_term}-") for name in world.placed_by(world.b))

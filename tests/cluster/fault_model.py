"""What goes wrong in the simulated cluster, as a table: name, and what begins it. Each ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from grinder.model.control import TripReason
from tests.cluster.etcd_model import MEMBERS
from tests.cluster.schedule import MS, S

if TYPE_CHECKING:
    from tests.cluster.world_model import World


def pause(world: World, length_ns: int) -> None:
    host = world.one_host()
    host.paused_until_ns = world.schedule.now_ns + length_ns


def pause_in_send(world: World, length_ns: int) -> None:
    for host in world.hosts:
        host.pause_in_send_ns = length_ns


def pause_in_round(world: World, length_ns: int) -> None:
    """Stop a process between the arrival of a permit and the look at it; its host may be cut off from then on."""
    cut_off = world.schedule.random.random() < 0.5
    for host in world.hosts:
        host.pause_in_round_ns, host.cut_off_in_round = length_ns, cut_off


def suspend(world: World, length_ns: int) -> None:
    host = world.one_host()
    host.paused_until_ns = world.schedule.now_ns + length_ns
    host.clock.suspended_ns += length_ns


def crash(world: World, length_ns: int) -> None:
    world.crash(world.one_host(), length_ns)


def crash_of_all(world: World, length_ns: int) -> None:
    for host in world.hosts:
        world.crash(host, length_ns)


def orderly_stop(world: World, length_ns: int) -> None:
    host = world.one_host()
    if host.up:
        host.stop()
    world.schedule.after(length_ns + 2 * S, world.start, host)


def illness(world: World, length_ns: int) -> None:
    host = world.one_host()
    host.ill = "a process is down"
    world.schedule.after(length_ns, setattr, host, "ill", "")


def partition(world: World, length_ns: int) -> None:
    """Cut a host from some members: both ways, for its requests alone, or for the answers alone."""
    host, random = world.one_host(), world.schedule.random
    members = set(random.sample(range(MEMBERS), random.choice((1, 2, 3, 3))))
    way = random.choice(("both", "out", "back"))
    host.net.no_way_out |= members if way != "back" else set()
    host.net.no_way_back |= members if way != "out" else set()
    world.schedule.after(length_ns, host.net.heal)


def bad_net(world: World, length_ns: int) -> None:
    host, random = world.one_host(), world.schedule.random
    host.net.loss = random.choice((0.0, 0.3, 0.6))
    host.net.slow = random.choice((1, 30, 200))
    world.schedule.after(length_ns, host.net.heal)


def member_hangs(world: World, length_ns: int) -> None:
    world.etcd.set_apart({world.schedule.random.randrange(MEMBERS)})
    world.schedule.after(length_ns, world.etcd.heal)


def leader_cut_off(world: World, length_ns: int) -> None:
    """The etcd leader is cut off from the other members and does not know: it acknowledges keepalives."""
    etcd = world.etcd
    if etcd.leader is not None:
        etcd.set_apart({etcd.leader}, acknowledges_ns=world.schedule.between(S, length_ns + S))
        world.schedule.after(length_ns, etcd.heal)


def host_cut_off_with_leader(world: World, length_ns: int) -> None:
    """The same, and a host reaches that member alone, is set up for no other, and reaches the venue."""
    host, etcd = world.one_host(), world.etcd
    if etcd.leader is not None:
        host.member, host.net.one_member = etcd.leader, True
        length_ns += world.schedule.between(0, 6 * S)
        host.net.no_way_out |= {member for member in range(MEMBERS) if member != etcd.leader}
        etcd.set_apart({etcd.leader}, acknowledges_ns=length_ns)
        world.schedule.after(length_ns, host.net.heal)
        world.schedule.after(length_ns, etcd.heal)


def quorum_lost(world: World, length_ns: int) -> None:
    alone = world.schedule.random.randrange(MEMBERS)
    world.etcd.set_apart({member for member in range(MEMBERS) if member != alone}, acknowledges_ns=S)
    world.schedule.after(length_ns, world.etcd.heal)


def lease_revoked(world: World, length_ns: int) -> None:
    world.etcd.revoke_leader()


def leader_deleted(world: World, length_ns: int) -> None:
    world.etcd.delete("leader")


def arm_deleted(world: World, length_ns: int) -> None:
    world.etcd.delete("arm")


def latch_deleted(world: World, length_ns: int) -> None:
    """Somebody tidies up by hand, everything of the kill switch that looks like a trip."""
    for name in [name for name in world.etcd.keys if name == "latch" or name.startswith("trip/")]:
        world.etcd.delete(name)


def wiped(world: World, length_ns: int) -> None:
    world.etcd.wipe(same_cluster=world.schedule.random.random() < 0.5)
    _outage(world, length_ns)


def restored(world: World, length_ns: int) -> None:
    world.etcd.restore(same_cluster=world.schedule.random.random() < 0.5)
    _outage(world, length_ns)


def restored_while_all_are_down(world: World, length_ns: int) -> None:
    crash_of_all(world, length_ns + S)
    restored(world, length_ns // 2)


def small_loss(world: World, length_ns: int) -> None:
    """What was written last is lost, the trip of a host that dies too; another cannot read until more was written."""
    deaf, other = world.one_host(), world.schedule.random.choice(world.hosts)
    deaf.net.hears_reads = False
    world.schedule.after(S // 2 + min(length_ns, S), setattr, deaf.net, "hears_reads", True)
    if other is not deaf and other.up and other.held is None:
        other.trip(TripReason.DRAWDOWN_LIMIT)
        other._latch()
        world.schedule.after(20 * MS, world.crash, other, length_ns + 2 * S)
    world.schedule.after(30 * MS, _lose_the_last, world, world.schedule.between(0, S // 5))


def _lose_the_last(world: World, length_ns: int) -> None:
    world.etcd.restore(same_cluster=world.schedule.random.random() < 0.8, newest=True)
    _outage(world, length_ns)


def no_space(world: World, length_ns: int) -> None:
    world.etcd.no_space = True
    world.schedule.after(length_ns, setattr, world.etcd, "no_space", False)


def trip(world: World, length_ns: int) -> None:
    host = world.one_host()
    if host.up and host.held is None:
        host.trip(TripReason.MANUAL)


def trip_without_space(world: World, length_ns: int) -> None:
    no_space(world, length_ns)
    trip(world, length_ns)


def trip_and_crash(world: World, length_ns: int) -> None:
    """The file was written; whether etcd heard of it is a matter of milliseconds."""
    host = world.one_host()
    if host.up and host.held is None:
        host.trip(TripReason.DRAWDOWN_LIMIT)
        host._latch()
        world.schedule.after(world.schedule.between(0, 3 * MS), world.crash, host, length_ns)


def _outage(world: World, length_ns: int) -> None:
    """Every member restarts."""
    world.etcd.set_apart(set(range(MEMBERS)))
    world.schedule.after(min(length_ns, 2 * S), world.etcd.heal)


FAULTS: Final[dict[str, Callable[[World, int], None]]] = {
    fault.__name__: fault
    for fault in (
        pause, pause_in_send, pause_in_round, suspend, crash, crash_of_all, orderly_stop, illness,
        partition, bad_net, member_hangs, leader_cut_off, host_cut_off_with_leader, quorum_lost,
        lease_revoked, leader_deleted, arm_deleted, latch_deleted,
        wiped, restored, restored_while_all_are_down, small_loss, no_space,
        trip, trip_without_space, trip_and_crash,
    )
}  # fmt: skip

LENGTHS_NS: Final = (100 * MS, 8 * S)

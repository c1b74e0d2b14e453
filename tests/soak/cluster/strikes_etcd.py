"""Faults of etcd and of the ways to it: partitions, members that die and hang, keys changed by hand, lost data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from tests.soak.cluster.cluster_rig import ClusterRig
from tests.soak.cluster.etcd_field import MEMBER_OF, NODES, UnansweredError, end_of
from tests.soak.cluster.strikes_hosts import BRIEF_S, Missed, Strike, excused, leader_or_any, told


def members(rig: ClusterRig) -> tuple[str, ...]:
    return tuple(rig.field.members)


def etcd_leader(rig: ClusterRig) -> tuple[str, Missed]:
    """Return which member leads etcd, or that nobody says so."""
    name = rig.field.leader()
    return name, [] if name else ["nobody led etcd"]


def cut_off(way: str, *, with_member: bool = False) -> Strike:
    """A host, alone or with its member, is cut from etcd; the venue stays within its reach."""

    @contextmanager
    def strike(rig: ClusterRig, random: Random) -> Iterator[None]:
        node = leader_or_any(rig, random)
        own = (MEMBER_OF[node],) if with_member else ()
        others = tuple(name for name in members(rig) if name not in own)
        rig.field.wire.cut(*rig.field.ways((end_of(node), *own), others, way))
        yield
        rig.field.wire.heal()

    return strike


@contextmanager
def etcd_leader_cut_off(rig: ClusterRig, random: Random) -> Iterator[Missed]:
    """The member that leads etcd is cut from the other two, with every host still reaching it."""
    leading, missed = etcd_leader(rig)
    leader = leading or random.choice(members(rig))
    others = tuple(name for name in members(rig) if name != leader)
    rig.field.wire.cut(*rig.field.ways((leader,), others, random.choice(["both", "in", "out"])))
    yield missed
    rig.field.wire.heal()


@contextmanager
def lossy(rig: ClusterRig, random: Random) -> Iterator[None]:
    """Packets are lost, or all is slow, between a host and etcd, or among the members."""
    node = leader_or_any(rig, random)
    ends = random.choice([(end_of(node),), members(rig)])
    delay_s, lost = random.choice([(0.0, 0.3), (0.0, 0.6), (0.0, 0.9), (0.15, 0.0), (0.4, 0.0)])
    rig.field.wire.slow(*rig.field.ways(ends, members(rig)), delay_s=delay_s, lost=lost)
    yield
    rig.field.wire.heal()


def member(how: str, *, leader: bool) -> Strike:
    """A member is killed or paused."""

    @contextmanager
    def strike(rig: ClusterRig, random: Random) -> Iterator[Missed]:
        leading, missed = etcd_leader(rig) if leader else ("", [])
        struck = rig.field.members[leading or random.choice(members(rig))]
        if how == "kill":
            struck.kill()
            yield missed
        else:
            struck.pause()
            yield missed
            struck.resume()

    return strike


@contextmanager
def quorum_lost(rig: ClusterRig, random: Random) -> Iterator[None]:
    """Two members of three are killed."""
    for name in random.sample(members(rig), 2):
        rig.field.members[name].kill()
    yield


@contextmanager
def leader_deleted(rig: ClusterRig, random: Random) -> Iterator[Missed]:
    """Somebody deletes the leader key, or revokes its lease, while the leader may be cut from etcd."""
    node, missed = rig.leader(), Missed()
    if node and random.random() < 0.6:
        rig.field.wire.cut(*rig.field.ways((end_of(node),), members(rig)))
    with excused(missed):
        row = rig.field.keys().get("leader")
        if row is None:
            missed.append("nobody led")
        elif random.random() < 0.5:
            rig.field.revoke(row["lease"])
        else:
            rig.field.delete("leader")
    yield missed
    rig.field.wire.heal()


@contextmanager
def disarmed(rig: ClusterRig, random: Random) -> Iterator[Missed]:
    """Somebody deletes ``arm``."""
    missed = Missed()
    with excused(missed):
        known = rig.field.keys()
        if "arm" not in known:
            missed.append("not armed")
        rig.field.delete("arm")
    yield missed


@contextmanager
def no_space(rig: ClusterRig, random: Random) -> Iterator[Missed]:
    """etcd refuses every put, its quota filled up where it has a disk of its own, and then a host trips."""
    missed = Missed()
    with excused(missed):
        rig.field.raise_no_space()
    rig.live(random.uniform(*BRIEF_S))
    with told(rig, random):
        yield missed
    rig.make_room()


@contextmanager
def disk_stalled(rig: ClusterRig, random: Random) -> Iterator[None]:
    """The disk of a member, mostly of the one that leads etcd, takes no write and gives no error."""
    assert rig.field.disks is not None
    leader = rig.field.leader() if random.random() < 0.8 else ""
    with rig.field.disks.stalled(leader or random.choice(members(rig))):
        # What leads goes on by itself as long as nothing is to be written.
        with contextlib.suppress(UnansweredError):
            rig.field.write_junk(1)
        yield


@contextmanager
def disk_full(rig: ClusterRig, random: Random) -> Iterator[None]:
    """There is no room on the disk of a member, and it ends by itself."""
    assert rig.field.disks is not None
    with rig.field.disks.full(random.choice(members(rig))):
        with contextlib.suppress(UnansweredError):
            rig.field.write_junk()
        yield


@contextmanager
def wiped(rig: ClusterRig, random: Random) -> Iterator[None]:
    """etcd loses all its data."""
    rig.field.cluster.wipe()
    yield


@contextmanager
def restored(rig: ClusterRig, random: Random) -> Iterator[None]:
    """etcd goes back to what it was a moment ago; it was armed then."""
    rig.field.cluster.wait_healthy()
    snapshot = rig.field.cluster.snapshot()
    rig.live(random.uniform(*BRIEF_S))
    if random.random() < 0.5:
        rig.trip_word(random.choice(NODES))
        rig.live(random.uniform(*BRIEF_S))
    rig.field.cluster.restore(snapshot)
    yield


@contextmanager
def tripped_without_etcd(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A host trips while etcd is down, and is started again before etcd is."""
    rig.field.cluster.kill()
    node = random.choice(NODES)
    rig.trip_word(node)
    rig.live(random.uniform(*BRIEF_S))
    rig.hosts[node].kill()
    rig.hosts[node].start()
    yield


@contextmanager
def compacted(rig: ClusterRig, random: Random) -> Iterator[Missed]:
    """Revisions are forgotten while a host hears nothing of etcd."""
    node, missed = random.choice(NODES), Missed()
    rig.field.wire.cut(*rig.field.ways((end_of(node),), members(rig), "in"))
    rig.live(random.uniform(*BRIEF_S))
    with excused(missed):
        rig.field.compact()
    yield missed
    rig.field.wire.heal()

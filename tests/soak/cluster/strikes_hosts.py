"""Faults of hosts: programs die, stop and are stopped; latches are tripped, clocks and files spoilt.

A fault is a context: it strikes at its beginning and is lifted at its end. Whose turn it is: drawn by its ``random``.
One that may not come about gives a list, in which, once it is over, is why it did not.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from grinder.model.control import Process
from grinder.model.units import NS_PER_S
from tests.etcd_certificates import Authority
from tests.soak.cluster.cluster_rig import ClusterRig, certificate_paths, put_certificate
from tests.soak.cluster.etcd_field import NODES, UnansweredError
from tests.soak.cluster.hosts import PAUSE_FILE, PROGRAMS
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.verdicts import HEEDED_NS, Span

Missed = list[str]
Strike = Callable[[ClusterRig, Random], contextlib.AbstractContextManager[Missed | None]]

BRIEF_S = (0.1, 1.0)
HOUR_MS = 3_600_000
SLEPT_S = (1.0, 20.0)
BEATS_S_MAX = 2.0
"""Age of the heartbeat of an executor up to which its host counts as alive."""

NOTHING_WRONG, MEMBER_HANGS, ETCD_LEADER_HANGS = "every member up", "a member hung", "etcd's leader hung"


def leader_or_any(rig: ClusterRig, random: Random) -> str:
    """Return the host that leads, mostly; faults of the other matter less."""
    leader = rig.leader()
    return leader if leader and random.random() < 0.8 else random.choice(NODES)


@contextmanager
def excused(missed: Missed) -> Iterator[None]:
    """Note instead of raising that etcd did not do what it was asked for."""
    try:
        yield
    except UnansweredError as error:
        missed.append(str(error))


@contextmanager
def killed(rig: ClusterRig, random: Random) -> Iterator[None]:
    """The executor dies, alone, and is started again when the fault is over."""
    node = leader_or_any(rig, random)
    rig.hosts[node].kill(Process.EXECUTOR)
    yield


@contextmanager
def host_killed(rig: ClusterRig, random: Random) -> Iterator[None]:
    """All programs of a host die at once."""
    node = leader_or_any(rig, random)
    rig.hosts[node].kill()
    yield


@contextmanager
def all_killed(rig: ClusterRig, random: Random) -> Iterator[None]:
    """Both hosts die at once."""
    for host in rig.hosts.values():
        host.kill()
    yield


@contextmanager
def unwell(rig: ClusterRig, random: Random) -> Iterator[None]:
    """What a leader needs beside itself dies: feed and fsm, or the syncer."""
    node = leader_or_any(rig, random)
    since = now_ns()
    rig.hosts[node].kill(random.choice([Process.FSM, Process.SYNCER]))
    yield
    rig.unwell.append(Span(since, now_ns(), node))


@contextmanager
def stopped(rig: ClusterRig, random: Random) -> Iterator[None]:
    """The executor is asked to stop."""
    rig.hosts[leader_or_any(rig, random)].stop(Process.EXECUTOR)
    yield


def paused(*programs: Process) -> Strike:
    """Programs of a host are stopped for a while and know nothing of it."""

    @contextmanager
    def strike(rig: ClusterRig, random: Random) -> Iterator[None]:
        host = rig.hosts[leader_or_any(rig, random)]
        host.pause(*programs)
        yield
        host.resume(*programs)

    return strike


@contextmanager
def paused_at_send(rig: ClusterRig, random: Random) -> Iterator[Missed]:
    """The leader is stopped between its last look and the send of a command."""
    host, missed = rig.hosts[leader_or_any(rig, random)], Missed()
    pause = host.root / PAUSE_FILE
    pause.touch()
    yield missed
    # Who stopped has removed it.
    if pause.exists():
        missed.append("it sent nothing")
        pause.unlink(missing_ok=True)
    host.resume(Process.EXECUTOR)


@contextmanager
def heeded(rig: ClusterRig, name: str) -> Iterator[None]:
    """Note which hosts live now and go on, and from when to when each of them has time to latch."""
    since = now_ns()
    living = [
        node
        for node, host in rig.hosts.items()
        if Process.EXECUTOR in host.programs.keys() - host.stopping and host.beats(Process.EXECUTOR, BEATS_S_MAX)
    ]
    yield
    rig.heeding += [(name, Span(since, now_ns(), node)) for node in living]


@contextmanager
def told(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A host trips, and nothing keeps it from telling the others."""
    since = now_ns()
    with heeded(rig, NOTHING_WRONG):
        rig.trip_word(random.choice(NODES))
        yield
    rig.told.append(Span(since, now_ns()))


def told_by_process(*, latch_broken: bool) -> Strike:
    """The syncer of a host trips: its word on the board, which the executor has to make durable and tell.

    ``latch_broken``: no trip can be written into the latch file, so that it has to be told without.
    """

    @contextmanager
    def strike(rig: ClusterRig, random: Random) -> Iterator[Missed]:
        node = random.choice(NODES)
        if latch_broken:
            rig.hosts[node].latch_path.write_bytes(b"broken")
        with _process_trips(rig, node) as missed:
            yield missed

    return strike


@contextmanager
def _process_trips(rig: ClusterRig, node: str) -> Iterator[Missed]:
    since, missed = now_ns(), Missed()
    if not rig.hosts[node].beats(Process.EXECUTOR, BEATS_S_MAX):
        missed.append("nobody there to tell it")
    with heeded(rig, NOTHING_WRONG):
        rig.trip_process(node, Process.SYNCER)
        yield missed
    if not missed:
        rig.told.append(Span(since, now_ns()))


@contextmanager
def told_with_member_hung(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A member of etcd hangs, and then a host trips."""
    leader = rig.field.leader()
    name = random.choice(tuple(rig.field.members))
    rig.field.members[name].pause()
    rig.live(random.uniform(*BRIEF_S))
    with heeded(rig, ETCD_LEADER_HANGS if name == leader else MEMBER_HANGS):
        rig.trip_word(random.choice(NODES))
        yield
        rig.live(HEEDED_NS / NS_PER_S, rig.all_latched)
    rig.field.members[name].resume()


@contextmanager
def disk_full(rig: ClusterRig, random: Random) -> Iterator[None]:
    """There is no room on the disk of a host, and it trips."""
    assert rig.disks is not None
    node = leader_or_any(rig, random)
    with rig.disks.full(node):
        rig.live(random.uniform(*BRIEF_S))
        rig.trip_word(node)
        if not rig.holds_trip(node):
            rig.unkept.append(f"{node}: a full disk")
        yield


@contextmanager
def trip_storm(rig: ClusterRig, random: Random) -> Iterator[None]:
    """Both hosts trip at once and again, operators clear in between, and who tripped may be killed right after."""
    for _ in range(random.randint(2, 5)):
        node = random.choice(NODES)
        random.choice([rig.trip_word, rig.trip_file])(node)
        if random.random() < 0.4:
            rig.live(random.uniform(0.0, 0.005))
            rig.hosts[node].kill(*random.choice([(Process.EXECUTOR,), PROGRAMS]))
        elif random.random() < 0.3:
            held = rig.watcher.look()
            rig.operator.reset(random.choice(held) if held else "never-armed")
        rig.live(random.uniform(0.0, 0.2))
    yield


@contextmanager
def latch_damaged(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A host's latch file is damaged or lost, and its programs start again."""
    host = rig.hosts[random.choice(NODES)]
    path = host.latch_path
    host.kill()
    how = random.choice(["cut", "flip", "remove"])
    if how == "remove":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        place = random.randrange(len(data) // 2)
        data[place] ^= 0xFF
        # At once: half of it on the disk, which the judge might look at, would be another damage.
        damaged = path.with_suffix(".damaged")
        damaged.write_bytes(data[:place] if how == "cut" else data)
        damaged.replace(path)
    host.start()
    yield


@contextmanager
def board_lost(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A host's board is gone when its programs start again."""
    host = rig.hosts[leader_or_any(rig, random)]
    host.kill()
    host.lose_board()
    host.start()
    yield


@contextmanager
def clock_jumped(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A host's wall clock is wrong: by an hour, by a little, either way."""
    skew = rig.hosts[leader_or_any(rig, random)].skew
    skew.utc_ms = random.choice([-HOUR_MS, HOUR_MS, -1_500, 1_500, -400, 400])
    yield
    skew.utc_ms = 0


@contextmanager
def suspended(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A host sleeps: its programs stop, and when they go on CLOCK_BOOTTIME has jumped."""
    host = rig.hosts[leader_or_any(rig, random)]
    host.pause()
    yield
    host.skew.sleep(random.uniform(*SLEPT_S))
    host.resume()


@contextmanager
def certificate_bad(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A host is started with a certificate that has ended, or of an authority that nobody knows."""
    assert rig.authority is not None
    host = rig.hosts[leader_or_any(rig, random)]
    paths = certificate_paths(host.root)
    over = rig.authority.identity(host.name, life=datetime.timedelta(hours=-1))
    put_certificate(paths, random.choice([over, Authority(rig.root, "stranger").identity(host.name)]))
    host.kill(Process.EXECUTOR)
    host.start()
    yield
    put_certificate(paths, rig.authority.identity(host.name))
    host.kill(Process.EXECUTOR)

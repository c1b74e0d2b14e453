"""Faults of hosts: programs die, stop and are stopped; latches are tripped, clocks and files spoilt.

A fault is a context: it strikes at its beginning and is lifted at its end. Whose turn it is: drawn by its ``random``.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from grinder.model.control import Process
from tests.etcd_certificates import Authority
from tests.soak.cluster.cluster_rig import ClusterRig, certificate_paths, put_certificate
from tests.soak.cluster.etcd_field import NODES
from tests.soak.cluster.hosts import PAUSE_FILE, PROGRAMS
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.verdicts import Span

Strike = Callable[[ClusterRig, Random], contextlib.AbstractContextManager[None]]

BRIEF_S = (0.1, 1.0)
HOUR_MS = 3_600_000
SLEPT_S = (1.0, 20.0)


def leader_or_any(rig: ClusterRig, random: Random) -> str:
    """Return the host that leads, mostly; faults of the other matter less."""
    leader = rig.leader()
    return leader if leader and random.random() < 0.8 else random.choice(NODES)


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
def paused_at_send(rig: ClusterRig, random: Random) -> Iterator[None]:
    """The leader is stopped between its last look and the send of a command."""
    host = rig.hosts[leader_or_any(rig, random)]
    (host.root / PAUSE_FILE).touch()
    yield
    (host.root / PAUSE_FILE).unlink(missing_ok=True)
    host.resume(Process.EXECUTOR)


@contextmanager
def told(rig: ClusterRig, random: Random) -> Iterator[None]:
    """A host trips, and nothing keeps it from telling the others."""
    since = now_ns()
    rig.trip_word(random.choice(NODES))
    yield
    rig.told.append(Span(since, now_ns()))


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
            rig.reset(random.choice(held) if held else "never-armed")
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
        path.write_bytes(data[:place] if how == "cut" else data)
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
    host.skew.sleep(random.uniform(1.0, 20.0))
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

"""Two hosts under random faults for a minute of virtual time: dead, stopped, cut off from etcd or the venue, ill.

The world refuses an order of an older term after one of a newer at once. Here beside that: nothing is taken from a host
whose deadline had passed, what rests always has a keeper or a countdown, and when all is well again one host leads,
keeps everything that rests, and nobody else has said a word.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest

from tests.two_hosts import COUNTDOWN_MS, PEERS, TTL_S, Host, TwoHosts

SEEDS = int(os.environ.get("TWO_HOSTS_SEEDS", "6"))
STORM_MS = 60_000
WELL_AGAIN_MS = 30_000
UNKEPT_MS_MAX = TTL_S * 1_000 + COUNTDOWN_MS


def _die(host: Host, random: Random) -> None:
    if host.alive:
        host.kill()


def _start(host: Host, random: Random) -> None:
    if not host.alive:
        host.stopped = False
        host.start()


def _stop(host: Host, random: Random) -> None:
    if host.alive and not host.stopped:
        host.service.on_stop()


def _pause(host: Host, random: Random) -> None:
    host.stopped = True


def _wake(host: Host, random: Random) -> None:
    host.stopped = False


def _cut(host: Host, random: Random) -> None:
    host.up = host.store.up = False


def _deafen(host: Host, random: Random) -> None:
    host.store.answers = False


def _join(host: Host, random: Random) -> None:
    host.up = host.store.up = host.store.answers = True
    host.store.delay_ms = random.choice((0, 0, 20, 150))


def _lose_venue(host: Host, random: Random) -> None:
    host.wire.connected = False


def _find_venue(host: Host, random: Random) -> None:
    host.wire.connected = True


def _fall_ill(host: Host, random: Random) -> None:
    host.peers[random.choice(PEERS)] = False


def _get_well(host: Host, random: Random) -> None:
    host.peers = dict.fromkeys(PEERS, True)


def _revoke(host: Host, random: Random) -> None:
    leader = host.world.cluster.leader
    if leader is not None:
        host.world.cluster.revoke(leader.lease_id)


FAULTS: tuple[Callable[[Host, Random], None], ...] = (
    _die, _start, _start, _stop, _pause, _wake, _wake, _cut, _deafen, _join, _join, _lose_venue, _find_venue,
    _find_venue, _fall_ill, _get_well, _get_well, _revoke,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(SEEDS))
def test_storm_when_hosts_fail_at_random_then_one_leads_in_the_end_and_none_ever_acted_beside_another(
    seed: int,
) -> None:
    world, random = TwoHosts(seed), Random(seed)
    for host in world.hosts:
        host.start()
    unkept_since_ms = world.now_ms
    for _ in range(STORM_MS // 500):
        if random.random() < 0.4:
            random.choice(FAULTS)(random.choice(world.hosts), random)
        world.run(500)
        if not world.resting() or any(host.leads for host in world.hosts):
            unkept_since_ms = world.now_ms
        assert world.now_ms - unkept_since_ms <= UNKEPT_MS_MAX, f"seed {seed}: nobody keeps {list(world.resting())}"
    for host in world.hosts:
        for heal in (_wake, _join, _find_venue, _get_well):
            heal(host, random)
        host.store.delay_ms = 0
    world.run(1_000)
    for host in world.hosts:
        _start(host, random)
    world.until(lambda: any(host.leads and host.ready for host in world.hosts), WELL_AGAIN_MS)
    world.run(2_000)
    (leader,) = (host for host in world.hosts if host.leads)
    own = f"grd-{leader.base36_term}-"
    resting = world.resting()
    assert [name for name, order in resting.items() if not order.reduce_only and not name.startswith(own)] == []
    assert set(resting) <= leader.keeps()
    assert world.placed_by(leader)

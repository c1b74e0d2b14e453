"""Random acts on hosts, etcd and operators, seeded: no host's kill switch ever opens but by an acknowledgement of it.

Invariant: what a host clears was named by a permission that an operator gave after the trip was told.
Invariant: a trip that came after the one that was acknowledged stays.
Invariant: once all is well, one reset makes every host clear.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from grinder.model.board import TRIP_WORDS, Word, word_of
from grinder.model.cluster import ArmRecord, ClusterView, TripCluster, TripRecord
from grinder.model.control import Process, TripReason
from tests.latch_world import LatchHost, World

SEEDS: Final = 100
SEEDS_SOAK: Final = 5_000
ACTS: Final = 50
PROCESSES: Final = (Process.FEED, Process.FSM, Process.SYNCER)


class Chaos:
    """One seed's run. ``acknowledged``: every name that an operator's permission ever held."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World("a", "b", armed=False)
        self.acknowledged: set[str] = set()
        self.told_ms: dict[str, int] = {}
        self.present: set[str] = set()
        self.last_trip_ms: dict[str, int] = dict.fromkeys(self.world.hosts, 0)
        self.cleared: dict[str, int] = dict.fromkeys(self.world.hosts, 0)
        self.saved: list[tuple[dict[str, object], int]] = []
        self.seen: ClusterView | None = None
        self.acts: list[Callable[[], None]] = [
            *[self.trip] * 4,
            *[self.kill_command] * 2,
            self.kill_cluster,
            *[self.crash] * 2,
            *[self.start] * 3,
            *[self.cut] * 2,
            *[self.join] * 4,
            self.no_space,
            self.delete_by_hand,
            self.wipe,
            self.save,
            self.bring_back,
            self.look,
            *[self.reset_by_old_look] * 2,
            *[self.reset] * 6,
            self.break_disk,
            *[self.mend_disk] * 3,
        ]

    def run(self) -> None:
        for _ in range(ACTS):
            self.chance.choice(self.acts)()
            self.pass_time(self.chance.choice((50, 50, 100, 300, 1_000, 3_000)))

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass by single ticks, and look at every host after each."""
        for _ in range(milliseconds // 50):
            self.world.run(50)
            self.note_told()
            for host in self.world.hosts.values():
                self.check(host)

    def note_told(self) -> None:
        """Remember since when each trip is recorded; one that was lost with etcd's data is told anew."""
        present = {name.removeprefix("trip/") for name in self.world.cluster.keys if name.startswith("trip/")}
        for name in present - self.present:
            self.told_ms[name] = self.world.clock.utc_ms()
        self.present = present

    def check(self, host: LatchHost) -> None:
        for name in host.cleared[self.cleared[host.node] :]:
            assert name in self.acknowledged, f"{host.node} cleared {name}, which nobody acknowledged"
            assert self.told_ms[name] >= self.last_trip_ms[host.node], f"{host.node} cleared a trip later than {name}"
        self.cleared[host.node] = len(host.cleared)
        if host.latch.file.tripped and not host.down:
            assert host.tripped, f"{host.node}: the file says tripped and the board does not"

    # Acts -----------------------------------------------------------------------------------------

    @property
    def host(self) -> LatchHost:
        return self.chance.choice(list(self.world.hosts.values()))

    def trip(self) -> None:
        host, process = self.host, self.chance.choice(PROCESSES)
        if not host.board.read(word_of("TRIP", process)):
            self.last_trip_ms[host.node] = self.world.clock.utc_ms()
        host.trip(process)

    def kill_command(self) -> None:
        host = self.host
        if not host.latch.broken:
            host.kill_command()
            self.last_trip_ms[host.node] = self.world.clock.utc_ms()

    def kill_cluster(self) -> None:
        name = f"operator-{self.world.number()}"
        self.world.cluster.do(TripCluster(TripRecord(name, "vm", TripReason.MANUAL, "anna", "", "", 0)))

    def crash(self) -> None:
        host = self.host
        if not host.down:
            host.kill()

    def start(self) -> None:
        for host in self.world.hosts.values():
            if host.down:
                host.start()

    def cut(self) -> None:
        host = self.host
        if self.chance.random() < 0.5:
            host.store.up = False
        else:
            host.store.answers = False

    def join(self) -> None:
        for host in self.world.hosts.values():
            host.store.up = host.store.answers = True
        self.world.cluster.no_space = False

    def no_space(self) -> None:
        self.world.cluster.no_space = True

    def delete_by_hand(self) -> None:
        names = [name for name in self.world.cluster.keys if not name.startswith("node/")]
        if names:
            self.world.cluster.delete(self.chance.choice(sorted(names)))

    def wipe(self) -> None:
        self.world.cluster.wipe()

    def save(self) -> None:
        keys = {name: msgspec.structs.replace(key) for name, key in self.world.cluster.keys.items() if not key.lease_id}
        self.saved.append((dict(keys), self.world.cluster.revision))

    def bring_back(self) -> None:
        if self.saved:
            keys, revision = self.chance.choice(self.saved)
            self.world.cluster.keys = {name: msgspec.structs.replace(key) for name, key in keys.items()}  # type: ignore[type-var]
            self.world.cluster.revision = revision
            self.world.cluster.leases.clear()

    def look(self) -> None:
        self.seen = self.world.view()

    def reset_by_old_look(self) -> None:
        if self.seen is not None and self.seen.arm is None:
            self.ask_reset(self.seen)

    def reset(self) -> None:
        self.ask_reset(self.world.view())

    def ask_reset(self, view: ClusterView) -> None:
        self.world.reset(view=view)
        arm = self.world.view().arm
        if arm is not None and isinstance(arm.value, ArmRecord):
            self.acknowledged |= set(arm.value.acks)

    def break_disk(self) -> None:
        self.host.latch.broken = True

    def mend_disk(self) -> None:
        for host in self.world.hosts.values():
            host.latch.broken = False

    def heal(self) -> None:
        """Make all well, and reset until everybody is clear."""
        self.join()
        self.mend_disk()
        self.start()
        for _ in range(6):
            self.pass_time(3_000)
            self.ask_reset(self.world.view())
        self.pass_time(3_000)


def live_through(seed: int) -> None:
    chaos = Chaos(seed)
    chaos.run()
    chaos.heal()
    for host in chaos.world.hosts.values():
        assert not host.tripped, f"seed {seed}: {host.node} holds {host.latch.file}, {host.log.names[-5:]}"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_hosts_when_anything_happens_then_none_clears_without_an_acknowledgement_of_its_own_trip(seed: int) -> None:
    live_through(seed)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_hosts_when_anything_happens_for_long_then_the_same() -> None:
    for seed in range(SEEDS, SEEDS + SEEDS_SOAK):
        live_through(seed)


def test_board_when_a_trip_word_is_set_while_a_host_is_cut_off_then_it_holds_until_the_way_is_back() -> None:
    chaos = Chaos(0)
    chaos.heal()
    host = chaos.world["a"]
    host.store.up = False
    host.trip(Process.FSM)
    chaos.pass_time(10_000)
    assert host.board.read(Word.TRIP_FSM)
    assert not any(chaos.world["b"].board.read(word) for word in TRIP_WORDS)

"""A campaign of faults against one cluster, and what came of it.

    python -m tests.soak.cluster.cluster_campaign SEED FAULTS TIMING SHARE TURN TURNS

TIMING: one of TIMINGS. SHARE: of its time that a fault lasts, but for every sixth. TURN of TURNS: which rows of the
table are this campaign's, dealt out among so many; TURNS 0: all are, drawn. The report is printed as JSON. Folders stay
where it found something.

A finding is a broken rule. What the machine is to blame for, a program that could not start or did not answer the rig
in time, is told beside them, and the campaign is run again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from random import Random

import msgspec

from grinder.model.board import Word
from grinder.model.units import NS_PER_S
from tests.soak.cluster.cluster_faults import QUICK, TABLE, Fault
from tests.soak.cluster.cluster_rig import DISKS, NORMAL, SECURE, SHORT, STEADY, ClusterRig, Timing
from tests.soak.cluster.etcd_field import UnansweredError
from tests.soak.cluster.hosts import DiedByItselfError, Host
from tests.soak.cluster.permits import clean_ends, rows_of
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.verdicts import PLACE, Broken, World, heeded_ns, judge
from tests.soak.cluster.watcher import reigns_by
from tests.soak.judge import judge_commands, paper_of, truth_of
from tests.soak.mortals import archive_of

TIMINGS = {"short": SHORT, "steady": STEADY, "normal": NORMAL, "disks": DISKS, "secure": SECURE}
TRIES = 3
CLEARED_S_MAX = 30.0
FLOWS_S_MAX = 15.0
SETTLED_S_MAX = 120.0
LED_S_MAX = 30.0
OUTAGE_S = 0.5
UNREADY = (AssertionError, UnansweredError, OSError, subprocess.SubprocessError)
"""What the rig says when something does not start or does not answer it."""

TWO_AT_ONCE = 0.25
HASTY = 0.25
"""Share of the faults during which another one strikes, and of those that strike before orders flow again."""

WHOLE_EVERY = 6
"""Which faults last their whole time, longer than a lease if they may, where the others last a share of it."""

BESIDE_HOSTS = frozenset(
    {"etcd leader killed", "etcd leader paused", "etcd leader cut off", "member paused", "disk of a member stalls"}
)
"""Faults that leave every host alone: a leader that ends during one could have gone on."""


class Report(msgspec.Struct):
    """What a campaign did and found.

    ``faults``: those that came about, ``missed``: those that did not, as nobody was there or etcd did not answer; each
    by its name. ``led``, ``ended``: how often a host led when a fault of BESIDE_HOSTS struck alone, and did no more
    before all was well again. ``heeded_s``: from a trip until the latch of each host held one. ``by_term``: orders that
    the venue took, by the term in their ids. ``outages_s``: times of more than half a second without an order that adds
    risk; ``longest_s``: the longest of them by the last fault before. ``first_s``: from each time a host began to act
    until its first order that adds risk. ``refused``: placements that the venue refused, by its code. ``resigned``:
    clean ends of a leadership. ``slow``: faults after which orders did not flow again in FLOWS_S_MAX. ``left_out``:
    faults that this host does not permit. ``broke_off``: why this campaign, and tries of it before, could not be run to
    its end.
    """

    seed: int
    ttl_s: int
    faults: dict[str, int] = msgspec.field(default_factory=Counter)
    missed: dict[str, int] = msgspec.field(default_factory=Counter)
    led: dict[str, int] = msgspec.field(default_factory=Counter)
    ended: dict[str, int] = msgspec.field(default_factory=Counter)
    heeded_s: dict[str, list[float]] = msgspec.field(default_factory=dict)
    by_term: dict[int, int] = msgspec.field(default_factory=Counter)
    outages_s: list[float] = msgspec.field(default_factory=list)
    longest_s: dict[str, float] = msgspec.field(default_factory=dict)
    first_s: list[float] = msgspec.field(default_factory=list)
    refused: dict[int, int] = msgspec.field(default_factory=Counter)
    venue_faults: dict[str, int] = msgspec.field(default_factory=Counter)
    reigns: dict[str, int] = msgspec.field(default_factory=Counter)
    resigned: int = 0
    slow: list[str] = msgspec.field(default_factory=list)
    found: list[str] = msgspec.field(default_factory=list)
    left_out: list[str] = msgspec.field(default_factory=list)
    broke_off: list[str] = msgspec.field(default_factory=list)
    seconds: float = 0.0


class Campaign:
    """Faults one after the other, sometimes two at once. ``share``: of its time that each but every sixth lasts."""

    def __init__(self, rig: ClusterRig, share: float = 1.0) -> None:
        self.rig = rig
        self._share = share
        self.report = Report(rig.seed, rig.timing.ttl_s)
        self._struck: list[tuple[int, str]] = []

    def run(self, faults: list[Fault]) -> None:
        """Strike with all of them, settle, and judge."""
        rig, began_s = self.rig, time.monotonic()
        rig.begin()
        for number, fault in enumerate(faults, start=1):
            led = self._leads_now()
            alone = self._strike(fault, self._lasts_s(fault, whole=number % WHOLE_EVERY == 0))
            self._recover(fault)
            if alone and led is not None and fault.name in BESIDE_HOSTS:
                self._count_leader(f"{fault.name}, TTL {rig.timing.ttl_s} s", *led)
        self._settle()
        self.report.seconds = time.monotonic() - began_s

    def _lasts_s(self, fault: Fault, *, whole: bool) -> float:
        """Return how long a fault lasts this time, seconds."""
        low_s, high_s = fault.lasts_s
        if self._share == 1.0 or not whole:
            return self._share * self.rig.random.uniform(low_s, high_s)
        return self.rig.random.uniform(min(max(low_s, self.rig.timing.ttl_s), high_s), high_s)

    def _strike(self, fault: Fault, lasts_s: float) -> bool:
        """Strike, mostly with one fault; return whether it came about and was the only one."""
        rig, random, report = self.rig, self.rig.random, self.report
        second = random.choice(QUICK) if random.random() < TWO_AT_ONCE else None
        self._struck.append((now_ns(), fault.name))
        before = sum(report.faults.values())
        with ExitStack() as struck:
            struck.enter_context(self._counted(fault))
            if second is not None and not fault.latches:
                rig.live(lasts_s * random.random())
                struck.enter_context(self._counted(second))
            rig.live(lasts_s)
        return sum(report.faults.values()) == before + 1 and (second is None or fault.latches)

    @contextmanager
    def _counted(self, fault: Fault) -> Iterator[None]:
        """Strike with a fault, and count it once it is lifted and known to have come about."""
        with fault.strike(self.rig, self.rig.random) as missed:
            yield
        counts = self.report.missed if missed else self.report.faults
        counts[fault.name] = counts.get(fault.name, 0) + 1

    def _leads_now(self) -> tuple[Host, int] | None:
        node = self.rig.leader()
        if not node:
            return None
        host = self.rig.hosts[node]
        return host, host.words(Word.TERM)[0]

    def _count_leader(self, name: str, host: Host, term: int) -> None:
        """Count whether a leader that no fault had touched has gone on."""
        self.report.led[name] = self.report.led.get(name, 0) + 1
        if term in host.losses():
            self.report.ended[name] = self.report.ended.get(name, 0) + 1

    def _recover(self, fault: Fault) -> None:
        """Bring back what is down, be the operator where a latch holds, and mostly wait until orders flow."""
        rig = self.rig
        rig.mend()
        if fault.latches or rig.watcher.look():
            rig.live(rig.random.uniform(0.0, 1.0))
            rig.clear(CLEARED_S_MAX)
        if rig.random.random() < HASTY:
            rig.live(rig.random.uniform(0.0, 1.0))
        elif not rig.until_flow(FLOWS_S_MAX):
            self.report.slow.append(fault.name)

    def _settle(self) -> None:
        """Let the cluster come to rest, look at who leads, end it, and hold everything against the rules."""
        rig, report = self.rig, self.report
        rig.mend()
        rig.clear(SETTLED_S_MAX)
        if not rig.until_flow(SETTLED_S_MAX):
            report.found.append(f"{Broken.NO_FLOW.name}: not within {SETTLED_S_MAX} s")
        if not rig.live(LED_S_MAX, lambda: bool(rig.leader())):
            report.found.append(f"{Broken.NO_LEADER.name}: {[host.leads() for host in rig.hosts.values()]}")
        world = rig.world()
        for host in rig.hosts.values():
            host.kill()
        self._hold(world)
        report.found += self._commands()
        self._count(world)

    def hold(self) -> None:
        """Hold what there is against the rules, as far as it can be had from a campaign that broke off."""
        with suppress(*UNREADY):
            self._hold(self.rig.world())

    def _hold(self, world: World) -> None:
        self.report.found += [f"{broken.name}: {detail}" for broken, detail in judge(world)]

    def _commands(self) -> list[str]:
        """Compare what reached the venue with what was asked for and with the journals of both hosts."""
        rig = self.rig
        truth = truth_of(rig.venue)
        papers = [paper_of(host.state_dir / "journal", archive_of(host.state_dir)) for host in rig.hosts.values()]
        for other in papers[1:]:
            papers[0].placed |= other.placed
        asked = {
            name
            for host in rig.hosts.values()
            if host.asked_path.exists()
            for name in host.asked_path.read_text().splitlines()
        }
        return [f"{wrong.name}: {detail}" for wrong, detail in judge_commands(truth, papers[0], asked)]

    def _count(self, world: World) -> None:
        rig, report = self.rig, self.report
        placed = [each for each in world.spoken if each.operation == PLACE]
        report.by_term = Counter(each.term for each in placed)
        risk = [each.at for each in placed if each.adds_risk]
        for earlier, later in pairwise(risk):
            gap_s = round((later - earlier) / NS_PER_S, 2)
            if gap_s > OUTAGE_S:
                report.outages_s.append(gap_s)
                name = max((each for each in self._struck if each[0] < later), default=(0, "the start"))[1]
                report.longest_s[name] = max(gap_s, report.longest_s.get(name, 0.0))
        firsts: dict[int, int] = {}
        for each in placed:
            if each.adds_risk:
                firsts.setdefault(each.term, each.at)
        for host in rig.hosts.values():
            wins = host.wins()
            report.first_s += [round((firsts[term] - at) / NS_PER_S, 2) for term, at in wins.items() if term in firsts]
        rows = rig.venue.requests()
        report.refused = Counter(row["code"] for row in rows if row["op"] == PLACE and row["code"])
        report.venue_faults = rig.faults_struck()
        for name, span in rig.heeding:
            report.heeded_s.setdefault(name, []).append(round(heeded_ns(world, span) / NS_PER_S, 2))
        report.reigns = reigns_by(rig.watcher.reigns)
        report.resigned = sum(clean_ends(rows_of(host.rows_path)) for host in rig.hosts.values())


def rows_for(*, secure: bool, disks: bool) -> list[Fault]:
    """Return the rows of the table that can be struck with in such a rig."""
    return [fault for fault in TABLE if (secure or not fault.secure) and (disks or not fault.disks)]


def drawn(random: Random, count: int, can_be: list[Fault]) -> list[Fault]:
    """Return so many faults: shuffled rounds of all that can be, each fault as often as its weight."""
    pool: list[Fault] = []
    while len(pool) < count:
        once = [fault for fault in can_be for _ in range(fault.weight)]
        random.shuffle(once)
        pool += once
    return pool[:count]


def dealt(seed: int, count: int, turn: int, turns: int, can_be: list[Fault]) -> list[Fault]:
    """Return so many faults for one campaign of several that share a seed: none twice before each has been dealt."""
    once = list(can_be)
    Random(seed).shuffle(once)
    return [once[number % len(once)] for number in range(turn, turn + count * turns, turns)]


def campaign(seed: int, count: int, timing: Timing, share: float = 1.0, turn: int = 0, turns: int = 0) -> Report:
    """Run one; again, in another rig, where the machine and no broken rule ended it early."""
    broke_off: list[str] = []
    report = Report(seed, timing.ttl_s)
    for _ in range(TRIES):
        report = _attempt(seed, count, timing, share, turn, turns)
        broke_off += report.broke_off
        if report.found or not report.broke_off:
            break
    else:
        report.found.append(f"NOT RUN TO ITS END in {TRIES} tries")
    report.broke_off = broke_off
    return report


def _attempt(seed: int, count: int, timing: Timing, share: float, turn: int, turns: int) -> Report:
    try:
        rig = ClusterRig(seed + turn, timing)
    except UNREADY as error:
        return Report(seed, timing.ttl_s, broke_off=[f"at the start: {error}"])
    work = Campaign(rig, share)
    report = work.report
    disks = rig.disks is not None
    report.left_out = [fault.name for fault in TABLE if fault.disks and timing.disks and not disks]
    try:
        can_be = rows_for(secure=timing.secure, disks=disks)
        work.run(dealt(seed, count, turn, turns, can_be) if turns else drawn(rig.random, count, can_be))
    except DiedByItselfError as error:
        report.found.append(f"DIED BY ITSELF: {error}; {rig.said()[-1_500:]}")
    except UNREADY as error:
        report.broke_off.append(f"after {sum(report.faults.values())} faults: {type(error).__name__}: {error}")
        work.hold()
    finally:
        if report.found:
            report.found.append(f"see {rig.root}")
        with suppress(*UNREADY):
            rig.close(keep=bool(report.found))
    return report


def main(seed: int, count: int, timing: str, share: float, turn: int, turns: int) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(campaign(seed, count, TIMINGS[timing], share, turn, turns)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))

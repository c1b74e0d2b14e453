"""Two hosts, three members of etcd, one account, and everything that can go wrong with them: held against the venue.

No order from a host whose permit had passed, none of an older term after a newer one's, no latch that clears without an
operator, never two dead-man's switches, no order that nobody manages; and in the end one leader, and orders flow.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from grinder.model.cluster import Resign, RevokeLease
from tests.etcd_kit import require_etcd
from tests.soak.cluster.cluster_faults import TABLE
from tests.soak.cluster.cluster_lies import HONEST, SCENES, seen
from tests.soak.cluster.cluster_rig import DISKS, NORMAL, ClusterRig
from tests.soak.cluster.etcd_field import UnansweredError
from tests.soak.cluster.node import NO_DELAY, STAMPS_LATE
from tests.soak.cluster.permits import rows_of
from tests.soak.cluster.reports import Report, Run, lie_shown, line_of_lie, printed, seed_of, side_by_side
from tests.soak.cluster.verdicts import judge

FEW_SEED = 7670
FEW_RIGS, FEW_FAULTS, FEW_SHARE = 2, 15, 0.15
FEW_MIN = 24
"""Thirty rows of the table, no row twice, some with a second fault; nearly all of them come about."""

TIMINGS = ("short", "steady", "disks", "secure")
RIGS, RIGS_MAX, FAULTS_PER_RIG, RIGS_AT_ONCE = 24, 36, 40, 3
FAULTS_MIN = 1_000
STALLS, STALL_S = 4, 8.0
ANSWERED_S_MAX = 30.0
QUICKLY_SEEN = (STAMPS_LATE, NO_DELAY)


def require_sound(reports: list[Report]) -> None:
    assert [line for report in reports for line in report.found] == []
    assert all(len(report.by_term) > 1 for report in reports)


def injected(reports: list[Report]) -> Counter[str]:
    """Return how often each fault came about."""
    return sum((Counter(report.faults) for report in reports), Counter())


def lacking(reports: list[Report]) -> list[str]:
    """Return what is still to be done: faults until there are enough, and those that never came about."""
    faults = injected(reports)
    left_out = {name for report in reports for name in report.left_out}
    never = [fault.name for fault in TABLE if not faults[fault.name] and fault.name not in left_out]
    return [*never, *(["more"] if faults.total() < FAULTS_MIN else [])]


def say(line: str) -> None:
    print(line, flush=True)


def leader_revision(rig: ClusterRig) -> str:
    """Return the create revision of the leader key, as soon as somebody leads and etcd says so."""
    found: list[str] = []

    def read() -> bool:
        with suppress(UnansweredError):
            found.extend(row["create_revision"] for name, row in rig.field.keys().items() if name == "leader")
        return bool(found)

    assert rig.live(ANSWERED_S_MAX, read), "etcd does not say who leads"
    return found[0]


def given_back(rig: ClusterRig) -> int:
    """Return how many leases hosts have given back by themselves."""
    rows = [row for host in rig.hosts.values() for row in rows_of(host.rows_path)]
    return sum(row.request in (RevokeLease.__name__, Resign.__name__) for row in rows)


def require_seen(lies: tuple[str, ...], at_once: int) -> None:
    with ThreadPoolExecutor(at_once) as pool:
        shown = list(pool.map(lie_shown, lies))
    lines = [line_of_lie(known) for known in shown]
    print(*lines, sep="\n", flush=True)
    assert [known.lie for known in shown if not seen(known)] == [], lines


@pytest.mark.timeout(600)
def test_cluster_when_dozens_of_faults_strike_then_every_rule_of_leadership_holds() -> None:
    require_etcd()
    seed, began_s = seed_of(FEW_SEED), time.monotonic()
    runs = [Run(seed, FEW_FAULTS, "steady", FEW_SHARE, turn, FEW_RIGS) for turn in range(FEW_RIGS)]
    reports = side_by_side(runs, FEW_RIGS)
    print(printed(reports, seed, time.monotonic() - began_s))
    require_sound(reports)
    assert injected(reports).total() >= FEW_MIN


@pytest.mark.timeout(600)
def test_cluster_when_its_hosts_stamp_late_or_wait_for_nobody_then_it_is_seen() -> None:
    require_etcd()
    require_seen(QUICKLY_SEEN, len(QUICKLY_SEEN))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_cluster_when_a_thousand_faults_strike_then_every_rule_of_leadership_holds() -> None:
    require_etcd()
    seed, began_s = seed_of(time.time_ns() // 1_000_000_000), time.monotonic()
    runs = [Run(seed + number, FAULTS_PER_RIG, TIMINGS[number % len(TIMINGS)]) for number in range(RIGS_MAX)]
    reports = side_by_side(runs[:RIGS], RIGS_AT_ONCE, say)
    # What did not come about is made up for; a broken rule is told at once.
    while lacking(reports) and len(reports) < RIGS_MAX and not any(report.found for report in reports):
        reports += side_by_side(runs[len(reports) : len(reports) + RIGS_AT_ONCE], RIGS_AT_ONCE, say)
    print(printed(reports, seed, time.monotonic() - began_s))
    require_sound(reports)
    assert not lacking(reports)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_cluster_when_its_hosts_break_any_rule_then_it_is_seen() -> None:
    require_etcd()
    require_seen(tuple(SCENES), RIGS_AT_ONCE)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_cluster_when_its_hosts_break_no_rule_then_the_same_scenes_show_none() -> None:
    require_etcd()
    known = lie_shown(HONEST)
    print(line_of_lie(known), flush=True)
    assert known.kinds == {}, known.example


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_cluster_when_the_disk_of_etcds_leader_stalls_and_comes_back_then_the_leader_key_is_still_there() -> None:
    require_etcd()
    rig = ClusterRig(FEW_SEED, DISKS)
    try:
        if rig.disks is None:
            pytest.skip("this machine does not let a test mount a file system")
        rig.begin()
        conclusive = 0
        for _ in range(STALLS):
            before = given_back(rig)
            with rig.disks.stalled(rig.field.leader()):
                with suppress(UnansweredError):
                    rig.field.write_junk(1)
                # Longer than a lease: to the member that stalls, none of its renewals has happened.
                rig.live(STALL_S)
                held = leader_revision(rig)
            rig.live(NORMAL.ttl_s)
            # A host that could not renew in time says so by giving its lease back; then this stall tells nothing.
            if given_back(rig) == before:
                assert leader_revision(rig) == held
                conclusive += 1
        assert conclusive >= STALLS // 2
        assert judge(rig.world()) == []
    finally:
        rig.close()

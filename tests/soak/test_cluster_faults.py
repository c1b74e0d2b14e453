"""Two hosts, three members of etcd, one account, and everything that can go wrong with them: held against the venue.

No order from a host whose permit had passed, none of an older term after a newer one's, no latch that clears without an
operator, never two dead-man's switches, no order that nobody manages; and in the end one leader, and orders flow.
"""

from __future__ import annotations

import time

import pytest

from tests.etcd_kit import require_etcd
from tests.soak.cluster.cluster_faults import TABLE
from tests.soak.cluster.cluster_lies import SCENES
from tests.soak.cluster.node import NO_DELAY, PUTS_LATCH, STAMPS_LATE
from tests.soak.cluster.reports import Report, Run, lies_found, printed, seed_of, side_by_side

FEW_SEED = 6107
FEW_FAULTS = (14, 14)
RIGS_AT_ONCE = 3
FAULTS_PER_RIG = 44
RIGS = 24
FAULTS_MIN = 1_000
TIMINGS = ("short", "short", "normal", "secure")
QUICKLY_SEEN = (STAMPS_LATE, NO_DELAY, PUTS_LATCH)


def require_sound(reports: list[Report]) -> None:
    assert [line for report in reports for line in report.found] == []
    assert all(len(report.by_term) > 1 for report in reports)


@pytest.mark.timeout(240)
def test_cluster_when_dozens_of_faults_strike_then_every_rule_of_leadership_holds() -> None:
    require_etcd()
    seed, began_s = seed_of(FEW_SEED), time.monotonic()
    runs = [Run(seed + number, count, "short") for number, count in enumerate(FEW_FAULTS)]
    reports = side_by_side(runs, len(runs))
    print(printed(reports, seed, time.monotonic() - began_s))
    require_sound(reports)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
def test_cluster_when_a_thousand_faults_strike_then_every_rule_of_leadership_holds() -> None:
    require_etcd()
    seed, began_s = seed_of(time.time_ns() // 1_000_000_000), time.monotonic()
    runs = [Run(seed + number, FAULTS_PER_RIG, TIMINGS[number % len(TIMINGS)]) for number in range(RIGS)]
    reports = side_by_side(runs, RIGS_AT_ONCE, lambda line: print(line, flush=True))
    print(printed(reports, seed, time.monotonic() - began_s))
    require_sound(reports)
    assert sum(sum(report.faults.values()) for report in reports) >= FAULTS_MIN
    struck = {name for report in reports for name in report.faults}
    assert {fault.name for fault in TABLE} - struck == set()


@pytest.mark.parametrize("lie", QUICKLY_SEEN)
@pytest.mark.timeout(120)
def test_cluster_when_its_hosts_break_a_rule_then_it_is_seen(lie: str) -> None:
    require_etcd()
    assert SCENES[lie].rule.name in lies_found(lie)


@pytest.mark.soak
@pytest.mark.parametrize("lie", sorted(SCENES.keys() - set(QUICKLY_SEEN)))
@pytest.mark.timeout(240)
def test_cluster_when_its_hosts_break_a_rule_that_shows_late_then_it_is_seen(lie: str) -> None:
    require_etcd()
    assert SCENES[lie].rule.name in lies_found(lie)

"""Three hosts under seeded faults of hosts, networks, clocks, etcd and hands: nothing that must never be, then order.

Never accepted at the venue: a command of an older term after a newer one's, one past the deadline it was sent under,
one of a leader whose key went longer ago than a lease, new risk without a permission, two hosts under one term. Never
at a host: a latch that opens for a trip which the operator did not acknowledge, or stays open without a permission.
Each rule, broken once, is found by a few seeds.
"""

from __future__ import annotations

import time

import pytest

from tests.cluster.campaign import asked_seed, first_caught, run, run_on_all_cores
from tests.cluster.fault_model import FAULTS
from tests.cluster.host_model import Rules
from tests.cluster.mutants import CAUGHT_BY
from tests.cluster.world_model import World

SEEDS_OF_A_PART = 250
PARTS = 6
SEEDS_OF_A_MUTANT = 250
SOAK_SEEDS = 100_000


@pytest.mark.parametrize("part", range(PARTS))
def test_hosts_when_all_kinds_of_faults_happen_then_none_acts_wrongly_and_order_comes_back(part: int) -> None:
    seed = asked_seed()
    first = part * SEEDS_OF_A_PART
    report = run(range(first, first + SEEDS_OF_A_PART) if seed is None else [seed])
    assert report.found == {}, report.printed()
    assert report.counts["RISK"] > 0
    assert report.counts["cleared"] > 0


@pytest.mark.parametrize("fault", FAULTS)
def test_hosts_when_one_kind_of_fault_happens_again_and_again_then_none_acts_wrongly(fault: str) -> None:
    report = run(range(6), faults=(fault,))
    assert report.found == {}, report.printed()


@pytest.mark.parametrize("rules", CAUGHT_BY, ids=lambda rules: rules.__name__)
def test_simulation_when_a_rule_is_broken_then_it_finds_that(rules: type[Rules]) -> None:
    caught = first_caught(rules(), CAUGHT_BY[rules], range(SEEDS_OF_A_MUTANT))
    assert caught is not None
    seed, _ = caught
    assert World(seed, Rules(), CAUGHT_BY[rules]).run().found == []


def test_simulation_when_a_seed_is_run_again_then_the_same_happens() -> None:
    first, second = World(7).run(), World(7).run()
    assert first == second
    assert first != World(8).run()


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_hosts_when_a_hundred_thousand_seeds_are_run_then_none_acts_wrongly_and_order_comes_back() -> None:
    seed = asked_seed()
    first = time.time_ns() % 1_000_000_000 if seed is None else seed
    report = run_on_all_cores(first, SOAK_SEEDS if seed is None else 1)
    print(report.printed())
    assert report.found == {}

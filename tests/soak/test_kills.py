"""kill -9 of executor and syncer, at every step of the send path and at any time, under load with venue faults on.

After each round of kills: no placement twice, no order at the venue that nobody asked for or that the journal never
knew, no intent without an end, every fill counted once, positions equal, no order that nobody manages; after an orderly
stop nothing rests.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from grinder.settings.variable import JournalSync
from tests.soak.campaign import key_of
from tests.soak.judge import Wrong, kinds
from tests.soak.kills import campaign, in_rounds, printed, seed_of, side_by_side
from tests.soak.steps import STEPS

FEW_SEED = 2311
FEW_RIGS = 4
FEW_STEPS = 6
FEW_OTHERS = 2
RIGS = 8
ROUNDS = 3
OTHERS = 9
KILLS_MIN = 1_000


def without(steps: list[str], names: dict[str, int]) -> list[str]:
    return [name for name in steps if not names.get(name)]


def test_executor_and_syncer_when_killed_at_some_steps_then_venue_journal_and_account_agree() -> None:
    seed = seed_of(FEW_SEED)
    random = Random(seed)
    rounds = [random.sample(STEPS, FEW_STEPS)]
    report = side_by_side(seed, FEW_RIGS, rounds, others=FEW_OTHERS)
    print(printed(report, rounds[0]))
    assert report.found == []
    assert without([key_of(step) for step in rounds[0]], report.at_step) == []
    assert without([f"lives synced {sync}" for sync in JournalSync], report.counts) == []
    assert report.counts["trades"] > 0


@pytest.mark.soak
@pytest.mark.timeout(1_500)
def test_executor_and_syncer_when_killed_a_thousand_times_at_every_step_then_venue_journal_and_account_agree() -> None:
    seed = seed_of(time.time_ns() // 1_000_000_000)
    report = side_by_side(seed, RIGS, in_rounds(STEPS, ROUNDS, Random(seed)), others=OTHERS)
    print(printed(report, STEPS))
    assert report.found == []
    assert without([key_of(step) for step in STEPS], report.at_step) == []
    assert report.kills >= KILLS_MIN


LIES = {
    "forgets": Wrong.NOT_ON_RECORD,
    "sends_again": Wrong.DUPLICATE,
    "sends_anew": Wrong.NOBODY_ASKED,
}


def test_checks_when_a_port_of_the_executor_lies_then_they_find_it() -> None:
    with ThreadPoolExecutor(len(LIES)) as pool:
        waiting = {lie: pool.submit(campaign, FEW_SEED, [[]], others=3, broken=lie) for lie in LIES}
        found = {lie: kinds(each.result().found) for lie, each in waiting.items()}
    assert {lie: LIES[lie] in found[lie] for lie in LIES} == dict.fromkeys(LIES, True), found

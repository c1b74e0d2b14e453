"""The executor's orders and the simulated venue's agree after a hundred thousand random operations with faults on.

Compared: every order's status, price, quantity and filled quantity, every unit traded counted once, the position, no id
placed twice, no order lost, no journal intent without an end. A failure prints the seed; STORM_SEED runs one again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from random import SystemRandom

import pytest

from grinder.core import orders
from grinder.core.fills import Spans, cover
from grinder.core.order_table import TRANSITIONS, Happening
from grinder.model.orders import OrderState
from grinder.model.units import ZERO
from grinder.services import settling
from tests.account_world import MemoryJournal
from tests.order_world import Disagreement
from tests.sim.order_storm import Storm

SHARE = 20_000
SEEDS = (11, 12, 13, 14, 15)
SOAK_OPERATIONS = 1_000_000

assert SHARE * len(SEEDS) == 100_000


def weathered(seed: int, operations: int) -> Storm:
    print(f"seed {seed}, {operations} operations")
    storm = Storm(seed)
    storm.run(operations)
    return storm


@pytest.mark.parametrize("seed", SEEDS)
def test_orders_when_a_hundred_thousand_operations_went_wrong_then_both_sides_agree(seed: int) -> None:
    storm = weathered(seed, SHARE)
    counts = storm.world.core.exchange.counts
    # A storm in which little happens shows little.
    assert min(counts.placed, counts.trades, counts.cancelled, counts.amended, counts.expired) > SHARE // 100
    assert storm.compared > SHARE // 4
    assert storm.world.starts > SHARE // 500


def test_storm_when_strings_hash_differently_then_the_same_seed_says_the_same() -> None:
    command = (sys.executable, "-m", "tests.sim.order_transcript", "14", "3000")
    told = [
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    ]
    first, second = (each.splitlines() for each in told)
    assert len(first) > 2_000
    assert next((pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]), None) is None
    assert len(first) == len(second)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_orders_when_a_million_operations_went_wrong_then_both_sides_agree() -> None:
    seed = int(os.environ.get("STORM_SEED") or SystemRandom().randrange(1 << 32))
    storm = weathered(seed, SOAK_OPERATIONS)
    assert storm.compared > SOAK_OPERATIONS // 4


BROKEN_ROWS = {
    "an order in doubt is called rejected": (OrderState.PENDING_NEW, Happening.PLACE_IN_DOUBT, OrderState.REJECTED),
    "an unknown order is called cancelled": (OrderState.PENDING_CANCEL, Happening.CANCEL_FAILED, OrderState.CANCELED),
    "an expired order is called filled": (OrderState.OPEN, Happening.SEEN_EXPIRED, OrderState.FILLED),
}


@pytest.mark.parametrize("row", BROKEN_ROWS)
def test_storm_when_one_row_of_the_table_is_broken_then_it_is_caught(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state, what, wrong = BROKEN_ROWS[row]
    monkeypatch.setitem(TRANSITIONS, (state, what), wrong)
    with pytest.raises(Disagreement, match="seed 1"):
        weathered(1, SHARE)


def count_again(spans: Spans, start: Decimal, end: Decimal) -> tuple[Spans, Decimal]:
    """Count a report without asking what was counted before."""
    return cover(spans, start, end)[0], max(ZERO, end - start)


BROKEN_RULES: dict[str, tuple[object, str, object]] = {
    "one answer not found is believed at once": (settling, "absent", lambda doubt, window_ms: doubt.not_found > 0),
    "a trade that comes twice is counted twice": (orders, "cover", count_again),
    "the journal forgets": (MemoryJournal, "append", lambda self, record: True),
}


@pytest.mark.parametrize("rule", BROKEN_RULES)
def test_storm_when_one_rule_is_broken_then_it_is_caught(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BROKEN_RULES[rule])
    with pytest.raises((Disagreement, AssertionError)):
        weathered(1, SHARE)

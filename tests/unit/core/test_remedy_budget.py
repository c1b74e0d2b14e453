"""The budget of remedies: what is spent stays spent that day; what cannot be read is used up."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.core.remedy_budget import UNREADABLE, BudgetState, day_of, decode, encode, fresh, rolled, spent

D = Decimal
NOON = 1_800_014_400_000
DAY_MS = 86_400_000


def test_budget_when_a_call_is_made_then_both_counts_and_the_time_grow() -> None:
    once = spent(fresh(NOON), D("12.5"), NOON + 5)
    assert once == BudgetState(day_of(NOON), 1, D("12.5"), NOON + 5)
    assert spent(once, D(0), NOON + 6).calls_today == 2


def test_budget_when_a_new_utc_day_begins_then_it_begins_at_nothing() -> None:
    used = spent(fresh(NOON), D(7), NOON)
    midnight = NOON - NOON % DAY_MS + DAY_MS
    assert rolled(used, midnight - 1) == used
    assert rolled(used, midnight) == fresh(midnight)


@given(st.integers(0, 10 * DAY_MS))
def test_budget_when_the_clock_goes_back_then_nothing_is_given_back(back_ms: int) -> None:
    used = spent(fresh(NOON), D(7), NOON)
    assert rolled(used, NOON - back_ms) == used
    again = spent(used, D(1), NOON - back_ms)
    assert (again.calls_today, again.notional_today, again.last_updated_ts_ms) == (2, D(8), NOON)


def test_budget_when_written_and_read_then_the_same_in_the_words_of_the_format() -> None:
    used = spent(fresh(NOON), D("0.10"), NOON)
    assert decode(encode(used)) == used
    for name in (b"date", b"calls_today", b"notional_today", b"last_updated_ts_ms"):
        assert name in encode(used)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"date":"2027-01-15","calls_today":-1,"notional_today":"0","last_updated_ts_ms":0}',
        b'{"date":"2027-01-15","calls_today":1,"notional_today":"NaN","last_updated_ts_ms":0}',
        b'{"date":"2027-01-15","calls_today":1,"notional_today":"-1","last_updated_ts_ms":0}',
        b'{"date":"tomorrow","calls_today":1,"notional_today":"1","last_updated_ts_ms":0}',
        b'{"date":"2027-01-15","calls_today":1,"notional_today":"1","last_updated_ts_ms":0,"more":1}',
    ],
)
def test_budget_when_the_file_is_damaged_then_unreadable(data: bytes) -> None:
    assert decode(data) is UNREADABLE

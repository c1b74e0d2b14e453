"""What is asked regularly: the table agrees with the wire's weights, and with what the services really ask."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from grinder.adapters.binance import wire
from grinder.adapters.binance.wire import operation_of
from grinder.core import venue_budget
from grinder.core.venue_budget import least_interval_ms, regular, renew_after_ms, weight_per_min, weight_per_min_max
from grinder.model.limits import SYMBOLS_MAX
from grinder.model.venue import VenueRequest
from grinder.services.dead_man import COUNTDOWN_MS
from tests.account_world import ExecutorWorld
from tests.syncer_world import SYMBOLS, SyncerWorld

MINUTES = 10


def weight_of(requests: Iterable[VenueRequest]) -> int:
    return sum(operation_of(request).weight for request in requests)


def weight_in_table(who: tuple[str, ...], symbols: int) -> int:
    rows = tuple(row for row in regular(symbols, 2_000, COUNTDOWN_MS) if row.what.startswith(who))
    assert len(rows) >= len(who)
    return weight_per_min(rows) * MINUTES


@pytest.mark.parametrize(
    ("row", "weight"),
    [
        (wire.POSITIONS, venue_budget.POSITIONS_WEIGHT),
        (wire.BALANCE, venue_budget.BALANCE_WEIGHT),
        (wire.OPEN_ORDERS, venue_budget.OPEN_ORDERS_WEIGHT),
        (wire.OPEN_ORDERS_ALL, venue_budget.OPEN_ORDERS_ALL_WEIGHT),
        (wire.ALGO_OPEN_ALL, venue_budget.OPEN_ORDERS_ALL_WEIGHT),
        (wire.POSITION_MODE, venue_budget.POSITION_MODE_WEIGHT),
        (wire.INSTRUMENTS, venue_budget.INSTRUMENTS_WEIGHT),
        (wire.SERVER_TIME, venue_budget.SERVER_TIME_WEIGHT),
        (wire.ACCOUNT_CONFIG, venue_budget.ACCOUNT_CONFIG_WEIGHT),
        (wire.TRADING_STATUS, venue_budget.TRADING_STATUS_WEIGHT),
        (wire.COUNTDOWN, venue_budget.COUNTDOWN_WEIGHT),
    ],
)
def test_weight_when_the_wire_has_it_too_then_they_agree(row: wire.Operation, weight: int) -> None:
    assert row.weight == weight


def test_syncer_when_it_runs_for_long_then_it_asks_what_the_table_says() -> None:
    world = SyncerWorld()
    world.run(60_000)
    before = len(world.venue.requests)
    world.run(MINUTES * 60_000)
    asked = weight_of(world.venue.requests[before:])
    counted = weight_in_table(
        ("account", "orders of all symbols, syncer", "position mode, syncer", "clock"), len(SYMBOLS)
    )
    counted += weight_in_table(("trading",), len(SYMBOLS))
    assert counted * 0.9 < asked <= counted


def test_executor_when_an_order_rests_for_long_then_it_asks_what_the_table_says() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(60_000)
    before = len(world.venue.requests)
    world.run(MINUTES * 60_000)
    asked = weight_of(world.venue.requests[before:])
    counted = weight_in_table(
        ("orders of all symbols, executor", "conditional", "position mode, executor", "dead-man"), symbols=1
    )
    assert counted * 0.9 < asked <= counted + venue_budget.INSTRUMENTS_WEIGHT


@pytest.mark.parametrize("symbols", [1, 2, 10, SYMBOLS_MAX])
def test_least_interval_when_it_is_kept_then_it_fits_and_a_little_less_does_not(symbols: int) -> None:
    least_ms = least_interval_ms(symbols, COUNTDOWN_MS)
    assert weight_per_min(regular(symbols, least_ms, COUNTDOWN_MS)) <= weight_per_min_max()
    assert weight_per_min(regular(symbols, least_ms * 99 // 100, COUNTDOWN_MS)) > weight_per_min_max()


def test_least_interval_when_the_switch_alone_is_too_much_then_there_is_none() -> None:
    assert renew_after_ms(15_000, SYMBOLS_MAX) == 7_500
    assert least_interval_ms(SYMBOLS_MAX, 15_000) == 0

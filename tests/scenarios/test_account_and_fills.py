"""Account and fills come by different ways and may overtake each other: lots follow the fills, and heal in the end."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.events import Noted, Received
from grinder.model.account import AccountState, Balance, Position, PositionSide, Source
from grinder.model.control import FsmState
from grinder.model.orders import Fill, OrderKind, Side
from grinder.model.units import ZERO
from tests.engine_world import World, config
from tests.venue_model import START_NS, WALLET, Holding, VenueOrder

D = Decimal
SYMBOL = "BTCUSDT"
MID = D(60_000)
SIZE = D("0.002")
SNAPSHOT_S = 2
"""Period of the account snapshots in this world, seconds."""

SETTLED_S = 20
"""More than twice as long as nothing must have traded before a snapshot may correct the lots, seconds."""


def active(latency_ms: float = 3.0) -> World:
    world = World(config(), latency_ms=latency_ms)
    world.calm(SETTLED_S)
    assert world.fsm_state is FsmState.ACTIVE
    return world


def stream_account(world: World) -> None:
    """Give the account as the syncer tells it after an ACCOUNT_UPDATE: new positions, the last snapshot's time."""
    held = world.holdings[SYMBOL]
    position = Position(SYMBOL, PositionSide.BOTH, held.qty, held.entry, held.entry, ZERO, world.utc_ms())
    known = world.state.account
    asked_mono_ns = START_NS if known is None else known.snapshot_mono_ns
    world.give(
        AccountState(
            (position,) if held.qty else (),
            Balance(WALLET, ZERO, WALLET),
            len(world.orders),
            ZERO,
            False,
            True,
            Source.STREAM,
            asked_mono_ns,
            world.utc_ms(),
        )
    )


def nearest_buy(world: World) -> VenueOrder:
    return next(order for order in world.open_orders() if order.place.client_order_id.endswith("-b1"))


def profits(world: World) -> list[VenueOrder]:
    return [order for order in world.open_orders() if order.place.kind is OrderKind.TAKE_PROFIT]


def heals(world: World) -> int:
    return sum(isinstance(effect, Noted) and effect.name == "POSITION_ADOPTED" for effect in world.effects)


def believed(world: World) -> Decimal:
    return world.state.symbols[SYMBOL].cycle.position_qty


@pytest.mark.parametrize("latency_ms", [3, 400, 3_000], ids=["soon", "late", "after-a-snapshot"])
@pytest.mark.parametrize("parts", [1, 2])
def test_account_when_its_stream_tells_of_a_trade_before_the_fill_then_one_take_profit_of_what_was_bought(
    latency_ms: float, parts: int
) -> None:
    world = active(latency_ms)
    entry = nearest_buy(world)
    for _ in range(parts):
        world.trade_part(entry, SIZE / parts)
        for _ in range(3):
            stream_account(world)
            world.calm(0.1)
        closing = sum((order.qty for order in profits(world)), ZERO)
        assert closing <= world.holdings[SYMBOL].qty, "more would be sold than is held"

    world.calm(3 * SETTLED_S)
    assert heals(world) == 0
    assert believed(world) == world.holdings[SYMBOL].qty == SIZE
    assert sum(order.qty for order in profits(world)) == SIZE
    assert all(order.place.side is Side.SELL and order.price > entry.price for order in profits(world))


def test_account_when_its_stream_tells_of_a_close_before_the_fill_then_no_new_take_profit_and_no_lot_is_lost() -> None:
    world = active(400)
    world.trade_part(nearest_buy(world), SIZE)
    world.calm(5)
    (profit,) = profits(world)
    told = world.sent["Place"]
    world.trade_part(profit, SIZE)
    for _ in range(3):
        stream_account(world)
        world.calm(0.1)
    assert world.sent["Place"] == told

    world.calm(3 * SETTLED_S)
    assert heals(world) == 0
    assert believed(world) == world.holdings[SYMBOL].qty == ZERO
    assert profits(world) == []


def test_account_when_a_difference_stays_then_the_second_snapshot_that_shows_it_is_believed() -> None:
    world = active()
    world.holdings[SYMBOL] = Holding(SIZE, MID)
    for _ in range(5):
        stream_account(world)
    assert believed(world) == ZERO, "a stream event alone corrects nothing"

    shown = 0
    while believed(world) == ZERO:
        snapshot_mono_ns = world.state.account.snapshot_mono_ns
        world.calm(0.1)
        shown += world.state.account.snapshot_mono_ns > snapshot_mono_ns
        assert shown <= 2
    assert shown == 2
    world.calm(SNAPSHOT_S)
    assert (believed(world), heals(world)) == (SIZE, 1)
    assert sum(order.qty for order in profits(world)) == SIZE


def test_account_when_a_difference_is_gone_by_the_next_snapshot_then_nothing_is_corrected() -> None:
    world = active()
    for _ in range(6):
        world.holdings[SYMBOL] = Holding(SIZE, MID)
        world.calm(SNAPSHOT_S)
        world.holdings[SYMBOL] = Holding()
        world.calm(SNAPSHOT_S)
    assert (believed(world), heals(world), profits(world)) == (ZERO, 0, [])


@pytest.mark.parametrize(("before_ms", "known"), [(60_000, True), (-1, False)])
def test_fill_when_it_closed_the_position_before_the_start_and_is_told_after_it_then_it_opens_nothing(
    before_ms: int, known: bool
) -> None:
    """The executor asks what traded while it was dead; the flat account that was adopted shows the trade already."""
    world = World(config())
    world.calm(5)
    assert world.state.symbols[SYMBOL].adopted
    traded_utc_ms = world.utc_ms() - before_ms
    fill = Fill(
        "grd-0-zz-t1", SYMBOL, Side.SELL, OrderKind.TAKE_PROFIT, -1, MID, SIZE, ZERO, ZERO, False, traded_utc_ms
    )
    world.step(Received(world.now_ns, fill))
    assert world.state.symbols[SYMBOL].cycle.position_qty == (ZERO if known else -SIZE)

"""Resting entries that nobody answers for any more are taken back; what only reduces stays."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.model.board import Word
from grinder.model.control import FsmState, Override
from grinder.model.orders import OrderKind, OrderState, Side, TimeInForce
from grinder.model.venue import CancelOrder, OrderType, PlaceOrder
from grinder.services.withdrawal import GRACE_MS, URGENT_MS
from tests.account_world import ExecutorWorld, order_id
from tests.fake_venue import Outcome

D = Decimal
SLACK_MS = 2_000


def world_with_orders() -> tuple[ExecutorWorld, str, str]:
    """An entry and a take-profit rest."""
    world = ExecutorWorld(exits=False)
    entry = world.place(1)
    profit = world.place(
        2,
        client_order_id=order_id(2, "t1"),
        side=Side.SELL,
        price=D(101),
        reduce_only=True,
        kind=OrderKind.TAKE_PROFIT,
    )
    world.run(100)
    assert world.state(entry) is world.state(profit) is OrderState.OPEN
    return world, entry, profit


def say(world: ExecutorWorld, word: Word, value: int) -> None:
    world.board.words[word] = value


def fsm_is(state: FsmState) -> int:
    return list(FsmState).index(state) + 1


def test_entry_when_everything_is_well_then_it_rests() -> None:
    world, entry, profit = world_with_orders()
    world.run(60_000)
    assert world.state(entry) is world.state(profit) is OrderState.OPEN


@pytest.mark.parametrize(
    ("word", "value", "after_ms"),
    [
        (Word.TRIP_OPERATOR, 1, URGENT_MS),
        (Word.OVERRIDE, (1 << 8) | Override.PAUSE.value, URGENT_MS),
        (Word.FSM_STATE, 0, GRACE_MS),
        (Word.FSM_STATE, fsm_is(FsmState.INIT), GRACE_MS),
        (Word.FSM_STATE, fsm_is(FsmState.EMERGENCY), GRACE_MS),
    ],
)
def test_entry_when_nobody_takes_it_back_then_it_is_withdrawn_and_the_profit_stays(word, value, after_ms) -> None:
    world, entry, profit = world_with_orders()
    say(world, word, value)
    world.run(after_ms - 1_000)
    assert world.state(entry) is OrderState.OPEN
    world.run(SLACK_MS)
    assert world.state(entry) is OrderState.CANCELED
    assert world.state(profit) is OrderState.OPEN


def test_entry_when_the_fsm_is_dead_and_no_price_comes_then_withdrawn_even_if_the_first_cancel_fails() -> None:
    world, entry, profit = world_with_orders()
    world.venue.outcomes[CancelOrder].append(Outcome.LOST_BEFORE)
    world.run(40_000, fresh=False)
    assert world.state(entry) is OrderState.CANCELED
    assert world.state(profit) is OrderState.OPEN


def test_entry_when_the_fsm_comes_back_in_time_then_it_goes_on_resting() -> None:
    world, entry, _ = world_with_orders()
    for _ in range(3):
        say(world, Word.FSM_STATE, fsm_is(FsmState.READY))
        world.run(GRACE_MS - 1_000)
        say(world, Word.FSM_STATE, fsm_is(FsmState.ACTIVE))
        world.run(1_000)
    assert world.state(entry) is OrderState.OPEN


def test_entry_when_its_symbol_is_traded_no_more_then_withdrawn() -> None:
    world = ExecutorWorld(ready=False)
    name = order_id(5)
    request = PlaceOrder(name, "ETHUSDT", Side.BUY, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, False)
    world.venue.rest(request)
    world.make_ready()
    assert world.state(name) is OrderState.OPEN
    world.run(GRACE_MS + SLACK_MS)
    assert world.state(name) is OrderState.CANCELED

"""Each check of the kill test can fail: a world in which all is well, and one thing wrong with it at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.model.account import AccountState, Balance, Position, PositionSide, Source
from grinder.model.orders import OrderKind, OrdersSnapshot, OrderState, OrderUpdate, Side
from grinder.model.units import ZERO
from tests.soak.judge import (
    Findings,
    Paper,
    Truth,
    Wrong,
    judge_commands,
    judge_fills,
    judge_running,
    judge_stopped,
    kinds,
)

D = Decimal
RESTS, DONE = "grd-0-1-b1", "grd-0-2-b2"


def row(name: str, *, filled: str, live: bool) -> dict[str, Any]:
    return {"clientOrderId": name, "side": "BUY", "price": "99", "origQty": "2", "executedQty": filled, "live": live}


class World:
    """One order rests and is filled by half, one is filled; ``judged`` says what is wrong."""

    def __init__(self) -> None:
        orders = {RESTS: row(RESTS, filled="1", live=True), DONE: row(DONE, filled="2", live=False)}
        self.truth = Truth(Counter(orders.keys()), orders, [], Counter(), D(3), D(3))
        self.paper = Paper({RESTS, DONE}, {RESTS: ((ZERO, D(1)),), DONE: ((ZERO, D(2)),)}, ())
        self.asked = {RESTS, DONE}
        self.published = {RESTS: D(1), DONE: D(2)}
        self.update = OrderUpdate(
            RESTS, "BTCUSDT", Side.BUY, OrderKind.GRID, OrderState.PARTIALLY_FILLED, D(99), D(2), D(1), False, "", 0
        )
        self.held, self.reconciled, self.code = D(3), True, 0
        self.believed: tuple[OrderUpdate, ...] = (self.update,)

    def judged(self) -> Findings:
        position = Position("BTCUSDT", PositionSide.BOTH, self.held, D(1), D(1), ZERO, 0)
        balance = Balance(D(1), ZERO, D(1))
        account = AccountState((position,), balance, 1, ZERO, False, self.reconciled, Source.REST, 1, 0)
        snapshot = OrdersSnapshot(self.believed, 0, 0, True, "", 1)
        return [
            *judge_commands(self.truth, self.paper, self.asked),
            *judge_fills(self.truth, self.paper, self.published),
            *judge_running(self.truth, snapshot, account),
        ]

    def stopped(self) -> Findings:
        return judge_stopped(self.truth, self.paper, self.code)

    def change(self, **fields: object) -> None:
        self.believed = (msgspec.structs.replace(self.update, **fields),)


def test_judge_when_all_is_well_then_it_finds_nothing() -> None:
    assert World().judged() == []


def test_judge_when_the_end_is_clean_then_it_finds_nothing() -> None:
    world = World()
    world.truth.orders[RESTS]["live"] = False
    assert world.stopped() == []


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda world: world.truth.placed.update([RESTS]), Wrong.DUPLICATE),
        (lambda world: world.truth.twins.append(DONE), Wrong.DUPLICATE),
        (lambda world: world.asked.discard(DONE), Wrong.NOBODY_ASKED),
        (lambda world: world.paper.placed.discard(DONE), Wrong.NOT_ON_RECORD),
        (lambda world: world.paper.counted.pop(DONE), Wrong.FILLS_DIFFER),
        (lambda world: world.paper.counted.update({DONE: ((ZERO, D(3)),)}), Wrong.FILLS_DIFFER),
        (lambda world: world.published.update({DONE: D(4)}), Wrong.TOLD_TOO_MUCH),
        (lambda world: setattr(world.truth, "position", D(2)), Wrong.POSITION_DIFFERS),
        (lambda world: setattr(world, "held", D(2)), Wrong.POSITION_DIFFERS),
        (lambda world: setattr(world, "reconciled", False), Wrong.POSITION_DIFFERS),
        (lambda world: setattr(world, "believed", ()), Wrong.UNMANAGED),
        (lambda world: world.change(client_order_id="grd-0-3-b3"), Wrong.UNMANAGED),
        (lambda world: world.change(qty=D(3)), Wrong.UNMANAGED),
        (lambda world: world.change(state=OrderState.IN_DOUBT), Wrong.UNRESOLVED),
    ],
)
def test_judge_when_one_thing_is_wrong_then_it_finds_that(spoil: Callable[[World], object], wrong: Wrong) -> None:
    world = World()
    spoil(world)
    assert wrong in kinds(world.judged())


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda world: None, Wrong.LEFT_BEHIND),
        (lambda world: setattr(world.paper, "open_orders", (RESTS,)), Wrong.UNRESOLVED),
        (lambda world: setattr(world, "code", -9), Wrong.UNCLEAN),
    ],
)
def test_judge_when_a_stop_leaves_something_then_it_finds_that(spoil: Callable[[World], object], wrong: Wrong) -> None:
    world = World()
    spoil(world)
    assert wrong in kinds(world.stopped())

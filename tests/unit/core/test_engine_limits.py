"""The account's limits in the engine: the day's loss, a symbol's budget, losing orders in a row; and who lifts them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from grinder.core.demand import risk_demand
from grinder.core.drawdown import DrawdownConfig
from grinder.core.events import Blocked, Received, Trip
from grinder.core.losses import LossConfig
from grinder.model.account import AccountState, Position, PositionSide
from grinder.model.board import Demand
from grinder.model.control import FsmState, TripReason
from grinder.model.orders import Fill, OrderKind, OrderState, OrderUpdate, Side
from grinder.model.reasons import BlockReason
from tests.engine_world import Holding, World, config

D = Decimal
SYMBOL = "BTCUSDT"
OTHER = "ETHUSDT"
SIZE = D("0.002")
MID = D(60_000)


def losing(number: int, symbol: str = SYMBOL, pnl: str = "-5") -> Fill:
    name = f"grd-0-zz{number}-t1"
    return Fill(name, symbol, Side.SELL, OrderKind.EXIT, number, MID, D("0.001"), D(0), D(pnl), False, 0)


def trips(world: World) -> list[TripReason]:
    return [effect.reason for effect in world.effects if isinstance(effect, Trip)]


@pytest.mark.parametrize(("wallet", "tripped"), [(9_901, False), (9_900, True)])
def test_day_when_its_loss_reaches_the_limit_then_tripped_once_and_a_reset_is_refused(
    wallet: int, tripped: bool
) -> None:
    world = World(config(losses=LossConfig(daily_limit=D(100))))
    world.calm(15)
    world.holdings[SYMBOL] = Holding(SIZE, MID)
    world.wallet = lambda: D(wallet)  # type: ignore[method-assign]
    world.calm(15)
    assert trips(world) == [TripReason.DAILY_LOSS_LIMIT] * tripped
    assert (world.fsm_state is FsmState.EMERGENCY) is tripped
    assert bool(risk_demand(world.state, world.now_ns) & Demand.DAY_LOSS_OVER_LIMIT) is tripped


def test_day_when_one_sample_is_bad_then_no_trip() -> None:
    world = World(config(losses=LossConfig(daily_limit=D(100))))
    world.holdings[SYMBOL] = Holding(SIZE, MID)
    world.calm(15)
    bad = world.state.account
    assert bad is not None
    balance = replace(bad.balance, wallet_balance=D(5_000))
    world.step(Received(world.now_ns, replace(bad, balance=balance, snapshot_mono_ns=world.now_ns)))
    world.calm(15)
    assert trips(world) == []


def test_budget_when_a_symbol_used_it_up_then_it_alone_takes_no_new_risk_until_an_operator_looked() -> None:
    sizes = {SYMBOL: SIZE, OTHER: D("0.02")}
    world = World(config(sizes, drawdown=DrawdownConfig(loss_budgets={SYMBOL: D(10)})))
    mids = {SYMBOL: MID, OTHER: D(3_000)}
    world.calm(15, mids)
    for number in (1, 2):
        world.step(Received(world.now_ns, losing(number)))
    world.calm(5, mids)
    assert world.state.loss_breached == {SYMBOL}
    world.effects.clear()
    world.calm(10, {SYMBOL: MID + 600, OTHER: D(3_030)})
    blocks = [effect for effect in world.effects if isinstance(effect, Blocked)]
    assert {block.symbol for block in blocks if BlockReason.DRAWDOWN_BLOCKED in block.reasons} == {SYMBOL}
    assert {order.place.symbol for order in world.open_orders()} == {OTHER}
    world.resumes += 1
    world.control()
    world.calm(5, mids)
    assert world.state.loss_breached == frozenset()


def test_budget_when_the_position_shows_the_loss_then_it_counts_too() -> None:
    world = World(config(drawdown=DrawdownConfig(loss_budgets={SYMBOL: D(10)})))
    world.calm(15)
    account = world.state.account
    assert isinstance(account, AccountState)
    world.step(Received(world.now_ns, losing(1, pnl="-4")))
    for shown, breached in ((D("-5.99"), set()), (D(-6), {SYMBOL}), (D(1), {SYMBOL})):
        held = Position(SYMBOL, PositionSide.BOTH, SIZE, MID, MID, shown, 1)
        world.step(Received(world.now_ns, replace(account, positions=(held,), snapshot_mono_ns=world.now_ns)))
        assert world.state.loss_breached == breached


def test_streak_when_too_long_then_paused_until_an_operator_looked_and_then_counted_anew() -> None:
    world = World(config(losses=LossConfig(streak_max=3)))
    world.calm(15)
    for number in (1, 2):
        world.step(Received(world.now_ns, losing(number)))
    world.calm(1)
    assert world.fsm_state is FsmState.ACTIVE
    world.step(Received(world.now_ns, losing(3)))
    world.calm(60)
    assert world.fsm_state is FsmState.PAUSED
    assert not [order for order in world.open_orders() if order.place.kind is OrderKind.GRID]
    world.resumes += 1
    world.control()
    world.calm(5)
    assert world.fsm_state is FsmState.ACTIVE
    world.step(Received(world.now_ns, losing(4)))
    world.calm(1)
    assert world.fsm_state is FsmState.ACTIVE


def refusal(reason: str, reduce_only: bool = False) -> OrderUpdate:
    kind = OrderKind.TAKE_PROFIT if reduce_only else OrderKind.GRID
    return OrderUpdate(
        "grd-0-x-b1", SYMBOL, Side.BUY, kind, OrderState.REJECTED, MID, SIZE, D(0), reduce_only, reason, 0
    )


@pytest.mark.parametrize(
    ("update", "tripped"),
    [
        (refusal("-2019 Margin is insufficient."), [TripReason.REJECT_LOOP]),
        (refusal("-5022 Due to the order could not be executed as maker."), []),
        (refusal("-1021 Timestamp for this request is outside of the recvWindow."), []),
        (refusal("-5028 Timestamp for this request is outside of the ME recvWindow."), []),
        (refusal("-2022 ReduceOnly Order is rejected.", reduce_only=True), []),
    ],
    ids=["adds risk", "post-only", "too old", "too old at the engine", "reduces"],
)
def test_refusals_when_identical_ten_times_in_a_row_then_those_that_add_risk_trip_once(
    update: OrderUpdate, tripped: list[TripReason]
) -> None:
    world = World(config())
    world.calm(15)
    for _ in range(9):
        world.step(Received(world.now_ns, update))
    assert trips(world) == []
    for _ in range(5):
        world.step(Received(world.now_ns, update))
    assert trips(world) == tripped

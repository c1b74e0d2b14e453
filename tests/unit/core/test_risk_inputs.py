"""No dead sensor: each input that new risk depends on is missed at the start, when it goes silent and when it fails.

Invariant: with an input that is not live no order that adds risk leaves, the reason is said, and what protects goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from types import ModuleType

import pytest
from msgspec.structs import replace

from grinder.core import drawdown, engine, features, inputs, round, toxicity
from grinder.core.drawdown import WINDOW_MS, DrawdownConfig
from grinder.core.events import Blocked, Control, Counted, Lost, Noted, Received, Send
from grinder.core.losses import LossConfig
from grinder.model.account import AccountState, Instruments, Position, PositionSide
from grinder.model.channels import ORDERS
from grinder.model.control import FsmState, Override
from grinder.model.market import BookTop, MarkPrice, StreamHealth
from grinder.model.orders import CommandRefused, Fill, OrderBudget, OrderKind, OrdersSnapshot, OrderUpdate, Place, Side
from grinder.model.reasons import BlockReason
from grinder.model.risk_input import RiskInput
from tests.engine_world import World, config

D = Decimal
SYMBOL = "BTCUSDT"
MID = D(600)
SIZE = D(2)
ABSURD = D("9e999999")
"""Finite, so that it may be in a frame, and beyond what can be calculated with."""

ORDER_FRAMES = (OrderUpdate, Fill, CommandRefused, OrdersSnapshot, OrderBudget)
Silence = Callable[[World, pytest.MonkeyPatch], None]


def world() -> World:
    return World(
        config(
            {SYMBOL: SIZE},
            losses=LossConfig(daily_limit=D(5_000)),
            drawdown=DrawdownConfig(loss_budgets={SYMBOL: D(5_000)}),
            guards={"max_position_usd": D(100_000), "max_notional_per_order": D(10_000)},
        )
    )


def dropping(*kinds: type) -> Silence:
    def silence(world: World, patch: pytest.MonkeyPatch) -> None:
        world.frames_dropped = lambda frame: isinstance(frame, kinds)

    return silence


def changing(kind: type, **changes: object) -> Silence:
    """Have every frame of a kind arrive with other values from now on."""

    def silence(world: World, patch: pytest.MonkeyPatch) -> None:
        give = world.give
        world.give = lambda frame: give(  # type: ignore[method-assign]
            replace(frame, **changes) if isinstance(frame, kind) else frame
        )

    return silence


def lose_orders(world: World, patch: pytest.MonkeyPatch) -> None:
    dropping(OrdersSnapshot)(world, patch)
    world.step(Lost(world.now_ns, ORDERS.name))


def stop_executor(world: World, patch: pytest.MonkeyPatch) -> None:
    world.ready = False
    world.control()


def unload_latch(world: World, patch: pytest.MonkeyPatch) -> None:
    world.control = lambda: world.step(  # type: ignore[method-assign]
        Control(world.now_ns, False, False, Override.NONE, world.resumes, world.ready)
    )
    world.control()


def breaking(module: ModuleType, function: str, error: Exception) -> Silence:
    """Have a function of ours fail, as if it had been built so: no frame that may exist brings these to it."""

    def fail(*_: object, **__: object) -> object:
        raise error

    return lambda world, patch: patch.setattr(module, function, fail)


def no_equity(world: World, patch: pytest.MonkeyPatch) -> None:
    world.wallet = lambda: D(0)  # type: ignore[method-assign]


def absurd_trades(world: World, patch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        name = f"grd-0-zz{number}-t1"
        fill = Fill(name, SYMBOL, Side.SELL, OrderKind.EXIT, number, MID, D("0.001"), D(0), ABSURD, False, 0)
        world.step(Received(world.now_ns, fill))


def absurd_losses(world: World, patch: pytest.MonkeyPatch) -> None:
    sides = (PositionSide.BOTH, PositionSide.LONG)
    changing(AccountState, positions=tuple(Position(SYMBOL, side, SIZE, MID, MID, ABSURD, 1) for side in sides))(
        world, patch
    )


SILENCES: dict[RiskInput, Silence] = {
    RiskInput.MARKET: dropping(BookTop, MarkPrice, StreamHealth),
    RiskInput.ORDERS: dropping(*ORDER_FRAMES),
    RiskInput.ACCOUNT: dropping(AccountState, Instruments),
    RiskInput.ACCOUNT_SNAPSHOT: dropping(AccountState),
    RiskInput.ORDERS_SNAPSHOT: lose_orders,
    RiskInput.EXECUTOR: stop_executor,
    RiskInput.LATCH: unload_latch,
    RiskInput.POSITION_MODE: changing(AccountState, hedge_mode=True),
    RiskInput.ACCOUNT_RECONCILED: changing(AccountState, reconciled=False),
    RiskInput.FEATURES: breaking(features, "observe", ZeroDivisionError()),
    RiskInput.TOXICITY: breaking(toxicity, "observe", OverflowError()),
    RiskInput.DRAWDOWN: no_equity,
    RiskInput.DAY_LOSS: no_equity,
    RiskInput.LOSSES: absurd_trades,
    RiskInput.LOSS_BUDGETS: absurd_losses,
    RiskInput.EXPOSURE: changing(MarkPrice, mark_price=ABSURD),
}
FAILURES = (RiskInput.LOSSES, RiskInput.LOSS_BUDGETS, RiskInput.EXPOSURE)
"""Inputs that are not fed but computed: dead only when their computation cannot be carried out."""


def added_risk(world: World) -> list[Place]:
    sent = [effect.frame for effect in world.effects if isinstance(effect, Send)]
    return [frame for frame in sent if isinstance(frame, Place) and not frame.reduce_only]


def protection(world: World) -> list[str]:
    return [order.place.client_order_id for order in world.open_orders() if order.place.reduce_only]


def test_silences_when_compared_with_the_inputs_then_none_is_left_out() -> None:
    assert set(SILENCES) == set(RiskInput)


def test_engine_when_it_begins_then_every_input_counts_as_dead() -> None:
    assert set(engine.initial_state(config(), 0).inputs_not_live) == set(RiskInput)


@pytest.mark.parametrize("risk_input", [name for name in RiskInput if name not in FAILURES])
def test_input_when_never_fed_then_it_is_missed_and_no_risk_is_taken(
    risk_input: RiskInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = world()
    SILENCES[risk_input](loop, monkeypatch)
    loop.calm(20, {SYMBOL: MID})
    assert risk_input in loop.state.inputs_not_live
    assert added_risk(loop) == []


@pytest.mark.parametrize("risk_input", RiskInput)
def test_input_when_it_goes_dead_then_missed_no_risk_is_added_and_protection_stays(
    risk_input: RiskInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = world()
    loop.calm(15, {SYMBOL: MID})
    loop.calm(3, {SYMBOL: MID - D("0.7")})
    assert loop.state.inputs_not_live == ()
    assert added_risk(loop)
    (profit,) = protection(loop)
    SILENCES[risk_input](loop, monkeypatch)
    loop.calm(WINDOW_MS // 1_000 + 5, {SYMBOL: MID - D("0.7")})
    assert risk_input in loop.state.inputs_not_live
    loop.effects.clear()
    loop.calm(10, {SYMBOL: MID - D("1.3")})
    assert added_risk(loop) == []
    assert profit in protection(loop)
    said = [set(effect.reasons) for effect in loop.effects if isinstance(effect, Blocked)]
    assert all(reasons & {BlockReason.INPUT_NOT_LIVE, BlockReason.FSM_STATE_BLOCKED} for reasons in said)


COMPUTATIONS = [
    (RiskInput.FEATURES, features, "observe"),
    (RiskInput.TOXICITY, toxicity, "observe"),
    (RiskInput.DRAWDOWN, drawdown, "observe"),
    (RiskInput.DRAWDOWN, drawdown, "current"),
    (RiskInput.DRAWDOWN, drawdown, "from_start"),
    (RiskInput.DAY_LOSS, engine, "loss_of_day"),
    (RiskInput.DAY_LOSS, engine, "after_day"),
    (RiskInput.LOSSES, inputs, "after_fill"),
    (RiskInput.LOSS_BUDGETS, drawdown, "breached_symbols"),
    (RiskInput.EXPOSURE, round, "worst_case_notional"),
]


@pytest.mark.parametrize(("risk_input", "module", "function"), COMPUTATIONS)
def test_computation_when_it_fails_then_counted_told_once_and_no_risk_is_added_until_it_works_again(
    risk_input: RiskInput, module: ModuleType, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = world()
    loop.calm(15, {SYMBOL: MID})
    with monkeypatch.context() as patch:
        breaking(module, function, ArithmeticError("broken"))(loop, patch)
        loop.calm(3, {SYMBOL: MID - D("0.7")})
        assert risk_input in loop.state.inputs_not_live
        loop.effects.clear()
        loop.calm(10, {SYMBOL: MID + 6})
        assert added_risk(loop) == []
    counted = [effect for effect in loop.effects if isinstance(effect, Counted)]
    assert Counted("grinder_risk_input_failures_total", (risk_input.value,)) in counted
    told = [dict(effect.fields) for step in loop.decisions for effect in step if isinstance(effect, Noted)]
    failures = [fields for fields in told if fields.get("input") == risk_input.value]
    assert failures[0]["why"] == "ArithmeticError: broken"
    loop.calm(40, {SYMBOL: MID + 6})
    # A trade whose result is lost is lost to every limit: only an operator's look brings new risk back.
    assert (risk_input in loop.state.inputs_not_live) is (risk_input is RiskInput.LOSSES)
    assert (loop.fsm_state is FsmState.PAUSED) is (risk_input is RiskInput.LOSSES)
    loop.resumes += 1
    loop.control()
    loop.calm(2, {SYMBOL: MID + 6})
    assert loop.state.inputs_not_live == ()


@pytest.mark.parametrize(("risk_input", "module", "function"), COMPUTATIONS)
def test_computation_when_it_has_a_defect_then_the_step_ends_and_decides_nothing(
    risk_input: RiskInput, module: ModuleType, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = world()
    loop.calm(15, {SYMBOL: MID})
    loop.effects.clear()
    breaking(module, function, RuntimeError("defect"))(loop, monkeypatch)
    with pytest.raises(RuntimeError, match="defect"):
        loop.calm(10, {SYMBOL: MID - D("0.7")})
    assert added_risk(loop) == []

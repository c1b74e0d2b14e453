"""The operator's override held for minutes: nothing flaps while the account is flat, and a dead fsm changes nothing.

Each half of the tree alone: the engine with the venue model behind it, the executor with the truthful little venue.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.emergency import Result
from grinder.core.fsm import FsmThresholds
from grinder.model.board import Word
from grinder.model.control import FsmState, Override
from grinder.model.orders import OrderState
from grinder.model.reasons import DenyReason
from grinder.model.venue import CancelAllOrders, PlaceOrder
from grinder.services.withdrawal import URGENT_MS
from tests.account_world import ExecutorWorld, limits
from tests.engine_world import World, config
from tests.fake_venue import SYMBOL

D = Decimal
HELD_S = 300
EMERGENCY_WORD = list(FsmState).index(FsmState.EMERGENCY) + 1


def override(world: ExecutorWorld, code: Override, sequence: int = 3) -> None:
    world.board.write(Word.OVERRIDE, (sequence << 8) | code)


def test_emergency_when_held_for_minutes_while_flat_then_entered_once_and_left_once() -> None:
    world = World(config(thresholds=FsmThresholds(cooldown_ms=1_000)))
    world.calm(15)
    before, placed = len(world.transitions()), world.sent["Place"]
    world.override = Override.EMERGENCY
    world.control()
    world.calm(HELD_S)
    assert world.transitions()[before:] == ["ACTIVE -> EMERGENCY OPERATOR_EMERGENCY"]
    assert not world.open_orders()
    world.override = Override.NONE
    world.control()
    world.calm(HELD_S)
    assert world.transitions()[before + 1 :] == ["EMERGENCY -> PAUSED POSITION_REDUCED"]
    assert world.sent["Place"] == placed
    assert world.fsm_state is FsmState.PAUSED


@pytest.mark.parametrize("holds", list(range(3)), ids=["override", "fsm", "both"])
def test_exit_when_demanded_for_minutes_while_flat_then_one_exit_and_from_then_on_only_looks(holds: int) -> None:
    world = ExecutorWorld()
    if holds in (0, 2):
        override(world, Override.EMERGENCY)
    if holds in (1, 2):
        world.board.write(Word.FSM_STATE, EMERGENCY_WORD)
    world.run(HELD_S * 1_000)
    ends = {result: world.telemetry.counts["grinder_emergency_exit_total", result.value] for result in Result}
    assert ends == {result: int(result is Result.SUCCESS) for result in Result}
    assert len(world.venue.sent(CancelAllOrders)) == 1
    assert not world.venue.sent(PlaceOrder)
    assert world.log.names().count("EMERGENCY EXIT START") == 1


@pytest.mark.parametrize("state", [FsmState.ACTIVE, FsmState.PAUSED])
def test_override_when_the_fsm_is_dead_then_the_executor_pauses_acknowledges_and_takes_entries_back(
    state: FsmState,
) -> None:
    world = ExecutorWorld()
    resting = world.place(1)
    world.run(50)
    world.board.write(Word.FSM_STATE, list(FsmState).index(state) + 1)
    world.board.write(Word.HEARTBEAT_FSM_MONO_NS, 0)
    override(world, Override.PAUSE)
    name = world.place(2)
    assert (world.state(name), world.updates(name)[-1].reason) == (OrderState.DENIED, DenyReason.OPERATOR_OVERRIDE)
    world.run(URGENT_MS + 1_000, fresh=False)
    assert world.board.read(Word.OVERRIDE_ACK_EXECUTOR) == 3
    assert world.state(resting) is OrderState.CANCELED
    assert world.log.names().count("EMERGENCY EXIT START") == 0


def test_override_when_the_fsm_is_dead_and_it_says_emergency_then_the_executor_leaves_the_market() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.place(2)
    world.run(50)
    world.venue.trade(name, D(1))
    world.board.write(Word.HEARTBEAT_FSM_MONO_NS, 0)
    override(world, Override.EMERGENCY)
    world.run(2_000, fresh=False)
    assert not world.venue.open_orders()
    assert world.venue.positions[SYMBOL] == 0
    assert world.board.read(Word.OVERRIDE_ACK_EXECUTOR) == 3
    assert world.telemetry.counts["grinder_emergency_exit_total", Result.SUCCESS.value] == 1


@pytest.mark.parametrize("board", Override)
def test_override_when_it_is_in_the_environment_and_the_fsm_is_dead_then_the_executor_obeys_the_more_severe(
    board: Override,
) -> None:
    world = ExecutorWorld(rules=limits(override=Override.PAUSE))
    world.board.write(Word.HEARTBEAT_FSM_MONO_NS, 0)
    override(world, board)
    assert world.updates(world.place(1))[-1].reason == DenyReason.OPERATOR_OVERRIDE
    world.run(1_000, fresh=False)
    assert world.log.names().count("EMERGENCY EXIT START") == (board is Override.EMERGENCY)


def test_override_when_the_environment_says_emergency_then_the_executor_exits_without_an_fsm() -> None:
    world = ExecutorWorld(rules=limits(override=Override.EMERGENCY), ready=False)
    world.venue.positions[SYMBOL] = D(1)
    world.run(2_000)
    assert world.venue.positions[SYMBOL] == 0

"""What waits for an operator goes on waiting when the board that showed it is gone, and no longer than that."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from io import BytesIO

import pytest

from grinder.core.recording import Replayed, decision_record, header_record, replay
from grinder.model.account import AccountState, Balance, Source
from grinder.model.board import Word
from grinder.model.control import AccountResponse, FsmState, Override
from grinder.model.orders import Place
from tests.unit.services.test_fsm_service import Bench, Decisions, Risk

D = Decimal


def replayed(decisions: Decisions) -> Replayed:
    """What a replay of the recording finds."""
    steps = [decision_record(event, effects) for event, effects in decisions.decisions]
    found = replay(BytesIO(header_record(decisions.headers[0]) + b"".join(steps)))
    assert found.steps == len(steps)
    return found


def overridden() -> Bench:
    """In an emergency that an operator ordered and took back."""
    bench = Bench().trading()
    for number, override in ((1, Override.EMERGENCY), (2, Override.NONE)):
        bench.board.words[Word.OVERRIDE] = (number << 8) | override
        bench.second()
    return bench


def mismatched() -> Bench:
    """Paused because the account differs from what we believe."""
    bench = Bench().trading()
    balance = Balance(D(10_000), D(0), D(10_000))
    now = bench.clock.mono_ns()
    paused = AccountState((), balance, 0, D(0), False, True, Source.REST, now, 0, response=AccountResponse.PAUSED)
    bench.give(paused)
    bench.second()
    return bench


def damaged() -> Bench:
    """Nobody knows what the run before lost."""
    bench = Bench(risk=Risk(damaged=True)).trading()
    bench.risk.damaged = False
    return bench


CAUSES = [overridden, mismatched, damaged]


@pytest.mark.parametrize("cause", CAUSES)
def test_service_when_the_board_is_new_then_it_goes_on_waiting_for_an_operator(cause: Callable[[], Bench]) -> None:
    waiting = cause()
    assert waiting.service.state.fsm.awaiting_resume
    again = Bench(risk=waiting.risk).trading()
    assert again.service.state.fsm.state is not FsmState.ACTIVE
    assert again.board.words[Word.AWAITING_RESUME] == 1
    assert again.intents.of(Place) == []
    assert replayed(again.decisions).difference is None


@pytest.mark.parametrize("cause", CAUSES)
def test_service_when_stopped_in_order_while_it_waits_then_a_new_board_still_waits(cause: Callable[[], Bench]) -> None:
    waiting = cause()
    waiting.service.on_stop()
    assert Bench(risk=waiting.risk).trading().service.state.fsm.state is not FsmState.ACTIVE


@pytest.mark.parametrize("cause", CAUSES)
def test_service_when_resumed_and_the_board_is_new_then_it_goes_on(cause: Callable[[], Bench]) -> None:
    waiting = cause()
    waiting.board.words[Word.RESUME_COUNT] = 1
    waiting.service.on_timer()
    assert not waiting.risk.memory.awaiting_resume
    waiting.second()
    assert waiting.board.words[Word.AWAITING_RESUME] == 0
    assert Bench(risk=waiting.risk).trading().service.state.fsm.state is FsmState.ACTIVE


def test_service_when_an_emergency_begins_then_it_is_remembered_before_the_next_frame() -> None:
    bench = Bench().trading()
    bench.board.words[Word.TRIP_OPERATOR] = 99
    bench.tick()
    assert bench.risk.memory.awaiting_resume

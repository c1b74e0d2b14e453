"""What becomes of a risk input whose computation cannot be carried out: it is unknown, and new risk waits for it.

Only arithmetic that outside values make impossible is caught here. Any other exception is a defect of ours: the process
ends with it, and the executor, which needs nobody's word, takes no new risk from then on. Must never stop an order that
protects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from grinder.core.engine_state import EngineState
from grinder.core.events import Counted, Effect, Noted
from grinder.model.risk_input import RiskInput

FAULTS: Final = (ArithmeticError, ValueError)
"""What arithmetic raises on values that it cannot be done with."""

RISK_INPUT_FAILED: Final = "RISK_INPUT_FAILED"
"""Log event of an input that could not be computed; said when it begins."""

T = TypeVar("T")


def attempt(
    state: EngineState, effects: list[Effect], risk_input: RiskInput, compute: Callable[[], T], unknown: Callable[[], T]
) -> T:
    """Return what ``compute`` returns; where it cannot, mark the input as not live and return ``unknown``'s value.

    The input is live again with the next computation that works.
    """
    try:
        value = compute()
    except FAULTS as error:
        fail(state, effects, risk_input, error)
        return unknown()
    if state.failed:
        state.failed.discard(risk_input)
    return value


def fail(state: EngineState, effects: list[Effect], risk_input: RiskInput, error: Exception) -> None:
    """Mark an input as not live from this moment on, count it, and say so when it begins."""
    if risk_input not in state.inputs_not_live:
        state.inputs_not_live = (*state.inputs_not_live, risk_input)
    effects.append(Counted("grinder_risk_input_failures_total", (risk_input.value,)))
    if risk_input not in state.failed:
        state.failed.add(risk_input)
        fields = (("input", risk_input.value), ("why", f"{type(error).__name__}: {error}"))
        effects.append(Noted(RISK_INPUT_FAILED, fields))

"""Which rollback criteria hold, for ``grinder status``: the board's own, and the rest as the metrics process says.

Must never call a criterion clear because the process that would know is dead.
"""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.adapters.scrape import fetch
from grinder.core.rollback import Criterion, RollbackInputs, Verdict, criteria
from grinder.model.control import FsmState
from grinder.settings import Settings

_NOT_KNOWN: Final = "not clear: who would tell is dead, or has not been heard or watched for long enough"


class _Page(msgspec.Struct, frozen=True):
    """The part of ``/status.json`` that is read."""

    rollback: tuple[Criterion, ...] = ()


def standing(
    settings: Settings, tripped: bool | None, state: str, state_s: float | None, exit_errors: int
) -> tuple[Criterion, ...]:
    """Return the eight criteria.

    Args:
        settings: where ``/status.json`` is, and the drawdown limit.
        tripped: by the board or the latch file; None where there is neither.
        state: of a living fsm on the board; a text that is no state is not known.
        state_s: seconds in it.
        exit_errors: failed exits that the board remembers; 0 says nothing.
    """
    known = FsmState(state) if state in tuple(FsmState) else None
    inputs = RollbackInputs(
        tripped=tripped,
        drawdown_limit=float(settings.drawdown_limit),
        state=known,
        state_s=state_s,
        exit_errors=float(exit_errors) if exit_errors else None,
    )
    told = {each.name: each for each in _told(settings)}
    return tuple(told.get(own.name, own) if own.verdict is Verdict.UNKNOWN else own for own in criteria(inputs))


def lines(found: tuple[Criterion, ...]) -> list[str]:
    """Return a line for each criterion that holds, and one for those that nobody knows, which are not clear."""
    holding = [
        f"  ROLL BACK: {each.name} holds: {each.condition}{f' ({each.figure})' if each.figure else ''}; see runbook 33"
        for each in found
        if each.verdict is Verdict.HOLDS
    ]
    unknown = ", ".join(each.name for each in found if each.verdict is Verdict.UNKNOWN)
    return holding + ([f"  rollback criteria not known: {unknown}; {_NOT_KNOWN}"] if unknown else [])


def _told(settings: Settings) -> tuple[Criterion, ...]:
    body = fetch(settings.metrics_host, settings.metrics_port, "/status.json")
    try:
        return msgspec.json.decode(body, type=_Page).rollback if body is not None else ()
    except msgspec.MsgspecError:
        return ()

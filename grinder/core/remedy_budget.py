"""How many calls and how much notional the reconcile loop may still spend today; a day is one of UTC.

Pure: the day is an argument. A budget that cannot be read counts as used up. Must never give back what was spent
because of a restart, or because the clock went back.

Source: format of reference sheet 8.6.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.units import ZERO


class BudgetState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was spent on ``date``, as it is kept on the disk. ``notional_today``: quote currency, as text."""

    date: str
    calls_today: int
    notional_today: Decimal
    last_updated_ts_ms: int


UNREADABLE: Final = None
"""A budget that is there and cannot be read."""


def day_of(utc_ms: int) -> str:
    """Return the UTC date of a wall time, ``YYYY-MM-DD``."""
    return f"{datetime.fromtimestamp(utc_ms / 1_000, UTC):%Y-%m-%d}"


def fresh(utc_ms: int) -> BudgetState:
    """Return the budget of a day on which nothing was spent."""
    return BudgetState(day_of(utc_ms), 0, ZERO, utc_ms)


def rolled(state: BudgetState, utc_ms: int) -> BudgetState:
    """Return the budget as of now: a new day begins at nothing, a clock that went back gives nothing back."""
    return fresh(utc_ms) if day_of(utc_ms) > state.date else state


def spent(state: BudgetState, notional: Decimal, utc_ms: int) -> BudgetState:
    """Return the budget after one more call."""
    now = rolled(state, utc_ms)
    return BudgetState(
        now.date, now.calls_today + 1, now.notional_today + notional, max(utc_ms, now.last_updated_ts_ms)
    )


def encode(state: BudgetState) -> bytes:
    """Return the text of the budget file."""
    return msgspec.json.encode(state) + b"\n"


def decode(data: bytes) -> BudgetState | None:
    """Return the budget of a file, or UNREADABLE."""
    try:
        state = msgspec.json.decode(data, type=BudgetState)
        datetime.strptime(state.date, "%Y-%m-%d").replace(tzinfo=UTC)
    except (msgspec.DecodeError, ValueError):
        return UNREADABLE
    sound = state.calls_today >= 0 and state.notional_today.is_finite() and state.notional_today >= ZERO
    return state if sound else UNREADABLE

"""Numbers with units: explicit rounding of Decimals, and the checks that keep NaN and infinity out.

Must never round silently: each function says which way.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)
BPS: Final = Decimal(10_000)
"""Basis points in one: a fraction times this is basis points."""

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
MS_PER_S: Final = 1_000


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Round ``value`` down (towards minus infinity) to a multiple of ``step`` (> 0)."""
    assert step > ZERO
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Round ``value`` up (towards plus infinity) to a multiple of ``step`` (> 0)."""
    assert step > ZERO
    return (value / step).to_integral_value(ROUND_CEILING) * step


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Tell whether ``value`` is a whole multiple of ``step`` (> 0)."""
    assert step > ZERO
    return value % step == ZERO


def require_finite(**values: Decimal) -> None:
    """Raise ValueError naming the first value that is NaN or infinite."""
    for name, value in values.items():
        if not value.is_finite():
            raise ValueError(f"{name} is {value}, expected a finite number")


def require_positive(**values: Decimal) -> None:
    """Raise ValueError naming the first value that is not finite and greater than zero."""
    for name, value in values.items():
        if not value.is_finite() or value <= ZERO:
            raise ValueError(f"{name} is {value}, expected a finite number above 0")


def require_not_negative(**values: Decimal) -> None:
    """Raise ValueError naming the first value that is not finite or is below zero."""
    for name, value in values.items():
        if not value.is_finite() or value < ZERO:
            raise ValueError(f"{name} is {value}, expected a finite number, 0 or more")

"""Leverage brackets: how large a position may be at a leverage, and the maintenance margin it needs.

Source: GET /fapi/v1/leverageBracket; the rows are those of the venue's largest symbol, one table for all symbols here.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from grinder.model.units import ZERO
from grinder.sim.exchange.rules import SymbolRules


class Bracket(msgspec.Struct, frozen=True):
    """One bracket. Notional in USDT, ``floor`` exclusive, ``cap`` inclusive; ``cum``: deducted from the product."""

    number: int
    leverage: int
    floor: Decimal
    cap: Decimal
    ratio: Decimal
    cum: Decimal


_ROWS: Final = (
    (125, 300_000, "0.004"),
    (100, 800_000, "0.005"),
    (75, 3_000_000, "0.0065"),
    (50, 12_000_000, "0.01"),
    (25, 70_000_000, "0.02"),
    (20, 100_000_000, "0.025"),
    (10, 230_000_000, "0.05"),
    (5, 480_000_000, "0.1"),
    (4, 600_000_000, "0.125"),
    (3, 800_000_000, "0.15"),
    (2, 1_200_000_000, "0.25"),
    (1, 1_800_000_000, "0.5"),
)
"""Leverage, notional cap in USDT, maintenance margin ratio."""


@lru_cache(maxsize=1_024)
def brackets_of(rules: SymbolRules) -> tuple[Bracket, ...]:
    """Return the brackets of a symbol, smallest notional first.

    Invariant: maintenance margin does not jump from one bracket to the next.
    """
    brackets: list[Bracket] = []
    floor, ratio_before, cum = ZERO, ZERO, ZERO
    for leverage, cap, ratio_text in _ROWS:
        ratio = Decimal(ratio_text)
        cum += floor * (ratio - ratio_before) if brackets else ZERO
        bracket = Bracket(len(brackets) + 1, min(leverage, rules.max_leverage), floor, Decimal(cap), ratio, cum)
        brackets.append(bracket)
        floor, ratio_before = bracket.cap, ratio
    return tuple(brackets)


def maintenance_margin(rules: SymbolRules, notional: Decimal) -> Decimal:
    """Return the maintenance margin of a position. ``notional``: its absolute value at the mark, USDT."""
    rows = brackets_of(rules)
    bracket = next((each for each in rows if notional <= each.cap), rows[-1])
    return notional * bracket.ratio - bracket.cum


def notional_max(rules: SymbolRules, leverage: int) -> Decimal:
    """Return the largest position at a leverage, USDT."""
    return max((each.cap for each in brackets_of(rules) if each.leverage >= leverage), default=ZERO)

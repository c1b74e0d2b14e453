"""A tape for benchmarks: the price moves by the same number of ticks at the same pace, up and down, for ever."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.units import NS_PER_S
from grinder.sim.exchange.rules import SymbolRules
from grinder.sim.market.tape import TapeEvent, Top

MOVES_PER_LEG: Final = 10
TOP_STEPS: Final = 1_000_000


class StepConfig(msgspec.Struct, frozen=True):
    """``rate_per_s``: moves per second and symbol; ``ticks``: size of a move."""

    rate_per_s: float = 20.0
    ticks: int = 10


class StepTape:
    """Moves of all symbols, evenly spaced, one symbol after the other."""

    def __init__(self, rules: list[SymbolRules], config: StepConfig) -> None:
        assert config.rate_per_s > 0
        self._rules = rules
        self._config = config

    @property
    def rules(self) -> list[SymbolRules]:
        """Rules of every symbol on the tape."""
        return self._rules

    def events(self) -> Iterator[TapeEvent]:
        """Yield moves without end: ten up, ten down."""
        gap_ns = int(NS_PER_S / self._config.rate_per_s)
        number = 0
        while True:
            phase = number % (2 * MOVES_PER_LEG)
            leg = phase if phase <= MOVES_PER_LEG else 2 * MOVES_PER_LEG - phase
            for index, rules in enumerate(self._rules):
                due_ns = number * gap_ns + index * gap_ns // len(self._rules)
                yield _top(rules, due_ns, number + 1, leg * self._config.ticks)
            number += 1


def _top(rules: SymbolRules, due_ns: int, update_id: int, offset_ticks: int) -> Top:
    bid = rules.start_price + rules.tick * offset_ticks
    qty = f"{Decimal(TOP_STEPS) * rules.step:f}"
    return Top(due_ns, rules.symbol, update_id, f"{bid:f}", qty, f"{bid + rules.tick:f}", qty)

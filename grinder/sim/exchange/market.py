"""One symbol: its rules, its tape, its queue of our orders, its prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.matching import Matcher, Settlement
from grinder.sim.exchange.orders import PriceMatch, WorkingType
from grinder.sim.exchange.rules import SymbolRules
from grinder.sim.exchange.tape_book import TapeBook

FUNDING_RATE: Final = Decimal("0.00010000")
"""Funding rate of a symbol whose tape tells none, fraction of the notional per interval."""

_DEPTHS: Final = {
    PriceMatch.OPPONENT: (False, 1),
    PriceMatch.OPPONENT_5: (False, 5),
    PriceMatch.QUEUE: (True, 1),
    PriceMatch.QUEUE_5: (True, 5),
    PriceMatch.QUEUE_10: (True, 10),
    PriceMatch.QUEUE_20: (True, 20),
}
"""Own side or not, and which level. OPPONENT_10 and _20 were taken away. Source: change log, 2025-10-23."""


class Market:
    """One symbol of the exchange."""

    def __init__(self, rules: SymbolRules, settlement: Settlement, first_trade_id: int) -> None:
        self.rules = rules
        self.tape = TapeBook(rules.tick)
        self.matcher = Matcher(self.tape, settlement)
        self.mark_price = ZERO
        self.index_price = ZERO
        self.last_price = ZERO
        self.funding_rate = FUNDING_RATE
        self.next_trade_id = first_trade_id

    @property
    def mark(self) -> Decimal:
        """Mark price, or the middle of the book before the first one."""
        return self.mark_price if self.mark_price > ZERO else self.tape.mid

    @property
    def last(self) -> Decimal:
        """Price of the last trade, or the middle of the book before the first one."""
        return self.last_price if self.last_price > ZERO else self.tape.mid

    def working_price(self, kind: WorkingType) -> Decimal:
        """Return the price that triggers conditional orders of a working type; 0 where there is none yet."""
        return self.mark if kind is WorkingType.MARK_PRICE else self.last

    def matched_price(self, side: Side, match: PriceMatch) -> Decimal | None:
        """Return the price that a price match stands for now, None where the book is not that deep.

        Args:
            side: of the order.
            match: one of the modes in force; NONE and those taken away are the caller's to refuse.
        """
        own, depth = _DEPTHS[match]
        ladder = self.tape.ladder(side if own else side.opposite, depth)
        return ladder[depth - 1][0] if len(ladder) >= depth else None

    def take_bound(self, side: Side) -> Decimal | None:
        """Return the worst price a market order may trade at, None without a mark price.

        Source: exchangeInfo ``marketTakeBound``, 2026-05-28.
        """
        if self.mark <= ZERO:
            return None
        bound = self.rules.market_take_bound
        return self.mark * (1 + bound if side is Side.BUY else 1 - bound)


PRICE_MATCHES: Final = frozenset(_DEPTHS)
"""Price matches in force."""

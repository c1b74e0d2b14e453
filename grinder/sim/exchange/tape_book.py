"""The market's own book of one symbol, as the tape tells it: best prices, and levels where the tape has depth.

Our orders are never in it. Levels keep the update id that set them, so that a snapshot which arrives late does not undo
newer differences.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.orders import Side
from grinder.model.units import ZERO

EXTRAPOLATED_LEVELS: Final = 50
"""Levels assumed behind the best one, of its quantity, where the tape has no depth."""

PriceQty = tuple[Decimal, Decimal]
TextLevels = list[list[str]]


class Level(msgspec.Struct):
    """Displayed quantity of one price, base units, and the update id that set it."""

    qty: Decimal
    update_id: int


class TapeBook:
    """Best prices and levels of one symbol's market."""

    def __init__(self, tick: Decimal) -> None:
        self.tick = tick
        self.bid = self.ask = self.bid_qty = self.ask_qty = ZERO
        self.update_id = 0
        self.has_depth = False
        self._levels: dict[Side, dict[Decimal, Level]] = {Side.BUY: {}, Side.SELL: {}}
        self._awaiting_snapshot = True

    @property
    def ready(self) -> bool:
        """Tell whether there is a best bid and ask."""
        return self.bid > ZERO and self.ask > ZERO

    @property
    def mid(self) -> Decimal:
        """Middle of best bid and ask, USDT; 0 before the first."""
        return (self.bid + self.ask) / 2

    def on_top(self, bid: PriceQty, ask: PriceQty, update_id: int) -> None:
        """Take a new best bid and ask."""
        self.bid, self.bid_qty = bid
        self.ask, self.ask_qty = ask
        self.update_id = update_id

    def on_depth(self, bids: TextLevels, asks: TextLevels, update_id: int) -> None:
        """Take a depth difference whose last update id is ``update_id``."""
        self.has_depth = True
        self.update_id = max(self.update_id, update_id)
        for side, rows in ((Side.BUY, bids), (Side.SELL, asks)):
            levels = self._levels[side]
            for price_text, qty_text in rows:
                price, qty = Decimal(price_text), Decimal(qty_text)
                if qty or self._awaiting_snapshot:
                    levels[price] = Level(qty, update_id)
                else:
                    levels.pop(price, None)

    def on_snapshot(self, bids: TextLevels, asks: TextLevels, update_id: int) -> None:
        """Take a snapshot; levels that a newer difference has set stay."""
        self.has_depth = True
        for side, rows in ((Side.BUY, bids), (Side.SELL, asks)):
            old = self._levels[side]
            new = {Decimal(price): Level(Decimal(qty), update_id) for price, qty in rows}
            new.update({price: level for price, level in old.items() if level.update_id > update_id})
            self._levels[side] = {price: level for price, level in new.items() if level.qty}
        self._awaiting_snapshot = False

    def best(self, side: Side) -> PriceQty:
        """Return best price and quantity of a side (BUY: the bid)."""
        return (self.bid, self.bid_qty) if side is Side.BUY else (self.ask, self.ask_qty)

    def displayed_at(self, side: Side, price: Decimal) -> Decimal | None:
        """Return the quantity displayed at a price, base units, or None where the tape does not say."""
        best_price, best_qty = self.best(side)
        if price == best_price:
            return best_qty
        inside = price > best_price if side is Side.BUY else price < best_price
        if inside:
            return ZERO
        level = self._levels[side].get(price)
        if level is not None:
            return level.qty
        return None if self._awaiting_snapshot else ZERO

    def quantity_at(self, side: Side, price: Decimal) -> Decimal:
        """Return the quantity to assume at a price, base units: where the tape does not say, that of the best level."""
        displayed = self.displayed_at(side, price)
        return self.best(side)[1] if displayed is None else displayed

    def ladder(self, side: Side, count: int) -> list[PriceQty]:
        """Return up to ``count`` levels of a side, best first, starting at the best price."""
        best_price, best_qty = self.best(side)
        if not self.ready:
            return []
        if not self.has_depth:
            step = -self.tick if side is Side.BUY else self.tick
            rows = ((best_price + step * number, best_qty) for number in range(min(count, EXTRAPOLATED_LEVELS)))
            return [(price, qty) for price, qty in rows if price > ZERO and qty > ZERO]
        behind = sorted(
            (
                (price, level.qty)
                for price, level in self._levels[side].items()
                if level.qty and (price < best_price if side is Side.BUY else price > best_price)
            ),
            reverse=side is Side.BUY,
        )
        first = [(best_price, best_qty)] if best_qty else []
        return (first + behind)[:count]

    def take(self, side: Side, price: Decimal, qty: Decimal) -> None:
        """Remove volume that one of our takers took; the tape's next word on the level overrules it."""
        if side is Side.BUY and price == self.bid:
            self.bid_qty = max(ZERO, self.bid_qty - qty)
        elif side is Side.SELL and price == self.ask:
            self.ask_qty = max(ZERO, self.ask_qty - qty)
        level = self._levels[side].get(price)
        if level is not None:
            level.qty = max(ZERO, level.qty - qty)

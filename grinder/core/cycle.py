"""The take-profit cycle of one symbol: lots opened by trades, closed by trades, each with an order that takes profit.

A lot comes from a Fill and from nothing else (an order that disappeared is no fill), or is adopted from the account
where the account says, with nothing under way, that the position is another than the lots add up to. In one-way mode
opposite trades net, so all lots of a symbol lie on one side and their sum is the position. Must never want take-profits
for more than the position, and never at a price that would realise a loss against the lot.

Source: reference sheet 13.9; its fault W15 (fills inferred from disappearance) is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from grinder.core.planner import Top, Wanted, level_name
from grinder.model.instrument import Instrument
from grinder.model.orders import Fill, OrderKind, Side, TimeInForce
from grinder.model.reasons import PlanReason
from grinder.model.units import BPS, ZERO, ceil_to, floor_to


class Lot(msgspec.Struct, frozen=True, gc=False):
    """Quantity that was opened through one slot and is not closed yet.

    ``level``: the entry slot (``b3``). ``qty``: base units, above zero. ``price``: average entry, quote currency.
    """

    level: str
    side: Side
    qty: Decimal
    price: Decimal
    opened_mono_ns: int


class FillEffect(StrEnum):
    """What a trade did to the lots."""

    OPENED = "OPENED"
    CLOSED = "CLOSED"
    FLIPPED = "FLIPPED"


class Heal(StrEnum):
    """What a comparison with the account did to the lots."""

    NOTHING = "NOTHING"
    ADOPTED = "ADOPTED"
    TRIMMED = "TRIMMED"
    REPLACED = "REPLACED"


class Cycle:
    """Lots of one symbol, oldest first. One owner: the engine.

    Invariant: at most one lot per level; all lots on one side; at most ``levels`` lots.
    """

    __slots__ = ("_levels", "_lots", "_size", "symbol")

    def __init__(self, symbol: str, levels: int, size: Decimal) -> None:
        assert levels > 0
        assert size > ZERO
        self.symbol = symbol
        self._levels = levels
        self._size = size
        self._lots: list[Lot] = []

    @property
    def lots(self) -> tuple[Lot, ...]:
        """Open lots, oldest first."""
        return tuple(self._lots)

    @property
    def position_qty(self) -> Decimal:
        """Signed sum of the lots, base units: long above zero."""
        if not self._lots:
            return ZERO
        total = sum([lot.qty for lot in self._lots], ZERO)
        return -total if self._lots[0].side is Side.SELL else total

    def held_qty(self, level: str) -> Decimal:
        """Return the quantity of the lot of a slot, 0 if it holds none."""
        return sum((lot.qty for lot in self._lots if lot.level == level), ZERO)

    def fill(self, fill: Fill, level: str, now_mono_ns: int) -> FillEffect:
        """Take one trade: close lots of the other side first, open or enlarge a lot with what is left.

        Args:
            fill: the trade, counted once by its sender.
            level: level of its order's id. A take-profit closes its own lot first, everything else the oldest first.
            now_mono_ns: time of the event.
        """
        assert fill.symbol == self.symbol
        left = fill.qty
        closes = bool(self._lots) and self._lots[0].side is not fill.side
        if closes:
            own = level_name(fill.side.opposite, _number_of(level)) if fill.kind is OrderKind.TAKE_PROFIT else ""
            left = self._close(left, own)
        if left == ZERO or fill.kind is OrderKind.EXIT:
            return FillEffect.CLOSED
        self._open(fill.side, left, fill.price, level, now_mono_ns)
        return FillEffect.FLIPPED if closes else FillEffect.OPENED

    def heal(self, account_qty: Decimal, entry_price: Decimal, now_mono_ns: int) -> Heal:
        """Make the lots add up to what the account says; call only when the difference has lasted.

        Args:
            account_qty: signed position, base units.
            entry_price: the account's entry price, quote currency; used for what is adopted.
            now_mono_ns: time of the event.

        Returns:
            TRIMMED where the account holds less on the same side, ADOPTED where it holds more, REPLACED where it
            holds the other side, NOTHING where it agrees.
        """
        believed = self.position_qty
        if account_qty == believed:
            return Heal.NOTHING
        side = Side.BUY if account_qty > ZERO else Side.SELL
        if believed == ZERO or account_qty * believed > ZERO:
            excess = abs(believed) - abs(account_qty)
            if excess > ZERO:
                self._close(excess, "")
                return Heal.TRIMMED
            self._adopt(side, -excess, entry_price, now_mono_ns)
            return Heal.ADOPTED
        self._lots.clear()
        if account_qty == ZERO:
            return Heal.TRIMMED
        self._adopt(side, abs(account_qty), entry_price, now_mono_ns)
        return Heal.REPLACED

    def _close(self, qty: Decimal, first_level: str) -> Decimal:
        """Close up to ``qty``, the lot of ``first_level`` before the oldest; return what is left of it."""
        order = sorted(self._lots, key=lambda lot: lot.level != first_level)
        for lot in order:
            if qty == ZERO:
                break
            closed = min(lot.qty, qty)
            qty -= closed
            self._swap(lot, replace(lot, qty=lot.qty - closed))
        return qty

    def _open(self, side: Side, qty: Decimal, price: Decimal, level: str, now_mono_ns: int) -> None:
        slot = level if self._is_slot(side, level) else self._free_slot(side)
        for lot in self._lots:
            if lot.level == slot:
                total = lot.qty + qty
                self._swap(lot, replace(lot, qty=total, price=(lot.price * lot.qty + price * qty) / total))
                return
        self._lots.append(Lot(slot, side, qty, price, now_mono_ns))

    def _adopt(self, side: Side, qty: Decimal, price: Decimal, now_mono_ns: int) -> None:
        """Spread an adopted quantity over free slots, one size each, the last one taking the rest."""
        for number in range(1, self._levels + 1):
            level = level_name(side, number)
            room = self._size - self.held_qty(level)
            if room <= ZERO and number < self._levels:
                continue
            part = qty if number == self._levels else min(qty, room)
            self._open(side, part, price, level, now_mono_ns)
            qty -= part
            if qty == ZERO:
                return

    def _swap(self, lot: Lot, changed: Lot) -> None:
        index = self._lots.index(lot)
        if changed.qty > ZERO:
            self._lots[index] = changed
        else:
            del self._lots[index]

    def _is_slot(self, side: Side, level: str) -> bool:
        return level[:1] == level_name(side, 1)[:1] and 1 <= _number_of(level) <= self._levels

    def _free_slot(self, side: Side) -> str:
        for number in range(1, self._levels + 1):
            level = level_name(side, number)
            if self.held_qty(level) < self._size:
                return level
        return level_name(side, self._levels)


def take_profits(
    lots: Iterable[Lot], instrument: Instrument, spacing_bps: Decimal, top: Top, position_qty_max: Decimal
) -> tuple[Wanted, ...]:
    """Return the reduce-only orders that should rest for these lots, oldest lot first.

    Args:
        lots: open lots of one symbol.
        instrument: tick, step, limits. Reduce-only orders are exempt from the venue's smallest notional.
        spacing_bps: profit per lot, basis points of its entry price.
        top: best prices; an order whose price the market has passed already is moved to the touch, on its own side.
        position_qty_max: absolute position that may be closed, base units; later lots get what is left of it.

    Returns:
        One order per lot, its level ``t`` with the number of the lot's slot. A lot below the venue's smallest
        quantity is added to the next one, at a price that is a loss for neither, or waits.
    """
    wanted: list[Wanted] = []
    left = position_qty_max
    dust = ZERO
    dusty: list[Lot] = []
    for lot in lots:
        qty = floor_to(min(lot.qty + dust, left, instrument.max_qty), instrument.step_size)
        if qty < instrument.min_qty or qty <= ZERO:
            dust = min(lot.qty + dust, left)
            dusty.append(lot)
            continue
        dust = ZERO
        left -= qty
        targets = [_target(one, instrument, spacing_bps, top) for one in (*dusty, lot)]
        dusty.clear()
        price = max(targets) if lot.side is Side.BUY else min(targets)
        level = f"t{_number_of(lot.level)}"
        reason = PlanReason.TP_CLOSE
        wanted.append(
            Wanted(level, lot.side.opposite, price, qty, TimeInForce.GTC, True, OrderKind.TAKE_PROFIT, reason)
        )
    return tuple(wanted)


def _target(lot: Lot, instrument: Instrument, spacing_bps: Decimal, top: Top) -> Decimal:
    tick = instrument.tick_size
    profit = lot.price * spacing_bps / BPS
    if lot.side is Side.BUY:
        return max(ceil_to(lot.price + profit, tick), floor_to(top.bid_price, tick) + tick)
    return max(min(floor_to(lot.price - profit, tick), ceil_to(top.ask_price, tick) - tick), tick)


def _number_of(level: str) -> int:
    return int(level[1:]) if level[1:].isdecimal() else 0

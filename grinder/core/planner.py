"""Which orders should rest now for one symbol: a grid of post-only entries around an anchor, as a pure function.

The grid hangs on an anchor and moves only when the mid has left it by enough (anti-churn); a slot whose entry was
filled stays empty until the lot that it opened is closed, which is the natural cap of the position. Must never plan an
order that would cross the book, and never round a price towards it.

Invariant: per side, entries planned plus slots held by lots are at most ``levels``.
Source: reference sheet 13.7 and 13.8; its faults W5 (churn, duplicates) and W18 (sells floored) are not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.instrument import Instrument
from grinder.model.limits import LEVELS_MAX
from grinder.model.orders import BUY, GRID, SELL, OrderKind, Side, TimeInForce
from grinder.model.reasons import PlanReason
from grinder.model.units import BPS, ONE, ZERO, ceil_to, floor_to

_PERCENT: Final = Decimal(100)
_HALF: Final = Decimal("0.5")
_POST_ONLY: Final = TimeInForce.GTX
_FILL: Final = PlanReason.GRID_FILL


class PlannerConfig(msgspec.Struct, frozen=True):
    """What the grid looks like. Source of the defaults: reference sheet 10.4 and 13.8.

    ``spacing_bps``: base distance of two levels. ``size_per_level``: base units, by symbol; a symbol that is not in
    it is not traded. ``adaptive``: spacing = max(``step_min_bps``, ``step_alpha`` * NATR / 100) while NATR is at most
    ``natr_stale_ms`` old. ``rebalance_steps``: the mid must leave the anchor by this many spacings before the grid
    moves, and by ``shift_min_move_bps`` where given. ``spacing_change_min``: a fraction; a smaller change of spacing
    waits for the next move. ``level_distance_bps_max``: levels farther from the mid are left out. ``cooldown_ms``:
    between two changes of one symbol's grid. ``price_eps_bps``, ``qty_eps``: smaller differences are none
    (``qty_eps`` is a fraction).
    """

    size_per_level: dict[str, Decimal]
    spacing_bps: Decimal = Decimal(10)
    levels: int = 5
    adaptive: bool = False
    step_alpha: Decimal = Decimal(30)
    step_min_bps: Decimal = Decimal(5)
    natr_stale_ms: int = 120_000
    rebalance_steps: Decimal = ONE
    shift_min_move_bps: Decimal | None = None
    spacing_change_min: Decimal = Decimal("0.2")
    level_distance_bps_max: Decimal | None = None
    cooldown_ms: int = 100
    price_eps_bps: Decimal = _HALF
    qty_eps: Decimal = Decimal("0.01")

    def __post_init__(self) -> None:
        """Refuse a grid without levels, size or spacing."""
        if not 1 <= self.levels <= LEVELS_MAX:
            raise ValueError(f"levels is {self.levels}, expected 1 to {LEVELS_MAX}")
        for name, value in (("spacing_bps", self.spacing_bps), ("step_min_bps", self.step_min_bps)):
            if not value.is_finite() or not ZERO < value < BPS / self.levels:
                raise ValueError(f"{name} is {value}, expected above 0 and below 10000 / levels")
        for symbol, size in self.size_per_level.items():
            if not size.is_finite() or size <= ZERO:
                raise ValueError(f"size per level of {symbol} is {size}, expected a finite number above 0")


class Top(msgspec.Struct, frozen=True, gc=False):
    """Best prices of one symbol, quote currency; bid below ask."""

    bid_price: Decimal
    ask_price: Decimal

    @property
    def mid_price(self) -> Decimal:
        """Half of bid plus ask."""
        return (self.bid_price + self.ask_price) * _HALF


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """One order that should rest. ``qty``: what should still be open of it, base units. ``level``: its slot."""

    level: str
    side: Side
    price: Decimal
    qty: Decimal
    tif: TimeInForce
    reduce_only: bool
    kind: OrderKind
    reason: PlanReason


def spacing_now_bps(config: PlannerConfig, natr_bps: float | None) -> Decimal:
    """Return the distance of two levels, basis points.

    Args:
        config: the grid.
        natr_bps: fresh NATR in basis points, None while unknown or stale (then the base spacing holds).

    Source: reference sheet 13.8, max(5, 30 * NATR / 100). Rounded to a hundredth of a basis point, half even.
    """
    if not config.adaptive or natr_bps is None or not natr_bps > 0.0:
        return config.spacing_bps
    adaptive = config.step_alpha * Decimal(round(natr_bps * 100)) / _PERCENT / _PERCENT
    widest = BPS / (config.levels + 1)
    return min(max(config.step_min_bps, adaptive), widest)


def anchor_holds(
    config: PlannerConfig, anchor: Decimal, spacing_bps: Decimal, mid: Decimal, wanted_spacing_bps: Decimal
) -> bool:
    """Tell whether the grid stays where it is.

    Args:
        config: thresholds.
        anchor: centre of the grid now, quote currency.
        spacing_bps: spacing of the grid now.
        mid: mid price now.
        wanted_spacing_bps: what the spacing would be now.
    """
    if abs(wanted_spacing_bps - spacing_bps) >= config.spacing_change_min * spacing_bps:
        return False
    return abs(mid - anchor) * BPS < move_threshold_bps(config, spacing_bps) * anchor


def move_threshold_bps(config: PlannerConfig, spacing_bps: Decimal) -> Decimal:
    """Return how far the mid must leave the anchor before the grid moves, basis points of the anchor."""
    return max(config.rebalance_steps * spacing_bps, config.shift_min_move_bps or ZERO)


def plan_grid(
    config: PlannerConfig,
    instrument: Instrument,
    anchor: Decimal,
    spacing_bps: Decimal,
    top: Top,
    held_qty: Mapping[str, Decimal],
) -> tuple[Wanted, ...]:
    """Return the entries that should rest now, nearest first, buys before sells.

    Args:
        config: levels, size, distance cap.
        instrument: tick, step and smallest quantity.
        anchor: centre of the grid, quote currency.
        spacing_bps: distance of two levels, basis points of the anchor; level i is i spacings away (linear).
        top: best prices now; no entry reaches the opposite side.
        held_qty: per level (``b1`` ...), the quantity that its slot already holds in a lot or in trades under way.

    Returns:
        At most ``levels`` entries per side, prices on the tick and strictly going outwards, quantities on the step.
        Empty if the symbol has no size. A buy is rounded down, a sell up.
    """
    size = config.size_per_level.get(instrument.symbol)
    if size is None:
        return ()
    step = anchor * spacing_bps / BPS
    buys = _side(config, instrument, BUY, anchor, step, top, held_qty, size)
    return buys + _side(config, instrument, SELL, anchor, step, top, held_qty, size)


def _side(
    config: PlannerConfig,
    instrument: Instrument,
    side: Side,
    anchor: Decimal,
    step: Decimal,
    top: Top,
    held_qty: Mapping[str, Decimal],
    size: Decimal,
) -> tuple[Wanted, ...]:
    tick = instrument.tick_size
    buy = side is BUY
    # The nearest price that is still free: outside the book's other side, then beyond the level before.
    nearest = ceil_to(top.ask_price, tick) - tick if buy else floor_to(top.bid_price, tick) + tick
    whole_qty = floor_to(size, instrument.step_size)
    wanted: list[Wanted] = []
    for number in range(1, config.levels + 1):
        if buy:
            price = min(floor_to(anchor - number * step, tick), nearest)
            nearest = price - tick
        else:
            price = max(ceil_to(anchor + number * step, tick), nearest)
            nearest = price + tick
        if price <= ZERO or _too_far(config, price, top):
            continue
        level = level_name(side, number)
        held = held_qty.get(level, ZERO)
        qty = floor_to(size - held, instrument.step_size) if held else whole_qty
        # A size that is too small for the venue is the router's to refuse, with a reason; a remainder is no order.
        remainder = held > ZERO and qty * price < instrument.min_notional
        if qty > ZERO and qty >= instrument.min_qty and not remainder:
            wanted.append(Wanted(level, side, price, qty, _POST_ONLY, False, GRID, _FILL))
    return tuple(wanted)


def level_name(side: Side, number: int) -> str:
    """Return the name of an entry slot: ``b1`` is the first buy, ``s3`` the third sell."""
    return f"{'b' if side is BUY else 's'}{number}"


def _too_far(config: PlannerConfig, price: Decimal, top: Top) -> bool:
    cap = config.level_distance_bps_max
    if cap is None:
        return False
    mid = top.mid_price
    return abs(price - mid) * BPS > cap * mid

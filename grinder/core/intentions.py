"""What one symbol wants to rest now: entries around the anchor, take-profits for the lots, as its state permits.

Entries rest in ACTIVE only, on a fresh symbol that the venue trades; take-profits stay in every state but an EMERGENCY
in which the executor closes the positions itself. In INIT and READY resting entries are left alone for a short while,
so that a restart does not tear down a grid that is about to be wanted again. Must never want more than the planner
allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from grinder.core.cycle import take_profits
from grinder.core.features import natr_if_fresh
from grinder.core.planner import Top, Wanted, anchor_holds, move_threshold_bps, plan_grid, spacing_now_bps
from grinder.core.round import Round
from grinder.core.view import LiveOrder
from grinder.model.control import FsmState
from grinder.model.instrument import TRADING
from grinder.model.orders import BUY, EXIT, GRID, SELL, TAKE_PROFIT, Side
from grinder.model.units import BPS, NS_PER_MS, ZERO

START_GRACE_MS: Final = 5_000
"""How long entries that rest already are left alone in INIT and READY, milliseconds."""

_NEAREST: Final = frozenset({"b1", "s1"})
_ACTIVE: Final = FsmState.ACTIVE
_EMERGENCY: Final = FsmState.EMERGENCY
_STARTING: Final = frozenset({FsmState.INIT, FsmState.READY})


def intentions(turn: Round) -> tuple[list[LiveOrder], list[Wanted]]:
    """Return the orders that the router shall look at, and those that should rest."""
    state, symbol = turn.state, turn.symbol
    live = [
        order
        for order in state.view.of(symbol.symbol)
        # An order that has traded away rests no more, though nobody has said so yet.
        if order.kind is not EXIT and (order.in_flight or order.remaining_qty > ZERO)
    ]
    wanted: list[Wanted] = []
    fsm = state.fsm
    if fsm.state is not _EMERGENCY or not state.config.exit_enabled:
        wanted.extend(_profits(turn, live))
    else:
        live = [order for order in live if order.kind is not TAKE_PROFIT]
    if fsm.state is _ACTIVE and _entries_allowed(turn):
        trading = [order for order in live if _trades_away(order, turn)]
        if not trading:
            wanted += entries(turn, live)
            return live, wanted
        planned = entries(turn, live)
        slots = {(order.level, order.side) for order in trading}
        wanted.extend(order for order in planned if (order.level, order.side) not in slots)
        prices = {(order.level, order.side): order.price for order in planned}
        ids = {order.client_order_id for order in trading if not _left_behind(order, prices, turn)}
        return [order for order in live if order.client_order_id not in ids], wanted
    if fsm.state in _STARTING and state.now_mono_ns - fsm.since_mono_ns < START_GRACE_MS * NS_PER_MS:
        live = [order for order in live if order.kind is not GRID]
        symbol.plan_mono_ns = fsm.since_mono_ns + START_GRACE_MS * NS_PER_MS
    elif fsm.state is FsmState.INIT:
        live = [order for order in live if order.kind is not GRID]
    return live, wanted


def _entries_allowed(turn: Round) -> bool:
    """Tell whether this symbol may have entries at rest: no alarm, fresh, within its budget, traded by the venue."""
    state, symbol = turn.state, turn.symbol
    return (
        not state.kill_switch_active
        and symbol.symbol not in state.feed.stale_symbols
        and symbol.symbol not in state.loss_breached
        and turn.instrument.status == TRADING
        and state.account is not None
        and not state.account.hedge_mode
    )


def follow_mid(turn: Round) -> None:
    """Move the grid's anchor to the mid if that has gone far enough, and set the band in which it stays."""
    state, symbol, config = turn.state, turn.symbol, turn.state.config.planner
    mid = turn.top.mid_price
    wanted_bps = spacing_now_bps(config, natr_if_fresh(symbol.features, state.now_mono_ns, config.natr_stale_ms))
    anchor = symbol.anchor
    if anchor is None or not anchor_holds(config, anchor, symbol.spacing_bps, mid, wanted_bps):
        anchor = mid
        symbol.anchor = mid
        symbol.spacing_bps = wanted_bps
        # A hair wider than the exact threshold, so that leaving the band always moves the anchor.
        move = float(move_threshold_bps(config, wanted_bps) / BPS) * (1.0 + 1e-9)
        symbol.low_mid, symbol.high_mid = float(mid) * (1.0 - move), float(mid) * (1.0 + move)


def entries(turn: Round, live: Iterable[LiveOrder]) -> list[Wanted]:
    """Return the entries that the grid has now, in an order in which they can be moved."""
    state, symbol = turn.state, turn.symbol
    assert symbol.anchor is not None
    held = {lot.level: lot.qty for lot in symbol.cycle.lots}
    for order in state.view.of(symbol.symbol):
        if order.kind is GRID and order.unsettled_qty:
            held[order.level] = held.get(order.level, ZERO) + order.unsettled_qty
    for ended in state.view.unsettled_of(symbol.symbol):
        if ended.kind is GRID:
            held[ended.level] = held.get(ended.level, ZERO) + ended.unsettled_qty
    resting = {(order.level, order.side): order for order in live if order.kind is GRID}
    grid = [_spare(order, resting.get((order.level, order.side))) for order in _grid(turn, held)]
    return _outward(grid, resting)


def _grid(turn: Round, held: dict[str, Decimal]) -> tuple[Wanted, ...]:
    """Return the planned entries; the last ones, where nothing that they depend on has changed."""
    symbol, config, top = turn.symbol, turn.state.config.planner, turn.top
    assert symbol.anchor is not None
    key = (symbol.anchor, symbol.spacing_bps, held, turn.instrument)
    if key != symbol.grid_key or config.level_distance_bps_max is not None or not _clear(symbol.grid, top):
        symbol.grid = plan_grid(config, turn.instrument, symbol.anchor, symbol.spacing_bps, top, held)
        symbol.grid_key = key
    return symbol.grid


def _clear(grid: Iterable[Wanted], top: Top) -> bool:
    """Tell whether the nearest entries still rest outside the book's other side."""
    for order in grid:
        if order.level in _NEAREST:
            crosses = order.price >= top.ask_price if order.side is BUY else order.price <= top.bid_price
            if crosses:
                return False
    return True


def _outward(grid: list[Wanted], resting: Mapping[tuple[str, Side], LiveOrder]) -> list[Wanted]:
    """Put the entries in an order in which none moves onto the place of another, or through the other side.

    Where the grid moves up, sells go first and the farthest before the others, then buys and the nearest before the
    others; where it moves down, the other way round.
    """
    up = True
    for order in grid:
        existing = resting.get((order.level, order.side))
        if existing is not None and not existing.in_flight and existing.price != order.price:
            up = order.price > existing.price
            break
    first = SELL if up else BUY
    ahead = [order for order in reversed(grid) if order.side is first]
    return ahead + [order for order in grid if order.side is not first]


def _left_behind(order: LiveOrder, prices: Mapping[tuple[str, Side], Decimal], turn: Round) -> bool:
    """Tell whether the grid wants the slot of a rest that is too small to be moved elsewhere: it has to go first."""
    return not _reached(order, turn.top) and prices.get((order.level, order.side), order.price) != order.price


def _reached(order: LiveOrder, top: Top) -> bool:
    return order.price >= top.ask_price if order.side is BUY else order.price <= top.bid_price


def _trades_away(order: LiveOrder, turn: Round) -> bool:
    """Tell whether an entry is best left alone until it is gone.

    The book has reached it, so that a command would come too late; or it has traded but for a rest that the venue
    would not take as an order.
    """
    if order.kind is not GRID or order.in_flight:
        return False
    if order.executed_qty and order.remaining_qty * order.price < turn.instrument.min_notional:
        return True
    return _reached(order, turn.top)


def _spare(wanted: Wanted, existing: LiveOrder | None) -> Wanted:
    """Leave the size of an entry that trades away alone: topping it up would cost its place in the queue."""
    if existing is None or existing.in_flight or not existing.executed_qty or existing.remaining_qty >= wanted.qty:
        return wanted
    return replace(wanted, qty=existing.remaining_qty)


def _profits(turn: Round, live: Iterable[LiveOrder]) -> list[Wanted]:
    cycle = turn.symbol.cycle
    if not cycle.lots:
        return []
    spacing_bps = turn.symbol.spacing_bps
    lots = [replace(lot, qty=_share(turn, lot.qty)) for lot in cycle.lots]
    planned = take_profits(lots, turn.instrument, spacing_bps, turn.top, abs(cycle.position_qty))
    resting = {(order.level, order.side): order for order in live if order.kind is TAKE_PROFIT}
    return [_spare_better(order, resting.get((order.level, order.side)), spacing_bps) for order in planned]


def _share(turn: Round, lot_qty: Decimal) -> Decimal:
    """Return how much of a lot its take-profit closes."""
    config = turn.state.config
    if config.tp_one_level:
        return min(lot_qty, config.planner.size_per_level[turn.symbol.symbol])
    return lot_qty * config.tp_share


def _spare_better(wanted: Wanted, existing: LiveOrder | None, spacing_bps: Decimal) -> Wanted:
    """Keep a take-profit that rests at a slightly better price than its target: it followed the touch once."""
    if existing is None:
        return wanted
    gain = existing.price - wanted.price if wanted.side is SELL else wanted.price - existing.price
    if ZERO < gain * BPS < spacing_bps * wanted.price:
        return replace(wanted, price=existing.price)
    return wanted

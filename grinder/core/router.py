"""The difference between what should rest and what rests: keep, amend, cancel-replace, place, cancel or block.

Pure and without memory. An order in flight is left alone and occupies its slot. A replacement is a cancel now and a
placement once the order is known to be gone, so that there are never more orders than the plan has. Must never act on
an order that the venue still owes an answer about, and never let a budget stop a reduce-only order or a cancel.

Source: reference sheet 7.1 (order of the tests and reasons), with the drawdown test for orders that add risk only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.core.planner import Top, Wanted
from grinder.core.view import LiveOrder
from grinder.model.instrument import Instrument
from grinder.model.orders import BUY, TAKE_PROFIT, Side
from grinder.model.reasons import PlanReason, RouterReason
from grinder.model.units import BPS, is_multiple


class Route(StrEnum):
    """What the router decided about one slot; the labels of ``grinder_router_decision_total``."""

    NOOP = "NOOP"
    AMEND = "AMEND"
    CANCEL_REPLACE = "CANCEL_REPLACE"
    CANCEL = "CANCEL"
    BLOCK = "BLOCK"


class RouterConfig(msgspec.Struct, frozen=True):
    """Smallest differences that count, and what the venue can do.

    ``price_eps_ticks``, ``qty_eps_steps`` and ``price_eps_bps``, ``qty_eps`` (a fraction): a difference below the
    larger of both is none. ``amend_supported``: the venue can move a resting order.
    """

    price_eps_ticks: int = 1
    qty_eps_steps: int = 1
    price_eps_bps: Decimal = Decimal("0.5")
    qty_eps: Decimal = Decimal("0.01")
    amend_supported: bool = True


class RouteLimits(msgspec.Struct, frozen=True, gc=False):
    """What binds now. ``updates_left``: order requests that may still be used for risk.

    ``protective_left``: those that reduce-only orders may use, the reserve included. ``drawdown_breached``: the
    drawdown gate is active.
    """

    updates_left: int
    protective_left: int
    drawdown_breached: bool


class Routed(msgspec.Struct, frozen=True, gc=False):
    """One decision. ``wanted`` is None for an order that is not in the plan, ``existing`` for an empty slot."""

    route: Route
    reason: RouterReason
    plan_reason: PlanReason
    wanted: Wanted | None
    existing: LiveOrder | None


_SLOT = tuple[str, Side]

# Made once: looking members up in their enums costs more than the tests that choose among them.
_IN_FLIGHT: Final = (Route.NOOP, RouterReason.ORDER_IN_FLIGHT)
_THROTTLED: Final = (Route.NOOP, RouterReason.RATE_LIMIT_THROTTLE)
_MISSING: Final = (Route.CANCEL_REPLACE, RouterReason.NO_EXISTING_ORDER)
_UNCHANGED: Final = (Route.NOOP, RouterReason.NO_CHANGE_BELOW_EPS)
_MOVED: Final = (Route.AMEND, RouterReason.AMEND_SUPPORTED_AND_SAFE)
_SPENDS: Final = (Route.AMEND, Route.CANCEL_REPLACE)
_SHIFT: Final = PlanReason.GRID_SHIFT
_RESIZE: Final = PlanReason.GRID_RESIZE


def decide(
    wanted: Wanted,
    existing: LiveOrder | None,
    top: Top,
    instrument: Instrument,
    limits: RouteLimits,
    config: RouterConfig,
) -> tuple[Route, RouterReason]:
    """Return what to do about one slot, the first test that applies winning.

    Args:
        wanted: the order that should rest; price and quantity above zero.
        existing: the order that occupies the slot, or None.
        top: best prices now.
        instrument: the venue's filters.
        limits: budgets now.
        config: epsilons and capabilities.
    """
    if existing is not None and existing.in_flight:
        return _IN_FLIGHT
    violation = _violation(wanted, top, instrument)
    if violation is not None:
        return Route.BLOCK, violation
    if limits.drawdown_breached and not wanted.reduce_only:
        return Route.BLOCK, RouterReason.DRAWDOWN_GATE_ACTIVE
    if (limits.protective_left if wanted.reduce_only else limits.updates_left) <= 0:
        return _THROTTLED
    if existing is None:
        return _MISSING
    if existing.reduce_only != wanted.reduce_only or existing.kind is not wanted.kind:
        return Route.CANCEL_REPLACE, RouterReason.CANCEL_REPLACE_REQUIRED_IMMUTABLE_FIELD
    if not differs(wanted, existing, instrument, config):
        return _UNCHANGED
    if config.amend_supported:
        return _MOVED
    return Route.CANCEL_REPLACE, RouterReason.AMEND_UNSUPPORTED


def route(
    wanted: Iterable[Wanted],
    live: Iterable[LiveOrder],
    top: Top,
    instrument: Instrument,
    limits: RouteLimits,
    config: RouterConfig,
) -> Iterator[Routed]:
    """Yield one decision per wanted order and per live order outside the plan: cancels first, then wanted ones.

    Each is decided when it is asked for, so that the first can be acted on before the others are looked at.

    Args:
        wanted: the plan, one order per slot.
        live: every live order of the symbol; of several in one slot the oldest in flight, else the oldest, counts.
        top: best prices now.
        instrument: the venue's filters.
        limits: budgets now; each placement and amendment decided here uses one.
        config: epsilons and capabilities.
    """
    slots, surplus = _by_slot(live)
    plan = [(order, slots.pop((order.level, order.side), None)) for order in wanted]
    for unplanned in (*surplus, *slots.values()):
        yield _surplus(unplanned)
    for order, existing in plan:
        choice, reason = decide(order, existing, top, instrument, limits, config)
        if choice in _SPENDS:
            limits = _spend(limits, order.reduce_only)
        yield Routed(choice, reason, _plan_reason(order, existing, instrument, config), order, existing)


def differs(wanted: Wanted, existing: LiveOrder, instrument: Instrument, config: RouterConfig) -> bool:
    """Tell whether price or open quantity of an order are off by an epsilon or more."""
    return _price_differs(wanted, existing, instrument, config) or _qty_differs(wanted, existing, instrument, config)


def _price_differs(wanted: Wanted, existing: LiveOrder, instrument: Instrument, config: RouterConfig) -> bool:
    if wanted.price == existing.price:
        return False
    price_eps = max(config.price_eps_ticks * instrument.tick_size, config.price_eps_bps * wanted.price / BPS)
    return abs(wanted.price - existing.price) >= price_eps


def _qty_differs(wanted: Wanted, existing: LiveOrder, instrument: Instrument, config: RouterConfig) -> bool:
    remaining = existing.remaining_qty
    if wanted.qty == remaining:
        return False
    qty_eps = max(config.qty_eps_steps * instrument.step_size, config.qty_eps * wanted.qty)
    return abs(wanted.qty - remaining) >= qty_eps


def _violation(wanted: Wanted, top: Top, instrument: Instrument) -> RouterReason | None:
    crosses = wanted.price >= top.ask_price if wanted.side is BUY else wanted.price <= top.bid_price
    if crosses:
        return RouterReason.WOULD_CROSS_SPREAD
    if not is_multiple(wanted.price, instrument.tick_size):
        return RouterReason.FILTER_VIOLATION_TICK_SIZE
    if not is_multiple(wanted.qty, instrument.step_size):
        return RouterReason.FILTER_VIOLATION_STEP_SIZE
    if wanted.qty < instrument.min_qty:
        return RouterReason.FILTER_VIOLATION_MIN_QTY
    # The venue exempts reduce-only orders from its smallest notional (error -4164; docs, 2026-05-28).
    if not wanted.reduce_only and wanted.qty * wanted.price < instrument.min_notional:
        return RouterReason.FILTER_VIOLATION_MIN_NOTIONAL
    return None


def _by_slot(live: Iterable[LiveOrder]) -> tuple[dict[_SLOT, LiveOrder], list[LiveOrder]]:
    slots: dict[_SLOT, LiveOrder] = {}
    surplus: list[LiveOrder] = []
    for order in live:
        slot = (order.level, order.side)
        holder = slots.get(slot)
        if holder is None:
            slots[slot] = order
        elif order.in_flight and not holder.in_flight:
            surplus.append(holder)
            slots[slot] = order
        else:
            surplus.append(order)
    return slots, surplus


def _surplus(order: LiveOrder) -> Routed:
    reason = PlanReason.TP_RESIZE if order.kind is TAKE_PROFIT else PlanReason.GRID_TRIM
    plan_reason = reason if order.level else PlanReason.UNKNOWN_ORDER
    if order.in_flight:
        return Routed(Route.NOOP, RouterReason.ORDER_IN_FLIGHT, plan_reason, None, order)
    return Routed(Route.CANCEL, RouterReason.NOT_IN_PLAN, plan_reason, None, order)


def _plan_reason(
    wanted: Wanted, existing: LiveOrder | None, instrument: Instrument, config: RouterConfig
) -> PlanReason:
    if existing is None:
        return wanted.reason
    if wanted.kind is TAKE_PROFIT:
        return PlanReason.TP_RESIZE
    moved = _price_differs(wanted, existing, instrument, config)
    return _SHIFT if moved else _RESIZE


def _spend(limits: RouteLimits, reduce_only: bool) -> RouteLimits:
    spent = 0 if reduce_only else 1
    return RouteLimits(limits.updates_left - spent, limits.protective_left - 1, limits.drawdown_breached)

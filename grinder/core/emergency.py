"""The emergency exit as a pure machine: cancel everything, prove it, close everything, prove it, look again.

Each attempt ends in success, partial or error; anything but success is tried again for ever with a bounded backoff.
Must never take a query that failed for *flat* or *no orders*, and never call it done while something is left.

Invariant: ``success`` is returned only after a confirmed empty position list and, later, a confirmed empty order list.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.account import OpenOrder, Position, PositionSide
from grinder.model.instrument import Instrument
from grinder.model.orders import OrderId, Side, TimeInForce, format_order_id
from grinder.model.units import NS_PER_MS, ZERO, floor_to
from grinder.model.venue import (
    Advice,
    CancelAllOrders,
    Confirmed,
    OrderType,
    PlaceOrder,
    QueryOpenOrders,
    QueryPositions,
    Rejected,
    VenueReply,
)

CONFIRM_TRIES_MAX: Final = 8
FLAT_TRIES_MAX: Final = 10
CHUNKS_MAX: Final = 20
QUIET_LOOKS_MAX: Final = 5
"""Unanswered looks in a row after success before a whole attempt begins."""

STEP_MS: Final = 200
BACKOFF_MS_MIN: Final = 1_000
BACKOFF_MS_MAX: Final = 30_000
RECHECK_MS: Final = 10_000
LEVEL: Final = "x1"

assert STEP_MS < BACKOFF_MS_MIN < BACKOFF_MS_MAX


class Phase(StrEnum):
    """Where an exit is."""

    IDLE = "IDLE"
    SURVEY = "SURVEY"
    CANCEL = "CANCEL"
    CONFIRM = "CONFIRM"
    READ = "READ"
    CLOSE = "CLOSE"
    FLAT = "FLAT"
    RECHECK = "RECHECK"
    WAIT = "WAIT"
    DONE = "DONE"


class Result(StrEnum):
    """How an attempt ended."""

    SUCCESS = "success"
    PARTIAL = "partial"
    ERROR = "error"


class ExitPlan(msgspec.Struct, frozen=True):
    """What an exit is about. ``sequence_base``: first sequence for the ids of its orders; never used by another."""

    symbols: tuple[str, ...]
    instruments: dict[str, Instrument]
    prefix: str
    term: int
    sequence_base: int


class Exit(msgspec.Struct, frozen=True):
    """State of the exit.

    ``awaiting``: replies outstanding in this phase; ``tries``: of this phase; ``failed``: a request of this attempt
    failed or was not answered; ``quiet``: a look after success, not an attempt; ``orders_sent``: closing orders so far,
    over all attempts.
    """

    phase: Phase = Phase.IDLE
    attempt: int = 0
    awaiting: int = 0
    tries: int = 0
    wake_mono_ns: int = 0
    failed: bool = False
    quiet: bool = False
    orders: tuple[OpenOrder, ...] | None = None
    positions: tuple[Position, ...] | None = None
    found_orders: int = 0
    found_positions: int = 0
    orders_sent: int = 0


Request = QueryOpenOrders | QueryPositions | CancelAllOrders | PlaceOrder


class Step(msgspec.Struct, frozen=True):
    """The exit after an input, what to send, and how the attempt ended if it did.

    ``cancelled`` and ``closed``: orders and positions that the attempt found and proved gone.
    """

    exit: Exit
    requests: tuple[Request, ...] = ()
    result: Result | None = None
    cancelled: int = 0
    closed: int = 0


def start(exit: Exit, plan: ExitPlan) -> Step:
    """Begin an attempt: look at everything, and cancel at once on the symbols that are known."""
    requests: tuple[Request, ...] = (QueryOpenOrders(), QueryPositions())
    if not exit.quiet:
        requests += tuple(CancelAllOrders(symbol) for symbol in sorted(set(plan.symbols)))
    return Step(
        msgspec.structs.replace(
            exit,
            phase=Phase.SURVEY,
            attempt=exit.attempt + 1,
            awaiting=len(requests),
            tries=0,
            failed=False,
            orders=None,
            positions=None,
            found_orders=0,
            found_positions=0,
        ),
        requests,
    )


def wake(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    """Go on where a pause is over; otherwise nothing."""
    if exit.awaiting or now_mono_ns < exit.wake_mono_ns:
        return Step(exit)
    if exit.phase is Phase.WAIT:
        return start(exit, plan)
    if exit.phase is Phase.DONE:
        return start(msgspec.structs.replace(exit, quiet=True), plan)
    if exit.phase is Phase.CONFIRM:
        return _ask(exit, QueryOpenOrders())
    return _ask(exit, QueryPositions()) if exit.phase is Phase.FLAT else Step(exit)


def answered(exit: Exit, request: Request, reply: VenueReply, plan: ExitPlan, now_mono_ns: int) -> Step:
    """Take one reply; when the last of a phase is in, go on to the next."""
    if exit.awaiting == 0:
        return Step(exit)
    exit = msgspec.structs.replace(_take(exit, request, reply), awaiting=exit.awaiting - 1)
    if exit.awaiting:
        return Step(exit)
    return _AFTER[exit.phase](exit, plan, now_mono_ns)


def abandon(exit: Exit, now_mono_ns: int) -> Step:
    """End an attempt whose replies do not come; the caller must not pass on replies of it that come late."""
    return _end(msgspec.structs.replace(exit, awaiting=0, failed=True, quiet=False), now_mono_ns)


def _take(exit: Exit, request: Request, reply: VenueReply) -> Exit:
    value = reply.value if isinstance(reply, Confirmed) else None
    if isinstance(request, QueryOpenOrders):
        orders = tuple(item for item in value if isinstance(item, OpenOrder)) if isinstance(value, tuple) else None
        return msgspec.structs.replace(exit, orders=orders)
    if isinstance(request, QueryPositions):
        positions = None
        if isinstance(value, tuple):
            positions = tuple(item for item in value if isinstance(item, Position) and item.qty != ZERO)
        return msgspec.structs.replace(exit, positions=positions)
    already_flat = isinstance(reply, Rejected) and reply.advice is Advice.REDUCE_ONLY
    if isinstance(reply, Confirmed) or already_flat:
        return exit
    return msgspec.structs.replace(exit, failed=True)


def _enter(exit: Exit, phase: Phase) -> Exit:
    return msgspec.structs.replace(exit, phase=phase, tries=0, wake_mono_ns=0)


def _pause(exit: Exit, wait_ms: int, now_mono_ns: int) -> Exit:
    return msgspec.structs.replace(exit, wake_mono_ns=now_mono_ns + wait_ms * NS_PER_MS)


def _ask(exit: Exit, *requests: Request) -> Step:
    return Step(msgspec.structs.replace(exit, awaiting=len(requests), tries=exit.tries + 1), requests)


def _after_survey(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    if exit.quiet:
        if exit.orders == () and exit.positions == ():
            looked = msgspec.structs.replace(_enter(exit, Phase.DONE), attempt=0)
            return Step(_pause(looked, RECHECK_MS, now_mono_ns))
        # No answer is no finding: look again soon, so that one lost reply is not counted as a failed exit.
        if not exit.orders and not exit.positions and exit.attempt < QUIET_LOOKS_MAX:
            return Step(_pause(_enter(exit, Phase.DONE), STEP_MS, now_mono_ns))
        return start(msgspec.structs.replace(exit, quiet=False), plan)
    orders, positions = exit.orders or (), exit.positions or ()
    exit = msgspec.structs.replace(exit, found_orders=len(orders))
    found = {order.symbol for order in orders} | {position.symbol for position in positions}
    others = found - set(plan.symbols)
    if not others:
        return _ask(_enter(exit, Phase.CONFIRM), QueryOpenOrders())
    return _ask(_enter(exit, Phase.CANCEL), *(CancelAllOrders(symbol) for symbol in sorted(others)))


def _after_cancel(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    return _ask(msgspec.structs.replace(exit, phase=Phase.CONFIRM), QueryOpenOrders())


def _after_close(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    return Step(_pause(_enter(exit, Phase.FLAT), STEP_MS, now_mono_ns))


def _after_confirm(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    """No orders left: close. Some left or unknown: cancel again; after a few tries close all the same."""
    if exit.orders == ():
        return _ask(_enter(exit, Phase.READ), QueryPositions())
    if exit.tries >= CONFIRM_TRIES_MAX:
        return _ask(_enter(msgspec.structs.replace(exit, failed=True), Phase.READ), QueryPositions())
    if exit.orders is None:
        return Step(_pause(exit, STEP_MS, now_mono_ns))
    symbols = sorted({order.symbol for order in exit.orders})
    again = msgspec.structs.replace(exit, phase=Phase.CANCEL)
    return _ask(again, *(CancelAllOrders(symbol) for symbol in symbols))


def _after_read(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    if exit.positions is None:
        return _end(exit, now_mono_ns)
    if not exit.positions:
        return _ask(_enter(exit, Phase.RECHECK), QueryOpenOrders())
    closing = closing_orders(exit.positions, plan, exit.orders_sent)
    exit = msgspec.structs.replace(
        exit, found_positions=len(exit.positions), orders_sent=exit.orders_sent + len(closing)
    )
    return _ask(_enter(exit, Phase.CLOSE), *closing)


def _after_flat(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    if exit.positions == ():
        return _ask(_enter(exit, Phase.RECHECK), QueryOpenOrders())
    if exit.tries < FLAT_TRIES_MAX:
        return Step(_pause(exit, STEP_MS, now_mono_ns))
    return _end(exit, now_mono_ns)


def _after_recheck(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    return _end(exit, now_mono_ns)


_AFTER: Final[dict[Phase, Callable[[Exit, ExitPlan, int], Step]]] = {
    Phase.SURVEY: _after_survey,
    Phase.CANCEL: _after_cancel,
    Phase.CONFIRM: _after_confirm,
    Phase.READ: _after_read,
    Phase.CLOSE: _after_close,
    Phase.FLAT: _after_flat,
    Phase.RECHECK: _after_recheck,
}
"""What follows when the last reply of a phase is in; the other phases ask for nothing."""


def _result(exit: Exit) -> Result:
    """Success is proved flat and proved without orders; partial: all was accepted, and something is left."""
    if exit.phase is Phase.RECHECK and exit.orders == () and exit.positions == ():
        return Result.SUCCESS
    if exit.failed or exit.orders is None or exit.positions is None:
        return Result.ERROR
    return Result.PARTIAL


def _end(exit: Exit, now_mono_ns: int) -> Step:
    result = _result(exit)
    left = len(exit.positions) if exit.positions is not None else exit.found_positions
    closed = max(0, exit.found_positions - left)
    cancelled = exit.found_orders if exit.orders == () else 0
    if result is Result.SUCCESS:
        after = _pause(msgspec.structs.replace(_enter(exit, Phase.DONE), attempt=0), RECHECK_MS, now_mono_ns)
    else:
        backoff_ms = min(BACKOFF_MS_MAX, BACKOFF_MS_MIN << min(exit.attempt - 1, 10))
        after = _pause(_enter(exit, Phase.WAIT), backoff_ms, now_mono_ns)
    return Step(after, (), result, cancelled, closed)


def closing_orders(positions: tuple[Position, ...], plan: ExitPlan, used: int) -> tuple[PlaceOrder, ...]:
    """Return the MARKET orders that close positions, in chunks of what the venue takes at once.

    One-way mode: reduce-only. Hedge mode: the position side instead, since the venue refuses reduceOnly there.
    What is left after CHUNKS_MAX orders waits for the next attempt.
    """
    orders: list[PlaceOrder] = []
    for position in positions:
        hedged = position.position_side is not PositionSide.BOTH
        for qty in _chunks(abs(position.qty), plan.instruments.get(position.symbol)):
            if len(orders) >= CHUNKS_MAX:
                return tuple(orders)
            sequence = plan.sequence_base + used + len(orders)
            orders.append(
                PlaceOrder(
                    format_order_id(OrderId(plan.prefix, plan.term, sequence, LEVEL)),
                    position.symbol,
                    Side.SELL if position.qty > ZERO else Side.BUY,
                    OrderType.MARKET,
                    ZERO,
                    qty,
                    TimeInForce.IOC,
                    not hedged,
                    position.position_side,
                )
            )
    return tuple(orders)


def _chunks(qty: Decimal, rules: Instrument | None) -> tuple[Decimal, ...]:
    """Split a quantity at the venue's MARKET maximum; without known rules, send it whole and let the venue judge."""
    if rules is None or qty <= rules.market_max_qty:
        return (qty,)
    chunk = max(rules.market_step_size, floor_to(rules.market_max_qty, rules.market_step_size))
    whole = min(int(qty / chunk), CHUNKS_MAX)
    rest = qty - whole * chunk
    return (chunk,) * whole + ((rest,) if ZERO < rest < chunk else ())

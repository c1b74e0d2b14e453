"""The emergency exit as a pure machine: cancel everything, prove it, close everything, prove it, look again.

Everything is regular and conditional orders, and positions. What MARKET orders do not close (refused with -4131, or
expired with a remainder) goes to IOC orders within a slippage cap, a few rungs of them per attempt. Each attempt ends
in success, dust, partial or error; the last two are tried again for ever with a bounded backoff. Must never take a
query that failed for *flat* or *no orders*, and never call it done while something is left that an order closes. Rows
that cannot be read keep it from success and from nothing else: what is known is cancelled and closed.

Invariant: ``success`` is returned only after a confirmed empty position list and, later, confirmed empty lists of
regular and of conditional orders; ``dust`` after the same with positions that are smaller than any order.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from grinder.core.closing import RUNGS_MAX, ClosingPlan, Dust, dust_of, ladder_orders, market_orders
from grinder.model.account import OpenOrder, Position, UnreadableRows
from grinder.model.conditional import CancelAllConditional, ConditionalOrder, QueryOpenConditional
from grinder.model.instrument import Instrument
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import (
    Advice,
    CancelAllOrders,
    Confirmed,
    NotSent,
    PlaceOrder,
    QueryOpenOrders,
    QueryPositions,
    Rejected,
    VenueReply,
)

CONFIRM_TRIES_MAX: Final = 8
FLAT_TRIES_MAX: Final = 10
RUNG_TRIES: Final = 3
"""Looks that still show a position after which the next rung of IOC orders goes out."""

QUIET_LOOKS_MAX: Final = 5
"""Unanswered looks in a row after success before a whole attempt begins."""

STEP_MS: Final = 200
BACKOFF_MS_MIN: Final = 1_000
BACKOFF_MS_MAX: Final = 30_000
RECHECK_MS: Final = 10_000

HELD_MS_MAX: Final = 60_000
"""Longest wait before another attempt where the venue refused everything for its limits, milliseconds: it counts by the
minute. Who goes on asking is banned. Source: venue documentation, general info "IP Limits", 2026-05-28."""

_LIMITS: Final = frozenset({418, 429})
"""HTTP statuses by which the venue refuses for its limits; 403, its firewall, names no time."""

assert STEP_MS < BACKOFF_MS_MIN < BACKOFF_MS_MAX <= HELD_MS_MAX
assert RUNG_TRIES < FLAT_TRIES_MAX


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
    DUST = "dust"
    PARTIAL = "partial"
    ERROR = "error"


ENDED: Final = frozenset({Result.SUCCESS, Result.DUST})
"""Results after which an exit only looks from time to time: nothing is left, or nothing that an order closes."""


class ExitPlan(msgspec.Struct, frozen=True):
    """What an exit is about. ``sequence_base``: first sequence for the ids of its orders; never used by another.

    ``slippage_bps_max``: furthest an IOC order may be from the mark price, basis points.
    """

    symbols: tuple[str, ...]
    instruments: dict[str, Instrument]
    prefix: str
    term: int
    sequence_base: int
    slippage_bps_max: int


class Exit(msgspec.Struct, frozen=True):
    """State of the exit.

    ``awaiting``: replies outstanding in this phase; ``tries``: of this phase; ``failed``: a request of this attempt
    failed or was not answered; ``quiet``: a look after success, not an attempt; ``rung``: how far up the ladder of IOC
    orders this attempt is, 0 for none; ``market_refused``: the venue refused a closing order for its price limits;
    ``held_ms``: longest that the venue asked to wait in this attempt, for its limits; ``heard``: it answered something
    else too; ``orders_sent``: closing orders so far, over all attempts. ``hidden_*``: rows of the last look at
    orders, conditional orders and positions that could not be read.
    """

    phase: Phase = Phase.IDLE
    attempt: int = 0
    awaiting: int = 0
    tries: int = 0
    wake_mono_ns: int = 0
    failed: bool = False
    quiet: bool = False
    rung: int = 0
    market_refused: bool = False
    held_ms: int = 0
    heard: bool = False
    orders: tuple[OpenOrder, ...] | None = None
    conditional: tuple[ConditionalOrder, ...] | None = None
    positions: tuple[Position, ...] | None = None
    hidden_orders: int = 0
    hidden_conditional: int = 0
    hidden_positions: int = 0
    found_orders: int = 0
    found_positions: int = 0
    orders_sent: int = 0

    @property
    def no_orders(self) -> bool:
        """Whether the last look confirmed that no order of either kind is left."""
        hidden = self.hidden_orders + self.hidden_conditional
        return self.orders == () and self.conditional == () and not hidden

    @property
    def flat(self) -> bool:
        """Whether the last look confirmed that no position is left."""
        return self.positions == () and not self.hidden_positions

    @property
    def unreadable(self) -> int:
        """Rows of the last looks that could not be read."""
        return self.hidden_orders + self.hidden_conditional + self.hidden_positions


Request = QueryOpenOrders | QueryOpenConditional | QueryPositions | CancelAllOrders | CancelAllConditional | PlaceOrder

_ORDERS: Final = (QueryOpenOrders(for_exit=True), QueryOpenConditional(for_exit=True))
_POSITIONS: Final = QueryPositions(for_exit=True)


class Step(msgspec.Struct, frozen=True):
    """The exit after an input, what to send, and how the attempt ended if it did.

    ``cancelled`` and ``closed``: orders and positions that the attempt found and proved gone; ``dust``: what is left at
    its end that no order closes.
    """

    exit: Exit
    requests: tuple[Request, ...] = ()
    result: Result | None = None
    cancelled: int = 0
    closed: int = 0
    dust: tuple[Dust, ...] = ()


def start(exit: Exit, plan: ExitPlan) -> Step:
    """Begin an attempt: look at everything, and cancel at once on the symbols that are known."""
    requests: tuple[Request, ...] = (*_ORDERS, _POSITIONS)
    if not exit.quiet:
        requests += _cancel_all(set(plan.symbols))
    begun = Exit(
        phase=Phase.SURVEY,
        attempt=exit.attempt + 1,
        awaiting=len(requests),
        quiet=exit.quiet,
        orders_sent=exit.orders_sent,
    )
    return Step(begun, requests)


def wake(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    """Go on where a pause is over; otherwise nothing."""
    if exit.awaiting or now_mono_ns < exit.wake_mono_ns:
        return Step(exit)
    if exit.phase is Phase.WAIT:
        return start(exit, plan)
    if exit.phase is Phase.DONE:
        return start(msgspec.structs.replace(exit, quiet=True), plan)
    if exit.phase is Phase.CONFIRM:
        return _ask(exit, *_ORDERS)
    return _ask(exit, _POSITIONS) if exit.phase is Phase.FLAT else Step(exit)


def answered(exit: Exit, request: Request, reply: VenueReply, plan: ExitPlan, now_mono_ns: int) -> Step:
    """Take one reply; when the last of a phase is in, go on to the next."""
    if exit.awaiting == 0:
        return Step(exit)
    exit = msgspec.structs.replace(_take(_note(exit, reply), request, reply), awaiting=exit.awaiting - 1)
    if exit.awaiting:
        return Step(exit)
    return _AFTER[exit.phase](exit, plan, now_mono_ns)


def abandon(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    """End an attempt whose replies do not come; the caller must not pass on replies of it that come late."""
    return _end(msgspec.structs.replace(exit, awaiting=0, failed=True, quiet=False), plan, now_mono_ns)


def _note(exit: Exit, reply: VenueReply) -> Exit:
    """Note whether the venue refused for its limits, or still bans this host, and for how long."""
    if isinstance(reply, NotSent) and reply.retry_after_ms:
        return msgspec.structs.replace(exit, held_ms=max(exit.held_ms, reply.retry_after_ms))
    if isinstance(reply, Rejected) and reply.http_status in _LIMITS:
        return msgspec.structs.replace(exit, held_ms=max(exit.held_ms, reply.retry_after_ms, BACKOFF_MS_MIN))
    return msgspec.structs.replace(exit, heard=True)


def _held_ms(exit: Exit) -> int:
    """Return how long to wait where everything was refused for the venue's limits, milliseconds; else 0."""
    return 0 if exit.heard else min(exit.held_ms, HELD_MS_MAX)


def _take(exit: Exit, request: Request, reply: VenueReply) -> Exit:
    value = reply.value if isinstance(reply, Confirmed) else None
    rows = value if isinstance(value, tuple) else None
    hidden = sum(item.count for item in rows or () if isinstance(item, UnreadableRows))
    if isinstance(request, QueryOpenOrders):
        orders = None if rows is None else tuple(item for item in rows if isinstance(item, OpenOrder))
        return msgspec.structs.replace(exit, orders=orders, hidden_orders=hidden)
    if isinstance(request, QueryOpenConditional):
        waiting = None if rows is None else tuple(item for item in rows if isinstance(item, ConditionalOrder))
        return msgspec.structs.replace(exit, conditional=waiting, hidden_conditional=hidden)
    if isinstance(request, QueryPositions):
        held = None if rows is None else tuple(item for item in rows if isinstance(item, Position) and item.qty != ZERO)
        return msgspec.structs.replace(exit, positions=held, hidden_positions=hidden)
    if isinstance(reply, Confirmed):
        return exit
    advice = reply.advice if isinstance(reply, Rejected) else None
    if advice is Advice.REDUCE_ONLY:
        # Nothing is left to close, or a resting order holds it; the next look tells which.
        return exit
    return msgspec.structs.replace(exit, failed=True, market_refused=exit.market_refused or advice is Advice.FILTER)


def _cancel_all(symbols: set[str]) -> tuple[Request, ...]:
    return tuple(kind(symbol) for symbol in sorted(symbols) for kind in (CancelAllOrders, CancelAllConditional))


def _found_on(exit: Exit) -> set[str]:
    """Return the symbols on which the last look found orders."""
    return {order.symbol for order in exit.orders or ()} | {order.symbol for order in exit.conditional or ()}


def _enter(exit: Exit, phase: Phase) -> Exit:
    return msgspec.structs.replace(exit, phase=phase, tries=0, wake_mono_ns=0)


def _pause(exit: Exit, wait_ms: int, now_mono_ns: int) -> Exit:
    return msgspec.structs.replace(exit, wake_mono_ns=now_mono_ns + wait_ms * NS_PER_MS)


def _ask(exit: Exit, *requests: Request) -> Step:
    return Step(msgspec.structs.replace(exit, awaiting=len(requests), tries=exit.tries + 1), requests)


def _after_survey(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    if held_ms := _held_ms(exit):
        later = _pause(_enter(exit, Phase.DONE), held_ms, now_mono_ns)
        return Step(later) if exit.quiet else _end(exit, plan, now_mono_ns)
    if exit.quiet:
        if exit.no_orders and _closed(exit, plan):
            looked = msgspec.structs.replace(_enter(exit, Phase.DONE), attempt=0)
            return Step(_pause(looked, RECHECK_MS, now_mono_ns))
        # No answer is no finding: look again soon, so that one lost reply is not counted as a failed exit.
        if not _found_on(exit) and not _closable(exit, plan) and exit.attempt < QUIET_LOOKS_MAX:
            return Step(_pause(_enter(exit, Phase.DONE), STEP_MS, now_mono_ns))
        return start(msgspec.structs.replace(exit, quiet=False), plan)
    exit = msgspec.structs.replace(exit, found_orders=len(exit.orders or ()) + len(exit.conditional or ()))
    others = _found_on(exit) | {position.symbol for position in exit.positions or ()}
    others -= set(plan.symbols)
    if not others:
        return _ask(_enter(exit, Phase.CONFIRM), *_ORDERS)
    return _ask(_enter(exit, Phase.CANCEL), *_cancel_all(others))


def _after_cancel(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    return _ask(msgspec.structs.replace(exit, phase=Phase.CONFIRM), *_ORDERS)


def _after_close(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    return Step(_pause(_enter(exit, Phase.FLAT), STEP_MS, now_mono_ns))


def _after_confirm(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    """No orders left: close. Some left or unknown: cancel again; after a few tries close all the same."""
    if exit.no_orders:
        return _ask(_enter(exit, Phase.READ), _POSITIONS)
    if exit.tries >= CONFIRM_TRIES_MAX:
        return _ask(_enter(msgspec.structs.replace(exit, failed=True), Phase.READ), _POSITIONS)
    symbols = _found_on(exit)
    if not symbols:
        return Step(_pause(exit, STEP_MS, now_mono_ns))
    return _ask(msgspec.structs.replace(exit, phase=Phase.CANCEL), *_cancel_all(symbols))


def _after_read(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    exit = msgspec.structs.replace(exit, found_positions=len(exit.positions or ()))
    if _closed(exit, plan):
        return _recheck(exit)
    if not exit.positions:
        return _end(exit, plan, now_mono_ns)
    return _send(exit, market_orders(exit.positions, _closing_plan(exit, plan)), now_mono_ns)


def _closable(exit: Exit, plan: ExitPlan) -> bool:
    """Tell whether the last look showed a position that an order closes."""
    held = exit.positions or ()
    return len(dust_of(held, plan.instruments)) < len(held)


def _closed(exit: Exit, plan: ExitPlan) -> bool:
    """Tell whether the last look confirmed that no position is left, or none that an order closes."""
    return exit.positions is not None and not exit.hidden_positions and not _closable(exit, plan)


def _recheck(exit: Exit) -> Step:
    """Look at the orders again, as if they had never been looked at."""
    return _ask(_enter(msgspec.structs.replace(exit, orders=None, conditional=None), Phase.RECHECK), *_ORDERS)


def _closing_plan(exit: Exit, plan: ExitPlan) -> ClosingPlan:
    sequence = plan.sequence_base + exit.orders_sent
    return ClosingPlan(plan.instruments, plan.prefix, plan.term, sequence, plan.slippage_bps_max)


def _send(exit: Exit, orders: tuple[PlaceOrder, ...], now_mono_ns: int) -> Step:
    """Send closing orders; where there are none to be made, the next look goes on with the next rung."""
    sent = msgspec.structs.replace(exit, orders_sent=exit.orders_sent + len(orders), market_refused=not orders)
    if not orders:
        return Step(_pause(_enter(sent, Phase.FLAT), STEP_MS, now_mono_ns))
    return _ask(_enter(sent, Phase.CLOSE), *orders)


def _after_flat(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    """Closed: look at the orders again. Else: give the orders a moment, then go on with IOC orders, then end."""
    if _closed(exit, plan):
        return _recheck(exit)
    if exit.positions and exit.rung < RUNGS_MAX and (exit.market_refused or exit.tries >= RUNG_TRIES):
        rung = exit.rung + 1
        orders = ladder_orders(exit.positions, _closing_plan(exit, plan), rung)
        return _send(msgspec.structs.replace(exit, rung=rung), orders, now_mono_ns)
    if exit.tries < FLAT_TRIES_MAX:
        return Step(_pause(exit, STEP_MS, now_mono_ns))
    return _end(exit, plan, now_mono_ns)


_AFTER: Final[dict[Phase, Callable[[Exit, ExitPlan, int], Step]]] = {
    Phase.SURVEY: _after_survey,
    Phase.CANCEL: _after_cancel,
    Phase.CONFIRM: _after_confirm,
    Phase.READ: _after_read,
    Phase.CLOSE: _after_close,
    Phase.FLAT: _after_flat,
    Phase.RECHECK: lambda exit, plan, now_mono_ns: _end(exit, plan, now_mono_ns),
}
"""What follows when the last reply of a phase is in; the other phases ask for nothing."""


def _result(exit: Exit, plan: ExitPlan) -> Result:
    """Success is proved flat and proved without orders; partial: all was accepted, and something is left."""
    if exit.phase is Phase.RECHECK and exit.no_orders and _closed(exit, plan):
        return Result.SUCCESS if exit.flat else Result.DUST
    if exit.failed or exit.unreadable or exit.orders is None or exit.conditional is None or exit.positions is None:
        return Result.ERROR
    return Result.PARTIAL


def _end(exit: Exit, plan: ExitPlan, now_mono_ns: int) -> Step:
    result = _result(exit, plan)
    left = len(exit.positions) if exit.positions is not None else exit.found_positions
    closed = max(0, exit.found_positions - left)
    cancelled = exit.found_orders if exit.no_orders else 0
    if result in ENDED:
        after = _pause(msgspec.structs.replace(_enter(exit, Phase.DONE), attempt=0), RECHECK_MS, now_mono_ns)
    else:
        backoff_ms = min(BACKOFF_MS_MAX, BACKOFF_MS_MIN << min(exit.attempt - 1, 10))
        after = _pause(_enter(exit, Phase.WAIT), max(backoff_ms, _held_ms(exit)), now_mono_ns)
    return Step(after, (), result, cancelled, closed, dust_of(exit.positions or (), plan.instruments))

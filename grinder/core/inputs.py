"""How each frame and control value changes what the engine knows; it decides nothing.

One function per kind of frame, found in a table. Must never send anything, and never believe a frame of a symbol that
is not traded.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from grinder.core import drawdown, features, toxicity
from grinder.core.cycle import FillEffect, Heal
from grinder.core.drawdown import EquitySample
from grinder.core.engine_state import EXECUTIONS_WINDOW_MS, Budget, Difference, EngineState, SymbolState
from grinder.core.events import Control, Counted, Effect, Lost, Noted, Trip
from grinder.core.exposure import working_of
from grinder.core.losses import STREAK_OFF, acknowledged, after_fill, longest_streak
from grinder.core.planner import Top
from grinder.core.risk_faults import FAULTS, attempt, fail
from grinder.core.staleness import ACCOUNT_SNAPSHOT
from grinder.core.throttle import NO_STREAK, counted, refused
from grinder.model.account import AccountState, Instruments, PositionSide, Source
from grinder.model.channels import ACCOUNT, MARKET, ORDERS
from grinder.model.control import AccountResponse, TripReason
from grinder.model.market import BookTop, MarkPrice, StreamHealth
from grinder.model.orders import (
    INCARNATION_MAX,
    INTENTS_PER_INCARNATION,
    CommandRefused,
    Fill,
    OrderBudget,
    OrderKind,
    OrdersSnapshot,
    OrderState,
    OrderUpdate,
    parse_order_id,
)
from grinder.model.reasons import DenyReason
from grinder.model.risk_input import RiskInput
from grinder.model.units import NS_PER_MS, ZERO

_OPEN: Final = OrderState.OPEN
_REJECTED: Final = OrderState.REJECTED
_REFUSED: Final = frozenset({OrderState.REJECTED, OrderState.DENIED, OrderState.EXPIRED})
BY_CHANCE: Final = ("-5022", "-1021", "-5028")
"""How reasons begin that say nothing against the order itself: it would have taken, or was too old when it arrived.
Source: the venue's error codes."""

LOSS_STREAK_TRIPPED: Final = "CONSECUTIVE_LOSS_GUARD_TRIPPED"
"""Log event of a streak of losing orders that reached its limit."""

REJECT_PAUSE_MS: Final = 1_000
"""Pause of a symbol's entries, or take-profits, after one was refused: no refusal loops at tick speed, milliseconds."""


def apply_book(state: EngineState, symbol: SymbolState, book: BookTop, effects: list[Effect]) -> None:
    """Take a book: features, toxicity, and whether the mid has left the grid's band."""
    config = state.config
    seen_mono_ns = book.recv_mono_ns
    # Spelled out and not by ``attempt``: this is the path of every tick. The next timer sees what works again.
    try:
        bid, ask = float(book.bid_price), float(book.ask_price)
        symbol.features = features.observe(symbol.features, config.features, bid, ask, seen_mono_ns)
    except FAULTS as error:
        symbol.features = replace(symbol.features, mid=None, spread_bps=None)
        fail(state, effects, RiskInput.FEATURES, error)
    mid = symbol.features.mid
    try:
        symbol.toxicity = toxicity.observe(symbol.toxicity, config.toxicity, mid, seen_mono_ns)
    except FAULTS as error:
        symbol.toxicity = replace(symbol.toxicity, score_bps=None)
        fail(state, effects, RiskInput.TOXICITY, error)
    symbol.top = Top(book.bid_price, book.ask_price)
    symbol.book_mono_ns = seen_mono_ns
    if mid is not None and not symbol.low_mid < mid < symbol.high_mid:
        symbol.dirty = True


def _mark(state: EngineState, mark: MarkPrice, effects: list[Effect]) -> None:
    symbol = state.symbols.get(mark.symbol)
    if symbol is not None:
        symbol.mark_price = mark.mark_price


def _health(state: EngineState, health: StreamHealth, effects: list[Effect]) -> None:
    state.reported_stale = health.stale_symbols
    if health.connected:
        state.connected_mono_ns = state.now_mono_ns


def _update(state: EngineState, update: OrderUpdate, effects: list[Effect]) -> None:
    state.view.update(update, state.now_mono_ns)
    symbol = state.symbols.get(update.symbol)
    if symbol is None:
        return
    if update.state in _REFUSED:
        wait_until_mono_ns = state.now_mono_ns + REJECT_PAUSE_MS * NS_PER_MS
        if update.kind is OrderKind.GRID:
            symbol.grid_mono_ns = wait_until_mono_ns
        elif update.state is not OrderState.EXPIRED:
            # A take-profit expires when the position is gone, and its lot with it: the next one must not wait.
            symbol.profit_mono_ns = wait_until_mono_ns
    if update.state is _REJECTED:
        subject = f"{update.side} {update.kind} {update.reason}"
        symbol.rejects = refused(symbol.rejects, subject, state.now_mono_ns)
        looping = symbol.rejects.count >= state.config.guards.reject_trip and not update.reason.startswith(BY_CHANCE)
        if looping and not update.reduce_only and not state.tripped:
            state.tripped = True
            detail = f"{update.symbol}: {subject}, {symbol.rejects.count} times in a row"
            effects.append(Trip(TripReason.REJECT_LOOP, detail))
    elif update.state is _OPEN:
        symbol.rejects = NO_STREAK


def _fill(state: EngineState, fill: Fill, effects: list[Effect]) -> None:
    state.view.fill(fill)
    symbol = state.symbols.get(fill.symbol)
    if symbol is None:
        return
    now = state.now_mono_ns
    _count_loss(state, fill, effects)
    symbol.executions = counted(symbol.executions, now, EXECUTIONS_WINDOW_MS)
    symbol.changed_mono_ns = now
    symbol.dirty = True
    if not symbol.adopted or fill.event_utc_ms <= symbol.adopted_utc_ms:
        # The position that was or will be adopted from the account holds this trade already.
        return
    order_id = parse_order_id(fill.client_order_id)
    outcome = symbol.cycle.fill(fill, "" if order_id is None else order_id.level, now)
    if outcome is not FillEffect.CLOSED:
        effects.append(Counted("grinder_cycle_fill_candidates_total", (fill.symbol, "tp_generated")))


def _count_loss(state: EngineState, fill: Fill, effects: list[Effect]) -> None:
    """Take what a trade realised; a streak that just got too long has the loop wait for an operator."""
    before, streak_max = longest_streak(state.memory), state.config.losses.streak_max
    try:
        state.memory = after_fill(state.memory, fill)
    except FAULTS as error:
        # What this trade made is lost to every limit: an operator must look before there is new risk.
        state.held = True
        fail(state, effects, RiskInput.LOSSES, error)
        return
    streak = longest_streak(state.memory)
    if streak_max != STREAK_OFF and streak > before and streak >= streak_max:
        state.held = True
        fields = (("symbol", fill.symbol), ("count", str(streak)), ("threshold", str(streak_max)))
        effects.append(Noted(LOSS_STREAK_TRIPPED, (*fields, ("client_order_id", fill.client_order_id))))
        effects.append(Counted("grinder_risk_consecutive_loss_trips_total", ()))


def _refusal(state: EngineState, refusal: CommandRefused, effects: list[Effect]) -> None:
    state.view.refuse(refusal)
    symbol = state.symbols.get(refusal.symbol)
    if symbol is not None and refusal.reason != DenyReason.UNKNOWN_ORDER:
        pause_ms = state.config.block_retry_ms
        symbol.grid_mono_ns = max(symbol.grid_mono_ns, state.now_mono_ns + pause_ms * NS_PER_MS)
        symbol.dirty = True


def _snapshot(state: EngineState, snapshot: OrdersSnapshot, effects: list[Effect]) -> None:
    was_synced = state.view.synced
    state.view.snapshot(snapshot, state.now_mono_ns)
    _leave_used_ids(state, snapshot)
    if state.view.synced and not was_synced:
        state.dirty_all()
        _adopt_all(state, effects)


def _leave_used_ids(state: EngineState, snapshot: OrdersSnapshot) -> None:
    """Number the next intents above every one of ours that rests: a lost state folder sets start numbers back.

    An id that is too high to be one of ours, made up by somebody else, moves nothing.
    """
    for order in snapshot.orders:
        parts = parse_order_id(order.client_order_id)
        if parts is None or parts.prefix != state.config.order_prefix or order.kind is OrderKind.EXIT:
            continue
        used = parts.sequence // INTENTS_PER_INCARNATION
        last = state.id_incarnation * INTENTS_PER_INCARNATION + state.ids_made
        if parts.sequence > last and used < INCARNATION_MAX:
            state.id_incarnation, state.ids_made = used + 1, 0


def _budget(state: EngineState, budget: OrderBudget, effects: list[Effect]) -> None:
    """Take what the executor says, less what was sent and it had not read when it said so."""
    told = Budget(budget.orders_left_10s, budget.orders_left_1m, budget.risk_orders_this_run)
    for name in state.symbols:
        for order in state.view.of(name):
            if order.intent_seq and not order.answered:
                told = spend(told, adds_risk=order.state is OrderState.PENDING_NEW and not order.reduce_only)
    state.budget = told


def _instruments(state: EngineState, frame: Instruments, effects: list[Effect]) -> None:
    for instrument in frame.instruments:
        symbol = state.symbols.get(instrument.symbol)
        if symbol is not None and symbol.instrument != instrument:
            symbol.instrument = instrument
            symbol.dirty = True


def _account(state: EngineState, account: AccountState, effects: list[Effect]) -> None:
    before = AccountResponse.NONE if state.account is None else state.account.response
    state.held |= before < AccountResponse.PAUSED <= account.response
    state.account = account
    if account.snapshot_mono_ns <= 0:
        return
    state.seen_mono_ns[ACCOUNT_SNAPSHOT] = account.snapshot_mono_ns
    state.account_notional = float(account.position_notional)
    seen = state.drawdown
    state.drawdown = attempt(
        state,
        effects,
        RiskInput.DRAWDOWN,
        lambda: drawdown.observe(seen, state.config.drawdown, _sample(account), state.now_mono_ns),
        lambda: replace(seen, accepted=()),
    )
    for symbol in state.symbols.values():
        symbol.account_qty = ZERO
    budgets = state.config.drawdown
    if budgets.loss_budgets:
        state.spend_budgets(
            attempt(
                state,
                effects,
                RiskInput.LOSS_BUDGETS,
                lambda: drawdown.breached_symbols(budgets, _losses(state, account)),
                lambda: drawdown.NO_LOSSES,
            )
        )
    for position in account.positions:
        known = state.symbols.get(position.symbol)
        if known is not None and position.position_side is PositionSide.BOTH:
            known.account_qty = position.qty
            known.account_entry_price = position.entry_price
            known.account_update_utc_ms = position.update_utc_ms
    _adopt_all(state, effects)


def _sample(account: AccountState) -> EquitySample:
    return EquitySample(account.accounted_equity, bool(account.positions), account.snapshot_mono_ns)


def _losses(state: EngineState, account: AccountState) -> dict[str, Decimal]:
    """Return the loss of each symbol in this session, realised and shown by its position, quote currency."""
    made = {name: losses.realized for name, losses in state.memory.symbols.items()}
    for position in account.positions:
        made[position.symbol] = made.get(position.symbol, ZERO) + position.unrealized_pnl
    return {symbol: -pnl for symbol, pnl in made.items()}


def _adopt_all(state: EngineState, effects: list[Effect]) -> None:
    account = state.account
    if account is None or account.snapshot_mono_ns <= 0 or account.hedge_mode or not state.view.synced:
        return
    for symbol in state.symbols.values():
        _heal(state, symbol, account, effects)


def _heal(state: EngineState, symbol: SymbolState, account: AccountState, effects: list[Effect]) -> None:
    """Adopt the position at start; later correct the lots where the account goes on saying otherwise."""
    qty = symbol.account_qty
    if qty is None or (symbol.adopted and qty == symbol.cycle.position_qty):
        symbol.difference = None
        if 0 < symbol.doubted_mono_ns < account.snapshot_mono_ns:
            symbol.doubted_mono_ns = 0
            symbol.dirty = True
        return
    entry_price = symbol.account_entry_price
    if (symbol.adopted and not _lasts(state, symbol, account, qty)) or (qty != ZERO and entry_price <= ZERO):
        return
    if not symbol.adopted:
        symbol.adopted = True
        shown_utc_ms = state.shown_utc_ms(account.snapshot_mono_ns)
        symbol.adopted_utc_ms = symbol.account_update_utc_ms if qty != ZERO else shown_utc_ms
    before = symbol.cycle.position_qty
    if symbol.cycle.heal(qty, entry_price, state.now_mono_ns) is not Heal.NOTHING:
        fields = (("symbol", symbol.symbol), ("lots_qty", str(before)), ("account_qty", str(qty)))
        effects.append(Noted("POSITION_ADOPTED", fields))
        effects.append(Counted("grinder_cycle_heals_total", (symbol.symbol,)))
    symbol.difference = None
    symbol.doubted_mono_ns = 0
    symbol.dirty = True


def _lasts(state: EngineState, symbol: SymbolState, account: AccountState, qty: Decimal) -> bool:
    """Tell whether a difference has lasted: two snapshots, nothing under way, no trade since well before the first.

    A stream event does not count: the venue's account stream may tell of a trade before its order stream does, and
    what it carries is newer than the snapshot that it was added to.
    """
    if account.source is Source.STREAM:
        return False
    settled_mono_ns = symbol.changed_mono_ns + state.config.settle_ms * NS_PER_MS
    if account.snapshot_mono_ns < settled_mono_ns or not state.view.quiet(symbol.symbol):
        symbol.difference = None
        return False
    seen = symbol.difference
    now = Difference(qty, symbol.cycle.position_qty, account.snapshot_mono_ns)
    if seen is None or (seen.account_qty, seen.believed_qty) != (now.account_qty, now.believed_qty):
        symbol.difference = now
        return False
    return now.snapshot_mono_ns > seen.snapshot_mono_ns


def apply_control(state: EngineState, control: Control) -> None:
    """Take the board's words. The first look at the resume counter is no acknowledgement."""
    state.kill_switch_active = control.kill_switch_active
    state.control_latch_loaded = control.latch_loaded
    state.override = control.override
    state.executor_ready = control.executor_ready
    state.resume_acked = 0 <= state.resume_count != control.resume_count
    if state.resume_acked:
        state.memory = acknowledged(state.memory)
        state.failed.discard(RiskInput.LOSSES)
        state.loss_breached = frozenset()
    state.resume_count = control.resume_count
    if not control.kill_switch_active:
        state.tripped = False
    if control.term != state.term:
        _begin_term(state, control.term)


def _begin_term(state: EngineState, term: int) -> None:
    """Begin anew as after a start: orders are the new leader's, and the executor tells of them once it took them over.

    The position is adopted from the account again, for what other hosts traded in between nobody told here. No risk can
    be lost sight of: without a snapshot of the new term there is no new risk.
    """
    state.term = term
    state.view.forget()
    for symbol in state.symbols.values():
        symbol.adopted = False
        symbol.difference = None
        symbol.doubted_mono_ns = 0
        symbol.changed_mono_ns = state.now_mono_ns


def apply_loss(state: EngineState, lost: Lost) -> None:
    """Learn that frames are missing: what they said is unknown until it is said again."""
    if lost.channel == ORDERS.name:
        state.view.synced = False
        for symbol in state.symbols.values():
            symbol.changed_mono_ns = state.now_mono_ns
            if symbol.adopted:
                symbol.doubted_mono_ns = state.now_mono_ns


_Apply = Callable[[EngineState, Any, list[Effect]], None]
_APPLY: Final[dict[type, tuple[str, _Apply]]] = {
    MarkPrice: (MARKET.name, _mark),
    StreamHealth: (MARKET.name, _health),
    OrderUpdate: (ORDERS.name, _update),
    Fill: (ORDERS.name, _fill),
    CommandRefused: (ORDERS.name, _refusal),
    OrdersSnapshot: (ORDERS.name, _snapshot),
    OrderBudget: (ORDERS.name, _budget),
    AccountState: (ACCOUNT.name, _account),
    Instruments: (ACCOUNT.name, _instruments),
}


def apply_frame(state: EngineState, frame: object, effects: list[Effect]) -> None:
    """Take one frame of the bus, any but a book, which ``apply_book`` takes."""
    channel, apply = _APPLY[type(frame)]
    state.seen_mono_ns[channel] = state.now_mono_ns
    apply(state, frame, effects)


def refresh_orders(state: EngineState) -> None:
    """Bring the sums of the symbols whose orders changed up to date, and have them planned again."""
    view = state.view
    for name in view.touched:
        symbol = state.symbols.get(name)
        if symbol is not None:
            symbol.working = working_of(view.of(name))
            symbol.dirty = True
    view.touched.clear()


def spend(budget: Budget, *, adds_risk: bool) -> Budget:
    """Return the budget after one more order request; unknown stays unknown."""
    risk = budget.risk_orders_this_run
    return replace(
        budget,
        orders_left_10s=_less(budget.orders_left_10s),
        orders_left_1m=_less(budget.orders_left_1m),
        risk_orders_this_run=risk + 1 if adds_risk and risk is not None else risk,
    )


def _less(count: int | None) -> int | None:
    return None if count is None else count - 1

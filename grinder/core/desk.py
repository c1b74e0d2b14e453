"""The desk of one symbol: plans it, and turns the router's decisions into intents that the gate chain approved.

Must never send an intent that the gate chain did not approve, and never start a second command on an order that still
owes an answer to the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from grinder.core.engine_state import EngineState, SymbolState
from grinder.core.events import Blocked, Counted, Effect, Send
from grinder.core.exposure import Working, with_placed
from grinder.core.inputs import spend
from grinder.core.intentions import entries, follow_mid, intentions
from grinder.core.planner import Wanted
from grinder.core.round import Round, account_situation, route_limits, verdict
from grinder.core.router import Route, Routed, route
from grinder.core.situation import Approved, Denied, Proposal
from grinder.core.view import LiveOrder
from grinder.model.control import FsmState, RiskIntent
from grinder.model.orders import (
    BUY,
    GRID,
    INTENTS_PER_INCARNATION,
    TAKE_PROFIT,
    Amend,
    Cancel,
    OrderId,
    Place,
    format_order_id,
)
from grinder.model.reasons import PlanReason, RouterReason
from grinder.model.units import NS_PER_MS, ZERO

ROUND_ENTRIES_MAX: Final = 16
"""Most entries placed, moved or replaced in one round; the next one follows at once. Each leaves the moment it is
decided, so a short round would only plan the same grid again."""

# Plain names for the path of every tick; see grinder.model.orders.
_ACTIVE: Final = FsmState.ACTIVE
_AMEND: Final = Route.AMEND
_BLOCK: Final = Route.BLOCK
_CANCEL: Final = Route.CANCEL
_NOOP: Final = Route.NOOP
_THROTTLED: Final = RouterReason.RATE_LIMIT_THROTTLE


def plan_symbol(state: EngineState, symbol: SymbolState, cause_mono_ns: int, effects: list[Effect]) -> None:
    """Plan one symbol and append what is to be done; it is not planned again until something changes.

    Args:
        state: the engine's memory.
        symbol: the symbol; its ``dirty`` mark and appointment are consumed.
        cause_mono_ns: arrival time of the frame or timer that caused this.
        effects: where intents, blocks and counts go, cancels before placements.
    """
    symbol.dirty = False
    symbol.plan_mono_ns = 0
    cause_mono_ns = symbol.cause_mono_ns or cause_mono_ns
    symbol.cause_mono_ns = 0
    top, instrument = symbol.top, symbol.instrument
    if top is None or instrument is None or not state.view.synced or not symbol.adopted:
        return
    now = state.now_mono_ns
    grid_open = now >= symbol.grid_mono_ns
    account, budget = account_situation(state, effects), state.budget
    turn = Round(state, symbol, top, instrument, account, cause_mono_ns, effects, grid_open, budget)
    follow_mid(turn)
    live, wanted = intentions(turn)
    if grid_open and (state.fsm.state is not _ACTIVE or symbol.symbol in state.loss_breached):
        _report_blocked(turn, live)
    decisions = route(wanted, live, top, instrument, route_limits(state), state.config.router)
    symbol.wanted = len(wanted)
    # One after the other: what is decided first leaves before the next is looked at.
    _count([routed for routed in decisions if _act(turn, routed)], effects)
    _take_back_expired(turn)
    _finish(turn)


def _finish(turn: Round) -> None:
    """Go on at once with what is left over, else pause as the round requires, and make the next appointment."""
    state, symbol, now = turn.state, turn.symbol, turn.state.now_mono_ns
    if turn.unfinished:
        symbol.dirty = True
        symbol.cause_mono_ns = turn.cause_mono_ns
        return
    if turn.grid_sent:
        cooldown_ns = state.config.planner.cooldown_ms * NS_PER_MS
        symbol.grid_mono_ns = max(symbol.grid_mono_ns, now + cooldown_ns)
    due = [symbol.plan_mono_ns, *turn.waits] if symbol.plan_mono_ns else turn.waits
    symbol.plan_mono_ns = min(due, default=0)


def _report_blocked(turn: Round, live: Iterable[LiveOrder]) -> None:
    """Say which entries the state's permissions block; once per pause, so that waiting is visible but not loud."""
    slots = {(order.level, order.side) for order in live}
    for wanted in entries(turn, live):
        if (wanted.level, wanted.side) in slots or _is_blocked(turn, wanted):
            continue
        answer = verdict(turn, Proposal(_place_intent(turn, wanted)))
        if isinstance(answer, Denied):
            turn.effects.append(Blocked(turn.symbol.symbol, answer.intent, turn.state.fsm.state, answer.reasons))
            _hold_back(turn, wanted)


def _take_back_expired(turn: Round) -> None:
    """Cancel take-profits older than their time to live; they are placed again once they are gone."""
    ttl_ns = turn.state.config.tp_ttl_ms * NS_PER_MS
    if ttl_ns <= 0:
        return
    now, symbol = turn.state.now_mono_ns, turn.symbol
    for order in tuple(turn.state.view.of(symbol.symbol)):
        if order.kind is not TAKE_PROFIT or order.in_flight or not order.remaining_qty:
            continue
        expires_mono_ns = order.since_mono_ns + ttl_ns
        if expires_mono_ns <= now:
            _cancel(turn, order, PlanReason.TP_EXPIRED)
            turn.effects.append(Counted("grinder_cycle_tp_expired_total", (symbol.symbol,)))
            turn.effects.append(Counted("grinder_cycle_tp_renew_total", (symbol.symbol, "started")))
        elif symbol.plan_mono_ns == 0 or expires_mono_ns < symbol.plan_mono_ns:
            symbol.plan_mono_ns = expires_mono_ns


def _act(turn: Round, routed: Routed) -> bool:
    """Carry out one decision; return False if it has to wait for a later round, which will decide it anew."""
    wanted, existing = routed.wanted, routed.existing
    if routed.route is _CANCEL:
        assert existing is not None
        permitted = turn.state.fsm.state is _ACTIVE or existing.kind is not GRID
        _cancel(turn, existing, routed.plan_reason if permitted else PlanReason.NOT_PERMITTED)
        return True
    if routed.route is _NOOP and routed.reason is not _THROTTLED:
        return True
    assert wanted is not None
    if _is_blocked(turn, wanted):
        return False
    if routed.route is _NOOP or routed.route is _BLOCK:
        _hold_back(turn, wanted)
        return True
    if _has_to_wait(turn, wanted):
        return False
    if existing is None:
        _place(turn, wanted)
    elif routed.route is _AMEND:
        _amend(turn, wanted, existing, routed.plan_reason)
    else:
        turn.grid_sent += not wanted.reduce_only
        _cancel(turn, existing, routed.plan_reason)
    return True


def _place(turn: Round, wanted: Wanted) -> None:
    state = turn.state
    if state.view.full or state.ids_made + 1 >= INTENTS_PER_INCARNATION:
        _hold_back(turn, wanted)
        return
    intent = _place_intent(turn, wanted)
    approved = _approved(turn, wanted, Proposal(intent))
    if approved is None:
        return
    state.ids_made += 1
    _send(turn, intent, None)
    state.view.place(intent, state.intents_sent, state.now_mono_ns)
    turn.symbol.working = with_placed(turn.symbol.working, intent)
    state.budget = spend(state.budget, adds_risk=approved is RiskIntent.INCREASE_RISK)
    turn.grid_sent += not wanted.reduce_only
    if wanted.kind is TAKE_PROFIT:
        turn.effects.append(Counted("grinder_cycle_tp_generated_total", (turn.symbol.symbol,)))


def _place_intent(turn: Round, wanted: Wanted) -> Place:
    """Return the Place of a wanted order, with the next id; the id counts as used only once it is sent."""
    state, config = turn.state, turn.state.config
    sequence = state.id_incarnation * INTENTS_PER_INCARNATION + state.ids_made + 1
    return Place(
        client_order_id=format_order_id(OrderId(config.order_prefix, state.term, sequence, wanted.level)),
        symbol=turn.symbol.symbol,
        side=wanted.side,
        price=wanted.price,
        qty=wanted.qty,
        tif=wanted.tif,
        reduce_only=wanted.reduce_only,
        kind=wanted.kind,
        reason=wanted.reason,
        deadline_mono_ns=state.now_mono_ns + config.intent_ttl_ms * NS_PER_MS,
        cause_mono_ns=turn.cause_mono_ns,
    )


def _amend(turn: Round, wanted: Wanted, existing: LiveOrder, reason: PlanReason) -> None:
    state, symbol = turn.state, turn.symbol
    intent = Amend(
        client_order_id=existing.client_order_id,
        symbol=symbol.symbol,
        side=wanted.side,
        price=wanted.price,
        qty=existing.executed_qty + wanted.qty,
        reason=reason,
        deadline_mono_ns=state.now_mono_ns + state.config.intent_ttl_ms * NS_PER_MS,
        cause_mono_ns=turn.cause_mono_ns,
    )
    if _approved(turn, wanted, Proposal(intent, amended=existing)) is None:
        return
    _send(turn, intent, existing)
    state.view.command(intent, state.intents_sent)
    symbol.working = _with_amended(turn, intent, existing)
    state.budget = spend(state.budget, adds_risk=False)
    turn.grid_sent += not wanted.reduce_only
    turn.effects.append(Counted("grinder_router_amend_savings_total", ()))


def _with_amended(turn: Round, intent: Amend, existing: LiveOrder) -> Working:
    """Return the working sums with an order at its new price, and at the larger of its sizes."""
    working, view = turn.symbol.working, turn.state.view
    turn.moved[intent.client_order_id] = intent.price
    prices = [
        turn.moved.get(order.client_order_id, order.price)
        for order in view.of(turn.symbol.symbol)
        if order.side is intent.side
    ]
    growth = max(intent.qty - existing.qty, ZERO)
    if existing.reduce_only:
        risk_prices = working.risk_prices
    else:
        risk_prices = (working.risk_prices - {(existing.side, existing.price)}) | {(intent.side, intent.price)}
    if intent.side is BUY:
        field = "reduce_buy_qty" if existing.reduce_only else "buy_qty"
        changes: dict[str, object] = {"buy_price_max": max(prices), field: getattr(working, field) + growth}
    else:
        field = "reduce_sell_qty" if existing.reduce_only else "sell_qty"
        changes = {"sell_price_min": min(prices), field: getattr(working, field) + growth}
    return replace(working, risk_prices=risk_prices, **changes)


def _cancel(turn: Round, existing: LiveOrder, reason: PlanReason) -> None:
    state = turn.state
    intent = Cancel(
        client_order_id=existing.client_order_id,
        symbol=turn.symbol.symbol,
        reason=reason,
        deadline_mono_ns=state.now_mono_ns + state.config.intent_ttl_ms * NS_PER_MS,
        cause_mono_ns=turn.cause_mono_ns,
    )
    _send(turn, intent, existing)
    state.view.command(intent, state.intents_sent)


def _send(turn: Round, intent: Place | Amend | Cancel, before: LiveOrder | None) -> None:
    state = turn.state
    state.intents_sent += 1
    state.batch.append((intent.client_order_id, before))
    turn.effects.append(Send(intent))


def _approved(turn: Round, wanted: Wanted, proposal: Proposal) -> RiskIntent | None:
    """Ask the gate chain; return the intent's class if it may go, else None, and say so."""
    answer = verdict(turn, proposal)
    if isinstance(answer, Approved):
        turn.effects.append(Counted("grinder_gating_allowed_total", ("gate_chain",)))
        return answer.intent
    turn.effects.append(Blocked(turn.symbol.symbol, answer.intent, turn.state.fsm.state, answer.reasons))
    _hold_back(turn, wanted)
    return None


def _has_to_wait(turn: Round, wanted: Wanted) -> bool:
    """Tell whether an order's turn is later: its kind pauses, or enough entries went out in this round."""
    symbol = turn.symbol
    if wanted.reduce_only:
        paused = turn.state.now_mono_ns < symbol.profit_mono_ns
        if paused:
            turn.waits.append(symbol.profit_mono_ns)
        return paused
    if not turn.grid_open:
        turn.waits.append(symbol.grid_mono_ns)
        return True
    full = turn.grid_sent >= ROUND_ENTRIES_MAX
    turn.unfinished = turn.unfinished or full
    return full


def _is_blocked(turn: Round, wanted: Wanted) -> bool:
    """Tell whether a slot was denied a moment ago: what was blocked then is blocked a millisecond later too."""
    until_mono_ns = turn.symbol.blocked_mono_ns.get((wanted.level, wanted.side), 0)
    if until_mono_ns <= turn.state.now_mono_ns:
        return False
    turn.waits.append(until_mono_ns)
    return True


def _hold_back(turn: Round, wanted: Wanted) -> None:
    """Have a slot wait before it is tried again."""
    until_mono_ns = turn.state.now_mono_ns + turn.state.config.block_retry_ms * NS_PER_MS
    turn.symbol.blocked_mono_ns[wanted.level, wanted.side] = until_mono_ns
    turn.waits.append(until_mono_ns)


def _count(decisions: Iterable[Routed], effects: list[Effect]) -> None:
    counts: dict[tuple[Route, RouterReason], int] = {}
    for routed in decisions:
        key = (routed.route, routed.reason)
        counts[key] = counts.get(key, 0) + 1
    for (choice, reason), by in counts.items():
        effects.append(Counted("grinder_router_decision_total", (choice.value, reason.value), by))

"""Planning one symbol: what should rest, the router's difference, the gate chain, and the intents that follow.

Entries rest in ACTIVE only, on a fresh symbol; in any other state but the first two they are taken back, and
take-profits stay. In INIT and READY resting entries are left alone for a short while, so that a restart does not tear
down a grid that is about to be wanted again. Must never send an intent that the gate chain did not approve.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from grinder.core.cycle import take_profits
from grinder.core.engine_state import EngineState, SymbolState
from grinder.core.events import Blocked, Counted, Effect, Send
from grinder.core.exposure import with_placed, working_of
from grinder.core.features import natr_if_fresh
from grinder.core.inputs import spend
from grinder.core.planner import Wanted, anchor_holds, move_threshold_bps, plan_grid, spacing_now_bps
from grinder.core.round import Round, account_situation, route_limits, verdict
from grinder.core.router import Route as R
from grinder.core.router import Routed, route
from grinder.core.situation import Approved, Denied, Proposal
from grinder.core.view import LiveOrder
from grinder.model.control import FsmState, RiskIntent
from grinder.model.instrument import TRADING
from grinder.model.orders import (
    INTENTS_PER_INCARNATION,
    Amend,
    Cancel,
    OrderId,
    OrderKind,
    Place,
    Side,
    format_order_id,
)
from grinder.model.reasons import PlanReason, RouterReason
from grinder.model.units import BPS, NS_PER_MS, ZERO

START_GRACE_MS: Final = 5_000
"""How long entries that rest already are left alone in INIT and READY, milliseconds."""

_STARTING: Final = frozenset({FsmState.INIT, FsmState.READY})


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
    top, instrument = symbol.top, symbol.instrument
    if top is None or instrument is None or not state.view.synced or not symbol.adopted:
        return
    now = state.now_mono_ns
    grid_open = now >= symbol.grid_mono_ns
    turn = Round(
        state, symbol, top, instrument, account_situation(state), cause_mono_ns, effects, grid_open, state.budget
    )
    _follow_mid(turn)
    live, wanted = _intentions(turn)
    decisions = route(wanted, live, top, instrument, route_limits(state), state.config.router)
    symbol.wanted = len(wanted)
    _count(decisions, effects)
    for routed in decisions:
        _act(turn, routed)
    _take_back_expired(turn)
    if turn.grid_sent:
        symbol.grid_mono_ns = max(symbol.grid_mono_ns, now + state.config.planner.cooldown_ms * NS_PER_MS)
    if turn.held_back:
        symbol.plan_mono_ns = max(symbol.grid_mono_ns, now + 1)


def _intentions(turn: Round) -> tuple[list[LiveOrder], list[Wanted]]:
    """Return the orders that the router shall look at, and those that should rest."""
    state, symbol = turn.state, turn.symbol
    live = [order for order in state.view.of(symbol.symbol) if order.kind is not OrderKind.EXIT]
    wanted: list[Wanted] = []
    fsm = state.fsm
    if fsm.state is not FsmState.EMERGENCY or not state.config.exit_enabled:
        wanted.extend(_profits(turn, live))
    else:
        live = [order for order in live if order.kind is not OrderKind.TAKE_PROFIT]
    if fsm.state is FsmState.ACTIVE and _entries_allowed(turn):
        wanted.extend(_entries(turn, live))
        return live, wanted
    if turn.grid_open and fsm.state is not FsmState.ACTIVE:
        _report_blocked(turn, live)
    if fsm.state in _STARTING and state.now_mono_ns - fsm.since_mono_ns < START_GRACE_MS * NS_PER_MS:
        live = [order for order in live if order.kind is not OrderKind.GRID]
        symbol.plan_mono_ns = fsm.since_mono_ns + START_GRACE_MS * NS_PER_MS
    elif fsm.state is FsmState.INIT:
        live = [order for order in live if order.kind is not OrderKind.GRID]
    return live, wanted


def _entries_allowed(turn: Round) -> bool:
    """Tell whether this symbol may have entries at rest: armed by no alarm, fresh, and traded by the venue."""
    state, symbol = turn.state, turn.symbol
    return (
        not state.kill_switch_active
        and symbol.symbol not in state.feed.stale_symbols
        and turn.instrument.status == TRADING
        and state.account is not None
        and not state.account.hedge_mode
    )


def _follow_mid(turn: Round) -> None:
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


def _report_blocked(turn: Round, live: Iterable[LiveOrder]) -> None:
    """Say which entries the state's permissions block; once per pause, so that waiting is visible but not loud."""
    slots = {(order.level, order.side) for order in live}
    for wanted in _entries(turn, live):
        if (wanted.level, wanted.side) not in slots:
            answer = verdict(turn, Proposal(_place_intent(turn, wanted)))
            if isinstance(answer, Denied):
                turn.effects.append(Blocked(turn.symbol.symbol, answer.intent, turn.state.fsm.state, answer.reasons))
                _hold_back(turn)


def _entries(turn: Round, live: Iterable[LiveOrder]) -> Iterable[Wanted]:
    state, symbol = turn.state, turn.symbol
    assert symbol.anchor is not None
    held = {lot.level: lot.qty for lot in symbol.cycle.lots}
    resting: dict[tuple[str, Side], LiveOrder] = {}
    for order in live:
        if order.kind is OrderKind.GRID:
            resting[order.level, order.side] = order
            if order.unsettled_qty:
                held[order.level] = held.get(order.level, ZERO) + order.unsettled_qty
    for ended in state.view.unsettled_of(symbol.symbol):
        if ended.kind is OrderKind.GRID:
            held[ended.level] = held.get(ended.level, ZERO) + ended.unsettled_qty
    config = state.config.planner
    grid = plan_grid(config, turn.instrument, symbol.anchor, symbol.spacing_bps, turn.top, held)
    return [_spare_partial(order, resting.get((order.level, order.side))) for order in grid]


def _spare_partial(wanted: Wanted, existing: LiveOrder | None) -> Wanted:
    """Leave the size of an order that trades away alone: topping it up would cost its place in the queue."""
    if existing is None or not existing.executed_qty or not ZERO < existing.remaining_qty < wanted.qty:
        return wanted
    return replace(wanted, qty=existing.remaining_qty)


def _profits(turn: Round, live: Iterable[LiveOrder]) -> list[Wanted]:
    cycle = turn.symbol.cycle
    spacing_bps = turn.symbol.spacing_bps
    lots = [replace(lot, qty=_share(turn, lot.qty)) for lot in cycle.lots]
    planned = take_profits(lots, turn.instrument, spacing_bps, turn.top, abs(cycle.position_qty))
    resting = {(order.level, order.side): order for order in live if order.kind is OrderKind.TAKE_PROFIT}
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
    gain = existing.price - wanted.price if wanted.side is Side.SELL else wanted.price - existing.price
    if ZERO < gain * BPS < spacing_bps * wanted.price:
        return replace(wanted, price=existing.price)
    return wanted


def _take_back_expired(turn: Round) -> None:
    """Cancel take-profits older than their time to live; they are placed again once they are gone."""
    ttl_ns = turn.state.config.tp_ttl_ms * NS_PER_MS
    if ttl_ns <= 0:
        return
    now, symbol = turn.state.now_mono_ns, turn.symbol
    for order in tuple(turn.state.view.of(symbol.symbol)):
        if order.kind is not OrderKind.TAKE_PROFIT or order.in_flight:
            continue
        expires_mono_ns = order.since_mono_ns + ttl_ns
        if expires_mono_ns <= now:
            _cancel(turn, order, PlanReason.TP_EXPIRED)
            turn.effects.append(Counted("grinder_cycle_tp_expired_total", (symbol.symbol,)))
            turn.effects.append(Counted("grinder_cycle_tp_renew_total", (symbol.symbol, "started")))
        elif symbol.plan_mono_ns == 0 or expires_mono_ns < symbol.plan_mono_ns:
            symbol.plan_mono_ns = expires_mono_ns


def _act(turn: Round, routed: Routed) -> None:
    wanted, existing = routed.wanted, routed.existing
    if routed.route is R.CANCEL:
        assert existing is not None
        permitted = turn.state.fsm.state is FsmState.ACTIVE or existing.kind is not OrderKind.GRID
        _cancel(turn, existing, routed.plan_reason if permitted else PlanReason.NOT_PERMITTED)
    elif routed.route is R.BLOCK or routed.reason is RouterReason.RATE_LIMIT_THROTTLE:
        _hold_back(turn)
    elif routed.route is R.CANCEL_REPLACE or routed.route is R.AMEND:
        assert wanted is not None
        if not wanted.reduce_only and not turn.grid_open:
            turn.held_back = True
        elif existing is None:
            _place(turn, wanted)
        elif routed.route is R.AMEND:
            _amend(turn, wanted, existing, routed.plan_reason)
        else:
            turn.grid_sent = turn.grid_sent or not wanted.reduce_only
            _cancel(turn, existing, routed.plan_reason)


def _place(turn: Round, wanted: Wanted) -> None:
    state = turn.state
    if state.view.full or state.ids_made + 1 >= INTENTS_PER_INCARNATION:
        _hold_back(turn)
        return
    intent = _place_intent(turn, wanted)
    approved = _approved(turn, Proposal(intent))
    if approved is None:
        return
    state.ids_made += 1
    _send(turn, intent, None)
    state.view.place(intent, state.intents_sent, state.now_mono_ns)
    turn.symbol.working = with_placed(turn.symbol.working, intent)
    state.budget = spend(state.budget, adds_risk=approved is RiskIntent.INCREASE_RISK)
    turn.grid_sent = turn.grid_sent or not wanted.reduce_only
    if wanted.kind is OrderKind.TAKE_PROFIT:
        turn.effects.append(Counted("grinder_cycle_tp_generated_total", (turn.symbol.symbol,)))


def _place_intent(turn: Round, wanted: Wanted) -> Place:
    """Return the Place of a wanted order, with the next id; the id counts as used only once it is sent."""
    state, config = turn.state, turn.state.config
    sequence = config.incarnation * INTENTS_PER_INCARNATION + state.ids_made + 1
    return Place(
        client_order_id=format_order_id(OrderId(config.order_prefix, config.term, sequence, wanted.level)),
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
    if _approved(turn, Proposal(intent, amended=existing)) is None:
        return
    _send(turn, intent, existing)
    state.view.command(intent, state.intents_sent)
    moved = replace(existing, price=wanted.price, qty=max(intent.qty, existing.qty))
    others = (order for order in state.view.of(symbol.symbol) if order.client_order_id != moved.client_order_id)
    symbol.working = working_of((*others, moved))
    state.budget = spend(state.budget, adds_risk=False)
    turn.grid_sent = turn.grid_sent or not wanted.reduce_only
    turn.effects.append(Counted("grinder_router_amend_savings_total", ()))


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


def _approved(turn: Round, proposal: Proposal) -> RiskIntent | None:
    """Ask the gate chain; return the intent's class if it may go, else None, and say so."""
    answer = verdict(turn, proposal)
    if isinstance(answer, Approved):
        turn.effects.append(Counted("grinder_gating_allowed_total", ("gate_chain",)))
        return answer.intent
    turn.effects.append(Blocked(turn.symbol.symbol, answer.intent, turn.state.fsm.state, answer.reasons))
    _hold_back(turn)
    return None


def _hold_back(turn: Round) -> None:
    """Wait before entries are tried again: what was blocked now is blocked in a millisecond too."""
    state = turn.state
    turn.symbol.grid_mono_ns = state.now_mono_ns + state.config.block_retry_ms * NS_PER_MS
    turn.held_back = True


def _count(decisions: Iterable[Routed], effects: list[Effect]) -> None:
    counts: dict[tuple[str, str], int] = {}
    for routed in decisions:
        key = (routed.route.value, routed.reason.value)
        counts[key] = counts.get(key, 0) + 1
    effects.extend(Counted("grinder_router_decision_total", labels, by) for labels, by in counts.items())

"""The trading decision: ``step(state, event) -> (state, effects)``, once per event, and nothing else.

It composes the features, the state machine, the planner, the router and the gate chain. Must never read a clock, a
setting, randomness or anything global: the same events give the same effects, byte for byte, whenever and wherever they
are replayed. Effects are in order: what was learned first, then what is to be done, cancels before placements.

Invariant: every intent that leaves was approved by the gate chain in the same step, and is in the view of live orders
before the next event is looked at.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from grinder.core import drawdown, fsm
from grinder.core.capital import take_transfers
from grinder.core.desk import plan_symbol
from grinder.core.engine_state import EngineConfig, EngineState, SymbolState
from grinder.core.events import (
    Control,
    Counted,
    Effect,
    Event,
    Lost,
    Moved,
    Received,
    Send,
    Timer,
    Trip,
    Unsent,
)
from grinder.core.fsm import FsmInputs
from grinder.core.inputs import apply_book, apply_control, apply_frame, apply_loss, refresh_orders
from grinder.core.losses import NOTHING_LOST, RiskMemory, after_day, loss_of_day
from grinder.core.risk_faults import attempt
from grinder.core.staleness import ACCOUNT_SNAPSHOT, feed_status, inputs_not_live
from grinder.model.account import AccountState
from grinder.model.channels import MARKET
from grinder.model.control import AccountResponse, TripReason
from grinder.model.frames import LoopState, PlanSummary
from grinder.model.market import BookTop
from grinder.model.orders import ResyncOrders
from grinder.model.risk_input import RiskInput
from grinder.model.units import NS_PER_MS

RESYNC_PERIOD_MS: Final = 500
"""Shortest time between two requests for the executor's full order state, milliseconds."""

_SEEN_ANEW: Final = (RiskInput.FEATURES, RiskInput.TOXICITY)
"""Inputs whose failure is over when a value is there again; the others know it by themselves."""

NO_EFFECTS: Final[tuple[Effect, ...]] = ()


def initial_state(
    config: EngineConfig,
    now_mono_ns: int,
    *,
    memory: RiskMemory = NOTHING_LOST,
    awaiting_resume: bool = False,
) -> EngineState:
    """Return the memory of an engine that has seen nothing: machine in INIT, nothing permitted.

    Args:
        config: how it decides.
        now_mono_ns: now.
        memory: what earlier runs left.
        awaiting_resume: an operator must acknowledge first, whatever the memory says.
    """
    return EngineState(config, now_mono_ns, memory, awaiting_resume)


def step(
    state: EngineState, event: Event, effects: list[Effect] | None = None
) -> tuple[EngineState, tuple[Effect, ...]]:
    """Take one event and return what is to be done.

    Args:
        state: the memory; this function owns it and changes it in place, the caller only hands it on.
        event: what happened, with its time. Times that run backwards count as no time passed.
        effects: an empty list to collect them in, if the caller wants to see each as soon as it is decided. It may
            carry out what it sees, and must not call this function again before it has returned.

    Returns:
        The same memory, and the effects in the order in which they are to be carried out. The caller's next duties:
        tell the next step by ``Unsent`` which of the intents did not leave, and go on while ``wants_more``.
    """
    if effects is None:
        effects = []
    if event.now_mono_ns > state.now_mono_ns:
        state.now_mono_ns = event.now_mono_ns
    if isinstance(event, Received):
        frame = event.frame
        if isinstance(frame, BookTop):
            _on_book(state, frame, effects)
            return state, tuple(effects)
        state.batch.clear()
        if isinstance(frame, AccountState):
            take_transfers(state, frame, effects)
        apply_frame(state, frame, effects)
        if isinstance(frame, AccountState):
            _refresh_risk(state, effects)
    elif isinstance(event, Unsent):
        _take_back(state, event.count)
        return state, NO_EFFECTS
    else:
        state.batch.clear()
        _on_other(state, event, effects)
        # Time alone makes samples old.
        _refresh_risk(state, effects)
    _run_fsm(state, effects)
    _run_desks(state, effects)
    return state, tuple(effects)


def _on_book(state: EngineState, book: BookTop, effects: list[Effect]) -> None:
    """Take the most frequent event by the shortest path: only its own symbol can need a plan."""
    symbol = state.symbols.get(book.symbol)
    if symbol is None:
        return
    state.batch.clear()
    state.seen_mono_ns[MARKET.name] = state.now_mono_ns
    apply_book(state, symbol, book, effects)
    if _run_fsm(state, effects):
        _run_desks(state, effects)
    elif symbol.dirty or 0 < symbol.plan_mono_ns <= state.now_mono_ns:
        plan_symbol(state, symbol, book.recv_mono_ns, effects)
        state.view.touched.clear()


def _on_other(state: EngineState, event: Lost | Timer | Control, effects: list[Effect]) -> None:
    if isinstance(event, Control):
        apply_control(state, event)
    elif isinstance(event, Lost):
        apply_loss(state, event)
    elif event.utc_ms > 0:
        memory, seen, utc_ms = state.memory, state.drawdown, event.utc_ms
        state.venue_utc_ms, state.venue_utc_mono_ns = utc_ms, state.now_mono_ns
        state.memory = attempt(
            state,
            effects,
            RiskInput.DAY_LOSS,
            lambda: after_day(memory, seen, state.config.drawdown, utc_ms),
            lambda: replace(memory, day_start=None),
        )
    _refresh_inputs(state)
    state.view.expire(state.now_mono_ns)
    due_mono_ns = state.resync_asked_mono_ns + RESYNC_PERIOD_MS * NS_PER_MS
    if not state.view.synced and state.executor_ready and state.now_mono_ns >= due_mono_ns:
        state.resync_asked_mono_ns = state.now_mono_ns
        state.intents_sent += 1
        state.batch.append(("", None))
        effects.append(Send(ResyncOrders(state.now_mono_ns)))


def _take_back(state: EngineState, count: int) -> None:
    """Undo the view of intents that never left: the last of the step before."""
    assert 0 < count <= len(state.batch)
    for client_order_id, before in reversed(state.batch[-count:]):
        state.intents_sent -= 1
        if client_order_id:
            state.view.unsend(client_order_id, before)
    state.batch.clear()
    retry_mono_ns = state.now_mono_ns + state.config.block_retry_ms * NS_PER_MS
    touched = set(state.view.touched)
    refresh_orders(state)
    for name in touched:
        symbol = state.symbols[name]
        # Planned again by appointment: at once would only find the same full queue.
        symbol.dirty = False
        symbol.cause_mono_ns = 0
        symbol.grid_mono_ns = symbol.plan_mono_ns = retry_mono_ns


def _refresh_inputs(state: EngineState) -> None:
    """Look at every age again: what is stale, and what is not live."""
    now = state.now_mono_ns
    seen = {symbol.symbol: symbol.book_mono_ns for symbol in state.symbols.values()}
    before = state.feed.stale_symbols
    state.feed = feed_status(
        seen, state.connected_mono_ns, state.reported_stale, now, state.config.thresholds.feed_stale_ms
    )
    if state.feed.stale_symbols != before:
        for symbol in state.symbols.values():
            symbol.dirty = True
    missing = list(inputs_not_live(state.seen_mono_ns, now))
    fresh = [symbol for name, symbol in state.symbols.items() if name not in state.feed.stale_symbols]
    for name, live in (
        (RiskInput.ORDERS_SNAPSHOT, state.view.synced),
        (RiskInput.EXECUTOR, state.executor_ready and state.view.executor_ready),
        (RiskInput.LATCH, state.control_latch_loaded),
        (RiskInput.POSITION_MODE, state.account is not None and not state.account.hedge_mode),
        (RiskInput.ACCOUNT_RECONCILED, state.account is not None and state.account.reconciled),
        (RiskInput.FEATURES, all(symbol.features.spread_bps is not None for symbol in fresh)),
        (RiskInput.TOXICITY, all(symbol.toxicity.score_bps is not None for symbol in fresh)),
        (RiskInput.DRAWDOWN, state.drawdown_now is not None),
        (RiskInput.DAY_LOSS, state.config.losses.daily_limit is None or state.day_loss is not None),
    ):
        if not live:
            missing.append(name)
        elif name in _SEEN_ANEW:
            state.failed.discard(name)
    before_not_live = state.inputs_not_live
    state.inputs_not_live = (*missing, *(name for name in RiskInput if name in state.failed and name not in missing))
    if before_not_live and not state.inputs_not_live:
        # What was denied for want of an input waits no longer: after a takeover each second counts.
        for symbol in state.symbols.values():
            symbol.blocked_mono_ns.clear()
            symbol.dirty = True


def _refresh_risk(state: EngineState, effects: list[Effect]) -> None:
    config, seen, now = state.config.drawdown, state.drawdown, state.now_mono_ns
    state.drawdown_now, state.session_drawdown = attempt(
        state,
        effects,
        RiskInput.DRAWDOWN,
        lambda: (drawdown.current(seen, config, now), drawdown.from_start(seen, config, now)),
        lambda: (None, None),
    )
    state.day_loss = attempt(
        state, effects, RiskInput.DAY_LOSS, lambda: loss_of_day(state.memory, seen, config, now), lambda: None
    )
    memory = state.memory
    if (seen.high_water_mark, seen.session_start) != (memory.high_water_mark, memory.session_start):
        state.memory = replace(memory, high_water_mark=seen.high_water_mark, session_start=seen.session_start)


def _trip(state: EngineState, effects: list[Effect]) -> None:
    """Trip the kill switch when a limit of the account is reached, once."""
    if state.tripped:
        return
    drawdown_limit, day_limit = state.config.thresholds.drawdown_limit, state.config.losses.daily_limit
    if state.drawdown_now is not None and state.drawdown_now >= drawdown_limit:
        detail = f"drawdown {state.drawdown_now:.6f} of limit {drawdown_limit}"
        effects.append(Trip(TripReason.DRAWDOWN_LIMIT, detail))
    elif day_limit is not None and state.day_loss is not None and state.day_loss >= day_limit:
        effects.append(Trip(TripReason.DAILY_LOSS_LIMIT, f"loss of the day {state.day_loss} of limit {day_limit}"))
    else:
        return
    state.tripped = True


def _run_fsm(state: EngineState, effects: list[Effect]) -> bool:
    """Evaluate the state machine once; return whether it moved. Before the board was read it stays where it is."""
    if state.resume_count < 0 or not state.config.fsm_enabled:
        return False
    thresholds = state.config.thresholds
    spread_bps, score_bps = _worst(state)
    inputs = FsmInputs(
        state.kill_switch_active,
        state.override,
        state.drawdown_now,
        state.feed.stale,
        state.feed.gap_ms,
        spread_bps,
        score_bps,
        state.account_notional,
        state.resume_acked,
        state.seen_mono_ns.get(ACCOUNT_SNAPSHOT, 0),
        AccountResponse.NONE if state.account is None else state.account.response,
        state.held,
        state.account is not None and state.account.restricted,
    )
    state.inputs = inputs
    state.resume_acked = state.held = False
    _trip(state, effects)
    state.fsm, transition = fsm.step(state.fsm, inputs, thresholds, state.now_mono_ns)
    state.keep_awaiting()
    if transition is None:
        return False
    effects.append(Moved(transition, fsm.evidence_signals(inputs), state.fsm.awaiting_resume))
    labels = (transition.from_state.value, transition.to_state.value, transition.reason.value)
    effects.append(Counted("grinder_fsm_transitions_total", labels))
    state.dirty_all()
    return True


def _worst(state: EngineState) -> tuple[float | None, float | None]:
    """Return the worst spread and toxicity of the symbols that are not stale; None where one of them is unknown."""
    spread_bps = score_bps = 0.0
    stale = state.feed.stale_symbols
    for name, symbol in state.symbols.items():
        if stale and name in stale:
            continue
        spread, score = symbol.features.spread_bps, symbol.toxicity.score_bps
        if spread is None or score is None:
            return None, None
        if spread > spread_bps:
            spread_bps = spread
        if score > score_bps:
            score_bps = score
    return spread_bps, score_bps


def _run_desks(state: EngineState, effects: list[Effect]) -> None:
    refresh_orders(state)
    now = state.now_mono_ns
    for symbol in state.symbols.values():
        if symbol.dirty or 0 < symbol.plan_mono_ns <= now:
            plan_symbol(state, symbol, now, effects)
    state.view.touched.clear()


def wants_more(state: EngineState) -> bool:
    """Tell whether a round was left unfinished: give the engine a Timer at once, before waiting for anything else."""
    return any(symbol.cause_mono_ns for symbol in state.symbols.values())


def loop_state(state: EngineState, now_mono_ns: int) -> LoopState:
    """Return the machine's state as a frame for the ``state`` channel."""
    signals = () if state.inputs is None else fsm.evidence_signals(state.inputs)
    machine = state.fsm
    return LoopState(
        machine.state, machine.reason, machine.since_mono_ns, state.feed.stale_symbols, signals, now_mono_ns
    )


def plan_summary(state: EngineState, symbol: SymbolState) -> PlanSummary | None:
    """Return what the planner wants for one symbol, for people; None before its first anchor."""
    if symbol.anchor is None:
        return None
    orders = tuple(state.view.of(symbol.symbol))
    in_flight = sum(order.in_flight for order in orders)
    return PlanSummary(
        symbol=symbol.symbol,
        anchor_price=symbol.anchor,
        spacing_bps=float(symbol.spacing_bps),
        natr_bps=symbol.features.natr_bps or 0.0,
        wanted=symbol.wanted,
        resting=len(orders) - in_flight,
        in_flight=in_flight,
        lots=len(symbol.cycle.lots),
    )

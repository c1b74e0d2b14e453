"""One planning round of one symbol: what the gate chain and the router are told in it, and what it has done so far.

Built from the engine's memory, gone when the round ends. Must never tell the gate chain of a budget that this round has
spent already.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.core import guards
from grinder.core.engine_state import EXECUTIONS_WINDOW_MS, Budget, EngineState, SymbolState
from grinder.core.events import Effect
from grinder.core.exposure import worst_case_notional
from grinder.core.planner import Top
from grinder.core.risk_faults import attempt
from grinder.core.router import RouteLimits
from grinder.core.situation import AccountSituation, Proposal, SymbolSituation, Verdict
from grinder.core.throttle import recent
from grinder.model.instrument import Instrument
from grinder.model.risk_input import RiskInput
from grinder.model.units import ZERO

_PLENTY: Final = 1 << 30
_EXPOSURE: Final = RiskInput.EXPOSURE


class Round(msgspec.Struct):
    """One planning of one symbol, while it lasts. ``cause_mono_ns``: arrival of what caused it.

    ``grid_open``: entries may be placed and moved in this round; ``grid_sent``: how many were.
    ``waits``: when those that had to wait may be tried. ``unfinished``: more are due at once, in another round.
    ``moved``: new price of the orders amended in it, by id. ``budget``: what ``account`` was made from.
    """

    state: EngineState
    symbol: SymbolState
    top: Top
    instrument: Instrument
    account: AccountSituation
    cause_mono_ns: int
    effects: list[Effect]
    grid_open: bool
    budget: Budget
    grid_sent: int = 0
    waits: list[int] = []
    unfinished: bool = False
    moved: dict[str, Decimal] = {}


def verdict(turn: Round, proposal: Proposal) -> Verdict:
    """Ask the gate chain about one action of the round's symbol."""
    state, symbol = turn.state, turn.symbol
    situation = SymbolSituation(
        symbol=symbol.symbol,
        instrument=symbol.instrument,
        stale=symbol.symbol in state.feed.stale_symbols,
        bid_price=turn.top.bid_price,
        ask_price=turn.top.ask_price,
        mark_price=symbol.mark_price,
        position_qty=symbol.position_qty,
        working=symbol.working,
        executions_recent=recent(symbol.executions, state.now_mono_ns, EXECUTIONS_WINDOW_MS),
        reject_streak=symbol.rejects.count,
        reject_mono_ns=symbol.rejects.last_mono_ns,
    )
    return guards.judge(proposal, state.config.guards, _refreshed(turn), situation)


def _refreshed(turn: Round) -> AccountSituation:
    """Return the account's situation with everything that this round has sent."""
    if turn.budget is not turn.state.budget:
        turn.budget = turn.state.budget
        turn.account = account_situation(turn.state, turn.effects)
    return turn.account


def account_situation(state: EngineState, effects: list[Effect]) -> AccountSituation:
    """Return what is true for every symbol now; ``effects`` take note of what cannot be computed."""
    budget = state.budget
    worst_case = attempt(state, effects, _EXPOSURE, lambda: _worst_case(state), lambda: None)
    return AccountSituation(
        now_mono_ns=state.now_mono_ns,
        kill_switch_active=state.kill_switch_active,
        fsm_state=state.fsm.state,
        inputs_not_live=state.inputs_not_live,
        drawdown=state.drawdown_now,
        worst_case_notional=worst_case,
        risk_orders_this_run=budget.risk_orders_this_run,
        orders_left_10s=budget.orders_left_10s,
        orders_left_1m=budget.orders_left_1m,
        loss_breached=state.loss_breached,
    )


def _worst_case(state: EngineState) -> Decimal | None:
    """Return the account's worst case; only where a cap asks for it, for it costs a product per symbol."""
    if state.config.guards.max_position_usd is None:
        return None
    total = ZERO
    for symbol in state.symbols.values():
        worst = worst_case_notional(symbol.position_qty, symbol.working, symbol.mark_price)
        if worst is None:
            return None
        total += worst
    return total


def route_limits(state: EngineState) -> RouteLimits:
    """Return the router's budgets; an unknown one is left to the gate chain, which names it."""
    budget, limits = state.budget, state.config.guards
    left_10s, left_1m = budget.orders_left_10s, budget.orders_left_1m
    breached = state.drawdown_now is not None and state.drawdown_now >= limits.drawdown_limit
    if left_10s is None or left_1m is None:
        return RouteLimits(_PLENTY, _PLENTY, breached)
    free = min(left_10s - limits.reserve_10s, left_1m - limits.reserve_1m)
    return RouteLimits(free, min(left_10s, left_1m), breached)

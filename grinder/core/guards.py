"""The gate chain: may this action become an order? Every gate is asked, and every reason for a no is kept.

One table, in the reference's order and then what the field requires beyond it. A gate is a named function that says
whether it blocks, and a set of the intents that it may block. Must never raise on numbers: arithmetic that cannot be
carried out blocks INCREASE_RISK, with the reason of the gate that needed it, and nothing else.

Invariants, asserted below: no gate blocks CANCEL; only a read-only mode, the permission matrix (for an order without
the reduce-only flag), an ill-formed order and an identical order that was just refused block REDUCE_RISK: no budget,
cap, model, arming or latch does. An input that is unknown blocks INCREASE_RISK.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.exposure import Working, classify, worst_case_notional
from grinder.core.fsm import permits
from grinder.core.situation import (
    AccountSituation,
    Approved,
    Denied,
    GuardLimits,
    Proposal,
    SymbolSituation,
    Verdict,
)
from grinder.model.control import RiskIntent, TradingMode
from grinder.model.instrument import TRADING
from grinder.model.orders import BUY, Amend, Cancel, Place
from grinder.model.reasons import BlockReason
from grinder.model.units import BPS, NS_PER_MS, ZERO


class Case(msgspec.Struct, frozen=True, gc=False):
    """What a gate sees: the order, what it does to exposure, and the situation."""

    order: Place | Amend
    intent: RiskIntent
    reduce_only: bool
    notional: Decimal
    proposal: Proposal
    limits: GuardLimits
    account: AccountSituation
    symbol: SymbolSituation


def judge(proposal: Proposal, limits: GuardLimits, account: AccountSituation, symbol: SymbolSituation) -> Verdict:
    """Ask every gate about one action.

    Args:
        proposal: the action and the models' opinions.
        limits: what the operator allows.
        account: what is true for every symbol now.
        symbol: what is true for the action's symbol now, orders approved earlier in this step included.

    Returns:
        Approved, or Denied with every reason. The cost does not depend on how much happened before.
    """
    action = proposal.action
    assert action.symbol == symbol.symbol
    if isinstance(action, Cancel):
        return _APPROVED[RiskIntent.CANCEL]
    amended = proposal.amended
    try:
        intent = classify(action, symbol.position_qty, symbol.working, amended)
    except ArithmeticError:
        intent = RiskIntent.INCREASE_RISK
    try:
        notional = action.price * action.qty
    except ArithmeticError:
        notional = _BEYOND_EVERY_CAP
    reduce_only = action.reduce_only if isinstance(action, Place) else amended is not None and amended.reduce_only
    case = Case(action, intent, reduce_only, notional, proposal, limits, account, symbol)
    gates = GATES_OF[intent]
    try:
        reasons = [gate.reason for gate in gates if gate.blocks(case)]
    except ArithmeticError:
        # Asked again one by one, so that only those that cannot tell count as blocking.
        reasons = [gate.reason for gate in gates if _says_no(gate, case)]
    return Denied(intent, tuple(reasons)) if reasons else _APPROVED[intent]


_APPROVED: Final = {intent: Approved(intent) for intent in RiskIntent}
_BEYOND_EVERY_CAP: Final = Decimal("Infinity")
_READ_ONLY: Final = TradingMode.READ_ONLY


def _says_no(gate: Gate, case: Case) -> bool:
    try:
        return gate.blocks(case)
    except ArithmeticError:
        return case.intent is RiskIntent.INCREASE_RISK


def _not_armed(case: Case) -> bool:
    return not case.limits.armed


def _mode_sends_nothing(case: Case) -> bool:
    return case.limits.mode is _READ_ONLY


def _kill_switch(case: Case) -> bool:
    return case.account.kill_switch_active


def _not_whitelisted(case: Case) -> bool:
    return case.symbol.symbol not in case.limits.symbols


def _max_position(case: Case) -> bool:
    """Compare the cap with the account's worst case if this order and every working one fill."""
    cap = case.limits.max_position_usd
    if cap is None:
        return False
    symbol, order = case.symbol, case.order
    working, mark = symbol.working, symbol.mark_price
    before = worst_case_notional(symbol.position_qty, working, mark)
    replaced = case.proposal.amended.remaining_qty if case.proposal.amended is not None else ZERO
    added = order.qty - replaced
    if order.side is BUY:
        after_working = Working(buy_qty=working.buy_qty + added, sell_qty=working.sell_qty)
    else:
        after_working = Working(buy_qty=working.buy_qty, sell_qty=working.sell_qty + added)
    after = worst_case_notional(symbol.position_qty, after_working, mark)
    total = case.account.worst_case_notional
    if total is None or before is None or after is None:
        return True
    # A sum that is older than this symbol's share must not pay for it with the other symbols'.
    return max(total - before, ZERO) + after > cap


def _drawdown(case: Case) -> bool:
    """Compare with the limit; a drawdown that is not known yet is an input that is not live, and blocks as such."""
    drawdown = case.account.drawdown
    if drawdown is not None and not 0.0 <= drawdown < case.limits.drawdown_limit:
        return True
    return case.symbol.symbol in case.account.loss_breached


def _fsm_state(case: Case) -> bool:
    return not case.reduce_only and not permits(case.account.fsm_state, case.intent)


def _fill_prob(case: Case) -> bool:
    if not case.limits.fill_prob_enforced:
        return False
    probability_bps = case.proposal.fill_prob_bps
    return probability_bps is None or probability_bps < case.limits.fill_prob_min_bps


def _router(case: Case) -> bool:
    return case.proposal.router_blocked


def _input_not_live(case: Case) -> bool:
    account = case.account
    return bool(account.inputs_not_live) or account.drawdown is None or case.symbol.position_qty is None


def _symbol_stale(case: Case) -> bool:
    return case.symbol.stale


def _symbol_not_trading(case: Case) -> bool:
    instrument = case.symbol.instrument
    return instrument is None or instrument.status != TRADING


def _price_collar(case: Case) -> bool:
    """Compare the price with the mark and with the middle of the last book; one that is unknown blocks."""
    symbol, price = case.symbol, case.order.price
    mark, bid, ask = symbol.mark_price, symbol.bid_price, symbol.ask_price
    if mark is None or bid is None or ask is None:
        return True
    collar_bps = case.limits.price_collar_bps
    if abs(price - mark) * BPS > collar_bps * mark:
        return True
    both = bid + ask
    return abs(price + price - both) * BPS > collar_bps * both


def _percent_price(case: Case) -> bool:
    """Apply the venue's PERCENT_PRICE filter: a buy not above, a sell not below its multiple of the mark."""
    instrument, mark = case.symbol.instrument, case.symbol.mark_price
    if instrument is None or mark is None:
        return case.intent is RiskIntent.INCREASE_RISK
    if case.order.side is BUY:
        return case.order.price > mark * instrument.percent_price_up
    return case.order.price < mark * instrument.percent_price_down


def _tick_size(case: Case) -> bool:
    """Apply the venue's PRICE_FILTER: a multiple of the tick, within the bounds that are not 0."""
    instrument, price = case.symbol.instrument, case.order.price
    if instrument is None:
        return False
    if price < instrument.min_price or ZERO < instrument.max_price < price:
        return True
    return price % instrument.tick_size != ZERO


def _step_size(case: Case) -> bool:
    instrument = case.symbol.instrument
    return instrument is not None and case.order.qty % instrument.step_size != ZERO


def _qty_range(case: Case) -> bool:
    instrument = case.symbol.instrument
    return instrument is not None and not instrument.min_qty <= case.order.qty <= instrument.max_qty


def _min_notional(case: Case) -> bool:
    """Apply the venue's MIN_NOTIONAL filter, from which reduce-only orders are exempt."""
    instrument = case.symbol.instrument
    return instrument is not None and not case.reduce_only and case.notional < instrument.min_notional


def _max_notional(case: Case) -> bool:
    return case.notional > case.limits.max_notional_per_order


def _max_orders(case: Case) -> bool:
    if isinstance(case.order, Amend):
        return False
    placed = case.account.risk_orders_this_run
    return placed is None or placed >= case.limits.max_orders_per_run


def _open_orders(case: Case) -> bool:
    if isinstance(case.order, Amend):
        return False
    count, instrument = case.symbol.working.count, case.symbol.instrument
    if count >= case.limits.open_orders_max:
        return True
    return instrument is not None and count >= instrument.open_orders_max


def _order_rate(case: Case) -> bool:
    left_10s, left_1m = case.account.orders_left_10s, case.account.orders_left_1m
    if left_10s is None or left_1m is None:
        return True
    return left_10s <= case.limits.reserve_10s or left_1m <= case.limits.reserve_1m


def _duplicate(case: Case) -> bool:
    order, working, amended = case.order, case.symbol.working, case.proposal.amended
    if isinstance(order, Place):
        return order.client_order_id in working.ids or (order.side, order.price) in working.risk_prices
    moved = amended is None or order.price != amended.price
    return moved and (order.side, order.price) in working.risk_prices


def _self_cross(case: Case) -> bool:
    order, working = case.order, case.symbol.working
    if order.side is BUY:
        return working.sell_price_min is not None and order.price >= working.sell_price_min
    return working.buy_price_max is not None and order.price <= working.buy_price_max


def _repeated_execution(case: Case) -> bool:
    return case.symbol.executions_recent >= case.limits.executions_max


def _reject_loop(case: Case) -> bool:
    """Hold back after identical refusals: new risk for long, a reducing order only to a harmless pace."""
    symbol, limits = case.symbol, case.limits
    if symbol.reject_streak < limits.reject_streak_max:
        return False
    wait_ms = limits.reject_pause_ms if case.intent is RiskIntent.INCREASE_RISK else limits.reject_pace_ms
    return case.account.now_mono_ns - symbol.reject_mono_ns < wait_ms * NS_PER_MS


class Gate(msgspec.Struct, frozen=True):
    """One row of the chain: the reason it gives, the intents it may block, and whether it does."""

    reason: BlockReason
    intents: frozenset[RiskIntent]
    blocks: Callable[[Case], bool]


_RISK: Final = frozenset({RiskIntent.INCREASE_RISK})
_ORDERS: Final = frozenset({RiskIntent.INCREASE_RISK, RiskIntent.REDUCE_RISK})
_B = BlockReason

GATES: Final[tuple[Gate, ...]] = (
    Gate(_B.NOT_ARMED, _RISK, _not_armed),
    Gate(_B.MODE_NOT_LIVE_TRADE, _ORDERS, _mode_sends_nothing),
    Gate(_B.KILL_SWITCH_ACTIVE, _RISK, _kill_switch),
    Gate(_B.SYMBOL_NOT_WHITELISTED, _RISK, _not_whitelisted),
    Gate(_B.MAX_POSITION_EXCEEDED, _RISK, _max_position),
    Gate(_B.DRAWDOWN_BLOCKED, _RISK, _drawdown),
    Gate(_B.FSM_STATE_BLOCKED, _ORDERS, _fsm_state),
    Gate(_B.FILL_PROB_LOW, _RISK, _fill_prob),
    Gate(_B.ROUTER_BLOCKED, _RISK, _router),
    Gate(_B.INPUT_NOT_LIVE, _RISK, _input_not_live),
    Gate(_B.SYMBOL_STALE, _RISK, _symbol_stale),
    Gate(_B.SYMBOL_NOT_TRADING, _RISK, _symbol_not_trading),
    Gate(_B.PRICE_COLLAR, _RISK, _price_collar),
    Gate(_B.PERCENT_PRICE, _ORDERS, _percent_price),
    Gate(_B.TICK_SIZE, _ORDERS, _tick_size),
    Gate(_B.STEP_SIZE, _ORDERS, _step_size),
    Gate(_B.QTY_RANGE, _ORDERS, _qty_range),
    Gate(_B.MIN_NOTIONAL, _ORDERS, _min_notional),
    Gate(_B.MAX_NOTIONAL_PER_ORDER, _RISK, _max_notional),
    Gate(_B.MAX_ORDERS_PER_RUN, _RISK, _max_orders),
    Gate(_B.OPEN_ORDER_COUNT, _RISK, _open_orders),
    Gate(_B.ORDER_RATE, _RISK, _order_rate),
    Gate(_B.DUPLICATE_ORDER, _RISK, _duplicate),
    Gate(_B.SELF_CROSS, _RISK, _self_cross),
    Gate(_B.REPEATED_EXECUTION, _RISK, _repeated_execution),
    Gate(_B.REJECT_LOOP, _ORDERS, _reject_loop),
)
"""The chain. A formal filter blocks a reducing order too, for the venue would refuse it for certain."""

GATES_OF: Final = {intent: tuple(gate for gate in GATES if intent in gate.intents) for intent in RiskIntent}
"""The gates that may block an intent, in order."""

assert tuple(gate.reason for gate in GATES) == tuple(BlockReason)
assert GATES_OF[RiskIntent.CANCEL] == ()
assert {gate.reason for gate in GATES_OF[RiskIntent.REDUCE_RISK]} == {
    _B.MODE_NOT_LIVE_TRADE,
    _B.FSM_STATE_BLOCKED,
    _B.PERCENT_PRICE,
    _B.TICK_SIZE,
    _B.STEP_SIZE,
    _B.QTY_RANGE,
    _B.MIN_NOTIONAL,
    _B.REJECT_LOOP,
}

"""Each gate of the fsm's chain beside its twin, the executor's interlock that asks the same question of its own facts.

Where one side has none, the row says why. A table for people and tests: nothing decides by it.
"""

from __future__ import annotations

from typing import Final

from grinder.model.reasons import BlockReason, DenyReason

_B, _D = BlockReason, DenyReason

TWINS: Final[dict[BlockReason, tuple[DenyReason, ...]]] = {
    _B.NOT_ARMED: (_D.NOT_ARMED,),
    _B.MODE_NOT_LIVE_TRADE: (_D.MODE_NOT_LIVE_TRADE, _D.PORT_NOOP),
    _B.KILL_SWITCH_ACTIVE: (_D.KILL_SWITCH_ACTIVE,),
    _B.SYMBOL_NOT_WHITELISTED: (_D.SYMBOL_NOT_WHITELISTED,),
    _B.MAX_POSITION_EXCEEDED: (_D.MAX_POSITION_EXCEEDED,),
    _B.DRAWDOWN_BLOCKED: (_D.KILL_SWITCH_ACTIVE, _D.FSM_STATE_BLOCKED),
    _B.FSM_STATE_BLOCKED: (_D.FSM_STATE_BLOCKED, _D.OPERATOR_OVERRIDE),
    _B.INPUT_NOT_LIVE: (_D.NOT_RECONCILED, _D.VENUE_DISCONNECTED, _D.CLOCK_UNKNOWN, _D.FSM_STATE_BLOCKED),
    _B.SYMBOL_STALE: (_D.PRICE_COLLAR,),
    _B.SYMBOL_NOT_TRADING: (_D.FILTER,),
    _B.PRICE_COLLAR: (_D.PRICE_COLLAR,),
    _B.TICK_SIZE: (_D.FILTER,),
    _B.STEP_SIZE: (_D.FILTER,),
    _B.QTY_RANGE: (_D.FILTER,),
    _B.MIN_NOTIONAL: (_D.FILTER,),
    _B.MAX_NOTIONAL_PER_ORDER: (_D.MAX_NOTIONAL_PER_ORDER,),
    _B.MAX_ORDERS_PER_RUN: (_D.MAX_ORDERS_PER_RUN,),
    _B.OPEN_ORDER_COUNT: (_D.MAX_OPEN_ORDERS,),
    _B.ORDER_RATE: (_D.RATE_LIMIT,),
    _B.DUPLICATE_ORDER: (_D.DUPLICATE_ID,),
}
"""The interlocks that say no where the gate does, at latest a board word or a snapshot later."""

IN_PART: Final[dict[BlockReason, str]] = {
    _B.DRAWDOWN_BLOCKED: "the account's drawdown and the day's loss reach the executor as a trip or a state; a "
    "symbol's own budget is counted by the fsm alone, for only it knows what each trade was for",
    _B.INPUT_NOT_LIVE: "features and toxicity are the fsm's own; while it beats, its word on them counts",
    _B.SYMBOL_STALE: "the collar wants one fresh reference, book or mark; the gate wants both",
}
"""Gates of whose causes the twins do not ask about every one, and why. The caps on size bind either way."""

GATES_ALONE: Final[dict[BlockReason, str]] = {
    _B.FILL_PROB_LOW: "a model's opinion of profit, not of safety; without a model the gate itself fails closed",
    _B.ROUTER_BLOCKED: "the router is a part of the fsm; what it must not let pass, the filters above stop again",
    _B.PERCENT_PRICE: "the executor's collar bounds the same distance; where the venue's own is narrower, it refuses",
    _B.SELF_CROSS: "entries are post-only: the venue refuses one that would trade at once, against us or anybody",
    _B.REPEATED_EXECUTION: "a pace of the strategy; the executor's bounds are orders per run and the order rate",
    _B.REJECT_LOOP: "the tenth identical refusal trips the kill switch, which the executor obeys",
}
"""Gates without a twin, and why."""

INTERLOCKS_ALONE: Final[dict[DenyReason, str]] = {
    _D.NOT_LEADER: "only the process that orders proves that this host leads",
    _D.PERMIT_EXPIRED: "as NOT_LEADER: the permit is a matter of the last moment",
    _D.LEASE_EXPIRED: "on a host that may no longer lead not even what protects may leave: its successor does it, and "
    "the venue's dead-man's switch",
    _D.DEADLINE_PASSED: "how old an intent is when it arrives, only its receiver knows",
    _D.STALE_TERM: "an intent of a former start or leader; the fsm knows its own only",
    _D.ORDER_UNRESOLVED: "whether asking the venue about an order has helped, only the executor knows; for the fsm the "
    "order counts as alive at its larger size",
    _D.UNKNOWN_ORDER: "an order that ended while the command was on its way",
    _D.ORDER_BUSY: "an order that the executor is asking about by itself",
    _D.JOURNAL_FAILED: "the outcome of the write that comes before the send",
    _D.STOPPING: "the executor's own stop",
}
"""Interlocks that are no gate's twin, and why."""

assert set(TWINS) | set(GATES_ALONE) == set(BlockReason)
assert not set(TWINS) & set(GATES_ALONE)
assert set(IN_PART) <= set(TWINS)
assert {twin for twins in TWINS.values() for twin in twins} | set(INTERLOCKS_ALONE) == set(DenyReason)

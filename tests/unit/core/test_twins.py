"""The gate chain and the interlocks side by side: for one cause both say no, each from facts of its own."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from grinder.core.exposure import Working
from grinder.core.guards import GATES
from grinder.core.interlocks import RISK, TABLE, Command, deny
from grinder.core.situation import Denied
from grinder.model.control import ExchangePort, FsmState, RiskIntent, TradingMode
from grinder.model.reasons import BlockReason, DenyReason
from grinder.model.twins import GATES_ALONE, IN_PART, INTERLOCKS_ALONE, TWINS
from grinder.model.units import NS_PER_S
from tests.engine_world import instrument
from tests.gate_world import INSTRUMENT, D, ask, place
from tests.unit.core.test_interlocks import ASK, FACTS, LIMITS, MARK, NOW

B, R = BlockReason, DenyReason
Changes = dict[str, dict[str, object]]
PAUSED = list(FsmState).index(FsmState.PAUSED) + 1
IDENTITY = {R.DUPLICATE_ID}
"""An id is used once, by whatever order: the only twin that binds more than its gate."""

CAUSES: tuple[tuple[BlockReason, Changes, DenyReason, Changes], ...] = (
    (B.NOT_ARMED, {"limits": {"armed": False}}, R.NOT_ARMED, {"limits": {"armed": False}}),
    (
        B.MODE_NOT_LIVE_TRADE,
        {"limits": {"mode": TradingMode.READ_ONLY}},
        R.MODE_NOT_LIVE_TRADE,
        {"limits": {"mode": TradingMode.READ_ONLY}},
    ),
    (
        B.MODE_NOT_LIVE_TRADE,
        {"limits": {"mode": TradingMode.READ_ONLY}},
        R.PORT_NOOP,
        {"limits": {"port": ExchangePort.NOOP}},
    ),
    (
        B.KILL_SWITCH_ACTIVE,
        {"account": {"kill_switch_active": True}},
        R.KILL_SWITCH_ACTIVE,
        {"facts": {"trips": (0, 1, 0, 0, 0, 0)}},
    ),
    (
        B.SYMBOL_NOT_WHITELISTED,
        {"limits": {"symbols": frozenset()}},
        R.SYMBOL_NOT_WHITELISTED,
        {"limits": {"symbols": frozenset()}},
    ),
    (
        B.DRAWDOWN_BLOCKED,
        {"account": {"drawdown": 0.2}},
        R.KILL_SWITCH_ACTIVE,
        {"facts": {"trips": (0, 2, 0, 0, 0, 0)}},
    ),
    (B.DRAWDOWN_BLOCKED, {"account": {"drawdown": 0.2}}, R.FSM_STATE_BLOCKED, {"facts": {"fsm_state": PAUSED}}),
    (
        B.FSM_STATE_BLOCKED,
        {"account": {"fsm_state": FsmState.PAUSED}},
        R.FSM_STATE_BLOCKED,
        {"facts": {"fsm_state": PAUSED}},
    ),
    (
        B.FSM_STATE_BLOCKED,
        {"account": {"fsm_state": FsmState.PAUSED}},
        R.OPERATOR_OVERRIDE,
        {"facts": {"override": (1 << 8) | 1}},
    ),
    (
        B.INPUT_NOT_LIVE,
        {"account": {"inputs_not_live": ("account_snapshot",)}},
        R.NOT_RECONCILED,
        {"facts": {"not_reconciled": "account snapshot is old"}},
    ),
    (
        B.INPUT_NOT_LIVE,
        {"account": {"inputs_not_live": ("executor",)}},
        R.VENUE_DISCONNECTED,
        {"facts": {"connected": False}},
    ),
    (
        B.INPUT_NOT_LIVE,
        {"account": {"inputs_not_live": ("account",)}},
        R.CLOCK_UNKNOWN,
        {"facts": {"clock_checked_mono_ns": 0}},
    ),
    (B.INPUT_NOT_LIVE, {"account": {"drawdown": None}}, R.FSM_STATE_BLOCKED, {"facts": {"fsm_state": 0}}),
    (
        B.SYMBOL_STALE,
        {"symbol": {"stale": True}},
        R.PRICE_COLLAR,
        {"facts": {"mark": replace(MARK, recv_mono_ns=NOW - 6 * NS_PER_S)}},
    ),
    (
        B.SYMBOL_NOT_TRADING,
        {"symbol": {"instrument": replace(INSTRUMENT, status="BREAK")}},
        R.FILTER,
        {"facts": {"instrument": replace(instrument("BTCUSDT"), status="BREAK")}},
    ),
    (B.PRICE_COLLAR, {"limits": {"price_collar_bps": D(9)}}, R.PRICE_COLLAR, {"ask": {"price": D(94)}}),
    (B.TICK_SIZE, {"order": {"price": D("999.05")}}, R.FILTER, {"ask": {"price": D("99.01")}}),
    (B.STEP_SIZE, {"order": {"qty": D("0.0505")}}, R.FILTER, {"ask": {"qty": D("1.0001")}}),
    (
        B.QTY_RANGE,
        {"order": {"qty": D(2_000)}},
        R.FILTER,
        {"ask": {"qty": D(2_000)}, "limits": {"max_notional_per_order": D(10**9)}},
    ),
    (B.MIN_NOTIONAL, {"order": {"qty": D("0.001")}}, R.FILTER, {"ask": {"qty": D("0.001")}}),
    (
        B.MAX_NOTIONAL_PER_ORDER,
        {"limits": {"max_notional_per_order": D(49)}},
        R.MAX_NOTIONAL_PER_ORDER,
        {"limits": {"max_notional_per_order": D(49)}},
    ),
    (
        B.MAX_POSITION_EXCEEDED,
        {"limits": {"max_position_usd": D("49.99")}},
        R.MAX_POSITION_EXCEEDED,
        {"facts": {"reach_usd": D("500.01")}},
    ),
    (
        B.MAX_ORDERS_PER_RUN,
        {"account": {"risk_orders_this_run": 10}},
        R.MAX_ORDERS_PER_RUN,
        {"facts": {"risk_orders_this_run": 10}},
    ),
    (
        B.OPEN_ORDER_COUNT,
        {"symbol": {"working": Working(count=200)}},
        R.MAX_OPEN_ORDERS,
        {"facts": {"orders_of_symbol": 200}},
    ),
    (B.ORDER_RATE, {"account": {"orders_left_10s": 60}}, R.RATE_LIMIT, {"facts": {"orders_left": 60}}),
    (
        B.DUPLICATE_ORDER,
        {"symbol": {"working": Working(ids=frozenset({"grd-0-1-b1"}))}},
        R.DUPLICATE_ID,
        {"ask": {"seen": True}},
    ),
)


@pytest.mark.parametrize(("gate", "ours", "twin", "theirs"), CAUSES, ids=str)
def test_twins_when_one_cause_comes_to_both_then_both_say_no_to_new_risk(
    gate: BlockReason, ours: Changes, twin: DenyReason, theirs: Changes
) -> None:
    order = place(**ours.get("order", {}))
    verdict = ask(order, **{part: changes for part, changes in ours.items() if part != "order"})
    assert isinstance(verdict, Denied)
    assert gate in verdict.reasons
    facts, limits = replace(FACTS, **theirs.get("facts", {})), replace(LIMITS, **theirs.get("limits", {}))
    assert deny(replace(ASK, **theirs.get("ask", {})), facts, limits) is twin
    assert deny(ASK, FACTS, LIMITS) is None


def test_causes_when_compared_with_the_table_then_every_pair_has_one() -> None:
    pairs = {(gate, twin) for gate, twins in TWINS.items() for twin in twins}
    assert {(gate, twin) for gate, _, twin, _ in CAUSES} == pairs


def test_table_when_compared_with_both_sides_then_each_gate_and_each_interlock_has_a_twin_or_a_reason() -> None:
    assert set(TWINS) | set(GATES_ALONE) == {gate.reason for gate in GATES}
    twins = {twin for twins in TWINS.values() for twin in twins}
    assert twins | set(INTERLOCKS_ALONE) == {reason for reason, _, _ in TABLE} | {R.JOURNAL_FAILED}
    assert all(len(why) > 20 for why in (*GATES_ALONE.values(), *IN_PART.values(), *INTERLOCKS_ALONE.values()))


@pytest.mark.parametrize("gate", [gate for gate in GATES if gate.reason in TWINS], ids=lambda gate: gate.reason)
def test_twin_when_its_gate_lets_protection_pass_then_so_does_it(gate: object) -> None:
    (row,) = [each for each in GATES if each is gate]
    if RiskIntent.REDUCE_RISK in row.intents:
        return
    for reason, commands, _ in TABLE:
        if reason in TWINS[row.reason] and reason not in IDENTITY:
            assert commands <= RISK
            assert Command.CANCEL not in commands

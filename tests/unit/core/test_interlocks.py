"""Every deny reason reached, by the commands it binds and by no other."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.interlocks import (
    AMENDS,
    PLACES,
    RISK,
    SLEPT_NS_MAX,
    TABLE,
    Ask,
    Command,
    Facts,
    Limits,
    deny,
    forbidden,
    override_of,
    state_of,
)
from grinder.core.orders import Order
from grinder.model.control import ExchangePort, FsmState, Override, TradingMode
from grinder.model.limits import ORDERS_TRACKED_MAX
from grinder.model.orders import OrderKind, OrderState, Side
from grinder.model.reasons import DenyReason
from grinder.model.units import NS_PER_MS, NS_PER_S
from tests.engine_world import instrument
from tests.market import make_mark, make_top

D = Decimal
NOW = 1_000 * NS_PER_S
R = DenyReason
ORDER = Order("grd-0-1-b1", "BTCUSDT", Side.BUY, OrderKind.GRID, OrderState.OPEN, D(99), D(1), False, "")
RESTING = frozenset({Command.CANCEL, *AMENDS})
LIMITS = Limits(
    armed=True,
    mode=TradingMode.LIVE_TRADE,
    port=ExchangePort.FUTURES,
    symbols=frozenset({"BTCUSDT"}),
    max_notional_per_order=D(500),
    max_orders_per_run=10,
    ha_enabled=True,
    max_position_usd=D(500),
)
MARK = msgspec.structs.replace(make_mark(1, mono_ns=NOW), mark_price=D(100))
FACTS = Facts(
    now_mono_ns=NOW,
    now_boot_ns=NOW,
    trips=(0, 0, 0, 0, 0, 0),
    override=0,
    cluster_override=0,
    fsm_state=list(FsmState).index(FsmState.ACTIVE) + 1,
    fsm_beat_mono_ns=NOW,
    role=2,
    term=3,
    risk_deadline_boot_ns=NOW + 1,
    lead_deadline_boot_ns=NOW + 1,
    clock_checked_mono_ns=NOW,
    slept_ns=0,
    clock_error_us=1_000,
    not_reconciled="",
    symbol_unresolved=False,
    connected=True,
    stopping=False,
    instrument=instrument("BTCUSDT"),
    mark=MARK,
    book=None,
    orders_of_symbol=3,
    orders_tracked=3,
    orders_left=200,
    risk_orders_this_run=9,
    intents_incarnation=5,
    reach_usd=D(500),
)
ASK = Ask(Command.PLACE_RISK, "grd-0-1-b1", "BTCUSDT", D(99), D(1), NOW, 3, 5, False, None)

ASK_CASES: tuple[tuple[DenyReason, frozenset[Command], dict[str, object]], ...] = (
    (R.DUPLICATE_ID, PLACES, {"seen": True}),
    (R.STALE_TERM, PLACES | RISK, {"term": 2}),
    (R.STALE_TERM, PLACES | RISK, {"term": 4}),
    (R.STALE_TERM, RISK, {"incarnation": 4}),
    (R.DEADLINE_PASSED, RISK, {"deadline_mono_ns": NOW - 1}),
    (R.SYMBOL_NOT_WHITELISTED, RISK, {"symbol": "XRPUSDT", "order": msgspec.structs.replace(ORDER, symbol="XRPUSDT")}),
    (R.MAX_NOTIONAL_PER_ORDER, RISK, {"qty": D("5.051")}),
    (R.FILTER, RISK, {"price": D("99.01")}),
    (R.FILTER, RISK, {"qty": D("1.0001")}),
    (R.FILTER, RISK, {"qty": D("0.001")}),
    (R.PRICE_COLLAR, RISK, {"price": D(94)}),
    (R.PRICE_COLLAR, RISK, {"price": D(106)}),
    (R.UNKNOWN_ORDER, RESTING, {"order": None}),
    (R.UNKNOWN_ORDER, RESTING, {"order": msgspec.structs.replace(ORDER, state=OrderState.FILLED)}),
    (R.ORDER_BUSY, RESTING, {"order": msgspec.structs.replace(ORDER, state=OrderState.PENDING_CANCEL)}),
    (R.ORDER_BUSY, AMENDS, {"order": msgspec.structs.replace(ORDER, state=OrderState.IN_DOUBT)}),
)
FACT_CASES: tuple[tuple[DenyReason, frozenset[Command], dict[str, object]], ...] = (
    (R.STOPPING, PLACES | AMENDS, {"stopping": True}),
    (R.KILL_SWITCH_ACTIVE, RISK, {"trips": (0, 0, 0, 0, 0, 1)}),
    (R.OPERATOR_OVERRIDE, RISK, {"override": (4 << 8) | 1}),
    (R.OPERATOR_OVERRIDE, RISK, {"override": (4 << 8) | 77}),
    (R.OPERATOR_OVERRIDE, RISK, {"cluster_override": 1}),
    (R.OPERATOR_OVERRIDE, RISK, {"cluster_override": (4 << 8) | 77}),
    (R.FSM_STATE_BLOCKED, RISK, {"fsm_state": 0}),
    (R.FSM_STATE_BLOCKED, RISK, {"fsm_state": 99}),
    (R.FSM_STATE_BLOCKED, RISK, {"fsm_state": list(FsmState).index(FsmState.PAUSED) + 1}),
    (R.FSM_STATE_BLOCKED, RISK, {"fsm_beat_mono_ns": NOW - 2_001 * NS_PER_MS}),
    (R.PERMIT_EXPIRED, RISK, {"risk_deadline_boot_ns": NOW}),
    (R.NOT_RECONCILED, RISK, {"not_reconciled": "no account snapshot yet"}),
    (R.ORDER_UNRESOLVED, RISK, {"symbol_unresolved": True}),
    (R.VENUE_DISCONNECTED, RISK, {"connected": False}),
    (R.CLOCK_UNKNOWN, RISK, {"clock_checked_mono_ns": 0}),
    (R.CLOCK_UNKNOWN, RISK, {"clock_checked_mono_ns": NOW - 61 * NS_PER_S}),
    (R.CLOCK_UNKNOWN, RISK, {"clock_error_us": 250_001}),
    (R.CLOCK_UNKNOWN, RISK, {"slept_ns": SLEPT_NS_MAX + 1}),
    (R.MAX_POSITION_EXCEEDED, RISK, {"reach_usd": D("500.01")}),
    (R.MAX_POSITION_EXCEEDED, RISK, {"reach_usd": None}),
    (R.MAX_ORDERS_PER_RUN, frozenset({Command.PLACE_RISK}), {"risk_orders_this_run": 10}),
    (R.MAX_OPEN_ORDERS, frozenset({Command.PLACE_RISK}), {"orders_of_symbol": 200}),
    (R.MAX_OPEN_ORDERS, frozenset({Command.PLACE_RISK}), {"orders_tracked": ORDERS_TRACKED_MAX}),
    (R.RATE_LIMIT, RISK, {"orders_left": 60}),
    (R.FILTER, RISK, {"instrument": None}),
    (R.FILTER, RISK, {"instrument": msgspec.structs.replace(instrument("BTCUSDT"), status="BREAK")}),
    (R.PRICE_COLLAR, RISK, {"mark": None}),
    (R.PRICE_COLLAR, RISK, {"mark": msgspec.structs.replace(MARK, recv_mono_ns=NOW - 6 * NS_PER_S)}),
)
NO_LEAD_CASES: tuple[tuple[DenyReason, dict[str, object]], ...] = (
    (R.NOT_LEADER, {"role": 0}),
    (R.NOT_LEADER, {"role": 1}),
    (R.NOT_LEADER, {"role": 9}),
    (R.NOT_LEADER, {"term": 0}),
    (R.PERMIT_EXPIRED, {"lead_deadline_boot_ns": NOW}),
    (R.PERMIT_EXPIRED, {"lead_deadline_boot_ns": 0}),
)
"""The reason of new risk; everything that only protects is denied too, with LEASE_EXPIRED."""
LIMIT_CASES: tuple[tuple[DenyReason, frozenset[Command], dict[str, object]], ...] = (
    (R.NOT_ARMED, RISK, {"armed": False}),
    (R.MAX_POSITION_EXCEEDED, RISK, {"max_position_usd": D(499)}),
    (R.MODE_NOT_LIVE_TRADE, PLACES | AMENDS, {"mode": TradingMode.READ_ONLY}),
    (R.PORT_NOOP, PLACES | AMENDS, {"port": ExchangePort.NOOP}),
)


def ask_for(command: Command) -> Ask:
    order = ORDER if command in RESTING else None
    return msgspec.structs.replace(ASK, command=command, order=order)


@pytest.mark.parametrize("command", Command)
def test_deny_when_everything_is_right_then_nothing(command: Command) -> None:
    assert deny(ask_for(command), FACTS, LIMITS) is None


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize(("reason", "binds", "change"), ASK_CASES)
def test_deny_when_the_command_is_wrong_then_its_reason(
    command: Command, reason: DenyReason, binds: frozenset[Command], change: dict[str, object]
) -> None:
    if "order" in change and command not in RESTING:
        change = {name: value for name, value in change.items() if name != "order"}
    ask = msgspec.structs.replace(ask_for(command), **change)
    assert deny(ask, FACTS, LIMITS) is (reason if command in binds else None)


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize(("reason", "binds", "change"), FACT_CASES)
def test_deny_when_a_fact_forbids_then_its_reason(
    command: Command, reason: DenyReason, binds: frozenset[Command], change: dict[str, object]
) -> None:
    facts = msgspec.structs.replace(FACTS, **change)
    assert deny(ask_for(command), facts, LIMITS) is (reason if command in binds else None)


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize(("reason", "change"), NO_LEAD_CASES)
def test_deny_when_another_host_may_lead_then_nothing_passes(
    command: Command, reason: DenyReason, change: dict[str, object]
) -> None:
    facts = msgspec.structs.replace(FACTS, **change)
    ask = msgspec.structs.replace(ask_for(command), term=facts.term)
    assert deny(ask, facts, LIMITS) is (reason if command in RISK else R.LEASE_EXPIRED)


@pytest.mark.parametrize("command", sorted(set(Command) - RISK))
def test_deny_when_the_host_is_alone_then_no_lease_binds_what_protects(command: Command) -> None:
    alone = msgspec.structs.replace(LIMITS, ha_enabled=False)
    facts = msgspec.structs.replace(FACTS, role=0, term=0, lead_deadline_boot_ns=0, risk_deadline_boot_ns=0)
    assert deny(ask_for(command), facts, alone) is None


def test_forbidden_when_the_lead_is_lost_then_the_entry_is_left_to_the_successor() -> None:
    tripped = msgspec.structs.replace(FACTS, trips=(1, 0, 0, 0, 0, 0))
    assert forbidden(ASK, tripped, LIMITS) is R.KILL_SWITCH_ACTIVE
    lost = msgspec.structs.replace(tripped, lead_deadline_boot_ns=NOW)
    assert forbidden(ASK, lost, LIMITS) is None
    assert forbidden(ASK, lost, msgspec.structs.replace(LIMITS, ha_enabled=False)) is R.KILL_SWITCH_ACTIVE


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize(("reason", "binds", "change"), LIMIT_CASES)
def test_deny_when_a_setting_forbids_then_its_reason(
    command: Command, reason: DenyReason, binds: frozenset[Command], change: dict[str, object]
) -> None:
    limits = msgspec.structs.replace(LIMITS, **change)
    assert deny(ask_for(command), FACTS, limits) is (reason if command in binds else None)


def test_cases_when_counted_then_every_reason_of_the_table_is_reached() -> None:
    reached = {reason for reason, _, _ in (*ASK_CASES, *FACT_CASES, *LIMIT_CASES)}
    reached |= {reason for reason, _ in NO_LEAD_CASES} | {R.LEASE_EXPIRED}
    assert reached == {reason for reason, _, _ in TABLE}
    assert reached | {R.JOURNAL_FAILED} == set(DenyReason)


def test_collar_when_the_fresh_book_disagrees_with_the_mark_then_denied() -> None:
    top = msgspec.structs.replace(make_top(1, mono_ns=NOW), bid_price=D(89), ask_price=D(90))
    assert deny(ASK, msgspec.structs.replace(FACTS, book=top), LIMITS) is R.PRICE_COLLAR


def test_words_when_read_then_zero_and_unknown_are_safe() -> None:
    assert state_of(0) is None
    assert state_of(len(FsmState)) is FsmState.EMERGENCY
    assert state_of(len(FsmState) + 1) is None
    assert override_of((9 << 8) | 2) is Override.EMERGENCY
    assert override_of(9 << 8) is Override.NONE
    assert override_of(1, 0) is override_of(0, (7 << 8) | 1) is Override.PAUSE

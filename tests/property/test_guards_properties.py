"""Invariants of the gate chain and of the classification before it.

Protective: a cancel always passes, and a well-formed reduce-only order whatever anybody's budget, cap, model, arming or
latch says. Closed: an unknown input denies new risk. Sound: what is called REDUCE_RISK cannot turn a position over or
enlarge it in any order of fills; the worst case is never below what can happen.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from grinder.core.exposure import Working, classify, with_placed, working_of, worst_case_notional, worst_case_qty
from grinder.core.guards import judge
from grinder.core.orders import Order
from grinder.core.reach import reach_usd
from grinder.core.situation import AccountSituation, Approved, Denied, GuardLimits, Proposal, SymbolSituation
from grinder.model.account import Position, PositionSide
from grinder.model.control import FsmState, RiskIntent, TradingMode
from grinder.model.orders import Cancel, OrderKind, OrderState, Place, Side
from grinder.model.reasons import BlockReason, PlanReason
from grinder.model.units import ZERO
from tests.gate_world import ACCOUNT, INSTRUMENT, LIMITS, MARKET, NOW, SYMBOL, Resting, place

D = Decimal
SMALL = st.integers(0, 20).map(lambda number: D(number) / 10)
POSITIONS = st.integers(-30, 30).map(lambda number: D(number) / 10)
NUMBERS = st.one_of(st.none(), st.integers(-5, 2_000))
PRICES = st.one_of(st.none(), st.sampled_from([D("0.1"), D(1_000), D(10**9)]))
MODES_THAT_SEND = st.sampled_from([TradingMode.PAPER, TradingMode.LIVE_TRADE])
LIMITS_ANY = st.builds(
    GuardLimits,
    armed=st.booleans(),
    mode=MODES_THAT_SEND,
    symbols=st.sampled_from([frozenset[str](), frozenset({SYMBOL})]),
    max_notional_per_order=st.sampled_from([D(0), D(100)]),
    max_orders_per_run=st.integers(0, 3),
    max_position_usd=st.one_of(st.none(), st.sampled_from([D(0), D(1_000)])),
    fill_prob_enforced=st.booleans(),
    fill_prob_min_bps=st.integers(0, 10_000),
    executions_max=st.integers(0, 3),
    open_orders_max=st.integers(0, 3),
)
ACCOUNTS = st.builds(
    AccountSituation,
    now_mono_ns=st.just(NOW),
    kill_switch_active=st.booleans(),
    fsm_state=st.sampled_from(FsmState),
    inputs_not_live=st.sampled_from([(), ("market",)]),
    drawdown=st.one_of(st.none(), st.floats()),
    worst_case_notional=st.one_of(st.none(), st.sampled_from([D(0), D(10**6)])),
    risk_orders_this_run=NUMBERS,
    orders_left_10s=NUMBERS,
    orders_left_1m=NUMBERS,
    loss_breached=st.sampled_from([frozenset[str](), frozenset({SYMBOL})]),
)
WORKING = st.builds(
    Working, buy_qty=SMALL, sell_qty=SMALL, count=st.integers(0, 500), buy_price_max=PRICES, sell_price_min=PRICES
)
SYMBOLS = st.builds(
    SymbolSituation,
    symbol=st.just(SYMBOL),
    instrument=st.sampled_from([None, INSTRUMENT]),
    stale=st.booleans(),
    bid_price=PRICES,
    ask_price=PRICES,
    mark_price=st.sampled_from([None, D(1_000)]),
    position_qty=st.one_of(st.none(), POSITIONS),
    working=WORKING,
    executions_recent=st.integers(0, 500),
    reject_streak=st.integers(0, 4),
    reject_mono_ns=st.just(NOW),
)
ORDERS = st.builds(
    place,
    side=st.sampled_from(Side),
    price=st.sampled_from([D("999.0"), D("1001.0")]),
    qty=st.sampled_from([D("0.001"), D("0.050"), D("1.000")]),
    reduce_only=st.booleans(),
)
RESTING = st.builds(
    Resting,
    client_order_id=st.uuids().map(str),
    side=st.sampled_from(Side),
    price=st.integers(1, 99).map(D),
    remaining_qty=SMALL,
    reduce_only=st.booleans(),
)


@given(LIMITS_ANY, ACCOUNTS, SYMBOLS, st.booleans())
def test_cancel_when_anything_is_true_then_approved(
    limits: GuardLimits, account: AccountSituation, symbol: SymbolSituation, router_blocked: bool
) -> None:
    cancel = Cancel("grd-0-1-b1", SYMBOL, PlanReason.NOT_PERMITTED, NOW, NOW)
    verdict = judge(Proposal(cancel, router_blocked=router_blocked), limits, account, symbol)
    assert verdict == Approved(RiskIntent.CANCEL)


@given(ORDERS, LIMITS_ANY, ACCOUNTS, SYMBOLS, st.booleans())
def test_reduce_only_when_well_formed_then_approved_whatever_else_is_true(
    order: Place, limits: GuardLimits, account: AccountSituation, symbol: SymbolSituation, router_blocked: bool
) -> None:
    protective = place(side=order.side, price=order.price, qty=order.qty, reduce_only=True)
    verdict = judge(Proposal(protective, router_blocked=router_blocked), limits, account, symbol)
    assert verdict == Approved(RiskIntent.REDUCE_RISK)


@given(ORDERS, LIMITS_ANY, ACCOUNTS, SYMBOLS)
def test_judge_when_it_approves_new_risk_then_every_input_was_known_and_good(
    order: Place, limits: GuardLimits, account: AccountSituation, symbol: SymbolSituation
) -> None:
    verdict = judge(Proposal(order), limits, account, symbol)
    if isinstance(verdict, Denied):
        assert verdict.reasons == tuple(reason for reason in BlockReason if reason in verdict.reasons)
        assert verdict.reasons
    elif verdict.intent is RiskIntent.INCREASE_RISK:
        assert limits.armed
        assert not account.kill_switch_active
        assert account.fsm_state is FsmState.ACTIVE
        assert account.drawdown is not None
        assert 0 <= account.drawdown < limits.drawdown_limit
        assert not account.inputs_not_live
        assert None not in (symbol.instrument, symbol.bid_price, symbol.ask_price, symbol.mark_price)
        assert None not in (symbol.position_qty, account.orders_left_10s, account.risk_orders_this_run)
        assert order.price * order.qty <= limits.max_notional_per_order


HOLES = st.sampled_from(
    [
        ("account", "drawdown"),
        ("account", "worst_case_notional"),
        ("account", "risk_orders_this_run"),
        ("account", "orders_left_10s"),
        ("account", "orders_left_1m"),
        ("symbol", "instrument"),
        ("symbol", "bid_price"),
        ("symbol", "ask_price"),
        ("symbol", "mark_price"),
        ("symbol", "position_qty"),
    ]
)


@given(st.sets(HOLES, min_size=1))
def test_judge_when_any_input_is_unknown_then_new_risk_is_denied(holes: set[tuple[str, str]]) -> None:
    account, symbol = ACCOUNT, MARKET
    for where, name in holes:
        if where == "account":
            account = AccountSituation(
                **{field: getattr(account, field) for field in account.__struct_fields__} | {name: None}
            )
        else:
            symbol = SymbolSituation(
                **{field: getattr(symbol, field) for field in symbol.__struct_fields__} | {name: None}
            )
    assert isinstance(judge(Proposal(place()), LIMITS, account, symbol), Denied)


@given(POSITIONS, st.lists(RESTING, max_size=5), st.sampled_from(Side), SMALL.filter(bool))
def test_classify_when_it_says_reduce_then_no_fills_of_its_side_turn_the_position_over(
    position: Decimal, resting: list[Resting], side: Side, qty: Decimal
) -> None:
    order = place(side=side, qty=qty)
    if classify(order, position, working_of(resting)) is not RiskIntent.REDUCE_RISK:
        return
    sign = 1 if side is Side.BUY else -1
    same_side = [one.remaining_qty for one in resting if one.side is side]
    for size in range(len(same_side) + 1):
        for filled in combinations(same_side, size):
            after = position + sign * (sum(filled) + qty)
            assert after * position >= 0
            assert abs(after) < abs(position)


@given(POSITIONS, st.lists(RESTING, max_size=5))
def test_worst_case_when_any_orders_fill_then_never_exceeded(position: Decimal, resting: list[Resting]) -> None:
    worst = worst_case_qty(position, working_of(resting))
    risky = [one for one in resting if not one.reduce_only]
    for size in range(len(risky) + 1):
        for filled in combinations(risky, size):
            after = position + sum(one.remaining_qty if one.side is Side.BUY else -one.remaining_qty for one in filled)
            assert abs(after) <= worst


def as_order(number: int, resting: Resting, filled_qty: Decimal) -> Order:
    """Return the executor's order of which that much may still execute."""
    return Order(
        f"grd-0-{number}-b1", SYMBOL, resting.side, OrderKind.GRID, OrderState.OPEN, resting.price,
        resting.remaining_qty + filled_qty, resting.reduce_only, "", filled_qty,
    )  # fmt: skip


@given(st.decimals(-20, 20, places=3), st.lists(RESTING, max_size=6), st.decimals(0, 9, places=3))
def test_reach_when_the_executor_counts_it_by_its_own_code_then_equal_to_the_gates_worst_case(
    position: Decimal, resting: list[Resting], filled_qty: Decimal
) -> None:
    price = Decimal("101.7")
    held = Position(SYMBOL, PositionSide.BOTH, position, price, price, ZERO, 0)
    orders = [as_order(number, each, filled_qty) for number, each in enumerate(resting)]
    worst = worst_case_notional(position, working_of(resting), price)
    assert reach_usd([held], orders, frozenset({SYMBOL}), {SYMBOL: price}.get) == worst


@given(st.lists(RESTING, max_size=5), ORDERS)
def test_with_placed_when_any_orders_rest_then_equal_to_summing_them_all(resting: list[Resting], order: Place) -> None:
    added = Resting(order.client_order_id, order.side, order.price, order.qty, order.reduce_only)
    assert with_placed(working_of(resting), order) == working_of([*resting, added])

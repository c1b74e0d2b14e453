from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.exposure import Working
from grinder.core.guards import GATES
from grinder.core.situation import Approved, Denied
from grinder.model.control import FsmState, RiskIntent, TradingMode
from grinder.model.orders import Cancel, Place, Side
from grinder.model.reasons import BlockReason, PlanReason
from tests.gate_world import INSTRUMENT, NOW, SYMBOL, D, Resting, S, amend, ask, place

B = BlockReason


def denied(*reasons: BlockReason) -> Denied:
    return Denied(RiskIntent.INCREASE_RISK, reasons)


APPROVED = Approved(RiskIntent.INCREASE_RISK)
INSTRUMENT_OFF = msgspec.structs.replace(INSTRUMENT, status="SETTLING")
AT_OWN_PRICE = Working(risk_prices=frozenset({(Side.BUY, D("999.0"))}))


def test_place_when_nothing_is_wrong_then_approved() -> None:
    assert ask(place()) == APPROVED


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (B.NOT_ARMED, {"limits": {"armed": False}}),
        (B.MODE_NOT_LIVE_TRADE, {"limits": {"mode": TradingMode.READ_ONLY}}),
        (B.KILL_SWITCH_ACTIVE, {"account": {"kill_switch_active": True}}),
        (B.SYMBOL_NOT_WHITELISTED, {"limits": {"symbols": frozenset()}}),
        (B.MAX_POSITION_EXCEEDED, {"limits": {"max_position_usd": D("49.99")}}),
        (B.MAX_POSITION_EXCEEDED, {"account": {"worst_case_notional": D("950.01")}}),
        (B.MAX_POSITION_EXCEEDED, {"account": {"worst_case_notional": None}}),
        (B.MAX_POSITION_EXCEEDED, {"symbol": {"working": Working(buy_qty=D("0.951"))}}),
        (B.DRAWDOWN_BLOCKED, {"account": {"drawdown": 0.2}}),
        (B.INPUT_NOT_LIVE, {"account": {"drawdown": None}}),
        (B.DRAWDOWN_BLOCKED, {"account": {"drawdown": float("nan")}}),
        (B.DRAWDOWN_BLOCKED, {"account": {"drawdown": -0.1}}),
        (B.DRAWDOWN_BLOCKED, {"account": {"loss_breached": frozenset({SYMBOL})}}),
        (B.FSM_STATE_BLOCKED, {"account": {"fsm_state": FsmState.THROTTLED}}),
        (B.FSM_STATE_BLOCKED, {"account": {"fsm_state": FsmState.INIT}}),
        (B.FILL_PROB_LOW, {"limits": {"fill_prob_enforced": True, "fill_prob_min_bps": 1}}),
        (
            B.FILL_PROB_LOW,
            {"limits": {"fill_prob_enforced": True, "fill_prob_min_bps": 500}, "proposal": {"fill_prob_bps": 499}},
        ),
        (B.ROUTER_BLOCKED, {"proposal": {"router_blocked": True}}),
        (B.INPUT_NOT_LIVE, {"account": {"inputs_not_live": ("account",)}}),
        (B.INPUT_NOT_LIVE, {"limits": {"max_position_usd": None}, "symbol": {"position_qty": None}}),
        (B.SYMBOL_STALE, {"symbol": {"stale": True}}),
        (B.SYMBOL_NOT_TRADING, {"symbol": {"instrument": INSTRUMENT_OFF}}),
        (B.PRICE_COLLAR, {"limits": {"price_collar_bps": D(9)}}),
        (B.PRICE_COLLAR, {"symbol": {"bid_price": D(1_100), "ask_price": D(1_101)}}),
        (B.PRICE_COLLAR, {"symbol": {"bid_price": None}}),
        (B.PRICE_COLLAR, {"symbol": {"ask_price": None}}),
        (B.MAX_NOTIONAL_PER_ORDER, {"limits": {"max_notional_per_order": D("49.94")}}),
        (B.MAX_ORDERS_PER_RUN, {"account": {"risk_orders_this_run": 10}}),
        (B.MAX_ORDERS_PER_RUN, {"account": {"risk_orders_this_run": None}}),
        (B.OPEN_ORDER_COUNT, {"symbol": {"working": Working(count=80)}}),
        (B.OPEN_ORDER_COUNT, {"limits": {"open_orders_max": 900}, "symbol": {"working": Working(count=200)}}),
        (B.ORDER_RATE, {"account": {"orders_left_10s": 60}}),
        (B.ORDER_RATE, {"account": {"orders_left_1m": 240}}),
        (B.ORDER_RATE, {"account": {"orders_left_10s": None}}),
        (B.ORDER_RATE, {"account": {"orders_left_1m": None}}),
        (B.DUPLICATE_ORDER, {"symbol": {"working": AT_OWN_PRICE}}),
        (B.DUPLICATE_ORDER, {"symbol": {"working": Working(ids=frozenset({"grd-0-1-b1"}))}}),
        (B.SELF_CROSS, {"symbol": {"working": Working(sell_price_min=D("999.0"))}}),
        (B.REPEATED_EXECUTION, {"symbol": {"executions_recent": 120}}),
        (B.REJECT_LOOP, {"symbol": {"reject_streak": 5, "reject_mono_ns": NOW - 59 * S}}),
    ],
    ids=str,
)
def test_place_when_one_gate_objects_then_denied_with_that_reason_alone(
    reason: BlockReason, changes: dict[str, dict[str, object]]
) -> None:
    assert ask(place(), **changes) == denied(reason)


@pytest.mark.parametrize(
    ("reasons", "changes"),
    [
        ((B.PERCENT_PRICE,), {"price": D("1050.1")}),
        ((B.PERCENT_PRICE,), {"side": Side.SELL, "price": D("949.9")}),
        ((B.TICK_SIZE,), {"price": D("999.05")}),
        ((B.STEP_SIZE,), {"qty": D("0.0505")}),
        ((B.QTY_RANGE, B.MIN_NOTIONAL), {"qty": D("0.000")}),
        ((B.MIN_NOTIONAL,), {"qty": D("0.005")}),
    ],
    ids=str,
)
def test_place_when_a_venue_filter_would_refuse_it_then_denied(
    reasons: tuple[BlockReason, ...], changes: dict[str, object]
) -> None:
    order = place() if changes.get("qty") == 0 else place(**changes)
    limits = {"price_collar_bps": D(9_000)}
    symbol: dict[str, object] = {}
    if changes.get("qty") == 0:
        order, symbol = place(qty=D("0.004")), {"instrument": msgspec.structs.replace(INSTRUMENT, min_qty=D("0.005"))}
    assert ask(order, limits=limits, symbol=symbol) == denied(*reasons)


@pytest.mark.parametrize("bounds", [{"max_price": D("998.9")}, {"min_price": D("999.1")}], ids=str)
def test_place_when_price_is_outside_the_price_filter_then_denied(bounds: dict[str, Decimal]) -> None:
    bounded = msgspec.structs.replace(INSTRUMENT, **bounds)
    assert ask(place(), symbol={"instrument": bounded}) == denied(B.TICK_SIZE)


def test_place_when_the_venue_sets_no_price_bounds_then_none_apply() -> None:
    unbounded = msgspec.structs.replace(INSTRUMENT, min_price=D(0), max_price=D(0))
    assert ask(place(), symbol={"instrument": unbounded}) == APPROVED


def test_place_when_quantity_is_over_the_maximum_then_denied() -> None:
    small = msgspec.structs.replace(INSTRUMENT, max_qty=D("0.049"))
    assert ask(place(), symbol={"instrument": small}) == denied(B.QTY_RANGE)


def test_place_when_the_instrument_is_unknown_then_denied() -> None:
    assert ask(place(), symbol={"instrument": None}) == denied(B.SYMBOL_NOT_TRADING, B.PERCENT_PRICE)


def test_place_when_the_mark_is_unknown_then_denied() -> None:
    assert ask(place(), symbol={"mark_price": None}) == denied(B.MAX_POSITION_EXCEEDED, B.PRICE_COLLAR, B.PERCENT_PRICE)


def test_place_when_the_position_is_unknown_then_denied() -> None:
    assert ask(place(), symbol={"position_qty": None}) == denied(B.MAX_POSITION_EXCEEDED, B.INPUT_NOT_LIVE)


def test_place_when_no_cap_is_set_then_any_position_passes() -> None:
    assert ask(place(), limits={"max_position_usd": None}, account={"worst_case_notional": None}) == APPROVED


def test_place_when_the_other_side_is_larger_then_it_is_the_worst_case() -> None:
    working = Working(sell_qty=D("0.500"))
    account = {"worst_case_notional": D(1_000)}
    assert ask(place(), symbol={"working": working}, account=account) == APPROVED
    sell = place(side=Side.SELL, price=D("1001.0"))
    assert ask(sell, symbol={"working": working}, account=account) == denied(B.MAX_POSITION_EXCEEDED)


def test_place_when_several_gates_object_then_every_reason_is_kept_in_order() -> None:
    verdict = ask(
        place(price=D("999.05")),
        limits={"armed": False, "symbols": frozenset()},
        account={"kill_switch_active": True, "fsm_state": FsmState.EMERGENCY, "drawdown": 0.3},
        symbol={"stale": True},
    )
    assert verdict == denied(
        B.NOT_ARMED,
        B.KILL_SWITCH_ACTIVE,
        B.SYMBOL_NOT_WHITELISTED,
        B.DRAWDOWN_BLOCKED,
        B.FSM_STATE_BLOCKED,
        B.SYMBOL_STALE,
        B.TICK_SIZE,
    )


def test_place_when_the_model_is_absent_and_not_enforced_then_it_has_no_say() -> None:
    assert ask(place(), limits={"fill_prob_min_bps": 9_999}) == APPROVED
    enforced = {"fill_prob_enforced": True, "fill_prob_min_bps": 500}
    assert ask(place(), limits=enforced, proposal={"fill_prob_bps": 500}) == APPROVED


def test_place_when_a_sell_meets_an_own_buy_then_self_cross() -> None:
    sell = place(side=Side.SELL, price=D("1001.0"))
    assert ask(sell, symbol={"working": Working(buy_price_max=D("1001.0"))}) == denied(B.SELF_CROSS)
    assert ask(sell, symbol={"working": Working(buy_price_max=D("1000.9"))}) == APPROVED


def test_place_when_the_pause_after_refusals_is_over_then_approved_again() -> None:
    assert ask(place(), symbol={"reject_streak": 5, "reject_mono_ns": NOW - 60 * S}) == APPROVED
    assert ask(place(), symbol={"reject_streak": 4, "reject_mono_ns": NOW}) == APPROVED


def test_amend_when_it_raises_exposure_then_judged_but_counts_against_no_order_budget() -> None:
    proposal = {"amended": Resting()}
    full = {"working": Working(count=500, risk_prices=AT_OWN_PRICE.risk_prices, buy_qty=D("0.050"))}
    assert ask(amend(), proposal=proposal, account={"risk_orders_this_run": 10}, symbol=full) == APPROVED
    assert ask(amend(), proposal=proposal, account={"fsm_state": FsmState.PAUSED}) == denied(B.FSM_STATE_BLOCKED)


def test_amend_when_it_only_replaces_its_own_quantity_then_the_cap_counts_it_once() -> None:
    symbol = {"working": Working(buy_qty=D("0.050")), "mark_price": D(1_000)}
    account = {"worst_case_notional": D(50)}
    limits = {"max_position_usd": D(50)}
    assert ask(amend(), proposal={"amended": Resting()}, symbol=symbol, account=account, limits=limits) == APPROVED
    assert ask(amend(), symbol=symbol, account=account, limits=limits) == denied(B.MAX_POSITION_EXCEEDED)


def test_amend_when_another_order_has_the_price_then_duplicate_but_not_against_itself() -> None:
    same_price = amend(price=D("999.0"), qty=D("0.040"))
    symbol = {"working": AT_OWN_PRICE}
    assert ask(same_price, proposal={"amended": Resting()}, symbol=symbol) == APPROVED
    other = {"amended": Resting(price=D("997.0"))}
    assert ask(same_price, proposal=other, symbol=symbol) == denied(B.DUPLICATE_ORDER)
    assert ask(same_price, symbol=symbol) == denied(B.DUPLICATE_ORDER)


def test_amend_when_its_order_is_reduce_only_then_it_reduces() -> None:
    verdict = ask(
        amend(),
        proposal={"amended": Resting(reduce_only=True)},
        limits={"armed": False},
        account={"kill_switch_active": True, "fsm_state": FsmState.INIT},
    )
    assert verdict == Approved(RiskIntent.REDUCE_RISK)


EVERYTHING_AGAINST: dict[str, dict[str, object]] = {
    "limits": {
        "armed": False,
        "symbols": frozenset(),
        "max_position_usd": D(0),
        "max_notional_per_order": D(0),
        "max_orders_per_run": 0,
        "open_orders_max": 0,
        "executions_max": 0,
        "price_collar_bps": D(0),
        "fill_prob_enforced": True,
    },
    "account": {
        "kill_switch_active": True,
        "fsm_state": FsmState.EMERGENCY,
        "inputs_not_live": ("market", "orders", "account"),
        "drawdown": None,
        "worst_case_notional": None,
        "risk_orders_this_run": None,
        "orders_left_10s": 0,
        "orders_left_1m": 0,
        "loss_breached": frozenset({SYMBOL}),
    },
    "symbol": {
        "instrument": None,
        "stale": True,
        "bid_price": None,
        "ask_price": None,
        "mark_price": None,
        "working": Working(count=999, ids=frozenset({"grd-0-1-b1"}), buy_price_max=D(9_999)),
    },
    "proposal": {"router_blocked": True},
}


@pytest.mark.parametrize("state", FsmState)
def test_reduce_only_when_everything_else_is_against_it_then_approved(state: FsmState) -> None:
    against = EVERYTHING_AGAINST | {"account": EVERYTHING_AGAINST["account"] | {"fsm_state": state}}
    order = place(side=Side.SELL, reduce_only=True)
    assert ask(order, **against) == Approved(RiskIntent.REDUCE_RISK)


def test_cancel_when_everything_is_against_it_then_approved() -> None:
    against = EVERYTHING_AGAINST | {"limits": EVERYTHING_AGAINST["limits"] | {"mode": TradingMode.READ_ONLY}}
    cancel = Cancel("grd-0-1-b1", SYMBOL, PlanReason.NOT_PERMITTED, NOW, NOW)
    assert ask(cancel, **against) == Approved(RiskIntent.CANCEL)


@pytest.mark.parametrize(
    ("state", "passes"), [(state, state not in (FsmState.INIT, FsmState.READY)) for state in FsmState]
)
def test_reducing_order_without_the_flag_when_the_matrix_forbids_it_then_denied(state: FsmState, passes: bool) -> None:
    order = place(side=Side.SELL, price=D("1001.0"))
    verdict = ask(order, account={"fsm_state": state}, symbol={"position_qty": D("0.050")})
    no = Denied(RiskIntent.REDUCE_RISK, (B.FSM_STATE_BLOCKED,))
    assert verdict == (Approved(RiskIntent.REDUCE_RISK) if passes else no)


def test_reduce_only_when_nothing_may_be_sent_then_denied() -> None:
    verdict = ask(place(reduce_only=True), limits={"mode": TradingMode.READ_ONLY})
    assert verdict == Denied(RiskIntent.REDUCE_RISK, (B.MODE_NOT_LIVE_TRADE,))


def test_reduce_only_when_small_then_exempt_from_min_notional_but_not_from_the_grid_of_prices() -> None:
    assert ask(place(reduce_only=True, qty=D("0.001"))) == Approved(RiskIntent.REDUCE_RISK)
    assert ask(place(reduce_only=True, qty=D("0.0005"), price=D("999.05"))) == Denied(
        RiskIntent.REDUCE_RISK, (B.TICK_SIZE, B.STEP_SIZE, B.QTY_RANGE)
    )


def test_reduce_only_when_identical_orders_are_refused_then_only_its_pace_is_limited() -> None:
    order = place(reduce_only=True)
    just_now = {"reject_streak": 5, "reject_mono_ns": NOW - S + 1}
    assert ask(order, symbol=just_now) == Denied(RiskIntent.REDUCE_RISK, (B.REJECT_LOOP,))
    assert ask(order, symbol=just_now | {"reject_mono_ns": NOW - S}) == Approved(RiskIntent.REDUCE_RISK)


@pytest.mark.parametrize("numbers", [{"price": D("1e999999"), "qty": D(1_000)}, {"price": D("1e40"), "qty": D("1e40")}])
@pytest.mark.parametrize("reduce_only", [False, True])
def test_place_when_its_numbers_are_absurd_then_denied_and_nothing_is_raised(
    numbers: dict[str, Decimal], reduce_only: bool
) -> None:
    verdict = ask(place(reduce_only=reduce_only, **numbers))
    assert isinstance(verdict, Denied)


@pytest.mark.parametrize(
    ("reason", "symbol"),
    [
        (B.PRICE_COLLAR, {"mark_price": D("1e999999")}),
        (B.PERCENT_PRICE, {"mark_price": D("9.9e999999")}),
        (B.TICK_SIZE, {"instrument": msgspec.structs.replace(INSTRUMENT, tick_size=D("1e-999999"))}),
        (B.STEP_SIZE, {"instrument": msgspec.structs.replace(INSTRUMENT, step_size=D("1e-999999"))}),
        (B.MAX_POSITION_EXCEEDED, {"position_qty": D("1e999999"), "mark_price": D("1e9")}),
    ],
    ids=str,
)
def test_gate_when_its_arithmetic_cannot_be_done_then_it_blocks_new_risk_by_its_name_and_no_protection(
    reason: BlockReason, symbol: dict[str, object]
) -> None:
    verdict = ask(place(), symbol=symbol)
    assert isinstance(verdict, Denied)
    assert reason in verdict.reasons
    assert ask(place(reduce_only=True), symbol=symbol) == Approved(RiskIntent.REDUCE_RISK)


def test_place_when_nobody_can_say_what_it_does_to_exposure_then_it_counts_as_new_risk() -> None:
    absurd = {"position_qty": D(1), "working": Working(sell_qty=D("9e999999"), reduce_sell_qty=D("9e999999"))}
    verdict = ask(place(side=Side.SELL, price=D("1001.0")), symbol=absurd)
    assert verdict.intent is RiskIntent.INCREASE_RISK


def test_gates_when_listed_then_one_for_each_reason_in_order() -> None:
    assert [gate.reason for gate in GATES] == list(BlockReason)


@pytest.mark.parametrize(
    ("order", "changes"),
    [
        (place(price=D("999.0")), {"limits": {"price_collar_bps": D(10)}}),
        (
            place(price=D("999.0")),
            {
                "limits": {"price_collar_bps": D(10)},
                "symbol": {"mark_price": D("999.0"), "bid_price": D("999.9"), "ask_price": D("1000.1")},
            },
        ),
        (place(price=D("1050.0")), {"limits": {"price_collar_bps": D(9_000)}}),
        (place(side=Side.SELL, price=D("950.0")), {"limits": {"price_collar_bps": D(9_000)}}),
        (place(), {"symbol": {"instrument": msgspec.structs.replace(INSTRUMENT, min_price=D("999.0"))}}),
        (place(), {"symbol": {"instrument": msgspec.structs.replace(INSTRUMENT, max_price=D("999.0"))}}),
        (place(), {"symbol": {"instrument": msgspec.structs.replace(INSTRUMENT, min_qty=D("0.050"))}}),
        (place(), {"symbol": {"instrument": msgspec.structs.replace(INSTRUMENT, max_qty=D("0.050"))}}),
        (place(), {"symbol": {"instrument": msgspec.structs.replace(INSTRUMENT, min_notional=D("49.95"))}}),
        (place(), {"limits": {"max_notional_per_order": D("49.95")}}),
        (place(), {"account": {"worst_case_notional": D(950)}}),
        (place(), {"account": {"orders_left_10s": 61, "orders_left_1m": 241}}),
        (place(), {"account": {"risk_orders_this_run": 9}}),
        (place(), {"symbol": {"working": Working(count=79), "executions_recent": 119}}),
        (place(), {"account": {"drawdown": 0.1999}}),
    ],
    ids=str,
)
def test_place_when_exactly_at_a_limit_that_includes_it_then_approved(
    order: Place, changes: dict[str, dict[str, object]]
) -> None:
    assert ask(order, **changes) == APPROVED

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from grinder.core import engine
from grinder.core.engine_state import EngineConfig
from grinder.core.events import Blocked, Counted, Lost, Noted, Received, Send, Timer, Trip
from grinder.core.fsm import FsmThresholds
from grinder.model.account import Instruments
from grinder.model.channels import ORDERS
from grinder.model.control import FsmState, Override, TradingMode, TripReason
from grinder.model.market import BookTop, StreamHealth
from grinder.model.orders import (
    Cancel,
    OrderBudget,
    OrderKind,
    OrderState,
    OrderUpdate,
    Place,
    ResyncOrders,
    Side,
    TimeInForce,
)
from grinder.model.reasons import BlockReason, PlanReason
from tests.engine_world import MS, START_NS, Holding, World, config, instrument

D = Decimal
SYMBOL = "BTCUSDT"
MID = D(60_000)
LEVELS = 5
SIZE = D("0.002")


def active(*args: object, **changes: object) -> World:
    world = World(config(**changes), *args)  # type: ignore[arg-type]
    world.calm(15)
    return world


def sends(world: World, since: int = 0) -> list[object]:
    return [effect.frame for effect in world.effects[since:] if isinstance(effect, Send)]


def kinds(world: World) -> dict[OrderKind, int]:
    return {kind: sum(order.place.kind is kind for order in world.open_orders()) for kind in OrderKind}


def test_engine_when_it_starts_calm_then_active_with_a_full_post_only_grid() -> None:
    world = active()
    assert world.transitions() == ["INIT -> READY HEALTH_OK", "READY -> ACTIVE FEEDS_READY"]
    orders = world.open_orders()
    assert len(orders) == 2 * LEVELS
    assert all(order.place.tif is TimeInForce.GTX and order.qty == SIZE for order in orders)
    assert sorted({order.place.client_order_id.rsplit("-", 1)[1] for order in orders}) == sorted(
        f"{side}{number}" for side in "bs" for number in range(1, LEVELS + 1)
    )


def test_engine_when_inputs_are_missing_then_no_new_risk_and_every_reason_is_named() -> None:
    world = World(config())
    world.mid(SYMBOL, MID)
    world.run_for(300)
    world.mid(SYMBOL, MID)
    assert not world.open_orders()
    assert set(world.state.inputs_not_live) == {"account_snapshot", "position_mode", "account_reconciled", "drawdown"}


def test_engine_when_before_the_board_was_read_then_the_machine_stays_in_init() -> None:
    state = engine.initial_state(config(), START_NS)
    for number in range(5):
        now = START_NS + number * 50 * MS
        state, _ = engine.step(state, Received(now, StreamHealth(True, (), (), False, now)))
        state, _ = engine.step(state, Received(now, BookTop(SYMBOL, MID, D(1), MID + 1, D(1), number, 0, now, 0)))
        state, _ = engine.step(state, Timer(now))
    assert state.fsm.state is FsmState.INIT


def test_engine_when_the_machine_is_disabled_then_it_stays_in_init_and_nothing_is_placed() -> None:
    world = active(fsm_enabled=False)
    assert world.fsm_state is FsmState.INIT
    assert world.sent["Place"] == 0
    assert world.blocked[BlockReason.FSM_STATE_BLOCKED] > 0


@pytest.mark.parametrize(
    ("guards", "reason"),
    [
        ({"armed": False}, BlockReason.NOT_ARMED),
        ({"mode": TradingMode.READ_ONLY}, BlockReason.MODE_NOT_LIVE_TRADE),
        ({"max_notional_per_order": D(50)}, BlockReason.MAX_NOTIONAL_PER_ORDER),
        ({"max_orders_per_run": 3}, BlockReason.MAX_ORDERS_PER_RUN),
        ({"max_position_usd": D(250)}, BlockReason.MAX_POSITION_EXCEEDED),
    ],
)
def test_engine_when_a_guard_denies_then_blocked_with_its_reason_at_a_pace(guards, reason) -> None:
    world = active(guards=guards)
    allowed = {BlockReason.MAX_ORDERS_PER_RUN: 3, BlockReason.MAX_POSITION_EXCEEDED: 4}.get(reason, 0)
    assert world.sent["Place"] == allowed
    assert 0 < world.blocked[reason] <= 2 * LEVELS * 17, "at most each slot once per second"


def test_engine_when_an_entry_fills_then_a_reduce_only_take_profit_rests_and_the_slot_stays_empty() -> None:
    world = active()
    world.mid(SYMBOL, D("59939"))
    world.calm(3, {SYMBOL: D("59939")})
    assert world.holdings[SYMBOL].qty == SIZE
    profits = [order for order in world.open_orders() if order.place.reduce_only]
    assert [(order.place.side, order.qty, order.place.tif) for order in profits] == [(Side.SELL, SIZE, TimeInForce.GTC)]
    assert profits[0].price >= D("59939.90") * D("1.001")
    buys = [order for order in world.open_orders() if order.place.side is Side.BUY]
    assert len(buys) == LEVELS - 1


def test_engine_when_a_take_profit_fills_then_its_slot_is_quoted_again() -> None:
    world = active()
    world.calm(2, {SYMBOL: D("59939")})
    world.calm(2, {SYMBOL: D("60001")})
    assert OrderKind.TAKE_PROFIT in {fill.kind for fill in world.fills}
    entries = [order.place for order in world.open_orders() if not order.place.reduce_only]
    assert "b1" in {place.client_order_id.rsplit("-", 1)[1] for place in entries}
    assert world.state.symbols[SYMBOL].cycle.position_qty == world.holdings[SYMBOL].qty


def test_engine_when_a_sell_entry_fills_while_long_then_it_closes_the_lot_instead_of_opening_one() -> None:
    world = active()
    world.calm(2, {SYMBOL: D("59939")})
    world.mid(SYMBOL, D("59990"))
    entry = next(order for order in world.open_orders() if order.place.client_order_id.endswith("-s1"))
    world.trade_part(entry, SIZE)
    world.run_for(100)
    assert world.holdings[SYMBOL].qty == 0
    assert world.state.symbols[SYMBOL].cycle.lots == ()
    assert kinds(world)[OrderKind.TAKE_PROFIT] == 0


def test_engine_when_the_mid_stays_within_a_spacing_then_no_order_moves() -> None:
    world = active()
    before = len(world.effects)
    for number in range(50):
        world.mid(SYMBOL, MID + (number % 11) * 5)
    assert not sends(world, before)


def test_engine_when_the_mid_moves_a_spacing_then_the_grid_follows_by_amends() -> None:
    world = active()
    before = len(world.effects)
    world.calm(1, {SYMBOL: D("60059.8")})
    assert not sends(world, before)
    world.orders.pop(next(name for name in world.orders if name.endswith("-s1")))
    world.calm(2, {SYMBOL: D("60062")})
    moved = sends(world, before)
    assert moved
    assert {frame.reason for frame in moved if not isinstance(frame, Place)} <= {
        PlanReason.GRID_SHIFT,
        PlanReason.GRID_TRIM,
    }
    assert world.state.symbols[SYMBOL].anchor == D("60061.95")


@pytest.mark.parametrize("override", [Override.PAUSE, Override.EMERGENCY])
def test_engine_when_the_operator_overrides_then_entries_are_cancelled_and_take_profits_stay(override) -> None:
    world = active()
    world.calm(2, {SYMBOL: D("59939")})
    assert kinds(world)[OrderKind.TAKE_PROFIT] == 1
    world.override = override
    world.control()
    world.run_for(1_000)
    assert kinds(world) == {OrderKind.GRID: 0, OrderKind.TAKE_PROFIT: 1, OrderKind.EXIT: 0}
    reasons = {frame.reason for frame in sends(world) if isinstance(frame, Cancel)}
    assert PlanReason.NOT_PERMITTED in reasons
    placed = world.sent["Place"]
    world.calm(5, {SYMBOL: D("59939")})
    assert world.sent["Place"] == placed
    assert world.blocked[BlockReason.FSM_STATE_BLOCKED] > 0


def test_engine_when_released_after_an_emergency_then_it_waits_for_the_acknowledgement() -> None:
    world = active(thresholds=FsmThresholds(cooldown_ms=1_000))
    world.override = Override.EMERGENCY
    world.control()
    world.calm(5)
    world.override = Override.NONE
    world.control()
    world.calm(20)
    assert world.fsm_state is FsmState.PAUSED
    world.resumes = 1
    world.control()
    world.calm(5)
    assert world.fsm_state is FsmState.ACTIVE
    assert kinds(world)[OrderKind.GRID] == 2 * LEVELS


def test_engine_when_the_executor_exits_in_emergency_then_no_take_profit_is_placed() -> None:
    world = active(exit_enabled=True)
    world.override = Override.EMERGENCY
    world.control()
    world.run_for(200)
    world.holdings[SYMBOL] = Holding(SIZE, MID)
    placed = world.sent["Place"]
    world.calm(20)
    assert world.state.symbols[SYMBOL].cycle.position_qty == SIZE
    assert world.sent["Place"] == placed


def test_engine_when_the_kill_switch_is_tripped_then_entries_go_at_once() -> None:
    world = active()
    world.tripped = True
    world.control()
    assert world.fsm_state is FsmState.EMERGENCY
    world.run_for(100)
    assert not world.open_orders()


def test_engine_when_the_drawdown_reaches_its_limit_then_it_trips_and_goes_to_emergency() -> None:
    world = active()
    world.wallet = lambda: D(7_900)  # type: ignore[method-assign]
    world.holdings[SYMBOL] = Holding(SIZE, MID)
    world.calm(15)
    trips = [effect for effect in world.effects if isinstance(effect, Trip)]
    assert [trip.reason for trip in trips] == [TripReason.DRAWDOWN_LIMIT]
    assert world.fsm_state is FsmState.EMERGENCY
    assert kinds(world)[OrderKind.GRID] == 0


def test_engine_when_one_symbol_goes_quiet_then_only_its_entries_are_cancelled() -> None:
    sizes = {"BTCUSDT": SIZE, "ETHUSDT": D("0.05")}
    world = World(config(sizes), (instrument("BTCUSDT"), instrument("ETHUSDT", "0.01")))
    world.calm(15, {"BTCUSDT": MID, "ETHUSDT": D(3_000)})
    assert len(world.open_orders("ETHUSDT")) == 2 * LEVELS
    world.calm(8, {"BTCUSDT": MID})
    assert world.fsm_state is FsmState.ACTIVE
    assert world.open_orders("ETHUSDT") == []
    assert len(world.open_orders("BTCUSDT")) == 2 * LEVELS


def test_engine_when_no_market_data_comes_then_the_timer_alone_makes_it_degraded() -> None:
    world = active()
    world.run_for(6_000)
    assert world.fsm_state is FsmState.DEGRADED
    assert world.open_orders() == []


def test_engine_when_the_venue_halts_the_symbol_then_its_entries_are_cancelled() -> None:
    world = active()
    world.instruments[SYMBOL] = replace(world.instruments[SYMBOL], status="SETTLING")
    world.step(Received(world.now_ns, engine_instruments(world)))
    world.run_for(100)
    assert world.open_orders() == []


def engine_instruments(world: World) -> Instruments:
    return Instruments(tuple(world.instruments.values()), world.now_ns)


def test_engine_when_it_restarts_then_it_adopts_the_position_and_the_resting_orders() -> None:
    world = active()
    world.calm(2, {SYMBOL: D("59939")})
    placed, ids = world.sent["Place"], set(world.orders)
    restart(world)
    world.calm(15, {SYMBOL: D("59939")})
    assert world.state.symbols[SYMBOL].cycle.position_qty == SIZE
    assert world.sent["Place"] == placed, "nothing is placed twice"
    assert set(world.orders) == ids
    assert world.fsm_state is FsmState.ACTIVE


def restart(world: World) -> None:
    """Replace the engine by a new incarnation, as after a crash."""
    world.config = replace(world.config, incarnation=world.config.incarnation + 1)
    world.incarnation = world.config.incarnation
    world.intents_read = 0
    world.state = engine.initial_state(world.config, world.now_ns)
    world.control()
    world.give(engine_instruments(world))


def test_engine_when_the_account_holds_more_for_long_then_a_lot_is_adopted_with_a_take_profit() -> None:
    world = active()
    world.holdings[SYMBOL] = Holding(D("0.0110"), MID)
    world.calm(3)
    assert world.state.symbols[SYMBOL].cycle.position_qty in (0, D("0.011"))
    world.calm(15)
    assert world.state.symbols[SYMBOL].cycle.position_qty == D("0.011")
    profits = [order for order in world.open_orders() if order.place.reduce_only]
    assert sum(order.qty for order in profits) == D("0.011")
    assert all(order.price >= MID * D("1.001") for order in profits)
    assert [effect.name for effect in world.effects if isinstance(effect, Noted)] == ["POSITION_ADOPTED"]
    buys = [order for order in world.open_orders() if order.place.side is Side.BUY]
    assert buys == [], "every buy slot is held"


def test_engine_when_the_account_holds_less_for_long_then_lots_and_take_profits_are_trimmed() -> None:
    world = active()
    world.calm(2, {SYMBOL: D("59939")})
    world.holdings[SYMBOL] = Holding()
    world.calm(20, {SYMBOL: D("59939")})
    assert world.state.symbols[SYMBOL].cycle.lots == ()
    assert kinds(world)[OrderKind.TAKE_PROFIT] == 0


def test_engine_when_a_take_profit_reaches_its_time_to_live_then_it_is_taken_back_and_placed_again() -> None:
    world = active(tp_ttl_ms=5_000)
    world.calm(2, {SYMBOL: D("59939")})
    (first,) = (order.place for order in world.open_orders() if order.place.reduce_only)
    world.calm(6, {SYMBOL: D("59939")})
    (second,) = (order.place for order in world.open_orders() if order.place.reduce_only)
    assert first.client_order_id != second.client_order_id
    assert (first.price, first.qty) == (second.price, second.qty)
    names = {effect.name for effect in world.effects if isinstance(effect, Counted)}
    assert "grinder_cycle_tp_expired_total" in names


def test_engine_when_a_take_profit_is_refused_then_it_is_tried_again_at_a_pace() -> None:
    world = active()
    world.calm(2, {SYMBOL: D("59939")})
    world._reducible = lambda order: False  # type: ignore[method-assign]
    before = len(world.effects)
    world.orders = {name: order for name, order in world.orders.items() if not order.place.reduce_only}
    world.calm(10, {SYMBOL: D("59939")})
    profits = [frame for frame in sends(world, before) if isinstance(frame, Place) and frame.reduce_only]
    assert 1 < len(profits) <= 11


def test_engine_when_frames_of_the_orders_channel_are_lost_then_it_asks_again_and_waits() -> None:
    world = active()
    before = len(world.effects)
    world.step(Lost(world.now_ns, ORDERS.name))
    assert [type(frame) for frame in sends(world, before)] == [ResyncOrders]
    assert not world.state.view.synced
    world.run_for(20)
    assert world.state.view.synced


def test_engine_when_the_same_rejection_repeats_then_the_symbol_waits() -> None:
    world = active()
    symbol = world.state.symbols[SYMBOL]
    order = world.open_orders()[0]
    for _ in range(5):
        refusal = OrderUpdate(
            "grd-0-x-b1", SYMBOL, Side.BUY, OrderKind.GRID, OrderState.REJECTED, MID, SIZE, D(0), False, "-2019", 0
        )
        world.step(Received(world.now_ns, refusal))
    assert symbol.rejects.count == 5
    world.orders.pop(order.place.client_order_id)
    world.live[order.place.client_order_id] = OrderState.CANCELED
    world.give(order.update(OrderState.CANCELED, world.utc_ms()))
    world.calm(5)
    assert world.blocked[BlockReason.REJECT_LOOP] > 0


def test_engine_when_an_unknown_symbol_comes_then_nothing_happens() -> None:
    world = active()
    before = len(world.effects)
    world.step(Received(world.now_ns, BookTop("XRPUSDT", D(1), D(1), D(2), D(1), 1, 0, world.now_ns, 0)))
    assert not world.effects[before:]


def test_engine_when_times_run_backwards_then_they_count_as_no_time_passed() -> None:
    world = active()
    now = world.state.now_mono_ns
    world.step(Timer(now - 10_000 * MS))
    assert world.state.now_mono_ns == now
    assert world.fsm_state is FsmState.ACTIVE


def test_engine_when_the_order_budget_is_at_its_reserve_then_only_take_profits_are_placed() -> None:
    world = active()
    world.frames_dropped = lambda frame: isinstance(frame, OrderBudget)
    world.step(Received(world.now_ns, OrderBudget(50, 1_000, 10)))
    before = len(world.effects)
    world.calm(5, {SYMBOL: D("59939")})
    placed = [frame for frame in sends(world, before) if isinstance(frame, Place)]
    assert placed
    assert all(frame.reduce_only for frame in placed)


def test_engine_config_when_a_symbol_has_no_size_then_refused() -> None:
    with pytest.raises(ValueError, match="no size per level for ETHUSDT"):
        EngineConfig(("BTCUSDT", "ETHUSDT"), config().planner, config().guards)


def test_plan_summary_when_trading_then_it_tells_what_rests() -> None:
    world = active()
    summary = engine.plan_summary(world.state, world.state.symbols[SYMBOL])
    assert summary is not None
    assert (summary.wanted, summary.resting, summary.in_flight, summary.lots) == (10, 10, 0, 0)
    assert summary.anchor_price == D("59999.95")
    assert not any(isinstance(effect, Blocked) and effect.reasons == () for effect in world.effects)

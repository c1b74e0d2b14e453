from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from grinder.core import engine
from grinder.core.engine_state import EngineConfig
from grinder.core.events import Counted, Lost, Noted, Received, Send, Timer
from grinder.model.account import AccountState, Balance, Instruments, Position, PositionSide, Source
from grinder.model.channels import ORDERS
from grinder.model.control import AccountResponse, FsmState
from grinder.model.market import MarkPrice, StreamHealth
from grinder.model.orders import (
    INTENTS_PER_INCARNATION,
    CommandRefused,
    Fill,
    OrderBudget,
    OrderKind,
    OrdersSnapshot,
    OrderState,
    OrderUpdate,
    Place,
    Side,
)
from grinder.model.reasons import RouterReason
from tests.engine_world import MS, START_NS, Holding, World, config, instrument

D = Decimal
SYMBOL = "BTCUSDT"
MID = D(60_000)
SIZE = D("0.002")
LEVELS = 5


def active(*args: object, **changes: object) -> World:
    world = World(config(**changes), *args)  # type: ignore[arg-type]
    world.calm(15)
    return world


def take(world: World, *frames: object) -> list[object]:
    before = len(world.effects)
    for frame in frames:
        world.step(Received(world.now_ns, frame))  # type: ignore[arg-type]
    return world.effects[before:]


def update(state: OrderState, symbol: str = SYMBOL, name: str = "grd-0-zz-b1", filled: str = "0") -> OrderUpdate:
    return OrderUpdate(name, symbol, Side.BUY, OrderKind.GRID, state, D(59_000), SIZE, D(filled), False, "", 0)


def fill(symbol: str = SYMBOL, utc_ms: int = 1, qty: str = "0.002", name: str = "grd-0-zz-b1") -> Fill:
    return Fill(name, symbol, Side.BUY, OrderKind.GRID, 1, D(59_000), D(qty), D(0), D(0), True, utc_ms)


def account(*positions: Position, **changes: object) -> AccountState:
    state = AccountState(positions, Balance(D(10_000), D(0), D(0)), 0, D(0), False, True, Source.REST, START_NS, 0)
    return replace(state, **changes)


def position(qty: str, entry: str = "60000", symbol: str = SYMBOL, side: PositionSide = PositionSide.BOTH) -> Position:
    return Position(symbol, side, D(qty), D(entry), D(60_000), D(0), 5)


def test_frames_when_of_another_symbol_then_nothing_is_done() -> None:
    world = active()
    other = "XRPUSDT"
    effects = take(
        world,
        MarkPrice(other, D(1), D(1), D(0), 0, 0, 0),
        update(OrderState.REJECTED, other),
        fill(other),
        CommandRefused("x", other, "amend", "-5022"),
        Instruments((instrument(other),), 0),
    )
    assert not effects
    assert set(world.state.symbols) == {SYMBOL}


def test_health_when_disconnected_then_the_connection_ages() -> None:
    world = active()
    world.frames_dropped = lambda frame: isinstance(frame, StreamHealth)
    world.run_for(10)
    for _ in range(60):
        take(world, StreamHealth(False, (), (), False, world.now_ns))
        world.mid(SYMBOL, MID, after_ms=100)
    assert world.fsm_state is FsmState.DEGRADED


def test_health_when_the_feed_reports_a_symbol_stale_then_its_entries_go() -> None:
    world = active()
    world.frames_dropped = lambda frame: isinstance(frame, StreamHealth)
    take(world, StreamHealth(True, (SYMBOL,), ("bookTicker",), False, world.now_ns))
    world.run_for(200)
    assert world.open_orders() == []
    assert engine.loop_state(world.state, world.now_ns).stale_symbols == (SYMBOL,)


def test_fill_when_before_the_position_is_adopted_then_the_account_tells_of_it() -> None:
    state = engine.initial_state(config(), START_NS)
    state, effects = engine.step(state, Received(START_NS, fill()))
    assert not effects
    assert state.symbols[SYMBOL].cycle.lots == ()


def test_fill_when_older_than_the_adopted_position_then_not_counted_twice() -> None:
    world = World(config())
    world.frames_dropped = lambda frame: isinstance(frame, AccountState)
    world.calm(5)
    take(world, account(position("0.002")))
    assert world.state.symbols[SYMBOL].cycle.position_qty == SIZE
    take(world, fill(utc_ms=5))
    assert world.state.symbols[SYMBOL].cycle.position_qty == SIZE
    effects = take(world, fill(utc_ms=6))
    assert world.state.symbols[SYMBOL].cycle.position_qty == 2 * SIZE
    assert Counted("grinder_cycle_fill_candidates_total", (SYMBOL, "tp_generated")) in effects


@pytest.mark.parametrize(("reason", "pauses"), [("-5022", True), ("UNKNOWN_ORDER", False)])
def test_refusal_when_a_command_failed_then_entries_pause_unless_the_order_was_gone(reason, pauses) -> None:
    world = active()
    take(world, CommandRefused(next(iter(world.orders)), SYMBOL, "amend", reason))
    assert (world.state.symbols[SYMBOL].grid_mono_ns - world.now_ns == 1_000 * MS) is pauses


def test_account_when_no_snapshot_was_taken_yet_then_it_is_not_believed() -> None:
    world = World(config())
    world.frames_dropped = lambda frame: isinstance(frame, AccountState)
    world.calm(3)
    take(world, account(position("0.002"), snapshot_mono_ns=0))
    symbol = world.state.symbols[SYMBOL]
    assert (symbol.adopted, symbol.account_qty) == (False, None)


@pytest.mark.parametrize(
    ("frame", "adopted"),
    [
        (account(position("0.002", "0")), False),  # no entry price to take profit from
        (account(position("0.002"), hedge_mode=True), False),
        (account(position("0.002", side=PositionSide.LONG)), True),
        (account(position("5", symbol="XRPUSDT")), True),
    ],
)
def test_account_when_it_cannot_be_used_then_nothing_is_adopted_from_it(frame, adopted) -> None:
    world = World(config())
    world.frames_dropped = lambda other: isinstance(other, AccountState)
    world.calm(3)
    take(world, frame)
    symbol = world.state.symbols[SYMBOL]
    assert symbol.adopted is adopted
    assert symbol.cycle.position_qty == 0


def test_account_when_in_hedge_mode_then_no_new_risk() -> None:
    world = active()
    world.frames_dropped = lambda frame: isinstance(frame, AccountState)
    take(world, account(hedge_mode=True, snapshot_mono_ns=world.now_ns))
    world.run_for(100)
    assert "position_mode" in world.state.inputs_not_live
    world.mid(SYMBOL, MID + 70)
    world.run_for(1_500)
    assert all(order.place.reduce_only for order in world.open_orders())


def test_account_when_a_stream_event_runs_ahead_of_the_trade_then_lots_are_not_healed_by_it() -> None:
    world = active()
    early = account(position("0.002"), source=Source.STREAM, snapshot_mono_ns=world.now_ns)
    assert not [effect for effect in take(world, early, early) if isinstance(effect, Noted)]
    assert world.state.symbols[SYMBOL].cycle.position_qty == 0


def test_snapshot_when_the_executor_is_not_ready_then_nothing_is_adopted() -> None:
    world = World(config())
    world.ready = False
    world.control()
    world.calm(5)
    assert not world.state.view.synced
    assert not world.state.symbols[SYMBOL].adopted
    assert world.sent["Place"] == 0


def test_update_when_it_tells_of_trades_first_then_the_slot_is_not_quoted_again() -> None:
    world = active()
    entry = next(order for order in world.open_orders() if order.place.client_order_id.endswith("-b1"))
    world.frames_dropped = lambda frame: isinstance(frame, Fill)
    placed = world.sent["Place"]
    world.trade_part(entry, SIZE)
    world.run_for(500)
    assert world.sent["Place"] == placed, "its trades are still owed"
    world.run_for(10_000)
    world.calm(2)
    assert world.sent["Place"] > placed, "given up after a while"


def test_update_when_it_tells_of_a_part_first_then_the_rest_is_left_alone() -> None:
    world = active()
    entry = next(order for order in world.open_orders() if order.place.client_order_id.endswith("-b1"))
    world.frames_dropped = lambda frame: isinstance(frame, Fill)
    before = len(world.effects)
    world.trade_part(entry, D("0.001"))
    world.run_for(500)
    assert not [effect for effect in world.effects[before:] if isinstance(effect, Send)]


def test_entry_when_only_dust_is_left_of_it_then_it_is_left_alone() -> None:
    rules = replace(instrument(SYMBOL), min_notional=D(100))
    world = active((rules,))
    entry = next(order for order in world.open_orders() if order.place.client_order_id.endswith("-b1"))
    before = len(world.effects)
    world.trade_part(entry, D("0.001"))
    world.calm(3)
    sent = [effect.frame for effect in world.effects[before:] if isinstance(effect, Send)]
    assert [type(frame) for frame in sent] == [Place]
    assert entry in world.open_orders()


def test_entry_when_the_grid_has_moved_on_from_its_dust_then_its_slot_is_quoted_again() -> None:
    rules = replace(instrument(SYMBOL), min_notional=D(100))
    world = active((rules,))
    entry = next(order for order in world.open_orders() if order.place.client_order_id.endswith("-b1"))
    world.trade_part(entry, D("0.001"))
    world.calm(3)
    world.calm(3, {SYMBOL: D(60_150)})
    world.calm(3, {SYMBOL: D(60_300)})
    assert world.fills[-1].kind is not OrderKind.GRID or world.fills[-1].side is Side.SELL
    assert entry not in world.open_orders()
    assert any(
        order.place.client_order_id.endswith("-b1") and order.price > entry.price for order in world.open_orders()
    )


def test_entry_when_its_size_is_below_the_least_notional_then_blocked_visibly_at_a_pace() -> None:
    rules = replace(instrument(SYMBOL), min_notional=D(500))
    world = active((rules,))
    reason = RouterReason.FILTER_VIOLATION_MIN_NOTIONAL
    blocks = sum(
        effect.by for effect in world.effects if isinstance(effect, Counted) and effect.labels == ("BLOCK", reason)
    )
    assert 2 * LEVELS <= blocks <= 2 * LEVELS * 17
    assert world.sent["Place"] == 0


@pytest.mark.parametrize(
    ("changes", "expected"), [({"tp_share": D("0.5")}, "0.005"), ({"tp_one_level": True}, "0.002"), ({}, "0.010")]
)
def test_take_profit_when_its_share_is_set_then_it_closes_that_much_of_a_lot(changes, expected) -> None:
    world = World(config(planner_levels=1, **changes))
    world.holdings[SYMBOL] = Holding(D("0.010"), MID)
    world.calm(8)
    profits = [order for order in world.open_orders() if order.place.reduce_only]
    assert [order.qty for order in profits] == [D(expected)]


def test_take_profit_when_it_followed_the_touch_once_then_it_is_not_moved_for_a_small_gain() -> None:
    world = World(config())
    world.holdings[SYMBOL] = Holding(SIZE, D(59_000))
    world.calm(8)
    (profit,) = (order for order in world.open_orders() if order.place.reduce_only)
    assert profit.price == D("60000.0")
    world.calm(2, {SYMBOL: D("59970")})
    world.trade_part(next(order for order in world.open_orders() if not order.place.reduce_only), D("0.001"))
    world.run_for(500)
    assert profit.price == D("60000.0")


def test_loss_when_a_trade_was_among_the_lost_frames_then_no_entry_is_placed_before_the_account_agrees() -> None:
    world = active()
    entry = next(order for order in world.open_orders() if order.place.client_order_id.endswith("-b1"))
    world.frames_dropped = lambda frame: isinstance(frame, Fill | OrderUpdate)
    world.trade_part(entry, SIZE)
    world.run_for(50)
    world.frames_dropped = lambda frame: False
    placed = world.sent["Place"]
    world.step(Lost(world.now_ns, ORDERS.name))
    world.calm(8)
    assert world.sent["Place"] == placed, "the position is not known"
    world.calm(12)
    assert world.state.symbols[SYMBOL].cycle.position_qty == world.holdings[SYMBOL].qty == SIZE
    assert [order.qty for order in world.open_orders() if order.place.reduce_only] == [SIZE]


def test_loss_when_no_trade_was_among_the_lost_frames_then_entries_go_on_after_the_next_snapshot() -> None:
    world = active()
    world.step(Lost(world.now_ns, ORDERS.name))
    placed = world.sent["Amend"]
    world.calm(1, {SYMBOL: D(60_200)})
    assert world.sent["Amend"] == placed
    world.calm(6, {SYMBOL: D(60_200)})
    assert world.sent["Amend"] > placed


def test_take_profit_when_it_has_traded_away_then_its_time_to_live_takes_nothing_back() -> None:
    world = active(tp_ttl_ms=5_000)
    entry = next(order for order in world.open_orders() if order.place.client_order_id.endswith("-b1"))
    world.trade_part(entry, SIZE)
    world.calm(1)
    (profit,) = (order for order in world.open_orders() if order.place.reduce_only)
    world.frames_dropped = lambda frame: isinstance(frame, OrderUpdate | OrdersSnapshot)
    before = len(world.effects)
    world.trade_part(profit, SIZE)
    world.calm(6)
    sent = [effect.frame for effect in world.effects[before:] if isinstance(effect, Send)]
    assert profit.place.client_order_id not in {getattr(frame, "client_order_id", "") for frame in sent}


@pytest.mark.parametrize("gone", ["view", "ids"])
def test_place_when_the_view_or_the_ids_are_used_up_then_nothing_is_placed(gone, monkeypatch) -> None:
    world = World(config())
    if gone == "ids":
        world.state.ids_made = INTENTS_PER_INCARNATION - 1
    else:
        monkeypatch.setattr("grinder.core.view.ORDERS_TRACKED_MAX", 0)
    world.calm(12)
    assert world.fsm_state is FsmState.ACTIVE
    assert world.sent["Place"] == 0


def test_budget_when_unknown_then_the_gate_chain_names_it() -> None:
    world = World(config())
    world.frames_dropped = lambda frame: isinstance(frame, OrderBudget)
    world.calm(15)
    assert world.sent["Place"] == 0
    assert world.blocked["ORDER_RATE"] > 0


def test_position_cap_when_the_mark_is_unknown_then_no_new_risk() -> None:
    world = World(config(guards={"max_position_usd": D(10_000)}))
    world.frames_dropped = lambda frame: isinstance(frame, MarkPrice)
    world.calm(15)
    assert world.sent["Place"] == 0
    assert world.blocked["MAX_POSITION_EXCEEDED"] > 0


def test_plan_summary_when_nothing_was_planned_then_none() -> None:
    state = engine.initial_state(config(), START_NS)
    assert engine.plan_summary(state, state.symbols[SYMBOL]) is None
    assert engine.loop_state(state, START_NS).signals == ()


def test_toxicity_when_one_of_two_symbols_never_ticked_then_unknown_and_not_active() -> None:
    sizes = {"BTCUSDT": SIZE, "ETHUSDT": D("0.05")}
    world = World(config(sizes), (instrument("BTCUSDT"), instrument("ETHUSDT", "0.01")))
    state = world.state
    state, _ = engine.step(state, Timer(START_NS + 50 * MS))
    assert state.fsm.state is FsmState.INIT
    world.calm(15, {"BTCUSDT": MID})
    assert world.fsm_state is FsmState.ACTIVE, "a symbol that never ticked is stale, and blocks itself alone"
    assert world.open_orders("ETHUSDT") == []


@pytest.mark.parametrize(
    "changes", [{"symbols": ()}, {"symbols": (SYMBOL, SYMBOL)}, {"tp_share": D(0)}, {"tp_share": D("NaN")}]
)
def test_engine_config_when_it_cannot_work_then_refused(changes) -> None:
    fields = {"symbols": (SYMBOL,), "planner": config().planner, "guards": config().guards, **changes}
    with pytest.raises(ValueError):
        EngineConfig(**fields)


@pytest.mark.parametrize(
    ("response", "state"),
    [(AccountResponse.DEGRADED, FsmState.DEGRADED), (AccountResponse.PAUSED, FsmState.PAUSED)],
)
def test_account_when_its_mismatches_demand_it_then_the_machine_obeys_at_once(
    response: AccountResponse, state: FsmState
) -> None:
    world = active()
    assert world.fsm_state is FsmState.ACTIVE
    take(world, account(response=response))
    assert world.fsm_state is state
    assert world.state.fsm.awaiting_resume is (response is AccountResponse.PAUSED)


def test_account_when_it_goes_on_demanding_a_pause_then_it_asks_for_a_person_once() -> None:
    world = active()
    take(world, account(response=AccountResponse.PAUSED))
    world.resumes += 1
    world.control()
    assert not world.state.fsm.awaiting_resume
    take(world, account(response=AccountResponse.PAUSED))
    assert not world.state.fsm.awaiting_resume
    take(world, account(response=AccountResponse.NONE), account(response=AccountResponse.PAUSED))
    assert world.state.fsm.awaiting_resume


def test_slots_when_denied_for_want_of_an_input_then_they_are_asked_for_again_as_soon_as_it_is_live() -> None:
    world = active()
    world.state.symbols[SYMBOL].blocked_mono_ns.update({("b1", Side.BUY): world.now_ns + 900 * MS})
    world.ready = False
    world.control()
    assert world.state.inputs_not_live
    world.ready = True
    world.control()
    assert world.state.symbols[SYMBOL].blocked_mono_ns == {}

"""Closing and position modes: the field's threads that concern orders, each as a story that ends well here."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.adapters.binance.parameters import parameters_of
from grinder.model.account import PositionSide
from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, TripReason
from grinder.model.orders import OrderState, Side, TimeInForce
from grinder.model.reasons import DenyReason
from grinder.model.units import ZERO
from grinder.model.venue import Advice, OrderEvent, OrderType, PlaceOrder, Rejected
from tests.account_world import ExecutorWorld
from tests.fake_venue import SYMBOL
from tests.order_world import OrderWorld

D = Decimal


def close(side: PositionSide) -> PlaceOrder:
    return PlaceOrder("grd-0-1-x1", SYMBOL, Side.SELL, OrderType.MARKET, D(1), D(1), TimeInForce.IOC, True, side)


def test_close_when_nothing_is_left_to_reduce_then_refused_once_and_not_repeated() -> None:
    """freqtrade#6739: -2022 was repeated for ever after the position had been closed."""
    world = ExecutorWorld()
    world.venue.outcomes[PlaceOrder].append(Rejected(400, -2022, "ReduceOnly Order is rejected.", Advice.REDUCE_ONLY))
    name = world.place(1, reduce_only=True, side=Side.SELL, price=D(101))
    world.run(60_000)
    assert world.state(name) is OrderState.REJECTED
    assert len(world.venue.sent(PlaceOrder)) == 1


def test_close_when_in_one_way_mode_then_reduce_only_without_a_position_side_and_accepted() -> None:
    """hummingbot#8283: close orders were rejected in one-way mode."""
    parameters = parameters_of(close(PositionSide.BOTH))
    assert parameters["reduceOnly"] == "true"
    assert "positionSide" not in parameters
    world = OrderWorld(1)
    world.run(2_000)
    world.place(Side.BUY, D("60000.1"), D("0.010"), TimeInForce.IOC)
    world.run(200)
    closing = world.place(Side.SELL, D("60000.0"), D("0.010"), TimeInForce.GTC, reduce_only=True)
    world.run(3_000)
    assert world.ended[closing] is OrderState.FILLED
    assert world.core.held() == ZERO


def test_close_when_in_hedge_mode_then_with_a_position_side_and_without_reduce_only() -> None:
    """ccxt#8304: closing in hedge mode was rejected."""
    parameters = parameters_of(close(PositionSide.LONG))
    assert parameters["positionSide"] == "LONG"
    assert "reduceOnly" not in parameters


def test_kill_switch_when_it_trips_then_queued_entries_die_and_what_rests_is_taken_away() -> None:
    """richkuo/go-trader#1462: the kill switch flattened and left resting limit orders that opened risk again."""
    world = ExecutorWorld()
    entry = world.place(1)
    world.run(50)
    world.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.FORCED_CLOSE])
    queued = world.place(2)
    assert world.updates(queued)[-1].reason == DenyReason.KILL_SWITCH_ACTIVE
    world.run(10_000)
    assert world.state(entry) is OrderState.CANCELED
    assert not world.venue.open_orders()


def forced(**changes: object) -> OrderEvent:
    values: dict[str, object] = {
        "client_order_id": "web_1",
        "venue_order_id": 7,
        "symbol": SYMBOL,
        "side": Side.SELL,
        "execution": "EXPIRED",
        "status": "EXPIRED",
        "price": D(99),
        "qty": D(1),
        "filled_qty": ZERO,
        "last_price": ZERO,
        "last_qty": ZERO,
        "trade_id": 0,
        "fee": ZERO,
        "realized_pnl": ZERO,
        "maker": False,
        "reduce_only": False,
        "event_utc_ms": 1,
        "transaction_utc_ms": 1,
    }
    return OrderEvent(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "trips"),
    [
        ({"client_order_id": "autoclose-1"}, True),
        ({"client_order_id": "adl_autoclose"}, True),
        ({"client_order_id": "settlement_autoclose-1"}, True),
        ({"execution": "CALCULATED"}, True),
        ({"status": "NEW_ADL"}, True),
        ({"status": "NEW_INSURANCE"}, True),
        ({"expiry": "5"}, True),
        ({"expiry": "4"}, False),
        ({"expiry": "77"}, False),
        ({}, False),
    ],
)
def test_event_when_the_venue_closes_by_force_then_the_kill_switch_trips_and_only_then(
    changes: dict[str, object], trips: bool
) -> None:
    """freqtrade#11570, at the order's side: every way in which the stream tells of a liquidation or ADL."""
    world = ExecutorWorld(exits=False)
    world.service.on_user_event(forced(**changes))
    assert bool(world.board.read(Word.TRIP_EXECUTOR)) is trips


@pytest.mark.parametrize(
    ("expiry", "status", "reason"),
    [
        ("1", "EXPIRED_IN_MATCH", "SELF_TRADE_PREVENTION"),
        ("", "EXPIRED_IN_MATCH", "SELF_TRADE_PREVENTION"),
        ("2", "EXPIRED", "IOC_REMAINDER"),
        ("4", "EXPIRED", "REDUCE_ONLY_KNOCKED_OUT"),
        ("5", "EXPIRED", "LIQUIDATION"),
        ("6", "EXPIRED", "GOOD_TILL_DATE"),
        ("7", "EXPIRED", "DELISTED"),
        ("9", "EXPIRED", "MARKET_REMAINDER"),
        ("0", "EXPIRED", "GRID_FILL"),
    ],
)
def test_order_when_the_venue_ends_it_then_its_reason_says_why(expiry: str, status: str, reason: str) -> None:
    """freqtrade#6739, at its root: a reduce-only order that the venue ended, and nobody knew why."""
    world = ExecutorWorld(exits=False)
    name = world.place(1)
    world.run(50)
    world.service.on_user_event(forced(client_order_id=name, side=Side.BUY, status=status, expiry=expiry))
    assert (world.state(name), world.updates(name)[-1].reason) == (OrderState.EXPIRED, reason)

"""Closing orders: in chunks, by position mode, and IOC prices that never give more way than the cap."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.closing import CHUNKS_MAX, RUNGS_MAX, ClosingPlan, ladder_orders, market_orders
from grinder.model.account import PositionSide
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import OrderType
from tests.engine_world import instrument
from tests.fake_venue import MARK, SYMBOL, position

D = Decimal
PLAN = ClosingPlan({SYMBOL: instrument(SYMBOL)}, "grd", 0, 1 << 20, 200)


def test_market_orders_when_the_position_is_larger_than_the_market_maximum_then_in_chunks() -> None:
    orders = market_orders((position(SYMBOL, D("250.5"), 0),), PLAN)
    assert [order.qty for order in orders] == [D(120), D(120), D("10.5")]
    assert {order.side for order in orders} == {Side.SELL}
    assert all(order.reduce_only for order in orders)
    many = market_orders((position(SYMBOL, D(-100_000), 0),), PLAN)
    assert len(many) == CHUNKS_MAX
    assert {order.side for order in many} == {Side.BUY}
    both = (position(SYMBOL, D(-100_000), 0), position("ETHUSDT", D(1), 0))
    assert len(market_orders(both, PLAN)) == CHUNKS_MAX


@pytest.mark.parametrize("rung", [0, 1])
def test_orders_when_the_account_is_hedged_then_by_position_side_without_reduce_only(rung: int) -> None:
    short = (position(SYMBOL, D(-1), 0, PositionSide.SHORT),)
    (order,) = ladder_orders(short, PLAN, rung) if rung else market_orders(short, PLAN)
    assert (order.side, order.position_side, order.reduce_only) == (Side.BUY, PositionSide.SHORT, False)


def test_market_orders_when_the_rules_of_a_symbol_are_not_known_then_whole() -> None:
    (order,) = market_orders((position("XRPUSDT", D(100_000), 0),), PLAN)
    assert order.qty == D(100_000)


@pytest.mark.parametrize("qty", ["1", "-1"])
def test_ladder_when_it_climbs_then_each_rung_gives_more_way_and_the_last_one_the_whole_cap(qty: str) -> None:
    left = (position(SYMBOL, D(qty), 0),)
    rungs = [ladder_orders(left, PLAN, rung)[0] for rung in range(1, RUNGS_MAX + 1)]
    way = [abs(order.price - MARK) for order in rungs]
    assert way == sorted(set(way))
    assert way[-1] == D(2)
    assert all((order.order_type, order.tif) == (OrderType.LIMIT, TimeInForce.IOC) for order in rungs)
    assert all((order.price < MARK) == (order.side is Side.SELL) for order in rungs)


@pytest.mark.parametrize(("qty", "price"), [("1", "98.1"), ("-1", "101.9")])
def test_ladder_when_the_tick_does_not_divide_the_cap_then_rounded_to_give_less_way(qty: str, price: str) -> None:
    plan = msgspec.structs.replace(PLAN, slippage_bps_max=195)
    (order,) = ladder_orders((position(SYMBOL, D(qty), 0),), plan, RUNGS_MAX)
    assert order.price == D(price)


@pytest.mark.parametrize(("qty", "price"), [("1", "95.0"), ("-1", "105.0")])
def test_ladder_when_the_cap_is_beyond_the_venues_price_limits_then_at_those(qty: str, price: str) -> None:
    plan = msgspec.structs.replace(PLAN, slippage_bps_max=2_000)
    (order,) = ladder_orders((position(SYMBOL, D(qty), 0),), plan, RUNGS_MAX)
    assert order.price == D(price)


def test_ladder_when_rules_or_mark_price_are_not_known_then_market_again_under_ids_of_its_own() -> None:
    unpriced = msgspec.structs.replace(position(SYMBOL, D(1), 0), mark_price=D(0))
    left = (position(SYMBOL, D(1), 0), position("XRPUSDT", D(5), 0), unpriced)
    orders = ladder_orders(left, PLAN, 1)
    assert [order.order_type for order in orders] == [OrderType.LIMIT, OrderType.MARKET, OrderType.MARKET]
    assert len({order.client_order_id for order in orders}) == 3


def test_ladder_when_the_rest_is_larger_than_the_maximum_then_in_chunks() -> None:
    orders = ladder_orders((position(SYMBOL, D("2500.5"), 0),), PLAN, 1)
    assert [order.qty for order in orders] == [D(1_000), D(1_000), D("500.5")]

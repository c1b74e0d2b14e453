"""Closing orders: in chunks, by position mode, and IOC prices that never give more way than the cap."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.core.closing import CHUNKS_MAX, RUNGS_MAX, ClosingPlan, dust_of, ladder_orders, market_orders
from grinder.model.account import PositionSide
from grinder.model.instrument import Instrument
from grinder.model.orders import Side, TimeInForce
from grinder.model.units import is_multiple
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


COARSE = msgspec.structs.replace(instrument(SYMBOL), step_size=D("0.01"), min_qty=D("0.01"))
"""Rules whose LIMIT step is ten times their MARKET step."""

COARSER = msgspec.structs.replace(COARSE, market_step_size=D("0.01"), market_min_qty=D("0.02"))


@pytest.mark.parametrize(
    ("rules", "qty", "market", "limit"),
    [
        (instrument(SYMBOL), "0.0047", ["0.004"], ["0.004"]),
        (instrument(SYMBOL), "-0.0047", ["0.004"], ["0.004"]),
        (instrument(SYMBOL), "0.0009", [], []),
        (instrument(SYMBOL), "240.0005", ["120", "120"], ["240"]),
        (COARSE, "0.0047", ["0.004"], []),
        (COARSER, "0.0147", [], ["0.01"]),
        (COARSER, "0.0347", ["0.03"], ["0.03"]),
    ],
)
def test_orders_when_the_quantity_is_no_multiple_of_the_step_then_rounded_down_to_what_the_venue_takes(
    rules: Instrument, qty: str, market: list[str], limit: list[str]
) -> None:
    plan = msgspec.structs.replace(PLAN, instruments={SYMBOL: rules})
    held = (position(SYMBOL, D(qty), 0),)
    assert [order.qty for order in market_orders(held, plan)] == [D(each) for each in market]
    assert [order.qty for order in ladder_orders(held, plan, 1)] == [D(each) for each in limit]
    assert bool(dust_of(held, plan.instruments)) is not bool(market or limit)


def test_dust_when_told_then_what_is_held_and_the_smallest_order_of_either_kind() -> None:
    held = (position(SYMBOL, D("-0.0047"), 0), position("ETHUSDT", D("0.0009"), 0), position("XRPUSDT", D("0.1"), 0))
    rules = {SYMBOL: COARSER, "ETHUSDT": msgspec.structs.replace(COARSE, market_min_qty=D("0.0011"))}
    (bitcoin, ether) = dust_of(held, rules)
    assert (bitcoin.text, bitcoin.qty) == ("BTCUSDT -0.0047 BOTH (smallest order 0.01)", D("-0.0047"))
    assert ether.smallest_qty == D("0.002"), "a minimum between two steps needs the upper one"


@given(
    qty=st.decimals("0.0001", "500", places=4),
    step=st.sampled_from([D("0.0001"), D("0.001"), D("0.005"), D("0.25"), D(1)]),
    least=st.decimals("0", "2", places=3),
    most=st.decimals("0.1", "200", places=3),
)
def test_orders_when_made_for_any_rules_then_on_the_step_and_together_never_more_than_is_held(
    qty: Decimal, step: Decimal, least: Decimal, most: Decimal
) -> None:
    rules = msgspec.structs.replace(
        instrument(SYMBOL), market_step_size=step, market_min_qty=least, market_max_qty=max(most, step)
    )
    orders = market_orders((position(SYMBOL, qty, 0),), msgspec.structs.replace(PLAN, instruments={SYMBOL: rules}))
    assert sum(order.qty for order in orders) <= qty
    assert all(is_multiple(order.qty, step) and order.qty > 0 for order in orders)

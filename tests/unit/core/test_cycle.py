from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.cycle import Cycle, FillEffect, Heal, Lot, take_profits
from grinder.core.planner import Top
from grinder.model.orders import Fill, OrderKind, Side, TimeInForce
from tests.engine_world import instrument

D = Decimal
SYMBOL = "BTCUSDT"
RULES = instrument(SYMBOL)
TOP = Top(D("99.9"), D("100.1"))
SIZE = D("0.010")


def cycle(levels: int = 3) -> Cycle:
    return Cycle(SYMBOL, levels, SIZE)


def fill(side: Side, qty: str, price: str = "100", kind: OrderKind = OrderKind.GRID) -> Fill:
    return Fill("id", SYMBOL, side, kind, 1, D(price), D(qty), D(0), D(0), True, 0)


def lots(one: Cycle) -> list[tuple[str, Decimal, Decimal]]:
    return [(lot.level, lot.qty, lot.price) for lot in one.lots]


def test_fill_when_flat_then_opens_a_lot_in_its_slot() -> None:
    one = cycle()
    assert one.fill(fill(Side.BUY, "0.01"), "b2", 5) is FillEffect.OPENED
    assert one.lots == (Lot("b2", Side.BUY, D("0.01"), D(100), 5),)
    assert one.position_qty == D("0.01")
    assert one.held_qty("b2") == D("0.01")


def test_fill_when_partial_then_one_lot_grows_at_the_average_price() -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.004", "100"), "b1", 0)
    one.fill(fill(Side.BUY, "0.004", "110"), "b1", 0)
    assert lots(one) == [("b1", D("0.008"), D(105))]


def test_fill_when_against_the_lots_then_closes_the_oldest_first() -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.01"), "b3", 0)
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    assert one.fill(fill(Side.SELL, "0.012"), "s1", 0) is FillEffect.CLOSED
    assert lots(one) == [("b1", D("0.008"), D(100))]


def test_fill_when_a_take_profit_then_closes_its_own_lot_first() -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.01"), "b3", 0)
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    one.fill(fill(Side.SELL, "0.01", kind=OrderKind.TAKE_PROFIT), "t1", 0)
    assert [lot.level for lot in one.lots] == ["b3"]


def test_fill_when_larger_than_the_lots_then_the_rest_opens_the_other_side() -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    assert one.fill(fill(Side.SELL, "0.015", "101"), "s2", 0) is FillEffect.FLIPPED
    assert lots(one) == [("s2", D("0.005"), D(101))]
    assert one.position_qty == D("-0.005")


def test_fill_when_an_exit_then_it_only_closes() -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    assert one.fill(fill(Side.SELL, "0.02", kind=OrderKind.EXIT), "x1", 0) is FillEffect.CLOSED
    assert one.lots == ()


@pytest.mark.parametrize("level", ["", "s1", "b9", "t1", "bx"])
def test_fill_when_its_level_is_no_slot_of_its_side_then_a_free_one_is_taken(level) -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    one.fill(fill(Side.BUY, "0.01"), level, 0)
    assert [lot.level for lot in one.lots] == ["b1", "b2"]


def test_fill_when_no_slot_is_free_then_the_last_lot_grows() -> None:
    one = cycle(1)
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    one.fill(fill(Side.BUY, "0.01"), "", 0)
    assert lots(one) == [("b1", D("0.02"), D(100))]


def test_heal_when_the_account_agrees_then_nothing() -> None:
    one = cycle()
    assert one.heal(D(0), D(0), 0) is Heal.NOTHING


def test_heal_when_the_account_holds_more_then_lots_of_one_size_and_the_rest_in_the_last() -> None:
    one = cycle()
    one.fill(fill(Side.SELL, "0.01", "90"), "s1", 0)
    assert one.heal(D("-0.045"), D(95), 0) is Heal.ADOPTED
    assert lots(one) == [("s1", D("0.01"), D(90)), ("s2", D("0.01"), D(95)), ("s3", D("0.025"), D(95))]


def test_heal_when_the_account_holds_less_then_the_oldest_is_trimmed() -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    one.fill(fill(Side.BUY, "0.01"), "b2", 0)
    assert one.heal(D("0.005"), D(100), 0) is Heal.TRIMMED
    assert lots(one) == [("b2", D("0.005"), D(100))]
    assert one.heal(D(0), D(0), 0) is Heal.TRIMMED
    assert one.lots == ()


def test_heal_when_the_account_is_on_the_other_side_then_the_lots_are_replaced() -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    assert one.heal(D("-0.005"), D(101), 0) is Heal.REPLACED
    assert lots(one) == [("s1", D("0.005"), D(101))]


def test_heal_when_every_slot_is_full_then_the_last_lot_takes_it() -> None:
    one = cycle(2)
    one.heal(D("0.02"), D(100), 0)
    one.heal(D("0.03"), D(100), 0)
    assert lots(one) == [("b1", D("0.01"), D(100)), ("b2", D("0.02"), D(100))]


def lot(qty: str, price: str = "100", side: Side = Side.BUY, level: str = "") -> Lot:
    return Lot(level or ("b1" if side is Side.BUY else "s1"), side, D(qty), D(price), 0)


@pytest.mark.parametrize(
    ("side", "entry", "expected"),
    [
        (Side.BUY, "100.04", "100.2"),  # 100.14004 rounded up, away from loss
        (Side.SELL, "99.96", "99.8"),  # 99.86004 rounded down
        (Side.BUY, "90", "100.0"),  # the market passed 90.09: to the touch, without crossing
        (Side.SELL, "110", "100.0"),
    ],
)
def test_take_profit_when_wanted_then_priced_away_from_loss_and_on_its_side_of_the_book(side, entry, expected) -> None:
    (wanted,) = take_profits([lot("0.01", entry, side)], RULES, D(10), TOP, D("0.01"))
    assert wanted.price == D(expected)
    assert (wanted.side, wanted.level) == (side.opposite, "t1")
    assert wanted.reduce_only
    assert wanted.tif is TimeInForce.GTC
    assert wanted.kind is OrderKind.TAKE_PROFIT


def test_take_profits_when_the_position_is_smaller_then_they_are_limited_by_it() -> None:
    wanted = take_profits([lot("0.01", level="b2"), lot("0.01", level="b1")], RULES, D(10), TOP, D("0.015"))
    assert [(order.level, order.qty) for order in wanted] == [("t2", D("0.010")), ("t1", D("0.005"))]


def test_take_profits_when_a_lot_is_dust_then_it_joins_the_next_or_waits() -> None:
    wanted = take_profits([lot("0.0004", level="b2"), lot("0.0107", level="b1")], RULES, D(10), TOP, D(1))
    assert [(order.level, order.qty) for order in wanted] == [("t1", D("0.011"))]
    assert take_profits([lot("0.0004")], RULES, D(10), TOP, D(1)) == ()


def test_take_profits_when_a_lot_exceeds_the_venue_maximum_then_cut() -> None:
    (wanted,) = take_profits([lot("5000")], RULES, D(10), TOP, D(5_000))
    assert wanted.qty == RULES.max_qty


def test_take_profit_when_the_profit_is_below_a_tick_then_at_least_one_tick_away_from_zero() -> None:
    (wanted,) = take_profits([lot("0.01", "0.1", Side.SELL)], RULES, D(10), Top(D("0.1"), D("0.2")), D(1))
    assert wanted.price == D("0.1")


def test_fills_when_an_entry_is_told_of_before_the_take_profit_that_traded_first_then_the_sum_is_the_position() -> None:
    one = cycle()
    one.fill(fill(Side.BUY, "0.01"), "b1", 0)
    one.fill(fill(Side.SELL, "0.01"), "s1", 0)
    one.fill(fill(Side.SELL, "0.01", kind=OrderKind.TAKE_PROFIT), "t1", 0)
    assert one.position_qty == D("-0.01")


@pytest.mark.parametrize(("side", "dust_entry"), [(Side.BUY, "120"), (Side.SELL, "80")])
def test_take_profits_when_dust_joins_a_lot_then_neither_is_closed_at_a_loss(side, dust_entry) -> None:
    (wanted,) = take_profits([lot("0.0005", dust_entry, side), lot("0.01", "100", side)], RULES, D(10), TOP, D(1))
    gain = wanted.price - D(dust_entry) if side is Side.BUY else D(dust_entry) - wanted.price
    assert gain > 0


def test_take_profits_when_a_whole_lot_follows_dust_that_was_taken_then_it_has_its_own_price() -> None:
    planned = take_profits([lot("0.0005", "120"), lot("0.01"), lot("0.01")], RULES, D(10), TOP, D(1))
    assert planned[1].price < planned[0].price

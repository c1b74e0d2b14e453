"""Matching: queue position, trades through, takers, time in force, amend, reduce-only, self-trade prevention."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.model.orders import Side
from tests.sim_kit import KEY, OTHER_KEY, Core


def filled(core: Core, client_id: str, key: str = KEY) -> str:
    outcome = core.do("order.status", key, symbol="BTCUSDT", origClientOrderId=client_id)
    return str(outcome.body["executedQty"])


def trade(core: Core, price: str, qty: str, aggressor: Side) -> None:
    core.exchange.on_trade("BTCUSDT", Decimal(price), Decimal(qty), aggressor, core.now)


def test_order_at_best_when_volume_ahead_has_not_traded_then_waits() -> None:
    core = Core()
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="a")
    trade(core, "60000.00", "5", Side.SELL)
    assert filled(core, "a") == "0.000"


def test_order_at_best_when_more_than_the_volume_ahead_trades_then_fills_by_the_excess() -> None:
    core = Core()
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="a")
    trade(core, "60000.00", "5.004", Side.SELL)
    assert filled(core, "a") == "0.004"


def test_queue_when_displayed_quantity_shrinks_then_less_must_trade() -> None:
    core = Core()
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="a")
    core.top("60000.00", "0.500", "60000.10", "5")
    trade(core, "60000.00", "0.510", Side.SELL)
    assert filled(core, "a") == "0.010"


def test_order_when_the_tape_trades_through_it_then_fills_at_its_own_price() -> None:
    core = Core()
    core.limit("SELL", "60010.00", "0.010", newClientOrderId="a")
    trade(core, "60010.10", "0.001", Side.BUY)
    fill = core.exchange.fills[-1]
    assert (filled(core, "a"), fill.price, fill.maker) == ("0.010", Decimal("60010.00"), True)


def test_order_when_the_ask_falls_to_its_price_then_fills() -> None:
    core = Core()
    core.limit("BUY", "59990.00", "0.010", newClientOrderId="a")
    core.top("59989.90", "1", "59990.00", "1")
    assert filled(core, "a") == "0.010"


def test_orders_at_one_price_when_traded_then_the_earlier_goes_first() -> None:
    core = Core()
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="first")
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="second", key=OTHER_KEY)
    trade(core, "60000.00", "5.015", Side.SELL)
    assert (filled(core, "first"), filled(core, "second", OTHER_KEY)) == ("0.010", "0.005")


def test_amend_when_only_the_quantity_falls_then_keeps_its_place() -> None:
    core = Core()
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="a")
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="b", key=OTHER_KEY)
    core.do("order.modify", symbol="BTCUSDT", side="BUY", origClientOrderId="a", price="60000.00", quantity="0.006")
    trade(core, "60000.00", "5.006", Side.SELL)
    assert (filled(core, "a"), filled(core, "b", OTHER_KEY)) == ("0.006", "0.000")


@pytest.mark.parametrize(("price", "quantity"), [("60000.00", "0.020"), ("59999.90", "0.010")])
def test_amend_when_price_changes_or_quantity_grows_then_loses_its_place(price: str, quantity: str) -> None:
    core = Core()
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="a")
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="b", key=OTHER_KEY)
    core.do("order.modify", symbol="BTCUSDT", side="BUY", origClientOrderId="a", price=price, quantity=quantity)
    trade(core, "60000.00", "5.010", Side.SELL)
    assert (filled(core, "a"), filled(core, "b", OTHER_KEY)) == ("0.000", "0.010")


def test_market_order_when_larger_than_the_best_level_then_sweeps_and_pays_taker_fee() -> None:
    core = Core(wallet=10**7)
    core.market("BUY", "7", newClientOrderId="a")
    prices = [(fill.price, fill.qty) for fill in core.exchange.fills]
    assert prices == [(Decimal("60000.10"), Decimal(5)), (Decimal("60000.20"), Decimal(2))]
    assert core.exchange.fills[0].fee == Decimal("60000.10") * 5 * Decimal("0.0005")


def test_market_order_when_own_resting_order_of_another_account_is_better_then_trades_with_it_first() -> None:
    core = Core()
    core.limit("SELL", "60000.05".replace("05", "10"), "0.010", newClientOrderId="maker", key=OTHER_KEY)
    core.top("60000.00", "5", "60000.20", "5")
    core.market("BUY", "0.015")
    assert [(str(fill.price), str(fill.qty), fill.maker) for fill in core.exchange.fills] == [
        ("60000.10", "0.010", True),
        ("60000.10", "0.010", False),
        ("60000.20", "0.005", False),
    ]


@pytest.mark.parametrize(
    ("tif", "price", "said"),
    [
        ("GTC", "60000.10", [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED")]),
        ("IOC", "60000.10", [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("EXPIRED", "EXPIRED")]),
        ("IOC", "59000.00", [("NEW", "NEW"), ("EXPIRED", "EXPIRED")]),
        ("FOK", "60000.10", []),
        ("FOK", "60000.20", [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("TRADE", "FILLED")]),
        ("GTX", "60000.10", []),
        ("GTX", "60000.00", [("NEW", "NEW")]),
    ],
)
def test_time_in_force_when_six_are_wanted_and_five_are_there_then_acts_as_documented(
    tif: str, price: str, said: list[tuple[str, str]]
) -> None:
    core = Core(wallet=10**7)
    outcome = core.limit("BUY", price, "6", timeInForce=tif)
    assert core.said() == said
    assert outcome.code == (0 if said else {"FOK": -5021, "GTX": -5022}[tif])


def test_reduce_only_when_larger_than_the_position_then_closes_it_and_the_rest_expires() -> None:
    core = Core()
    core.market("BUY", "0.010")
    core.said()
    core.market("SELL", "0.030", reduceOnly="true", newClientOrderId="x")
    assert core.held() == 0
    assert core.said()[-1] == ("EXPIRED", "EXPIRED")
    assert filled(core, "x") == "0.010"


def test_resting_reduce_only_when_the_position_is_closed_otherwise_then_expires() -> None:
    core = Core()
    core.market("BUY", "0.010")
    core.limit("SELL", "60100.00", "0.010", reduceOnly="true", newClientOrderId="tp")
    core.market("SELL", "0.010")
    status = core.do("order.status", symbol="BTCUSDT", origClientOrderId="tp").body
    assert status["status"] == "EXPIRED"


@pytest.mark.parametrize(
    ("mode", "maker", "taker"),
    [
        ("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED"),
        ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
        ("NONE", "FILLED", "FILLED"),
    ],
)
def test_self_trade_when_an_order_meets_its_own_account_then_prevented_by_its_mode(
    mode: str, maker: str, taker: str
) -> None:
    core = Core()
    core.limit("SELL", "60000.10", "0.010", newClientOrderId="maker")
    core.top("60000.00", "5", "60000.20", "5")
    core.limit("BUY", "60000.20", "0.010", newClientOrderId="taker", selfTradePreventionMode=mode)
    states = [
        core.do("order.status", symbol="BTCUSDT", origClientOrderId=each).body["status"] for each in ("maker", "taker")
    ]
    assert states == [maker, taker]


def test_post_only_when_amended_to_where_it_would_trade_then_is_cancelled() -> None:
    core = Core()
    core.limit("BUY", "59990.00", "0.010", timeInForce="GTX", newClientOrderId="a")
    outcome = core.do(
        "order.modify", symbol="BTCUSDT", side="BUY", origClientOrderId="a", price="60000.10", quantity="0.010"
    )
    assert outcome.code == -5022
    assert core.said()[-1] == ("CANCELED", "CANCELED")


def test_amend_when_quantity_is_not_above_what_traded_then_cancels() -> None:
    core = Core()
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="a")
    trade(core, "60000.00", "5.004", Side.SELL)
    core.do("order.modify", symbol="BTCUSDT", side="BUY", origClientOrderId="a", price="60000.00", quantity="0.004")
    assert core.said()[-1] == ("CANCELED", "CANCELED")


def test_queue_when_the_market_leaves_the_price_then_nothing_is_ahead() -> None:
    core = Core()
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="a")
    core.top("59999.90", "5", "60000.10", "5")
    trade(core, "60000.00", "0.010", Side.SELL)
    assert filled(core, "a") == "0.010"


def test_queue_behind_the_best_price_when_depth_shrinks_then_less_must_trade() -> None:
    core = Core()
    core.exchange.on_depth("BTCUSDT", [["59990.00", "8"]], [], 2)
    core.limit("BUY", "59990.00", "0.010", newClientOrderId="a")
    core.exchange.on_depth("BTCUSDT", [["59990.00", "1"]], [], 3)
    trade(core, "59990.00", "1.004", Side.SELL)
    assert filled(core, "a") == "0.004"


@pytest.mark.parametrize(("snapshot", "expected"), [(True, "0.003"), (False, "0.000")])
def test_queue_where_depth_shows_nothing_when_a_trade_comes_then_fills_only_if_the_book_is_whole(
    *, snapshot: bool, expected: str
) -> None:
    core = Core()
    if snapshot:
        core.exchange.markets["BTCUSDT"].tape.on_snapshot([["59990.00", "8"]], [], 2)
    core.limit("BUY", "59995.00", "0.010", newClientOrderId="a")
    core.exchange.on_depth("BTCUSDT", [["59990.00", "7"]], [], 3)
    trade(core, "59995.00", "0.003", Side.SELL)
    assert filled(core, "a") == expected

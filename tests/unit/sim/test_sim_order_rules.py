"""Rules of orders: price match, reduce-only sums, self-trade prevention, market bounds, amendments, expiry reasons."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.model.orders import Side
from tests.sim_kit import KEY, OTHER_KEY, Core

LADDER = (
    [[f"{60000 - number / 10:.2f}", "1"] for number in range(1, 30)],
    [[f"{60000.1 + number / 10:.2f}", "1"] for number in range(1, 30)],
)


def status(core: Core, client_id: str, key: str = KEY) -> Any:
    return core.do("order.status", key, symbol="BTCUSDT", origClientOrderId=client_id).body


def last_order_event(core: Core) -> dict[str, Any]:
    return [each.payload["o"] for each in core.exchange.outbox if each.name == "ORDER_TRADE_UPDATE"][-1]


def deep() -> Core:
    core = Core()
    core.exchange.markets["BTCUSDT"].tape.on_snapshot(*LADDER, 1)
    return core


@pytest.mark.parametrize(
    ("side", "match", "price"),
    [
        ("BUY", "QUEUE", "60000.00"),
        ("BUY", "QUEUE_5", "59999.60"),
        ("BUY", "QUEUE_20", "59998.10"),
        ("SELL", "QUEUE", "60000.10"),
        ("SELL", "QUEUE_10", "60001.00"),
        ("BUY", "OPPONENT", "60000.10"),
        ("BUY", "OPPONENT_5", "60000.50"),
        ("SELL", "OPPONENT_5", "59999.60"),
    ],
)
def test_price_match_when_the_book_is_deep_enough_then_that_level(side: str, match: str, price: str) -> None:
    core = deep()
    answer = core.limit(side, "", "0.002", priceMatch=match, newOrderRespType="RESULT").body
    assert (answer["price"], answer["priceMatch"]) == (price, match)
    assert last_order_event(core)["pm"] == match


def test_price_match_when_the_book_is_not_deep_enough_then_refused() -> None:
    core = Core()
    core.exchange.markets["BTCUSDT"].tape.on_snapshot([["59999.90", "1"]], [["60000.20", "1"]], 1)
    assert core.limit("BUY", "", "0.002", priceMatch="QUEUE_5").code == -5041


def test_amend_when_it_names_a_price_match_then_moves_there() -> None:
    core = deep()
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    wanted = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "a", "quantity": "0.002"}
    answer = core.do("order.modify", **wanted, priceMatch="QUEUE_5", modifyId=77).body
    assert (answer["price"], answer["modifyId"], last_order_event(core)["M"]) == ("59999.60", 77, "77")


def test_reduce_only_when_those_resting_already_cover_the_position_then_refused() -> None:
    core = Core()
    core.market("BUY", "0.010")
    assert core.limit("SELL", "60100.00", "0.010", reduceOnly="true", newClientOrderId="take").code == 0
    assert core.market("SELL", "0.010", reduceOnly="true").code == -4118
    assert core.limit("SELL", "60200.00", "0.002", reduceOnly="true").code == -4118
    core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="take")
    assert core.market("SELL", "0.010", reduceOnly="true").code == 0
    assert core.market("SELL", "0.010", reduceOnly="true").code == -2022


def test_reduce_only_when_the_position_shrinks_below_their_sum_then_the_worst_priced_is_knocked_out() -> None:
    core = Core()
    core.market("BUY", "0.010")
    for name, price in (("far", "60300.00"), ("near", "60100.00"), ("middle", "60200.00")):
        assert core.limit("SELL", price, "0.003", reduceOnly="true", newClientOrderId=name).code == 0
    core.market("SELL", "0.005")
    assert {name: status(core, name)["status"] for name in ("near", "middle", "far")} == {
        "near": "NEW",
        "middle": "NEW",
        "far": "EXPIRED",
    }
    assert last_order_event(core)["er"] == "4"


def test_reduce_only_when_amended_to_more_than_is_left_then_refused() -> None:
    core = Core()
    core.market("BUY", "0.010")
    for name in ("a", "b"):
        core.limit("SELL", "60100.00", "0.005", reduceOnly="true", newClientOrderId=name)
    wanted = {"symbol": "BTCUSDT", "side": "SELL", "origClientOrderId": "a", "price": "60100.00"}
    assert core.do("order.modify", **wanted, quantity="0.006").code == -4118
    assert core.do("order.modify", **wanted, quantity="0.004").code == 0


def test_hedge_close_when_open_closes_leave_too_little_then_refused() -> None:
    core = Core()
    core.do("mode.set", dualSidePosition="true")
    core.market("BUY", "0.010", positionSide="LONG")
    assert core.limit("SELL", "60100.00", "0.006", positionSide="LONG").code == 0
    assert core.limit("SELL", "60100.00", "0.006", positionSide="LONG").code == -2022
    assert core.limit("SELL", "60100.00", "0.004", positionSide="LONG").code == 0
    assert core.market("SELL", "0.002", positionSide="LONG", reduceOnly="false").code == -1106


@pytest.mark.parametrize(
    ("tif", "mode", "maker", "taker", "reason"),
    [
        ("IOC", "EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH", "3"),
        ("GTC", "EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH", "1"),
        ("FOK", "EXPIRE_TAKER", "FILLED", "FILLED", "0"),
        ("IOC", "EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED", "0"),
    ],
)
def test_self_trade_when_the_time_in_force_takes_no_part_then_trades(
    tif: str, mode: str, maker: str, taker: str, reason: str
) -> None:
    core = Core()
    core.limit("SELL", "60000.10", "0.010", newClientOrderId="maker")
    core.top("60000.00", "5", "60000.20", "5")
    core.limit("BUY", "60000.20", "0.010", newClientOrderId="taker", timeInForce=tif, selfTradePreventionMode=mode)
    assert (status(core, "maker")["status"], status(core, "taker")["status"]) == (maker, taker)
    assert core.exchange.find(core.exchange.accounts[KEY], "BTCUSDT", 0, "taker").expiry == reason


@pytest.mark.parametrize(("side", "bid", "ask"), [("BUY", "60000", "63100"), ("SELL", "56900", "60000")])
def test_market_order_when_the_counterparty_is_outside_percent_price_then_refused(
    side: str, bid: str, ask: str
) -> None:
    core = Core()
    core.exchange.on_mark("BTCUSDT", Decimal(60_000))
    core.top(bid, "1", ask, "1")
    assert core.market(side, "0.010").code == -4131


def test_market_order_when_the_book_is_thin_then_stops_at_its_bound_and_the_rest_expires() -> None:
    core = Core()
    core.exchange.on_mark("BTCUSDT", Decimal(60_000))
    core.exchange.markets["BTCUSDT"].tape.on_snapshot([], [["60000.10", "0.004"], ["63000.10", "9"]], 1)
    core.top("59999.90", "1", "60000.10", "0.004")
    core.market("BUY", "0.010", newClientOrderId="a")
    assert (status(core, "a")["status"], status(core, "a")["executedQty"]) == ("EXPIRED", "0.004")
    assert last_order_event(core)["er"] == "9"


def test_good_till_date_when_placed_then_kept_in_whole_seconds() -> None:
    core = Core()
    answer = core.limit("BUY", "59000", "0.002", timeInForce="GTD", goodTillDate=core.now + 700_123).body
    assert answer["goodTillDate"] == core.now + 700_000


@pytest.mark.parametrize(
    ("symbol_status", "params", "code"),
    [
        ("SETTLING", {}, -4141),
        ("PENDING_TRADING", {"reduceOnly": "true"}, -4141),
        ("PRE_SETTLE", {}, -4140),
        ("PRE_SETTLE", {"side": "SELL", "reduceOnly": "true"}, 0),
    ],
)
def test_symbol_when_not_trading_then_orders_are_refused(symbol_status: str, params: dict[str, str], code: int) -> None:
    core = Core()
    core.market("BUY", "0.010")
    core.exchange.set_status("BTCUSDT", symbol_status, core.now)
    wanted = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.002"}
    assert core.do("order.place", **(wanted | params)).code == code


def test_delisting_when_it_comes_then_orders_expire_and_positions_are_settled_at_the_mark() -> None:
    core = Core()
    core.exchange.on_mark("BTCUSDT", Decimal(60_050))
    core.market("BUY", "0.010")
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    core.do(
        "algo.place", algoType="CONDITIONAL", symbol="BTCUSDT", side="SELL", type="STOP_MARKET", triggerPrice=59_000,
        closePosition="true", clientAlgoId="stop",
    )  # fmt: skip
    core.exchange.set_status("BTCUSDT", "SETTLING", core.now)
    assert (status(core, "a")["status"], core.exchange.find(core.exchange.accounts[KEY], "BTCUSDT", 0, "a").expiry) == (
        "EXPIRED",
        "7",
    )
    assert core.do("algo.status", clientAlgoId="stop").body["algoStatus"] == "EXPIRED"
    core.exchange.settle_positions("BTCUSDT", core.now)
    fill = core.exchange.fills[-1]
    assert (core.held(), fill.price) == (0, Decimal(60_050))
    assert fill.client_order_id.startswith("settlement_autoclose-")
    assert (last_order_event(core)["x"], last_order_event(core)["X"]) == ("CALCULATED", "FILLED")
    wanted = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "a", "price": "59100", "quantity": "0.002"}
    assert core.do("order.modify", **wanted).code == -2013


def test_batch_when_numbers_are_numbers_then_read_digit_by_digit() -> None:
    core = Core()
    rows = '[{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","price":59000.1,"quantity":0.002}]'
    body = core.do("batch.place", batchOrders=rows).body
    assert (body[0]["price"], body[0]["origQty"]) == ("59000.10", "0.002")


def test_batch_amend_when_one_member_fails_then_the_others_are_done_in_order() -> None:
    core = Core()
    for name in ("a", "b"):
        core.limit("BUY", "59000", "0.002", newClientOrderId=name)
    row = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.002"}
    rows = [
        row | {"origClientOrderId": "a", "price": "59100", "modifyId": 5},
        row | {"origClientOrderId": "x", "price": "59100"},
        row | {"origClientOrderId": "b", "price": "59000.00"},
        {"symbol": {}},
    ]
    body = core.do("batch.modify", batchOrders=msgspec.json.encode(rows).decode()).body
    assert [each.get("code", each.get("modifyId")) for each in body] == [5, -2013, -5027, -1100]
    assert core.do("batch.cancel", symbol="BTCUSDT", orderIdList=str(list(range(1, 12)))).code == -4032
    assert core.do("batch.cancel", symbol="NOPE", orderIdList="[1]").code == -1121


def test_market_order_when_answered_whole_then_says_filled_and_when_acknowledged_then_new() -> None:
    core = Core()
    assert core.market("BUY", "0.002", newOrderRespType="RESULT").body["status"] == "FILLED"
    answer = core.market("BUY", "0.002").body
    assert (answer["status"], answer["executedQty"]) == ("NEW", "0")
    assert not {"avgPrice", "cumQuote", "cumBase"} & set(answer)


def test_order_when_it_would_exceed_the_bracket_of_its_leverage_then_refused() -> None:
    core = Core(wallet=10**9)
    core.do("leverage.set", symbol="BTCUSDT", leverage=125)
    assert core.limit("BUY", "59000", "5").code == 0
    assert core.limit("BUY", "59000", "1").code == -2027
    assert core.do("leverage.set", symbol="BTCUSDT", leverage=50).code == 0
    assert core.limit("BUY", "59000", "1").code == 0


def test_orders_when_keys_differ_then_accounts_trade_with_each_other_by_price_and_time() -> None:
    core = Core()
    core.limit("SELL", "60000.10", "0.010", newClientOrderId="behind", key=OTHER_KEY)
    core.top("60000.00", "5", "60000.30", "5")
    core.limit("SELL", "60000.10", "0.010", newClientOrderId="second", key=OTHER_KEY)
    core.market("BUY", "0.015")
    assert [status(core, name, OTHER_KEY)["executedQty"] for name in ("behind", "second")] == ["0.010", "0.005"]
    core.exchange.on_trade("BTCUSDT", Decimal("60000.30"), Decimal(1), Side.BUY, core.now)
    assert status(core, "second", OTHER_KEY)["status"] == "FILLED"

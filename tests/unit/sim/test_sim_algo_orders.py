"""Conditional orders: refusals, triggers by mark and by last price, trailing, what they become, what they say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.model.orders import Side
from grinder.sim.exchange.snapshot import ExchangeState, restore, snapshot
from tests.sim_kit import KEY, OTHER_KEY, Core

STOP = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "59000"}


def place(core: Core, key: str = KEY, **params: object) -> Any:
    wanted = {**STOP, "quantity": "0.010", "clientAlgoId": "a"} | params
    return core.do("algo.place", key, **{name: value for name, value in wanted.items() if value != ""})


def last(core: Core, price: str) -> None:
    """Let one small trade of the tape happen at a price."""
    core.exchange.on_trade("BTCUSDT", Decimal(price), Decimal("0.001"), Side.SELL, core.now)


def mark(core: Core, price: str) -> None:
    core.exchange.on_mark("BTCUSDT", Decimal(price), now=core.now)


def events(core: Core) -> list[tuple[str, str]]:
    """Return and clear (name, state) of the events of conditional and other orders."""
    rows = [(each.name, each.payload["o"]["X"]) for each in core.exchange.outbox if "o" in each.payload]
    core.exchange.outbox.clear()
    return rows


def found(core: Core, client_id: str = "a", key: str = KEY) -> Any:
    return core.do("algo.status", key, clientAlgoId=client_id).body


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algoType": "VP"}, -1130),
        ({"algoType": ""}, -1102),
        ({"symbol": "NOPE"}, -1121),
        ({"type": "LIMIT"}, -1116),
        ({"side": "HOLD"}, -1117),
        ({"triggerPrice": ""}, -1102),
        ({"triggerPrice": "0"}, -4006),
        ({"triggerPrice": "2000000"}, -4007),
        ({"triggerPrice": "59000.05"}, -4014),
        ({"triggerPrice": "59000.001"}, -1111),
        ({"triggerPrice": "60100"}, -2021),
        ({"type": "TAKE_PROFIT_MARKET"}, -2021),
        ({"side": "BUY"}, -2021),
        ({"quantity": ""}, -1102),
        ({"quantity": "0"}, -4003),
        ({"quantity": "500"}, -4005),
        ({"workingType": "INDEX"}, -4031),
        ({"timeInForce": "GTT"}, -1115),
        ({"type": "STOP"}, -1102),
        ({"type": "STOP", "price": "59000", "priceMatch": "QUEUE"}, -1106),
        ({"priceMatch": "QUEUE"}, -5038),
        ({"closePosition": "true"}, -4137),
        ({"closePosition": "true", "quantity": "", "reduceOnly": "true"}, -1106),
        ({"closePosition": "true", "quantity": "", "type": "STOP", "price": "59000"}, -4136),
        ({"positionSide": "LONG"}, -4061),
        ({"selfTradePreventionMode": "MAYBE"}, -5039),
        ({"newOrderRespType": "FULL"}, -1136),
        ({"clientAlgoId": "x" * 37}, -4015),
        ({"type": "TRAILING_STOP_MARKET", "callbackRate": ""}, -1102),
        ({"type": "TRAILING_STOP_MARKET", "callbackRate": "0.05"}, -1130),
        ({"type": "TRAILING_STOP_MARKET", "callbackRate": "20.1"}, -1130),
        ({"type": "TRAILING_STOP_MARKET", "callbackRate": "1", "activatePrice": "60100.05"}, -4135),
        ({"type": "TRAILING_STOP_MARKET", "callbackRate": "1", "activatePrice": "59000"}, -2021),
    ],
)
def test_conditional_order_when_a_field_is_wrong_then_documented_code_and_nothing_kept(
    change: dict[str, str], code: int
) -> None:
    core = Core()
    outcome = place(core, **change)
    assert outcome.code == code, outcome.body
    assert core.do("algo.open").body == []
    assert events(core) == []


@pytest.mark.parametrize("kind", ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"])
def test_conditional_type_when_sent_to_the_order_endpoint_then_told_of_the_other(kind: str) -> None:
    assert Core().market("SELL", "0.010", type=kind).code == -4120


def test_conditional_order_when_placed_then_answered_listed_and_told_as_documented() -> None:
    core = Core()
    answer = place(core, workingType="MARK_PRICE", priceProtect="true", reduceOnly="true").body
    assert {name: answer[name] for name in ("orderType", "algoStatus", "triggerPrice", "quantity", "workingType")} == {
        "orderType": "STOP_MARKET",
        "algoStatus": "NEW",
        "triggerPrice": "59000.00",
        "quantity": "0.010",
        "workingType": "MARK_PRICE",
    }
    told = core.exchange.outbox[-1].payload
    assert (told["e"], told["o"]["caid"], told["o"]["X"], told["o"]["ai"], told["o"]["ia"]) == (
        "ALGO_UPDATE",
        "a",
        "NEW",
        "",
        False,
    )
    assert "ap" not in told["o"]
    assert [row["algoId"] for row in core.do("algo.open", symbol="BTCUSDT").body] == [answer["algoId"]]
    assert core.do("algo.open", symbol="ETHUSDT").body == []
    assert core.do("algo.status", OTHER_KEY, algoId=answer["algoId"]).code == -2013


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "quiet", "triggering"),
    [
        ("SELL", "STOP_MARKET", "59000", "59000.10", "59000.00"),
        ("BUY", "STOP_MARKET", "61000", "60999.90", "61000.00"),
        ("SELL", "TAKE_PROFIT_MARKET", "61000", "60999.90", "61000.00"),
        ("BUY", "TAKE_PROFIT_MARKET", "59000", "59000.10", "59000.00"),
    ],
)
@pytest.mark.parametrize("working", ["MARK_PRICE", "CONTRACT_PRICE"])
def test_trigger_when_its_working_price_reaches_it_then_an_order_trades(
    side: str, kind: str, trigger: str, quiet: str, triggering: str, working: str
) -> None:
    core = Core()
    place(core, side=side, type=kind, triggerPrice=trigger, workingType=working)
    move, other = (mark, last) if working == "MARK_PRICE" else (last, mark)
    other(core, triggering)
    move(core, quiet)
    assert found(core)["algoStatus"] == "NEW"
    events(core)
    move(core, triggering)
    assert events(core) == [
        ("ALGO_UPDATE", "TRIGGERING"),
        ("ORDER_TRADE_UPDATE", "NEW"),
        ("ORDER_TRADE_UPDATE", "FILLED"),
        ("ALGO_UPDATE", "TRIGGERED"),
        ("ALGO_UPDATE", "FINISHED"),
    ]
    assert core.held() == Decimal("0.010") * (1 if side == "BUY" else -1)
    row = found(core)
    assert (row["algoStatus"], row["actualType"], row["actualQty"]) == ("FINISHED", "MARKET", "0.010")
    order = core.do("order.status", symbol="BTCUSDT", orderId=row["actualOrderId"]).body
    assert (order["clientOrderId"], order["type"], order["origType"], order["stopPrice"]) == (
        "a",
        "MARKET",
        kind,
        f"{trigger}.00",
    )


def test_stop_limit_when_triggered_then_its_order_rests_and_finishes_with_it() -> None:
    core = Core()
    place(core, type="STOP", price="60500.00")
    last(core, "59000.00")
    assert found(core)["algoStatus"] == "TRIGGERED"
    assert core.do("order.open", symbol="BTCUSDT", origClientOrderId="a").body["price"] == "60500.00"
    events(core)
    core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    core.venue.on_time(core.now)
    assert ("ALGO_UPDATE", "FINISHED") in events(core)


def test_trigger_when_the_margin_is_missing_then_rejected_with_the_reason() -> None:
    core = Core(wallet=100)
    assert place(core, quantity="1").code == 0
    last(core, "58999")
    assert events(core)[-1] == ("ALGO_UPDATE", "REJECTED")
    assert core.exchange.conditional.find(core.exchange.accounts[KEY], 0, "a").failure == "Margin is insufficient."
    assert not core.exchange.orders


def test_close_position_when_triggered_then_closes_all_and_knocks_out_what_rests() -> None:
    core = Core()
    core.market("BUY", "0.015")
    core.limit("SELL", "60100.00", "0.015", reduceOnly="true", newClientOrderId="take")
    place(core, quantity="", closePosition="true")
    last(core, "59000")
    assert core.held() == 0
    assert core.do("order.status", symbol="BTCUSDT", origClientOrderId="take").body["status"] == "EXPIRED"
    assert core.do("order.status", symbol="BTCUSDT", origClientOrderId="a").body["closePosition"] is True
    place(core, quantity="", closePosition="true", clientAlgoId="b", triggerPrice="58000")
    last(core, "58000")
    assert found(core, "b")["algoStatus"] == "EXPIRED"


def test_close_position_in_hedge_mode_when_it_would_open_then_refused_and_else_closes_its_side() -> None:
    core = Core()
    core.do("mode.set", dualSidePosition="true")
    core.market("BUY", "0.010", positionSide="LONG")
    wanted = {"quantity": "", "closePosition": "true"}
    assert place(core, **wanted, side="SELL", positionSide="SHORT").code == -1128
    assert place(core, **wanted, positionSide="LONG").code == 0
    assert core.do("mode.set", dualSidePosition="false").code == -4067
    last(core, "59000")
    assert core.held() == 0


def test_price_protection_when_mark_and_last_are_far_apart_then_waits() -> None:
    core = Core()
    mark(core, "60000")
    place(core, priceProtect="true", triggerPrice="56000")
    last(core, "55900")
    assert found(core)["algoStatus"] == "NEW"
    mark(core, "56500")
    assert found(core)["algoStatus"] == "FINISHED"


def test_trailing_stop_when_the_price_turns_by_its_rate_then_triggers() -> None:
    core = Core()
    last(core, "60000")
    events(core)
    place(core, type="TRAILING_STOP_MARKET", triggerPrice="", callbackRate="1", activatePrice="60500")
    last(core, "60400")
    assert [each.payload["o"]["ia"] for each in core.exchange.outbox if each.name == "ALGO_UPDATE"] == [False]
    last(core, "60500")
    assert [each.payload["o"]["ia"] for each in core.exchange.outbox if each.name == "ALGO_UPDATE"] == [False, True]
    last(core, "61000")
    last(core, "60390.10")
    assert found(core)["algoStatus"] == "NEW"
    last(core, "60390")
    assert found(core)["algoStatus"] == "FINISHED"


def test_trailing_buy_when_without_activation_price_then_follows_at_once() -> None:
    core = Core()
    last(core, "60000")
    place(core, side="BUY", type="TRAILING_STOP_MARKET", triggerPrice="", callbackRate="0.5")
    last(core, "59000")
    last(core, "59294.90")
    assert found(core)["algoStatus"] == "NEW"
    last(core, "59295")
    assert found(core)["algoStatus"] == "FINISHED"


def test_conditional_orders_when_cancelled_then_gone_and_their_ids_free() -> None:
    core = Core()
    place(core)
    assert place(core).code == -4116
    assert core.do("algo.cancel", clientAlgoId="a").body["code"] == "200"
    assert core.do("algo.cancel", clientAlgoId="a").code == -2011
    assert core.do("algo.cancel").code == -1102
    assert place(core).code == 0
    place(core, clientAlgoId="b")
    assert core.do("orders.cancel_all", symbol="BTCUSDT").code == 0
    assert len(core.do("algo.open").body) == 2
    assert core.do("algo.cancel_all", symbol="BTCUSDT").body["code"] == 200
    assert core.do("algo.open").body == []
    rows = core.do("algo.all", symbol="BTCUSDT").body
    assert [row["algoStatus"] for row in rows] == ["CANCELED"] * 3
    since = core.do("algo.all", symbol="BTCUSDT", algoId=rows[1]["algoId"], limit=1).body
    assert [row["algoId"] for row in since] == [rows[1]["algoId"]]


def test_conditional_orders_when_two_hundred_are_open_then_no_more() -> None:
    core = Core()
    codes = [place(core, clientAlgoId=f"a{number}").code for number in range(201)]
    assert codes == [0] * 200 + [-4045]
    assert place(core, OTHER_KEY).code == 0


def test_conditional_order_when_its_date_comes_then_expires() -> None:
    core = Core()
    place(core, timeInForce="GTD", goodTillDate=core.now + 700_000)
    core.venue.on_time(core.now + 699_999)
    assert found(core)["algoStatus"] == "NEW"
    core.venue.on_time(core.now + 700_000)
    assert found(core)["algoStatus"] == "EXPIRED"


def test_conditional_orders_when_the_venue_restarts_then_kept() -> None:
    core = Core()
    place(core)
    place(core, clientAlgoId="gone", quantity="0.010")
    core.do("algo.cancel", clientAlgoId="gone")
    place(core, clientAlgoId="worked", type="STOP", price="60500", triggerPrice="59500")
    last(core, "59500")
    core.top("59000.00", "5", "59000.10", "5")
    again = Core()
    restore(again.exchange, msgspec.json.decode(msgspec.json.encode(snapshot(core.exchange)), type=ExchangeState))
    assert [row["clientAlgoId"] for row in again.do("algo.open").body] == ["a"]
    assert [found(again, name)["algoStatus"] for name in ("gone", "worked")] == ["CANCELED", "TRIGGERED"]
    last(again, "59000")
    assert found(again)["algoStatus"] == "FINISHED"
    again.do("order.cancel", symbol="BTCUSDT", origClientOrderId="worked")
    again.venue.on_time(again.now)
    assert found(again, "worked")["algoStatus"] == "FINISHED"

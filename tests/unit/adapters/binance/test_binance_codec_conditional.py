from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.adapters.binance.answers import answer_of
from grinder.adapters.binance.parameters import parameters_of
from grinder.adapters.binance.wire import Urgency, operation_of, urgency_of
from grinder.model.account import PositionSide, UnreadableRows
from grinder.model.conditional import (
    CancelAllConditional,
    CancelConditional,
    ConditionalOrder,
    ConditionalType,
    PlaceConditional,
    QueryConditional,
    QueryOpenConditional,
)
from grinder.model.errors import PayloadError
from grinder.model.orders import Side, TimeInForce
from grinder.model.units import ZERO

D = Decimal
STOP = PlaceConditional(
    "grd-0-7-x1",
    "BNBUSDT",
    Side.SELL,
    ConditionalType.TAKE_PROFIT,
    D("750.000"),
    D("750.000"),
    D("0.01"),
    TimeInForce.GTC,
    True,
)
DOCUMENTED: dict[str, Any] = {
    "algoId": 2146760,
    "clientAlgoId": "grd-0-7-x1",
    "algoType": "CONDITIONAL",
    "orderType": "TAKE_PROFIT",
    "symbol": "BNBUSDT",
    "side": "SELL",
    "positionSide": "BOTH",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "algoStatus": "NEW",
    "triggerPrice": "750.000",
    "price": "750.000",
    "icebergQuantity": None,
    "selfTradePreventionMode": "EXPIRE_MAKER",
    "workingType": "CONTRACT_PRICE",
    "priceMatch": "NONE",
    "closePosition": False,
    "priceProtect": False,
    "reduceOnly": False,
    "activatePrice": "",
    "callbackRate": "",
    "createTime": 1750485492076,
    "updateTime": 1750485492076,
    "triggerTime": 0,
    "goodTillDate": 0,
}
"""Source: venue documentation, New Algo Order, response example, 2026-05-28."""

ORDER = ConditionalOrder(
    "grd-0-7-x1",
    2146760,
    "BNBUSDT",
    Side.SELL,
    "TAKE_PROFIT",
    "NEW",
    D("750.000"),
    D("750.000"),
    D("0.01"),
    False,
    1750485492076,
)


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_conditional_order_when_documented_reply_then_read_whole() -> None:
    assert answer_of(body(DOCUMENTED), STOP) == ORDER
    assert answer_of(body(DOCUMENTED), QueryConditional("grd-0-7-x1")) == ORDER
    assert answer_of(body([DOCUMENTED, DOCUMENTED]), QueryOpenConditional()) == (ORDER, ORDER)


def test_open_orders_when_an_exit_asks_then_one_that_cannot_be_read_hides_no_other_and_is_counted() -> None:
    rows = body([{**DOCUMENTED, "side": "ASKEW"}, DOCUMENTED])
    assert answer_of(rows, QueryOpenConditional(for_exit=True)) == (ORDER, UnreadableRows(1))
    with pytest.raises(PayloadError):
        answer_of(rows, QueryOpenConditional())


def test_conditional_order_when_it_closes_the_whole_position_then_quantity_and_price_are_zero() -> None:
    known = {key: value for key, value in DOCUMENTED.items() if key not in ("quantity", "price")}
    order = answer_of(body(known | {"orderType": "TRAILING_STOP_MARKET"}), QueryConditional("grd-0-7-x1"))
    assert isinstance(order, ConditionalOrder)
    assert (order.qty, order.price, order.order_type) == (ZERO, ZERO, "TRAILING_STOP_MARKET")


@pytest.mark.parametrize(
    "change", [{"clientAlgoId": "other"}, {"symbol": "BTCUSDT"}, {"quantity": "NaN"}, {"side": "X"}]
)
def test_acknowledgement_when_it_is_about_something_else_or_out_of_range_then_refused(change: dict[str, str]) -> None:
    with pytest.raises(PayloadError):
        answer_of(body(DOCUMENTED | change), STOP)


def test_open_orders_when_one_cannot_be_read_then_none_is_believed() -> None:
    with pytest.raises(PayloadError):
        answer_of(body([DOCUMENTED, DOCUMENTED | {"triggerPrice": "-1"}]), QueryOpenConditional())


@pytest.mark.parametrize(
    ("reply", "taken"),
    [
        ({"algoId": 1, "clientAlgoId": "a", "code": "200", "msg": "success"}, True),
        ({"algoId": 1, "clientAlgoId": "a", "algoStatus": "CANCELED"}, True),
        ({"algoId": 1, "clientAlgoId": "b", "code": "200", "msg": "success"}, False),
        ({"algoId": 1, "clientAlgoId": "a", "code": "400", "msg": "no"}, False),
        ({}, False),
    ],
)
def test_cancel_when_the_reply_is_not_about_it_then_not_believed(reply: dict[str, object], taken: bool) -> None:
    if taken:
        assert answer_of(body(reply), CancelConditional("a")) is None
    else:
        with pytest.raises(PayloadError):
            answer_of(body(reply), CancelConditional("a"))


def test_parameters_when_conditional_then_the_algo_service_is_named_and_the_mode_decides_what_reduces() -> None:
    assert parameters_of(STOP) == {
        "algoType": "CONDITIONAL",
        "symbol": "BNBUSDT",
        "side": "SELL",
        "type": "TAKE_PROFIT",
        "quantity": "0.01",
        "triggerPrice": "750.000",
        "clientAlgoId": "grd-0-7-x1",
        "price": "750.000",
        "timeInForce": "GTC",
        "reduceOnly": "true",
    }
    hedged = msgspec.structs.replace(
        STOP, position_side=PositionSide.LONG, order_type=ConditionalType.TAKE_PROFIT_MARKET
    )
    parameters = parameters_of(hedged)
    assert parameters["positionSide"] == "LONG"
    assert not {"price", "timeInForce", "reduceOnly"} & set(parameters)
    assert parameters_of(CancelConditional("a")) == {"clientAlgoId": "a"}
    assert parameters_of(QueryOpenConditional()) == {}


def test_urgency_when_conditional_orders_are_taken_away_or_asked_for_by_an_exit_then_protective() -> None:
    protective = (CancelConditional("a"), CancelAllConditional("B"), QueryOpenConditional(for_exit=True), STOP)
    assert {urgency_of(request) for request in protective} == {Urgency.PROTECTIVE}
    assert urgency_of(msgspec.structs.replace(STOP, reduce_only=False)) is Urgency.RISK
    assert urgency_of(QueryOpenConditional()) is Urgency.QUERY
    assert operation_of(QueryOpenConditional("B")).weight == 1
    assert operation_of(QueryOpenConditional()).weight == 40

from __future__ import annotations

from decimal import Decimal
from typing import get_args

import msgspec
import pytest

from grinder.adapters.binance import answers, parameters, wire
from grinder.adapters.binance.parameters import parameters_of
from grinder.adapters.binance.wire import Urgency, deed_of, operation_of, urgency_of
from grinder.core.permit import Deed
from grinder.model.account import PositionSide
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import (
    AmendOrder,
    ArmCountdown,
    CancelAllOrders,
    CancelOrder,
    OrderType,
    PlaceBatch,
    PlaceOrder,
    QueryOpenOrders,
    VenueRequest,
)
from tests.venue_requests import EVERY_REQUEST

PLACE = PlaceOrder(
    "grd-0-1-b1", "BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal("9000.10"), Decimal("0.002"), TimeInForce.GTX, False
)


def test_place_limit_order_carries_price_and_time_in_force() -> None:
    assert parameters_of(PLACE) == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "0.002",
        "newClientOrderId": "grd-0-1-b1",
        "newOrderRespType": "ACK",
        "price": "9000.10",
        "timeInForce": "GTX",
    }


def test_place_market_order_carries_neither_price_nor_time_in_force() -> None:
    parameters = parameters_of(msgspec.structs.replace(PLACE, order_type=OrderType.MARKET, reduce_only=True))
    assert "price" not in parameters
    assert "timeInForce" not in parameters
    assert parameters["reduceOnly"] == "true"


def test_place_in_hedge_mode_sends_the_position_side_and_never_reduce_only() -> None:
    parameters = parameters_of(msgspec.structs.replace(PLACE, position_side=PositionSide.LONG, reduce_only=True))
    assert parameters["positionSide"] == "LONG"
    assert "reduceOnly" not in parameters


@pytest.mark.parametrize(("number", "text"), [("1E+3", "1000"), ("1E-7", "0.0000001"), ("9000.10", "9000.10")])
def test_numbers_are_written_without_an_exponent(number: str, text: str) -> None:
    assert parameters.plain(Decimal(number)) == text


def test_every_request_has_a_row_and_no_row_deletes_a_listen_key() -> None:
    for kind in get_args(VenueRequest):
        assert kind in wire._ROW
        assert kind in answers._ANSWER
    assert not [row for row in wire.OPERATIONS if row.verb == "DELETE" and "listenKey" in row.path]


def test_open_orders_of_all_symbols_cost_forty_times_those_of_one() -> None:
    assert operation_of(QueryOpenOrders("BTCUSDT")).weight == 1
    assert operation_of(QueryOpenOrders()).weight == 40
    assert parameters_of(QueryOpenOrders()) == {}


@pytest.mark.parametrize(
    ("request_", "urgency"),
    [
        (PLACE, Urgency.RISK),
        (msgspec.structs.replace(PLACE, reduce_only=True), Urgency.PROTECTIVE),
        (msgspec.structs.replace(PLACE, side=Side.SELL, position_side=PositionSide.LONG), Urgency.PROTECTIVE),
        (msgspec.structs.replace(PLACE, side=Side.BUY, position_side=PositionSide.SHORT), Urgency.PROTECTIVE),
        (msgspec.structs.replace(PLACE, side=Side.SELL, position_side=PositionSide.SHORT), Urgency.RISK),
        (AmendOrder("a", "BTCUSDT", Side.BUY, Decimal(1), Decimal(1)), Urgency.RISK),
        (AmendOrder("a", "BTCUSDT", Side.BUY, Decimal(1), Decimal(1), reduce_only=True), Urgency.PROTECTIVE),
        (CancelOrder("a", "BTCUSDT"), Urgency.PROTECTIVE),
        (CancelAllOrders("BTCUSDT"), Urgency.PROTECTIVE),
        (ArmCountdown("BTCUSDT", 120_000), Urgency.PROTECTIVE),
        (QueryOpenOrders(), Urgency.QUERY),
    ],
)
def test_urgency_of_what_can_only_reduce_is_protective(request_: VenueRequest, urgency: Urgency) -> None:
    assert urgency_of(request_) is urgency


def test_deed_of_every_request_is_that_of_a_command_unless_it_is_a_question() -> None:
    for request in EVERY_REQUEST:
        question = type(request).__name__.startswith("Query")
        assert (deed_of(request) is None) is question, request
    assert deed_of(PLACE) is deed_of(PlaceBatch((PLACE,))) is Deed.RISK
    assert deed_of(msgspec.structs.replace(PLACE, reduce_only=True)) is Deed.PROTECTIVE
    assert deed_of(AmendOrder("a", "BTCUSDT", Side.BUY, Decimal(1), Decimal(1))) is Deed.RISK
    assert deed_of(ArmCountdown("BTCUSDT", 0)) is deed_of(CancelAllOrders("BTCUSDT")) is Deed.PROTECTIVE
    assert deed_of(QueryOpenOrders(for_exit=True)) is None

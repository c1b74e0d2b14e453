from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.adapters.binance import codec_account as codec
from grinder.adapters.binance.answers import answer_of
from grinder.model.account import OpenOrder, Position, PositionSide, UnreadableRows
from grinder.model.errors import PayloadError
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import (
    AmendOrder,
    CancelOrder,
    OrderType,
    PlaceOrder,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    VenueOrder,
)

PLACE = PlaceOrder(
    "grd-0-1-b1", "BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal("9000.10"), Decimal("0.002"), TimeInForce.GTX, False
)
AMEND = AmendOrder("grd-0-1-b1", "BTCUSDT", Side.BUY, Decimal("9001.00"), Decimal("0.003"))
CANCEL = CancelOrder("grd-0-1-b1", "BTCUSDT")

ORDER: dict[str, Any] = {
    "avgPrice": "0.00000",
    "clientOrderId": "grd-0-1-b1",
    "cumQuote": "0",
    "executedQty": "0.001",
    "orderId": 1917641,
    "origQty": "0.002",
    "origType": "LIMIT",
    "price": "9000.10",
    "reduceOnly": False,
    "side": "BUY",
    "positionSide": "BOTH",
    "status": "PARTIALLY_FILLED",
    "stopPrice": "0",
    "symbol": "BTCUSDT",
    "time": 1579276756075,
    "timeInForce": "GTX",
    "type": "LIMIT",
    "updateTime": 1579276756175,
    "workingType": "CONTRACT_PRICE",
    "modifyId": 7,
    "st": 1,
}


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


def order(**changes: object) -> bytes:
    return body({**ORDER, **changes})


def test_ack_never_yields_a_fill_even_if_the_venue_reports_one() -> None:
    ack = codec.decode_ack(order(status="FILLED", executedQty="0.002", avgPrice="9000.10", cumQuote="18.0"), PLACE)
    assert ack.filled_qty == 0
    assert (ack.status, ack.venue_order_id, ack.update_utc_ms) == ("FILLED", 1917641, 1579276756175)


def test_ack_of_a_placement_with_the_least_fields_takes_the_rest_from_the_request() -> None:
    ack = codec.decode_ack(body({"symbol": "BTCUSDT", "orderId": 7, "clientOrderId": "grd-0-1-b1"}), PLACE)
    assert (ack.side, ack.price, ack.qty, ack.status) == (Side.BUY, PLACE.price, PLACE.qty, "NEW")


def test_ack_of_an_amendment_without_price_takes_it_from_the_request() -> None:
    ack = codec.decode_ack(body({"symbol": "BTCUSDT", "orderId": 7, "clientOrderId": "grd-0-1-b1"}), AMEND)
    assert (ack.price, ack.qty) == (AMEND.price, AMEND.qty)


@pytest.mark.parametrize("changes", [{"clientOrderId": "grd-0-2-b1"}, {"symbol": "ETHUSDT"}])
def test_ack_about_another_order_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(PayloadError):
        codec.decode_ack(order(**changes), PLACE)


@pytest.mark.parametrize("changes", [{"clientOrderId": "grd-0-2-b1"}, {"symbol": "ETHUSDT"}])
def test_query_when_the_answer_is_about_another_order_then_refused(changes: dict[str, str]) -> None:
    asked = QueryOrder("grd-0-1-b1", "BTCUSDT")
    found = answer_of(order(), asked)
    assert isinstance(found, VenueOrder)
    assert found.client_order_id == asked.client_order_id
    with pytest.raises(PayloadError):
        answer_of(order(**changes), asked)


def test_ack_with_a_status_nobody_knows_keeps_the_word() -> None:
    assert codec.decode_ack(order(status="PENDING_SOMETHING"), CANCEL).status == "PENDING_SOMETHING"


def test_query_reports_what_was_filled() -> None:
    found = codec.decode_order(order())
    assert (found.filled_qty, found.qty, found.status) == (Decimal("0.001"), Decimal("0.002"), "PARTIALLY_FILLED")


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "NaN"},
        {"price": "Infinity"},
        {"price": "-1"},
        {"origQty": "1E+1000000"},
        {"executedQty": "-0.001"},
        {"price": None},
        {"price": "abc"},
        {"orderId": "x"},
        {"side": "HOLD"},
    ],
)
def test_order_with_a_value_out_of_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(PayloadError):
        codec.decode_order(order(**changes))
    with pytest.raises(PayloadError):
        codec.decode_open_orders(b"[" + order() + b"," + order(**changes) + b"]")


@pytest.mark.parametrize("message", [b"", b"null", b"[]", b"{", b"\xff", b'"text"', b"[" * 50_000, b"<html></html>"])
def test_bytes_that_are_no_order_are_refused(message: bytes) -> None:
    for decode in (
        codec.decode_order,
        codec.decode_balance,
        codec.decode_position_mode,
        codec.decode_server_time,
        codec.decode_listen_key,
        codec.decode_done,
    ):
        with pytest.raises(PayloadError):
            decode(message)


def test_open_orders_keep_foreign_ones_and_their_type() -> None:
    orders = codec.decode_open_orders(b"[" + order(clientOrderId="web_abc", type="STOP_NEW_KIND") + b"]")
    assert (orders[0].client_order_id, orders[0].order_type) == ("web_abc", "STOP_NEW_KIND")
    assert codec.decode_open_orders(b"[]") == ()


def position(**changes: object) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "positionSide": "BOTH",
        "positionAmt": "-0.010",
        "entryPrice": "9000.0",
        "breakEvenPrice": "8999.0",
        "markPrice": "9010.0",
        "unRealizedProfit": "-0.1",
        "liquidationPrice": "0",
        "updateTime": 1720736417660,
        **changes,
    }


def test_positions_leave_out_flat_ones_and_keep_the_sign() -> None:
    positions = codec.decode_positions(body([position(), position(symbol="ETHUSDT", positionAmt="0.000")]))
    assert [(item.symbol, item.qty, item.mark_price) for item in positions] == [
        ("BTCUSDT", Decimal("-0.010"), Decimal("9010.0"))
    ]


def test_positions_in_hedge_mode_keep_both_sides() -> None:
    positions = codec.decode_positions(
        body([position(positionSide="LONG", positionAmt="1"), position(positionSide="SHORT", positionAmt="-1")])
    )
    assert [item.position_side for item in positions] == [PositionSide.LONG, PositionSide.SHORT]


def test_one_unreadable_position_refuses_all_because_missing_is_not_flat() -> None:
    with pytest.raises(PayloadError):
        codec.decode_positions(body([position(), position(positionAmt="NaN")]))


@pytest.mark.parametrize(
    "strange", [{"positionAmt": "NaN"}, {"positionSide": "ASKEW"}, {"markPrice": None}, {"entryPrice": "1E+99"}]
)
def test_positions_when_an_exit_asks_then_one_that_cannot_be_read_hides_no_other_and_is_counted(
    strange: dict[str, object],
) -> None:
    rows = body([position(**strange), position(symbol="ETHUSDT"), "?"])
    known = answer_of(rows, QueryPositions(for_exit=True))
    assert isinstance(known, tuple)
    assert [item.symbol for item in known if isinstance(item, Position)] == ["ETHUSDT"]
    assert known[-1] == UnreadableRows(2)
    with pytest.raises(PayloadError):
        answer_of(rows, QueryPositions())


def test_positions_when_an_exit_asks_then_a_strange_row_without_amount_is_flat_and_a_broken_list_is_no_answer() -> None:
    assert answer_of(body([position(positionAmt="0.0", markPrice="")]), QueryPositions(for_exit=True)) == ()
    for broken in (b"[{", b"{}", b""):
        with pytest.raises(PayloadError):
            answer_of(broken, QueryPositions(for_exit=True))


def test_open_orders_when_an_exit_asks_then_those_that_can_be_read_and_how_many_cannot() -> None:
    rows = body([ORDER, {**ORDER, "side": "ASKEW"}])
    (known, hidden) = codec.decode_readable_orders(rows)
    assert isinstance(known, OpenOrder)
    assert hidden == UnreadableRows(1)
    assert answer_of(rows, QueryOpenOrders(for_exit=True)) == (known, hidden)
    with pytest.raises(PayloadError):
        answer_of(rows, QueryOpenOrders())


def test_balance_reads_the_totals() -> None:
    balance = codec.decode_balance(
        body(
            {
                "totalWalletBalance": "103.12345678",
                "totalUnrealizedProfit": "-1.5",
                "availableBalance": "90",
                "assets": [{"asset": "USDT"}],
                "positions": [],
            }
        )
    )
    assert (balance.wallet_balance, balance.equity) == (Decimal("103.12345678"), Decimal("101.62345678"))


def test_position_mode_clock_listen_key_and_done_are_read() -> None:
    assert codec.decode_position_mode(b'{"dualSidePosition":true}') is True
    assert codec.decode_server_time(b'{"serverTime":1499827319559}') == 1499827319559
    assert codec.decode_listen_key(b'{"listenKey":"pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"}')
    codec.decode_done(b'{"code":200,"msg":"The operation of cancel all open order is done."}')
    codec.decode_countdown(b'{"symbol":"BTCUSDT","countdownTime":"100000"}', "BTCUSDT")


@pytest.mark.parametrize("key", ["", "a b", "a?b=c", "schlüssel", "../x"])
def test_listen_key_that_could_change_an_address_is_refused(key: str) -> None:
    with pytest.raises(PayloadError):
        codec.decode_listen_key(body({"listenKey": key}))


@pytest.mark.parametrize("server_time", [0, -5, 1499827319, 10**13, 10**30])
def test_server_time_that_is_not_in_milliseconds_is_refused(server_time: int) -> None:
    with pytest.raises(PayloadError):
        codec.decode_server_time(b'{"serverTime":%d}' % server_time)


def test_done_and_countdown_about_something_else_are_refused() -> None:
    with pytest.raises(PayloadError):
        codec.decode_done(b'{"code":-2012,"msg":"Batch cancel failure."}')
    with pytest.raises(PayloadError):
        codec.decode_countdown(b'{"symbol":"ETHUSDT","countdownTime":"100000"}', "BTCUSDT")

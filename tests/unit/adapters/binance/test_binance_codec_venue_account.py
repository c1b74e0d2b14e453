from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.adapters.binance.answers import answer_of
from grinder.adapters.binance.parameters import parameters_of
from grinder.model.account import PositionSide
from grinder.model.errors import PayloadError
from grinder.model.market import DepthSnapshot
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import (
    Advice,
    BatchReplies,
    Confirmed,
    InDoubt,
    OrderType,
    PlaceBatch,
    PlaceOrder,
    Rejected,
    VenueRequest,
)
from grinder.model.venue_account import (
    AccountConfig,
    AccountTrade,
    Bracket,
    QueryAccountConfig,
    QueryBrackets,
    QueryDepth,
    QuerySymbolConfig,
    QueryTrades,
    QueryTradingStatus,
    Restriction,
    SymbolConfig,
    TradingStatus,
)

D = Decimal
ORDER = PlaceOrder("grd-0-1-b1", "BTCUSDT", Side.BUY, OrderType.LIMIT, D("9000.10"), D("0.002"), TimeInForce.GTX, False)
ORDERS = tuple(msgspec.structs.replace(ORDER, client_order_id=f"grd-0-{number}-b1") for number in range(3))


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


BRACKETS = {
    "symbol": "ETHUSDT",
    "notionalCoef": 1.50,
    "brackets": [
        {
            "bracket": 1,
            "initialLeverage": 75,
            "notionalCap": 10000,
            "notionalFloor": 0,
            "maintMarginRatio": 0.0065,
            "cum": 0.0,
        }
    ],
}
TRADE = {
    "buyer": False,
    "commission": "-0.07819010",
    "commissionAsset": "USDT",
    "id": 698759,
    "maker": False,
    "orderId": 25851813,
    "price": "7819.01",
    "qty": "0.002",
    "quoteQty": "15.63802",
    "realizedPnl": "-0.91539999",
    "side": "SELL",
    "positionSide": "SHORT",
    "symbol": "BTCUSDT",
    "time": 1569514978020,
}
LOCKED = {"isLocked": True, "plannedRecoverTime": 1545741270000, "indicator": "UFR", "value": 0.05}
FREE = {"isLocked": False, "indicator": "GCR", "value": 0.99, "triggerValue": 0.99}

ANSWERS: list[tuple[VenueRequest, Any, Any]] = [
    (
        QueryAccountConfig(),
        {"feeTier": 0, "canTrade": True, "dualSidePosition": True, "multiAssetsMargin": False, "tradeGroupId": -1},
        AccountConfig(can_trade=True, hedge_mode=True, multi_assets=False),
    ),
    (
        QuerySymbolConfig("BTCUSDT"),
        [
            {
                "symbol": "BTCUSDT",
                "marginType": "CROSSED",
                "isAutoAddMargin": False,
                "leverage": 21,
                "maxNotionalValue": "1000000",
            }
        ],
        SymbolConfig("BTCUSDT", 21, "CROSSED", D(1_000_000)),
    ),
    (QueryBrackets("ETHUSDT"), [BRACKETS], (Bracket("ETHUSDT", 75, D(0), D(10_000), D("0.0065")),)),
    (QueryBrackets("ETHUSDT"), BRACKETS, (Bracket("ETHUSDT", 75, D(0), D(10_000), D("0.0065")),)),
    (
        QueryTrades("BTCUSDT", 7),
        [TRADE],
        (
            AccountTrade(
                "BTCUSDT",
                698759,
                25851813,
                Side.SELL,
                D("7819.01"),
                D("0.002"),
                D("-0.07819010"),
                "USDT",
                D("-0.91539999"),
                False,
                1569514978020,
            ),
        ),
    ),
    (
        QueryTradingStatus(),
        {"indicators": {"ETHUSDT": [FREE], "BTCUSDT": [LOCKED, FREE]}, "updateTime": 1545741270000},
        TradingStatus((Restriction("BTCUSDT", "UFR", 1545741270000),)),
    ),
    (QueryTradingStatus(), {"indicators": {}, "updateTime": 1}, TradingStatus(())),
    (
        QueryDepth("BTCUSDT"),
        {"lastUpdateId": 1027024, "E": 1589436922972, "T": 1, "bids": [["4.0", "431"]], "asks": [["4.2", "12"]]},
        DepthSnapshot("BTCUSDT", 1027024, ((D("4.0"), D(431)),), ((D("4.2"), D(12)),), 1589436922972, 0),
    ),
]
"""Source: the response examples of the venue's documentation, 2026-05-28."""


@pytest.mark.parametrize(("request_", "reply", "answer"), ANSWERS, ids=lambda value: type(value).__name__)
def test_reply_when_as_documented_then_read_whole(request_: VenueRequest, reply: object, answer: object) -> None:
    assert answer_of(body(reply), request_) == answer


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (QueryAccountConfig(), {"canTrade": True}),
        (QuerySymbolConfig("BTCUSDT"), []),
        (QuerySymbolConfig("ETHUSDT"), ANSWERS[1][1]),
        (QueryBrackets("BTCUSDT"), [BRACKETS]),
        (QueryTrades("BTCUSDT"), [TRADE | {"price": "Infinity"}]),
        (QueryTrades("BTCUSDT"), {}),
        (QueryTradingStatus(), {"indicators": [LOCKED]}),
        (QueryTradingStatus(), {}),
        (QueryDepth("BTCUSDT"), {"lastUpdateId": 1, "bids": [["5", "1"]], "asks": [["4", "1"]]}),
        (QueryDepth("BTCUSDT"), {"id": 1}),
    ],
)
def test_reply_when_incomplete_or_about_something_else_then_refused(request_: VenueRequest, reply: object) -> None:
    with pytest.raises(PayloadError):
        answer_of(body(reply), request_)


def ack(order: PlaceOrder) -> dict[str, object]:
    return {
        "symbol": order.symbol,
        "orderId": 5,
        "clientOrderId": order.client_order_id,
        "side": "BUY",
        "status": "NEW",
    }


def test_batch_when_items_end_differently_then_each_order_has_its_own_end() -> None:
    first, _, third = ORDERS
    reply = [ack(first), {"code": -2022, "msg": "ReduceOnly Order is rejected."}, ack(first)]
    answer = answer_of(body(reply), PlaceBatch(ORDERS))
    assert isinstance(answer, BatchReplies)
    placed, refused, doubtful = answer.replies
    assert isinstance(placed, Confirmed)
    assert isinstance(refused, Rejected)
    assert refused.advice is Advice.REDUCE_ONLY
    assert doubtful == InDoubt("unreadable"), f"{third.client_order_id} is not what the venue confirmed"


def test_batch_when_an_item_says_status_unknown_then_that_order_is_in_doubt() -> None:
    answer = answer_of(body([{"code": -1007, "msg": "Timeout"}]), PlaceBatch(ORDERS[:1]))
    assert answer == BatchReplies((InDoubt("-1007"),))


@pytest.mark.parametrize("items", [0, 2, 4])
def test_batch_when_the_number_of_items_is_another_then_refused_whole(items: int) -> None:
    with pytest.raises(PayloadError):
        answer_of(body([ack(ORDER)] * items), PlaceBatch(ORDERS))


@pytest.mark.parametrize("orders", [0, 6])
def test_batch_when_it_is_empty_or_above_the_venues_limit_then_refused(orders: int) -> None:
    with pytest.raises(ValueError, match="a batch has"):
        PlaceBatch((ORDER,) * orders)


def test_batch_parameters_when_built_then_every_order_is_as_it_would_be_alone() -> None:
    hedged = msgspec.structs.replace(ORDER, position_side=PositionSide.SHORT)
    orders = msgspec.json.decode(str(parameters_of(PlaceBatch((ORDER, hedged)))["batchOrders"]))
    assert orders == [parameters_of(ORDER), parameters_of(hedged)]

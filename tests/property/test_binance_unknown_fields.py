"""What the venue adds tomorrow changes nothing: unknown fields anywhere, unknown words in sets that are open.

Invariant: a message with anything added to any of its objects gives the same value as without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.adapters.binance.answers import answer_of
from grinder.adapters.binance.codec_market import decode_market
from grinder.adapters.binance.codec_user import decode_user
from grinder.model.account import OpenOrder
from grinder.model.venue import OrderEvent, VenueOrder
from tests.venue_requests import EVERY_REQUEST, PLACE

ORDER: dict[str, Any] = {
    "symbol": PLACE.symbol,
    "orderId": 7,
    "clientOrderId": PLACE.client_order_id,
    "side": "BUY",
    "status": "NEW",
    "type": "LIMIT",
    "price": "9000",
    "origQty": "0.002",
    "executedQty": "0",
    "updateTime": 1,
}
ALGO: dict[str, Any] = {
    "algoId": 1,
    "clientAlgoId": "grd-0-2-x1",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "orderType": "STOP_MARKET",
    "algoStatus": "NEW",
    "triggerPrice": "8000",
    "quantity": "0.002",
}
FILTERS: list[dict[str, Any]] = [
    {"filterType": "PRICE_FILTER", "minPrice": "1", "maxPrice": "9", "tickSize": "1"},
    {"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "9", "stepSize": "1"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "1", "maxQty": "9", "stepSize": "1"},
    {"filterType": "MAX_NUM_ORDERS", "limit": 200},
    {"filterType": "MIN_NOTIONAL", "notional": "5"},
    {"filterType": "PERCENT_PRICE", "multiplierUp": "1.1", "multiplierDown": "0.9"},
    {"filterType": "OF_NEXT_YEAR", "anything": ["goes"]},
]
RISK = {"symbol": "A", "positionAmt": "1", "entryPrice": "1", "markPrice": "1", "unRealizedProfit": "0"}
TOTALS = {"totalWalletBalance": "1", "totalUnrealizedProfit": "0", "availableBalance": "1"}
TRADE = {"symbol": "A", "id": 1, "orderId": 1, "side": "BUY", "price": "1", "qty": "1", "commission": "0"}
TRADE |= {"commissionAsset": "B", "realizedPnl": "0", "maker": True, "time": 1}
BRACKET = {"initialLeverage": 1, "notionalCap": 1, "notionalFloor": 0, "maintMarginRatio": 0.1}
REPLIES: dict[str, Any] = {
    "PlaceOrder": ORDER,
    "AmendOrder": ORDER,
    "CancelOrder": ORDER,
    "QueryOrder": ORDER,
    "CancelAllOrders": {"code": 200},
    "ArmCountdown": {"symbol": "BTCUSDT"},
    "QueryOpenOrders": [ORDER],
    "QueryPositions": [RISK],
    "QueryBalance": TOTALS,
    "QueryPositionMode": {"dualSidePosition": False},
    "QueryInstruments": {"rateLimits": [], "symbols": [{"symbol": "A", "status": "NEW_WORD", "filters": FILTERS}]},
    "QueryServerTime": {"serverTime": 1_800_000_000_000},
    "PlaceBatch": [ORDER],
    "PlaceConditional": ALGO,
    "CancelConditional": {"clientAlgoId": "grd-0-2-x1", "code": "200"},
    "QueryConditional": ALGO,
    "QueryOpenConditional": [ALGO],
    "CancelAllConditional": {"code": 200},
    "QueryAccountConfig": {"canTrade": True, "dualSidePosition": False, "multiAssetsMargin": False},
    "QuerySymbolConfig": [{"symbol": "BTCUSDT", "marginType": "NEW_WORD", "leverage": 1, "maxNotionalValue": "1"}],
    "QueryBrackets": [{"symbol": "BTCUSDT", "brackets": [BRACKET]}],
    "QueryTrades": [TRADE],
    "QueryTradingStatus": {"indicators": {"BTCUSDT": [{"isLocked": True, "indicator": "NEW_WORD"}]}},
    "QueryDepth": {"lastUpdateId": 1, "bids": [["1", "1"]], "asks": [["2", "1"]]},
}
EVENT = {"s": "A", "c": "b", "i": 1, "S": "BUY", "x": "NEW_WORD", "X": "NEW_WORD", "p": "1", "q": "1", "z": "0"}
CHANGED = {"s": "A", "pa": "1", "ep": "1", "up": "0", "ps": "BOTH"}
USER = (
    {"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": EVENT},
    {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1, "a": {"m": "NEW_WORD", "B": [{"a": "USDT", "wb": "1"}], "P": [CHANGED]}},
    {"e": "MARGIN_CALL", "p": [{"s": "A"}]},
    {"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": "A", "l": 1}},
    {"e": "listenKeyExpired", "listenKey": "k"},
    {"e": "NEW_EVENT"},
)
MARKET = (
    {"e": "bookTicker", "u": 1, "s": "A", "b": "1", "B": "1", "a": "2", "A": "1", "T": 1, "E": 1},
    {"e": "markPriceUpdate", "E": 1, "s": "A", "p": "1", "i": "1", "r": "0", "T": 1},
    {"e": "aggTrade", "E": 1, "s": "A", "a": 1, "p": "1", "q": "1", "f": 1, "l": 1, "T": 1, "m": True},
    {"e": "depthUpdate", "E": 1, "T": 1, "s": "A", "U": 1, "u": 2, "pu": 0, "b": [["1", "1"]], "a": []},
)
Decode = Callable[[bytes], object]
SAMPLES: list[tuple[str, Decode, Any]] = [
    *((name, _answers, REPLIES[name]) for name, _answers in (
        (type(request).__name__, lambda body, request=request: answer_of(body, request)) for request in EVERY_REQUEST
    )),
    *((message["e"], decode_user, message) for message in USER),
    *((str(message["e"]), lambda body: decode_market(body, 0, 0), message) for message in MARKET),
    *((f"{message['e']} combined", lambda body: decode_market(body, 0, 0), {"stream": "s", "data": message})
      for message in MARKET),
]  # fmt: skip
added = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.just({"x": [1]}) | st.just([{}])
names = st.from_regex(r"new[A-Za-z]{1,4}", fullmatch=True)


@st.composite
def grown(draw: st.DrawFn, value: Any, *, is_map: bool = False) -> Any:
    """A copy of a JSON value with unknown fields in its objects; a map by symbol stays as it is."""
    if isinstance(value, list):
        return [draw(grown(item)) for item in value]
    if not isinstance(value, dict):
        return value
    copy = {name: draw(grown(item, is_map=name == "indicators")) for name, item in value.items()}
    return copy if is_map else copy | draw(st.dictionaries(names, added, max_size=2))


def test_samples_when_counted_then_every_request_has_one() -> None:
    assert set(REPLIES) == {type(request).__name__ for request in EVERY_REQUEST}


@pytest.mark.parametrize(("decode", "message"), [row[1:] for row in SAMPLES], ids=[row[0] for row in SAMPLES])
@settings(max_examples=15)
@given(data=st.data())
def test_message_when_the_venue_adds_fields_anywhere_then_the_value_is_the_same(
    decode: Decode, message: Any, data: st.DataObject
) -> None:
    assert decode(msgspec.json.encode(data.draw(grown(message)))) == decode(msgspec.json.encode(message))


@given(word=st.text(min_size=1, max_size=12))
def test_open_set_when_the_venue_has_a_new_word_then_it_passes_through(word: str) -> None:
    queries = {type(request).__name__: request for request in EVERY_REQUEST}
    order = answer_of(msgspec.json.encode(ORDER | {"status": word}), queries["QueryOrder"])
    resting = answer_of(msgspec.json.encode([ORDER | {"status": word, "type": word}]), queries["QueryOpenOrders"])
    event = decode_user(msgspec.json.encode(USER[0] | {"o": EVENT | {"x": word, "X": word}}))
    assert isinstance(order, VenueOrder)
    assert isinstance(resting, tuple)
    assert isinstance(resting[0], OpenOrder)
    assert isinstance(event, OrderEvent)
    assert [order.status, resting[0].status, resting[0].order_type, event.status, event.execution] == [word] * 5

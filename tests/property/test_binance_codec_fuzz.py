"""Whatever bytes come, the account codecs give a value or PayloadError, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.adapters.binance import codec_account as account
from grinder.adapters.binance.answers import answer_of
from grinder.adapters.binance.codec_user import decode_user
from grinder.adapters.binance.errors import classify, read_error
from grinder.model.conditional import QueryOpenConditional
from grinder.model.errors import PayloadError
from grinder.model.venue import InDoubt, QueryOpenOrders, QueryPositions, Rejected, VenueRequest
from tests.venue_requests import EVERY_REQUEST


def answer_to(request: VenueRequest, body: bytes) -> object:
    return answer_of(body, request)


OF_AN_EXIT = (
    QueryOpenOrders(for_exit=True),
    QueryPositions(for_exit=True),
    QueryOpenConditional(for_exit=True),
)
DECODERS: dict[str, Callable[[bytes], object]] = {
    "listen_key": account.decode_listen_key,
    "user": decode_user,
    **{type(request).__name__: partial(answer_to, request) for request in EVERY_REQUEST},
    **{f"{type(request).__name__} for an exit": partial(answer_to, request) for request in OF_AN_EXIT},
}
"""Of the user stream, of the listen key, and of every request there is."""

VALID = (
    b'{"symbol":"BTCUSDT","orderId":7,"clientOrderId":"grd-0-1-b1","side":"BUY","status":"NEW","price":"9000",'
    b'"origQty":"0.002","executedQty":"0","updateTime":1}',
    b'[{"symbol":"BTCUSDT","positionAmt":"1","entryPrice":"1","markPrice":"1","unRealizedProfit":"0"}]',
    b'{"e":"ORDER_TRADE_UPDATE","E":1,"T":1,"o":{"s":"A","c":"b","i":1,"S":"BUY","x":"TRADE","X":"NEW","p":"1",'
    b'"q":"1","z":"1","l":"1","L":"1","t":1}}',
    b'{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{"m":"ORDER","B":[{"a":"USDT","wb":"1"}],"P":[]}}',
    b'[{"algoId":1,"clientAlgoId":"a","symbol":"B","side":"BUY","orderType":"STOP","triggerPrice":"1","quantity":"1"}]',
    b'[{"symbol":"BTCUSDT","id":1,"orderId":1,"side":"BUY","price":"1","qty":"1","commission":"0","commissionAsset":"A",'
    b'"realizedPnl":"0","maker":true,"time":1}]',
    b'{"indicators":{"BTCUSDT":[{"isLocked":true,"indicator":"UFR","plannedRecoverTime":1}]}}',
    b'{"symbol":"BTCUSDT","brackets":[{"initialLeverage":1,"notionalCap":1,"notionalFloor":0,"maintMarginRatio":0.1}]}',
    b'{"lastUpdateId":1,"bids":[["1","1"]],"asks":[["2","1"]]}',
    b'{"e":"MARGIN_CALL","p":[{"s":"BTCUSDT"}]}',
    b'{"rateLimits":[],"symbols":[{"symbol":"A","status":"B","filters":[{"filterType":"LOT_SIZE","minQty":"1"}]}]}',
)
words = st.sampled_from(["NaN", "Infinity", "-1", "1E+999999", "0", "", "BUY", "BTCUSDT", "LOT_SIZE", "TRADE"])
keys = st.sampled_from(["e", "o", "a", "B", "P", "symbol", "orderId", "clientOrderId", "price", "symbols", "filters"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | words | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=4), inner, max_size=6),
    max_leaves=16,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid message with a piece cut out or overwritten."""
    message = bytearray(draw(st.sampled_from(VALID)))
    start = draw(st.integers(0, len(message) - 1))
    end = draw(st.integers(start, len(message)))
    message[start:end] = draw(st.binary(max_size=12))
    return bytes(message)


@pytest.mark.parametrize("name", DECODERS)
@given(message=st.binary(max_size=200) | damaged() | json_values.map(msgspec.json.encode))
def test_decoder_when_given_anything_gives_a_value_or_payload_error(name: str, message: bytes) -> None:
    try:
        DECODERS[name](message)
    except PayloadError:
        pass


@given(
    http_status=st.integers(0, 999),
    code=st.integers(-10_000, 10),
    message=st.text(max_size=300),
    retry_after_ms=st.integers(0, 10**9),
)
def test_refusal_of_any_kind_is_rejected_or_in_doubt_and_never_rejected_by_a_server_error(
    http_status: int, code: int, message: str, retry_after_ms: int
) -> None:
    verdict = classify(http_status, code, message, retry_after_ms)
    assert isinstance(verdict, Rejected | InDoubt)
    if http_status >= 500:
        assert isinstance(verdict, InDoubt)


@given(body=st.binary(max_size=200) | json_values.map(msgspec.json.encode))
def test_error_body_of_any_kind_is_read_without_raising(body: bytes) -> None:
    code, message = read_error(body)
    assert isinstance(code, int)
    assert isinstance(message, str)

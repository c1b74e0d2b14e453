"""Invariant: the market codec gives a valid frame or PayloadError, nothing else, and what it gives fits the bus."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from grinder.adapters.binance.codec_market import StreamReply, decode_market
from grinder.model.errors import PayloadError
from grinder.model.market import BookTop, DepthDiff, DepthSnapshot, MarketEvent, MarkPrice, TradeTick
from grinder.model.reasons import DropReason
from tests.unit.adapters.binance.test_binance_codec_market import (
    AGGREGATE,
    DIFF,
    MARK,
    SNAPSHOT,
    TICKER,
    TRADE,
    combined,
)

VALID = [TICKER, MARK, AGGREGATE, TRADE, DIFF, SNAPSHOT, b'{"result":null,"id":1}']
VALID += [combined(event) for event in VALID]
BUS = msgspec.msgpack.Decoder(BookTop | MarkPrice | TradeTick)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.decimals().map(str),
    st.sampled_from(["NaN", "-Infinity", "1e999999", "1E-999999", "0", "-0", "99999999999999999", "１２", "1_0", ""]),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
FIELDS = {"e", "E", "T", "s", "u", "U", "pu", "b", "B", "a", "A", "p", "q", "m", "t", "i", "r", "P"}
EVENT_NAMES = ["bookTicker", "markPriceUpdate", "aggTrade", "trade", "depthUpdate", "kline"]


def decode(raw: bytes) -> MarketEvent | StreamReply | DropReason:
    try:
        return decode_market(raw, 1, 2)
    except PayloadError as error:
        return error.reason


def check(raw: bytes) -> None:
    result = decode(raw)
    if isinstance(result, BookTop | MarkPrice | TradeTick):
        assert BUS.decode(msgspec.msgpack.encode(result)) == result
    if isinstance(result, BookTop):
        assert 0 < result.bid_price < result.ask_price
    if isinstance(result, DepthDiff | DepthSnapshot):
        assert all(price > 0 and qty >= 0 for price, qty in result.bids + result.asks)


@given(st.binary(max_size=200))
def test_codec_when_bytes_are_arbitrary_then_frame_or_refusal(raw: bytes) -> None:
    check(raw)


@given(st.sampled_from(VALID), st.data())
def test_codec_when_a_valid_frame_is_damaged_then_frame_or_refusal(valid: bytes, data: st.DataObject) -> None:
    raw = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        if not raw:
            break
    check(bytes(raw))


def _swap(value: Any, data: st.DataObject) -> Any:
    """Replace one field of an event by a hostile value."""
    if isinstance(value, dict) and value:
        key = data.draw(st.sampled_from(sorted(value)))
        nested = isinstance(value[key], dict) and data.draw(st.booleans())
        return {**value, key: _swap(value[key], data) if nested else data.draw(VALUES)}
    return data.draw(VALUES)


@given(st.sampled_from(VALID), st.data())
def test_codec_when_a_field_is_hostile_then_frame_or_refusal(valid: bytes, data: st.DataObject) -> None:
    check(msgspec.json.encode(_swap(msgspec.json.decode(valid), data)))


@given(
    st.dictionaries(st.sampled_from(sorted(FIELDS)), VALUES, max_size=12), st.sampled_from(EVENT_NAMES), st.booleans()
)
def test_codec_when_every_field_is_hostile_then_frame_or_refusal(
    fields: dict[str, Any], name: str, wrapped: bool
) -> None:
    event = msgspec.json.encode({"e": name, **fields})
    check(combined(event) if wrapped else event)

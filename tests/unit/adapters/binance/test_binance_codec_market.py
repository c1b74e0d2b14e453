from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.adapters.binance.codec_market import EVENT_TYPES, StreamReply, decode_market
from grinder.model.errors import PayloadError
from grinder.model.limits import FRAME_BYTES_MAX
from grinder.model.market import BookTop, DepthDiff, DepthSnapshot, MarkPrice, TradeTick
from grinder.model.reasons import DropReason

TICKER = (
    b'{"e":"bookTicker","u":7,"s":"BTCUSDT","ps":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.504",'
    b'"T":1723161256321,"E":1723161256322,"st":1}'
)
MARK = (
    b'{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","ap":"11794.16","i":"11784.62",'
    b'"P":"11784.25","r":"0.00038167","T":1562306400000,"st":1}'
)
AGGREGATE = (
    b'{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","nq":"100","f":100,"l":105,'
    b'"T":123456785,"m":true}'
)
TRADE = (
    b'{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006",'
    b'"X":"MARKET","m":false}'
)
DIFF = (
    b'{"e":"depthUpdate","E":1571889248277,"T":1571889248276,"s":"BTCUSDT","U":390497796,"u":390497878,'
    b'"pu":390497794,"b":[["7403.89","0.002"],["7403.90","0.000"]],"a":[["7405.96","3.340"]]}'
)
SNAPSHOT = b'{"lastUpdateId":10,"E":5,"T":4,"bids":[["99","1"]],"asks":[["101","2"]]}'


def combined(event: bytes, stream: bytes = b"btcusdt@x") -> bytes:
    return b'{"stream":"' + stream + b'","data":' + event + b"}"


def reason(raw: bytes) -> DropReason:
    with pytest.raises(PayloadError) as caught:
        decode_market(raw, 1, 2)
    return caught.value.reason


@pytest.mark.parametrize("wrap", [bytes, combined], ids=["raw", "combined"])
class TestEvents:
    def test_ticker_when_valid_then_best_prices_with_both_times(self, wrap: type[bytes]) -> None:
        assert decode_market(wrap(TICKER), 11, 22) == BookTop(
            "BTCUSDT",
            Decimal("61800.20"),
            Decimal("2.507"),
            Decimal("61800.30"),
            Decimal("2.504"),
            7,
            1723161256322,
            11,
            22,
        )

    def test_mark_when_valid_then_mark_price(self, wrap: type[bytes]) -> None:
        assert decode_market(wrap(MARK), 11, 22) == MarkPrice(
            "BTCUSDT",
            Decimal("11794.15"),
            Decimal("11784.62"),
            Decimal("0.00038167"),
            1562306400000,
            1562305380000,
            11,
        )

    def test_mark_when_delivery_contract_then_no_funding(self, wrap: type[bytes]) -> None:
        mark = decode_market(wrap(MARK.replace(b'"0.00038167"', b'""')), 1, 2)
        assert isinstance(mark, MarkPrice)
        assert mark.funding_rate == 0

    def test_aggregate_trade_when_valid_then_trade(self, wrap: type[bytes]) -> None:
        expected = TradeTick("BTCUSDT", 5933014, Decimal("0.001"), Decimal(100), True, 123456789, 11)
        assert decode_market(wrap(AGGREGATE), 11, 22) == expected

    def test_single_trade_when_valid_then_trade(self, wrap: type[bytes]) -> None:
        expected = TradeTick("BTCUSDT", 5266583935, Decimal("61800.30"), Decimal("0.006"), False, 1723161256322, 11)
        assert decode_market(wrap(TRADE), 11, 22) == expected

    def test_depth_when_valid_then_difference_with_removed_levels(self, wrap: type[bytes]) -> None:
        assert decode_market(wrap(DIFF), 11, 22) == DepthDiff(
            "BTCUSDT",
            390497796,
            390497878,
            390497794,
            ((Decimal("7403.89"), Decimal("0.002")), (Decimal("7403.90"), Decimal(0))),
            ((Decimal("7405.96"), Decimal("3.340")),),
            1571889248277,
            11,
            22,
        )

    @pytest.mark.parametrize(
        ("event", "old", "new", "expected"),
        [
            (TICKER, b"61800.20", b"NaN", DropReason.NOT_FINITE),
            (TICKER, b"61800.20", b"sNaN", DropReason.NOT_FINITE),
            (TICKER, b"2.507", b"Infinity", DropReason.NOT_FINITE),
            (TICKER, b"61800.30", b"-Infinity", DropReason.NOT_FINITE),
            (TICKER, b"61800.20", b"-1", DropReason.OUT_OF_RANGE),
            (TICKER, b"61800.20", b"0", DropReason.OUT_OF_RANGE),
            (TICKER, b"61800.20", b"1e-400", DropReason.OUT_OF_RANGE),
            (TICKER, b"2.507", b"-2", DropReason.OUT_OF_RANGE),
            (TICKER, b"2.507", b"1e400", DropReason.OUT_OF_RANGE),
            (TICKER, b"61800.20", b"61800.30", DropReason.CROSSED_BOOK),
            (TICKER, b"61800.20", b"61800.31", DropReason.CROSSED_BOOK),
            (TICKER, b'"61800.20"', b"61800.20", DropReason.WRONG_TYPE),
            (TICKER, b"61800.20", b"cheap", DropReason.WRONG_TYPE),
            (TICKER, b"61800.20", b"", DropReason.WRONG_TYPE),
            (TICKER, b"61800.20", b"1" * 100, DropReason.WRONG_TYPE),
            (TICKER, b'"u":7', b'"u":"7"', DropReason.WRONG_TYPE),
            (TICKER, b'"u":7', b'"u":-7', DropReason.WRONG_TYPE),
            (TICKER, b'"u":7', b'"u":7.5', DropReason.WRONG_TYPE),
            (TICKER, b'"u":7', b'"u":9223372036854775808', DropReason.WRONG_TYPE),
            (TICKER, b'"u":7,', b"", DropReason.WRONG_TYPE),
            (TICKER, b'"bookTicker"', b'"kline"', DropReason.UNKNOWN_EVENT),
            (MARK, b"11794.15", b"NaN", DropReason.NOT_FINITE),
            (MARK, b"11784.62", b"inf", DropReason.NOT_FINITE),
            (MARK, b"0.00038167", b"NaN", DropReason.NOT_FINITE),
            (MARK, b"11794.15", b"0", DropReason.OUT_OF_RANGE),
            (AGGREGATE, b'"0.001"', b'"-0.001"', DropReason.OUT_OF_RANGE),
            (AGGREGATE, b'"q":"100"', b'"q":"0"', DropReason.OUT_OF_RANGE),
            (AGGREGATE, b'"m":true', b'"m":1', DropReason.WRONG_TYPE),
            (TRADE, b"61800.30", b"NaN", DropReason.NOT_FINITE),
            (DIFF, b"7403.89", b"NaN", DropReason.NOT_FINITE),
            (DIFF, b"3.340", b"-3.340", DropReason.OUT_OF_RANGE),
            (DIFF, b'["7405.96","3.340"]', b'["7405.96"]', DropReason.WRONG_TYPE),
            (DIFF, b"390497796", b"390497879", DropReason.OUT_OF_RANGE),
        ],
    )
    def test_event_when_a_value_is_bad_then_refused_with_its_reason(
        self, wrap: type[bytes], event: bytes, old: bytes, new: bytes, expected: DropReason
    ) -> None:
        assert old in event
        assert reason(wrap(event.replace(old, new, 1))) is expected

    def test_event_when_cut_anywhere_then_refused(self, wrap: type[bytes]) -> None:
        whole = wrap(TICKER)
        assert {reason(whole[:length]) for length in range(1, len(whole))} == {DropReason.TRUNCATED}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", DropReason.TRUNCATED),
        (b"\xff\xfe", DropReason.TRUNCATED),
        (b"[]", DropReason.WRONG_TYPE),
        (b"null", DropReason.WRONG_TYPE),
        (b"{}", DropReason.UNKNOWN_EVENT),
        (b'{"e":7}', DropReason.WRONG_TYPE),
        (b'{"stream":"x","data":{"s":"BTCUSDT"}}', DropReason.WRONG_TYPE),
        (b'{"data":{"e":"kline"},"stream":"x"}', DropReason.UNKNOWN_EVENT),
        (b'{"e":"bookTicker","x":' + b"[" * 100_000, DropReason.WRONG_TYPE),
        (b" " * (FRAME_BYTES_MAX + 1), DropReason.TOO_LARGE),
        (b'{"lastUpdateId":10,"bids":[["101","1"]],"asks":[["101","2"]]}', DropReason.CROSSED_BOOK),
        (b'{"lastUpdateId":10,"bids":[["NaN","1"]],"asks":[]}', DropReason.NOT_FINITE),
        (b'{"lastUpdateId":10,"bids":[]}', DropReason.WRONG_TYPE),
    ],
)
def test_message_when_no_event_then_refused_with_its_reason(raw: bytes, expected: DropReason) -> None:
    assert reason(raw) is expected


def test_combined_when_its_keys_come_in_another_order_then_decoded() -> None:
    assert decode_market(b'{ "data": ' + TICKER + b', "stream": "x"}', 1, 2) == decode_market(TICKER, 1, 2)


def test_snapshot_when_from_rest_then_nobodys() -> None:
    assert decode_market(SNAPSHOT, 11, 22) == DepthSnapshot(
        "", 10, ((Decimal(99), Decimal(1)),), ((Decimal(101), Decimal(2)),), 5, 11
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"result":null,"id":1}', StreamReply("1", 0, "")),
        (b'{"result":null,"id":"a-b"}', StreamReply("a-b", 0, "")),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":3}', StreamReply("3", 2, "Invalid request")),
        (b'{"code":3,"msg":"Invalid JSON"}', StreamReply("", 3, "Invalid JSON")),
    ],
)
def test_reply_when_to_a_request_then_no_data(raw: bytes, expected: StreamReply) -> None:
    assert decode_market(raw, 1, 2) == expected


def test_event_types_when_listed_then_each_is_decoded() -> None:
    assert {
        b.decode() for b in (b"bookTicker", b"markPriceUpdate", b"aggTrade", b"trade", b"depthUpdate")
    } == EVENT_TYPES

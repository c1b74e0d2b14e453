from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.adapters.binance.codec_user import Ignored, KeyExpired, decode_user
from grinder.model.errors import PayloadError
from grinder.model.orders import Side
from grinder.model.venue import AccountEvent, ConfigChanged, MarginCall, OrderEvent

ORDER: dict[str, Any] = {
    "s": "BTCUSDT",
    "c": "grd-0-1-b1",
    "S": "BUY",
    "o": "LIMIT",
    "f": "GTX",
    "q": "0.002",
    "p": "9000.10",
    "ap": "9000.10",
    "sp": "0",
    "x": "TRADE",
    "X": "PARTIALLY_FILLED",
    "i": 8886774,
    "l": "0.001",
    "z": "0.001",
    "L": "9000.10",
    "n": "0.0018",
    "N": "USDT",
    "T": 1568879465650,
    "t": 17,
    "b": "0",
    "a": "9.91",
    "m": True,
    "R": False,
    "wt": "CONTRACT_PRICE",
    "ot": "LIMIT",
    "ps": "BOTH",
    "cp": False,
    "rp": "0.5",
    "pP": False,
    "si": 0,
    "ss": 0,
    "V": "EXPIRE_MAKER",
    "pm": "NONE",
    "gtd": 0,
    "er": "0",
}


def update(**changes: object) -> bytes:
    order = {name: value for name, value in {**ORDER, **changes}.items() if value is not ...}
    return msgspec.json.encode({"e": "ORDER_TRADE_UPDATE", "E": 1568879465651, "T": 1568879465650, "o": order})


def test_trade_event_carries_the_trade() -> None:
    event = decode_user(update())
    assert isinstance(event, OrderEvent)
    assert (event.trade_id, event.last_qty, event.last_price) == (17, Decimal("0.001"), Decimal("9000.10"))
    assert (event.fee, event.realized_pnl, event.maker) == (Decimal("0.0018"), Decimal("0.5"), True)
    assert (event.side, event.event_utc_ms, event.transaction_utc_ms) == (Side.BUY, 1568879465651, 1568879465650)


def test_event_that_is_no_trade_has_no_trade_id() -> None:
    event = decode_user(update(x="NEW", X="NEW", l="0", L="0", z="0", n=..., N=..., t=0))
    assert isinstance(event, OrderEvent)
    assert (event.trade_id, event.fee, event.execution) == (0, Decimal(0), "NEW")


def test_fee_in_another_asset_is_not_mistaken_for_quote_currency() -> None:
    event = decode_user(update(N="BNB", n="0.00001"))
    assert isinstance(event, OrderEvent)
    assert event.fee == 0


@pytest.mark.parametrize("word", ["AMENDMENT", "CALCULATED", "SOMETHING_NEW"])
def test_execution_and_status_nobody_knows_pass_as_words(word: str) -> None:
    event = decode_user(update(x=word, X=word))
    assert isinstance(event, OrderEvent)
    assert (event.execution, event.status) == (word, word)


@pytest.mark.parametrize(
    "changes",
    [{"t": 0}, {"l": "0"}, {"L": "0"}, {"l": "NaN"}, {"z": "-1"}, {"S": "?"}, {"c": ...}, {"i": "x"}, {"q": None}],
)
def test_trade_event_that_could_not_be_booked_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(PayloadError):
        decode_user(update(**changes))


def account(balances: object, positions: object) -> bytes:
    change = {"m": "ORDER", "B": balances, "P": positions, "S": "BTCUSDT"}
    return msgspec.json.encode({"e": "ACCOUNT_UPDATE", "E": 1564745798939, "T": 1564745798938, "a": change})


POSITION = {
    "s": "BTCUSDT",
    "pa": "-1.5",
    "ep": "9000",
    "bep": "9000",
    "cr": "200",
    "up": "-3",
    "mt": "cross",
    "iw": "0",
}


def test_account_event_reads_the_margin_asset_and_the_changed_positions() -> None:
    event = decode_user(
        account(
            [{"a": "BNB", "wb": "1", "cw": "1", "bc": "0"}, {"a": "USDT", "wb": "122624.1", "cw": "100", "bc": "50"}],
            [{**POSITION, "ps": "BOTH"}, {**POSITION, "s": "ETHUSDT", "pa": "0"}],
        )
    )
    assert isinstance(event, AccountEvent)
    assert (event.wallet_balance, event.balance_change) == (Decimal("122624.1"), Decimal(50))
    assert [(item.symbol, item.qty) for item in event.positions] == [
        ("BTCUSDT", Decimal("-1.5")),
        ("ETHUSDT", Decimal(0)),
    ]
    assert event.event_utc_ms == 1564745798939


def test_account_event_without_the_margin_asset_leaves_the_balance_unchanged() -> None:
    event = decode_user(account([], []))
    assert isinstance(event, AccountEvent)
    assert event.wallet_balance is None


def test_account_event_of_funding_without_positions_is_read() -> None:
    message = (
        b'{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{"m":"FUNDING_FEE","B":[{"a":"USDT","wb":"9","cw":"9","bc":"-1"}]}}'
    )
    event = decode_user(message)
    assert isinstance(event, AccountEvent)
    assert (event.reason, event.wallet_balance, event.positions) == ("FUNDING_FEE", Decimal(9), ())
    assert event.balance_change == -1


def test_account_event_without_the_change_of_the_balance_says_zero_and_one_out_of_range_is_refused() -> None:
    event = decode_user(account([{"a": "USDT", "wb": "9"}], []))
    assert isinstance(event, AccountEvent)
    assert event.balance_change == 0
    with pytest.raises(PayloadError):
        decode_user(account([{"a": "USDT", "wb": "9", "bc": "NaN"}], []))


@pytest.mark.parametrize(
    "kind",
    ["TRADE_LITE", "ALGO_UPDATE", "STRATEGY_UPDATE", "SOMETHING_NEW", ""],
)
def test_other_kinds_are_ignored_by_name(kind: str) -> None:
    assert decode_user(msgspec.json.encode({"e": kind, "E": 1, "o": 5, "a": []})) == Ignored(kind)


def test_expired_key_is_named_if_the_venue_names_it() -> None:
    assert decode_user(b'{"e":"listenKeyExpired","E":1736996475556,"listenKey":"WsCMN0a4"}') == KeyExpired("WsCMN0a4")
    assert decode_user(b'{"e":"listenKeyExpired","E":1736996475556}') == KeyExpired("")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b"{",
        b'{"e":5}',
        b'{"e":"ORDER_TRADE_UPDATE"}',
        b'{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":[]}',
        b"\x00",
    ],
)
def test_message_that_is_no_event_is_refused(message: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_user(message)


def test_margin_call_when_documented_then_the_symbols_in_danger_once_each() -> None:
    position = {
        "s": "ETHUSDT",
        "ps": "LONG",
        "pa": "1.327",
        "mt": "CROSSED",
        "iw": "0",
        "mp": "187.17127",
        "up": "-1.16",
    }
    message = {"e": "MARGIN_CALL", "E": 1587727187525, "cw": "3.16812045", "p": [position, position | {"ps": "SHORT"}]}
    assert decode_user(msgspec.json.encode(message)) == MarginCall(("ETHUSDT",))


@pytest.mark.parametrize(
    ("change", "symbol"), [({"ac": {"s": "BTCUSDT", "l": 25}}, "BTCUSDT"), ({"ai": {"j": True}}, "")]
)
def test_config_change_when_documented_then_whose_it_is(change: dict[str, object], symbol: str) -> None:
    message = {"e": "ACCOUNT_CONFIG_UPDATE", "E": 1611646737479, "T": 1611646737476} | change
    assert decode_user(msgspec.json.encode(message)) == ConfigChanged(symbol)

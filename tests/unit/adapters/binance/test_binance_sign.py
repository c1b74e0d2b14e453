from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qsl

import pytest

from grinder.adapters.binance.sign import Signer

DOCUMENTED_KEY = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
DOCUMENTED_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
DOCUMENTED_QUERY = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
DOCUMENTED_SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def signer(utc_ms: int = 1_591_702_613_943, offset_ms: int = 0, recv_window_ms: int = 5_000) -> Signer:
    return Signer(
        DOCUMENTED_KEY,
        DOCUMENTED_SECRET,
        utc_ms=lambda: utc_ms,
        offset_ms=lambda: offset_ms,
        recv_window_ms=recv_window_ms,
    )


def test_signature_of_the_documented_payload_is_the_documented_one() -> None:
    assert signer().signature(DOCUMENTED_QUERY.encode()) == DOCUMENTED_SIGNATURE


def test_signed_query_of_the_documented_order_is_the_documented_one() -> None:
    parameters = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "1",
        "price": "9000",
        "timeInForce": "GTC",
    }
    assert signer().signed_query(parameters) == f"{DOCUMENTED_QUERY}&signature={DOCUMENTED_SIGNATURE}"


def test_signature_when_made_twice_does_not_depend_on_the_one_before() -> None:
    one = signer()
    assert one.signature(b"a") == one.signature(b"a")
    assert one.signature(b"a") != one.signature(b"b")


def test_timestamp_when_the_venue_clock_is_ahead_follows_the_venue() -> None:
    query = dict(parse_qsl(signer(utc_ms=1_000, offset_ms=-250).signed_query({})))
    assert query["timestamp"] == "750"
    assert signer(utc_ms=1_000, offset_ms=90).signed_parameters({})["timestamp"] == 1_090


def test_signed_query_with_a_symbol_outside_ascii_is_encoded_before_it_is_signed() -> None:
    query = signer().signed_query({"symbol": "币安人生USDT"})
    payload, _, signature = query.rpartition("&signature=")
    assert payload.isascii()
    assert signature == hmac.new(DOCUMENTED_SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()


def test_signed_parameters_are_signed_sorted_by_name() -> None:
    signed = signer().signed_parameters({"symbol": "BTCUSDT", "quantity": "1", "newClientOrderId": "a-1"})
    signature = signed.pop("signature")
    payload = (
        f"apiKey={DOCUMENTED_KEY}&newClientOrderId=a-1&quantity=1&recvWindow=5000&symbol=BTCUSDT"
        "&timestamp=1591702613943"
    )
    assert signature == hmac.new(DOCUMENTED_SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
    assert isinstance(signed["recvWindow"], int)
    assert isinstance(signed["timestamp"], int)


@pytest.mark.parametrize("show", [repr, str])
def test_signer_when_shown_hides_key_and_secret(show: object) -> None:
    assert callable(show)
    text = show(signer())
    assert DOCUMENTED_KEY not in text
    assert DOCUMENTED_SECRET not in text

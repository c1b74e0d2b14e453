from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from grinder.adapters.binance.keys import signing_key
from grinder.adapters.binance.sign import Signer

DOCUMENTED_KEY = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
DOCUMENTED_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
DOCUMENTED_QUERY = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
DOCUMENTED_SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"

DOCUMENTED_PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u
-----END PRIVATE KEY-----
"""
DOCUMENTED_LOGON = b"A\x01EXAMPLE\x01SPOT\x011\x0120240627-11:17:25.223"
DOCUMENTED_LOGON_SIGNATURE = "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA=="
"""The one Ed25519 key and signature that the venue publishes. Source: its FIX API page, "Signature Computation"."""


def signer(
    utc_ms: int = 1_591_702_613_943,
    recv_window_ms: int = 5_000,
    secret: str = DOCUMENTED_SECRET,
) -> Signer:
    return Signer(
        DOCUMENTED_KEY,
        secret,
        venue_utc_ms=lambda: utc_ms,
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


def test_timestamp_when_signed_then_it_is_the_venues_clock() -> None:
    query = dict(parse_qsl(signer(utc_ms=750).signed_query({})))
    assert query["timestamp"] == "750"
    assert signer(utc_ms=1_090).signed_parameters({})["timestamp"] == 1_090


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
@pytest.mark.parametrize("secret", [DOCUMENTED_SECRET, DOCUMENTED_PEM])
def test_signer_when_shown_hides_key_and_secret(show: object, secret: str) -> None:
    assert callable(show)
    for text in (show(signer(secret=secret)), show(signing_key(secret))):
        assert DOCUMENTED_KEY not in text
        assert secret not in text


def test_ed25519_signature_of_the_documented_payload_is_the_documented_one() -> None:
    assert signer(secret=DOCUMENTED_PEM).signature(DOCUMENTED_LOGON) == DOCUMENTED_LOGON_SIGNATURE


@pytest.mark.parametrize(("secret", "logs_on"), [(DOCUMENTED_SECRET, False), (DOCUMENTED_PEM, True)])
def test_key_kind_when_given_a_secret_is_told_by_its_form(secret: str, logs_on: bool) -> None:
    assert signer(secret=secret).logs_on is logs_on
    assert signer(secret=f"\n{secret}\n").logs_on is logs_on


def test_signed_query_with_ed25519_carries_the_signature_percent_encoded_and_over_the_encoded_payload() -> None:
    public = load_pem_private_key(DOCUMENTED_PEM.encode(), None).public_key()
    for number in range(20):
        query = signer(secret=DOCUMENTED_PEM).signed_query(
            {"symbol": "币安人生USDT", "newClientOrderId": f"a-{number}"}
        )
        payload, _, encoded = query.rpartition("&signature=")
        assert not set(encoded) & set("+/=&")
        (signature,) = [value for name, value in parse_qsl(query) if name == "signature"]
        public.verify(base64.b64decode(signature), payload.encode())  # type: ignore[union-attr,call-arg]


def test_session_parameters_when_logged_on_have_a_time_and_neither_key_nor_signature() -> None:
    assert signer(secret=DOCUMENTED_PEM).session_parameters({"symbol": "BTCUSDT"}) == {
        "symbol": "BTCUSDT",
        "recvWindow": 5_000,
        "timestamp": 1_591_702_613_943,
    }


def _pem(key: rsa.RSAPrivateKey | Ed25519PrivateKey, password: bytes = b"") -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


@pytest.mark.parametrize("which", ["rsa", "encrypted", "cut", "no key"])
def test_key_when_it_cannot_be_used_then_refused_without_showing_it(which: str) -> None:
    pem = {
        "rsa": lambda: _pem(rsa.generate_private_key(65_537, 1_024)),
        "encrypted": lambda: _pem(Ed25519PrivateKey.generate(), b"password"),
        "cut": lambda: DOCUMENTED_PEM[:60] + DOCUMENTED_PEM[-27:],
        "no key": lambda: "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
    }[which]()
    with pytest.raises(ValueError, match="the secret is") as caught:
        signer(secret=pem)
    assert pem.splitlines()[1] not in str(caught.value) or "no key" in which
    assert caught.value.__cause__ is None

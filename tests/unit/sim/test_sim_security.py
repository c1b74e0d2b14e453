"""Keys of every scheme: what signs, what does not, and what a key may do."""

from __future__ import annotations

import base64
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from grinder.sim.exchange.params import Params
from grinder.sim.exchange.security import ApiKey, Permission, rest_payload, without_signature
from tests.sim_kit import BY_NAME, KEY, SECRET, Core, sign

ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)


def pem(private: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def by_ed25519(text: str) -> str:
    return base64.b64encode(ED25519.sign(text.encode())).decode()


def by_rsa(text: str) -> str:
    return base64.b64encode(RSA.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


def ask(core: Core, name: str, key: str, signature: str, text: str, **params: str) -> int:
    values = {**params, "signature": signature}
    return core.venue.execute(BY_NAME[name], key, Params(values), (text,), core.now).code


@pytest.mark.parametrize(("private", "signs"), [(ED25519, by_ed25519), (RSA, by_rsa)])
def test_key_pair_when_it_signs_then_taken_and_any_other_signature_refused(private, signs) -> None:  # type: ignore[no-untyped-def]
    core = Core()
    core.venue.register_key(ApiKey("pair", public_key=pem(private), account=KEY))
    params = {"timestamp": str(core.now)}
    text = urlencode(params)
    assert ask(core, "account", "pair", signs(text), text, **params) == 0
    assert ask(core, "account", "pair", signs(text + "x"), text, **params) == -1022
    assert ask(core, "account", "pair", sign(text, SECRET), text, **params) == -1022
    assert ask(core, "account", "pair", "not base64", text, **params) == -1022
    assert ask(core, "account", "pair", "é", text, **params) == -1022


def test_keys_of_one_account_when_either_trades_then_orders_and_order_counts_are_shared() -> None:
    core = Core()
    core.venue.register_key(ApiKey("second", secret=SECRET, account=KEY))
    core.limit("BUY", "59000", "0.002", newClientOrderId="mine")
    text = f"timestamp={core.now}"
    params = {"timestamp": str(core.now), "symbol": "BTCUSDT", "origClientOrderId": "mine"}
    assert ask(core, "order.status", "second", sign(text), text, **params) == 0
    assert core.venue.limits.used_orders(core.venue.gatekeeper.account_of("second"), core.now) == (1, 1)


@pytest.mark.parametrize(("name", "code"), [("order.place", -2015), ("leverage.set", -2015), ("account", 0)])
def test_key_when_it_may_only_read_then_changes_are_refused(name: str, code: int) -> None:
    core = Core()
    core.venue.register_key(ApiKey("reader", secret=SECRET, permissions=(Permission.READ,), account=KEY))
    text = f"timestamp={core.now}"
    assert ask(core, name, "reader", sign(text), text, timestamp=str(core.now)) == code
    assert not core.exchange.orders


def test_key_when_it_may_nothing_then_even_reading_is_refused() -> None:
    core = Core()
    core.venue.register_key(ApiKey("nothing", secret=SECRET, permissions=(), account=KEY))
    text = f"timestamp={core.now}"
    assert ask(core, "account", "nothing", sign(text), text, timestamp=str(core.now)) == -2015


@pytest.mark.parametrize(
    "key",
    [
        ApiKey("", secret="s", account=KEY),
        ApiKey("ä", secret="s", account=KEY),
        ApiKey("neither", account=KEY),
        ApiKey("both", secret="s", public_key="p", account=KEY),
        ApiKey("broken", public_key="-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", account=KEY),
        ApiKey("curve", public_key=pem(ec.generate_private_key(ec.SECP256R1())), account=KEY),
        ApiKey("homeless", secret="s", account="nobody"),
    ],
)
def test_key_when_malformed_then_not_registered(key: ApiKey) -> None:
    core = Core()
    with pytest.raises(ValueError, match=r"key|account|PEM|deserialize|encoding"):
        core.venue.register_key(key)
    assert core.venue.gatekeeper.account_of(key.key) == ""


def test_request_when_it_reaches_the_engine_after_its_window_then_5028() -> None:
    core = Core()
    text = f"timestamp={core.now}"
    params = Params({"timestamp": str(core.now), "recvWindow": "1000", "signature": sign(text)})
    operation = BY_NAME["account"]
    account = core.venue.admit(operation, KEY, params, (text,), core.now)
    assert core.venue.perform_late(operation, account, params, core.now + 1_000).code == 0
    assert core.venue.perform_late(operation, account, params, core.now + 1_001).code == -5028


def test_payload_when_the_signature_stands_anywhere_then_it_is_taken_out_and_the_rest_untouched() -> None:
    assert without_signature("a=1&signature=x&b=%20") == "a=1&b=%20"
    assert tuple(rest_payload("a=1", "b=2&signature=x")) == ("a=1b=2",)

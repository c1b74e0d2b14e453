"""Who may ask: API key, permissions, signature (HMAC-SHA256, RSA, Ed25519), timestamp and recvWindow, really checked.

Source: USDⓈ-M futures general info, SIGNED endpoint security, 2026-05-28; WebSocket API general info, signed request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import quote

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.params import Params

RECV_WINDOW_MS: Final = 5_000
RECV_WINDOW_MS_MAX: Final = 60_000
AHEAD_MS_MAX: Final = 1_000

KEYS_MAX: Final = 1_000
"""Most keys a venue holds."""


class Permission(StrEnum):
    """What a key may do: READ its account, TRADE on it."""

    READ = "READ"
    TRADE = "TRADE"


class Scheme(StrEnum):
    """How a key signs; only ED25519 may log a session of the WebSocket API on."""

    HMAC = "HMAC"
    RSA = "RSA"
    ED25519 = "ED25519"


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key as it is registered: ``secret`` for HMAC, else ``public_key`` (PEM; Ed25519 or RSA).

    ``account``: whose key it is, by name; the key itself if empty. An account may have many keys.
    """

    key: str
    secret: str = ""
    public_key: str = ""
    permissions: tuple[Permission, ...] = (Permission.READ, Permission.TRADE)
    account: str = ""

    @property
    def owner(self) -> str:
        """Name of its account."""
        return self.account or self.key


Verify = Callable[[bytes, str], bool]


class _Registered(msgspec.Struct, frozen=True):
    scheme: Scheme
    verify: Verify
    permissions: frozenset[Permission]
    account: str


def without_signature(text: str) -> str:
    """Return a query string or form body with its signature taken out, otherwise untouched."""
    if "signature=" not in text:
        return text
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


def rest_payload(query: str, body: str) -> Iterable[str]:
    """Return what a REST request signs: query and body, joined by nothing."""
    return (without_signature(query) + without_signature(body),)


def ws_payload(params: Params) -> Iterator[str]:
    """Yield what a WebSocket API request may have signed: sorted ``k=v`` pairs, as they are or percent-encoded."""
    pairs = sorted((name, value) for name, value in params.as_dict().items() if name != "signature")
    yield "&".join([f"{name}={value}" for name, value in pairs])
    yield "&".join([f"{name}={quote(value, safe='')}" for name, value in pairs])


class Gatekeeper:
    """The keys there are, and whose."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys: dict[str, _Registered] = {}
        for key in keys:
            self.register(key)

    def register(self, key: ApiKey) -> None:
        """Take a key; one that was known is replaced.

        Raises:
            ValueError: if it has no name, neither or both of secret and public key, or the public key is not one.
        """
        if not key.key or not key.key.isascii():
            raise ValueError("key must be named, in ASCII")
        if len(self._keys) >= KEYS_MAX and key.key not in self._keys:
            raise ValueError(f"at most {KEYS_MAX} keys")
        if bool(key.secret) is bool(key.public_key):
            raise ValueError("a key has a secret (HMAC) or a public_key (PEM)")
        scheme, verify = _by_secret(key.secret) if key.secret else _by_public_key(key.public_key)
        self._keys[key.key] = _Registered(scheme, verify, frozenset(key.permissions), key.owner)

    def account_of(self, key: str) -> str:
        """Return the name of a key's account, empty if the key is unknown."""
        registered = self._keys.get(key)
        return registered.account if registered else ""

    def check_key(self, key: str) -> None:
        """Check an API key.

        Raises:
            VenueError: -2014 if there is none, -2015 if it is unknown.
        """
        if not key:
            raise refusal(Code.BAD_API_KEY_FORMAT)
        if key not in self._keys:
            raise refusal(Code.REJECTED_API_KEY)

    def check_permission(self, key: str, permission: Permission) -> None:
        """Check that a known key may do what it asks.

        Raises:
            VenueError: -2015 if it may not.
        """
        if permission not in self._keys[key].permissions:
            raise refusal(Code.REJECTED_API_KEY)

    def check_session_key(self, key: str) -> None:
        """Check that a known key may log a session on.

        Raises:
            VenueError: -4056 unless it is an Ed25519 key.
        """
        if self._keys[key].scheme is not Scheme.ED25519:
            raise refusal(Code.HMAC_NOT_SUPPORTED)

    def check_signed(self, key: str, params: Params, payloads: Iterable[str], now: int) -> None:
        """Check signature and time of a signed request. ``payloads``: the texts that count as signed.

        Raises:
            VenueError: -2014, -2015, -1102, -1100, -1131, -1022, -1021.
        """
        self.check_key(key)
        timestamp, window = _times(params)
        signature, verify = params.text("signature"), self._keys[key].verify
        if not any(verify(text.encode("utf-8", "surrogatepass"), signature) for text in payloads):
            raise refusal(Code.INVALID_SIGNATURE)
        _check_time(timestamp, window, now)

    def check_logged_on(self, key: str, params: Params, now: int) -> None:
        """Check the time of a request whose session is logged on: it needs no signature.

        Raises:
            VenueError: -2015 if the key was taken away, -1102, -1100, -1131, -1021.
        """
        self.check_key(key)
        timestamp, window = _times(params)
        _check_time(timestamp, window, now)


def check_engine_time(params: Params, now: int) -> None:
    """Check a signed request again when it reaches the matching engine.

    Raises:
        VenueError: -5028 if its recvWindow ended on the way there.
    """
    if now - params.integer("timestamp") > params.integer_or("recvWindow", RECV_WINDOW_MS):
        raise refusal(Code.ENGINE_RECV_WINDOW)


def _times(params: Params) -> tuple[int, int]:
    """Return timestamp and recvWindow as they were sent, milliseconds."""
    timestamp, window = params.integer("timestamp"), params.integer_or("recvWindow", RECV_WINDOW_MS)
    if window > RECV_WINDOW_MS_MAX:
        raise refusal(Code.BAD_RECV_WINDOW)
    return timestamp, window


def _check_time(timestamp: int, window: int, now: int) -> None:
    if timestamp >= now + AHEAD_MS_MAX:
        raise refusal(Code.INVALID_TIMESTAMP, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now - timestamp > window:
        raise refusal(Code.INVALID_TIMESTAMP, "Timestamp for this request is outside of the recvWindow.")


def _by_secret(secret: str) -> tuple[Scheme, Verify]:
    """Return how to verify a hexadecimal HMAC-SHA256; the key schedule is made once."""
    keyed = hmac.new(secret.encode(), None, hashlib.sha256)

    def verify(payload: bytes, signature: str) -> bool:
        signer = keyed.copy()
        signer.update(payload)
        return signature.isascii() and hmac.compare_digest(signer.hexdigest(), signature.lower())

    return Scheme.HMAC, verify


def _by_public_key(pem: str) -> tuple[Scheme, Verify]:
    """Return how to verify a base64 signature of a key pair: RSA PKCS1 v1.5 with SHA-256, or Ed25519.

    Raises:
        ValueError: if the text is no such key.
    """
    try:
        public_key = load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError("public_key must be an Ed25519 or RSA key") from error
    if isinstance(public_key, Ed25519PublicKey):
        return Scheme.ED25519, _base64_verifier(public_key.verify)
    if not isinstance(public_key, RSAPublicKey):
        raise ValueError("public_key must be an Ed25519 or RSA key")
    rsa_key = public_key
    return Scheme.RSA, _base64_verifier(lambda raw, payload: rsa_key.verify(raw, payload, padding.PKCS1v15(), SHA256()))


def _base64_verifier(check: Callable[[bytes, bytes], None]) -> Verify:
    def verify(payload: bytes, signature: str) -> bool:
        try:
            check(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    return verify


def hmac_keys(secrets: Mapping[str, str]) -> list[ApiKey]:
    """Return HMAC keys that may do everything, one account each."""
    return [ApiKey(key, secret) for key, secret in secrets.items()]

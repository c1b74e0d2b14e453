"""Signed requests, with the venue's own time in them.

Must never show the key or the secret: not in ``repr``, not in an error.

Source: venue documentation, USDⓈ-M futures general info, "SIGNED Endpoint Examples", 2026-05-28; WebSocket API
general info, "Signed request" (parameters sorted by name).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode

import msgspec

from grinder.adapters.binance.keys import signing_key

Parameters = Mapping[str, str | int]


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """When a request was made by the venue's clock, Unix milliseconds, and up to which age it may be taken."""

    timestamp_utc_ms: int
    recv_window_ms: int


class Signer:
    """Signs for one key. Where no stamp is given, a request is made now and may become as old as the settings say."""

    __slots__ = ("_api_key", "_key", "_recv_window_ms", "_venue_utc_ms")

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        *,
        venue_utc_ms: Callable[[], int],
        recv_window_ms: int,
    ) -> None:
        """Keep the key.

        Args:
            api_key: sent in the clear, as X-MBX-APIKEY or ``apiKey``.
            api_secret: never sent; an HMAC secret, or an Ed25519 private key in PEM form.
            venue_utc_ms: the venue's clock as this host believes it, Unix milliseconds.
            recv_window_ms: age at which the venue refuses a request, milliseconds, above 0.

        Raises:
            ValueError: a PEM secret that is no unencrypted Ed25519 key.
        """
        assert recv_window_ms > 0
        self._api_key = api_key
        self._key = signing_key(api_secret)
        self._venue_utc_ms = venue_utc_ms
        self._recv_window_ms = recv_window_ms

    def __repr__(self) -> str:
        """Hide everything."""
        return "Signer(...)"

    @property
    def api_key(self) -> str:
        """The public half, for the request header."""
        return self._api_key

    @property
    def logs_on(self) -> bool:
        """Tell whether one logon may stand for the signatures of a whole WebSocket API connection."""
        return self._key.logs_on

    def signature(self, payload: bytes) -> str:
        """Return the signature of a payload: lower-case hexadecimal (HMAC) or base64 (Ed25519)."""
        return self._key.sign(payload)

    def venue_utc_ms(self) -> int:
        """Return the venue's clock as this host believes it, Unix milliseconds."""
        return self._venue_utc_ms()

    @property
    def recv_window_ms(self) -> int:
        """Age at which the venue refuses a request, milliseconds, unless its stamp says less."""
        return self._recv_window_ms

    def signed_query(self, parameters: Parameters, stamp: Stamp | None = None) -> str:
        """Return a query string with receive window, timestamp and, last, the signature.

        Values are percent-encoded before they are signed, because symbols may be outside ASCII.
        """
        query = plain_query(self.session_parameters(parameters, stamp))
        return f"{query}&signature={quote(self.signature(query.encode()), safe='')}"

    def signed_parameters(self, parameters: Parameters, stamp: Stamp | None = None) -> dict[str, str | int]:
        """Return WebSocket API parameters sorted by name, with key, receive window, timestamp and signature."""
        signed = self.session_parameters(parameters, stamp)
        signed["apiKey"] = self._api_key
        payload = "&".join([f"{name}={signed[name]}" for name in sorted(signed)])
        signed["signature"] = self.signature(payload.encode())
        return signed

    def session_parameters(self, parameters: Parameters, stamp: Stamp | None = None) -> dict[str, str | int]:
        """Return WebSocket API parameters for a connection that has logged on: neither key nor signature."""
        if stamp is None:
            return {**parameters, "recvWindow": self._recv_window_ms, "timestamp": self.venue_utc_ms()}
        return {**parameters, "recvWindow": stamp.recv_window_ms, "timestamp": stamp.timestamp_utc_ms}


def plain_query(parameters: Parameters) -> str:
    """Return a percent-encoded query string, in the order given."""
    return urlencode(parameters, quote_via=quote)

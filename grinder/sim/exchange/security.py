"""Who may ask: API key, HMAC-SHA256 signature, timestamp and recvWindow, really checked.

Source: USDⓈ-M futures general info, SIGNED endpoint security, 2026-05-28.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.params import Params

RECV_WINDOW_MS: Final = 5_000
RECV_WINDOW_MS_MAX: Final = 60_000
AHEAD_MS_MAX: Final = 1_000


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
    """The keys there are."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._signers = {key: hmac.new(secret.encode(), None, hashlib.sha256) for key, secret in secrets.items()}

    def check_key(self, key: str) -> None:
        """Check an API key.

        Raises:
            VenueError: -2014 if there is none, -2015 if it is unknown.
        """
        if not key:
            raise refusal(Code.BAD_API_KEY_FORMAT)
        if key not in self._signers:
            raise refusal(Code.REJECTED_API_KEY)

    def check_signed(self, key: str, params: Params, payloads: Iterable[str], now: int) -> None:
        """Check signature and time of a signed request. ``payloads``: the texts that count as signed.

        Raises:
            VenueError: -2014, -2015, -1102, -1100, -1131, -1022, -1021.
        """
        self.check_key(key)
        timestamp = params.integer("timestamp")
        window = params.integer_or("recvWindow", RECV_WINDOW_MS)
        if window > RECV_WINDOW_MS_MAX:
            raise refusal(Code.BAD_RECV_WINDOW)
        signature = params.text("signature").lower()
        if not signature.isascii() or not any(
            hmac.compare_digest(self._sign(key, text), signature) for text in payloads
        ):
            raise refusal(Code.INVALID_SIGNATURE)
        if timestamp >= now + AHEAD_MS_MAX:
            raise refusal(Code.INVALID_TIMESTAMP, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now - timestamp > window:
            raise refusal(Code.INVALID_TIMESTAMP, "Timestamp for this request is outside of the recvWindow.")

    def _sign(self, key: str, text: str) -> str:
        signer = self._signers[key].copy()
        signer.update(text.encode("utf-8", "surrogatepass"))
        return signer.hexdigest()

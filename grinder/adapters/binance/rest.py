"""The venue over HTTP: one keep-alive session, signed requests, and every way an exchange can end as a value.

Must never raise for what the network or the venue does, never send a request twice by itself, never follow a
redirect, and never put a URL (it holds the signature) into an error or a log.

Source: venue documentation, USDⓈ-M futures general info, 2026-05-28.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Final

import aiohttp
import msgspec
from aiohttp.connector import Connection
from yarl import URL

from grinder.adapters.binance.errors import ban_left_ms, classify, read_error, read_retry_after_ms
from grinder.adapters.binance.limits import ORDERS, WEIGHT, Limits
from grinder.adapters.binance.sign import Parameters, Signer, Stamp, plain_query
from grinder.adapters.binance.wire import Operation, Security, Urgency
from grinder.model.errors import PayloadError
from grinder.model.limits import VENUE_MESSAGE_BYTES_MAX
from grinder.model.reasons import DenyReason, DropReason
from grinder.model.units import MS_PER_S, NS_PER_MS
from grinder.model.venue import InDoubt, NotSent, RateUse, Rejected
from grinder.ports import Clock, Telemetry

CONNECT_TIMEOUT_S: Final = 2.0
"""Wait for a connection; a request that got none was certainly not sent."""

RISK_CONNECT_TIMEOUT_S: Final = 1.0
"""Longest wait of a request that adds risk for a new or a free connection. It was let through before it began to wait:
whatever speaks against it meanwhile, such as a trip, would come too late; in a cluster it is looked at again."""

CONNECTIONS_MAX: Final = 16
"""Most connections to the venue at once; further requests wait for one within their deadline."""

_READ_BYTES: Final = 1 << 16

_USAGE_HEADERS: Final = (
    ("X-MBX-USED-WEIGHT-1M", WEIGHT, 60),
    ("X-MBX-ORDER-COUNT-10S", ORDERS, 10),
    ("X-MBX-ORDER-COUNT-1M", ORDERS, 60),
)
"""Response header -> limit and interval in seconds."""


_NO_ANSWER: Final = frozenset({"timeout", "disconnected"})


class HttpReply(msgspec.Struct, frozen=True, gc=False):
    """A 2xx reply: its body, unread, and request to reply on the monotonic clock."""

    body: bytes
    rtt_ns: int


OnWrite = Callable[[], Stamp | DenyReason]
"""Looks at a command for the last time: its stamp, or why it must not leave."""

_address_now: ContextVar[Callable[[], URL] | None] = ContextVar("address_now", default=None)


class _NotPermittedError(Exception):
    """The last look said no: nothing was written. ``why``: the reason."""

    def __init__(self, why: DenyReason) -> None:
        super().__init__(why.value)
        self.why = why


class _LateRequest(aiohttp.ClientRequest):
    """A request that is signed once it has its connection, right before its first byte is written."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write the request to a connection; the address that it was made with lacks all that is signed."""
        address = _address_now.get()
        if address is not None:
            self.url = address()
        return await super().send(conn)


HttpOutcome = HttpReply | Rejected | InDoubt | NotSent


class RestClient:
    """Requests to one REST base address. Open it inside the running loop; public requests need no signer."""

    def __init__(
        self, base_url: str, signer: Signer | None, *, clock: Clock, limits: Limits, telemetry: Telemetry
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._signer = signer
        self._clock = clock
        self._limits = limits
        self._telemetry = telemetry
        self._session: aiohttp.ClientSession | None = None
        self._reachable = False

    async def open(self) -> None:
        """Create the session; nothing is sent yet."""
        assert self._session is None
        # Made here, because aiohttp reads the trust store when it is imported and never again.
        tls = ssl.create_default_context() if self._base_url.startswith("https:") else True
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=60.0, ssl=tls)
        session = aiohttp.ClientSession(connector=connector, auto_decompress=True, request_class=_LateRequest)
        # aiohttp sends PUT and DELETE again by itself when a kept-alive connection turns out dead. Whether to send an
        # order command again is the executor's to decide, and it has no public switch.
        session._retry_connection = False
        self._session = session

    async def close(self) -> None:
        """Close the session; requests under way end as cancelled by their owner."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def limits(self) -> Limits:
        """What may be sent now."""
        return self._limits

    @property
    def reachable(self) -> bool:
        """Tell whether the last exchange reached the venue; False before the first."""
        return self._reachable

    async def exchange(
        self,
        operation: Operation,
        parameters: Parameters,
        urgency: Urgency | None = None,
        on_write: OnWrite | None = None,
    ) -> HttpOutcome:
        """Send one request, if the rate limits let it, and return how it ended.

        Args:
            operation: the row of the request.
            parameters: without key, time and signature.
            urgency: where it differs from the row's.
            on_write: asked when there is a connection, right before it is signed and written; None: it may go.

        Returns:
            HttpReply for any 2xx; Rejected where the venue refused it for certain; NotSent where a rate limit, a
            missing key, a missing connection or ``on_write`` kept it here; InDoubt for everything else.
        """
        session = self._session
        if session is None:
            return NotSent("closed")
        if operation.security is not Security.NONE and self._signer is None:
            return NotSent("no_credentials")
        sent_mono_ns, venue_utc_ms = self._clock.mono_ns(), self.venue_utc_ms()
        urgency = urgency or operation.urgency
        refusal = self._limits.refusal(
            urgency,
            operation.weight,
            operation.orders,
            boot_ns=self._clock.boot_ns(),
            venue_utc_ms=venue_utc_ms,
        )
        if refusal is not None:
            return refusal
        self._limits.charge(operation.weight, operation.orders, venue_utc_ms=venue_utc_ms)
        connect_s = RISK_CONNECT_TIMEOUT_S if urgency is Urgency.RISK else None
        _address_now.set(lambda: self._address(operation, parameters, on_write))
        try:
            outcome = await self._send(session, operation, sent_mono_ns, connect_s)
        except _NotPermittedError as error:
            return NotSent(error.why.value)
        if isinstance(outcome, NotSent) or (isinstance(outcome, InDoubt) and outcome.why in _NO_ANSWER):
            self._reachable = False
        self._record(operation, outcome, self._clock.mono_ns() - sent_mono_ns)
        return outcome

    async def _send(
        self,
        session: aiohttp.ClientSession,
        operation: Operation,
        sent_mono_ns: int,
        connect_s: float | None,
    ) -> HttpOutcome:
        timeout = aiohttp.ClientTimeout(
            total=operation.deadline_ms / MS_PER_S, connect=connect_s, sock_connect=CONNECT_TIMEOUT_S
        )
        headers: dict[str, str] = {}
        if self._signer is not None and operation.security is not Security.NONE:
            headers["X-MBX-APIKEY"] = self._signer.api_key
        unsigned = f"{self._base_url}{operation.path}"
        try:
            async with session.request(
                operation.verb, unsigned, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                body = await _read(response)
                status, reply_headers = response.status, response.headers
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return NotSent("no_connection")
        except TimeoutError:
            return InDoubt("timeout")
        except PayloadError:
            return InDoubt("too_large")
        except (aiohttp.ClientError, OSError):
            return InDoubt("disconnected")
        self._reachable = True
        self._observe(reply_headers)
        if 200 <= status < 300:
            return HttpReply(body, self._clock.mono_ns() - sent_mono_ns)
        return self._refused(status, reply_headers, body)

    def _address(self, operation: Operation, parameters: Parameters, on_write: OnWrite | None) -> URL:
        """Return the whole address, percent-encoded once; what is signed is made now.

        Raises:
            _NotPermittedError: ``on_write`` said no.
        """
        stamp = None if on_write is None else on_write()
        if isinstance(stamp, DenyReason):
            raise _NotPermittedError(stamp)
        if self._signer is not None and operation.security is Security.SIGNED:
            query = self._signer.signed_query(parameters, stamp)
        else:
            query = plain_query(parameters)
        address = f"{self._base_url}{operation.path}"
        return URL(f"{address}?{query}" if query else address, encoded=True)

    def _refused(self, status: int, headers: Mapping[str, str], body: bytes) -> Rejected | InDoubt:
        code, message = read_error(body)
        retry_after_ms = read_retry_after_ms(headers.get("Retry-After"))
        retry_after_ms = max(retry_after_ms, ban_left_ms(message, self._clock.utc_ms()))
        refused = classify(status, code, message, retry_after_ms)
        if isinstance(refused, Rejected):
            self._limits.on_rejected(refused, boot_ns=self._clock.boot_ns())
        return refused

    def _observe(self, headers: Mapping[str, str]) -> None:
        """Take the venue's own counts; a header that is no number is passed over."""
        rates = []
        for name, kind, interval_s in _USAGE_HEADERS:
            value = headers.get(name, "")
            if value.isascii() and value.isdigit() and len(value) < 10:
                rates.append(RateUse(kind, interval_s, 0, int(value)))
        if rates:
            self._limits.observe(rates, venue_utc_ms=self.venue_utc_ms())

    def venue_utc_ms(self) -> int:
        """Return the venue's clock as this host believes it, Unix milliseconds."""
        return self._clock.utc_ms() if self._signer is None else self._signer.venue_utc_ms()

    def _record(self, operation: Operation, outcome: HttpOutcome, elapsed_ns: int) -> None:
        """Count the exchange under the metric names of the reference."""
        if isinstance(outcome, HttpReply):
            status_class = "2xx"
        elif isinstance(outcome, Rejected):
            status_class = f"{outcome.http_status // 100}xx"
        else:
            self._telemetry.count("grinder_http_fail_total", operation.name, outcome.why)
            return
        self._telemetry.count("grinder_http_requests_total", operation.name, status_class)
        self._telemetry.observe("grinder_http_latency_ms", elapsed_ns / NS_PER_MS, operation.name)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the whole body.

    Raises:
        PayloadError: if it is longer than any reply of the venue.
    """
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(_READ_BYTES):
        size += len(part)
        if size > VENUE_MESSAGE_BYTES_MAX:
            raise PayloadError("reply too large", DropReason.TOO_LARGE)
        parts.append(part)
    return b"".join(parts)

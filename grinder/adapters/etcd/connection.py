"""One thread's connection to an etcd cluster: a channel per member, a deadline on every call, another on silence.

Every call carries ``hasleader``, so that a member that lost its quorum says so instead of waiting. A member is used
only after it said that it is new enough. Certificates identify us, never a password. Of calls that failed, refused are
those of which a member answered that it did nothing; any other may have been carried out.

Source: etcd 3.5 API and error codes (``api/v3rpc/rpctypes``); what the channel options do was measured with members
stopped, killed and cut off.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from grinder.adapters.etcd import compat
from grinder.adapters.etcd.identity import Files, Identity, meaning_of, problem_of, read_identity, renewed
from grinder.model.errors import EtcdRefusedError, EtcdSilentError
from grinder.model.limits import ETCD_MEMBERS_TRIED_MAX, ETCD_VERSION_PERIOD_S, ETCD_WATCH_LIFE_S
from grinder.model.units import MS_PER_S
from grinder.settings import Settings

SERVER_VERSION_MIN: Final = (3, 5, 16)
"""Older servers delete a live leader's key when the disk of a member stalls. Source: etcd issue 15247; reproduced with
3.4.23 and 3.5.1, not with 3.5.16 and 3.5.30."""

METADATA: Final = (("hasleader", "true"),)
OPTIONS: Final = (
    ("grpc.http2.ping_timeout_ms", 1_000),
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 400),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
)
"""Keepalives no more often than a server of ``--grpc-keepalive-min-time`` up to 5 s takes; no proxy of the environment
between us and etcd. The least backoff is also the time that a connection may take to stand, TLS included."""

_CODE: Final = compat.StatusCode
REFUSALS: Final = frozenset(
    {
        _CODE.NOT_FOUND,
        _CODE.INVALID_ARGUMENT,
        _CODE.FAILED_PRECONDITION,
        _CODE.PERMISSION_DENIED,
        _CODE.UNAUTHENTICATED,
        _CODE.OUT_OF_RANGE,
        _CODE.UNIMPLEMENTED,
    }
)
"""Codes by which a member says that it did nothing."""


class Access(msgspec.Struct, frozen=True):
    """How a cluster is reached. ``call_timeout_s``: of one call to one member. Files: all three, or none (plain)."""

    endpoints: tuple[str, ...]
    cluster: str
    call_timeout_s: float
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    @property
    def files(self) -> Files:
        """Where the certificates are."""
        return Files(self.ca_file, self.cert_file, self.key_file)


def access_of(settings: Settings) -> Access:
    """Return what the settings say."""
    return Access(
        settings.etcd_endpoints,
        settings.cluster,
        settings.ha_request_timeout_ms / MS_PER_S,
        settings.etcd_ca_file,
        settings.etcd_cert_file,
        settings.etcd_key_file,
    )


class KnownRevision:
    """The highest revision that any thread of this process has seen in an answer of etcd."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    @property
    def value(self) -> int:
        """The revision; 0 before the first answer."""
        return self._value

    def note(self, revision: int) -> None:
        """Take one from an answer."""
        with self._lock:
            self._value = max(self._value, revision)

    def begin_again(self, revision: int) -> None:
        """Go on from a lower one: etcd lost data, whoever asked has been told."""
        with self._lock:
            self._value = revision


class Member:
    """One member's channel and stubs, made when first needed."""

    def __init__(self, endpoint: str, access: Access, identity: Identity) -> None:
        self.endpoint = endpoint
        self._call_timeout_s = access.call_timeout_s
        self._files = access.files
        self._identity = identity
        self._channel: Any = None
        self._stubs: dict[str, Any] = {}
        self._verified_until_s = 0.0

    def call(self, service: str, method: str, request: Any) -> Any:
        """Make one call with a deadline.

        Raises:
            EtcdSilentError: the member is too old.
            compat.RpcError: the call failed.
        """
        self._verify()
        ask = getattr(self._stub(service), method)
        return ask(request, timeout=self._call_timeout_s, metadata=METADATA)

    def stream(self, service: str, method: str, requests: Iterator[Any], life_s: float) -> Any:
        """Begin a stream of answers; see ``call``."""
        self._verify()
        return getattr(self._stub(service), method)(requests, timeout=life_s, metadata=METADATA)

    def distrust(self) -> None:
        """Ask for the version again before the next call, and connect anew with a certificate that was replaced.

        Another server may answer then; or this one refused us for a certificate that was over.
        """
        self._verified_until_s = 0.0
        identity = renewed(self._files, self._identity, _now())
        if identity != self._identity:
            self._identity = identity
            self.close()
            self._channel = None
            self._stubs.clear()

    def close(self) -> None:
        """End every call and the channel."""
        if self._channel is not None:
            self._channel.close()

    def _verify(self) -> None:
        if time.monotonic() < self._verified_until_s:
            return
        ask = self._stub("Maintenance").Status
        said = ask(compat.rpc.StatusRequest(), timeout=self._call_timeout_s, metadata=METADATA).version
        if _version(said) < SERVER_VERSION_MIN:
            least = ".".join(str(part) for part in SERVER_VERSION_MIN)
            raise EtcdSilentError(f"its etcd is {said}, which is unsafe for leases; {least} or newer is needed")
        self._verified_until_s = time.monotonic() + ETCD_VERSION_PERIOD_S

    def _stub(self, service: str) -> Any:
        if self._channel is None:
            self._channel = _open(self.endpoint, self._identity)
        if service not in self._stubs:
            self._stubs[service] = getattr(compat.rpc, f"{service}Stub")(self._channel)
        return self._stubs[service]


def _version(said: str) -> tuple[int, ...]:
    """Return a version's numbers; () where it is none, which is older than any."""
    numbers = said.split("-")[0].split("+")[0].split(".")
    return tuple(int(part) for part in numbers) if all(part.isdecimal() for part in numbers) else ()


def _open(endpoint: str, identity: Identity) -> Any:
    if not identity.authority:
        return compat.insecure_channel(endpoint, options=OPTIONS)
    credentials = compat.ssl_channel_credentials(identity.authority, identity.key, identity.certificate)
    return compat.secure_channel(endpoint, credentials, options=OPTIONS)


class Connection:
    """What one thread uses to ask; only ``close`` may be called by another.

    Raises:
        SettingsError: a file cannot be read.
    """

    def __init__(self, access: Access, known: KnownRevision | None = None) -> None:
        self.known = known or KnownRevision()
        self._access = access
        self._files = access.files
        identity = read_identity(self._files)
        self._members = tuple(Member(endpoint, access, identity) for endpoint in access.endpoints)
        self._at = 0
        self._closed = False

    def call(self, service: str, method: str, request: Any) -> Any:
        """Ask the members in turn, each with a deadline, beginning with the one that answered last.

        Returns:
            The answer.

        Raises:
            EtcdRefusedError: a member answered that it did nothing.
            EtcdSilentError: no member could be asked, or one may have done it and cannot tell.
        """
        return self._ask(lambda member: member.call(service, method, request))

    def call_stream(self, service: str, method: str, request: Any) -> Any:
        """Ask by a stream of one request and take the first answer; else as ``call``."""

        def first(member: Member) -> Any:
            answers = member.stream(service, method, iter((request,)), self._access.call_timeout_s)
            try:
                return next(answers)
            except StopIteration:
                raise EtcdSilentError("the member ended the stream") from None
            finally:
                answers.cancel()

        return self._ask(first)

    def begin_stream(self, service: str, method: str, requests: Iterator[Any]) -> Any:
        """Begin a stream that lives until it is cancelled or ETCD_WATCH_LIFE_S is over; else as ``call``."""
        return self._ask(lambda member: member.stream(service, method, requests, ETCD_WATCH_LIFE_S))

    def next_member(self) -> None:
        """Begin the next call with another member."""
        self._members[self._at].distrust()
        self._at = (self._at + 1) % len(self._members)

    def close(self) -> None:
        """End every call that runs, and refuse others."""
        self._closed = True
        for member in self._members:
            member.close()

    def failure(self, error: Any) -> str:
        """Say what a call that failed at the member in turn means to the operator."""
        detail = str(error.details() or "").rsplit("last error: ", 1)[-1]
        means = problem_of(self._files, _now()) or meaning_of(detail, self._members[self._at].endpoint, self._files)
        return f"{error.code().name}: {detail}" + (f" ({means})" if means else "")

    def _ask(self, ask: Callable[[Member], Any]) -> Any:
        silences: list[str] = []
        for _ in self._members[:ETCD_MEMBERS_TRIED_MAX]:
            member = self._members[self._at]
            if self._closed:
                raise EtcdSilentError("the connection is closed")
            try:
                answer = ask(member)
            except compat.RpcError as error:
                self._judge(member, error)
                silences.append(f"{member.endpoint}: {self.failure(error)}")
            except EtcdSilentError as error:
                silences.append(f"{member.endpoint}: {error}")
            except ValueError:
                if not self._closed:
                    raise
                raise EtcdSilentError("the connection is closed") from None
            else:
                header = getattr(answer, "header", None)
                if header is not None:
                    self.known.note(header.revision)
                return answer
            self.next_member()
        raise EtcdSilentError("; ".join(silences))

    def _judge(self, member: Member, error: Any) -> None:
        """Raise what ends the request; return where another member may do better."""
        if error.code() in REFUSALS:
            raise EtcdRefusedError(f"{member.endpoint}: {self.failure(error)}") from error
        if error.code() is _CODE.RESOURCE_EXHAUSTED:
            raise EtcdSilentError(f"{member.endpoint}: {self.failure(error)}", no_space=True) from error


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)

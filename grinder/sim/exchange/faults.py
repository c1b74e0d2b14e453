"""Faults of requests on purpose: which go wrong, how, and how often. Random numbers are an argument.

A fault never changes what the exchange does, only whether and when the request reaches it and what the client gets to
see.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Final

import msgspec

from grinder.sim.exchange.fault_rules import Rules

DELAY_MS_MAX: Final = 600_000
SCRIPT_MAX: Final = 1_000
PASS: Final = "pass"
"""In a script: this request is spared."""


class Answer(StrEnum):
    """What the client gets to see."""

    NORMAL = "normal"
    SILENCE = "silence"
    CLOSE = "close"
    RESET_IN_MIDDLE = "reset_in_middle"
    GARBAGE = "garbage"
    UNREADABLE = "unreadable"
    ERROR = "error"


class Delay(StrEnum):
    """Where a request waits: before the venue reads it, between its checks and the matching engine, or its answer."""

    REQUEST = "request"
    ENGINE = "engine"
    ANSWER = "answer"


class Kind(msgspec.Struct, frozen=True):
    """One kind of fault: does the request execute, and what is answered. ``code`` and ``message`` for ERROR."""

    doc: str
    executes: bool
    answer: Answer
    http_status: int = 0
    code: int = 0
    message: str = ""
    delays: Delay = Delay.REQUEST


_TIMEOUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_OVERLOADED = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
)
_INTERNAL = "Internal error; unable to process your request. Please try again."
_UNKNOWN = "Unknown error, please check your request or try again later."
_UNEXPECTED = "An unexpected response was received from the message bus. Execution status unknown."
_BANNED = "Way too many requests; IP(127.0.0.1) banned. Please use the websocket for live updates to avoid bans."
_REFUSED = "Refused on purpose."

_WAITS: Final = {
    "delay": Kind("done and answered `delay_ms` late", True, Answer.NORMAL),
    "delay_engine": Kind(
        "checked now, at the matching engine `delay_ms` later: -5028 past its recvWindow",
        True,
        Answer.NORMAL,
        delays=Delay.ENGINE,
    ),
    "delay_reply": Kind("done now, answered `delay_ms` late", True, Answer.NORMAL, delays=Delay.ANSWER),
    "silence_before": Kind("never done, never answered", False, Answer.SILENCE),
    "silence_after": Kind("done, never answered", True, Answer.SILENCE),
}

_CUTS: Final = {
    "drop_before": Kind("connection closed, request not done", False, Answer.CLOSE),
    "drop_after": Kind("connection closed, request done", True, Answer.CLOSE),
    "reset_in_middle": Kind("done; connection reset in the middle of the answer", True, Answer.RESET_IN_MIDDLE),
    "garbage": Kind("done; 5xx with HTML", True, Answer.GARBAGE, 502),
    "garbage_not_executed": Kind("not done; 5xx with HTML", False, Answer.GARBAGE, 502),
    "firewall": Kind("not done; 403 with HTML", False, Answer.GARBAGE, 403),
    "unreadable": Kind("done; 200 with JSON that breaks off", True, Answer.UNREADABLE, 200),
}

_ERRORS: Final = {
    "timeout_executed": Kind("done; -1007", True, Answer.ERROR, 408, -1007, _TIMEOUT),
    "timeout_not_executed": Kind("not done; -1007", False, Answer.ERROR, 408, -1007, _TIMEOUT),
    "unexpected_executed": Kind("done; -1006", True, Answer.ERROR, 500, -1006, _UNEXPECTED),
    "unexpected_not_executed": Kind("not done; -1006", False, Answer.ERROR, 500, -1006, _UNEXPECTED),
    "overloaded": Kind("not done; 503, -1008", False, Answer.ERROR, 503, -1008, _OVERLOADED),
    "overloaded_executed": Kind("done; 503, -1008", True, Answer.ERROR, 503, -1008, _OVERLOADED),
    "internal": Kind("not done; 503, -1001 (failed)", False, Answer.ERROR, 503, -1001, _INTERNAL),
    "internal_executed": Kind("done; 503, -1001", True, Answer.ERROR, 503, -1001, _INTERNAL),
    "unknown": Kind("not done; 503, unknown", False, Answer.ERROR, 503, 0, _UNKNOWN),
    "unknown_executed": Kind("done; 503, unknown", True, Answer.ERROR, 503, 0, _UNKNOWN),
    "unavailable": Kind("not done; 503, failed", False, Answer.ERROR, 503, 0, "Service Unavailable."),
    "too_many_requests": Kind(
        "not done; 429 with `retry_after_s`", False, Answer.ERROR, 429, -1003, "Too many requests."
    ),
    "banned": Kind("not done; 418 with `retry_after_s`", False, Answer.ERROR, 418, -1003, _BANNED),
    "refuse": Kind("not done; `http_status`, `code`, `message`", False, Answer.ERROR, 400, -1000, _REFUSED),
    "refuse_executed": Kind("done; `http_status`, `code`, `message`", True, Answer.ERROR, 400, -1000, _REFUSED),
}

KINDS: Final[dict[str, Kind]] = _WAITS | _CUTS | _ERRORS
"""Every fault of a request by name. The three 503 forms: *unknown* (nobody knows), *unavailable*, *internal* (failed).

Source: USDⓈ-M futures general info, HTTP return codes, 2026-05-28.
"""


class FaultRule(msgspec.Struct, forbid_unknown_fields=True):
    """Which requests a fault acts on; empty fields match all. ``count`` 0: for ever. ``skip``: first ones spared.

    ``spares_protective``: cancels, reduce-only and closing orders are spared, as the venue spares them from -1008.
    ``client_id``: how the request's client order id begins. ``script``: kinds of the next matching requests, one each,
    ``pass`` spares one; then ``kind`` and ``count`` do not matter. ``http_status``, ``code``, ``message``: in place of
    the kind's own.
    """

    kind: str = ""
    op: str = ""
    symbol: str = ""
    transport: str = ""
    key: str = ""
    client_id: str = ""
    count: int = 1
    skip: int = 0
    probability: float = 1.0
    script: list[str] = []
    spares_protective: bool = False
    delay_ms: int = 0
    retry_after_s: int = 1
    http_status: int = 0
    code: int = 0
    message: str = ""
    rule_id: int = 0
    acted: int = 0

    def __post_init__(self) -> None:
        """Refuse a rule that names no fault, or whose numbers are out of range."""
        named = self.script or [self.kind]
        if not {*named} <= {*KINDS, *([PASS] if self.script else [])} or len(named) > SCRIPT_MAX:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; a script names up to {SCRIPT_MAX}, or {PASS}")
        if not 0.0 <= self.probability <= 1.0 or not 0 <= self.delay_ms <= DELAY_MS_MAX:
            raise ValueError(f"probability must be 0 to 1 and delay_ms 0 to {DELAY_MS_MAX}")
        if min(self.count, self.skip, self.retry_after_s) < 0:
            raise ValueError("count, skip and retry_after_s must be 0 or more")
        if self.http_status and not 200 <= self.http_status <= 599:
            raise ValueError("http_status must be 200 to 599")

    def matches(self, request: Request) -> bool:
        """Tell whether the rule is about such requests."""
        pairs = (
            (self.op, request.op),
            (self.symbol, request.symbol),
            (self.transport, request.transport),
            (self.key, request.key),
        )
        wanted = all(mine in ("", theirs) for mine, theirs in pairs)
        spared = self.spares_protective and request.is_protective
        return wanted and not spared and request.client_id.startswith(self.client_id)


class Request(msgspec.Struct, frozen=True):
    """What a rule looks at."""

    op: str
    symbol: str = ""
    transport: str = ""
    key: str = ""
    client_id: str = ""
    is_protective: bool = False


class Fault(msgspec.Struct, frozen=True):
    """A fault that acts on one request: ``name`` of the kind, the kind with the rule's own words in it."""

    name: str
    kind: Kind
    delay_ms: int
    retry_after_s: int


class Faults(Rules[FaultRule]):
    """The rules in force, oldest first; the first that matches acts."""

    def __init__(self, random: Random) -> None:
        super().__init__(first_id=1)
        self._random = random

    def pick(self, request: Request) -> Fault | None:
        """Return the fault that acts on a request, counted, or None."""
        for rule in self._rules:
            if not rule.matches(request) or self._random.random() >= rule.probability:
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            name = rule.script[rule.acted] if rule.script else rule.kind
            rule.acted += 1
            if rule.acted == (len(rule.script) or rule.count):
                self._rules.remove(rule)
            return None if name == PASS else _fault(name, rule)
        return None


def _fault(name: str, rule: FaultRule) -> Fault:
    kind = KINDS[name]
    kind = msgspec.structs.replace(
        kind,
        http_status=rule.http_status or kind.http_status,
        code=rule.code or kind.code,
        message=rule.message or kind.message,
    )
    return Fault(name, kind, rule.delay_ms, rule.retry_after_s)

"""Faults on purpose: which requests go wrong, how, and how often. Random numbers are an argument.

A fault never changes what the exchange does, only whether the request reaches it and what the client gets to see.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Final

import msgspec

RULES_MAX: Final = 100
DELAY_MS_MAX: Final = 600_000


class Answer(StrEnum):
    """What the client gets to see."""

    NORMAL = "normal"
    SILENCE = "silence"
    CLOSE = "close"
    RESET_IN_MIDDLE = "reset_in_middle"
    GARBAGE = "garbage"
    ERROR = "error"


class Kind(msgspec.Struct, frozen=True):
    """One kind of fault: does the request execute, and what is answered. ``code`` and ``message`` for ERROR."""

    executes: bool
    answer: Answer
    http_status: int = 0
    code: int = 0
    message: str = ""
    delays_before: bool = True


_TIMEOUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_OVERLOADED = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
)
_INTERNAL = "Internal error; unable to process your request. Please try again."
_UNKNOWN = "Unknown error, please check your request or try again later."

KINDS: Final[dict[str, Kind]] = {
    "delay": Kind(True, Answer.NORMAL),
    "delay_reply": Kind(True, Answer.NORMAL, delays_before=False),
    "drop_before": Kind(False, Answer.CLOSE),
    "drop_after": Kind(True, Answer.CLOSE),
    "silence_before": Kind(False, Answer.SILENCE),
    "silence_after": Kind(True, Answer.SILENCE),
    "reset_in_middle": Kind(True, Answer.RESET_IN_MIDDLE),
    "garbage": Kind(True, Answer.GARBAGE, 502),
    "timeout_executed": Kind(True, Answer.ERROR, 408, -1007, _TIMEOUT),
    "timeout_not_executed": Kind(False, Answer.ERROR, 408, -1007, _TIMEOUT),
    "overloaded": Kind(False, Answer.ERROR, 503, -1008, _OVERLOADED),
    "overloaded_executed": Kind(True, Answer.ERROR, 503, -1008, _OVERLOADED),
    "internal": Kind(False, Answer.ERROR, 503, -1001, _INTERNAL),
    "internal_executed": Kind(True, Answer.ERROR, 503, -1001, _INTERNAL),
    "unknown": Kind(False, Answer.ERROR, 503, 0, _UNKNOWN),
    "unknown_executed": Kind(True, Answer.ERROR, 503, 0, _UNKNOWN),
    "unavailable": Kind(False, Answer.ERROR, 503, 0, "Service Unavailable."),
    "too_many_requests": Kind(False, Answer.ERROR, 429, -1003, "Too many requests."),
    "banned": Kind(False, Answer.ERROR, 418, -1003, "Way too many requests; IP banned."),
}
"""Every fault by name. The three 503 forms: *unknown* (nobody knows), *unavailable* (failed), *internal* (failed)."""


class FaultRule(msgspec.Struct, forbid_unknown_fields=True):
    """Which requests a fault acts on; empty fields match all. ``count`` 0: for ever. ``skip``: first ones spared."""

    kind: str
    op: str = ""
    symbol: str = ""
    transport: str = ""
    count: int = 1
    skip: int = 0
    probability: float = 1.0
    delay_ms: int = 0
    retry_after_s: int = 1
    rule_id: int = 0
    acted: int = 0

    def __post_init__(self) -> None:
        """Refuse a rule that names no fault, or whose numbers are out of range."""
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if not 0.0 <= self.probability <= 1.0 or not 0 <= self.delay_ms <= DELAY_MS_MAX:
            raise ValueError(f"probability must be 0 to 1 and delay_ms 0 to {DELAY_MS_MAX}")
        if self.count < 0 or self.skip < 0:
            raise ValueError("count and skip must be 0 or more")


class Faults:
    """The rules in force, oldest first; the first that matches acts."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._rules: list[FaultRule] = []
        self._next_id = 1

    @property
    def rules(self) -> list[FaultRule]:
        """Every rule in force."""
        return list(self._rules)

    def add(self, rule: FaultRule) -> int:
        """Put a rule in force; return its id.

        Raises:
            ValueError: if there are too many.
        """
        if len(self._rules) >= RULES_MAX:
            raise ValueError(f"at most {RULES_MAX} fault rules")
        rule.rule_id, rule.acted = self._next_id, 0
        self._next_id += 1
        self._rules.append(rule)
        return rule.rule_id

    def clear(self, rule_id: int = 0) -> int:
        """Take one rule away, or all with 0; return how many went."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule_id and rule.rule_id != rule_id]
        return before - len(self._rules)

    def pick(self, op: str, symbol: str, transport: str) -> FaultRule | None:
        """Return the rule that acts on a request, counted, or None."""
        for rule in self._rules:
            wanted = (rule.op in ("", op)) and (rule.symbol in ("", symbol)) and (rule.transport in ("", transport))
            if not wanted or self._random.random() >= rule.probability:
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            rule.acted += 1
            if rule.count and rule.acted >= rule.count:
                self._rules.remove(rule)
            return rule
        return None

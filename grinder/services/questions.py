"""What the executor asks the venue at its start, and some of it ever after: in stages, each until it is answered.

Must never take a failed question for an answer, never ask one twice at once, and never take an answer that is older
than what made us ask. What an answer says is for whoever takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from grinder.core.venue_budget import CONDITIONAL_MS, EXECUTOR_MODE_MS, RULES_MS, SWEEP_MS
from grinder.model.conditional import QueryOpenConditional
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    Advice,
    Answer,
    Confirmed,
    QueryBalance,
    QueryInstruments,
    QueryOpenOrders,
    QueryPositionMode,
    QueryPositions,
    QueryServerTime,
    Rejected,
    VenueReply,
    VenueRequest,
)
from grinder.services.lead import Lead
from grinder.services.order_store import ExecutorPorts

RETRY_MS_MIN: Final = 500
RETRY_MS_MAX: Final = 10_000


class Step(msgspec.Struct, frozen=True):
    """One question of the start. ``stage``: asked once every lower stage is answered.

    ``again_ms``: how often it is asked again, 0 never: a user stream that lost an event does not say so, and the
    operator may change the position mode.
    """

    name: str
    stage: int
    question: VenueRequest
    again_ms: int


STEPS: Final = (
    Step("POSITION_MODE", 1, QueryPositionMode(), EXECUTOR_MODE_MS),
    Step("INSTRUMENTS", 1, QueryInstruments(), RULES_MS),
    Step("CLOCK", 1, QueryServerTime(), 0),
    Step("POSITIONS", 2, QueryPositions(), 0),
    Step("OPEN_ORDERS", 2, QueryOpenOrders(), SWEEP_MS),
    Step("CONDITIONAL_ORDERS", 2, QueryOpenConditional(), CONDITIONAL_MS),
    Step("BALANCE", 2, QueryBalance(), 0),
)
"""What the start asks (R10). Orders of either kind are looked at at least once a minute (R11), which costs little: 40
of the 2400 a minute for the conditional ones."""

BY_NAME: Final = {step.name: step for step in STEPS}

READS: Final = 1
"""The stage whose answers change nothing at the venue; what comes later is for the host that leads."""

READING: Final = tuple(step for step in STEPS if step.stage <= READS)


class Questions:
    """Asks, and knows which question has no answer. ``take``: by name, what takes an answer and says if it can."""

    def __init__(self, ports: ExecutorPorts, lead: Lead, take: dict[str, Callable[[Answer], bool]]) -> None:
        assert set(take) == set(BY_NAME)
        self._ports = ports
        self._lead = lead
        self._take = take
        self._waiting: set[str] = set()
        self._answered: set[str] = set()
        self._outdated: set[str] = set()
        self._asked_mono_ns: dict[str, int] = {}
        self._due_mono_ns: dict[str, int] = {}
        self._sooner_mono_ns: dict[str, int] = {}
        self._failures: dict[str, tuple[int, str]] = {}

    def begin_stages_of_leader(self) -> None:
        """Ask what only the host that leads asks, whatever was answered before."""
        for step in STEPS:
            if step.stage > READS:
                self.ask_again(step.name)

    def unanswered(self, steps: tuple[Step, ...] = STEPS) -> str:
        """Return which of some questions has no answer and why, or an empty string."""
        for step in steps:
            if step.name not in self._answered:
                failures, last = self._failures.get(step.name, (0, ""))
                tried = f", {failures} tries failed, last: {last}" if failures else ""
                return f"{step.name}: not answered yet{tried}"
        return ""

    def answered(self, name: str) -> bool:
        """Tell whether a question has an answer that counts."""
        return name in self._answered

    def ask_again(self, name: str) -> None:
        """Ask one question once more, now; until it is answered new risk waits."""
        self._due_mono_ns[name] = 0
        self._answered.discard(name)
        if name in self._waiting:
            # An answer on its way may be older than what made us ask.
            self._outdated.add(name)

    def ask_sooner(self, name: str, apart_ms: int) -> None:
        """Ask one question once more as soon as that long has passed since it was asked; the last answer holds on."""
        at_mono_ns = self._asked_mono_ns.get(name, 0) + apart_ms * NS_PER_MS
        self._sooner_mono_ns[name] = min(at_mono_ns, self._sooner_mono_ns.get(name, at_mono_ns))

    def on_timer(self) -> None:
        """Send the questions that are open and due."""
        now = self._ports.clock.mono_ns()
        stage = min((step.stage for step in STEPS if step.name not in self._answered), default=len(STEPS))
        if not self._lead.leads:
            stage = min(stage, READS)
        for step in STEPS:
            name = step.name
            again = name not in self._answered or step.again_ms
            if step.stage <= stage and again and name not in self._waiting and now >= self._due(name):
                self._waiting.add(name)
                self._asked_mono_ns[name] = now
                self._sooner_mono_ns.pop(name, None)
                self._ports.venue.submit(step.question, partial(self._on_answer, step))

    def _due(self, name: str) -> int:
        due_mono_ns = self._due_mono_ns.get(name, 0)
        return min(due_mono_ns, self._sooner_mono_ns.get(name, due_mono_ns))

    def _on_answer(self, step: Step, reply: VenueReply) -> None:
        name = step.name
        self._waiting.discard(name)
        if step.stage > READS and not self._lead.leads:
            return
        now = self._ports.clock.mono_ns()
        taken = isinstance(reply, Confirmed) and self._take[name](reply.value)
        if name in self._outdated:
            self._outdated.discard(name)
        elif taken:
            self._answered.add(name)
            self._failures.pop(name, None)
            self._due_mono_ns[name] = now + step.again_ms * NS_PER_MS
        else:
            failures = self._failures.get(name, (0, ""))[0] + 1
            last = _words(reply)
            self._failures[name] = (failures, last)
            wait_ms = min(RETRY_MS_MAX, RETRY_MS_MIN << min(failures - 1, 10))
            self._due_mono_ns[name] = now + wait_ms * NS_PER_MS
            self._ports.telemetry.count("grinder_executor_recovery_failures_total", name)
            self._ports.log.event("RECOVERY_STEP_FAILED", step=name, failures=failures, last=last)


def _words(reply: VenueReply) -> str:
    """Return why a question has no answer, as short text."""
    if isinstance(reply, Rejected):
        hint = " (retry later)" if reply.advice is Advice.RATE_LIMIT else ""
        return f"{reply.code} {reply.message}{hint}".strip()
    return "not usable" if isinstance(reply, Confirmed) else reply.why

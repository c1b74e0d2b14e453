"""Faults of streams on purpose: what becomes of an event between the venue and those who listen.

Sans-I/O: each event of a stream goes in, what is to be sent in its place, and when, comes out.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from random import Random
from typing import Final

import msgspec

from grinder.sim.exchange.fault_rules import Rules
from grinder.sim.exchange.faults import DELAY_MS_MAX, PASS, SCRIPT_MAX

HISTORY_MAX: Final = 64
"""Events kept per stream, so that they can be replayed."""

STREAMS_KEPT_MAX: Final = 256
"""Streams whose events are kept."""

HOLD_MS: Final = 1_000
"""How long an event waits for the one that is to overtake it."""

USER: Final = "user"
"""Stands for every user stream where a fault names streams."""

EVERY: Final = "*"
FIRST_RULE_ID: Final = 1_000_000
"""Ids of stream rules begin here: those of request rules are below."""


class Effect(StrEnum):
    """What happens to the event."""

    LOSE = "lose"
    TWICE = "twice"
    SWAP = "swap"
    REPLAY = "replay"
    DELAY = "delay"
    CUT = "cut"
    DISCONNECT = "disconnect"
    DEAF = "deaf"


class StreamKind(msgspec.Struct, frozen=True):
    """One kind of fault. ``count``: how many events it acts on unless the rule says; 0 for ever."""

    doc: str
    effect: Effect
    count: int = 1


STREAM_KINDS: Final[dict[str, StreamKind]] = {
    "silent": StreamKind("nothing is sent; the connection stays", Effect.LOSE, 0),
    "gap": StreamKind("the event is lost: a hole in update ids, trade ids or user events", Effect.LOSE),
    "duplicate": StreamKind("the event is sent twice", Effect.TWICE),
    "reorder": StreamKind("the event comes after the next one of its stream, or `delay_ms` later", Effect.SWAP),
    "replay": StreamKind("the `span` events before it are sent again after it", Effect.REPLAY),
    "late": StreamKind("the event is sent `delay_ms` late; others overtake it", Effect.DELAY),
    "malformed": StreamKind("the event breaks off in its middle", Effect.CUT),
    "disconnect": StreamKind("instead of the event, its listeners' connections are cut", Effect.DISCONNECT),
    "ack_without_data": StreamKind("the next subscription is acknowledged and never sends", Effect.DEAF),
}
"""Every fault of a stream by name."""


class StreamRule(msgspec.Struct, forbid_unknown_fields=True):
    """Which events a fault acts on; empty fields match all.

    ``stream``: a name, ``user`` for every user stream, ``*`` for everything. ``symbol``: streams of this symbol, or
    user events about it. ``event``: name of a user event. ``count`` None: as the kind has it; 0: for ever. ``script``:
    as for requests.
    """

    kind: str = ""
    stream: str = EVERY
    symbol: str = ""
    event: str = ""
    count: int | None = None
    skip: int = 0
    probability: float = 1.0
    script: list[str] = []
    delay_ms: int = 0
    span: int = 3
    rule_id: int = 0
    acted: int = 0

    def __post_init__(self) -> None:
        """Refuse a rule that names no fault, or whose numbers are out of range."""
        named = self.script or [self.kind]
        if not {*named} <= {*STREAM_KINDS, *([PASS] if self.script else [])} or len(named) > SCRIPT_MAX:
            raise ValueError(f"kind must be one of {', '.join(STREAM_KINDS)}; a script names up to {SCRIPT_MAX}")
        if not 0.0 <= self.probability <= 1.0 or not 0 <= self.delay_ms <= DELAY_MS_MAX:
            raise ValueError(f"probability must be 0 to 1 and delay_ms 0 to {DELAY_MS_MAX}")
        if min(self.count or 0, self.skip) < 0 or not 1 <= self.span <= HISTORY_MAX:
            raise ValueError(f"count and skip must be 0 or more, span 1 to {HISTORY_MAX}")

    @property
    def total(self) -> int:
        """How many events the rule acts on, 0 for ever."""
        if self.script:
            return len(self.script)
        return STREAM_KINDS[self.kind].count if self.count is None else self.count

    def matches(self, event: StreamEvent) -> bool:
        """Tell whether the rule is about such events."""
        named = self.stream in (EVERY, event.stream) or (self.stream == USER and event.is_user)
        return named and self.symbol.upper() in ("", event.symbol) and self.event in ("", event.name)


class StreamEvent(msgspec.Struct, frozen=True):
    """One event on its way. ``name`` and ``is_user``: of user events; ``payload``: JSON as it is sent."""

    stream: str
    payload: bytes
    symbol: str = ""
    name: str = ""
    is_user: bool = False


class Sending(msgspec.Struct, frozen=True):
    """What to do: send an event, after ``delay_ms``; or cut its listeners."""

    event: StreamEvent
    delay_ms: int = 0
    disconnects: bool = False


class StreamFaults(Rules[StreamRule]):
    """The rules in force, oldest first; the first that matches acts. ``active`` is all the hot path looks at."""

    def __init__(self, random: Random) -> None:
        super().__init__(FIRST_RULE_ID)
        self._random = random
        self._history: dict[str, deque[StreamEvent]] = {}
        self._held: dict[str, tuple[StreamEvent, int]] = {}
        self.active = False

    def add(self, rule: StreamRule) -> int:
        """Put a rule in force; return its id.

        Raises:
            ValueError: if there are too many.
        """
        rule_id = super().add(rule)
        self._settle()
        return rule_id

    def clear(self, rule_id: int = 0) -> int:
        """Take one rule away, or all with 0; return how many went."""
        gone = super().clear(rule_id)
        self._settle()
        return gone

    def remember(self, event: StreamEvent) -> None:
        """Keep an event, so that it can be replayed; the streams heard of last are kept."""
        history = self._history.pop(event.stream, None)
        if history is None:
            history = deque(maxlen=HISTORY_MAX)
        self._history[event.stream] = history
        history.append(event)
        if len(self._history) > STREAMS_KEPT_MAX:
            del self._history[next(iter(self._history))]

    def treat(self, event: StreamEvent) -> list[Sending]:
        """Return what to send in place of an event, in order."""
        rule, kind = self._pick(event)
        earlier = list(self._history.get(event.stream, ()))
        self.remember(event)
        overtaken = self._held.pop(event.stream, None)
        sendings = self._effect(event, rule, kind, earlier)
        if overtaken is not None:
            sendings.append(Sending(overtaken[0]))
        self._settle()
        return sendings

    def hold_ms(self, event: StreamEvent) -> int:
        """Return how long an event that is held back waits to be overtaken, 0 if it is not held."""
        held = self._held.get(event.stream)
        return held[1] if held is not None and held[0] is event else 0

    def release(self, event: StreamEvent) -> bool:
        """Let a held event go because nothing overtook it; return False if something did."""
        if not self.hold_ms(event):
            return False
        del self._held[event.stream]
        self._settle()
        return True

    def deafens(self, stream: str, *, is_user: bool) -> bool:
        """Tell whether a new subscription shall be acknowledged and never send."""
        _, kind = self._pick(StreamEvent(stream, b"", symbol_of(stream), is_user=is_user), subscribing=True)
        self._settle()
        return kind is not None

    def _effect(
        self, event: StreamEvent, rule: StreamRule | None, kind: StreamKind | None, earlier: list[StreamEvent]
    ) -> list[Sending]:
        if rule is None or kind is None:
            return [Sending(event)]
        if kind.effect is Effect.LOSE:
            return []
        if kind.effect is Effect.TWICE:
            return [Sending(event), Sending(event)]
        if kind.effect is Effect.REPLAY:
            return [Sending(each) for each in (event, *earlier[-rule.span :])]
        if kind.effect is Effect.DELAY:
            return [Sending(event, delay_ms=rule.delay_ms)]
        if kind.effect is Effect.CUT:
            half = event.payload[: len(event.payload) // 2]
            return [Sending(msgspec.structs.replace(event, payload=half))]
        if kind.effect is Effect.DISCONNECT:
            return [Sending(event, disconnects=True)]
        assert kind.effect is Effect.SWAP
        self._held[event.stream] = (event, rule.delay_ms or HOLD_MS)
        return []

    def _pick(self, event: StreamEvent, *, subscribing: bool = False) -> tuple[StreamRule | None, StreamKind | None]:
        for rule in self._rules:
            name = rule.script[rule.acted] if rule.script else rule.kind
            deafens = name in STREAM_KINDS and STREAM_KINDS[name].effect is Effect.DEAF
            if deafens is not subscribing or not rule.matches(event) or self._random.random() >= rule.probability:
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            rule.acted += 1
            if rule.acted == rule.total:
                self._rules.remove(rule)
            return rule, STREAM_KINDS.get(name)
        return None, None

    def _settle(self) -> None:
        self.active = bool(self._rules or self._held)


def symbol_of(stream: str) -> str:
    """Return the symbol a market stream is about, empty for listen keys and streams of all symbols."""
    symbol, at, _ = stream.partition("@")
    return symbol.upper() if at and not symbol.startswith("!") else ""

"""Who listens to which stream, and the fan-out to them.

A stream belongs to one route (``/public``, ``/market``, ``/private``); subscribed on another, it is acknowledged and
never sends. Source: USDⓈ-M futures websocket base URL change, effective 2026-04-23.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from grinder.sim.exchange.events import UserEvent
from grinder.sim.exchange.listen_keys import ListenKeys
from grinder.sim.wire.frames import Wire, text_frame

STREAMS_PER_CONNECTION_MAX: Final = 1_024
USER: Final = "user"
"""Stands for every user stream where a fault names streams."""


class Route(StrEnum):
    """First part of a stream path; LEGACY paths get public data only."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"
    LEGACY = "legacy"


PUBLIC_KINDS: Final = frozenset({"bookTicker", "depth", "depth5", "depth10", "depth20", "rpiDepth", "trade"})


def route_of(stream: str) -> Route:
    """Return the route that carries a stream; a name that is no market stream counts as a listen key."""
    if "@" not in stream and not stream.startswith("!"):
        return Route.PRIVATE
    kind = stream[1:].partition("@")[0] if stream.startswith("!") else stream.split("@")[1]
    kind = kind.partition("_")[0]
    if kind in PUBLIC_KINDS:
        return Route.PUBLIC
    return Route.MARKET


class Subscriber:
    """One stream connection. ``combined``: payloads are wrapped with their stream name."""

    def __init__(self, wire: Wire, route: Route, *, combined: bool) -> None:
        self.wire = wire
        self.route = route
        self.combined = combined
        self.streams: dict[str, frozenset[str]] = {}

    def carries(self, stream: str) -> bool:
        """Tell whether this connection's path may carry a stream."""
        route = Route.PUBLIC if self.route is Route.LEGACY else self.route
        return route_of(stream) is route


class Hub:
    """Every subscription, and the faults of streams."""

    def __init__(self, listen_keys: ListenKeys) -> None:
        self._listen_keys = listen_keys
        self._by_stream: dict[str, dict[Subscriber, None]] = {}
        self.subscribers: dict[Subscriber, None] = {}
        self.silent: set[str] = set()
        self.user_duplicates = 0
        self.user_drops = 0
        self.sent_total = 0

    def add(self, subscriber: Subscriber) -> None:
        """Take a new connection."""
        self.subscribers[subscriber] = None

    def remove(self, subscriber: Subscriber) -> None:
        """Forget a connection."""
        self.subscribers.pop(subscriber, None)
        for stream in list(subscriber.streams):
            self.unsubscribe(subscriber, stream)

    def subscribe(self, subscriber: Subscriber, stream: str, events: frozenset[str] = frozenset()) -> None:
        """Subscribe a connection to a stream; ``events``: the user events it wants, all if empty."""
        subscriber.streams[stream] = events
        if subscriber.carries(stream):
            self._by_stream.setdefault(stream, {})[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, stream: str) -> None:
        """End one subscription."""
        subscriber.streams.pop(stream, None)
        listeners = self._by_stream.get(stream)
        if listeners is not None:
            listeners.pop(subscriber, None)
            if not listeners:
                del self._by_stream[stream]

    def wanted(self, stream: str) -> bool:
        """Tell whether anybody listens to a stream."""
        return stream in self._by_stream

    def has_listener(self, kind: str) -> bool:
        """Tell whether anybody listens to a stream of this kind, of whatever symbol."""
        return any(stream.endswith(kind) for stream in self._by_stream)

    def publish(self, stream: str, payload: bytes) -> None:
        """Send a payload to everyone who listens to a stream."""
        listeners = self._by_stream.get(stream)
        if listeners is None or (self.silent and self._is_silent(stream)):
            return
        plain = wrapped = b""
        for subscriber in list(listeners):
            if subscriber.combined:
                wrapped = wrapped or text_frame(b'{"stream":"%b","data":%b}' % (stream.encode(), payload))
                subscriber.wire.write(wrapped)
            else:
                plain = plain or text_frame(payload)
                subscriber.wire.write(plain)
            self.sent_total += 1

    def inject(self, stream: str, payload: bytes) -> int:
        """Send raw bytes as one text frame to everyone who listens to a stream; return to how many.

        Args:
            stream: its name; ``user`` stands for every user stream.
            payload: what the frame shall carry, unwrapped and unchecked.
        """
        if stream == USER:
            listeners = [
                each for each in self.subscribers if any(route_of(name) is Route.PRIVATE for name in each.streams)
            ]
        else:
            listeners = list(self._by_stream.get(stream, ()))
        frame = text_frame(payload)
        for subscriber in listeners:
            subscriber.wire.write(frame)
        return len(listeners)

    def flush(self, outbox: list[UserEvent]) -> None:
        """Send and clear what the exchange has to say on user streams."""
        if not outbox:
            return
        for event in outbox:
            self._publish_user(event)
        outbox.clear()

    def _publish_user(self, event: UserEvent) -> None:
        key = event.payload.get("listenKey") or self._listen_keys.key_of(event.account)
        listeners = self._by_stream.get(key)
        if not listeners or (self.silent and self._is_silent(USER)):
            return
        if self.user_drops:
            self.user_drops -= 1
            return
        times = 1
        if self.user_duplicates:
            self.user_duplicates -= 1
            times = 2
        payload = msgspec.json.encode(event.payload)
        for subscriber in list(listeners):
            events = subscriber.streams.get(key, frozenset())
            if events and event.name not in events and event.name != "listenKeyExpired":
                continue
            body = b'{"stream":"%b","data":%b}' % (key.encode(), payload) if subscriber.combined else payload
            for _ in range(times):
                subscriber.wire.write(text_frame(body))
                self.sent_total += 1

    def _is_silent(self, stream: str) -> bool:
        return "*" in self.silent or stream in self.silent

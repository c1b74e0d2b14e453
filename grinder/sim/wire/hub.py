"""Who listens to which stream, and the fan-out to them.

A stream belongs to one route (``/public``, ``/market``, ``/private``); subscribed on another, it is acknowledged and
never sends. Source: USDⓈ-M futures websocket base URL change, effective 2026-04-23.
"""

from __future__ import annotations

import asyncio
from collections import deque
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.sim.exchange.events import PublicEvent, UserEvent
from grinder.sim.exchange.listen_keys import ListenKeys
from grinder.sim.exchange.stream_faults import USER, Sending, StreamEvent, StreamFaults, symbol_of
from grinder.sim.wire.frames import Wire, text_frame

STREAMS_PER_CONNECTION_MAX: Final = 1_024
LISTEN_KEY_EXPIRED: Final = "listenKeyExpired"
FORCE_ORDER: Final = "forceOrder"
"""Of these, the largest of each second and symbol is sent. Source: liquidation order streams, 2026-05-28."""

PUBLIC_STREAMS: Final = {
    FORCE_ORDER: ("{}@forceOrder", "!forceOrder@arr"),
    "contractInfo": ("!contractInfo",),
}
"""Streams that carry the exchange's own public events, by kind."""


class Route(StrEnum):
    """First part of a stream path; of paths without one, LEGACY gets public data only and ANY all, as before 2026."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"
    LEGACY = "legacy"
    ANY = "any"


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
        if self.route is Route.ANY:
            return True
        route = Route.PUBLIC if self.route is Route.LEGACY else self.route
        return route_of(stream) is route


class Hub:
    """Every subscription, and the faults of streams."""

    def __init__(self, listen_keys: ListenKeys, faults: StreamFaults) -> None:
        self._listen_keys = listen_keys
        self._by_stream: dict[str, dict[Subscriber, None]] = {}
        self.faults = faults
        self.subscribers: dict[Subscriber, None] = {}
        self.sent_total = 0
        self._forced: dict[str, PublicEvent] = {}

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
        if not subscriber.carries(stream):
            return
        if self.faults.active and self.faults.deafens(stream, is_user=route_of(stream) is Route.PRIVATE):
            return
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

    def streams_with(self, text: str) -> list[str]:
        """Return the streams with a text in their name that somebody listens to."""
        return [stream for stream in self._by_stream if text in stream]

    def publish(self, stream: str, payload: bytes) -> None:
        """Send a payload to everyone who listens to a stream."""
        listeners = self._by_stream.get(stream)
        if listeners is None:
            return
        if self.faults.active:
            self._treat(StreamEvent(stream, payload, symbol_of(stream)))
            return
        self._fan_out(stream, listeners, payload)

    def inject(self, stream: str, payload: bytes) -> int:
        """Send raw bytes as one text frame to everyone who listens to a stream; return to how many.

        Args:
            stream: its name; ``user`` stands for every user stream.
            payload: what the frame shall carry, unwrapped and unchecked.
        """
        listeners = self.listeners(stream)
        frame = text_frame(payload)
        for subscriber in listeners:
            subscriber.wire.write(frame)
        return len(listeners)

    def cut(self, stream: str) -> int:
        """Cut the connections that listen to a stream; ``user``: to any user stream. Return how many."""
        listeners = self.listeners(stream)
        for subscriber in listeners:
            subscriber.wire.abort()
        return len(listeners)

    def listeners(self, stream: str) -> list[Subscriber]:
        """Return the connections that listen to a stream, those of every user stream for ``user``."""
        if stream != USER:
            return list(self._by_stream.get(stream, ()))
        return [each for each in self.subscribers if any(route_of(name) is Route.PRIVATE for name in each.streams)]

    def flush(self, outbox: list[UserEvent]) -> None:
        """Send and clear what the exchange has to say on user streams."""
        if not outbox:
            return
        for event in outbox:
            self._publish_user(event)
        outbox.clear()

    def flush_public(self, outbox: deque[PublicEvent]) -> None:
        """Send and clear what the exchange has to say on market streams; forced orders wait for their second to end."""
        while outbox:
            event = outbox.popleft()
            if event.kind != FORCE_ORDER:
                self._publish_public(event)
                continue
            larger = self._forced.get(event.symbol, event)
            smaller = Decimal(larger.payload["o"]["q"]) < Decimal(event.payload["o"]["q"])
            self._forced[event.symbol] = event if smaller else larger

    def send_forced(self) -> None:
        """Send the largest forced order of each symbol since the last call."""
        for event in self._forced.values():
            self._publish_public(event)
        self._forced.clear()

    def _publish_public(self, event: PublicEvent) -> None:
        payload = msgspec.json.encode(event.payload)
        for stream in PUBLIC_STREAMS.get(event.kind, ()):
            self.publish(stream.format(event.symbol.lower()), payload)

    def _publish_user(self, event: UserEvent) -> None:
        key = event.payload.get("listenKey") or self._listen_keys.key_of(event.account)
        if key not in self._by_stream:
            return
        wired = StreamEvent(key, msgspec.json.encode(event.payload), _symbol_of(event), event.name, is_user=True)
        if self.faults.active:
            self._treat(wired)
            return
        self.faults.remember(wired)
        self._send(Sending(wired))

    def _treat(self, event: StreamEvent) -> None:
        """Send what the faults make of an event; what they hold back goes out when nothing has overtaken it."""
        loop = asyncio.get_running_loop()
        sendings = self.faults.treat(event)
        for sending in sendings:
            if sending.delay_ms:
                loop.call_later(sending.delay_ms / 1_000, self._send, sending)
            else:
                self._send(sending)
        hold_ms = self.faults.hold_ms(event)
        if hold_ms:
            loop.call_later(hold_ms / 1_000, self._release, event)

    def _release(self, event: StreamEvent) -> None:
        if self.faults.release(event):
            self._send(Sending(event))

    def _send(self, sending: Sending) -> None:
        event = sending.event
        listeners = self._by_stream.get(event.stream)
        if not listeners:
            return
        if sending.disconnects:
            self.cut(event.stream)
            return
        if event.is_user:
            listeners = {each: None for each in listeners if _wants(each.streams.get(event.stream), event.name)}
        self._fan_out(event.stream, listeners, event.payload)

    def _fan_out(self, stream: str, listeners: dict[Subscriber, None], payload: bytes) -> None:
        plain = wrapped = b""
        for subscriber in list(listeners):
            if subscriber.combined:
                wrapped = wrapped or text_frame(b'{"stream":"%b","data":%b}' % (stream.encode(), payload))
                subscriber.wire.write(wrapped)
            else:
                plain = plain or text_frame(payload)
                subscriber.wire.write(plain)
            self.sent_total += 1


def _symbol_of(event: UserEvent) -> str:
    """Return the symbol a user event is about, empty if it is about none."""
    payload = event.payload
    positions = payload.get("a", {}).get("P") or [{}]
    return str(payload.get("o", payload).get("s") or positions[0].get("s", ""))


def _wants(events: frozenset[str] | None, name: str) -> bool:
    """Tell whether a subscription to a listen key wants an event; the key's own end reaches everyone."""
    return not events or name in events or name == LISTEN_KEY_EXPIRED

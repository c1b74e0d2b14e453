"""Ground truth: what really reached the simulated venue and what it really did. Bounded, oldest dropped first."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

REQUESTS_KEPT_MAX: Final = 100_000
TICKS_KEPT_MAX: Final = 50_000


class RequestRecord(msgspec.Struct, gc=False):
    """One request. ``mono_ns``: CLOCK_MONOTONIC when its bytes were read; ``tick_mono_ns``: when the last book ticker
    of its symbol was sent before that, 0 if none. ``reduce_only``: it said so. ``code``: 0 for success. ``fault``: the
    fault that acted on it.
    """

    seq: int
    mono_ns: int
    utc_ms: int
    transport: str
    op: str
    key: str
    client_id: str
    symbol: str
    tick_mono_ns: int
    reduce_only: bool = False
    http_status: int = 0
    code: int = 0
    fault: str = ""
    executed: bool = False


class TickRecord(msgspec.Struct, frozen=True, gc=False):
    """One book ticker as it left: monotonic send time, symbol, update id, prices."""

    mono_ns: int
    symbol: str
    update_id: int
    bid: str
    ask: str


class Truth:
    """Everything kept for ``/sim/``."""

    def __init__(self) -> None:
        self.requests: deque[RequestRecord] = deque(maxlen=REQUESTS_KEPT_MAX)
        self.ticks: deque[TickRecord] = deque(maxlen=TICKS_KEPT_MAX)
        self.last_tick_mono_ns: dict[str, int] = {}
        self.requests_total = 0
        self.ticks_total = 0

    def on_tick(self, mono_ns: int, symbol: str, update_id: int, bid: str, ask: str) -> None:
        """Note that a book ticker is being sent."""
        self.last_tick_mono_ns[symbol] = mono_ns
        self.ticks_total += 1
        self.ticks.append(TickRecord(mono_ns, symbol, update_id, bid, ask))

    def on_request(
        self, mono_ns: int, utc_ms: int, transport: str, op: str, key: str, client_id: str, symbol: str
    ) -> RequestRecord:
        """Note a request; the caller fills in how it ended."""
        self.requests_total += 1
        tick = self.last_tick_mono_ns.get(symbol, 0)
        record = RequestRecord(self.requests_total, mono_ns, utc_ms, transport, op, key, client_id, symbol, tick)
        self.requests.append(record)
        return record

"""The channel table: who publishes what, how often at least, and when silence means stale.

Staleness, sockets, supervisord programs and metrics are derived from or tested against this table.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from grinder.model import frames
from grinder.model.control import Process
from grinder.model.limits import INTENT_QUEUE_HWM


class Pattern(StrEnum):
    """How a channel's socket behaves."""

    PUB_SUB = "PUB_SUB"
    PUSH_PULL = "PUSH_PULL"


class QueuePolicy(StrEnum):
    """What a slow consumer does with a backlog."""

    EVERY = "every frame in order"
    LATEST_PER_SYMBOL = "the latest book and mark per symbol, every other frame"


class Channel(msgspec.Struct, frozen=True):
    """One row. ``period_ms``: at least one frame this often; ``stale_ms``: silence that counts as stale.

    ``binds``: the process whose socket is bound; the others connect. ``hwm``: queue bound in frames, each side.
    """

    name: str
    pattern: Pattern
    publishers: tuple[Process, ...]
    consumers: tuple[Process, ...]
    binds: Process
    frame: Any
    period_ms: int
    stale_ms: int
    policy: QueuePolicy
    hwm: int
    transport: str = "ipc"


_P = Process
MARKET: Final = Channel(
    "market",
    Pattern.PUB_SUB,
    (_P.FEED,),
    (_P.FSM,),
    _P.FEED,
    frames.MarketFrame,
    250,
    1_000,
    QueuePolicy.LATEST_PER_SYMBOL,
    20_000,
)
INTENTS: Final = Channel(
    "intents",
    Pattern.PUSH_PULL,
    (_P.FSM,),
    (_P.EXECUTOR,),
    _P.EXECUTOR,
    frames.IntentFrame,
    0,
    0,
    QueuePolicy.EVERY,
    INTENT_QUEUE_HWM,
)
ORDERS: Final = Channel(
    "orders",
    Pattern.PUB_SUB,
    (_P.EXECUTOR,),
    (_P.FSM, _P.SYNCER, _P.METRICS),
    _P.EXECUTOR,
    frames.OrdersFrame,
    1_000,
    3_000,
    QueuePolicy.EVERY,
    20_000,
)
ACCOUNT: Final = Channel(
    "account",
    Pattern.PUB_SUB,
    (_P.SYNCER,),
    (_P.FSM, _P.EXECUTOR, _P.METRICS),
    _P.SYNCER,
    frames.AccountFrame,
    2_000,
    6_000,
    QueuePolicy.EVERY,
    10_000,
)
STATE: Final = Channel(
    "state", Pattern.PUB_SUB, (_P.FSM,), (_P.METRICS,), _P.FSM, frames.StateFrame, 250, 2_000, QueuePolicy.EVERY, 10_000
)
TELEMETRY: Final = Channel(
    "telemetry",
    Pattern.PUSH_PULL,
    (_P.FEED, _P.SYNCER, _P.FSM, _P.EXECUTOR),
    (_P.METRICS,),
    _P.METRICS,
    frames.TelemetryFrame,
    250,
    2_000,
    QueuePolicy.EVERY,
    64,
)

CHANNELS: Final = (MARKET, INTENTS, ORDERS, ACCOUNT, STATE, TELEMETRY)

assert len({channel.name for channel in CHANNELS}) == len(CHANNELS)
assert all(channel.binds in channel.publishers + channel.consumers for channel in CHANNELS)
assert all(channel.stale_ms > channel.period_ms for channel in CHANNELS if channel.period_ms)

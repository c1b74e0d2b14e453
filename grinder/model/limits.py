"""Bounds on every loop, queue, retry, buffer and wait, with the relations between them asserted here.

Must never hold a trading parameter: those are settings.
"""

from __future__ import annotations

from typing import Final

FRAME_BYTES_MAX: Final = 1 << 20
"""Largest bus frame or venue message accepted, bytes; a longer one is counted and dropped."""

SYMBOLS_MAX: Final = 32
"""Most symbols one tree trades (board slots, snapshot frames)."""

LEVELS_MAX: Final = 20
"""Most grid levels per side and symbol."""

ORDERS_TRACKED_MAX: Final = 4_096
"""Most orders the executor tracks at once; beyond it new risk is denied."""

TRADE_IDS_REMEMBERED: Final = 16_384
"""Fills remembered per symbol for deduplication."""

DRAIN_FRAMES_MAX: Final = 1_024
"""Most frames a hot role takes from its socket before it looks at its timers."""

INTENT_TTL_MS: Final = 500
"""Age at which an intent is refused by the executor, milliseconds after it was decided."""

INTENT_QUEUE_HWM: Final = 64
"""High-water mark of the intents channel, frames on each side."""

TIMER_PERIOD_MS: Final = 50
"""Period of a service's timer, milliseconds."""

HEARTBEAT_PERIOD_MS: Final = 100
"""Period of a process's heartbeat on the board, milliseconds."""

HEARTBEAT_STALE_MS: Final = 2_000
"""Age at which a process counts as dead to its peers, milliseconds."""

TELEMETRY_PERIOD_MS: Final = 250
"""Period of a process's absolute metric snapshot, milliseconds."""

ORDERS_SNAPSHOT_PERIOD_MS: Final = 1_000
"""Period of the executor's full order snapshot, milliseconds."""

INSTRUMENTS_PERIOD_MS: Final = 2_000
"""Period at which the syncer repeats instruments and account state for late joiners, milliseconds."""

ACCOUNT_STALE_MS: Final = 15_000
"""Age at which account truth is too old for new risk, milliseconds."""

RECONNECT_BACKOFF_MS_MIN: Final = 100
RECONNECT_BACKOFF_MS_MAX: Final = 5_000
"""Bounds of the wait between two connection attempts, milliseconds."""

CONNECTION_LIFE_S_MAX: Final = 23 * 3_600
"""Planned rotation of a venue connection, seconds: before the venue's 24 h cut."""

BOARD_READ_TRIES_MAX: Final = 8
"""Tries of a board record read before it counts as stale."""

assert TIMER_PERIOD_MS <= HEARTBEAT_PERIOD_MS < HEARTBEAT_STALE_MS
assert INTENT_TTL_MS < HEARTBEAT_STALE_MS
assert RECONNECT_BACKOFF_MS_MIN < RECONNECT_BACKOFF_MS_MAX < ACCOUNT_STALE_MS
assert INSTRUMENTS_PERIOD_MS < ACCOUNT_STALE_MS
assert CONNECTION_LIFE_S_MAX < 24 * 3_600

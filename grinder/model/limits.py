"""Bounds on every loop, queue, retry, buffer and wait, with the relations between them asserted here.

Must never hold a trading parameter: those are settings.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

FRAME_BYTES_MAX: Final = 1 << 20
"""Largest bus frame or venue message accepted, bytes; a longer one is counted and dropped."""

FRAME_BYTES_DISCONNECT: Final = 1 << 24
"""Size at which a bus connection is cut before the message is read into memory, bytes."""

SYMBOLS_MAX: Final = 32
"""Most symbols one tree trades (board slots, snapshot frames)."""

LEVELS_MAX: Final = 20
"""Most grid levels per side and symbol."""

ORDERS_TRACKED_MAX: Final = 4_096
"""Most orders the executor tracks at once; beyond it new risk is denied."""

COUNTED_LATE_MAX: Final = 4_096
"""Most counted parts of orders that wait for a journal that takes nothing; beyond it the oldest are given up."""

COUNTED_LATE_AT_ONCE_MAX: Final = 256
"""Most of them that are put on record at once when it is well again: each may cost a sync."""

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

ACCOUNT_SYNC_INTERVAL_MS_MIN: Final = 500
ACCOUNT_SYNC_INTERVAL_MS_MAX: Final = 5_000
"""Bounds of the period of account snapshots, milliseconds."""

ACCOUNT_STALE_MS: Final = 15_000
"""Age at which account truth is too old for new risk, milliseconds."""

RECONNECT_BACKOFF_MS_MIN: Final = 100
RECONNECT_BACKOFF_MS_MAX: Final = 5_000
"""Bounds of the wait between two connection attempts, milliseconds."""

CONNECTION_LIFE_S_MAX: Final = 23 * 3_600
"""Planned rotation of a venue connection, seconds: before the venue's 24 h cut."""

VENUE_PENDING_MAX: Final = 1_024
"""Most requests that wait for the venue's answer on one path at once."""

VENUE_PROBE_PERIOD_MS: Final = 2_000
"""Period at which a venue that nothing else reaches is pinged, milliseconds."""

BATCH_ORDERS_MAX: Final = 5
"""Most orders of one batch request. Source: venue documentation, POST /fapi/v1/batchOrders, 2026-05-28."""

RECV_WINDOW_MS_MAX: Final = 5_000
"""Longest age at which a signed request of ours may still be accepted by the venue, milliseconds."""

LISTEN_KEY_EXTEND_S: Final = 25 * 60
"""Period at which a listen key is extended, seconds."""

LISTEN_KEY_RETRY_S: Final = 60
"""Wait before a failed extension is tried again, seconds."""

LISTEN_KEY_LIFE_S: Final = 55 * 60
"""Age without an extension at which a listen key is given up, seconds: before the venue's 60 minutes."""

DEAD_MAN_COUNTDOWN_MS_MIN: Final = 30_000
DEAD_MAN_COUNTDOWN_MS_MAX: Final = 600_000
"""Bounds of the countdown after which the venue cancels the orders of a tree that is gone, milliseconds."""

BOARD_READ_TRIES_MAX: Final = 8
"""Tries of a board record read before it counts as stale."""

VENUE_MESSAGE_BYTES_MAX: Final = 16 * FRAME_BYTES_MAX
"""Largest venue message taken from the wire before it is dropped, bytes; above it the connection itself is closed."""

DECIMAL_TEXT_MAX: Final = 64
"""Longest text of a number from the venue, characters."""

AMOUNT_MAX: Final = Decimal(10) ** 15
"""Largest price or quantity taken from the venue; keeps every later product far from decimal overflow."""

PRICE_MIN: Final = Decimal(10) ** -12
"""Smallest price taken from the venue."""

BOOK_LEVELS_MAX: Final = 20_000
"""Most levels per side of a rebuilt book; beyond it the book is built again."""

BOOK_DIFFS_BUFFERED_MAX: Final = 4_096
"""Most depth differences kept while a snapshot is awaited; the oldest go first."""

BAD_PAYLOADS_MAX: Final = 10
BAD_PAYLOAD_WINDOW_S: Final = 10
"""More than this many bad payloads within this many seconds is a signal: the feed is not ready."""

STREAM_OVERLAP_S_MAX: Final = 10
"""Longest time an old and a new connection of one path live side by side, seconds."""

STREAM_CHECK_PERIOD_MS: Final = 100
"""Period at which a connection's data deadlines are looked at, milliseconds."""

STREAM_PATIENCE_MAX: Final = 16
"""Largest factor by which a stream's data deadline grows while reconnecting does not bring the stream back."""

FIXTURE_PERIOD_MS: Final = 100
"""Pacing of a fixture without times of its own, milliseconds per line."""

FIXTURE_GAP_S_MAX: Final = 60
"""Longest silence of a recording that is replayed as such, seconds; a longer one is cut to it."""

FIXTURE_BATCH_MAX: Final = 256
"""Most lines of a fixture delivered before other work gets its turn."""

BIND_TRIES_MAX: Final = 10
"""Tries to bind a socket of the bus before the process gives up."""

BOARD_RECORD_BYTES_MAX: Final = 2_016
"""Largest record on the board, bytes; a heartbeat that would be longer loses its detail."""

LOG_QUEUE_EVENTS_MAX: Final = 8_192
"""Log events that wait for the writer; beyond it the newest are dropped and counted."""

LOG_FILE_BYTES_MAX: Final = 16 << 20
LOG_FILES_KEPT: Final = 5
"""Size at which a log file is rotated, bytes, and how many old ones stay."""

LOG_DRAIN_MS: Final = 100
"""Period of the log's writer thread, milliseconds."""

RECORDING_QUEUE_MAX: Final = 65_536
"""Decisions that wait for the recording's writer; beyond it the recording ends, for a gap could not be replayed."""

RECORDING_DRAIN_MS: Final = 100
"""Period of the recording's writer thread, milliseconds."""

RECORD_BYTES_MAX: Final = 4 * FRAME_BYTES_MAX
"""Largest record of a recording, bytes."""

EVIDENCE_QUEUE_FILES_MAX: Final = 1_024
"""Evidence files that wait to be written; beyond it they are dropped and logged."""

EVIDENCE_PRUNE_EVERY_FILES: Final = 64
"""Files written into a folder between two looks at what retention takes away."""

EXIT_ORDERS_RECORDED_MAX: Final = 200
"""Newest closing orders that the evidence of one emergency exit tells of."""

EVIDENCE_CHAIN_LINE_BYTES_MAX: Final = 1_024
"""Longest line of the chain over the evidence, bytes."""

AUDIT_QUEUE_MAX: Final = 4_096
"""Audit lines that wait to be written; beyond it they are dropped and counted."""

AUDIT_FILE_BYTES_MAX: Final = 100 << 20
AUDIT_FILE_LINES_MAX: Final = 100_000
"""Size and number of lines at which an audit file is rotated. Source: reference sheet 8.5."""

WRITER_CLOSE_S_MAX: Final = 2.0
"""Longest wait for a background writer when a process ends, seconds."""

ETCD_MEMBERS_TRIED_MAX: Final = 3
"""Members of an etcd cluster that are asked one after the other before a request counts as not answered."""

ETCD_VERSION_PERIOD_S: Final = 30
"""Time for which a member of etcd is believed to be of the version that it said, seconds; a failure ends it too."""

ETCD_LIST_PERIOD_MS: Final = 500
"""Period of the linearizable read of the cluster's keys, which bounds how long a watch may hang, milliseconds."""

ETCD_RETRY_MS: Final = 100
"""Time before a list or a watch that failed is tried again, milliseconds."""

ETCD_WATCH_LIFE_S: Final = 300
"""Time after which a watch is begun anew even if nothing is wrong with it, seconds: no request has no deadline."""

ETCD_QUEUE_MAX: Final = 64
"""Requests to etcd that wait behind one another, and views that wait to be looked at."""

ETCD_CLOSE_S_MAX: Final = 1.0
"""Longest wait for a thread that talks to etcd when the process ends, seconds."""

ETCD_TRIPS_KEPT: Final = 64
"""Newest trips that stay in etcd when the cluster is armed again; each host keeps its own for good."""

ETCD_TEXT_BYTES_MAX: Final = 512
"""Most bytes of one text in a value that a host writes to etcd; the rest is cut."""

ETCD_VALUE_BYTES_MAX: Final = 16_384
"""Longest value of a key of the cluster that is read, bytes."""

ETCD_LEASE_TTL_S_MAX: Final = 60
"""Longest life of the leader's lease, seconds: no setting asks for more, and nobody waits longer for who says so."""

TERM_MAX: Final = 10**15
"""Highest term that is believed: what claims more would shut every host out. Fits the board, order ids and files."""

STOP_S_MAX: Final = 4.0
STOP_EXECUTOR_S_MAX: Final = 25.0
"""Longest orderly stop of a process, seconds, and of the executor, which cancels first; supervisord waits longer."""

CRASH_LOOP_WINDOW_S: Final = 60
"""Time in which crashes of a process are counted, seconds."""

LEAVE_CLUSTER_MS_MAX: Final = 3_000
"""Longest wait of a stop for etcd to take the lease back, milliseconds; after it the lease runs out by itself."""

SLOT_WAIT_S_MAX: Final = 30.0
"""Longest wait of a new tree for processes of the last one to end, seconds."""

TREE_STOP_S_MAX: Final = 70.0
"""Longest orderly stop of a tree, seconds: the processes stop one after the other."""

assert COUNTED_LATE_AT_ONCE_MAX <= COUNTED_LATE_MAX
assert STOP_EXECUTOR_S_MAX < SLOT_WAIT_S_MAX
assert STOP_EXECUTOR_S_MAX + 5 * STOP_S_MAX < TREE_STOP_S_MAX
assert FRAME_BYTES_MAX < FRAME_BYTES_DISCONNECT
assert STOP_S_MAX < STOP_EXECUTOR_S_MAX
assert TIMER_PERIOD_MS <= HEARTBEAT_PERIOD_MS < HEARTBEAT_STALE_MS
assert INTENT_TTL_MS < HEARTBEAT_STALE_MS
assert RECONNECT_BACKOFF_MS_MIN < RECONNECT_BACKOFF_MS_MAX < ACCOUNT_STALE_MS
assert INSTRUMENTS_PERIOD_MS < ACCOUNT_STALE_MS
assert LISTEN_KEY_RETRY_S < LISTEN_KEY_EXTEND_S < 30 * 60 < LISTEN_KEY_LIFE_S < 3_600
assert CONNECTION_LIFE_S_MAX < 24 * 3_600
assert FRAME_BYTES_MAX < VENUE_MESSAGE_BYTES_MAX

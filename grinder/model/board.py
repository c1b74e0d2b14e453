"""The board's table: one 64-bit word per fact, each with the one process that may write it.

A word is written with one aligned store and read without a lock. Zero is always the safe or unknown value, so that a
fresh board permits nothing.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from grinder.model.control import Process

LAYOUT_VERSION: Final = 2


class Word(IntEnum):
    """Index of a word. Units are in the name; MONO is CLOCK_MONOTONIC, BOOT is CLOCK_BOOTTIME.

    CLUSTER_PERMISSION: what etcd said last of new risk in the cluster, 0 unknown, 1 armed, 2 absent.

    VENUE_CLOCK_OFFSET_US: the venue's clock minus our wall clock. VENUE_CLOCK_BOOT_OFFSET_US: minus CLOCK_BOOTTIME,
    which nobody sets. VENUE_CLOCK_SUSPENDED_NS: how long this host had slept since its boot when that was measured.

    PAUSE_*, BAN_*: until when the venue told that process to wait for a rate limit (HTTP 429), or banned this address
    (418). The latest of all counts for every process, and a word that has passed says nothing any more.

    EXIT_ERRORS: attempts of an emergency exit that ended in an error since the loop was ACTIVE last.
    """

    TRIP_FEED = 0
    TRIP_FSM = 1
    TRIP_EXECUTOR = 2
    TRIP_SYNCER = 3
    TRIP_METRICS = 4
    TRIP_OPERATOR = 5
    OVERRIDE = 6
    OVERRIDE_ACK_FSM = 7
    OVERRIDE_ACK_EXECUTOR = 8
    FSM_STATE = 9
    FSM_STATE_SINCE_MONO_NS = 10
    TERM = 11
    ROLE = 12
    RISK_DEADLINE_BOOT_NS = 13
    LEAD_DEADLINE_BOOT_NS = 14
    VENUE_CLOCK_OFFSET_US = 15
    VENUE_CLOCK_ERROR_US = 16
    VENUE_CLOCK_CHECKED_MONO_NS = 17
    EXECUTOR_READY = 18
    LATCH_FILE_LOADED = 19
    RESUME_COUNT = 20
    AWAITING_RESUME = 21
    RESET_MONO_NS = 22
    RISK_DEMAND = 23
    CLUSTER_OVERRIDE = 24
    CLUSTER_PERMISSION = 25
    VENUE_CLOCK_BOOT_OFFSET_US = 26
    VENUE_CLOCK_SUSPENDED_NS = 27
    PAUSE_FEED_BOOT_NS = 28
    PAUSE_SYNCER_BOOT_NS = 29
    PAUSE_EXECUTOR_BOOT_NS = 30
    PAUSE_OPERATOR_BOOT_NS = 31
    HEARTBEAT_FEED_MONO_NS = 32
    HEARTBEAT_SYNCER_MONO_NS = 33
    HEARTBEAT_FSM_MONO_NS = 34
    HEARTBEAT_EXECUTOR_MONO_NS = 35
    HEARTBEAT_METRICS_MONO_NS = 36
    INCARNATION_FEED = 40
    INCARNATION_SYNCER = 41
    INCARNATION_FSM = 42
    INCARNATION_EXECUTOR = 43
    INCARNATION_METRICS = 44
    PID_FEED = 48
    PID_SYNCER = 49
    PID_FSM = 50
    PID_EXECUTOR = 51
    PID_METRICS = 52
    STARTS_FEED = 56
    STARTS_SYNCER = 57
    STARTS_FSM = 58
    STARTS_EXECUTOR = 59
    STARTS_METRICS = 60
    BAN_FEED_BOOT_NS = 64
    BAN_SYNCER_BOOT_NS = 65
    BAN_EXECUTOR_BOOT_NS = 66
    BAN_OPERATOR_BOOT_NS = 67
    EXIT_ERRORS = 68


class Demand(IntFlag):
    """Word RISK_DEMAND: what of the fsm's inputs keeps the kill switch latched; 0 when nobody has looked."""

    LOOKED = 1
    DRAWDOWN_OVER_LIMIT = 2
    DRAWDOWN_UNKNOWN = 4
    NOT_FLAT = 8
    POSITION_UNKNOWN = 16
    DAY_LOSS_OVER_LIMIT = 32


WORDS: Final = 72
TRIP_WORDS: Final = (
    Word.TRIP_FEED,
    Word.TRIP_FSM,
    Word.TRIP_EXECUTOR,
    Word.TRIP_SYNCER,
    Word.TRIP_METRICS,
    Word.TRIP_OPERATOR,
)
"""The kill switch on this host is tripped when any of these is not zero.

A word has one writer, so a reset is a request: the operator writes the time at which it looked into RESET_MONO_NS, and
each process clears its own word if it saw the trip before then. A trip that is newer than the look stays.
"""

PAUSE_WORDS: Final = (
    Word.PAUSE_FEED_BOOT_NS,
    Word.PAUSE_SYNCER_BOOT_NS,
    Word.PAUSE_EXECUTOR_BOOT_NS,
    Word.PAUSE_OPERATOR_BOOT_NS,
)
BAN_WORDS: Final = (
    Word.BAN_FEED_BOOT_NS,
    Word.BAN_SYNCER_BOOT_NS,
    Word.BAN_EXECUTOR_BOOT_NS,
    Word.BAN_OPERATOR_BOOT_NS,
)
"""Who asks the venue: the executor, the syncer, the feed for its books, and a command of the operator."""

OPERATOR: Final = None
"""Writer of the operator's words: the command line, one at a time under a file lock."""

_FIXED_WRITERS: Final[dict[Word, Process | None]] = {
    Word.TRIP_OPERATOR: OPERATOR,
    Word.OVERRIDE: OPERATOR,
    Word.OVERRIDE_ACK_FSM: Process.FSM,
    Word.OVERRIDE_ACK_EXECUTOR: Process.EXECUTOR,
    Word.FSM_STATE: Process.FSM,
    Word.FSM_STATE_SINCE_MONO_NS: Process.FSM,
    Word.TERM: Process.EXECUTOR,
    Word.ROLE: Process.EXECUTOR,
    Word.RISK_DEADLINE_BOOT_NS: Process.EXECUTOR,
    Word.LEAD_DEADLINE_BOOT_NS: Process.EXECUTOR,
    Word.VENUE_CLOCK_OFFSET_US: Process.SYNCER,
    Word.VENUE_CLOCK_ERROR_US: Process.SYNCER,
    Word.VENUE_CLOCK_CHECKED_MONO_NS: Process.SYNCER,
    Word.VENUE_CLOCK_BOOT_OFFSET_US: Process.SYNCER,
    Word.VENUE_CLOCK_SUSPENDED_NS: Process.SYNCER,
    Word.EXECUTOR_READY: Process.EXECUTOR,
    Word.EXIT_ERRORS: Process.EXECUTOR,
    Word.LATCH_FILE_LOADED: Process.EXECUTOR,
    Word.RESUME_COUNT: OPERATOR,
    Word.AWAITING_RESUME: Process.FSM,
    Word.RESET_MONO_NS: OPERATOR,
    Word.RISK_DEMAND: Process.FSM,
    Word.CLUSTER_OVERRIDE: Process.EXECUTOR,
    Word.CLUSTER_PERMISSION: Process.EXECUTOR,
    Word.PAUSE_OPERATOR_BOOT_NS: OPERATOR,
    Word.BAN_OPERATOR_BOOT_NS: OPERATOR,
}


def _writer(word: Word) -> Process | None:
    """Return who may write a word: the process in its name where it is not listed."""
    if word in _FIXED_WRITERS:
        return _FIXED_WRITERS[word]
    return Process(word.name.split("_")[1].lower())


WRITERS: Final[dict[Word, Process | None]] = {word: _writer(word) for word in Word}


def word_of(kind: str, process: Process) -> Word:
    """Return the word of a kind (TRIP, PID, STARTS, INCARNATION, HEARTBEAT) for one of the five processes."""
    name = f"{kind}_{process.name}"
    return Word[name + "_MONO_NS"] if kind == "HEARTBEAT" else Word[name]


class Heartbeat(msgspec.Struct, frozen=True, array_like=True):
    """The record a process keeps on the board: alive, since when, and how old its inputs were when written.

    ``input_seen_mono_ns``: per channel name, when a frame was last accepted. ``detail``: short text for people.
    """

    process: Process
    pid: int
    incarnation: int
    started_mono_ns: int
    beat_mono_ns: int
    ready: bool
    not_ready_reason: str
    input_seen_mono_ns: dict[str, int]
    detail: str


assert all(word < WORDS for word in Word)

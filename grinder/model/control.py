"""The closed sets an operator sees: states, reasons, permissions, modes, overrides, roles, exit codes.

Names and values are the contract of Runbook 33; they must never change without it.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final


class FsmState(StrEnum):
    """States of the trading loop. Source: reference sheet 1.1."""

    INIT = "INIT"
    READY = "READY"
    ACTIVE = "ACTIVE"
    THROTTLED = "THROTTLED"
    PAUSED = "PAUSED"
    DEGRADED = "DEGRADED"
    EMERGENCY = "EMERGENCY"


class FsmReason(StrEnum):
    """Why the loop changed its state. Source: reference sheet 1.4."""

    HEALTH_OK = "HEALTH_OK"
    FEEDS_READY = "FEEDS_READY"
    TOX_MID = "TOX_MID"
    TOX_HIGH = "TOX_HIGH"
    OPERATOR_PAUSE = "OPERATOR_PAUSE"
    TOX_LOW_COOLDOWN = "TOX_LOW_COOLDOWN"
    TOX_MID_COOLDOWN = "TOX_MID_COOLDOWN"
    FEED_RECOVERED = "FEED_RECOVERED"
    FEED_STALE = "FEED_STALE"
    DD_BREACH = "DD_BREACH"
    KILL_SWITCH = "KILL_SWITCH"
    OPERATOR_EMERGENCY = "OPERATOR_EMERGENCY"
    POSITION_REDUCED = "POSITION_REDUCED"


class RiskIntent(StrEnum):
    """What an order action does to exposure."""

    INCREASE_RISK = "INCREASE_RISK"
    REDUCE_RISK = "REDUCE_RISK"
    CANCEL = "CANCEL"


_PROTECTIVE: Final = frozenset({RiskIntent.REDUCE_RISK, RiskIntent.CANCEL})

PERMISSIONS: Final[dict[FsmState, frozenset[RiskIntent]]] = {
    FsmState.INIT: frozenset(),
    FsmState.READY: frozenset({RiskIntent.CANCEL}),
    FsmState.ACTIVE: frozenset(RiskIntent),
    FsmState.THROTTLED: _PROTECTIVE,
    FsmState.PAUSED: _PROTECTIVE,
    FsmState.DEGRADED: _PROTECTIVE,
    FsmState.EMERGENCY: _PROTECTIVE,
}
"""State x intent. Source: reference sheet 1.6. A reduce-only order passes in every state (the same sheet)."""


class TradingMode(StrEnum):
    """Safety mode. Orders may leave in PAPER (to a simulated venue only) and LIVE_TRADE."""

    READ_ONLY = "read_only"
    PAPER = "paper"
    LIVE_TRADE = "live_trade"


class ExchangePort(StrEnum):
    """Where orders go: nowhere real (paper, rehearsal), or the futures venue."""

    NOOP = "noop"
    FUTURES = "futures"


class FoundOrders(StrEnum):
    """What to do at start with entries of ours that rest and that the journal does not know."""

    ADOPT = "adopt"
    CANCEL = "cancel"


class Override(IntEnum):
    """Operator override, ordered by severity; the effective one is the most severe of all sources."""

    NONE = 0
    PAUSE = 1
    EMERGENCY = 2


class AccountResponse(IntEnum):
    """What the account demands of the loop while it differs from what we believe, ordered by severity."""

    NONE = 0
    DEGRADED = 1
    PAUSED = 2
    EMERGENCY = 3


class HaRole(StrEnum):
    """Role of this host in the cluster; one-hot in ``grinder_ha_role``."""

    ACTIVE = "ACTIVE"
    STANDBY = "STANDBY"
    UNKNOWN = "UNKNOWN"


class TripReason(StrEnum):
    """Why the kill switch was tripped. Source: reference sheet 3.1, with the field's additions."""

    DRAWDOWN_LIMIT = "DRAWDOWN_LIMIT"
    MANUAL = "MANUAL"
    ERROR = "ERROR"
    CRASH_LOOP = "CRASH_LOOP"
    REJECT_LOOP = "REJECT_LOOP"
    FORCED_CLOSE = "FORCED_CLOSE"
    ACCOUNT_MISMATCH = "ACCOUNT_MISMATCH"
    DAILY_LOSS_LIMIT = "DAILY_LOSS_LIMIT"
    CLUSTER = "CLUSTER"


TRIP_CODES: Final[dict[TripReason, int]] = {reason: number for number, reason in enumerate(TripReason, start=1)}
"""Board word of a trip: 0 is clear, any other value is tripped; an unknown value is tripped too."""


class Process(StrEnum):
    """The supervised programs, in start order; they stop in reverse."""

    VENUE = "venue"
    METRICS = "metrics"
    FEED = "feed"
    SYNCER = "syncer"
    FSM = "fsm"
    EXECUTOR = "executor"


TREE: Final = tuple(process for process in Process if process is not Process.VENUE)
"""The five processes of the contract, without the simulated venue."""


class Exit(IntEnum):
    """Exit codes that supervisord, scripts and operators rely on."""

    OK = 0
    GATE = 1
    FAILURE = 2
    STOPPED_BY_KILL_SWITCH = 64
    ALREADY_RUNNING = 75
    CONFIGURATION = 78


assert set(PERMISSIONS) == set(FsmState)
assert len(FsmReason) == 13

"""Remedies: what the reconcile loop may do about a mismatch, in which stage, and every reason why it does not.

Stages, mismatch types and reasons are the reference's. Source: reference sheet 9.6, 10.3 and 13.11.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.orders import Side
from grinder.model.units import require_not_negative

REMEDY_LEVEL: Final = "x2"
"""Level in the ids of closing orders of remedies; those of the emergency exit have another."""

BELOW_SMALLEST_ORDER: Final = "below_smallest_order"
"""Reason of an executor that closes nothing, for the venue takes no order that is so small."""


class Stage(StrEnum):
    """How far the reconcile loop goes: look, plan, plan and be blocked, cancel orders, close what is unexpected."""

    DETECT_ONLY = "detect_only"
    PLAN_ONLY = "plan_only"
    BLOCKED = "blocked"
    EXECUTE_CANCEL_ALL = "execute_cancel_all"
    EXECUTE_FLATTEN = "execute_flatten"


class RemedyAction(StrEnum):
    """What is done about a mismatch."""

    NONE = "none"
    CANCEL_ALL = "cancel_all"
    FLATTEN = "flatten"


class DriftType(StrEnum):
    """Types of mismatch, by which the reconcile loop counts."""

    ORDER_MISSING_ON_EXCHANGE = "ORDER_MISSING_ON_EXCHANGE"
    ORDER_EXISTS_UNEXPECTED = "ORDER_EXISTS_UNEXPECTED"
    ORDER_STATUS_DIVERGENCE = "ORDER_STATUS_DIVERGENCE"
    POSITION_NONZERO_UNEXPECTED = "POSITION_NONZERO_UNEXPECTED"


class RemedyBlock(StrEnum):
    """Why a remedy was not carried out, in the order of the gates; PORT_ERROR is the executor's or the venue's no."""

    NOT_LEADER = "not_leader"
    MODE_DETECT_ONLY = "mode_detect_only"
    MODE_PLAN_ONLY = "mode_plan_only"
    MODE_BLOCKED = "mode_blocked"
    MODE_CANCEL_ONLY = "mode_cancel_only"
    MODE_FLATTEN_ONLY = "mode_flatten_only"
    MAX_CALLS_PER_RUN = "max_calls_per_run"
    MAX_NOTIONAL_PER_RUN = "max_notional_per_run"
    MAX_CALLS_PER_DAY = "max_calls_per_day"
    MAX_NOTIONAL_PER_DAY = "max_notional_per_day"
    STRATEGY_NOT_ALLOWED = "strategy_not_allowed"
    SYMBOL_NOT_IN_REMEDIATION_ALLOWLIST = "symbol_not_in_remediation_allowlist"
    DATA_QUALITY_STALE = "data_quality_stale"
    DATA_QUALITY_GAP = "data_quality_gap"
    DATA_QUALITY_OUTLIER = "data_quality_outlier"
    ACTION_IS_NONE = "action_is_none"
    DRY_RUN = "dry_run"
    ALLOW_ACTIVE_REMEDIATION_FALSE = "allow_active_remediation_false"
    NOT_ARMED = "not_armed"
    ENV_VAR_MISSING = "env_var_missing"
    COOLDOWN_NOT_ELAPSED = "cooldown_not_elapsed"
    WHITELIST_REQUIRED = "whitelist_required"
    SYMBOL_NOT_IN_WHITELIST = "symbol_not_in_whitelist"
    NO_GRINDER_PREFIX = "no_grinder_prefix"
    NOTIONAL_EXCEEDS_LIMIT = "notional_exceeds_limit"
    MAX_ORDERS_REACHED = "max_orders_reached"
    MAX_SYMBOLS_REACHED = "max_symbols_reached"
    PORT_ERROR = "port_error"


class AuditEvent(StrEnum):
    """Kinds of lines of the reconcile audit."""

    RECONCILE_RUN = "RECONCILE_RUN"
    REMEDIATE_ATTEMPT = "REMEDIATE_ATTEMPT"
    REMEDIATE_RESULT = "REMEDIATE_RESULT"


class Remedy(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Request of the syncer to the executor: carry out one call of a reconcile run.

    CANCEL_ALL: cancel the order ``client_order_id``. FLATTEN: close ``qty`` base units of ``symbol`` by a reduce-only
    MARKET order on ``side``. Refused after ``deadline_mono_ns``, and carried out once per (run, number).
    """

    run_id: str
    number: int
    action: RemedyAction
    symbol: str
    client_order_id: str
    side: Side
    qty: Decimal
    deadline_mono_ns: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity and a negative quantity."""
        require_not_negative(qty=self.qty)


class RemedyResult(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer of the executor: done, or the short stable reason why not."""

    run_id: str
    number: int
    done: bool
    reason: str

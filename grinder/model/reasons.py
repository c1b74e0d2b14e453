"""Stable strings for every no: who said it, and why. Counters, logs and evidence carry nothing else."""

from __future__ import annotations

from enum import StrEnum


class BlockReason(StrEnum):
    """Why a guard of the gate chain said no (in the fsm process, before an order exists).

    The first nine are the reference's, in its order (sheet 2.3); the others are what the field requires beyond it.
    """

    NOT_ARMED = "NOT_ARMED"
    MODE_NOT_LIVE_TRADE = "MODE_NOT_LIVE_TRADE"
    KILL_SWITCH_ACTIVE = "KILL_SWITCH_ACTIVE"
    SYMBOL_NOT_WHITELISTED = "SYMBOL_NOT_WHITELISTED"
    MAX_POSITION_EXCEEDED = "MAX_POSITION_EXCEEDED"
    DRAWDOWN_BLOCKED = "DRAWDOWN_BLOCKED"
    FSM_STATE_BLOCKED = "FSM_STATE_BLOCKED"
    FILL_PROB_LOW = "FILL_PROB_LOW"
    ROUTER_BLOCKED = "ROUTER_BLOCKED"
    INPUT_NOT_LIVE = "INPUT_NOT_LIVE"
    SYMBOL_STALE = "SYMBOL_STALE"
    SYMBOL_NOT_TRADING = "SYMBOL_NOT_TRADING"
    PRICE_COLLAR = "PRICE_COLLAR"
    PERCENT_PRICE = "PERCENT_PRICE"
    TICK_SIZE = "TICK_SIZE"
    STEP_SIZE = "STEP_SIZE"
    QTY_RANGE = "QTY_RANGE"
    MIN_NOTIONAL = "MIN_NOTIONAL"
    MAX_NOTIONAL_PER_ORDER = "MAX_NOTIONAL_PER_ORDER"
    MAX_ORDERS_PER_RUN = "MAX_ORDERS_PER_RUN"
    OPEN_ORDER_COUNT = "OPEN_ORDER_COUNT"
    ORDER_RATE = "ORDER_RATE"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    SELF_CROSS = "SELF_CROSS"
    REPEATED_EXECUTION = "REPEATED_EXECUTION"
    REJECT_LOOP = "REJECT_LOOP"


class RouterReason(StrEnum):
    """Why the router chose what it chose. Source: reference sheet 7.1."""

    WOULD_CROSS_SPREAD = "WOULD_CROSS_SPREAD"
    FILTER_VIOLATION_TICK_SIZE = "FILTER_VIOLATION_TICK_SIZE"
    FILTER_VIOLATION_STEP_SIZE = "FILTER_VIOLATION_STEP_SIZE"
    FILTER_VIOLATION_MIN_QTY = "FILTER_VIOLATION_MIN_QTY"
    FILTER_VIOLATION_MIN_NOTIONAL = "FILTER_VIOLATION_MIN_NOTIONAL"
    DRAWDOWN_GATE_ACTIVE = "DRAWDOWN_GATE_ACTIVE"
    RATE_LIMIT_THROTTLE = "RATE_LIMIT_THROTTLE"
    NO_EXISTING_ORDER = "NO_EXISTING_ORDER"
    CANCEL_REPLACE_REQUIRED_IMMUTABLE_FIELD = "CANCEL_REPLACE_REQUIRED_IMMUTABLE_FIELD"
    NO_CHANGE_BELOW_EPS = "NO_CHANGE_BELOW_EPS"
    AMEND_SUPPORTED_AND_SAFE = "AMEND_SUPPORTED_AND_SAFE"
    AMEND_UNSUPPORTED = "AMEND_UNSUPPORTED"
    ORDER_IN_FLIGHT = "ORDER_IN_FLIGHT"
    NOT_IN_PLAN = "NOT_IN_PLAN"


class DenyReason(StrEnum):
    """Why an interlock of the executor said no (right before the wire)."""

    NOT_ARMED = "NOT_ARMED"
    MODE_NOT_LIVE_TRADE = "MODE_NOT_LIVE_TRADE"
    PORT_NOOP = "PORT_NOOP"
    KILL_SWITCH_ACTIVE = "KILL_SWITCH_ACTIVE"
    OPERATOR_OVERRIDE = "OPERATOR_OVERRIDE"
    FSM_STATE_BLOCKED = "FSM_STATE_BLOCKED"
    NOT_LEADER = "NOT_LEADER"
    PERMIT_EXPIRED = "PERMIT_EXPIRED"
    LEASE_EXPIRED = "LEASE_EXPIRED"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    STALE_TERM = "STALE_TERM"
    NOT_RECONCILED = "NOT_RECONCILED"
    ORDER_UNRESOLVED = "ORDER_UNRESOLVED"
    SYMBOL_NOT_WHITELISTED = "SYMBOL_NOT_WHITELISTED"
    MAX_NOTIONAL_PER_ORDER = "MAX_NOTIONAL_PER_ORDER"
    MAX_POSITION_EXCEEDED = "MAX_POSITION_EXCEEDED"
    MAX_ORDERS_PER_RUN = "MAX_ORDERS_PER_RUN"
    MAX_OPEN_ORDERS = "MAX_OPEN_ORDERS"
    RATE_LIMIT = "RATE_LIMIT"
    PRICE_COLLAR = "PRICE_COLLAR"
    FILTER = "FILTER"
    DUPLICATE_ID = "DUPLICATE_ID"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    ORDER_BUSY = "ORDER_BUSY"
    CLOCK_UNKNOWN = "CLOCK_UNKNOWN"
    JOURNAL_FAILED = "JOURNAL_FAILED"
    VENUE_DISCONNECTED = "VENUE_DISCONNECTED"
    STOPPING = "STOPPING"


class PlanReason(StrEnum):
    """Why the planner wants an order placed, moved or gone. Source: reference sheet 13.8 and 13.9."""

    GRID_FILL = "GRID_FILL"
    GRID_SHIFT = "GRID_SHIFT"
    GRID_RESIZE = "GRID_RESIZE"
    GRID_TRIM = "GRID_TRIM"
    TP_CLOSE = "TP_CLOSE"
    TP_RESIZE = "TP_RESIZE"
    TP_EXPIRED = "TP_EXPIRED"
    NOT_PERMITTED = "NOT_PERMITTED"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"


class MismatchRule(StrEnum):
    """What the account sync found wrong. The first four are the reference's (sheet 5.3)."""

    TS_REGRESSION = "ts_regression"
    DUPLICATE_KEY = "duplicate_key"
    NEGATIVE_QTY = "negative_qty"
    ORPHAN_ORDER = "orphan_order"
    POSITION_DIFFERS_FROM_FILLS = "position_differs_from_fills"
    FOREIGN_ORDER_WITH_OUR_PREFIX = "foreign_order_with_our_prefix"
    ORDER_MISSING_AT_VENUE = "order_missing_at_venue"
    ORDER_DIFFERS = "order_differs"
    VENUE_ORDER_UNKNOWN = "venue_order_unknown"
    STREAM_DIFFERS = "stream_differs"
    FORCED_CLOSE = "forced_close"


class DropReason(StrEnum):
    """Why a message was dropped at a border, and counted."""

    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    UNKNOWN_SYMBOL = "unknown_symbol"
    UNKNOWN_EVENT = "unknown_event"
    CROSSED_BOOK = "crossed_book"
    OUT_OF_ORDER = "out_of_order"
    OLD_INCARNATION = "old_incarnation"
    OUT_OF_RANGE = "out_of_range"
    DUPLICATE = "duplicate"

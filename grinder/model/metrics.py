"""The metric table: every name, type, label set and help text that ``/metrics`` may show.

Registration, zero series, HELP texts and documentation come from here. A name that is not here cannot be counted.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from grinder.model.control import TREE, FsmState, HaRole, RiskIntent, TripReason
from grinder.model.market import StreamKind
from grinder.model.metric import LATENCY_BUCKETS_S, Kind, Metric, Origin
from grinder.model.metrics_cluster import CLUSTER
from grinder.model.metrics_reconcile import RECONCILE
from grinder.model.reasons import BlockReason, DenyReason, DropReason, MismatchRule
from grinder.model.risk_input import RiskInput


def _texts(*groups: type[StrEnum]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(member.value for member in group) for group in groups)


_G, _C, _H = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM

RUNBOOK_WATCHLIST: Final = (
    Metric("grinder_live_engine_initialized", _G, "1 once the engine was built and runs", origin=Origin.SCRAPE),
    Metric("grinder_readyz_ready", _G, "1 when /readyz answers 200", origin=Origin.SCRAPE),
    Metric(
        "grinder_fsm_current_state",
        _G,
        "State of the loop, one-hot",
        ("state",),
        _texts(FsmState),
        origin=Origin.SCRAPE,
    ),
    Metric("grinder_fsm_transitions_total", _C, "State transitions", ("from_state", "to_state", "reason")),
    Metric("grinder_fsm_state_duration_seconds", _G, "Time in the current state, seconds", origin=Origin.SCRAPE),
    Metric(
        "grinder_fsm_action_blocked_total",
        _C,
        "Actions that the state's permissions blocked",
        ("state", "intent"),
        _texts(FsmState, RiskIntent),
    ),
    Metric("grinder_kill_switch_triggered", _G, "1 while the kill switch is latched", origin=Origin.SCRAPE),
    Metric(
        "grinder_kill_switch_trips_total",
        _C,
        "Kill-switch trips, seen on the board",
        ("reason",),
        _texts(TripReason),
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_drawdown_pct",
        _G,
        "Drawdown from the high-water mark as a fraction of 1 (0.20 is twenty per cent); 0 while it is not live",
    ),
    Metric("grinder_emergency_exit_enabled", _G, "1 when the emergency exit is enabled"),
    Metric(
        "grinder_emergency_exit_total",
        _C,
        "Emergency exit attempts by result",
        ("result",),
        (("success", "dust", "partial", "error"),),
    ),
    Metric("grinder_emergency_exit_orders_cancelled_total", _C, "Orders cancelled by emergency exits"),
    Metric("grinder_emergency_exit_positions_closed_total", _C, "Positions closed by emergency exits"),
    Metric("grinder_account_sync_last_ts", _G, "Venue time of the newest account data, Unix milliseconds"),
    Metric(
        "grinder_account_sync_age_seconds",
        _G,
        "Seconds since the last clean account snapshot; grows from process start before the first",
        origin=Origin.SCRAPE,
    ),
    Metric("grinder_account_sync_errors_total", _C, "Account queries that failed", ("reason",)),
    Metric(
        "grinder_account_sync_mismatches_total",
        _C,
        "Differences found by the account sync",
        ("rule",),
        _texts(MismatchRule),
    ),
    Metric("grinder_account_sync_positions_count", _G, "Open positions"),
    Metric("grinder_account_sync_open_orders_count", _G, "Orders resting at the venue"),
    Metric("grinder_ha_role", _G, "Role of this host, one-hot", ("role",), _texts(HaRole), origin=Origin.SCRAPE),
    Metric("grinder_ha_is_leader", _G, "1 when this host may act", origin=Origin.SCRAPE),
)
"""Runbook 33, section 3.1, in its order."""

_STREAMS: Final = _texts(StreamKind)

FEED: Final[tuple[Metric, ...]] = (
    Metric("grinder_ticks_received_total", _C, "Market events accepted, by stream", ("connector",), _STREAMS),
    Metric("grinder_last_tick_ts", _G, "Receive time of a stream's last event, Unix milliseconds", ("connector",)),
    Metric("grinder_feed_dropped_total", _C, "Market messages dropped", ("reason",), _texts(DropReason)),
    Metric(
        "grinder_feed_late_total", _C, "Market events too old on arrival to count as fresh", ("connector",), _STREAMS
    ),
    Metric("grinder_feed_symbol_stale", _G, "1 while a symbol's market data is stale", ("sym",)),
    Metric("grinder_data_stale_total", _C, "Times a stream of a symbol went stale", ("stream",), _STREAMS),
    Metric("grinder_feed_bad_payloads", _G, "1 while bad payloads come repeatedly"),
    Metric("grinder_feed_ended", _G, "1 once a fixture has no more data"),
    Metric(
        "grinder_feed_book_rebuilds_total",
        _C,
        "Books that were lost and had to be built again",
        ("reason",),
        (("gap", "crossed", "overflow"),),
    ),
    Metric("grinder_feed_book_compared_total", _C, "Rebuilt books compared with the best prices at the same update"),
    Metric(
        "grinder_feed_book_differs_total", _C, "Rebuilt books that differed from the best prices at the same update"
    ),
    Metric(
        "grinder_feed_latency_seconds",
        _H,
        "Venue event time to receive on this host, with the venue's clock offset where known, seconds",
        ("connector",),
        _STREAMS,
        buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "grinder_feed_handle_seconds",
        _H,
        "Receive to publish of a best price inside the feed, seconds",
        buckets=LATENCY_BUCKETS_S,
    ),
)
"""Rows of the feed process."""

FSM: Final[tuple[Metric, ...]] = (
    Metric(
        "grinder_gate_blocked_total", _C, "Actions a guard blocked", ("gate", "intent"), _texts(BlockReason, RiskIntent)
    ),
    Metric("grinder_gating_allowed_total", _C, "Actions that passed every gate", ("gate",), (("gate_chain",),)),
    Metric(
        "grinder_gating_blocked_total",
        _C,
        "Actions blocked, by the first gate that said no",
        ("gate", "reason"),
        (("gate_chain",), *_texts(BlockReason)),
    ),
    Metric("grinder_high_water_mark", _G, "Peak equity that drawdown is measured from, quote currency"),
    Metric("grinder_session_start_equity", _G, "Equity at which this session began, quote currency; 0 before"),
    Metric(
        "grinder_drawdown_session_pct", _G, "Drawdown from the session's start as a fraction of 1; 0 while not live"
    ),
    Metric(
        "grinder_risk_input_live",
        _G,
        "1 while an input that new risk depends on is known and fresh; at 0 its own figures mean nothing",
        ("input",),
        _texts(RiskInput),
    ),
    Metric(
        "grinder_risk_input_failures_total",
        _C,
        "Computations of a risk input that could not be carried out",
        ("input",),
        _texts(RiskInput),
    ),
    Metric("grinder_day_loss", _G, "Loss of the UTC day on confirmed equity, quote currency; 0 while unknown"),
    Metric("grinder_symbol_realized", _G, "Realised in this session after fees, quote currency", ("sym",)),
    Metric("grinder_risk_consecutive_losses", _G, "Closing orders in a row that lost, the most over all symbols"),
    Metric("grinder_risk_consecutive_loss_trips_total", _C, "Streaks of losing orders that reached their limit"),
    Metric("grinder_router_decision_total", _C, "Decisions of the router", ("decision", "reason")),
    Metric("grinder_router_amend_savings_total", _C, "Cancel-replace pairs saved by amending"),
    Metric("grinder_cycle_tp_generated_total", _C, "Take-profit orders placed", ("sym",)),
    Metric("grinder_cycle_tp_expired_total", _C, "Take-profit orders taken back at their time to live", ("sym",)),
    Metric("grinder_cycle_tp_renew_total", _C, "Renewals of take-profit orders", ("sym", "outcome")),
    Metric("grinder_tp_active_gauge", _G, "Take-profit orders alive", ("sym",)),
    Metric("grinder_cycle_fill_candidates_total", _C, "Trades that opened a lot", ("sym", "outcome")),
    Metric("grinder_cycle_heals_total", _C, "Positions taken from the account because the lots differed", ("sym",)),
    Metric("grinder_cycle_lots", _G, "Lots open", ("sym",)),
    Metric("grinder_fsm_intents_sent_total", _C, "Intents queued for the executor", ("kind",)),
    Metric("grinder_fsm_intents_unsent_total", _C, "Intents that could not be queued"),
    Metric("grinder_fsm_recording_lost_total", _C, "Recordings that ended because their writer fell behind"),
    Metric(
        "grinder_tick_to_intent_seconds",
        _H,
        "Arrival of a book to the intent it caused being queued, seconds",
        buckets=LATENCY_BUCKETS_S,
    ),
)
"""Rows of the fsm process."""

_PORTS: Final = ("noop", "futures")
_FILL_LABELS: Final = ("source", "side", "liquidity")
_FILL_VALUES: Final = (("stream", "query"), ("buy", "sell"), ("maker", "taker"))

EXECUTOR: Final[tuple[Metric, ...]] = (
    Metric(
        "grinder_executor_denied_total",
        _C,
        "Intents an interlock of the executor denied",
        ("reason",),
        _texts(DenyReason),
    ),
    Metric(
        "grinder_port_order_attempts_total",
        _C,
        "Order requests put on the wire",
        ("port", "op"),
        (_PORTS, ("place", "cancel", "replace")),
    ),
    Metric("grinder_port_cancel_ok_total", _C, "Cancels the venue confirmed", ("port",), (_PORTS,)),
    Metric("grinder_port_cancel_unknown_total", _C, "Cancels of orders unknown at the venue", ("port",), (_PORTS,)),
    Metric(
        "grinder_port_order_lookup_total",
        _C,
        "Queries of one order",
        ("port", "outcome"),
        (_PORTS, ("found", "not_found", "error")),
    ),
    Metric("grinder_fills_total", _C, "Fills counted", _FILL_LABELS, _FILL_VALUES),
    Metric("grinder_fill_notional_total", _C, "Value of fills, quote currency", _FILL_LABELS, _FILL_VALUES),
    Metric("grinder_fill_fees_total", _C, "Fees of fills, quote currency", _FILL_LABELS, _FILL_VALUES),
    Metric(
        "grinder_executor_replies_total",
        _C,
        "Replies to order commands",
        ("op", "outcome"),
        (("place", "amend", "cancel"), ("Confirmed", "Rejected", "InDoubt", "NotSent")),
    ),
    Metric("grinder_executor_late_intents_total", _C, "Intents read after their deadline", ("command",)),
    Metric("grinder_executor_live_orders", _G, "Orders that are not finished"),
    Metric("grinder_executor_orders_in_doubt", _G, "Orders of which nobody knows whether they live"),
    Metric(
        "grinder_executor_recovery_failures_total", _C, "Questions of the start that got no usable answer", ("step",)
    ),
    Metric("grinder_executor_foreign_orders", _G, "Orders resting at the venue that are not ours"),
    Metric("grinder_executor_foreign_conditional_orders", _G, "Conditional orders at the venue that are not ours"),
    Metric("grinder_executor_orders_unresolved", _G, "Orders in doubt about which asking the venue has not helped"),
    Metric("grinder_executor_doubts_unresolved_total", _C, "Orders in doubt whose quick queries were used up"),
    Metric("grinder_executor_duplicate_trades_total", _C, "Trade reports that came again"),
    Metric("grinder_executor_events_not_understood_total", _C, "Order events with an unknown status"),
    Metric("grinder_executor_stray_orders_total", _C, "Orders that rest though taken for never placed"),
    Metric("grinder_executor_withdrawn_total", _C, "Resting entries taken back: none could be placed", ("reason",)),
    Metric("grinder_executor_unclean_stops_total", _C, "Stops that could not prove that no order rests"),
    Metric("grinder_journal_failed_total", _C, "Records that could not be written to the journal"),
    Metric("grinder_journal_lost_records_total", _C, "Records of the journal that damage on the disk has taken"),
    Metric("grinder_journal_size_bytes", _G, "Size of the journal's files, bytes"),
    Metric("grinder_journal_trouble", _G, "1 while nothing can be put on record, and so no new risk is taken"),
    Metric("grinder_dead_man_failures_total", _C, "Failures to wind up the venue's dead-man's switch"),
    Metric("grinder_dead_man_wound_up", _G, "Symbols whose orders the venue cancels if this tree goes silent"),
    Metric("grinder_dead_man_unguarded", _G, "Symbols whose orders nobody would take back if this tree died now"),
    Metric(
        "grinder_executor_intent_to_wire_seconds",
        _H,
        "From an intent in the executor to its command on the wire, seconds",
        buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "grinder_executor_tick_to_wire_seconds",
        _H,
        "From the arrival of a tick to its order on the wire, seconds",
        buckets=LATENCY_BUCKETS_S,
    ),
)
"""Rows of the executor process."""

SYNCER: Final[tuple[Metric, ...]] = (
    Metric("grinder_account_sync_pending_notional", _G, "Value of resting orders not filled yet, quote currency"),
    Metric("grinder_account_sync_snapshots_total", _C, "Clean account snapshots"),
    Metric("grinder_account_sync_stretched", _G, "1 while snapshots come seldom: the venue's weight runs short"),
    Metric("grinder_venue_weight_used_ratio", _G, "Part of the venue's request weight of this minute that is used"),
    Metric("grinder_account_sync_response", _G, "Mismatches demand: 0 nothing, 1 DEGRADED, 2 PAUSED, 3 EMERGENCY"),
    Metric("grinder_account_sync_responses_total", _C, "Changes of that demand", ("response", "rule")),
    Metric("grinder_venue_clock_offset_seconds", _G, "Venue clock minus this host's, seconds"),
    Metric("grinder_account_sync_margin_calls_total", _C, "Warnings of the venue that a liquidation is near"),
    Metric("grinder_venue_restricted", _G, "The venue lets the account or a traded symbol only reduce, 0 or 1"),
    Metric("grinder_venue_clock_error_seconds", _G, "Bound on the error of the clock offset, seconds"),
)
"""Rows of the syncer process."""

BUS: Final[tuple[Metric, ...]] = (
    Metric("grinder_bus_frames_total", _C, "Frames accepted from a channel", ("channel", "process")),
    Metric("grinder_bus_dropped_total", _C, "Frames or messages dropped at a border", ("channel", "reason")),
    Metric("grinder_bus_gaps_total", _C, "Frames missing by sequence number", ("channel", "process")),
    Metric("grinder_bus_send_failed_total", _C, "Frames that could not be queued", ("channel",)),
    Metric("grinder_bus_superseded_total", _C, "Books and marks skipped because a newer one was waiting", ("process",)),
    Metric("grinder_log_dropped_total", _C, "Log events dropped because the writer fell behind", ("process",)),
    Metric("grinder_evidence_failed_total", _C, "Evidence files that could not be written", ("process",)),
)
"""Rows of every process that uses the bus."""

_TRANSPORTS: Final = ("ws_api", "rest")

VENUE_WIRE: Final[tuple[Metric, ...]] = (
    Metric(
        "grinder_venue_requests_total",
        _C,
        "Requests to the venue by how they ended",
        ("op", "transport", "outcome"),
    ),
    Metric(
        "grinder_venue_reply_seconds",
        _H,
        "Request to reply at the venue, seconds",
        ("transport",),
        (_TRANSPORTS,),
        buckets=LATENCY_BUCKETS_S,
    ),
    Metric("grinder_venue_unmatched_replies_total", _C, "WebSocket API replies late, unreadable or to no request"),
    Metric("grinder_venue_stopped_seconds", _G, "How long a ban or rate limit still stops all that does not protect"),
    Metric("grinder_venue_banned_seconds", _G, "How long a ban of this address still lasts"),
    Metric("grinder_venue_symbols_skipped", _G, "Symbols of exchangeInfo whose filters could not be read"),
    Metric("grinder_user_stream_ignored_total", _C, "Messages of the user stream of a kind that is not needed"),
    Metric("grinder_user_stream_bad_payloads_total", _C, "Messages of the user stream that were dropped"),
    Metric("grinder_http_requests_total", _C, "HTTP requests that got an answer", ("op", "status_class")),
    Metric("grinder_http_fail_total", _C, "HTTP requests that failed", ("op", "reason")),
    Metric(
        "grinder_http_latency_ms",
        _H,
        "HTTP request to whole reply, milliseconds",
        ("op",),
        buckets=(50, 100, 200, 400, 800, 1500, 3000, 5000, 10000),
    ),
    Metric("grinder_ws_connected", _G, "1 while a venue connection is up", ("connector",)),
    Metric("grinder_ws_reconnect_total", _C, "Venue connections built again", ("connector", "reason")),
)
"""Rows of every process that talks to the venue."""

_TREE_NAMES: Final = (tuple(process.value for process in TREE),)

SYSTEM: Final[tuple[Metric, ...]] = (
    Metric("grinder_up", _G, "1 while the metrics process answers", origin=Origin.SCRAPE),
    Metric("grinder_uptime_seconds", _G, "Seconds since the metrics process started", origin=Origin.SCRAPE),
    Metric("grinder_readyz_callback_registered", _G, "1 once readiness is computed", origin=Origin.SCRAPE),
    Metric(
        "grinder_process_up",
        _G,
        "1 while a process's heartbeat on the board is fresh",
        ("process",),
        _TREE_NAMES,
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_process_heartbeat_age_seconds",
        _G,
        "Seconds since a process's last heartbeat; grows from the start of the metrics process before the first",
        ("process",),
        _TREE_NAMES,
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_process_starts_total",
        _C,
        "Starts of a process since the board was made",
        ("process",),
        _TREE_NAMES,
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_rollback_criterion",
        _G,
        "1 while a rollback criterion of Runbook 33 holds; 0 while it does not or is not known, see /status.json",
        ("criterion",),
        (tuple(f"R{number}" for number in range(1, 8)),),
        origin=Origin.SCRAPE,
    ),
    Metric("grinder_operator_override", _G, "Operator override: 0 none, 1 PAUSE, 2 EMERGENCY", origin=Origin.SCRAPE),
    Metric(
        "grinder_account_sync_last_wall_ts",
        _G,
        "Wall time of the last clean account snapshot, Unix milliseconds; 0 before the first",
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_account_sync_data_age_seconds",
        _G,
        "Seconds since the venue's time of the newest account data; 0 before the first",
        origin=Origin.SCRAPE,
    ),
)
"""Rows of the metrics process itself."""

METRICS: Final = RUNBOOK_WATCHLIST + FEED + FSM + EXECUTOR + SYNCER + RECONCILE + BUS + VENUE_WIRE + CLUSTER + SYSTEM
BY_NAME: Final = {metric.name: metric for metric in METRICS}

assert len(BY_NAME) == len(METRICS)
assert all(len(metric.labels) == len(metric.values) or not metric.values for metric in METRICS)

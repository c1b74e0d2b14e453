"""The settings as the rest of the system sees them. Declares types only: names, defaults and docs are in the table."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from grinder.model.control import ExchangePort, FoundOrders, Override, TradingMode
from grinder.model.remedy import Stage
from grinder.settings.secret import Secret
from grinder.settings.variable import JournalSync, OrderTransport, StreamMode, TpQuantityMode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, parsed, checked and resolved. Units are in the names and in the table.

    ``venue_*_url``: resolved addresses. ``venue_embedded``: the tree runs the simulated venue itself.
    ``paper_size_per_level``: quantity by symbol, for every symbol. ``None`` means unset.
    """

    trading_mode: TradingMode
    trading_loop_ack: str
    allow_mainnet_trade: bool
    real_port_ack: str
    max_orders_ack: str
    binance_api_key: Secret
    binance_api_secret: Secret
    operator_override: Override

    symbols: tuple[str, ...]
    mainnet: bool
    armed: bool
    exchange_port: ExchangePort
    max_notional_per_order: Decimal
    max_orders_per_run: int
    fixture: str
    duration_s: int

    fsm_enabled: bool
    fsm_cooldown_ms: int
    feed_stale_ms: int
    spread_spike_bps: Decimal
    toxicity_high_bps: Decimal
    drawdown_limit: Decimal
    daily_loss_limit_usd: Decimal | None
    symbol_loss_budgets: dict[str, Decimal]
    consec_loss_enabled: bool
    consec_loss_threshold: int
    position_notional_threshold_usd: Decimal
    emergency_auto_resume: bool
    emergency_exit_enabled: bool
    emergency_slippage_bps: int
    max_position_usd: Decimal | None

    paper_size_per_level: dict[str, Decimal]
    paper_spacing_bps: Decimal
    paper_levels: int
    paper_cooldown_ms: int
    live_adaptive_spacing_enabled: bool
    live_max_level_distance_bps: int
    live_grid_shift_min_move_bps: int
    grid_rebalance_steps: Decimal
    tp_ttl_ms: int
    tp_qty_mode: TpQuantityMode
    tp_qty_pct: int
    sor_enabled: bool

    fill_model_dir: str
    fill_model_enforce: bool
    fill_prob_min_bps: int
    fill_prob_enforce_symbols: tuple[str, ...]
    fill_prob_eval_dir: str
    fill_prob_auto_threshold: bool
    fill_prob_eval_max_age_hours: Decimal | None
    fill_prob_evidence: bool

    account_sync_enabled: bool
    account_sync_interval_ms: int
    account_sync_evidence: bool
    fsm_evidence: bool
    artifact_dir: Path

    mismatch_degraded_ms: int
    mismatch_paused_ms: int
    mismatch_emergency_ms: int
    mismatch_paused_usd: Decimal
    mismatch_emergency_usd: Decimal

    reconcile_enabled: bool
    reconcile_interval_ms: int
    remediation_mode: Stage
    reconcile_dry_run: bool
    reconcile_allow_active: bool
    remediation_strategy_allowlist: str
    remediation_symbol_allowlist: tuple[str, ...]
    remediation_cooldown_s: int
    remediation_max_orders: int
    remediation_max_symbols: int
    max_calls_per_run: int
    max_calls_per_day: int
    max_notional_per_run: Decimal
    max_notional_per_day: Decimal
    flatten_max_notional_per_call: Decimal
    budget_state_path: str
    audit_enabled: bool
    audit_path: str
    evidence_keep: int

    venue_rest_url: str
    venue_ws_url: str
    venue_ws_api_url: str
    order_transport: OrderTransport
    stream_mode: StreamMode
    feed_depth: bool
    recv_window_ms: int
    dead_man_countdown_ms: int
    order_prefix: str
    found_orders: FoundOrders

    sim_port: int
    sim_tape: str
    sim_seed: int
    sim_speed: Decimal

    ha_enabled: bool
    node_id: str
    cluster: str
    etcd_endpoints: tuple[str, ...]
    etcd_ca_file: str
    etcd_cert_file: str
    etcd_key_file: str
    ha_lease_ttl_s: int
    ha_renew_interval_ms: int
    ha_request_timeout_ms: int

    metrics_port: int
    metrics_host: str
    state_dir: Path
    run_dir: Path
    log_dir: Path
    journal_sync: JournalSync
    crash_loop_starts: int
    record_file: str
    cpu_dma_latency: bool

    venue_embedded: bool = False

"""The fsm process: decides which orders should rest, and says so on the intents channel. Never talks to the venue."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal

import procs._boot as start
from grinder.adapters.loop import run_blocking
from grinder.adapters.recording import open_recording
from grinder.adapters.risk_memory import RiskFile
from grinder.adapters.runtime import Boot
from grinder.core.drawdown import DrawdownConfig
from grinder.core.engine_state import EngineConfig
from grinder.core.fsm import FsmThresholds
from grinder.core.losses import STREAK_OFF, LossConfig
from grinder.core.planner import PlannerConfig
from grinder.core.router import RouterConfig
from grinder.core.situation import GuardLimits
from grinder.model.channels import ACCOUNT, INTENTS, MARKET, ORDERS, STATE
from grinder.model.control import Process
from grinder.model.units import ONE
from grinder.services.fsm import FsmConfig, FsmPorts, FsmService
from grinder.settings import Settings
from grinder.settings.variable import TpQuantityMode


def engine_config(settings: Settings, incarnation: int, term: int) -> EngineConfig:
    """Return how the engine decides under these settings."""
    return EngineConfig(
        symbols=settings.symbols,
        planner=PlannerConfig(
            size_per_level=dict(settings.paper_size_per_level),
            spacing_bps=settings.paper_spacing_bps,
            levels=settings.paper_levels,
            adaptive=settings.live_adaptive_spacing_enabled,
            rebalance_steps=settings.grid_rebalance_steps,
            shift_min_move_bps=Decimal(settings.live_grid_shift_min_move_bps) or None,
            level_distance_bps_max=Decimal(settings.live_max_level_distance_bps) or None,
            cooldown_ms=settings.paper_cooldown_ms,
        ),
        guards=GuardLimits(
            armed=settings.armed,
            mode=settings.trading_mode,
            symbols=frozenset(settings.symbols),
            max_notional_per_order=settings.max_notional_per_order,
            max_orders_per_run=settings.max_orders_per_run,
            max_position_usd=settings.max_position_usd,
            drawdown_limit=float(settings.drawdown_limit),
            fill_prob_enforced=settings.fill_model_enforce,
            fill_prob_min_bps=settings.fill_prob_min_bps,
        ),
        router=RouterConfig(amend_supported=settings.sor_enabled),
        thresholds=FsmThresholds(
            cooldown_ms=settings.fsm_cooldown_ms,
            feed_stale_ms=settings.feed_stale_ms,
            spread_spike_bps=float(settings.spread_spike_bps),
            toxicity_high_bps=float(settings.toxicity_high_bps),
            drawdown_limit=float(settings.drawdown_limit),
            position_notional_threshold_usd=float(settings.position_notional_threshold_usd),
            emergency_auto_resume=settings.emergency_auto_resume,
        ),
        drawdown=DrawdownConfig(loss_budgets=dict(settings.symbol_loss_budgets)),
        losses=LossConfig(
            daily_limit=settings.daily_loss_limit_usd,
            streak_max=settings.consec_loss_threshold if settings.consec_loss_enabled else STREAK_OFF,
        ),
        order_prefix=settings.order_prefix,
        incarnation=incarnation,
        term=term,
        fsm_enabled=settings.fsm_enabled,
        exit_enabled=settings.emergency_exit_enabled,
        tp_ttl_ms=settings.tp_ttl_ms,
        tp_share=Decimal(settings.tp_qty_pct) / 100 if settings.tp_qty_mode is TpQuantityMode.PCT else ONE,
        tp_one_level=settings.tp_qty_mode is TpQuantityMode.ONE_LEVEL,
    )


def decide(boot: Boot) -> None:
    """Decide until stopped."""
    settings = boot.settings
    config = FsmConfig(
        engine_config(settings, boot.incarnation, boot.term),
        settings.operator_override,
        settings.fsm_evidence,
    )
    with (
        open_recording(settings.record_file, boot.log, boot.telemetry) as decisions,
        closing(RiskFile(settings.state_dir, boot.log)) as risk,
    ):
        ports = FsmPorts(
            clock=boot.clock,
            board=boot.board,
            intents=boot.publisher(INTENTS),
            states=boot.publisher(STATE),
            telemetry=boot.telemetry,
            log=boot.log,
            evidence=boot.evidence,
            risk=risk,
            decisions=decisions,
        )
        run_blocking(boot, FsmService(config, ports), boot.receiver(MARKET, ORDERS, ACCOUNT))


def main() -> None:
    """Run the fsm process."""
    start.run(Process.FSM, decide)


if __name__ == "__main__":
    main()

"""The syncer process: account truth, the venue's rules and its clock. Never places or cancels anything."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import uvloop

import procs._boot as start
from grinder.adapters.binance.account import AccountLink
from grinder.adapters.binance.errors import advice_in
from grinder.adapters.budget_file import BudgetFile
from grinder.adapters.loop import run_async
from grinder.adapters.reconcile_audit import NoAudit, ReconcileAudit
from grinder.adapters.runtime import Boot
from grinder.core.remediation import Policy
from grinder.core.response import Grades
from grinder.model.channels import ACCOUNT, ORDERS
from grinder.model.control import Process
from grinder.model.units import MS_PER_S
from grinder.ports import AuditSink
from grinder.services.reconcile import ReconcileConfig
from grinder.services.syncer import SyncerConfig, SyncerPorts, SyncerService
from grinder.settings import Settings

BUDGET_FILE: Final = "budget_state.json"
"""In the state folder, unless BUDGET_STATE_PATH names another."""


def syncer_config(settings: Settings) -> SyncerConfig:
    """Return what the syncer is told under these settings."""
    return SyncerConfig(
        enabled=settings.account_sync_enabled and bool(settings.binance_api_key),
        interval_ms=settings.account_sync_interval_ms,
        evidence=settings.account_sync_evidence,
        symbols=settings.symbols,
        prefix=settings.order_prefix,
        ha_enabled=settings.ha_enabled,
        grades=Grades(
            settings.mismatch_degraded_ms,
            settings.mismatch_paused_ms,
            settings.mismatch_emergency_ms,
            settings.mismatch_paused_usd,
            settings.mismatch_emergency_usd,
        ),
        reconcile=ReconcileConfig(
            enabled=settings.reconcile_enabled and settings.account_sync_enabled and bool(settings.binance_api_key),
            interval_ms=settings.reconcile_interval_ms,
            policy=policy_of(settings),
        ),
    )


def policy_of(settings: Settings) -> Policy:
    """Return what remedies the operator allows under these settings."""
    return Policy(
        stage=settings.remediation_mode,
        dry_run=settings.reconcile_dry_run,
        allow_active=settings.reconcile_allow_active,
        armed=settings.armed,
        mainnet_allowed=settings.allow_mainnet_trade,
        prefix=settings.order_prefix,
        symbols=frozenset(settings.symbols),
        strategies=frozenset(settings.remediation_strategy_allowlist.split(",")),
        allowlist=frozenset(settings.remediation_symbol_allowlist),
        cooldown_ms=settings.remediation_cooldown_s * MS_PER_S,
        calls_per_run_max=settings.max_calls_per_run,
        calls_per_day_max=settings.max_calls_per_day,
        notional_per_run_max=settings.max_notional_per_run,
        notional_per_day_max=settings.max_notional_per_day,
        flatten_notional_max=settings.flatten_max_notional_per_call,
        orders_max=settings.remediation_max_orders,
        symbols_max=settings.remediation_max_symbols,
    )


def budget_path(settings: Settings) -> Path:
    """Return where the budget of remedies is kept."""
    return Path(settings.budget_state_path) if settings.budget_state_path else settings.state_dir / BUDGET_FILE


def syncer_ports(boot: Boot, link: AccountLink, audit: AuditSink | None = None) -> SyncerPorts:
    """Return what the syncer has of the world."""
    return SyncerPorts(
        venue=link.venue,
        publisher=boot.publisher(ACCOUNT),
        board=boot.board,
        clock=boot.clock,
        telemetry=boot.telemetry,
        log=boot.log,
        evidence=boot.evidence,
        stream=link,
        audit=audit or NoAudit(),
        budget=BudgetFile(budget_path(boot.settings), boot.clock),
        advice_in=advice_in,
        weight_used=link.venue.weight_used,
    )


async def sync(boot: Boot) -> None:
    """Sync until stopped."""
    config = syncer_config(boot.settings)
    link = AccountLink(boot)
    audit = None
    if config.reconcile.enabled and boot.settings.audit_enabled:
        path = boot.settings.artifact_dir / boot.settings.audit_path
        audit = ReconcileAudit(path, boot.process, boot.log, boot.telemetry)
    service = SyncerService(syncer_ports(boot, link, audit), config)
    async with link.open(service.on_user_event if config.enabled else None) as tasks:
        await run_async(boot, service, boot.receiver(ORDERS), tasks=tasks)
    if audit is not None:
        audit.close()


def main() -> None:
    """Run the syncer process."""
    start.run(Process.SYNCER, lambda boot: uvloop.run(sync(boot)))


if __name__ == "__main__":
    main()

"""The syncer process: account truth, the venue's rules and its clock. Never places or cancels anything."""

from __future__ import annotations

import uvloop

import procs._boot as start
from grinder.adapters.binance.account import AccountLink
from grinder.adapters.loop import run_async
from grinder.adapters.runtime import Boot
from grinder.model.channels import ACCOUNT, ORDERS
from grinder.model.control import Process
from grinder.services.syncer import SyncerConfig, SyncerPorts, SyncerService
from grinder.settings import Settings


def syncer_config(settings: Settings, term: int) -> SyncerConfig:
    """Return what the syncer is told under these settings."""
    return SyncerConfig(
        enabled=settings.account_sync_enabled and bool(settings.binance_api_key),
        interval_ms=settings.account_sync_interval_ms,
        evidence=settings.account_sync_evidence,
        symbols=settings.symbols,
        prefix=settings.order_prefix,
        term=term,
    )


def syncer_ports(boot: Boot, link: AccountLink) -> SyncerPorts:
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
    )


async def sync(boot: Boot) -> None:
    """Sync until stopped."""
    config = syncer_config(boot.settings, boot.term)
    link = AccountLink(boot)
    service = SyncerService(syncer_ports(boot, link), config)
    async with link.open(service.on_user_event if config.enabled else None) as tasks:
        await run_async(boot, service, boot.receiver(ORDERS), tasks=tasks)


def main() -> None:
    """Run the syncer process."""
    start.run(Process.SYNCER, lambda boot: uvloop.run(sync(boot)))


if __name__ == "__main__":
    main()

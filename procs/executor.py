"""The executor process: the only one that commands orders."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvloop

import procs._boot as start
from grinder.adapters.binance.account import AccountLink
from grinder.adapters.binance.venue_time import TimedVenue
from grinder.adapters.journal import FileJournal, JournalFormatError
from grinder.adapters.loop import run_async
from grinder.adapters.run_identity import run_identity
from grinder.adapters.runtime import Boot
from grinder.adapters.term_file import TermFile
from grinder.core.interlocks import Limits
from grinder.core.lease_state import LeasePlan
from grinder.model.channels import ACCOUNT, INTENTS, ORDERS
from grinder.model.control import ExchangePort, Process, TradingMode
from grinder.model.errors import SettingsError
from grinder.model.units import MS_PER_S
from grinder.ports import Journal
from grinder.services.cluster import Cluster, ClusterPorts
from grinder.services.cluster_latch import HostFacts
from grinder.services.executor import ExecutorConfig, ExecutorService
from grinder.services.lead import Duties, Membership
from grinder.services.order_store import ExecutorPorts
from grinder.settings import Settings
from grinder.settings.shared import shared_settings

GLANCE_MS: Final = 10
"""Period of the looks at the trip words where there is a cluster, milliseconds."""

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""The kernel's name of this boot. Source: random(4)."""


def sends(settings: Settings) -> bool:
    """Tell whether this run may send commands at all: not read-only, not a rehearsal, and there is a key."""
    rehearsal = settings.trading_mode is TradingMode.LIVE_TRADE and settings.exchange_port is ExchangePort.NOOP
    return settings.trading_mode is not TradingMode.READ_ONLY and not rehearsal and bool(settings.binance_api_key)


def executor_config(settings: Settings, incarnation: int, term: int, run_id: str) -> ExecutorConfig:
    """Return what the executor is told under these settings."""
    limits = Limits(
        armed=settings.armed,
        mode=settings.trading_mode,
        port=settings.exchange_port,
        symbols=frozenset(settings.symbols),
        max_notional_per_order=settings.max_notional_per_order,
        max_orders_per_run=settings.max_orders_per_run,
        ha_enabled=settings.ha_enabled,
        override=settings.operator_override,
        max_position_usd=settings.max_position_usd,
    )
    return ExecutorConfig(
        limits=limits,
        symbols=settings.symbols,
        prefix=settings.order_prefix,
        term=term,
        incarnation=incarnation,
        run_id=run_id,
        sends=sends(settings),
        dead_man_countdown_ms=settings.dead_man_countdown_ms,
        recv_window_ms=settings.recv_window_ms,
        emergency_exit_enabled=settings.emergency_exit_enabled,
        emergency_slippage_bps=settings.emergency_slippage_bps,
        found_orders=settings.found_orders,
        remedy_notional_max=settings.flatten_max_notional_per_call,
    )


def executor_ports(boot: Boot, link: AccountLink, journal: Journal) -> ExecutorPorts:
    """Return what the executor has of the world."""
    return ExecutorPorts(
        venue=TimedVenue(link.venue, link.time),
        journal=journal,
        publisher=boot.publisher(ORDERS),
        clock=boot.clock,
        telemetry=boot.telemetry,
        log=boot.log,
        evidence=boot.evidence,
        stream=link,
        rates_used=link.venue.rate_uses,
    )


def open_journal(settings: Settings) -> FileJournal:
    """Return the journal of this host.

    Raises:
        SettingsError: if the folder holds a journal of another format: trying again would not help.
        JournalError: if it is in use or cannot be written.
    """
    try:
        return FileJournal(settings.state_dir / "journal", settings.journal_sync)
    except JournalFormatError as error:
        raise SettingsError((str(error),)) from error


@contextmanager
def cluster_of(boot: Boot) -> Iterator[ClusterPorts | None]:
    """Open the way to etcd where high availability is on; elsewhere nothing of it is imported, and this gives None.

    Raises:
        SettingsError: a certificate's file cannot be read.
    """
    settings = boot.settings
    if not settings.ha_enabled:
        yield None
        return
    from grinder.adapters.etcd.connection import access_of
    from grinder.adapters.etcd.stores import EtcdStores

    assert boot.latch is not None
    host, boot_id = platform.node(), BOOT_ID.read_text().strip()
    times = settings.ha_lease_ttl_s, settings.ha_renew_interval_ms
    shared = shared_settings(settings)
    with EtcdStores(access_of(settings), boot.clock, boot.telemetry, boot.log) as stores:
        yield ClusterPorts(
            plan=LeasePlan(settings.node_id, host, boot_id, os.getpid(), *times, shared),
            facts=HostFacts(settings.node_id, host, boot.incarnation, settings.operator_override, shared),
            leases=stores.leases,
            latches=stores.latches,
            terms=TermFile(settings.state_dir / "term"),
            latch=boot.latch,
        )


async def look_out(cluster: Cluster) -> None:
    """Look at the trip words every GLANCE_MS: they ring no bell, and other hosts hear of a trip from this process."""
    while True:
        cluster.glance()
        await asyncio.sleep(GLANCE_MS / MS_PER_S)


async def execute(boot: Boot) -> None:
    """Execute until stopped."""
    settings = boot.settings
    config = executor_config(settings, boot.incarnation, boot.term, run_identity(os.getppid()))
    link = AccountLink(boot)
    journal = open_journal(settings)
    ports = executor_ports(boot, link, journal)
    seats: list[Cluster] = []
    with cluster_of(boot) as cluster:

        def join(duties: Duties) -> Membership:
            assert cluster is not None
            seats.append(Cluster(cluster, ports, boot.board, duties))
            return seats[0]

        service = ExecutorService(ports, boot.board, config, None if cluster is None else join)
        async with link.open(service.on_user_event if config.sends else None) as tasks:
            beside = [*tasks, *(look_out(seat) for seat in seats)]
            await run_async(boot, service, boot.receiver(INTENTS, ACCOUNT), tasks=beside)
    journal.close()


def main() -> None:
    """Run the executor process."""
    start.run(Process.EXECUTOR, lambda boot: uvloop.run(execute(boot)))


if __name__ == "__main__":
    main()

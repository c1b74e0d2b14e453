"""The metrics process: listens to everything, answers HTTP, influences nothing."""

from __future__ import annotations

import uvloop

import procs._boot as start
from grinder.adapters.exposition import Exposition
from grinder.adapters.http import make_application, serve
from grinder.adapters.loop import run_async
from grinder.adapters.runtime import Boot
from grinder.model.channels import ACCOUNT, ORDERS, STATE, TELEMETRY
from grinder.model.control import Process
from grinder.services import answers
from grinder.services.metrics import MetricsConfig, MetricsService


async def answer(boot: Boot) -> None:
    """Answer until stopped."""
    settings = boot.settings
    config = MetricsConfig(
        symbols=settings.symbols,
        trading_mode=settings.trading_mode.value,
        exchange_port=settings.exchange_port.value,
        node_id=settings.node_id,
        ha_enabled=settings.ha_enabled,
        account_sync_enabled=settings.account_sync_enabled,
        drawdown_limit=float(settings.drawdown_limit),
        fill_model_enforce=settings.fill_model_enforce,
    )
    service = MetricsService(config, boot.clock, boot.board)
    application = make_application(
        healthz=lambda: answers.healthz(service),
        readyz=lambda: answers.readyz(service),
        status=lambda: answers.status(service),
        exposition=Exposition(service.values, service.aggregate.histograms),
    )
    runner = await serve(application, settings.metrics_host, settings.metrics_port)
    try:
        await run_async(boot, service, boot.receiver(TELEMETRY, STATE, ACCOUNT, ORDERS), at_once=False)
    finally:
        await runner.cleanup()


def main() -> None:
    """Run the metrics process."""
    start.run(Process.METRICS, lambda boot: uvloop.run(answer(boot)))


if __name__ == "__main__":
    main()

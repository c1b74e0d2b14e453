from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import ClientSession, web
from prometheus_client.parser import text_string_to_metric_families

from grinder.adapters.exposition import Exposition
from grinder.adapters.http import make_application, serve
from grinder.adapters.scrape import fetch, totals
from grinder.model.metric import Kind
from grinder.model.metrics import METRICS
from grinder.services import answers
from tests.unit.services.test_metrics import Rig


def _asked(rig: Rig, ask: Callable[[ClientSession, str], Awaitable[None]]) -> None:
    service = rig.service

    async def run() -> None:
        application = make_application(
            lambda: answers.healthz(service),
            lambda: answers.readyz(service),
            lambda: answers.status(service),
            Exposition(service.values, service.aggregate.histograms),
        )
        runner: web.AppRunner = await serve(application, "127.0.0.1", 0)
        try:
            port = runner.addresses[0][1]
            async with ClientSession() as session:
                await ask(session, f"http://127.0.0.1:{port}")
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_endpoints_when_ready_and_not_then_the_runbooks_codes() -> None:
    rig = Rig()

    async def ask(session: ClientSession, base: str) -> None:
        async with session.get(base + "/healthz") as answer:
            assert answer.status == 200
            assert (await answer.text()).startswith('{"status": "ok", ')
        async with session.get(base + "/readyz") as answer:
            assert answer.status == 503
            assert (await answer.text()).startswith('{"ready": false, ')
        rig.make_ready()
        async with session.get(base + "/readyz") as answer:
            assert answer.status == 200
            assert (await answer.text()).startswith('{"ready": true, ')
        async with session.get(base + "/") as answer:
            assert answer.status == 200
            assert "<title>grinder</title>" in await answer.text()
        async with session.get(base + "/nothing") as answer:
            assert answer.status == 404

    _asked(rig, ask)


def test_metrics_when_scraped_then_every_row_of_the_table_has_help_type_and_its_zero_series() -> None:
    async def ask(session: ClientSession, base: str) -> None:
        async with session.get(base + "/metrics") as answer:
            text = await answer.text()
        families = {family.name: family for family in text_string_to_metric_families(text)}
        for metric in METRICS:
            name = metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name
            assert families[name].type == metric.kind.value
            assert families[name].documentation == metric.help
            shown = {tuple(sample.labels[label] for label in metric.labels) for sample in families[name].samples}
            assert shown >= set(metric.zero_series), metric.name
        assert "\ngrinder_kill_switch_triggered 0.0" in text

    _asked(Rig(), ask)


def test_totals_when_scraped_then_samples_are_summed_by_name_and_nobody_is_no_error() -> None:
    rig = Rig()
    rig.make_ready()

    async def ask(_session: ClientSession, base: str) -> None:
        port = int(base.rpartition(":")[2])
        sums = await asyncio.to_thread(totals, "127.0.0.1", port)
        assert sums["grinder_readyz_ready"] == 1
        assert sums["grinder_fsm_current_state"] == 1
        assert await asyncio.to_thread(fetch, "127.0.0.1", port, "/nothing") is None

    _asked(rig, ask)
    assert totals("127.0.0.1", 1) == {}

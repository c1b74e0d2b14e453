"""A thread that talks to etcd falls of what nobody foresaw: the process ends, and each request has its reply."""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from grinder.adapters.clock import SystemClock
from grinder.adapters.etcd.connection import Access, KnownRevision
from grinder.adapters.etcd.identity import Files
from grinder.adapters.etcd.stores import EtcdStores
from grinder.adapters.etcd.watch import Doorbell
from grinder.adapters.etcd.worker import Worker
from grinder.adapters.loop import run_async
from grinder.adapters.runtime import Boot
from grinder.adapters.telemetry import Recorder
from grinder.model.cluster import NoAnswer, ReadCluster
from grinder.model.control import Process
from grinder.services.loop import Identity, ServiceLoop
from tests.etcd_certificates import Authority
from tests.fakes import FakeBoard
from tests.free_ports import HOST, free_ports
from tests.market import RecordingLog, RecordingPublisher, RecordingTelemetry
from tests.unit.services.test_service_loop import RecordingService

PATIENCE_S = 120.0


class BrokenClock(SystemClock):
    """A host on which CLOCK_BOOTTIME cannot be read: nobody foresees that."""

    def boot_ns(self) -> int:
        raise LookupError("no boot clock")


class Rig:
    """The stores of an executor whose etcd is away, in its loop as the process drives it."""

    def __init__(self) -> None:
        self.log = RecordingLog()
        self.replies: list[Any] = []
        self.stores: EtcdStores

    def run(self, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            (port,) = free_ports(1)
            access = Access((f"{HOST}:{port}",), "c", 0.2)
            try:
                with EtcdStores(access, BrokenClock(), RecordingTelemetry(), self.log) as self.stores:
                    await run_async(self._boot(), RecordingService(), None, tasks=[test()])
            finally:
                # What the end posted has its turn.
                await asyncio.sleep(0)

        uvloop.run(asyncio.wait_for(main(), PATIENCE_S))

    def _boot(self) -> Boot:
        clock, service = SystemClock(), RecordingService()
        identity = Identity(Process.EXECUTOR, 1, 1, clock.mono_ns())
        snapshot = Recorder(Process.EXECUTOR, 1, 1, clock).snapshot
        loop = ServiceLoop(service, identity, clock, FakeBoard(), self.log, snapshot, RecordingPublisher())
        settings = SimpleNamespace(cpu_dma_latency=False)
        made = SimpleNamespace(settings=settings, loop=lambda service: loop, stop_requested=lambda: False)
        return cast("Boot", made)


def test_request_when_its_thread_falls_then_the_process_ends_and_each_request_has_one_reply() -> None:
    rig = Rig()

    async def ask() -> None:
        for _ in range(3):
            rig.stores.latches.ask(ReadCluster(), rig.replies.append)

    with pytest.raises(LookupError, match="no boot clock"):
        rig.run(ask)
    assert ("ETCD_THREAD_FELL", {"thread": "etcd-latch", "why": "LookupError('no boot clock')"}) in rig.log.events
    assert rig.replies[0] == NoAnswer("the thread that asked etcd fell")
    assert [type(reply) for reply in rig.replies] == [NoAnswer] * 3


def test_watch_when_its_thread_falls_then_the_process_ends() -> None:
    rig = Rig()

    async def watch() -> None:
        rig.stores.latches.watch(rig.replies.append)

    with pytest.raises(LookupError, match="no boot clock"):
        rig.run(watch)
    assert [fields["thread"] for name, fields in rig.log.events if name == "ETCD_THREAD_FELL"] == ["etcd-list"]


def test_doorbell_when_its_thread_falls_then_it_is_told() -> None:
    fell: list[tuple[str, BaseException]] = []
    told = threading.Event()

    def mourn(name: str, error: BaseException) -> None:
        fell.append((name, error))
        told.set()

    def meter(*request: object) -> None:
        raise LookupError("nobody counts")

    (port,) = free_ports(1)
    access = Access((f"{HOST}:{port}",), "c", 0.2)
    bell = Doorbell(access, KnownRevision(), lambda: None, meter, mourn)
    bell.begin(1)
    assert told.wait(PATIENCE_S)
    bell.close(PATIENCE_S)
    ((name, error),) = fell
    assert (name, str(error)) == ("etcd-watch", "nobody counts")


def test_expiry_when_its_thread_falls_then_the_gauge_shows_that_nobody_knows_and_the_process_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(files: Files) -> None:
        raise LookupError("no such certificate")

    monkeypatch.setattr("grinder.adapters.etcd.expiry.ending_of", fall)
    log, telemetry = RecordingLog(), RecordingTelemetry()
    own = Authority(tmp_path, "ca", datetime.timedelta(days=1)).identity("node", datetime.timedelta(days=1))

    async def main() -> None:
        (port,) = free_ports(1)
        files = (str(own.ca), str(own.cert), str(own.key))
        with EtcdStores(Access((f"{HOST}:{port}",), "c", 0.2, *files), SystemClock(), telemetry, log):
            while not (log.events and telemetry.gauges):
                await asyncio.sleep(0.001)

    uvloop.run(asyncio.wait_for(main(), PATIENCE_S))
    assert log.events == [
        ("ETCD_THREAD_FELL", {"thread": "etcd-certificate", "why": "LookupError('no such certificate')"})
    ]
    assert telemetry.gauges == {("grinder_etcd_certificate_end_seconds",): 0.0}


def test_worker_when_its_work_ends_then_nobody_is_told() -> None:
    done: list[str] = []
    worker = Worker("w", lambda: done.append("work"), lambda name, error: done.append(name))
    worker.start()
    worker.join(PATIENCE_S)
    assert (done, worker.daemon) == (["work"], True)

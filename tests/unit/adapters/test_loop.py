from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import uvloop

from grinder.adapters.bus import Arrival, Bus, Receiver
from grinder.adapters.clock import SystemClock
from grinder.adapters.loop import run_async
from grinder.adapters.runtime import Boot
from grinder.adapters.telemetry import Recorder
from grinder.model.channels import ORDERS
from grinder.model.control import Process
from grinder.model.orders import CommandRefused
from grinder.services.loop import Identity, ServiceLoop
from tests.fakes import FakeBoard
from tests.market import RecordingLog, RecordingPublisher
from tests.unit.services.test_service_loop import RecordingService

CLOCK = SystemClock()
FRAMES = 5
WAIT_S = 10.0


class Rig:
    """A listener's process on a real bus, and the publisher it hears."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.buses: list[Bus] = []
        self.service = RecordingService()
        self.publisher = self._bus(Process.EXECUTOR).publisher(ORDERS)
        self.receiver = self._bus(Process.METRICS).receiver(ORDERS)

    def _bus(self, process: Process) -> Bus:
        recorder = Recorder(process, os.getpid(), 1, CLOCK)
        bus = Bus(run_dir=self.run_dir, process=process, incarnation=1, term=lambda: 0, clock=CLOCK, telemetry=recorder)
        self.buses.append(bus)
        return bus

    @property
    def boot(self) -> Boot:
        """What the driver needs of a booted process."""
        recorder = Recorder(Process.METRICS, os.getpid(), 1, CLOCK)
        loop = ServiceLoop(
            self.service,
            Identity(Process.METRICS, os.getpid(), 1, CLOCK.mono_ns()),
            CLOCK,
            FakeBoard(),
            RecordingLog(),
            recorder.snapshot,
            RecordingPublisher(),
        )
        settings = SimpleNamespace(cpu_dma_latency=False)
        made = SimpleNamespace(settings=settings, loop=lambda service: loop, stop_requested=lambda: False)
        return cast("Boot", made)

    def heard(self) -> list[int]:
        return [call for call in self.service.calls if isinstance(call, int)]

    async def talk(self) -> None:
        """Publish until enough was heard, then end the process as an operator would."""
        async with asyncio.timeout(WAIT_S):
            while len(self.heard()) < FRAMES:
                self.publisher.send(CommandRefused("1", "BTCUSDT", "cancel", "why"))
                await asyncio.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def rig() -> Iterator[Rig]:
    run_dir = Path(tempfile.mkdtemp(dir="/tmp"))
    made = Rig(run_dir)
    yield made
    for bus in made.buses:
        bus.close()
    shutil.rmtree(run_dir)


@pytest.mark.parametrize("at_once", [True, False])
def test_run_async_when_frames_come_then_the_service_hears_them_in_order(rig: Rig, at_once: bool) -> None:
    uvloop.run(run_async(rig.boot, rig.service, rig.receiver, tasks=[rig.talk()], at_once=at_once))
    heard = rig.heard()
    assert len(heard) >= FRAMES
    assert heard == list(range(heard[0], heard[0] + len(heard)))


def test_run_async_when_not_at_once_then_an_arrival_wakes_nobody(rig: Rig) -> None:
    looked: list[int | None] = []
    drain = rig.receiver.drain

    class Watched:
        more = False
        filenos = rig.receiver.filenos

        def drain(self, fileno: int | None = None) -> Iterable[Arrival]:
            looked.append(fileno)
            return drain(fileno)

    uvloop.run(run_async(rig.boot, rig.service, cast("Receiver", Watched()), tasks=[rig.talk()], at_once=False))
    assert set(looked) == {None}

"""The waiting end of a process: block on the bus, or run uvloop with the bus's descriptors, and drive the service.

Must never poll: one place waits. Must never swallow an error: what a service or task raises ends the process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from grinder.adapters.bus import Receiver
from grinder.adapters.runtime import Boot
from grinder.model.units import MS_PER_S
from grinder.ports import Service
from grinder.services.loop import ServiceLoop

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_DMA_LATENCY_FILE: Final = "/dev/cpu_dma_latency"


def run_blocking(boot: Boot, service: Service, receiver: Receiver) -> None:
    """Drive a service by blocking reads of the bus until it has stopped; for roles with no other input.

    The receiver must have one socket.
    """
    loop = boot.loop(service)
    latency = hold_cpu_awake(boot)
    loop.start()
    _settle_memory()
    wait_ms = 1
    stopping = False
    while not loop.finished:
        loop.deliver(receiver.wait(wait_ms))
        wait_ms = loop.tick()
        if not stopping and boot.stop_requested():
            stopping = True
            loop.request_stop()
    loop.finish()
    _release(latency)


async def run_async(
    boot: Boot,
    service: Service,
    receiver: Receiver | None,
    *,
    tasks: Iterable[Coroutine[Any, Any, None]] = (),
    at_once: bool = True,
) -> None:
    """Drive a service on the running event loop until it has stopped.

    Args:
        boot: the booted process.
        service: what to drive.
        receiver: its bus input, or None.
        tasks: coroutines that run beside it (streams, requests); one that raises ends the process, one that returns
            is done; those that still run at the end are cancelled.
        at_once: take a frame when it arrives; False where nothing waits for it, so that the timer's period is soon
            enough: then a process that only listens does not wake up beside those that trade.

    Raises:
        Exception: whatever the service, a callback or a task raised.
    """
    latency = hold_cpu_awake(boot)
    driver = _AsyncDriver(boot, boot.loop(service), receiver, at_once=at_once)
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        await driver.run(running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        _release(latency)


class _AsyncDriver:
    """Callbacks of one event loop that move a ServiceLoop on."""

    def __init__(self, boot: Boot, loop: ServiceLoop, receiver: Receiver | None, *, at_once: bool) -> None:
        self._boot = boot
        self._loop = loop
        self._receiver = receiver
        self._at_once = at_once
        self._events = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._events.create_future()

    async def run(self, tasks: Iterable[asyncio.Future[None]]) -> None:
        """Drive until the service has stopped, or raise what went wrong."""
        events = self._events
        events.set_exception_handler(self._on_error)
        for number in STOP_SIGNALS:
            events.add_signal_handler(number, self._loop.request_stop)
        descriptors = self._receiver.filenos() if self._receiver is not None and self._at_once else ()
        for task in tasks:
            task.add_done_callback(self._on_task_done)
        self._loop.start()
        _settle_memory()
        if self._boot.stop_requested():
            self._loop.request_stop()
        for descriptor in descriptors:
            events.add_reader(descriptor, self._pump, descriptor)
        self._tick()
        try:
            await self._done
        finally:
            for descriptor in descriptors:
                events.remove_reader(descriptor)
            for number in STOP_SIGNALS:
                events.remove_signal_handler(number)
        self._loop.finish()

    def _pump(self, descriptor: int | None = None) -> None:
        """Drain the bus; the descriptor is edge-triggered, so what is left over is asked for again at once.

        Args:
            descriptor: what became readable; None to look at everything.
        """
        receiver = self._receiver
        if receiver is None or self._done.done():
            return
        self._loop.deliver(receiver.drain(descriptor))
        if receiver.more:
            self._events.call_soon(self._pump)

    def _tick(self) -> None:
        if self._done.done():
            return
        self._pump()
        wait_ms = self._loop.tick()
        if self._loop.finished:
            self._done.set_result(None)
            return
        self._events.call_later(wait_ms / MS_PER_S, self._tick)

    def _on_task_done(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled():
            self._fail(task.exception())

    def _on_error(self, events: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._fail(error if error is not None else RuntimeError(str(context.get("message"))))

    def _fail(self, error: BaseException | None) -> None:
        if error is not None and not self._done.done():
            self._done.set_exception(error)


def hold_cpu_awake(boot: Boot) -> int | None:
    """Keep the processor out of deep idle states while the returned descriptor is open, where that is permitted.

    Source: kernel documentation, PM Quality Of Service Interface: the request lasts as long as the file is open.
    """
    if not boot.settings.cpu_dma_latency:
        return None
    try:
        descriptor = os.open(_DMA_LATENCY_FILE, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        boot.log.event("CPU_DMA_LATENCY_REFUSED", why=error.strerror)
        return None
    os.write(descriptor, (0).to_bytes(4, "little"))
    return descriptor


def _release(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _settle_memory() -> None:
    """Take what start-up made out of the collector's sight: full collections then stay short."""
    gc.collect()
    gc.freeze()

"""A tiny service in the place of a real process, to try boot, loops and bus with real signals and sockets.

Run as ``python -m tests.smoke.stand_in PROCESS blocking|async [crash-in-callback|crash-in-task|stubborn]``.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from grinder.adapters.loop import run_async, run_blocking
from grinder.adapters.runtime import Boot
from grinder.model.channels import ORDERS
from grinder.model.control import Process
from grinder.model.frames import Envelope, Frame
from grinder.model.orders import CommandRefused
from procs import _boot

FLAW = sys.argv[3] if len(sys.argv) > 3 else ""


class StandIn:
    """Publishes orders as the executor, listens to them as anybody else, and logs what it is told."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._out = boot.publisher(ORDERS) if boot.process is Process.EXECUTOR else None
        self._sent = 0
        self._seen = 0
        self.stopped = False

    def on_start(self) -> None:
        self._boot.log.event("STAND_IN_START")

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        if not self._seen:
            self._boot.log.event("STAND_IN_FRAME", incarnation=envelope.incarnation)
        self._seen += 1
        if FLAW == "crash-in-callback":
            raise ValueError("flawed on purpose")

    def on_gap(self, channel: str, missing: int) -> None:
        self._boot.log.event("STAND_IN_GAP", channel=channel, missing=missing)

    def on_timer(self) -> None:
        if self._out is not None:
            self._sent += 1
            self._out.send(CommandRefused(str(self._sent), "BTCUSDT", "cancel", "stand-in"))

    def on_stop(self) -> None:
        self._boot.log.event("STAND_IN_STOP", seen=self._seen)
        self.stopped = FLAW != "stubborn"

    def readiness(self) -> str:
        return ""

    def input_seen_mono_ns(self) -> dict[str, int]:
        return {}


async def fail() -> None:
    """Raise, as a broken stream would."""
    await asyncio.sleep(0)
    raise ValueError("flawed on purpose")


async def for_ever() -> None:
    """Run until cancelled."""
    await asyncio.Event().wait()


def serve(boot: Boot) -> None:
    """Drive the stand-in the way its second argument says."""
    service = StandIn(boot)
    listens = boot.process in ORDERS.consumers
    if sys.argv[2] == "blocking":
        run_blocking(boot, service, boot.receiver(ORDERS))
        return

    async def main() -> None:
        receiver = boot.receiver(ORDERS) if listens else None
        await run_async(boot, service, receiver, tasks=[fail() if FLAW == "crash-in-task" else for_ever()])

    uvloop.run(main())


if __name__ == "__main__":
    _boot.run(Process(sys.argv[1]), serve)

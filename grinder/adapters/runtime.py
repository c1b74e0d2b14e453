"""What a booted process has: its settings, its ports, and the making of publishers and receivers."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from grinder.adapters.board import StateBoard
from grinder.adapters.bus import Bus, Publisher, Receiver
from grinder.adapters.clock import SystemClock
from grinder.adapters.evidence_writer import EvidenceWriter
from grinder.adapters.latch_watch import LatchWatch
from grinder.adapters.log import EventLog
from grinder.adapters.telemetry import Recorder
from grinder.model.board import Word
from grinder.model.channels import TELEMETRY, Channel
from grinder.model.control import Process
from grinder.model.frames import Envelope, Frame
from grinder.ports import Service
from grinder.services.loop import Identity, ServiceLoop
from grinder.settings import Settings


class Inward:
    """The telemetry of the process that collects telemetry: straight to its own service, without a socket."""

    def __init__(self, service: Service, incarnation: int, clock: SystemClock) -> None:
        self._service = service
        self._incarnation = incarnation
        self._clock = clock
        self._seq = 0

    def send(self, frame: Frame) -> bool:
        """Deliver a frame at once; return True."""
        self._seq += 1
        self._service.on_envelope(Envelope(self._seq, self._incarnation, 0, self._clock.mono_ns(), frame))
        return True


class Boot(msgspec.Struct, frozen=True):
    """One process after its start. ``latch``: the durable latch, for the executor only.

    ``stop_requested``: tells whether a stop signal came, also before the loop ran.
    """

    process: Process
    settings: Settings
    incarnation: int
    started_mono_ns: int
    clock: SystemClock
    board: StateBoard
    telemetry: Recorder
    log: EventLog
    evidence: EvidenceWriter
    bus: Bus
    latch: LatchWatch | None
    stop_requested: Callable[[], bool]

    @property
    def term(self) -> int:
        """The leader term on the board; 0 on a host that is alone, and while nobody knows."""
        return self.board.read(Word.TERM)

    def publisher(self, channel: Channel) -> Publisher:
        """Return the sending end of a channel of this process."""
        return self.bus.publisher(channel)

    def receiver(self, *channels: Channel) -> Receiver:
        """Return one receiving end for channels of this process."""
        return self.bus.receiver(*channels)

    def loop(self, service: Service) -> ServiceLoop:
        """Return the loop that drives ``service`` in this process."""
        pushes = self.process in TELEMETRY.publishers
        telemetry = self.publisher(TELEMETRY) if pushes else Inward(service, self.incarnation, self.clock)
        identity = Identity(self.process, os.getpid(), self.incarnation, self.started_mono_ns)
        snapshot = self.telemetry.snapshot
        return ServiceLoop(service, identity, self.clock, self.board, self.log, snapshot, telemetry, self.latch)

    def close(self) -> None:
        """Give everything back, the bus first: its socket files go while the slot is still held."""
        self.bus.close()
        if self.latch is not None:
            self.latch.close()
        self.evidence.close()
        self.log.close()
        self.board.close()

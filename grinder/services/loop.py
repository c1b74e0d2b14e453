"""The cadence that every process shares: deliver arrivals, run timers, beat, report, stop within a bound.

It owns no clock and waits for nothing: an adapter waits and calls it, or a simulation steps it. Must never skip a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from grinder.core.sequence import Gap
from grinder.model.board import Heartbeat
from grinder.model.control import Process
from grinder.model.frames import Envelope, Frame, Telemetry
from grinder.model.limits import (
    HEARTBEAT_PERIOD_MS,
    STOP_EXECUTOR_S_MAX,
    STOP_S_MAX,
    TELEMETRY_PERIOD_MS,
    TIMER_PERIOD_MS,
)
from grinder.model.units import NS_PER_MS, NS_PER_S
from grinder.ports import Board, Clock, Latch, Log, Publisher, Service
from grinder.services.trips import TripWatch


class Identity(msgspec.Struct, frozen=True):
    """Who runs: the process, its pid, its start number and when it started."""

    process: Process
    pid: int
    incarnation: int
    started_mono_ns: int


class Cadence:
    """Something due every ``period_ms``; periods that were missed are skipped, not made up for."""

    def __init__(self, period_ms: int, now_mono_ns: int) -> None:
        self._period_ns = period_ms * NS_PER_MS
        self.due_mono_ns = now_mono_ns + self._period_ns

    def take(self, now_mono_ns: int) -> bool:
        """Tell whether it is due, and if so, wait for the next time."""
        if now_mono_ns < self.due_mono_ns:
            return False
        on_grid = self.due_mono_ns + self._period_ns
        self.due_mono_ns = on_grid if on_grid > now_mono_ns else now_mono_ns + self._period_ns
        return True


class ServiceLoop:
    """Drives one service. Call ``start``, then ``deliver`` and ``tick`` until ``finished``, then ``finish``."""

    def __init__(
        self,
        service: Service,
        identity: Identity,
        clock: Clock,
        board: Board,
        log: Log,
        snapshot: Callable[[], Telemetry],
        telemetry: Publisher,
        latch: Latch | None = None,
    ) -> None:
        self._service = service
        self._identity = identity
        self._clock = clock
        self._board = board
        self._log = log
        self._snapshot = snapshot
        self._telemetry = telemetry
        self._trips = TripWatch(identity.process, board, log, latch)
        self._stop_by_mono_ns: int | None = None
        now = clock.mono_ns()
        self._timer = Cadence(TIMER_PERIOD_MS, now)
        self._beat = Cadence(HEARTBEAT_PERIOD_MS, now)
        self._report = Cadence(TELEMETRY_PERIOD_MS, now)
        self._due_mono_ns = now

    def start(self) -> None:
        """Start the service and show it on the board."""
        self._service.on_start()
        self._log.event("STARTED")
        self._publish_heartbeat(self._clock.mono_ns())

    def deliver(self, arrivals: Iterable[Envelope[Frame] | Gap]) -> None:
        """Hand frames and gaps to the service, in order."""
        service = self._service
        for arrival in arrivals:
            if isinstance(arrival, Gap):
                self._log.event("BUS_GAP", channel=arrival.channel, missing=arrival.missing)
                service.on_gap(arrival.channel, arrival.missing)
            else:
                service.on_envelope(arrival)

    def tick(self) -> int:
        """Run what is due.

        Returns:
            Milliseconds until something is due again, 1 to TIMER_PERIOD_MS.
        """
        now = self._clock.mono_ns()
        if now >= self._due_mono_ns:
            self._run_due(now)
        left_ns = self._due_mono_ns - now
        return min(max(1, -(-left_ns // NS_PER_MS)), TIMER_PERIOD_MS)

    def _run_due(self, now: int) -> None:
        if self._timer.take(now):
            self._trips.on_timer(now)
            self._service.on_timer()
        if self._beat.take(now):
            self._publish_heartbeat(now)
        if self._report.take(now):
            self._telemetry.send(self._snapshot())
        self._due_mono_ns = min(self._timer.due_mono_ns, self._beat.due_mono_ns, self._report.due_mono_ns)

    def request_stop(self) -> None:
        """Begin the orderly stop; a second request changes nothing."""
        if self._stop_by_mono_ns is not None:
            return
        executor = self._identity.process is Process.EXECUTOR
        bound_s = STOP_EXECUTOR_S_MAX if executor else STOP_S_MAX
        self._stop_by_mono_ns = self._clock.mono_ns() + int(bound_s * NS_PER_S)
        self._log.event("STOPPING")
        self._service.on_stop()

    @property
    def finished(self) -> bool:
        """Tell whether the service has stopped, or its time to stop is over."""
        if self._service.stopped:
            return True
        return self._stop_by_mono_ns is not None and self._clock.mono_ns() >= self._stop_by_mono_ns

    def finish(self) -> None:
        """Say goodbye: last telemetry, last heartbeat, last log line."""
        if not self._service.stopped:
            self._log.event("STOP_TIMEOUT", reason=self._service.readiness())
        self._telemetry.send(self._snapshot())
        self._publish_heartbeat(self._clock.mono_ns(), stopped=True)
        self._log.event("STOPPED")

    def _publish_heartbeat(self, now_mono_ns: int, *, stopped: bool = False) -> None:
        who = self._identity
        reason = "stopped" if stopped else self._service.readiness()
        self._board.beat(
            Heartbeat(
                who.process,
                who.pid,
                who.incarnation,
                who.started_mono_ns,
                now_mono_ns,
                not reason,
                reason,
                self._service.input_seen_mono_ns(),
                "",
            )
        )

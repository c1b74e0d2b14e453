"""The table of places at which a process is killed by its own hand: every step of the send path, and what surrounds it.

A step is reached many times in a life; which time is the deadly one is part of a run's plan.
"""

from __future__ import annotations

import os
import signal

import msgspec

from grinder.model.control import Process

STEP_VARIABLE = "KILLED_AT"
"""Environment of a program under test: ``<step> <how many times it is spared>``; empty for a life without one."""

_EXECUTOR, _SYNCER = Process.EXECUTOR, Process.SYNCER


class Step(msgspec.Struct, frozen=True):
    """One place. ``stopping``: it is on the way of an orderly stop, so the process is asked to stop first.

    ``seldom``: a life may come here once only.
    """

    name: str
    program: Process
    stopping: bool = False
    seldom: bool = False


def _steps(
    program: Process, subjects: str, moments: str, *, stopping: bool = False, seldom: bool = False
) -> tuple[Step, ...]:
    return tuple(
        Step(f"{subject}.{moment}", program, stopping, seldom or stopping)
        for subject in subjects.split()
        for moment in moments.split()
    )


STEPS: tuple[Step, ...] = (
    # On record: nothing written, half of it written, all of it written and nothing sent.
    *_steps(_EXECUTOR, "journal.PlaceRecord journal.AmendRecord journal.CancelRecord", "before torn after"),
    *_steps(_EXECUTOR, "journal.CountedRecord journal.EndRecord", "before torn after"),
    # On the wire: handed to the adapter, bytes out and no reply yet, reply in and not taken, reply taken.
    *_steps(_EXECUTOR, "wire.PlaceOrder wire.AmendOrder wire.CancelOrder", "before handed sent answered taken"),
    *_steps(_EXECUTOR, "wire.QueryOrder wire.QueryOpenOrders", "before sent answered taken"),
    *_steps(
        _EXECUTOR, "wire.QueryInstruments wire.QueryPositionMode wire.QueryPositions", "sent answered", seldom=True
    ),
    *_steps(_EXECUTOR, "dead_man.renew", "before sent answered taken", seldom=True),
    # Told to the others, and heard from the venue.
    *_steps(_EXECUTOR, "publish.OrderUpdate publish.Fill publish.OrdersSnapshot", "before after"),
    *_steps(_EXECUTOR, "stream.OrderEvent", "before after"),
    *_steps(_EXECUTOR, "stream.UserStreamUp", "before after", seldom=True),
    # The journal begins a new file: nothing done, begun, its thread at the first record, anywhere in it.
    *_steps(_EXECUTOR, "checkpoint", "before begun reading during"),
    # An orderly stop that is cut off.
    *_steps(_EXECUTOR, "stop", "begun finished", stopping=True),
    *_steps(_EXECUTOR, "stop.wire.CancelOrder", "before handed sent answered taken", stopping=True),
    *_steps(_EXECUTOR, "stop.wire.QueryOpenOrders", "before sent answered taken", stopping=True),
    *_steps(_EXECUTOR, "stop.dead_man.let_down", "before sent answered taken", stopping=True),
    # The other reader of the account.
    *_steps(_SYNCER, "wire.QueryPositions wire.QueryBalance wire.QueryOpenOrders", "sent answered taken"),
    *_steps(_SYNCER, "wire.QueryPositionMode wire.QueryInstruments wire.QueryServerTime", "answered", seldom=True),
    *_steps(_SYNCER, "publish.AccountState publish.Instruments", "before after"),
    *_steps(_SYNCER, "stream.AccountEvent", "before after"),
    *_steps(_SYNCER, "stream.UserStreamUp", "before after", seldom=True),
)

assert len({(step.program, step.name) for step in STEPS}) == len(STEPS)


class Fuse:
    """Ends this process with SIGKILL when the planned step is reached for the planned time."""

    def __init__(self, plan: str) -> None:
        self.step, _, spared = plan.partition(" ")
        self._spared = int(spared or 0)

    def planned(self, step: str) -> bool:
        """Tell whether this is the step at which this life ends."""
        return step == self.step

    def burns(self, step: str) -> bool:
        """Tell whether this life ends now; counts the times that are spared."""
        if step != self.step:
            return False
        self._spared -= 1
        return self._spared < 0

    def reach(self, step: str) -> None:
        """End here if it is planned."""
        if self.burns(step):
            die()


def die() -> None:
    """End as kill -9 ends: no handler, no flush, no farewell."""
    os.kill(os.getpid(), signal.SIGKILL)

"""Runs the emergency exit's machine against a fake venue, step by step, in its own time."""

from __future__ import annotations

from grinder.core.closing import Dust
from grinder.core.emergency import Exit, ExitPlan, Result, Step, answered, start, wake
from grinder.model.venue import VenueReply
from tests.engine_world import instrument
from tests.fake_venue import SYMBOL, FakeVenue

PLAN = ExitPlan((SYMBOL,), {SYMBOL: instrument(SYMBOL)}, "grd", 0, 1 << 20, 200)


class Runner:
    """Runs the machine against a venue, step by step, in its own time."""

    def __init__(self, venue: FakeVenue, plan: ExitPlan = PLAN) -> None:
        self.venue = venue
        self.plan = plan
        self.results: list[Result] = []
        self.cancelled = 0
        self.closed = 0
        self.dust: tuple[Dust, ...] = ()
        self.exit = Exit()
        self.apply(start(self.exit, plan))

    def apply(self, step: Step) -> None:
        self.exit = step.exit
        if step.result is not None:
            self.results.append(step.result)
            self.cancelled += step.cancelled
            self.closed += step.closed
            self.dust = step.dust
        for request in step.requests:
            replies: list[VenueReply] = []
            self.venue.submit(request, replies.append)
            on_reply, reply = self.venue.replies.pop()
            on_reply(reply)
            self.apply(answered(self.exit, request, reply, self.plan, self.venue.clock.mono_ns()))

    def run(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 50):
            self.venue.clock.advance_ms(50)
            self.apply(wake(self.exit, self.plan, self.venue.clock.mono_ns()))

"""An executor with a dishonest port, for the proof that the count of orders after a trip can fail.

python -m tests.soak.trip_ports LIE
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import msgspec
import uvloop

import procs._boot as start
from grinder.adapters.binance.account import AccountLink
from grinder.adapters.loop import run_async
from grinder.adapters.run_identity import run_identity
from grinder.adapters.runtime import Boot
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.channels import ACCOUNT, INTENTS
from grinder.model.control import Process
from grinder.model.units import NS_PER_MS
from grinder.model.venue import PlaceOrder, VenueReply, VenueRequest
from grinder.ports import Clock, PriceBoard, Venue
from grinder.services.executor import ExecutorService
from procs.executor import executor_config, executor_ports, open_journal
from tests.soak.passing_board import PassingBoard

HELD_MS = 300
"""How long the venue of ``sends_late`` holds a placement, milliseconds."""

CACHED_MS = 100
"""Age up to which the board of ``looks_seldom`` tells what it once read."""


class BlindBoard(PassingBoard):
    """Implements ports.PriceBoard; its trip words are those it read ``age_ms_max`` ago at most, or always clear."""

    def __init__(self, inner: PriceBoard, clock: Clock, age_ms_max: int | None) -> None:
        super().__init__(inner)
        self._clock = clock
        self._age_ns_max = None if age_ms_max is None else age_ms_max * NS_PER_MS
        self._read_mono_ns = 0
        self._trips = dict.fromkeys(TRIP_WORDS, 0)

    def read_all(self, words: tuple[Word, ...]) -> tuple[int, ...]:
        values = self._inner.read_all(words)
        if self._trips.keys().isdisjoint(words):
            return values
        now = self._clock.mono_ns()
        if self._age_ns_max is not None and now - self._read_mono_ns > self._age_ns_max:
            self._read_mono_ns = now
            self._trips = dict(zip(TRIP_WORDS, self._inner.read_all(TRIP_WORDS), strict=True))
        return tuple(self._trips.get(word, value) for word, value in zip(words, values, strict=True))


class LateVenue:
    """Implements ports.Venue; a placement leaves long after it was let through."""

    def __init__(self, inner: Venue) -> None:
        self._inner = inner

    @property
    def connected(self) -> bool:
        return self._inner.connected

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        if isinstance(request, PlaceOrder):
            asyncio.get_running_loop().call_later(HELD_MS / 1_000, self._inner.submit, request, on_reply)
        else:
            self._inner.submit(request, on_reply)


BOARDS: dict[str, int | None] = {"never_looks": None, "looks_seldom": CACHED_MS}
LATE = "sends_late"
LIES = (*BOARDS, LATE)


async def execute(boot: Boot, lie: str) -> None:
    """Execute until stopped, as ``procs.executor`` does but for one port."""
    settings = boot.settings
    config = executor_config(settings, boot.incarnation, boot.term, run_identity(os.getppid()))
    link = AccountLink(boot)
    journal = open_journal(settings)
    ports = executor_ports(boot, link, journal)
    board: PriceBoard = boot.board
    if lie == LATE:
        ports = msgspec.structs.replace(ports, venue=LateVenue(ports.venue))
    else:
        board = BlindBoard(boot.board, boot.clock, BOARDS[lie])
    service = ExecutorService(ports, board, config)
    async with link.open(service.on_user_event) as tasks:
        await run_async(boot, service, boot.receiver(INTENTS, ACCOUNT), tasks=tasks)
    journal.close()


def main(lie: str) -> None:
    start.run(Process.EXECUTOR, lambda boot: uvloop.run(execute(boot, lie)))


if __name__ == "__main__":
    main(sys.argv[1])

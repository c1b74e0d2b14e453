"""Plays feed and fsm for a real executor, and never hears a no: an fsm that goes on asking for risk whatever happens.

    python -m tests.soak.flood RUN_DIR VENUE_PORT SEED PACE

It stays ACTIVE on the board and sends intents in bursts (PACE ``bursts``) or as many as there is room for (``full``)
until its standard input ends. Then it writes what it asked for to standard output: JSON, for each command when it was
sent.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import deque
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from random import Random

import msgspec

from grinder.adapters.board import attach_process
from grinder.adapters.bus import Bus
from grinder.adapters.clock import SystemClock
from grinder.model.board import Demand, Heartbeat, Word
from grinder.model.channels import INTENTS
from grinder.model.control import FsmState, Process
from grinder.model.market import BookTop, MarkPrice
from grinder.model.orders import (
    INTENTS_PER_INCARNATION,
    Amend,
    Cancel,
    OrderId,
    OrderKind,
    Place,
    Side,
    TimeInForce,
    format_order_id,
)
from grinder.model.reasons import PlanReason
from grinder.model.units import BPS, NS_PER_MS, NS_PER_S, ZERO
from grinder.ports import Clock
from tests.soak.load import PREFIX, SYMBOL, TICK, Unheard, best_prices

PRICES_MS = 250
BEAT_MS = 100
DEADLINE_MS = 500
QTY = Decimal("0.002")
AWAY_BPS = (100, 300)
"""How far from the touch an order is priced: nothing trades, and all of it is within the collar."""

AMEND_AFTER_MS, CANCEL_AFTER_MS, CANCEL_AGAIN_AFTER_MS = 30, 100, 1_500


class Pace(msgspec.Struct, frozen=True):
    """How many commands at once, and how long until the next, milliseconds; each between two bounds.

    ``left``: share of the orders that rest which are neither amended nor cancelled.
    """

    burst: tuple[int, int]
    gap_ms: tuple[int, int]
    rest: float = 0.15
    left: float = 0.0


PACES = {"bursts": Pace((1, 12), (1, 30)), "full": Pace((8, 8), (1, 1))}

Sent = dict[str, int]
"""CLOCK_MONOTONIC right before each command first left, by the venue's name of it and the client order id."""


class Flood:
    """One fsm out of its mind."""

    def __init__(self, run_dir: Path, venue_port: int, random: Random, pace: Pace, clock: Clock | None = None) -> None:
        self._prices_url = f"http://127.0.0.1:{venue_port}/fapi/v1/ticker/bookTicker?symbol={SYMBOL}"
        self._random = random
        self._pace = pace
        self._clock = clock or SystemClock()
        self._incarnation = time.time_ns() // NS_PER_S
        self._fsm = attach_process(run_dir, Process.FSM, (SYMBOL,))
        self._feed = attach_process(run_dir, Process.FEED, (SYMBOL,))
        self._fsm.write(Word.FSM_STATE, list(FsmState).index(FsmState.ACTIVE) + 1)
        self._fsm.write(Word.RISK_DEMAND, int(Demand.LOOKED))
        bus = Bus(
            run_dir=run_dir,
            process=Process.FSM,
            incarnation=self._incarnation,
            term=lambda: self._fsm.read(Word.TERM),
            clock=self._clock,
            telemetry=Unheard(),
        )
        self._intents = bus.publisher(INTENTS)
        self._book: BookTop | None = None
        self._prices_due_ns = self._beat_due_ns = 0
        self._number = 0
        self._to_amend: deque[tuple[int, Place]] = deque()
        self._to_cancel: deque[tuple[int, Place]] = deque()
        self._to_cancel_again: deque[tuple[int, Place]] = deque()
        self.sent: Sent = {}

    def run(self) -> None:
        """Go on until standard input ends."""
        while True:
            if select.select([0], [], [], self._random.randint(*self._pace.gap_ms) / 1_000)[0]:
                return
            self._look_around()
            if self._book is not None:
                for _ in range(self._random.randint(*self._pace.burst)):
                    self._ask(self._book)

    def _look_around(self) -> None:
        now = self._clock.mono_ns()
        if now >= self._beat_due_ns:
            self._beat_due_ns = now + BEAT_MS * NS_PER_MS
            self._beat(now)
        if now >= self._prices_due_ns:
            self._prices_due_ns = now + PRICES_MS * NS_PER_MS
            self._read_prices()

    def _beat(self, now: int) -> None:
        self._fsm.beat(self._heartbeat(Process.FSM, now))

    def _heartbeat(self, process: Process, now: int) -> Heartbeat:
        return Heartbeat(process, os.getpid(), self._incarnation, now, now, True, "", {}, "")

    def _read_prices(self) -> None:
        book = best_prices(self._prices_url, self._clock)
        if book is None:
            return
        self._book = book
        self._feed.publish_book(book)
        price = book.bid_price
        self._feed.publish_mark(MarkPrice(SYMBOL, price, price, ZERO, 0, book.recv_utc_ms, book.recv_mono_ns))

    def _ask(self, book: BookTop) -> None:
        """Send one command: what is due to an order that may rest, else a new one."""
        now = self._clock.mono_ns()
        if self._to_amend and self._to_amend[0][0] <= now:
            self._amend(self._to_amend.popleft()[1])
        elif self._to_cancel and self._to_cancel[0][0] <= now:
            place = self._to_cancel.popleft()[1]
            self._cancel(place)
            self._to_cancel_again.append((now + CANCEL_AGAIN_AFTER_MS * NS_PER_MS, place))
        elif self._to_cancel_again and self._to_cancel_again[0][0] <= now:
            self._cancel(self._to_cancel_again.popleft()[1])
        else:
            draw = self._random.random()
            self._place(book, rests=draw < self._pace.rest, reduces=draw > 0.95)

    def _place(self, book: BookTop, *, rests: bool, reduces: bool) -> None:
        self._number += 1
        side = self._random.choice([Side.BUY, Side.SELL])
        level = "t1" if reduces else f"{'b' if side is Side.BUY else 's'}1"
        sequence = self._incarnation * INTENTS_PER_INCARNATION + self._number
        now = self._clock.mono_ns()
        place = Place(
            format_order_id(OrderId(PREFIX, self._fsm.read(Word.TERM), sequence, level)),
            SYMBOL,
            side,
            self._price(book, side),
            QTY,
            TimeInForce.GTX if rests else TimeInForce.IOC,
            reduces,
            OrderKind.TAKE_PROFIT if reduces else OrderKind.GRID,
            PlanReason.GRID_FILL,
            now + DEADLINE_MS * NS_PER_MS,
            now,
        )
        if self._send("order.place", place) and rests and self._random.random() >= self._pace.left:
            self._to_amend.append((now + AMEND_AFTER_MS * NS_PER_MS, place))
            self._to_cancel.append((now + CANCEL_AFTER_MS * NS_PER_MS, place))

    def _amend(self, place: Place) -> None:
        now = self._clock.mono_ns()
        deadline = now + DEADLINE_MS * NS_PER_MS
        name, reason = place.client_order_id, PlanReason.GRID_SHIFT
        self._send("order.modify", Amend(name, SYMBOL, place.side, place.price, 2 * QTY, reason, deadline, now))

    def _cancel(self, place: Place) -> None:
        now = self._clock.mono_ns()
        cancel = Cancel(place.client_order_id, SYMBOL, PlanReason.GRID_TRIM, now + DEADLINE_MS * NS_PER_MS, now)
        self._send("order.cancel", cancel)

    def _send(self, operation: str, intent: Place | Amend | Cancel) -> bool:
        before_ns = self._clock.mono_ns()
        if not self._intents.send(intent):
            return False
        self.sent.setdefault(f"{operation} {intent.client_order_id}", before_ns)
        return True

    def _price(self, book: BookTop, side: Side) -> Decimal:
        away = Decimal(self._random.randint(*AWAY_BPS)) / BPS
        price = book.bid_price * (1 - away) if side is Side.BUY else book.ask_price * (1 + away)
        return (price / TICK).quantize(Decimal(1), ROUND_DOWN) * TICK


def main(run_dir: str, venue_port: str, seed: str, pace: str) -> None:
    flood = Flood(Path(run_dir), int(venue_port), Random(int(seed)), PACES[pace])
    flood.run()
    sys.stdout.buffer.write(msgspec.json.encode(flood.sent))


if __name__ == "__main__":
    main(*sys.argv[1:5])

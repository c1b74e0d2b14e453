"""Plays fsm and feed for a real executor and syncer: prices and words on the real board, intents on the real socket.

It trades like a grid in a hurry: entries near the touch, reduce-only orders against what is held, amends and cancels of
anything that lives or may live. It keeps what it asked for and what it was told; the checks compare both with the
venue.
"""

from __future__ import annotations

import http.client
import time
from collections import OrderedDict
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from random import Random
from urllib.request import urlopen

import msgspec

from grinder.adapters.board import attach_process
from grinder.adapters.bus import Bus
from grinder.adapters.clock import SystemClock
from grinder.core.sequence import Gap
from grinder.model.account import AccountState
from grinder.model.board import Heartbeat, Word
from grinder.model.channels import ACCOUNT, INTENTS, ORDERS
from grinder.model.control import FsmState, Process
from grinder.model.frames import Frame
from grinder.model.market import BookTop, MarkPrice
from grinder.model.orders import (
    INTENTS_PER_INCARNATION,
    TERMINAL,
    Amend,
    Cancel,
    Fill,
    OrderId,
    OrderKind,
    OrdersSnapshot,
    OrderState,
    OrderUpdate,
    Place,
    ResyncOrders,
    Side,
    TimeInForce,
    format_order_id,
)
from grinder.model.reasons import PlanReason
from grinder.model.units import BPS, NS_PER_MS, ZERO
from grinder.ports import Clock
from tests.smoke.venues import VenueView

SYMBOL = "BTCUSDT"
ENTRY_QTY = Decimal("0.008")
REDUCING_QTY = Decimal("0.001")
"""Small against what one entry brings, so that many reduce-only orders fit into a position."""

TICK = Decimal("0.1")
RESTING = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)
PREFIX = "grd"
PRICES_MS = 200
PRICES_S_MAX = 1.0
BEAT_MS = 100
INTENT_MS = 25
DEADLINE_MS = 500
RESTING_MAX = 14
DISTANCE_BPS = (-1, 12)
"""How far from the touch an order is priced; below 0 it trades at once."""

INTENTS_KEPT = 400
"""Latest placements that amends and cancels choose from, also those that never lived."""


def best_prices(url: str, clock: Clock) -> BookTop | None:
    """Return the venue's best prices, or None where it does not answer."""
    try:
        with urlopen(url, timeout=PRICES_S_MAX) as answer:
            ticker = msgspec.json.decode(answer.read())
    except (OSError, http.client.HTTPException):
        return None
    now, utc_ms = clock.mono_ns(), clock.utc_ms()
    bid, ask = Decimal(ticker["bidPrice"]), Decimal(ticker["askPrice"])
    return BookTop(SYMBOL, bid, Decimal(1), ask, Decimal(1), ticker["lastUpdateId"], utc_ms, now, utc_ms)


class Unheard:
    """Implements ports.Telemetry for who need not be measured."""

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        pass

    def gauge(self, name: str, value: float, *labels: str) -> None:
        pass

    def observe(self, name: str, value: float, *labels: str) -> None:
        pass


class Load:
    """One fsm. ``step`` is called all the time by whoever drives the rig."""

    def __init__(self, run_dir: Path, venue: VenueView, random: Random) -> None:
        self._prices_url = f"http://127.0.0.1:{venue.port}/fapi/v1/ticker/bookTicker?symbol={SYMBOL}"
        self._random = random
        self._clock = SystemClock()
        self.incarnation = time.time_ns() // 1_000_000_000
        self._fsm = attach_process(run_dir, Process.FSM, (SYMBOL,))
        self._feed = attach_process(run_dir, Process.FEED, (SYMBOL,))
        self._bus = Bus(
            run_dir=run_dir,
            process=Process.FSM,
            incarnation=self.incarnation,
            term=lambda: 0,
            clock=self._clock,
            telemetry=Unheard(),
        )
        self._intents = self._bus.publisher(INTENTS)
        self._receiver = self._bus.receiver(ORDERS, ACCOUNT)
        self._due_ms = {"prices": 0, "beat": 0, "intent": 0}
        self._number = 0
        self._recent: OrderedDict[str, Place] = OrderedDict()
        self.asked: set[str] = set()
        self.sent = {"place": 0, "amend": 0, "cancel": 0}
        self.live: dict[str, OrderUpdate] = {}
        self.filled: dict[str, Decimal] = {}
        self.snapshot: OrdersSnapshot | None = None
        self.account: AccountState | None = None
        self.book: BookTop | None = None
        self.trading = True

    def step(self) -> None:
        """Do what is due: read, beat, look at prices, ask for something."""
        self._read()
        if self._due("beat", BEAT_MS):
            self._beat()
        if self._due("prices", PRICES_MS):
            self._read_prices()
        if self.trading and self.book is not None and self._due("intent", INTENT_MS):
            self._ask(self.book)

    def close(self) -> None:
        """Give sockets and board back."""
        self._bus.close()
        self._fsm.close()
        self._feed.close()

    def resync(self) -> None:
        """Ask for the whole list of orders."""
        self._intents.send(ResyncOrders(self._clock.mono_ns()))

    def _due(self, what: str, period_ms: int) -> bool:
        now_ms = self._clock.mono_ns() // NS_PER_MS
        if now_ms < self._due_ms[what]:
            return False
        self._due_ms[what] = now_ms + period_ms
        return True

    def _beat(self) -> None:
        now = self._clock.mono_ns()
        self._fsm.write(Word.FSM_STATE, list(FsmState).index(FsmState.ACTIVE) + 1)
        self._fsm.beat(Heartbeat(Process.FSM, 0, self.incarnation, now, now, True, "", {}, ""))

    def _read_prices(self) -> None:
        """Put the venue's best prices, and their middle as the mark, on the board as the feed does."""
        book = best_prices(self._prices_url, self._clock)
        if book is None:
            return
        self.book = book
        self._feed.publish_book(book)
        price = (book.bid_price + book.ask_price) / 2
        self._feed.publish_mark(MarkPrice(SYMBOL, price, price, ZERO, 0, book.recv_utc_ms, book.recv_mono_ns))

    def _read(self) -> None:
        for arrival in self._receiver.drain():
            if not isinstance(arrival, Gap):
                self._take(arrival.frame)

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, OrdersSnapshot):
            self.snapshot = frame
            self.live = {update.client_order_id: update for update in frame.orders}
        elif isinstance(frame, OrderUpdate):
            if frame.state in TERMINAL:
                self.live.pop(frame.client_order_id, None)
            else:
                self.live[frame.client_order_id] = frame
        elif isinstance(frame, Fill):
            self.filled[frame.client_order_id] = self.filled.get(frame.client_order_id, ZERO) + frame.qty
        elif isinstance(frame, AccountState):
            self.account = frame

    def _ask(self, book: BookTop) -> None:
        """Send one intent: an order where there are few, else mostly something about one that is there."""
        random = self._random
        resting = sum(1 for order in self.live.values() if order.state in RESTING)
        if resting < RESTING_MAX and random.random() < 0.6:
            self._place(book)
            return
        names = [*self.live, *list(self._recent)[-3:]]
        if names:
            name = random.choice(names)
            if random.random() < 0.5:
                self._amend(book, name)
            else:
                self._cancel(name)

    def _place(self, book: BookTop) -> None:
        held = self.account.positions[0].qty if self.account is not None and self.account.positions else ZERO
        ready = self.snapshot is not None and self.snapshot.ready
        reduces = held != ZERO and self._random.random() < (0.4 if ready else 0.9)
        side = (Side.SELL if held > ZERO else Side.BUY) if reduces else self._random.choice([Side.BUY, Side.SELL])
        self._number += 1
        level = "t1" if reduces else f"{'b' if side is Side.BUY else 's'}{self._random.randint(1, 9)}"
        sequence = self.incarnation * INTENTS_PER_INCARNATION + self._number
        now = self._clock.mono_ns()
        place = Place(
            format_order_id(OrderId(PREFIX, 0, sequence, level)),
            SYMBOL,
            side,
            self._price(book, side),
            REDUCING_QTY if reduces else ENTRY_QTY,
            TimeInForce.GTC if self._random.random() < 0.4 else TimeInForce.GTX,
            reduces,
            OrderKind.TAKE_PROFIT if reduces else OrderKind.GRID,
            PlanReason.GRID_FILL,
            now + DEADLINE_MS * NS_PER_MS,
            now,
        )
        if self._intents.send(place):
            self.sent["place"] += 1
            self.asked.add(place.client_order_id)
            self._recent[place.client_order_id] = place
            if len(self._recent) > INTENTS_KEPT:
                self._recent.popitem(last=False)

    def _amend(self, book: BookTop, name: str) -> None:
        known = self.live.get(name) or self._recent.get(name)
        if known is None:
            return
        side = known.side
        now = self._clock.mono_ns()
        deadline = now + DEADLINE_MS * NS_PER_MS
        qty = (REDUCING_QTY if known.reduce_only else ENTRY_QTY) * self._random.randint(1, 2)
        amend = Amend(name, SYMBOL, side, self._price(book, side), qty, PlanReason.GRID_SHIFT, deadline, now)
        self.sent["amend"] += self._intents.send(amend)

    def _cancel(self, name: str) -> None:
        now = self._clock.mono_ns()
        cancel = Cancel(name, SYMBOL, PlanReason.GRID_TRIM, now + DEADLINE_MS * NS_PER_MS, now)
        self.sent["cancel"] += self._intents.send(cancel)

    def _price(self, book: BookTop, side: Side) -> Decimal:
        """Return a price some basis points away from the touch, down to a tick."""
        away = Decimal(self._random.randint(*DISTANCE_BPS)) / BPS
        price = book.bid_price * (1 - away) if side is Side.BUY else book.ask_price * (1 + away)
        return (price / TICK).quantize(Decimal(1), ROUND_DOWN) * TICK

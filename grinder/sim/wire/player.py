"""Plays a tape in real time: tops and trades go out on the streams first, then to the matching; depth after it.

Owns pace and stamps: E and T are the moment of sending. Where the tape has no mark price, the middle of the book is
sent once a second. When the tape ends, everything stops.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.orders import Side
from grinder.model.units import NS_PER_S, ZERO
from grinder.sim.exchange.funding import next_funding_utc_ms
from grinder.sim.exchange.market import FUNDING_RATE
from grinder.sim.exchange.market_history import PublicTrade
from grinder.sim.market.tape import Depth, Mark, Snapshot, Tape, TapeEvent, Top, Trade
from grinder.sim.market.upstream import UpstreamTape
from grinder.sim.wire.context import Context
from grinder.sim.wire.depth_feed import DepthFeed
from grinder.sim.wire.slow_feed import SlowFeed

BUSY_NS_MAX: Final = 1_000_000
"""Longest that events are played without letting requests in, nanoseconds."""

SLEEP_S_MAX: Final = 0.1
"""Longest sleep before speed and hold are looked at again, seconds."""

MARK_PERIOD_S: Final = 1.0
MARK_TURNS: Final = 3
"""Streams without ``@1s`` in their name send every third mark price."""

ALL_MARKS: Final = "!markPrice@arr"
BOOK_TICKER: Final = "bookTicker"
LISTENER_PERIOD_S: Final = 0.01
"""How often a tape that awaits a listener looks for one, seconds."""

MARK_RECENT_NS: Final = 1_500_000_000
"""Age of the tape's own mark price at which one is derived."""


class Progress(msgspec.Struct):
    """How far the tape is, for ground truth."""

    events: int = 0
    tape_ns: int = 0
    started: bool = False
    ended: bool = False
    late_ns_max: int = 0


class Player:
    """One tape at one speed."""

    def __init__(self, tape: Tape | UpstreamTape, context: Context, speed: float, *, await_listener: bool) -> None:
        """Keep what is needed. ``await_listener``: begin only when somebody listens to best prices."""
        assert speed > 0
        self._await_listener = await_listener
        self._tape = tape
        self._context = context
        self._venue = context.venue
        self._hub = context.hub
        self._clock = context.clock
        self._speed = speed
        self._depth_feed = DepthFeed(context)
        self._slow_feed = SlowFeed(context)
        self._mark_seen_ns: dict[str, int] = {}
        self._marks: dict[str, bytes] = {}
        self._mark_turn = 0
        self.progress = Progress()
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._anchor_mono_ns = 0
        self._anchor_tape_ns = 0
        self._busy_since_ns = 0

    @property
    def speed(self) -> float:
        """How many seconds of tape pass in one second."""
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Play on at another speed; 0 holds the tape."""
        if speed <= 0:
            self._resumed.clear()
            return
        self._speed = speed
        self._anchor()
        self._resumed.set()

    async def run(self) -> None:
        """Play to the end of the tape."""
        loop = asyncio.get_running_loop()
        clocked = [loop.create_task(self._send_marks()), loop.create_task(self._slow_feed.run())]
        try:
            await self._play()
        finally:
            for task in clocked:
                task.cancel()

    async def _play(self) -> None:
        clock, progress = self._clock, self.progress
        while self._await_listener and not self._hub.has_listener(BOOK_TICKER):
            await asyncio.sleep(LISTENER_PERIOD_S)
        progress.started = True
        self._anchor()
        self._busy_since_ns = clock.mono_ns()
        if isinstance(self._tape, UpstreamTape):
            await self._relay(self._tape)
            return
        for event in self._tape.events():
            late_ns = await self._until_due(event.due_ns)
            progress.late_ns_max = max(progress.late_ns_max, late_ns)
            progress.tape_ns = event.due_ns
            progress.events += 1
            self.apply(event)
        progress.ended = True

    async def _relay(self, tape: UpstreamTape) -> None:
        """Play a live market as it comes; what comes while the tape is held is lost."""
        async for event in tape.live():
            if self._resumed.is_set():
                self.progress.events += 1
                self.apply(event)
            if self._clock.mono_ns() - self._busy_since_ns > BUSY_NS_MAX:
                await asyncio.sleep(0)
                self._busy_since_ns = self._clock.mono_ns()

    async def _until_due(self, due_ns: int) -> int:
        """Wait for a moment of the tape, at the speed of the time; return how late it is, nanoseconds."""
        while True:
            if not self._resumed.is_set():
                await self._resumed.wait()
            now = self._clock.mono_ns()
            wait_ns = self._anchor_mono_ns + int((due_ns - self._anchor_tape_ns) / self._speed) - now
            if wait_ns <= BUSY_NS_MAX and now - self._busy_since_ns <= BUSY_NS_MAX:
                return max(0, -wait_ns)
            await asyncio.sleep(min(max(0, wait_ns) / NS_PER_S, SLEEP_S_MAX))
            self._busy_since_ns = self._clock.mono_ns()

    def apply(self, event: TapeEvent) -> None:
        """Send one event and let the matching act on it."""
        if isinstance(event, Top):
            self._on_top(event)
        elif isinstance(event, Trade):
            self._on_trade(event)
        elif isinstance(event, Depth):
            self._on_depth(event)
        elif isinstance(event, Mark):
            self._on_mark(event)
        else:
            assert isinstance(event, Snapshot)
            tape = self._venue.exchange.market(event.symbol).tape
            tape.on_snapshot(event.bids, event.asks, event.update_id)
        self._context.flush()

    def _anchor(self) -> None:
        self._anchor_mono_ns, self._anchor_tape_ns = self._clock.mono_ns(), self.progress.tape_ns

    def _on_top(self, event: Top) -> None:
        now = self._clock.utc_ms()
        payload = (
            f'{{"e":"bookTicker","u":{event.update_id},"s":"{event.symbol}","ps":"{event.symbol}","b":"{event.bid}",'
            f'"B":"{event.bid_qty}","a":"{event.ask}","A":"{event.ask_qty}","T":{now},"E":{now},"st":1}}'
        ).encode()
        self._venue.truth.on_tick(self._clock.mono_ns(), event.symbol, event.update_id, event.bid, event.ask)
        self._hub.publish(f"{event.symbol.lower()}@bookTicker", payload)
        self._hub.publish("!bookTicker", payload)
        bid, ask = (Decimal(event.bid), Decimal(event.bid_qty)), (Decimal(event.ask), Decimal(event.ask_qty))
        self._venue.exchange.on_top(event.symbol, bid, ask, event.update_id, now)

    def _on_trade(self, event: Trade) -> None:
        now = self._clock.utc_ms()
        symbol, maker = event.symbol, "true" if event.buyer_is_maker else "false"
        head = f'"E":{now},"T":{now},"s":"{symbol}","ps":"{symbol}"'
        tail = f'"p":"{event.price}","q":"{event.qty}","m":{maker},"st":1}}'
        if not event.aggregate:
            kind = f'"t":{event.trade_id},"X":"{event.kind}"'
            self._hub.publish(f"{symbol.lower()}@trade", f'{{"e":"trade",{head},{kind},{tail}'.encode())
        if event.kind != "MARKET":
            return
        ids = f'"a":{event.trade_id},"f":{event.trade_id},"l":{event.trade_id},"nq":"{event.qty}"'
        self._hub.publish(f"{symbol.lower()}@aggTrade", f'{{"e":"aggTrade",{head},{ids},{tail}'.encode())
        trade = PublicTrade(event.trade_id, event.price, event.qty, now, event.buyer_is_maker)
        self._venue.history_of(symbol).on_trade(trade)
        aggressor = Side.SELL if event.buyer_is_maker else Side.BUY
        self._venue.exchange.on_trade(symbol, Decimal(event.price), Decimal(event.qty), aggressor, now)

    def _on_depth(self, event: Depth) -> None:
        self._venue.exchange.on_depth(event.symbol, event.bids, event.asks, event.last_id)
        self._depth_feed.on_depth(event)

    def _on_mark(self, event: Mark) -> None:
        self._mark_seen_ns[event.symbol] = self._clock.mono_ns()
        self._send_mark(event)

    def _send_mark(self, event: Mark) -> None:
        now = self._clock.utc_ms()
        payload = (
            f'{{"e":"markPriceUpdate","E":{now},"s":"{event.symbol}","ps":"{event.symbol}","p":"{event.mark}",'
            f'"ap":"{event.mark}","P":"{event.settle}","i":"{event.index}","r":"{event.funding}",'
            f'"T":{event.next_funding_utc_ms},"st":1}}'
        ).encode()
        name = f"{event.symbol.lower()}@markPrice"
        self._marks[event.symbol] = payload
        self._hub.publish(f"{name}@1s", payload)
        if self._mark_turn % MARK_TURNS == 0:
            self._hub.publish(name, payload)
        prices = Decimal(event.mark), Decimal(event.index), Decimal(event.funding or 0)
        self._venue.note_prices(event.symbol, prices[0], prices[1], now)
        self._venue.exchange.on_mark(event.symbol, prices[0], index=prices[1], rate=prices[2], now=now)

    async def _send_marks(self) -> None:
        """Once a second, send a mark price for every symbol whose tape sent none."""
        while True:
            await asyncio.sleep(MARK_PERIOD_S)
            self._mark_turn += 1
            if not self._resumed.is_set():
                continue
            mono_ns, now = self._clock.mono_ns(), self._clock.utc_ms()
            for symbol, market in self._venue.exchange.markets.items():
                recent = mono_ns - self._mark_seen_ns.get(symbol, -MARK_RECENT_NS) < MARK_RECENT_NS
                if recent or market.tape.mid <= ZERO:
                    continue
                mid = f"{market.tape.mid:.8f}"
                self._send_mark(Mark(0, symbol, mid, mid, mid, f"{FUNDING_RATE:f}", next_funding_utc_ms(now)))
            self._send_all_marks()

    def _send_all_marks(self) -> None:
        """Send the newest mark prices of all symbols, every second and every third second."""
        names = [f"{ALL_MARKS}@1s"] + ([ALL_MARKS] if self._mark_turn % MARK_TURNS == 0 else [])
        if self._marks and any(self._hub.wanted(name) for name in names):
            payload = b"[" + b",".join(self._marks.values()) + b"]"
            for name in names:
                self._hub.publish(name, payload)

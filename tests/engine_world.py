"""A small world around ``engine.step``: its events come from a venue model, its effects go there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from grinder.core import engine
from grinder.core.engine_state import EngineConfig
from grinder.core.events import (
    Blocked,
    Control,
    Effect,
    Event,
    InputFrame,
    Moved,
    Received,
    Send,
    Timer,
    Trip,
    Unsent,
)
from grinder.core.planner import PlannerConfig
from grinder.core.situation import GuardLimits
from grinder.model.control import FsmState, Override, TradingMode
from grinder.model.instrument import Instrument
from grinder.model.market import BookTop
from tests.venue_model import MS, START_NS, WALLET, Holding, VenueModel, instrument

__all__ = ["MS", "START_NS", "WALLET", "Holding", "World", "config", "instrument"]

D = Decimal


def config(
    sizes: dict[str, Decimal] | None = None, *, guards: dict[str, object] | None = None, **changes: object
) -> EngineConfig:
    """A permissive configuration; keywords replace fields of the engine's, ``planner_*`` those of the planner's."""
    sizes = {"BTCUSDT": D("0.002")} if sizes is None else sizes
    planner = {name.removeprefix("planner_"): value for name, value in changes.items() if name.startswith("planner_")}
    own = {name: value for name, value in changes.items() if not name.startswith("planner_")}
    limits: dict[str, object] = {
        "armed": True,
        "mode": TradingMode.PAPER,
        "symbols": frozenset(sizes),
        "max_notional_per_order": D(1_000),
        "max_orders_per_run": 1_000_000,
        **(guards or {}),
    }
    return EngineConfig(
        symbols=tuple(sizes),
        planner=PlannerConfig(size_per_level=sizes, **planner),  # type: ignore[arg-type]
        guards=GuardLimits(**limits),  # type: ignore[arg-type]
        incarnation=7,
        **own,  # type: ignore[arg-type]
    )


class World(VenueModel):
    """Engine, executor and venue. Feed it books with ``book``; it advances its clock to each event's time."""

    def __init__(
        self,
        config: EngineConfig,
        instruments: tuple[Instrument, ...] = (),
        *,
        latency_ms: float = 3.0,
        account_lag_ms: int = 0,
        intent_queue_free: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(
            instruments or tuple(map(instrument, config.symbols)),
            incarnation=config.incarnation,
            latency_ms=latency_ms,
            account_lag_ms=account_lag_ms,
        )
        self.config = config
        self.intent_queue_free = intent_queue_free
        self.state = engine.initial_state(config, self.now_ns)
        self.events: list[Event] = []
        self.decisions: list[tuple[Effect, ...]] = []
        self.effects: list[Effect] = []
        self.blocked: Counter[str] = Counter()
        self.frames_dropped: Callable[[InputFrame], bool] = lambda frame: False
        self.tripped = False
        self.override = Override.NONE
        self.resumes = 0
        self.term = config.term
        self.control()
        self._every(50, lambda: self.step(Timer(self.now_ns, self.utc_ms(self.now_ns))))

    def book(self, book: BookTop) -> None:
        """Advance to the book's receive time, let the venue trade against it, and hand it to the engine."""
        self.run_to(book.recv_mono_ns)
        self.tops[book.symbol] = book
        self.match(book)
        self.give(book)

    def mid(self, symbol: str, mid: Decimal, spread: str = "0.10", after_ms: float = 10.0) -> None:
        """Hand over a book around ``mid``, ``after_ms`` from now."""
        half = D(spread) / 2
        tick = self.instruments[symbol].tick_size
        bid = (mid - half) // tick * tick
        at_ns = self.now_ns + int(after_ms * MS)
        self.book(
            BookTop(symbol, bid, D(1), bid + D(spread), D(1), next(self._tick_numbers), 0, at_ns, self.utc_ms(at_ns))
        )

    def calm(self, seconds: float = 10.0, mids: dict[str, Decimal] | None = None) -> None:
        """Tick at unchanged mids for a while."""
        mids = mids or {symbol: D(60_000) for symbol in self.config.symbols}
        end_ns = self.now_ns + int(seconds * 1_000) * MS
        while self.now_ns < end_ns:
            for symbol, mid in mids.items():
                self.mid(symbol, mid, after_ms=100 / len(mids))

    def control(self) -> None:
        """Tell the engine what the board says."""
        self.step(Control(self.now_ns, self.tripped, True, self.override, self.resumes, self.ready, self.term))

    def give(self, frame: InputFrame) -> None:
        if not self.frames_dropped(frame):
            self.step(Received(self.now_ns, frame))

    def step(self, event: Event) -> None:
        self.decide(event)
        for _ in range(1_000):
            if not engine.wants_more(self.state):
                return
            self.decide(Timer(self.now_ns))
        raise AssertionError("a round never ends")

    def decide(self, event: Event) -> None:
        self.state, effects = engine.step(self.state, event)
        self.events.append(event)
        self.decisions.append(effects)
        self.effects.extend(effects)
        unsent = 0
        tripped = False
        for effect in effects:
            if isinstance(effect, Send):
                if unsent or not self.intent_queue_free():
                    unsent += 1
                    continue
                self.send(effect.frame)
            elif isinstance(effect, Blocked):
                self.blocked.update(effect.reasons)
            elif isinstance(effect, Trip):
                tripped = self.tripped = True
        if unsent:
            self.decide(Unsent(self.now_ns, unsent))
        if tripped:
            self.control()

    @property
    def fsm_state(self) -> FsmState:
        return self.state.fsm.state

    def transitions(self) -> list[str]:
        moves = [effect.transition for effect in self.effects if isinstance(effect, Moved)]
        return [f"{move.from_state} -> {move.to_state} {move.reason}" for move in moves]

"""Random operations on one account while everything goes wrong, from one seed; the truth is compared as they run."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from random import Random

from grinder.model.orders import OrderUpdate, Side, TimeInForce
from tests.order_wire import SimulatedWire, Trouble, often
from tests.order_world import SYMBOL, TICK, OrderWorld

D = Decimal
ROUND_OPERATIONS = 500
LIVE_MAX = 40
TICKS_FROM_START_MAX = 20_000

FAULTS = (
    "drop_before",
    "drop_after",
    "silence_before",
    "silence_after",
    "reset_in_middle",
    "garbage",
    "garbage_not_executed",
    "unreadable",
    "timeout_executed",
    "timeout_not_executed",
    "overloaded",
    "overloaded_executed",
    "internal",
    "internal_executed",
    "unknown",
    "unknown_executed",
    "unavailable",
    "too_many_requests",
)
STEPS = ("", "before_journal", "after_journal", "before_wire", "after_wire")

WEIGHTS = {
    "place": 30,
    "reduce": 8,
    "amend": 13,
    "cancel": 14,
    "move": 8,
    "trade": 12,
    "cancel_by_hand": 1,
    "trade_by_hand": 1,
    "faults": 2,
    "stream": 1,
    "replay": 4,
    "kill": 1,
    "checkpoint": 1,
    "wait": 4,
}


class Storm:
    """Runs operations in rounds; every round ends in quiet and a comparison."""

    def __init__(self, seed: int, wire: type[SimulatedWire] = SimulatedWire) -> None:
        self.seed = seed
        self.world = OrderWorld(seed, wire)
        self.random = Random(seed + 1)
        self.done: Counter[str] = Counter()
        self.compared = 0
        self._kinds = list(WEIGHTS)
        self._weights = list(WEIGHTS.values())
        self.world.run(2_000)

    def run(self, operations: int) -> None:
        """Do that many operations."""
        left = operations
        while left > 0:
            self._trouble()
            for _ in range(min(left, ROUND_OPERATIONS)):
                (kind,) = self.random.choices(self._kinds, self._weights)
                self.done[kind] += 1
                getattr(self, f"_{kind}")()
                if self.random.random() < 0.7:
                    self.world.run(self.random.choice((1, 10, 60, 150)))
            left -= ROUND_OPERATIONS
            self.world.settle()
            self.compared += self.world.agree()

    def _live(self) -> OrderUpdate | None:
        orders = list(self.world.believed.values())
        return self.random.choice(orders) if orders else None

    def _price(self, side: Side) -> Decimal:
        """Return a price near the best, sometimes across it."""
        tape = self.world.core.exchange.markets[SYMBOL].tape
        away = self.random.choice((-2, 0, 0, 1, 2, 5, 20, 200)) * TICK
        return tape.bid - away if side is Side.BUY else tape.ask + away

    def _qty(self) -> Decimal:
        return D(self.random.randint(2, 40)) / 1_000

    def _place(self) -> None:
        if len(self.world.believed) > LIVE_MAX:
            return self._cancel()
        side = self.random.choice((Side.BUY, Side.SELL))
        tif = self.random.choice((TimeInForce.GTX, TimeInForce.GTX, TimeInForce.GTC, TimeInForce.IOC))
        self.world.place(side, self._price(side), self._qty(), tif)
        return None

    def _reduce(self) -> None:
        side = Side.SELL if self.world.core.held() > 0 else Side.BUY
        self.world.place(side, self._price(side), self._qty(), TimeInForce.GTC, reduce_only=True)

    def _amend(self) -> None:
        order = self._live()
        if order is not None:
            qty = self.random.choice((order.qty, order.qty + D("0.003"), max(D("0.002"), order.qty - D("0.002"))))
            self.world.amend(order, self._price(order.side), qty)

    def _cancel(self) -> None:
        order = self._live()
        if order is not None:
            self.world.cancel(order.client_order_id)

    def _move(self) -> None:
        tape = self.world.core.exchange.markets[SYMBOL].tape
        away = (tape.bid - D(60_000)) / TICK
        ticks = self.random.randint(-30, 30)
        self.world.move(-abs(ticks) if away > TICKS_FROM_START_MAX else abs(ticks) if -away > 20_000 else ticks)

    def _trade(self) -> None:
        side = self.random.choice((Side.BUY, Side.SELL))
        self.world.trade(side, f"{self.random.randint(1, 9_000) / 1_000:.3f}", self.random.choice((0, 0, 0, 1, 3)))

    def _cancel_by_hand(self) -> None:
        order = self._live()
        if order is not None:
            self.world.cancel_by_hand(order.client_order_id)

    def _trade_by_hand(self) -> None:
        self.world.trade_by_hand(self.random.choice((Side.BUY, Side.SELL)), str(self._qty()))

    def _faults(self) -> None:
        self.world.core.venue.faults.clear()
        if self.random.random() < 0.6:
            self._trouble()

    def _stream(self) -> None:
        wire = self.world.wire
        if wire.streaming:
            self.world.guarded(wire.drop_stream)
            wire.later(self.random.choice((50, 1_000, 8_000)), wire.raise_stream)

    def _replay(self) -> None:
        self.world.wire.replay()

    def _kill(self) -> None:
        self.world.crash(self.random.choice(STEPS))
        if self.random.random() < 0.7:
            self.world.run(10_000, 250)

    def _checkpoint(self) -> None:
        self.world.journal.wants_checkpoint = True

    def _wait(self) -> None:
        self.world.run(self.random.choice((200, 800, 3_000)))

    def _trouble(self) -> None:
        """Choose what goes wrong from now on."""
        choose = self.random.choice
        self.world.wire.trouble = Trouble(
            travel_ms=choose((2, 20, 200)),
            late=choose((0.0, 0.01, 0.05)),
            not_sent=choose((0.0, 0.02)),
            hidden=choose((0.0, 0.3, 1.0)),
            reorder=choose((0.0, 0.05, 0.3)),
            double=choose((0.0, 0.05, 0.3)),
        )
        for _ in range(choose((0, 1, 2, 3))):
            rule = often(choose(FAULTS), choose((0.01, 0.05, 0.2)), choose(("", "order.place", "order.cancel")))
            self.world.core.venue.faults.add(rule)

"""A seeded synthetic market: per symbol a mean-reverting random walk in whole ticks, with trades that hit the levels.

The same seed and symbols give the same tape, byte for byte. Parameters are chosen so that a grid of orders about 10 bps
around the price trades within seconds; they do not claim to be any real market.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Final

import msgspec

from grinder.model.units import BPS, NS_PER_S
from grinder.sim.exchange.rules import SymbolRules
from grinder.sim.market.tape import Depth, Rows, Snapshot, TapeEvent, Top, Trade

LEVEL_GROUPS: Final = ((1, 10), (10, 20), (100, 20))
"""Displayed depth behind the best price: (distance between levels in ticks, number of levels)."""


class SyntheticConfig(msgspec.Struct, frozen=True):
    """Shape of the walk. Rates per second and symbol; money in USDT. ``first_id``: where update and trade ids begin."""

    updates_per_s: float = 30.0
    volatility_bps: float = 4.0
    reversion_per_s: float = 0.01
    noise_trade_share: float = 0.25
    top_notional: float = 100_000.0
    trade_notional: float = 4_000.0
    depth_period_ns: int = 100_000_000
    first_id: int = 1_000_000


class SyntheticTape:
    """Endless events for a set of symbols."""

    def __init__(self, rules: list[SymbolRules], seed: int, config: SyntheticConfig) -> None:
        self._rules = rules
        self._seed = seed
        self._config = config

    @property
    def rules(self) -> list[SymbolRules]:
        """Rules of every symbol on the tape."""
        return self._rules

    def events(self) -> Iterator[TapeEvent]:
        """Yield events of all symbols in tape time, without end."""
        walks = [_Walk(rules, Random(f"{self._seed}:{rules.symbol}"), self._config) for rules in self._rules]
        return heapq.merge(*(walk.events() for walk in walks), key=lambda event: event.due_ns)


class _Walk:
    """One symbol's walk. Prices are counted in ticks and quantities in steps."""

    def __init__(self, rules: SymbolRules, random: Random, config: SyntheticConfig) -> None:
        self._rules = rules
        self._random = random
        self._config = config
        self._base = int(rules.start_price / rules.tick)
        step_value = float(rules.start_price * rules.step)
        self._top_steps = max(10.0, config.top_notional / step_value)
        self._trade_steps = max(1.0, config.trade_notional / step_value)
        self._salt = random.getrandbits(32)
        self._now_ns = 0
        self._offset_bps = 0.0
        self._update_id = self._depth_id = self._trade_id = config.first_id
        self._bid, self._ask = self._base, self._base + 1
        self._bid_steps = self._ask_steps = int(self._top_steps)
        self._levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._tops_since: tuple[set[int], set[int]] = (set(), set())

    def events(self) -> Iterator[TapeEvent]:
        """Yield this symbol's events."""
        yield self._snapshot()
        yield self._top()
        depth_due_ns = self._config.depth_period_ns
        while True:
            self._now_ns += int(self._random.expovariate(self._config.updates_per_s) * NS_PER_S) + 1
            while depth_due_ns <= self._now_ns:
                depth_due_ns += self._config.depth_period_ns
                yield self._depth(depth_due_ns - self._config.depth_period_ns)
            yield from self._move()

    def _move(self) -> Iterator[TapeEvent]:
        """Move the price once: the trades that moved it, then the new top."""
        random, config = self._random, self._config
        elapsed_s = 1.0 / config.updates_per_s
        drift = -config.reversion_per_s * self._offset_bps * elapsed_s
        self._offset_bps += drift + config.volatility_bps * math.sqrt(elapsed_s) * random.gauss(0.0, 1.0)
        middle = self._base + int(self._base * self._offset_bps / float(BPS))
        spread = 1 if random.random() < 0.85 else random.randint(2, 4)
        bid, ask = middle, middle + spread
        if bid < self._bid:
            yield self._trade(self._bid, self._bid_steps, buyer_is_maker=True)
        elif ask > self._ask:
            yield self._trade(self._ask, self._ask_steps, buyer_is_maker=False)
        self._bid, self._ask = bid, ask
        self._bid_steps, self._ask_steps = self._size(self._top_steps), self._size(self._top_steps)
        if random.random() < config.noise_trade_share:
            hits_bid = random.random() < 0.5
            steps = self._size(self._trade_steps)
            if hits_bid:
                steps = min(steps, self._bid_steps - 1)
                self._bid_steps -= steps
            else:
                steps = min(steps, self._ask_steps - 1)
                self._ask_steps -= steps
            if steps > 0:
                yield self._trade(bid if hits_bid else ask, steps, buyer_is_maker=hits_bid)
        self._update_id += 1
        yield self._top()

    def _size(self, typical: float) -> int:
        return max(2, int(typical * self._random.lognormvariate(0.0, 0.8)))

    def _trade(self, ticks: int, steps: int, *, buyer_is_maker: bool) -> Trade:
        self._trade_id += 1
        return Trade(
            due_ns=self._now_ns,
            symbol=self._rules.symbol,
            trade_id=self._trade_id,
            price=self._price(ticks),
            qty=self._qty(steps),
            buyer_is_maker=buyer_is_maker,
        )

    def _top(self) -> Top:
        for tops, ticks in zip(self._tops_since, (self._bid, self._ask), strict=True):
            tops.add(ticks)
        return Top(
            due_ns=self._now_ns,
            symbol=self._rules.symbol,
            update_id=self._update_id,
            bid=self._price(self._bid),
            bid_qty=self._qty(self._bid_steps),
            ask=self._price(self._ask),
            ask_qty=self._qty(self._ask_steps),
        )

    def _wanted_levels(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the levels to display now, ticks to steps; a quantity depends on its price alone, so levels stay."""
        bids, asks = {self._bid: self._bid_steps}, {self._ask: self._ask_steps}
        for distance, count in LEVEL_GROUPS:
            bid = self._bid // distance * distance
            ask = -(-self._ask // distance) * distance
            for number in range(1, count + 1):
                for levels, ticks in ((bids, bid - number * distance), (asks, ask + number * distance)):
                    if ticks > 0:
                        levels.setdefault(ticks, 1 + (ticks * 2_654_435_761 ^ self._salt) % int(self._top_steps))
        return bids, asks

    def _snapshot(self) -> Snapshot:
        self._levels = self._wanted_levels()
        bids, asks = (self._rows(levels) for levels in self._levels)
        return Snapshot(self._now_ns, self._rules.symbol, self._update_id, bids, asks)

    def _depth(self, due_ns: int) -> Depth:
        """Return what any book of the time since the last difference needs to become that of now.

        A snapshot is the levels behind the best prices of its moment: wherever those have been, a level may have been
        missing or been there, so all of these levels are told, whether they differ from the last difference or not.
        """
        wanted = self._wanted_levels()
        rows: list[Rows] = []
        for old, new, tops in zip(self._levels, wanted, self._tops_since, strict=True):
            low, high = (min(tops), max(tops)) if tops else (1, 0)
            changed = {ticks: steps for ticks, steps in new.items() if old.get(ticks) != steps or low <= ticks <= high}
            gone = {ticks: 0 for ticks in [*old, *sorted(tops)] if ticks not in new}
            rows.append(self._rows(changed | gone))
        for tops, ticks in zip(self._tops_since, (self._bid, self._ask), strict=True):
            tops.clear()
            tops.add(ticks)
        self._levels = wanted
        previous, first = self._depth_id, self._depth_id + 1
        self._depth_id = max(self._update_id, first)
        self._update_id = self._depth_id
        return Depth(due_ns, self._rules.symbol, first, self._depth_id, previous, rows[0], rows[1])

    def _rows(self, levels: dict[int, int]) -> Rows:
        return [[self._price(ticks), self._qty(steps)] for ticks, steps in levels.items()]

    def _price(self, ticks: int) -> str:
        return f"{Decimal(ticks) * self._rules.tick:f}"

    def _qty(self, steps: int) -> str:
        return f"{Decimal(steps) * self._rules.step:f}"

"""Plays the transcripts in ``engine/``: a command, dashes, and exactly what the engine answers to it.

``start [name=value ...]`` begins a run on BTCUSDT with three levels of 0.004. ``calm SECONDS [MID]`` ticks at a mid ten
times a second. ``fill LEVEL QTY`` trades a part of a resting order. ``account QTY ENTRY`` changes the position behind
the engine's back. ``override``, ``trip`` and ``resume`` are the operator's. ``orders`` shows what rests at the venue.
The answer is every transition and every intent that left, in order.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from grinder.core.events import Moved, Noted, Send, Trip
from grinder.core.fsm import FsmThresholds
from grinder.model.control import Override
from grinder.model.orders import Amend, Cancel, Place
from tests.engine_world import Holding, World, config
from tests.scenarios.transcript import played

FOLDER = Path(__file__).parent / "engine"
SYMBOL = "BTCUSDT"
D = Decimal


class Play:
    """One world, and how far its effects were shown."""

    def __init__(self) -> None:
        self.world = World(config())
        self.shown = 0
        self.mid = D(60_000)

    def run(self, command: str) -> str:
        name, *words = command.split()
        getattr(self, f"_{name}")(*words)
        if name == "orders":
            return self._table()
        effects, self.shown = self.world.effects[self.shown :], len(self.world.effects)
        return "\n".join(text for effect in effects if (text := self._tell(effect))) or "nothing"

    def _start(self, *words: str) -> None:
        changes: dict[str, object] = {"planner_levels": 3, "thresholds": FsmThresholds(cooldown_ms=5_000)}
        for name, _, value in (word.partition("=") for word in words):
            changes[name] = value == "yes" if value in ("yes", "no") else int(value)
        sizes = {SYMBOL: D("0.004")}
        self.world = World(config(sizes, **changes), account_lag_ms=1_000)

    def _calm(self, seconds: str, mid: str = "") -> None:
        self.mid = D(mid) if mid else self.mid
        self.world.calm(float(seconds), {SYMBOL: self.mid})

    def _silence(self, seconds: str) -> None:
        self.world.run_for(float(seconds) * 1_000)

    def _fill(self, level: str, qty: str) -> None:
        order = next(one for one in self.world.open_orders() if one.place.client_order_id.endswith(f"-{level}"))
        self.world.trade_part(order, D(qty))
        self.world.run_for(40)

    def _account(self, qty: str, entry: str) -> None:
        self.world.holdings[SYMBOL] = Holding(D(qty), D(entry))

    def _override(self, name: str) -> None:
        self.world.override = Override[name]
        self.world.control()
        self.world.run_for(40)

    def _trip(self) -> None:
        self.world.tripped = True
        self.world.control()
        self.world.run_for(40)

    def _resume(self) -> None:
        self.world.resumes += 1
        self.world.control()

    def _orders(self) -> None:
        return

    def _table(self) -> str:
        orders = sorted(self.world.open_orders(), key=lambda order: -order.price)
        rows = [
            f"{order.place.client_order_id.rsplit('-', 1)[1]} {order.place.side} {order.price} {order.qty}"
            + (f" filled {order.filled}" if order.filled else "")
            + (" reduce-only" if order.place.reduce_only else "")
            for order in orders
        ]
        return "\n".join([*rows, f"position {self.world.holdings[SYMBOL].qty}"])

    def _tell(self, effect: object) -> str:
        if isinstance(effect, Moved):
            move = effect.transition
            return f"{move.from_state} -> {move.to_state} {move.reason}"
        if isinstance(effect, Trip):
            return f"trip {effect.reason}"
        if isinstance(effect, Noted):
            return " ".join([effect.name, *(f"{name}={value}" for name, value in effect.fields)])
        if not isinstance(effect, Send) or not isinstance(effect.frame, Place | Amend | Cancel):
            return ""
        frame = effect.frame
        level = frame.client_order_id.rsplit("-", 1)[1]
        what = type(frame).__name__.lower()
        terms = "" if isinstance(frame, Cancel) else f" {frame.side} {frame.price} {frame.qty}"
        return f"{what} {level}{terms} {frame.reason}"


TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript_when_played_then_exactly_what_is_written(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert played(text, Play().run) == text


def test_transcripts_when_listed_then_there_are_some() -> None:
    assert TRANSCRIPTS

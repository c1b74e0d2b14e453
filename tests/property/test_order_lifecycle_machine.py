"""The lifecycle as a state machine: any commands, faults, kills and reports, against the simulated venue and a model.

The model is as dumb as can be: it hears every word of the venue at once, in order and once, and keeps the last. The
executor hears them late, twice, out of order or not at all, asks through faults, and dies in between. Its journal is
the one of production, on a disk; its account follows the venue, a while behind.

Invariants, after every step: no id is placed twice; an order that lives at the venue was not called ended; no more is
counted as filled than was traded; an open order is believed to be at least as large as it is; position and entries stay
within the cap at worst. When all is quiet the executor, the venue and the model agree.
"""

from __future__ import annotations

import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal
from grinder.model.orders import OrderUpdate, Side, TimeInForce
from grinder.model.units import ZERO
from grinder.model.venue import OrderEvent
from grinder.settings import JournalSync
from grinder.sim.exchange.faults import FaultRule
from tests.order_wire import Trouble
from tests.order_world import SYMBOL, TICK, VENUE_WORDS, OrderWorld
from tests.sim.order_storm import FAULTS, STEPS

D = Decimal
MARK_MOVES = D("1.01")
"""What was within the cap stays there; its value moves with the mark price."""

OPEN_WORDS = ("NEW", "PARTIALLY_FILLED")
FAULT = st.one_of(st.none(), st.sampled_from(FAULTS))


class LastWords:
    """What the venue said last of each order, and the position that its trades make."""

    def __init__(self) -> None:
        self.said: dict[str, OrderEvent] = {}
        self.position = ZERO

    def hear(self, event: OrderEvent) -> None:
        self.said[event.client_order_id] = event
        if event.execution == "TRADE" and event.client_order_id.startswith("grd-"):
            self.position += event.last_qty if event.side is Side.BUY else -event.last_qty

    def open(self) -> dict[str, OrderEvent]:
        ours = {name: event for name, event in self.said.items() if name.startswith("grd-")}
        return {name: event for name, event in ours.items() if event.status in OPEN_WORDS}


class Disk:
    """The journal's folder, on the disk of this machine; a kill leaves in it what was written."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(dir="/tmp"))
        self._journal: FileJournal | None = None

    def open(self) -> FileJournal:
        self.close()
        self._journal = FileJournal(self._folder / "journal", JournalSync.NONE, SEGMENT_BYTES_MIN)
        return self._journal

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def remove(self) -> None:
        self.close()
        shutil.rmtree(self._folder)


class Lifecycle(RuleBasedStateMachine):
    """Rules are what may happen; Hypothesis chooses and shrinks."""

    @initialize(seed=st.integers(0, 1 << 16), cap_usd=st.sampled_from((None, D(3_000))))
    def begin(self, seed: int, cap_usd: Decimal | None) -> None:
        self.model = LastWords()
        self.disk = Disk()
        self.cap_usd = cap_usd
        self.world = OrderWorld(seed, journal=self.disk.open, max_position_usd=cap_usd)
        self.world.wire.on_said = self.model.hear
        self.world.run(2_000 if cap_usd is None else 4_000)

    def _one(self, number: int) -> OrderUpdate | None:
        orders = list(self.world.believed.values())
        return orders[number % len(orders)] if orders else None

    def _price(self, side: Side, away: int) -> Decimal:
        tape = self.world.core.exchange.markets[SYMBOL].tape
        return tape.bid - away * TICK if side is Side.BUY else tape.ask + away * TICK

    @rule(
        side=st.sampled_from(Side),
        away=st.sampled_from((-3, 0, 1, 10)),
        qty=st.integers(2, 20),
        tif=st.sampled_from(TimeInForce),
        reduce_only=st.sampled_from((False, False, True)),
        fault=FAULT,
    )
    def place(  # one argument per thing that varies
        self, side: Side, away: int, qty: int, tif: TimeInForce, reduce_only: bool, fault: str | None
    ) -> None:
        self._fail(fault, "order.place")
        self.world.place(side, self._price(side, away), D(qty) / 1_000, tif, reduce_only=reduce_only)
        self.world.run(5)

    @rule(number=st.integers(0, 9), away=st.sampled_from((-2, 0, 5)), grow=st.integers(-5, 9), fault=FAULT)
    def amend(self, number: int, away: int, grow: int, fault: str | None) -> None:
        order = self._one(number)
        if order is not None:
            self._fail(fault, "order.modify")
            qty = max(D("0.002"), order.qty + D(grow) / 1_000)
            self.world.amend(order, self._price(order.side, away), qty)

    @rule(number=st.integers(0, 9), fault=FAULT)
    def cancel(self, number: int, fault: str | None) -> None:
        order = self._one(number)
        if order is not None:
            self._fail(fault, "order.cancel")
            self.world.cancel(order.client_order_id)

    @rule(number=st.integers(0, 9))
    def cancel_by_hand(self, number: int) -> None:
        order = self._one(number)
        if order is not None:
            self.world.cancel_by_hand(order.client_order_id)

    @rule(ticks=st.integers(-12, 12))
    def move(self, ticks: int) -> None:
        self.world.move(ticks)

    @rule(side=st.sampled_from(Side), thousandths=st.integers(1, 6_000), through=st.sampled_from((0, 1)))
    def trade(self, side: Side, thousandths: int, through: int) -> None:
        self.world.trade(side, f"{thousandths / 1_000:.3f}", through)

    @rule(kind=st.sampled_from(FAULTS), count=st.integers(1, 12))
    def fail_queries(self, kind: str, count: int) -> None:
        self._fail(kind, "order.status", count)

    def _fail(self, kind: str | None, op: str, count: int = 1) -> None:
        if kind is not None and len(self.world.core.venue.faults.rules) < 20:
            self.world.core.venue.faults.add(FaultRule(kind, op=op, count=count))

    @rule(late=st.sampled_from((0.0, 0.3)), reorder=st.sampled_from((0.0, 0.5)), double=st.sampled_from((0.0, 0.5)))
    def disturb(self, late: float, reorder: float, double: float) -> None:
        self.world.wire.trouble = Trouble(travel_ms=50, late=late, reorder=reorder, double=double, hidden=late)

    @rule()
    def lose_stream(self) -> None:
        self.world.guarded(self.world.wire.drop_stream)

    @rule()
    def raise_stream(self) -> None:
        self.world.wire.raise_stream()

    @rule()
    def replay(self) -> None:
        self.world.wire.replay()

    @rule(step=st.sampled_from(STEPS), rest=st.booleans())
    def kill(self, step: str, rest: bool) -> None:
        self.world.crash(step)
        if rest:
            self.world.run(12_000, 250)

    @rule()
    def checkpoint(self) -> None:
        self.world.journal.wants_checkpoint = True

    @rule(milliseconds=st.sampled_from((20, 300, 2_000, 12_000)))
    def wait(self, milliseconds: int) -> None:
        self.world.run(milliseconds)

    @invariant()
    def nothing_is_placed_twice(self) -> None:
        assert max(self.world.wire.placed.values(), default=0) <= 1

    @invariant()
    def what_lives_was_not_called_ended(self) -> None:
        assert not self.model.open().keys() & self.world.ended.keys()

    @invariant()
    def no_more_is_counted_than_traded(self) -> None:
        for name, counted in self.world.counted.items():
            assert counted <= self.model.said[name].filled_qty

    @invariant()
    def what_lives_is_believed_to_be_at_least_as_large(self) -> None:
        for name, event in self.model.open().items():
            believed = self.world.believed.get(name)
            assert believed is None or believed.qty - believed.filled_qty >= event.qty - event.filled_qty

    @invariant()
    def no_more_could_be_held_than_the_cap_allows(self) -> None:
        if self.cap_usd is not None:
            assert self.world.account.could_hold_usd() <= self.cap_usd * MARK_MOVES

    def teardown(self) -> None:
        """Let all be quiet; then executor, venue and model agree."""
        try:
            self._agree()
        finally:
            self.disk.remove()

    def _agree(self) -> None:
        self.world.settle()
        self.world.agree()
        assert self.world.believed.keys() == self.model.open().keys()
        assert self.world.position == self.model.position
        for name, state in self.world.ended.items():
            said = self.model.said.get(name)
            if said is not None and name not in self.world.untold_ends:
                assert VENUE_WORDS.get(said.status, said.status) == state.value


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

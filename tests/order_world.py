"""The real executor in front of the real simulated exchange, on a virtual clock, with the truth checked at every word.

The account that it is told of follows the exchange, a while behind. Whatever the executor publishes is compared with
the exchange at once: an order called ended must be ended there, a fill must have happened, an id must have been placed
once. ``agree`` compares everything when all is quiet again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from random import Random

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.ledger import replay
from grinder.model.board import Word
from grinder.model.control import FsmState
from grinder.model.frames import Envelope, Frame
from grinder.model.market import MarkPrice
from grinder.model.orders import (
    TERMINAL,
    Amend,
    Cancel,
    Fill,
    OrderKind,
    OrdersSnapshot,
    OrderState,
    OrderUpdate,
    Place,
    Side,
    TimeInForce,
)
from grinder.model.reasons import PlanReason
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import AmendOrder, PlaceOrder, VenueRequest
from grinder.ports import Journal
from grinder.services.executor import ExecutorConfig, ExecutorService
from grinder.services.order_store import ExecutorPorts
from grinder.sim.exchange.orders import Order as VenueOrder
from grinder.sim.exchange.venue import Outcome
from tests.account_world import FSM_INCARNATION, MemoryJournal, limits, order_id
from tests.crashing_journal import CrashingJournal
from tests.fakes import FakeBoard, venue_clock_words
from tests.lagging_account import LaggingAccount
from tests.market import RecordingEvidence, RecordingStream, RecordingTelemetry
from tests.order_wire import Killed, SimulatedWire, VirtualClock
from tests.sim_kit import KEY, Core

D = Decimal
SYMBOL = "BTCUSDT"
TICK = D("0.1")
STEP_MS = 50
REFRESH_MS = 500
VENUE_WORDS = {"EXPIRED_IN_MATCH": "EXPIRED"}
DEADLINE_MS = 500


class Disagreement(AssertionError):
    """The executor said something that is not so."""


class LastWords:
    """A log of the last events, for the transcript of a failure."""

    def __init__(self) -> None:
        self.events: deque[tuple[str, dict[str, object]]] = deque(maxlen=60)

    def event(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))


class OrderWorld:
    """One venue, and executors one after the other on one journal."""

    def __init__(
        self,
        seed: int,
        wire: type[SimulatedWire] = SimulatedWire,
        *,
        journal: Callable[[], Journal] | None = None,
        max_position_usd: Decimal | None = None,
    ) -> None:
        """``journal``: opens the one journal of all executors, again after a kill; in memory by default."""
        self.seed = seed
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.core = Core(wallet=10**9)
        self.core.now = self.clock.utc_ms()
        self.core.top("60000.00", "5", "60000.10", "5")
        self.wire = wire(self.core, self.clock, self.random)
        self.wire.on_executed = self._on_executed
        in_memory = MemoryJournal()
        self.journal = CrashingJournal(journal or (lambda: in_memory))
        self.account = LaggingAccount(self.core, SYMBOL, seed)
        self._max_position_usd = max_position_usd
        self.board = FakeBoard()
        self.log = LastWords()
        self.telemetry = RecordingTelemetry()
        self.believed: dict[str, OrderUpdate] = {}
        self.ended: dict[str, OrderState] = {}
        self.untold_ends: set[str] = set()
        self._lately_ended: list[str] = []
        self.counted: Counter[str] = Counter()
        self.position = ZERO
        self.by_hand = ZERO
        self.numbers = 0
        self.starts = 0
        self._seq = 0
        self._refresh_ns = 0
        self._timer_ns = 0
        self.start()

    # The executor's life --------------------------------------------------------------------------

    def start(self) -> None:
        """Start an executor, the first or the next after a kill."""
        self.starts += 1
        for name, qty in self.journal.untold.items():
            self._count(name, qty)
        if self.starts > 1:
            self.journal.reopen()
        evidence = RecordingEvidence()
        ports = ExecutorPorts(
            self.wire, self.journal, self, self.clock, self.telemetry, self.log, evidence, RecordingStream()
        )
        config = ExecutorConfig(
            limits=limits(
                max_notional_per_order=D(10**6), max_orders_per_run=10**9, max_position_usd=self._max_position_usd
            ),
            symbols=(SYMBOL,),
            prefix="grd",
            term=0,
            incarnation=self.starts,
            run_id="run-1",
            sends=True,
            emergency_exit_enabled=False,
            emergency_slippage_bps=200,
        )
        self.service = ExecutorService(ports, self.board, config)
        self._refresh()
        self.wire.listen(self._on_event)
        self.guarded(self.service.on_start)
        self.guarded(self.service.on_timer)

    def crash(self, at: str = "") -> None:
        """Kill the executor now, or the next time it comes to a step of the send path."""
        if at in ("before_wire", "after_wire"):
            self.wire.crash = at
        elif at:
            self.journal.crash = at
        else:
            self.start()

    def guarded(self, act: object, *arguments: object) -> None:
        """Do something that may kill the executor on the way; then the next one starts."""
        assert callable(act)
        try:
            act(*arguments)
        except Killed:
            self.start()

    def _on_event(self, event: object) -> None:
        self.service.on_user_event(event)  # type: ignore[arg-type]

    # Time -----------------------------------------------------------------------------------------

    def run(self, milliseconds: int, step_ms: int = STEP_MS) -> None:
        """Let time pass; the executor's timer runs every ``step_ms``."""
        until_ns = self.clock.now_ns + milliseconds * NS_PER_MS
        while self.clock.now_ns < until_ns:
            at_ns = min(until_ns, max(self._timer_ns, self.clock.now_ns))
            self.guarded(self.wire.run_to, at_ns)
            if self.clock.now_ns >= self._timer_ns:
                self._timer_ns = self.clock.now_ns + step_ms * NS_PER_MS
                self._refresh()
                self.guarded(self.service.on_timer)

    def _refresh(self) -> None:
        """Let every other input be fresh."""
        now = self.clock.now_ns
        if now < self._refresh_ns and self.starts == getattr(self, "_refreshed_start", 0):
            return
        self._refreshed_start = self.starts
        self._refresh_ns = now + REFRESH_MS * NS_PER_MS
        self.board.words |= {
            Word.FSM_STATE: list(FsmState).index(FsmState.ACTIVE) + 1,
            Word.HEARTBEAT_FSM_MONO_NS: now,
            **venue_clock_words(self.clock),
            Word.ROLE: ROLE_ACTIVE,
        }
        mark = self.core.exchange.markets[SYMBOL].mark
        self.board.publish_mark(MarkPrice(SYMBOL, mark, mark, ZERO, 0, self.clock.utc_ms(), now))
        self.account.look(now)
        account = self.account.told(now, self.clock.utc_ms())
        self.service.on_envelope(Envelope(1, 1, 0, now, account))

    # Commands -------------------------------------------------------------------------------------

    def place(self, side: Side, price: Decimal, qty: Decimal, tif: TimeInForce, *, reduce_only: bool = False) -> str:
        """Send a placement intent; return its client order id."""
        self.numbers += 1
        name = order_id(self.numbers, "t1" if reduce_only else "b1")
        kind = OrderKind.TAKE_PROFIT if reduce_only else OrderKind.GRID
        now = self.clock.now_ns
        deadline = now + DEADLINE_MS * NS_PER_MS
        reason = PlanReason.TP_CLOSE if reduce_only else PlanReason.GRID_FILL
        self._send(Place(name, SYMBOL, side, price, qty, tif, reduce_only, kind, reason, deadline, now))
        return name

    def amend(self, order: OrderUpdate, price: Decimal, qty: Decimal) -> None:
        now = self.clock.now_ns
        deadline = now + DEADLINE_MS * NS_PER_MS
        name = order.client_order_id
        self._send(Amend(name, SYMBOL, order.side, price, qty, PlanReason.GRID_SHIFT, deadline, now))

    def cancel(self, name: str) -> None:
        now = self.clock.now_ns
        self._send(Cancel(name, SYMBOL, PlanReason.GRID_TRIM, now + DEADLINE_MS * NS_PER_MS, now))

    def _send(self, frame: Frame) -> None:
        self._seq += 1
        self.guarded(self.service.on_envelope, Envelope(self._seq, FSM_INCARNATION, 0, self.clock.now_ns, frame))

    # The market and the account's owner -----------------------------------------------------------

    def move(self, ticks: int) -> None:
        """Move the best prices, which trades what they cross."""
        bid = self.core.exchange.markets[SYMBOL].tape.bid + ticks * TICK
        self.core.top(str(bid), "5", str(bid + TICK), "5")
        self.wire.flush()

    def trade(self, side: Side, qty: str, ticks_through: int) -> None:
        """Let the tape trade at or through the best price."""
        tape = self.core.exchange.markets[SYMBOL].tape
        price = tape.bid - ticks_through * TICK if side is Side.SELL else tape.ask + ticks_through * TICK
        self.core.exchange.on_trade(SYMBOL, price, D(qty), side, self.core.now)
        self.wire.flush()

    def cancel_by_hand(self, name: str) -> None:
        """The owner cancels one of our orders in the venue's own application."""
        order = self.truth(name)
        if order is not None and order.live:
            self.core.exchange.cancel(order, self.core.now)
            self.wire.flush()

    def trade_by_hand(self, side: Side, qty: str) -> None:
        """The owner trades in the venue's own application."""
        name = f"web_{self.clock.now_ns}"
        known = len(self.core.exchange.fills)
        self.core.market(side.value, qty, newClientOrderId=name)
        for fill in islice(self.core.exchange.fills, known, None):
            if fill.client_order_id == name:
                self.by_hand += fill.qty if fill.side is Side.BUY else -fill.qty
        self.wire.flush()

    # Truth ----------------------------------------------------------------------------------------

    def truth(self, name: str) -> VenueOrder | None:
        """Return an order as the venue has it."""
        return self.core.exchange.find(self.core.exchange.accounts[KEY], SYMBOL, 0, name)

    def send(self, frame: Frame) -> bool:
        """Take what the executor publishes (it is its Publisher), and compare with the venue."""
        if isinstance(frame, OrderUpdate):
            self._on_update(frame)
        elif isinstance(frame, Fill):
            self.journal.untold[frame.client_order_id] -= frame.qty  # type: ignore[assignment]
            self._count(frame.client_order_id, frame.qty)
        elif isinstance(frame, OrdersSnapshot):
            self.believed |= {update.client_order_id: update for update in frame.orders}
            if frame.ready:
                self._on_snapshot({update.client_order_id for update in frame.orders})
        return True

    def _on_snapshot(self, listed: set[str]) -> None:
        """Take an order that is not listed as ended, as the strategy does: the executor died before it said so."""
        for name in self.believed.keys() - listed:
            truth = self.truth(name)
            self._require(truth is None or not truth.live, f"{name} is left out, and lives")
            del self.believed[name]
            self.ended[name] = OrderState.DENIED
            self.untold_ends.add(name)
            self._lately_ended.append(name)

    def _on_update(self, update: OrderUpdate) -> None:
        name, truth = update.client_order_id, self.truth(update.client_order_id)
        if update.state not in TERMINAL:
            # An end whose fills were not all counted is not on record: the next start asks about it once more.
            again = name in self.ended and update.state not in (OrderState.IN_DOUBT, OrderState.PENDING_CANCEL)
            self._require(not again, f"{name} {update.state} after {self.ended.get(name)}")
            self.believed[name] = update
            return
        self.believed.pop(name, None)
        if name not in self.ended:
            self.ended[name] = update.state
            self._lately_ended.append(name)
        if truth is None:
            self._require(
                update.state in (OrderState.REJECTED, OrderState.DENIED), f"{name} {update.state}, never placed"
            )
            return
        word = VENUE_WORDS.get(truth.status.value, truth.status.value)
        self._require(update.state.value == word, f"{name} is called {update.state}, and is {truth.status}")

    def _count(self, name: str, qty: Decimal) -> None:
        if not qty:
            return
        truth = self.truth(name)
        filled = truth.filled if truth is not None else ZERO
        self.counted[name] += qty  # type: ignore[assignment]
        self._require(self.counted[name] <= filled, f"{name} counted {self.counted[name]} of {filled}")
        assert truth is not None
        self.position += qty if truth.side is Side.BUY else -qty

    def _on_executed(self, request: VenueRequest, outcome: Outcome) -> None:
        if isinstance(request, PlaceOrder) and outcome.code == 0:
            name = request.client_order_id
            self._require(self.wire.placed[name] <= 1, f"{name} was placed twice")
            self._require(name not in self.ended, f"{name} is placed after it was called {self.ended.get(name)}")
        elif isinstance(request, AmendOrder) and outcome.code == 0:
            believed = self.believed.get(request.client_order_id)
            larger = believed is None or believed.qty >= request.qty
            self._require(larger, f"{request.client_order_id} now has {request.qty}, believed {believed}")

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            lines = "\n".join(f"  {name} {fields}" for name, fields in self.log.events)
            raise Disagreement(f"seed {self.seed}, {self.clock.utc_ms()}: {what}; last words:\n{lines}")

    def settle(self, seconds: int = 45) -> None:
        """Let everything be well for a while."""
        self.core.venue.faults.clear()
        self.wire.settle()
        if self.random.random() < 0.5:
            self.crash()
        self.run(seconds * 1_000, 250)

    def agree(self) -> int:
        """Compare everything; return how many orders were compared."""
        self._require(not self.service.readiness(), self.service.readiness())
        open_there = {
            order.client_order_id: order
            for order in self.core.exchange.accounts[KEY].open.values()
            if order.client_order_id.startswith("grd-")
        }
        self._require(self.believed.keys() == open_there.keys(), f"{self.believed.keys() ^ open_there.keys()}")
        for name, update in self.believed.items():
            there = open_there[name]
            said = (update.state.value.replace("OPEN", "NEW"), update.price, update.qty, update.filled_qty)
            self._require(said == (there.status.value, there.price, there.qty, there.filled), f"{update}: {there}")
        for name in (*self._lately_ended, *self.believed):
            truth = self.truth(name)
            filled = truth.filled if truth is not None else ZERO
            self._require(self.counted[name] == filled, f"{name}: counted {self.counted[name]} of {filled}")
        held = self.core.held()
        self._require(self.position + self.by_hand == held, f"{self.position} and {self.by_hand} are not {held}")
        unresolved = replay(self.journal.on_record()).orders.keys() - self.believed.keys()
        self._require(not unresolved, f"intents without an end: {unresolved}")
        compared = len(self._lately_ended) + len(self.believed)
        self._lately_ended.clear()
        return compared

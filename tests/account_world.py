"""An executor in front of the small truthful venue; time and delivery are the test's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from grinder.core.interlocks import ROLE_ACTIVE, Limits
from grinder.model.account import AccountState, Balance, Source
from grinder.model.board import Word
from grinder.model.control import ExchangePort, FoundOrders, FsmState, TradingMode
from grinder.model.frames import Envelope, Frame
from grinder.model.journal import JournalHealth, JournalLoss
from grinder.model.limits import RECV_WINDOW_MS_MAX
from grinder.model.orders import (
    INTENTS_PER_INCARNATION,
    Amend,
    Cancel,
    Fill,
    OrderId,
    OrderKind,
    OrderState,
    OrderUpdate,
    Place,
    Side,
    TimeInForce,
    format_order_id,
)
from grinder.model.reasons import PlanReason
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import (
    RateUse,
    UserStreamUp,
)
from grinder.services.executor import ExecutorConfig, ExecutorService
from grinder.services.lead import Duties, Membership
from grinder.services.order_store import ExecutorPorts
from tests.fake_venue import MARK, SYMBOL, D, FakeVenue
from tests.fakes import FakeBoard, FakeClock, venue_clock_words
from tests.market import (
    RecordingEvidence,
    RecordingLog,
    RecordingPublisher,
    RecordingStream,
    RecordingTelemetry,
    make_mark,
)

FSM_INCARNATION = 7


class MemoryJournal:
    """A journal that lives as long as the test lets it; ``full`` makes it refuse, ``trouble`` says why."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.full = False
        self.trouble = ""
        self.loss = JournalLoss(0, 0, ())
        self.wants_checkpoint = False

    @property
    def health(self) -> JournalHealth:
        return JournalHealth(self.trouble, "", sum(map(len, self.records)), 0)

    def append(self, record: bytes) -> bool:
        if self.full:
            return False
        self.records.append(record)
        return True

    def replay(self) -> Iterable[bytes]:
        return tuple(self.records)

    def checkpoint(self, records: Iterable[bytes]) -> bool:
        self.records = list(records)
        self.wants_checkpoint = False
        return True


def order_id(number: int, level: str = "b1", prefix: str = "grd", term: int = 0) -> str:
    return format_order_id(OrderId(prefix, term, FSM_INCARNATION * INTENTS_PER_INCARNATION + number, level))


def limits(**changes: object) -> Limits:
    values: dict[str, object] = {
        "armed": True,
        "mode": TradingMode.PAPER,
        "port": ExchangePort.NOOP,
        "symbols": frozenset({SYMBOL}),
        "max_notional_per_order": D(500),
        "max_orders_per_run": 1_000,
        "ha_enabled": False,
    }
    return Limits(**(values | changes))  # type: ignore[arg-type]


class ExecutorWorld:
    """An executor that is ready, unless told otherwise."""

    def __init__(
        self,
        *,
        venue: FakeVenue | None = None,
        journal: MemoryJournal | None = None,
        ready: bool = True,
        sends: bool = True,
        exits: bool = True,
        rules: Limits | None = None,
        run_id: str = "run-1",
        term: int = 0,
        found_orders: FoundOrders = FoundOrders.ADOPT,
        join: Callable[[Duties], Membership] | None = None,
        recv_window_ms: int = RECV_WINDOW_MS_MAX,
    ) -> None:
        self.clock = venue.clock if venue is not None else FakeClock()
        self.venue = venue or FakeVenue(self.clock)
        self.journal = journal or MemoryJournal()
        self.board = FakeBoard()
        self.publisher = RecordingPublisher()
        self.telemetry = RecordingTelemetry()
        self.log = RecordingLog()
        self.sequence = 0
        self.evidence = RecordingEvidence()
        self.stream = RecordingStream()
        self.rates_used: tuple[RateUse, ...] = ()
        ports = ExecutorPorts(
            self.venue,
            self.journal,
            self.publisher,
            self.clock,
            self.telemetry,
            self.log,
            self.evidence,
            self.stream,
            lambda: self.rates_used,
        )
        config = ExecutorConfig(
            limits=rules or limits(),
            symbols=(SYMBOL,),
            prefix="grd",
            term=term,
            incarnation=9,
            run_id=run_id,
            sends=sends,
            emergency_exit_enabled=exits,
            remedy_notional_max=D(500),
            emergency_slippage_bps=200,
            found_orders=found_orders,
            recv_window_ms=recv_window_ms,
        )
        self.service = ExecutorService(ports, self.board, config, join)
        self.service.on_start()
        if ready:
            self.make_ready()

    def make_ready(self) -> None:
        self.service.on_user_event(UserStreamUp())
        self.refresh()
        self.run(200)

    def refresh(self) -> None:
        """Let every input be fresh."""
        now = self.clock.mono_ns()
        self.board.words |= {
            Word.FSM_STATE: self.board.words.get(Word.FSM_STATE, list(FsmState).index(FsmState.ACTIVE) + 1),
            Word.HEARTBEAT_FSM_MONO_NS: now,
            **venue_clock_words(self.clock),
            Word.ROLE: ROLE_ACTIVE,
        }
        utc_ms = self.clock.utc_ms()
        mark = make_mark(utc_ms, symbol=SYMBOL, mono_ns=now)
        self.board.publish_mark(msgspec.structs.replace(mark, mark_price=MARK))
        account = AccountState((), Balance(D(1), ZERO, D(1)), 0, ZERO, False, True, Source.REST, now, utc_ms)
        self.service.on_envelope(Envelope(1, 1, 0, now, account))

    def run(self, milliseconds: int, *, deliver: bool = True, fresh: bool = True) -> None:
        """Pass time in timer steps, delivering what the venue has to say."""
        for _ in range(max(1, milliseconds // 50)):
            self.clock.advance_ms(50)
            if fresh:
                self.refresh()
            if deliver:
                self.deliver()
            self.service.on_timer()
            if deliver:
                self.deliver()

    def deliver(self) -> None:
        """Deliver every queued reply and event."""
        for _ in range(100):
            if not self.venue.replies and not self.venue.events:
                return
            replies, self.venue.replies = self.venue.replies, []
            for on_reply, reply in replies:
                on_reply(reply)
            events, self.venue.events = self.venue.events, []
            for event in events:
                self.service.on_user_event(event)
        raise AssertionError("the venue and the executor talk for ever")

    def send(self, frame: Frame, *, term: int = 0, incarnation: int = FSM_INCARNATION) -> None:
        self.sequence += 1
        self.service.on_envelope(Envelope(self.sequence, incarnation, term, self.clock.mono_ns(), frame))

    def place(self, number: int, *, term: int = 0, incarnation: int = FSM_INCARNATION, **changes: object) -> str:
        place = self.make_place(number, **changes)
        self.send(place, term=term, incarnation=incarnation)
        return place.client_order_id

    def make_place(self, number: int, **changes: object) -> Place:
        values: dict[str, object] = {
            "client_order_id": order_id(number),
            "symbol": SYMBOL,
            "side": Side.BUY,
            "price": D(99),
            "qty": D(1),
            "tif": TimeInForce.GTX,
            "reduce_only": False,
            "kind": OrderKind.GRID,
            "reason": PlanReason.GRID_FILL,
            "deadline_mono_ns": self.clock.mono_ns() + 500 * NS_PER_MS,
            "cause_mono_ns": self.clock.mono_ns(),
        }
        return Place(**(values | changes))  # type: ignore[arg-type]

    def amend(self, name: str, price: Decimal, qty: Decimal) -> None:
        deadline = self.clock.mono_ns() + 500 * NS_PER_MS
        self.send(Amend(name, SYMBOL, Side.BUY, price, qty, PlanReason.GRID_SHIFT, deadline, self.clock.mono_ns()))

    def cancel(self, name: str, *, late: bool = False) -> None:
        deadline = self.clock.mono_ns() + (-1 if late else 500) * NS_PER_MS
        self.send(Cancel(name, SYMBOL, PlanReason.GRID_TRIM, deadline, self.clock.mono_ns()))

    def updates(self, name: str) -> list[OrderUpdate]:
        frames = self.publisher.of(OrderUpdate)
        return [frame for frame in frames if isinstance(frame, OrderUpdate) and frame.client_order_id == name]

    def state(self, name: str) -> OrderState:
        return self.updates(name)[-1].state

    def filled(self, name: str) -> Decimal:
        frames = self.publisher.of(Fill)
        return sum((frame.qty for frame in frames if isinstance(frame, Fill) and frame.client_order_id == name), ZERO)

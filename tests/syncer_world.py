"""A syncer in front of the small truthful venue; time, delivery and the executor's side are the test's."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from grinder.adapters.binance.errors import advice_in
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.remediation import Policy
from grinder.core.remedy_budget import BudgetState, fresh
from grinder.core.response import Grades
from grinder.model.account import AccountState, Mismatch
from grinder.model.board import Word
from grinder.model.frames import Envelope, Frame
from grinder.model.orders import OrdersSnapshot, Side, TimeInForce
from grinder.model.reasons import MismatchRule
from grinder.model.remedy import Remedy, RemedyResult, Stage
from grinder.model.venue import AccountEvent, OrderType, PlaceOrder
from grinder.services.reconcile import ReconcileConfig
from grinder.services.syncer import SyncerConfig, SyncerPorts, SyncerService
from tests.fake_venue import MARK, SYMBOL, FakeVenue, Outcome, position
from tests.fakes import FakeBoard, FakeClock
from tests.market import RecordingLog, RecordingPublisher, RecordingTelemetry, make_mark, make_top

D = Decimal
SYMBOLS = (SYMBOL, "ETHUSDT")
QUIET = OrdersSnapshot((), 0, 0, True, "", 0)
EXECUTING = Policy(
    stage=Stage.EXECUTE_CANCEL_ALL,
    dry_run=False,
    allow_active=True,
    armed=True,
    mainnet_allowed=True,
    prefix="grd",
    symbols=frozenset(SYMBOLS),
    strategies=frozenset({"grid", "take_profit", "exit"}),
    allowlist=frozenset(SYMBOLS),
)
"""A policy under which remedies are carried out."""


class Evidence:
    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def write(self, folder: str, name: str, text: str) -> None:
        self.files[f"{folder}/{name}"] = text


class MemoryBudget:
    """A budget that lives as long as the test lets it; ``broken`` makes it refuse."""

    def __init__(self, clock: FakeClock) -> None:
        self.state: BudgetState | None = fresh(clock.utc_ms())
        self.broken = False

    def load(self) -> BudgetState | None:
        return self.state

    def save(self, state: BudgetState) -> bool:
        if not self.broken:
            self.state = state
        return not self.broken


class Audit:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)

    def of(self, event: str) -> list[dict[str, object]]:
        decoded = [dict(msgspec.json.decode(line)) for line in self.lines]
        return [line for line in decoded if line["event_type"] == event]


class SyncerWorld:
    def __init__(
        self,
        *,
        enabled: bool = True,
        evidence: bool = False,
        qty: str = "0",
        failing: type | None = None,
        grades: Grades | None = None,
        policy: Policy | None = None,
        budget: MemoryBudget | None = None,
        venue: type[FakeVenue] = FakeVenue,
        interval_ms: int = 30_000,
        weight_used: float = 0.0,
        ha_enabled: bool = False,
    ) -> None:
        self.clock = FakeClock()
        self.venue = venue(self.clock)
        self.venue.positions[SYMBOL] = D(qty)
        if failing is not None:
            self.venue.outcomes[failing] = [Outcome.LOST_BEFORE] * 100
        self.board = FakeBoard()
        self.board.words[Word.ROLE] = ROLE_ACTIVE
        self.publisher = RecordingPublisher()
        self.telemetry = RecordingTelemetry()
        self.log = RecordingLog()
        self.evidence = Evidence()
        self.audit = Audit()
        self.budget = budget or MemoryBudget(self.clock)
        self.renewals: list[str] = []
        self.market_live = True
        self.weight_used = weight_used
        ports = SyncerPorts(
            self.venue,
            self.publisher,
            self.board,
            self.clock,
            self.telemetry,
            self.log,
            self.evidence,
            self,
            self.audit,
            self.budget,
            advice_in,
            lambda: self.weight_used,
        )
        reconcile = ReconcileConfig(policy is not None, interval_ms, policy or EXECUTING)
        config = SyncerConfig(enabled, 2_000, evidence, SYMBOLS, "grd", ha_enabled, grades or Grades(), reconcile)
        self.service = SyncerService(ports, config)
        self.service.on_start()

    def renew(self, why: str) -> None:
        """The user stream, as StreamControl."""
        self.renewals.append(why)

    def run(self, milliseconds: int, *frames: Frame) -> None:
        for _ in range(max(1, milliseconds // 50)):
            self.clock.advance_ms(50)
            if self.market_live:
                self.publish_market()
            for frame in frames or (QUIET,):
                self.hear(frame)
            replies, self.venue.replies = self.venue.replies, []
            for on_reply, reply in replies:
                on_reply(reply)
            self.service.on_timer()

    def hear(self, frame: Frame) -> None:
        """Deliver a frame of the orders channel."""
        self.service.on_envelope(Envelope(1, 1, 0, 0, frame))

    def publish_market(self) -> None:
        now, utc_ms = self.clock.mono_ns(), self.clock.utc_ms()
        for symbol in SYMBOLS:
            mark = make_mark(utc_ms, symbol=symbol, mono_ns=now)
            self.board.publish_mark(msgspec.structs.replace(mark, mark_price=MARK))
            self.board.publish_book(make_top(1, symbol=symbol, bid=str(MARK - D("0.1")), ask=str(MARK), mono_ns=now))

    def tell(self, qty: str) -> None:
        """Have the user stream tell of the position."""
        utc_ms = self.clock.utc_ms()
        self.service.on_user_event(AccountEvent("ORDER", None, (position(SYMBOL, D(qty), utc_ms),), utc_ms))

    def rest(self, name: str, symbol: str = SYMBOL, qty: str = "1") -> None:
        """Have an order rest at the venue that this tree's executor does not tell of."""
        self.venue.rest(PlaceOrder(name, symbol, Side.BUY, OrderType.LIMIT, D(99), D(qty), TimeInForce.GTC, False))

    def move_by_hand(self, qty: str) -> None:
        """Change the position as somebody else's trade does: the stream tells of it, the executor does not."""
        self.venue.positions[SYMBOL] = D(qty)
        self.tell(qty)

    def account(self) -> AccountState:
        last = self.publisher.of(AccountState)[-1]
        assert isinstance(last, AccountState)
        return last

    def mismatches(self) -> list[MismatchRule]:
        return [frame.rule for frame in self.publisher.of(Mismatch) if isinstance(frame, Mismatch)]

    def remedies(self) -> list[Remedy]:
        return [frame for frame in self.publisher.of(Remedy) if isinstance(frame, Remedy)]

    def answer(self, remedy: Remedy, done: bool = True, reason: str = "confirmed") -> None:
        """Answer a request as the executor does."""
        self.hear(RemedyResult(remedy.run_id, remedy.number, done, reason))

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.events import Control, Effect, Event, Unsent
from grinder.core.losses import NOTHING_LOST, LossConfig, RiskMemory
from grinder.core.orders import new_order
from grinder.core.recording import Header
from grinder.model.account import AccountState, Balance, Instruments, Source
from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, FsmState, Override, TripReason
from grinder.model.frames import Envelope, Frame, LoopState, PlanSummary
from grinder.model.market import BookTop, MarkPrice, StreamHealth, TradeTick
from grinder.model.orders import (
    INTENTS_PER_INCARNATION,
    Fill,
    OrderBudget,
    OrderKind,
    OrdersSnapshot,
    OrderState,
    Place,
    ResyncOrders,
    Side,
)
from grinder.services.fsm import FsmConfig, FsmPorts, FsmService, IdsUsedUpError
from tests.engine_world import config, instrument
from tests.fakes import FakeBoard, FakeClock, venue_clock_words
from tests.market import RecordingLog, RecordingTelemetry

D = Decimal
SYMBOL = "BTCUSDT"
CODES = {state: number for number, state in enumerate(FsmState, start=1)}


class Queue:
    """A Publisher that takes frames while it has room."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.room = 1_000_000

    def send(self, frame: Frame) -> bool:
        if len(self.frames) >= self.room:
            return False
        self.frames.append(frame)
        return True

    def of(self, kind: type) -> list[Frame]:
        return [frame for frame in self.frames if isinstance(frame, kind)]


class Evidence:
    def __init__(self) -> None:
        self.files: list[tuple[str, str, str]] = []

    def write(self, folder: str, name: str, text: str) -> None:
        self.files.append((folder, name, text))


class Decisions:
    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.decisions: list[tuple[Event, tuple[Effect, ...]]] = []

    def begin(self, header: Header) -> None:
        self.headers.append(header)

    def record(self, event: Event, effects: tuple[Effect, ...]) -> None:
        self.decisions.append((event, effects))


class Risk:
    """A RiskStore that keeps what was saved."""

    def __init__(self, damaged: bool = False) -> None:
        self.memory, self.damaged = NOTHING_LOST, damaged

    def save(self, memory: RiskMemory) -> None:
        self.memory = memory


def losing_fill(number: int) -> Fill:
    """A trade of a closing order of its own that lost 5."""
    name = f"grd-7-0-{number}-t1"
    return Fill(name, SYMBOL, Side.SELL, OrderKind.EXIT, number, D(60_000), D("0.001"), D(0), D(-5), False, 0)


class Bench:
    """The service among fakes, with a small script of inputs that makes it trade."""

    def __init__(
        self,
        override: Override = Override.NONE,
        board: FakeBoard | None = None,
        risk: Risk | None = None,
        **changes: object,
    ) -> None:
        self.clock = FakeClock()
        self.risk = Risk() if risk is None else risk
        self.board = FakeBoard() if board is None else board
        self.board.words |= {Word.LATCH_FILE_LOADED: 1, Word.EXECUTOR_READY: 1}
        self.board.words |= venue_clock_words(self.clock)
        self.intents, self.states = Queue(), Queue()
        self.telemetry, self.log = RecordingTelemetry(), RecordingLog()
        self.evidence, self.decisions = Evidence(), Decisions()
        self.service = FsmService(
            FsmConfig(config(**changes), override, evidence=True),  # type: ignore[arg-type]
            FsmPorts(
                self.clock,
                self.board,
                self.intents,
                self.states,
                self.telemetry,
                self.log,
                self.evidence,
                self.risk,
                self.decisions,
            ),
        )
        self.service.on_start()
        self.sequence = 0

    def give(self, frame: Frame, term: int | None = None) -> None:
        self.sequence += 1
        term = self.board.read(Word.TERM) if term is None else term
        self.service.on_envelope(Envelope(self.sequence, 1, term, self.clock.mono_ns(), frame))

    def tick(self, mid: int = 60_000) -> None:
        now = self.clock.mono_ns()
        self.give(BookTop(SYMBOL, D(mid), D(1), D(mid) + 1, D(1), self.sequence, 0, now, self.clock.utc_ms()))
        self.give(MarkPrice(SYMBOL, D(mid), D(mid), D(0), 0, 0, now))
        self.give(StreamHealth(True, (), (), False, now))

    def second(self, mid: int = 60_000) -> None:
        now = self.clock.mono_ns()
        read = 0 if not self.intents.frames else len(self.intents.frames)
        self.give(OrdersSnapshot((), 7, read if read == 1 else 0, True, "", 0))
        self.give(OrderBudget(300, 1_200, 0))
        self.give(Instruments((instrument(SYMBOL),), now))
        balance = Balance(D(10_000), D(0), D(10_000))
        self.give(AccountState((), balance, 0, D(0), False, True, Source.REST, now, 0))
        for _ in range(10):
            self.tick(mid)
            self.service.on_timer()
            self.clock.advance_ms(100)

    def trading(self) -> Bench:
        for _ in range(5):
            self.second()
        return self


def test_service_when_it_starts_then_init_is_on_the_board_and_the_recording_has_begun() -> None:
    bench = Bench()
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.INIT]
    assert len(bench.decisions.headers) == 1
    assert isinstance(bench.decisions.decisions[0][0], Control)


def test_service_when_inputs_are_live_then_active_and_the_grid_is_sent_with_its_metrics() -> None:
    bench = Bench().trading()
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.ACTIVE]
    assert len(bench.intents.of(Place)) == 10
    assert bench.service.readiness() == ""
    assert bench.telemetry.counts["grinder_fsm_intents_sent_total", "place"] == 10
    transition = ("grinder_fsm_transitions_total", "READY", "ACTIVE", "FEEDS_READY")
    assert bench.telemetry.counts[transition] == 1
    assert bench.telemetry.gauges["grinder_drawdown_pct",] == 0.0
    assert bench.log.names().count("FSM_TRANSITION") == 2
    folder, name, text = bench.evidence.files[-1]
    assert (folder, name.endswith("_READY_ACTIVE.txt")) == ("fsm", True)
    assert "reason=FEEDS_READY" in text


def test_service_when_running_then_state_and_plan_are_repeated() -> None:
    bench = Bench().trading()
    states, plans = bench.states.of(LoopState), bench.states.of(PlanSummary)
    assert len(states) >= 15
    assert len(plans) >= 4
    assert set(bench.service.input_seen_mono_ns()) == {"market", "orders", "account", "account_snapshot"}


def test_service_when_the_queue_is_full_then_the_engine_learns_what_did_not_leave() -> None:
    bench = Bench()
    bench.intents.room = 4
    bench.trading()
    assert len(bench.intents.frames) == 4
    assert any(isinstance(event, Unsent) for event, _ in bench.decisions.decisions)
    assert bench.service.state.intents_sent == 4
    assert len(bench.service.state.view) == len(bench.intents.of(Place))
    assert bench.telemetry.counts["grinder_fsm_intents_unsent_total",] > 0


def test_service_when_a_trip_word_is_set_then_emergency_at_the_next_frame() -> None:
    bench = Bench().trading()
    bench.board.words[Word.TRIP_OPERATOR] = 99
    bench.tick()
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.EMERGENCY]
    assert bench.board.words[Word.AWAITING_RESUME] == 1


def test_service_when_the_operator_overrides_then_obeyed_and_acknowledged() -> None:
    bench = Bench().trading()
    bench.board.words[Word.OVERRIDE] = (5 << 8) | Override.PAUSE
    bench.service.on_timer()
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.PAUSED]
    assert bench.board.words[Word.OVERRIDE_ACK_FSM] == 5


def test_service_when_the_override_code_is_unknown_then_the_most_severe_is_taken() -> None:
    bench = Bench().trading()
    bench.board.words[Word.OVERRIDE] = (6 << 8) | 77
    bench.service.on_timer()
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.EMERGENCY]


def test_service_when_the_settings_override_then_the_more_severe_of_both_counts() -> None:
    bench = Bench(override=Override.PAUSE).trading()
    assert bench.service.state.fsm.state is FsmState.PAUSED
    assert bench.intents.of(Place) == []


@pytest.mark.parametrize("acknowledged", [True, False])
def test_service_when_restarted_after_an_emergency_then_only_an_acknowledgement_releases_it(acknowledged: bool) -> None:
    board = FakeBoard()
    board.words |= {Word.AWAITING_RESUME: 1, Word.RESUME_COUNT: 3}
    bench = Bench(board=board).trading()
    assert bench.service.state.fsm.awaiting_resume
    assert bench.intents.of(Place) == []
    bench.board.words[Word.RESUME_COUNT] = 4 if acknowledged else 3
    bench.trading()
    assert bench.service.state.fsm.awaiting_resume is not acknowledged
    assert bench.board.words[Word.AWAITING_RESUME] == int(not acknowledged)


def test_service_when_the_engine_trips_then_the_board_word_is_written() -> None:
    bench = Bench().trading()
    for equity in (7_000, 7_000, 7_000, 7_000, 7_000, 7_000):
        now = bench.clock.mono_ns()
        balance = Balance(D(equity), D(0), D(0))
        bench.give(AccountState((), balance, 0, D(0), False, True, Source.REST, now, 0))
        bench.tick()
        bench.clock.advance_ms(100)
    assert bench.board.words[Word.TRIP_FSM] == TRIP_CODES[TripReason.DRAWDOWN_LIMIT]
    assert "KILL_SWITCH_TRIPPED" in bench.log.names()
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.EMERGENCY]


def test_service_when_actions_are_blocked_then_counted_by_gate_and_logged_once_a_minute() -> None:
    bench = Bench(override=Override.PAUSE).trading()
    counts = bench.telemetry.counts
    assert counts["grinder_fsm_action_blocked_total", "PAUSED", "INCREASE_RISK"] > 10
    assert counts["grinder_gate_blocked_total", "FSM_STATE_BLOCKED", "INCREASE_RISK"] > 10
    assert any(name[0] == "grinder_gating_blocked_total" for name in counts)
    paused = [
        fields for name, fields in bench.log.events if name == "FSM_ACTION_BLOCKED" and fields["state"] == "PAUSED"
    ]
    assert 1 <= len(paused) <= 3


def test_service_when_frames_are_lost_then_the_orders_are_asked_for_again() -> None:
    bench = Bench().trading()
    before = len(bench.intents.of(ResyncOrders))
    bench.service.on_gap("orders", 3)
    assert len(bench.intents.of(ResyncOrders)) == before + 1


def test_service_when_a_frame_decides_nothing_then_it_is_left_alone() -> None:
    bench = Bench()
    before = len(bench.decisions.decisions)
    bench.give(TradeTick(SYMBOL, 1, D(1), D(1), True, 0, 0))
    assert len(bench.decisions.decisions) == before


def test_service_when_inputs_are_missing_then_not_ready_and_it_says_which() -> None:
    bench = Bench()
    bench.service.on_timer()
    assert bench.service.readiness().startswith("not live: market, orders, account")


def test_service_when_the_machine_is_off_then_market_data_is_enough_to_be_ready() -> None:
    bench = Bench(fsm_enabled=False)
    bench.tick()
    bench.service.on_timer()
    assert bench.service.readiness() == ""
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.INIT]


def test_service_when_stopped_then_the_board_permits_nothing() -> None:
    bench = Bench().trading()
    bench.service.on_stop()
    assert bench.board.words[Word.FSM_STATE] == 0
    assert bench.service.stopped
    decided = len(bench.decisions.decisions)
    bench.tick(61_000)
    bench.service.on_timer()
    bench.service.on_gap("orders", 1)
    assert len(bench.decisions.decisions) == decided
    assert bench.board.words[Word.FSM_STATE] == 0


def test_service_when_a_book_causes_an_intent_then_its_latency_is_observed() -> None:
    bench = Bench().trading()
    for place in bench.intents.of(Place):
        assert isinstance(place, Place)
        bench.give(msgspec.structs.replace(new_order(place), state=OrderState.OPEN).update())
    for step in range(10):
        bench.clock.advance_ms(100)
        bench.tick(60_300 + step)
    observed = bench.telemetry.observed[("grinder_tick_to_intent_seconds",)]
    assert observed
    assert all(value >= 0.0 for value in observed)


def test_service_when_a_round_has_two_entries_then_the_first_leaves_before_the_second_is_decided() -> None:
    bench = Bench()
    decided: list[int] = []
    queue = bench.intents.send

    def send(frame: Frame) -> bool:
        if isinstance(frame, Place):
            decided.append(bench.service.state.ids_made)
        return queue(frame)

    bench.intents.send = send  # type: ignore[method-assign]
    bench.trading()
    assert len(decided) >= 2
    assert decided == list(range(1, len(decided) + 1))


def test_service_when_killed_then_the_next_start_of_the_run_goes_on_from_the_high_water_mark() -> None:
    bench = Bench().trading()
    assert bench.risk.memory.high_water_mark == D(10_000)
    again = Bench(board=bench.board, risk=bench.risk)
    assert again.service.state.drawdown.high_water_mark == D(10_000)
    assert again.decisions.headers[0].memory == bench.risk.memory


def test_service_when_the_hosts_clock_is_set_then_the_days_are_the_venues() -> None:
    bench = Bench()
    bench.clock.set_wall(400 * 86_400_000)
    bench.trading()
    memory = bench.service.state.memory
    assert memory.day_start == D(10_000)
    assert memory.utc_day == FakeClock().utc_ms() // 86_400_000


def test_service_when_stopped_in_order_then_the_next_session_begins_anew() -> None:
    bench = Bench().trading()
    bench.service.on_stop()
    bench.service.on_timer()
    again = Bench(board=bench.board, risk=bench.risk)
    assert again.service.state.drawdown.high_water_mark is None
    assert again.service.state.memory.day_start == D(10_000)
    assert again.service.state.memory.session_open


def test_service_when_the_risk_memory_is_damaged_then_it_waits_for_an_operator() -> None:
    assert Bench(risk=Risk(damaged=True)).service.state.fsm.awaiting_resume
    assert not Bench(risk=Risk()).service.state.fsm.awaiting_resume


def test_service_when_orders_in_a_row_lose_then_it_waits_and_keeps_evidence() -> None:
    bench = Bench(losses=LossConfig(streak_max=2)).trading()
    for number in (1, 2):
        bench.give(losing_fill(number))
    folder, name, text = next(file for file in bench.evidence.files if file[0] == "risk")
    assert (folder, name) == ("risk", f"consecutive_loss_trip_{bench.clock.utc_ms()}.json")
    assert '"threshold": 2' in text
    bench.second()
    assert bench.service.state.fsm.awaiting_resume
    assert bench.service.state.fsm.state is FsmState.PAUSED
    assert Bench(losses=LossConfig(streak_max=2), risk=bench.risk).service.state.fsm.awaiting_resume


def test_service_when_its_order_ids_run_out_then_it_ends_so_that_the_next_start_has_new_ones() -> None:
    bench = Bench().trading()
    bench.service.state.ids_made = INTENTS_PER_INCARNATION - 1_000
    with pytest.raises(IdsUsedUpError):
        bench.service.on_timer()


def test_service_when_the_cluster_overrides_then_the_more_severe_of_all_counts() -> None:
    bench = Bench().trading()
    bench.board.words[Word.CLUSTER_OVERRIDE] = Override.PAUSE
    bench.service.on_timer()
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.PAUSED]
    bench.board.words[Word.OVERRIDE] = (6 << 8) | Override.EMERGENCY
    bench.service.on_timer()
    assert bench.board.words[Word.FSM_STATE] == CODES[FsmState.EMERGENCY]

"""The fsm process: feeds the engine with frames, board words and time, and carries out what it decides, in order.

Every decision is ``core.engine.step``'s; this shell reads the clock, sends, counts and writes the board. Must never
send an intent that the engine did not emit, and never keep from the engine that one did not leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from grinder.core import engine
from grinder.core.demand import risk_demand
from grinder.core.engine_state import EngineConfig, EngineState
from grinder.core.events import (
    Blocked,
    Control,
    Counted,
    Effect,
    Event,
    InputFrame,
    Lost,
    Moved,
    Noted,
    Received,
    Send,
    Timer,
    Trip,
    Unsent,
)
from grinder.core.inputs import LOSS_STREAK_TRIPPED
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.losses import RiskMemory, longest_streak
from grinder.core.recording import Header
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.control import TRIP_CODES, FsmState, Override, TradingMode
from grinder.model.errors import GrinderError
from grinder.model.evidence import fsm_transition_file, loss_streak_file
from grinder.model.frames import Envelope, Frame, IntentFrame
from grinder.model.limits import LEVELS_MAX, SYMBOLS_MAX
from grinder.model.market import BookTop
from grinder.model.orders import INTENTS_PER_INCARNATION, OrderKind, OrdersSnapshot, ResyncOrders
from grinder.model.reasons import BlockReason
from grinder.model.risk_input import RiskInput
from grinder.model.units import NS_PER_MS, NS_PER_S
from grinder.ports import Board, Clock, DecisionSink, EvidenceSink, Log, Publisher, RiskStore, Telemetry
from grinder.services.loop import Cadence
from grinder.services.venue_time import venue_utc_ms

LOOP_STATE_PERIOD_MS: Final = 250
"""Period at which the state is repeated, milliseconds; the period of the state channel."""

PLAN_SUMMARY_PERIOD_MS: Final = 1_000
"""Period of the plan summaries, milliseconds."""

BLOCK_LOG_PERIOD_MS: Final = 60_000
"""Shortest time between two log lines about the same blocked action of a symbol, milliseconds."""

_ROUNDS_MAX: Final = 2 * LEVELS_MAX * SYMBOLS_MAX
_INPUTS: Final = frozenset(InputFrame.__args__)
_STATE_CODES: Final = {state: number for number, state in enumerate(FsmState, start=1)}
_CODE_BITS: Final = 8
_IDS_MAX: Final = INTENTS_PER_INCARNATION - INTENTS_PER_INCARNATION // 64
_CONTROL_WORDS: Final = (
    *TRIP_WORDS,
    Word.LATCH_FILE_LOADED,
    Word.OVERRIDE,
    Word.CLUSTER_OVERRIDE,
    Word.RESUME_COUNT,
    Word.EXECUTOR_READY,
    Word.ROLE,
    Word.TERM,
)


class IdsUsedUpError(GrinderError):
    """No order ids are left in this incarnation; going on would leave positions without take-profits."""


class FsmConfig(msgspec.Struct, frozen=True):
    """``engine``: how it decides. ``override``: the settings' override, beside the operator's on the board.

    ``evidence``: write a file per transition, and one per streak of losses.
    """

    engine: EngineConfig
    override: Override = Override.NONE
    evidence: bool = False


class FsmPorts(msgspec.Struct, frozen=True):
    """What the service uses. ``decisions`` is None where nothing is recorded; ``risk`` keeps the risk memory."""

    clock: Clock
    board: Board
    intents: Publisher
    states: Publisher
    telemetry: Telemetry
    log: Log
    evidence: EvidenceSink
    risk: RiskStore
    decisions: DecisionSink | None = None


class FsmService:
    """The Service of the fsm process."""

    def __init__(self, config: FsmConfig, ports: FsmPorts) -> None:
        self._config = config
        self._ports = ports
        now = ports.clock.mono_ns()
        memory = self._saved = ports.risk.memory
        # A memory that cannot be read may have held a loss: a person must look before there is new risk.
        awaiting = ports.board.read(Word.AWAITING_RESUME) != 0 or ports.risk.damaged
        self._state = engine.initial_state(config.engine, now, memory=memory, awaiting_resume=awaiting)
        if ports.decisions is not None:
            ports.decisions.begin(Header(config.engine, now, memory, awaiting))
        self._words: tuple[int, ...] | None = None
        self._loop_state = Cadence(LOOP_STATE_PERIOD_MS, now)
        self._summaries = Cadence(PLAN_SUMMARY_PERIOD_MS, now)
        self._blocks_logged: dict[tuple[str, tuple[BlockReason, ...]], int] = {}
        self._stopped = False

    @property
    def state(self) -> EngineState:
        """The engine's memory, to look at."""
        return self._state

    def on_start(self) -> None:
        """Show INIT on the board and look at the board's words."""
        self._show_state()
        self._look_at_board(self._ports.clock.mono_ns())

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        """Take one frame; kinds that decide nothing are left alone."""
        frame = envelope.frame
        if type(frame) not in _INPUTS or self._stopped:
            return
        now = self._ports.clock.mono_ns()
        self._look_at_board(now)
        if envelope.term < self._state.term and type(frame) is OrdersSnapshot:
            # What was true under an older term heals nothing; the next one is on its way.
            return
        self._step(Received(now, frame))  # type: ignore[arg-type]

    def on_gap(self, channel: str, missing: int) -> None:
        """Learn that frames of a channel were lost, or its publisher restarted."""
        if not self._stopped:
            self._step(Lost(self._ports.clock.mono_ns(), channel))

    def on_timer(self) -> None:
        """Give the engine the time, and repeat what others wait for.

        Raises:
            IdsUsedUpError: shortly before this start would run out of order ids; the supervisor starts the next one.
        """
        if self._stopped:
            return
        if self._state.ids_made >= _IDS_MAX:
            raise IdsUsedUpError(f"{self._state.ids_made} order ids made; the next start has new ones")
        now = self._ports.clock.mono_ns()
        self._look_at_board(now)
        self._step(Timer(now, venue_utc_ms(self._ports.board, self._ports.clock)))
        if self._loop_state.take(now):
            self._publish_state(now)
            self._set_gauges()
        if self._summaries.take(now):
            self._publish_summaries()

    def on_stop(self) -> None:
        """Stop deciding; the executor cancels what rests. Whoever stops it in order begins the next session anew."""
        self._save(replace(self._state.memory, session_open=False))
        self._ports.board.write(Word.FSM_STATE, 0)
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Tell whether it has stopped."""
        return self._stopped

    def readiness(self) -> str:
        """Return which inputs are not live, or an empty string."""
        limits = self._config.engine.guards
        missing = self._state.inputs_not_live
        if limits.mode is TradingMode.READ_ONLY or not self._config.engine.fsm_enabled:
            missing = tuple(name for name in missing if name == "market")
        return "not live: " + ", ".join(missing) if missing else ""

    def input_seen_mono_ns(self) -> dict[str, int]:
        """Return when each input was last accepted."""
        return dict(self._state.seen_mono_ns)

    def _look_at_board(self, now_mono_ns: int) -> None:
        """Tell the engine of the board's words when any of them changed, and acknowledge the override."""
        words = self._ports.board.read_all(_CONTROL_WORDS)
        if words == self._words or self._stopped:
            return
        self._words = words
        *trips, latch_loaded, override, cluster_override, resume_count, executor_ready, role, term = words
        self._step(
            Control(
                now_mono_ns=now_mono_ns,
                kill_switch_active=any(trips),
                latch_loaded=latch_loaded != 0,
                override=max(self._config.override, _override_of(override), _override_of(cluster_override)),
                resume_count=resume_count,
                executor_ready=executor_ready == 1,
                term=term if role == ROLE_ACTIVE else 0,
            )
        )
        self._ports.board.write(Word.OVERRIDE_ACK_FSM, override >> _CODE_BITS)

    def _step(self, event: Event) -> None:
        """Decide, and go on while a round of planning is left unfinished."""
        self._decide(event)
        for _ in range(_ROUNDS_MAX):
            if not engine.wants_more(self._state):
                return
            self._decide(Timer(self._ports.clock.mono_ns()))

    def _decide(self, event: Event) -> None:
        outgoing = _Outgoing(self, self._ports)
        self._state, effects = engine.step(self._state, event, outgoing)
        if self._state.memory.urgent != self._saved.urgent:
            # At once: the board that shows it is gone after a reboot, and no transfer may be taken twice.
            self._save(self._state.memory)
        if self._ports.decisions is not None:
            self._ports.decisions.record(event, effects)
        if not effects:
            return
        outgoing.carry_out()
        for frame, sent_mono_ns in outgoing.sent:
            self._count_sent(frame, sent_mono_ns, event)
        if outgoing.unsent:
            self._ports.telemetry.count("grinder_fsm_intents_unsent_total", by=float(outgoing.unsent))
            self._decide(Unsent(self._ports.clock.mono_ns(), outgoing.unsent))

    def _count_sent(self, frame: IntentFrame, sent_mono_ns: int, event: Event) -> None:
        telemetry = self._ports.telemetry
        telemetry.count("grinder_fsm_intents_sent_total", type(frame).__name__.lower())
        caused_by_book = isinstance(event, Received) and isinstance(event.frame, BookTop)
        if caused_by_book and not isinstance(frame, ResyncOrders):
            telemetry.observe("grinder_tick_to_intent_seconds", (sent_mono_ns - frame.cause_mono_ns) / NS_PER_S)

    def _blocked(self, effect: Blocked) -> None:
        telemetry = self._ports.telemetry
        telemetry.count("grinder_gating_blocked_total", "gate_chain", effect.reasons[0].value)
        for reason in effect.reasons:
            telemetry.count("grinder_gate_blocked_total", reason.value, effect.intent.value)
        by_state = BlockReason.FSM_STATE_BLOCKED in effect.reasons
        if by_state:
            telemetry.count("grinder_fsm_action_blocked_total", effect.state.value, effect.intent.value)
        now, key = self._state.now_mono_ns, (effect.symbol, effect.reasons)
        if now - self._blocks_logged.get(key, -BLOCK_LOG_PERIOD_MS * NS_PER_MS) < BLOCK_LOG_PERIOD_MS * NS_PER_MS:
            return
        self._blocks_logged = {
            known: at for known, at in self._blocks_logged.items() if now - at < BLOCK_LOG_PERIOD_MS * NS_PER_MS
        }
        self._blocks_logged[key] = now
        self._ports.log.event(
            "FSM_ACTION_BLOCKED" if by_state else "ACTION_BLOCKED",
            symbol=effect.symbol,
            state=effect.state.value,
            intent=effect.intent.value,
            reasons=",".join(effect.reasons),
        )

    def _moved(self, effect: Moved) -> None:
        transition = effect.transition
        utc_ms = self._ports.clock.utc_ms()
        self._show_state()
        self._ports.board.write(Word.AWAITING_RESUME, int(effect.awaiting_resume))
        self._publish_state(self._ports.clock.mono_ns())
        self._ports.log.event(
            "FSM_TRANSITION",
            from_state=transition.from_state.value,
            to_state=transition.to_state.value,
            reason=transition.reason.value,
            ts_ms=utc_ms,
            time_in_prev_state_s=round(transition.in_previous_ns / NS_PER_S, 3),
        )
        if self._config.evidence:
            file = fsm_transition_file(
                utc_ms, transition.from_state, transition.to_state, transition.reason, effect.signals
            )
            self._ports.evidence.write(file.folder, file.name, file.text)

    def _tripped(self, effect: Trip) -> None:
        self._ports.board.write(Word.TRIP_FSM, TRIP_CODES[effect.reason])
        self._ports.log.event("KILL_SWITCH_TRIPPED", reason=effect.reason.value, detail=effect.detail)

    def _counted(self, effect: Counted) -> None:
        self._ports.telemetry.count(effect.name, *effect.labels, by=float(effect.by))

    def _noted(self, effect: Noted) -> None:
        self._ports.log.event(effect.name, **dict(effect.fields))
        if effect.name == LOSS_STREAK_TRIPPED and self._config.evidence:
            file = loss_streak_file(self._ports.clock.utc_ms(), effect.fields)
            self._ports.evidence.write(file.folder, file.name, file.text)

    def _save(self, memory: RiskMemory) -> None:
        if memory is not self._saved:
            self._saved = memory
            self._ports.risk.save(memory)

    def _show_state(self) -> None:
        machine = self._state.fsm
        self._ports.board.write(Word.FSM_STATE_SINCE_MONO_NS, machine.since_mono_ns)
        self._ports.board.write(Word.FSM_STATE, _STATE_CODES[machine.state])

    def _publish_state(self, now_mono_ns: int) -> None:
        self._ports.states.send(engine.loop_state(self._state, now_mono_ns))

    def _publish_summaries(self) -> None:
        for symbol in self._state.symbols.values():
            summary = engine.plan_summary(self._state, symbol)
            if summary is not None:
                self._ports.states.send(summary)

    def _set_gauges(self) -> None:
        telemetry, state = self._ports.telemetry, self._state
        self._ports.board.write(Word.AWAITING_RESUME, int(state.fsm.awaiting_resume))
        self._ports.board.write(Word.RISK_DEMAND, int(risk_demand(state, state.now_mono_ns)))
        for each in RiskInput:
            telemetry.gauge("grinder_risk_input_live", float(each not in state.inputs_not_live), each.value)
        telemetry.gauge("grinder_drawdown_pct", state.drawdown_now or 0.0)
        telemetry.gauge("grinder_drawdown_session_pct", state.session_drawdown or 0.0)
        telemetry.gauge("grinder_session_start_equity", float(state.drawdown.session_start or 0))
        if state.drawdown.high_water_mark is not None:
            telemetry.gauge("grinder_high_water_mark", float(state.drawdown.high_water_mark))
        telemetry.gauge("grinder_day_loss", float(state.day_loss or 0))
        telemetry.gauge("grinder_risk_consecutive_losses", float(longest_streak(state.memory)))
        for name, losses in state.memory.symbols.items():
            telemetry.gauge("grinder_symbol_realized", float(losses.realized), name)
        self._save(state.memory)
        for symbol in state.symbols.values():
            profits = sum(order.kind is OrderKind.TAKE_PROFIT for order in state.view.of(symbol.symbol))
            telemetry.gauge("grinder_tp_active_gauge", float(profits), symbol.symbol)
            telemetry.gauge("grinder_cycle_lots", float(len(symbol.cycle.lots)), symbol.symbol)


class _Outgoing(list[Effect]):
    """The effects of one step, carried out in order: up to an intent the moment it is decided, the rest at the end.

    The executor is at work on the first intent while the next one is still being decided. After one that did not
    leave, none of the step does: ``unsent`` counts them. ``sent``: what left, and when.
    """

    def __init__(self, service: FsmService, ports: FsmPorts) -> None:
        super().__init__()
        self._service = service
        self._ports = ports
        self._done = 0
        self.sent: list[tuple[IntentFrame, int]] = []
        self.unsent = 0

    def append(self, effect: Effect) -> None:
        """Take an effect; an intent leaves at once, after what was decided before it."""
        super().append(effect)
        if isinstance(effect, Send):
            self.carry_out()

    def carry_out(self) -> None:
        """Carry out what has not been yet."""
        service, start = self._service, self._done
        self._done = len(self)
        for effect in self[start:]:
            if isinstance(effect, Send):
                self._send(effect.frame)
            else:
                _CARRY_OUT[type(effect)](service, effect)

    def _send(self, frame: IntentFrame) -> None:
        ports = self._ports
        if self.unsent or not ports.intents.send(frame):
            self.unsent += 1
        else:
            self.sent.append((frame, ports.clock.mono_ns()))


def _override_of(word: int) -> Override:
    """Return the override of a board word; a code that nobody knows is the most severe one."""
    code = word & ((1 << _CODE_BITS) - 1)
    return Override(code) if code in Override._value2member_map_ else Override.EMERGENCY


_CARRY_OUT: Final[dict[type, Callable[[FsmService, Any], None]]] = {
    Blocked: FsmService._blocked,
    Moved: FsmService._moved,
    Trip: FsmService._tripped,
    Counted: FsmService._counted,
    Noted: FsmService._noted,
}

assert set(_CARRY_OUT) | {Send} == set(Effect.__args__)

"""The metrics service: what ``/metrics``, ``/healthz``, ``/readyz`` and the status page say.

It listens to everything and influences nothing. Ages are computed when asked for, and safety facts (latch, override,
state, role) are read from the board when asked for, so that they stay true when their process is dead.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from grinder.core.interlocks import override_of
from grinder.core.rollback import ACCOUNT_AGE_S_MAX, Criterion, RoleChanges, RollbackInputs, Verdict, criteria
from grinder.model.account import AccountState, Mismatch
from grinder.model.board import TRIP_WORDS, Word, word_of
from grinder.model.control import TREE, TRIP_CODES, FsmState, HaRole, Override, Process, TripReason
from grinder.model.frames import Envelope, Frame, LoopState, PlanSummary, Telemetry
from grinder.model.market import BookTop
from grinder.model.metric import Kind, Metric, Origin
from grinder.model.metrics import BY_NAME, METRICS
from grinder.model.metrics_cluster import PERMISSIONS
from grinder.model.orders import Fill, OrdersSnapshot
from grinder.model.units import NS_PER_MS, NS_PER_S
from grinder.ports import Clock, PriceBoard
from grinder.services.aggregate import Aggregate
from grinder.services.readiness import ProcessHealth, Readiness, ReadinessInputs, is_alive, judge
from grinder.services.standing import HaStanding, ha_standing
from grinder.services.venue_stop import venue_stop

FILLS_SHOWN: Final = 30
MISMATCHES_SHOWN: Final = 20
_REASONS: Final = {code: reason for reason, code in TRIP_CODES.items()}
_STATES: Final = tuple(FsmState)

Values = dict[tuple[str, ...], float]


class MetricsConfig(msgspec.Struct, frozen=True):
    """Settings of the metrics service that its answers show."""

    symbols: tuple[str, ...]
    trading_mode: str
    exchange_port: str
    node_id: str
    ha_enabled: bool
    account_sync_enabled: bool
    drawdown_limit: float
    fill_model_enforce: bool


class MetricsService:
    """Aggregates, judges and answers; see ``grinder.ports.Service`` for the calls of the loop."""

    def __init__(self, config: MetricsConfig, clock: Clock, board: PriceBoard) -> None:
        self.config = config
        self.aggregate = Aggregate()
        self._clock = clock
        self._board = board
        self._started_mono_ns = clock.mono_ns()
        self._trip_seen: dict[Word, int] = dict.fromkeys(TRIP_WORDS, 0)
        self._trips: dict[str, int] = {reason.value: 0 for reason in TripReason}
        self._input_seen_mono_ns: dict[str, int] = {}
        self._roles = RoleChanges()
        self._stopped = False
        self.loop_state: LoopState | None = None
        self.account: AccountState | None = None
        self.account_wall_utc_ms = 0
        self.orders: OrdersSnapshot | None = None
        self.plans: dict[str, PlanSummary] = {}
        self.fills: deque[Fill] = deque(maxlen=FILLS_SHOWN)
        self.mismatches: deque[Mismatch] = deque(maxlen=MISMATCHES_SHOWN)

    def on_start(self) -> None:
        """Look at the board once, so that a trip of before this start is counted."""
        self.on_timer()

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        """Keep the newest of each frame that an answer shows."""
        now_mono_ns = self._clock.mono_ns()
        match envelope.frame:
            case Telemetry() as frame:
                self.aggregate.take(frame)
                self._input_seen_mono_ns["telemetry"] = now_mono_ns
            case LoopState() as frame:
                self.loop_state = frame
                self._input_seen_mono_ns["state"] = now_mono_ns
            case PlanSummary() as frame:
                self.plans[frame.symbol] = frame
            case AccountState() as frame:
                if self.account is None or frame.snapshot_mono_ns != self.account.snapshot_mono_ns:
                    self.account_wall_utc_ms = self._clock.utc_ms()
                self.account = frame
                self._input_seen_mono_ns["account"] = now_mono_ns
            case OrdersSnapshot() as frame:
                self.orders = frame
                self._input_seen_mono_ns["orders"] = now_mono_ns
            case Fill() as frame:
                self.fills.append(frame)
            case Mismatch() as frame:
                self.mismatches.append(frame)
            case _:
                pass

    def on_gap(self, channel: str, missing: int) -> None:
        """Do nothing: every frame shown here is repeated whole by its publisher."""

    def on_timer(self) -> None:
        """Count kill-switch trips as they appear on the board, one that another word repeats once, and role changes."""
        self._roles.see(self.role, self._clock.mono_ns() / NS_PER_S)
        known = {code for code in self._trip_seen.values() if code}
        for word in TRIP_WORDS:
            code = self._board.read(word)
            if code and code not in known:
                known.add(code)
                self._trips[_REASONS.get(code, TripReason.ERROR).value] += 1
            self._trip_seen[word] = code

    def on_stop(self) -> None:
        """Stop at once: there is nothing to finish."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Tell whether the stop was asked for."""
        return self._stopped

    def readiness(self) -> str:
        """Return an empty string: this process is ready as soon as it runs."""
        return ""

    def input_seen_mono_ns(self) -> dict[str, int]:
        """Return when each channel was last heard."""
        return self._input_seen_mono_ns

    @property
    def tripped(self) -> bool:
        """Tell whether any process's trip word is set."""
        return any(self._board.read(word) for word in TRIP_WORDS)

    @property
    def override(self) -> Override:
        """Return the override that holds: of this host or of the cluster; an unknown code counts as EMERGENCY."""
        return override_of(self._board.read(Word.OVERRIDE), self._board.read(Word.CLUSTER_OVERRIDE))

    @property
    def role(self) -> HaRole:
        """Return the role of this host: ACTIVE without HA, else what the executor proved last and what still holds."""
        return self.standing.role

    @property
    def standing(self) -> HaStanding:
        """Return what this host is in its cluster now."""
        now_mono_ns, now_boot_ns = self._clock.mono_ns(), self._clock.boot_ns()
        beat_mono_ns = self._board.read(word_of("HEARTBEAT", Process.EXECUTOR))
        record = self._board.heartbeat(Process.EXECUTOR)
        alive = record is not None and is_alive(beat_mono_ns, now_mono_ns)
        says = record.not_ready_reason if record is not None and alive else None
        return ha_standing(self._board, now_boot_ns, ha_enabled=self.config.ha_enabled, executor_says=says)

    @property
    def fsm_state(self) -> FsmState:
        """Return the state on the board; INIT where none was written yet."""
        number = self._board.read(Word.FSM_STATE)
        return _STATES[number - 1] if 0 < number <= len(_STATES) else FsmState.INIT

    def processes(self) -> dict[Process, ProcessHealth]:
        """Return the health of the five processes, by heartbeat."""
        now_mono_ns = self._clock.mono_ns()
        result: dict[Process, ProcessHealth] = {}
        for process in TREE:
            beat_mono_ns = self._board.read(word_of("HEARTBEAT", process))
            record = self._board.heartbeat(process)
            since_mono_ns = beat_mono_ns or self._started_mono_ns
            result[process] = ProcessHealth(
                alive=is_alive(beat_mono_ns, now_mono_ns),
                age_ms=max(0, now_mono_ns - since_mono_ns) // NS_PER_MS,
                pid=self._board.read(word_of("PID", process)),
                incarnation=self._board.read(word_of("INCARNATION", process)),
                starts=self._board.read(word_of("STARTS", process)),
                not_ready_reason="no heartbeat record" if record is None else record.not_ready_reason,
            )
        return result

    def judged(self) -> Readiness:
        """Return the readiness of the loop now."""
        # A tree whose fsm was never heard has no symbol that is known to be fresh.
        stale = self.loop_state.stale_symbols if self.loop_state is not None else self.config.symbols
        snapshot_mono_ns = self.account.snapshot_mono_ns if self.account is not None else 0
        standing = self.standing
        inputs = ReadinessInputs(
            processes=self.processes(),
            role=standing.role,
            standing=standing.words,
            tripped=self.tripped,
            override=self.override,
            stale_symbols=stale,
            account_sync_enabled=self.config.account_sync_enabled,
            account_snapshot_mono_ns=snapshot_mono_ns,
            awaiting_resume=self._board.read(Word.AWAITING_RESUME) != 0,
            venue_stop=venue_stop(self._board, self._clock.boot_ns()).words,
        )
        return judge(inputs, self._clock.mono_ns())

    def rollback(self) -> tuple[Criterion, ...]:
        """Return the rollback criteria of the runbook as they stand now; what no live process tells is unknown."""
        processes = self.processes()
        now_mono_ns = self._clock.mono_ns()
        since_mono_ns = self._board.read(Word.FSM_STATE_SINCE_MONO_NS)
        fsm_lives, executor_lives = processes[Process.FSM].alive, processes[Process.EXECUTOR].alive
        counted = self.aggregate.values(BY_NAME["grinder_emergency_exit_total"])[("error",)]
        # The board remembers those of before a restart of both.
        exit_errors = max(counted, float(self._board.read(Word.EXIT_ERRORS)))
        executor_told = executor_lives and self.aggregate.heard(Process.EXECUTOR)
        # The latch file is the executor's to read: until it has, a trip may be known to the file alone.
        file_read = executor_lives and self._board.read(Word.LATCH_FILE_LOADED) != 0
        inputs = RollbackInputs(
            tripped=self.tripped or (False if file_read else None),
            drawdown=self._drawdown() if fsm_lives else None,
            drawdown_limit=self.config.drawdown_limit,
            state=self.fsm_state if fsm_lives and self._board.read(Word.FSM_STATE) else None,
            state_s=(now_mono_ns - since_mono_ns) / NS_PER_S if since_mono_ns else None,
            exit_errors=exit_errors if exit_errors or executor_told else None,
            account_age_s=self._sync_age_s(),
            # A host that is alone has one role, watched or not.
            role_changes=self._roles.recent(now_mono_ns / NS_PER_S) if self.config.ha_enabled else 0,
            # Nothing evaluates the model in this version: with enforcement on, nobody can say that it did not trip.
            fill_prob_trips=None if self.config.fill_model_enforce else 0.0,
        )
        return criteria(inputs)

    def _sync_age_s(self) -> float | None:
        """Return the account's age; None where no sync is wanted, and before the first one until it must have come."""
        told = self.account is not None and self.account.snapshot_mono_ns > 0
        known = self.config.account_sync_enabled and (told or self.account_age_s > ACCOUNT_AGE_S_MAX)
        return self.account_age_s if known else None

    def _drawdown(self) -> float | None:
        """Return the drawdown that the fsm saw last, a fraction; None while it does not know it."""
        text = dict(self.loop_state.signals).get("drawdown_pct", "None") if self.loop_state is not None else "None"
        return None if text == "None" else float(text)

    def books(self) -> dict[str, BookTop | None]:
        """Return the last book of every symbol, from the board."""
        return {symbol: self._board.book(symbol) for symbol in self.config.symbols}

    @property
    def uptime_s(self) -> float:
        """Seconds since this process started."""
        return (self._clock.mono_ns() - self._started_mono_ns) / NS_PER_S

    @property
    def account_age_s(self) -> float:
        """Seconds since the last clean account snapshot, or since this process started."""
        snapshot_mono_ns = self.account.snapshot_mono_ns if self.account is not None else 0
        return (self._clock.mono_ns() - (snapshot_mono_ns or self._started_mono_ns)) / NS_PER_S

    def scrape_values(self) -> dict[str, Values]:
        """Return the value of every metric that is computed when scraped, by name."""
        processes = self.processes()
        now_mono_ns = self._clock.mono_ns()
        since_mono_ns = self._board.read(Word.FSM_STATE_SINCE_MONO_NS)
        data_utc_ms = self.account.event_utc_ms if self.account is not None else 0
        fsm, executor = processes[Process.FSM], processes[Process.EXECUTOR]
        standing = self.standing
        return {
            "grinder_up": {(): 1.0},
            "grinder_uptime_seconds": {(): self.uptime_s},
            "grinder_readyz_callback_registered": {(): 1.0},
            "grinder_readyz_ready": {(): float(self.judged().ready)},
            "grinder_live_engine_initialized": {(): float(fsm.alive and executor.alive)},
            "grinder_fsm_current_state": {(state.value,): float(state is self.fsm_state) for state in FsmState},
            "grinder_fsm_state_duration_seconds": {
                (): (now_mono_ns - (since_mono_ns or self._started_mono_ns)) / NS_PER_S
            },
            "grinder_kill_switch_triggered": {(): float(self.tripped)},
            "grinder_kill_switch_trips_total": {(name,): float(count) for name, count in self._trips.items()},
            "grinder_operator_override": {(): float(self.override)},
            "grinder_account_sync_age_seconds": {(): self.account_age_s},
            "grinder_reconcile_last_snapshot_age_seconds": {(): self.account_age_s},
            "grinder_account_sync_last_wall_ts": {(): float(self.account_wall_utc_ms)},
            "grinder_account_sync_data_age_seconds": {
                (): max(0.0, (self._clock.utc_ms() - data_utc_ms) / 1_000) if data_utc_ms else 0.0
            },
            "grinder_ha_role": {(role.value,): float(role is standing.role) for role in HaRole},
            "grinder_ha_term": {(): float(standing.term)},
            "grinder_ha_lease_remaining_seconds": {(): standing.lease_left_s},
            "grinder_ha_permit_remaining_seconds": {(): standing.permit_left_s},
            "grinder_ha_cluster_permission": {(name,): float(name == standing.permission) for name in PERMISSIONS},
            "grinder_ha_cluster_override": {(): float(standing.override)},
            "grinder_ha_role_changes_total": {(): float(self._roles.total)},
            "grinder_rollback_criterion": {
                (each.name,): float(each.verdict is Verdict.HOLDS)
                for each in self.rollback()
                if each.verdict is not Verdict.OPERATOR
            },
            "grinder_ha_is_leader": {(): float(standing.role is HaRole.ACTIVE)},
            "grinder_process_up": {(name.value,): float(health.alive) for name, health in processes.items()},
            "grinder_process_heartbeat_age_seconds": {
                (name.value,): health.age_ms / 1_000 for name, health in processes.items()
            },
            "grinder_process_starts_total": {(name.value,): float(health.starts) for name, health in processes.items()},
        }

    def values(self) -> list[tuple[Metric, Values]]:
        """Return every gauge and counter of the table with its values."""
        scraped = self.scrape_values()
        return [
            (metric, scraped[metric.name] if metric.origin is Origin.SCRAPE else self.aggregate.values(metric))
            for metric in METRICS
            if metric.kind is not Kind.HISTOGRAM
        ]

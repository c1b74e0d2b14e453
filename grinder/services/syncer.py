"""The syncer: account truth from snapshots and its own user stream, compared with what the executor believes.

Without ``account_sync_enabled`` it publishes the venue's rules and clock and no account: then nobody takes new risk.
Must never place or cancel anything, nor publish an account of which a part could not be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from grinder.core import transfers
from grinder.core.account import Snapshot, empty_account, on_event, on_snapshot, state_of
from grinder.core.account_evidence import bundle, folder_name
from grinder.core.reconcile import Finding
from grinder.core.response import Grades
from grinder.model.account import Instruments, Mismatch, SyncError
from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, AccountResponse, TripReason
from grinder.model.frames import AccountFrame, Envelope, Frame
from grinder.model.limits import ACCOUNT_STALE_MS, INSTRUMENTS_PERIOD_MS
from grinder.model.orders import CommandRefused, Fill, OrdersSnapshot, OrderState, OrderUpdate
from grinder.model.reasons import DenyReason, MismatchRule
from grinder.model.remedy import RemedyResult
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    AccountEvent,
    Advice,
    ConfigChanged,
    MarginCall,
    OrderEvent,
    UserEvent,
    UserStreamDown,
    UserStreamUp,
)
from grinder.ports import (
    AuditSink,
    BudgetStore,
    Clock,
    EvidenceSink,
    Log,
    PriceBoard,
    Publisher,
    StreamControl,
    Telemetry,
    Venue,
)
from grinder.services.comparison import Comparison
from grinder.services.reconcile import ReconcileConfig, ReconcileLoop, ReconcilePorts
from grinder.services.snapshots import SnapshotReader
from grinder.services.venue_facts import VenueFacts

_TRIPS: Final = {MismatchRule.FORCED_CLOSE: TripReason.FORCED_CLOSE}
"""Reason of the trip by the rule that demands it; ACCOUNT_MISMATCH for every other one."""


_REFUSED: Final = (OrderState.REJECTED, OrderState.DENIED)


class SyncerConfig(msgspec.Struct, frozen=True):
    """What the syncer is told. ``enabled``: GRINDER_ACCOUNT_SYNC_ENABLED, and credentials are there.

    ``ha_enabled``: another host may lead; then what the account has is not held against this host's orders and fills.
    """

    enabled: bool
    interval_ms: int
    evidence: bool
    symbols: tuple[str, ...]
    prefix: str
    ha_enabled: bool
    grades: Grades
    reconcile: ReconcileConfig


class SyncerPorts(msgspec.Struct, frozen=True):
    """What the syncer has of the world. ``stream``: its own user stream.

    ``advice_in``: what the venue's refusal means that a frame of the orders channel gives as its reason.
    ``weight_used``: part of the venue's request weight of this minute that this address has used.
    """

    venue: Venue
    publisher: Publisher
    board: PriceBoard
    clock: Clock
    telemetry: Telemetry
    log: Log
    evidence: EvidenceSink
    stream: StreamControl
    audit: AuditSink
    budget: BudgetStore
    advice_in: Callable[[str], Advice | None]
    weight_used: Callable[[], float]


class SyncerService:
    """Implements ports.Service. ``on_user_event`` takes the user stream's events."""

    def __init__(self, ports: SyncerPorts, config: SyncerConfig) -> None:
        self._ports = ports
        self._config = config
        self._facts = VenueFacts(
            ports.venue,
            ports.board,
            ports.clock,
            ports.telemetry,
            ports.log,
            config.symbols,
            has_key=config.enabled,
            on_mode=self._on_mode,
        )
        self._reader = SnapshotReader(
            ports.venue,
            ports.clock,
            config.symbols,
            config.interval_ms,
            venue_utc_ms=self._facts.venue_utc_ms,
            weight_used=ports.weight_used,
            on_snapshot=self._on_snapshot,
            on_mode=self._on_mode,
            on_error=self._on_error,
        )
        self._comparison = Comparison(
            ports.clock, ports.board, config.symbols, config.prefix, config.ha_enabled, config.grades, self._tell
        )
        reconcile_ports = ReconcilePorts(
            ports.publisher, ports.board, ports.clock, ports.telemetry, ports.log, ports.audit, ports.budget
        )
        self._reconcile = ReconcileLoop(reconcile_ports, config.reconcile, self._comparison)
        self._account = empty_account()
        self._wallet = transfers.WalletWatch()
        self._response = AccountResponse.NONE
        self._told = (AccountResponse.NONE, False)
        self._tripped = False
        self._resume_count = ports.board.read(Word.RESUME_COUNT)
        self._evident: tuple[Finding, ...] | None = None
        self._evidence_folder = ""
        self._mode_known = False
        self._publish_due_mono_ns = 0
        self._rules: Instruments | None = None
        self._seen: dict[str, int] = {}
        self._stretched = False
        self._stopped = False

    def on_start(self) -> None:
        """Begin to ask."""
        if not self._config.enabled:
            self._ports.log.event("ACCOUNT_SYNC_OFF", consequence="no account state, hence no new risk")
        self._reconcile.on_start()
        self.on_timer()

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        """Take one frame of the orders channel."""
        frame = envelope.frame
        self._seen["orders"] = self._ports.clock.mono_ns()
        told = frame if isinstance(frame, OrderUpdate | OrdersSnapshot | Fill) else None
        of_this_term = envelope.term == self._ports.board.read(Word.TERM)
        self._comparison.on_orders(told if of_this_term else None)
        if isinstance(frame, CommandRefused) or (isinstance(frame, OrderUpdate) and frame.state in _REFUSED):
            # The executor's own rules may be newer than those that the fsm has from here.
            own = Advice.FILTER if frame.reason == DenyReason.FILTER else None
            self._facts.on_refusal(own or self._ports.advice_in(frame.reason))
        if isinstance(frame, RemedyResult):
            self._reconcile.on_result(frame)

    def on_gap(self, channel: str, missing: int) -> None:
        """Begin the comparison of positions anew: fills may have been among the lost frames."""
        self._ports.log.event("GAP", channel=channel, missing=missing)
        self._comparison.begin_positions_anew()
        self._reconcile.on_gap()

    def on_user_event(self, event: UserEvent) -> None:
        """Take one event of the user stream."""
        if not self._config.enabled:
            return
        self._seen["user_stream"] = self._ports.clock.mono_ns()
        if isinstance(event, AccountEvent):
            self._account = on_event(self._account, event)
            self._watch_wallet(transfers.on_event(self._wallet, event))
            self._comparison.on_account_event(event)
            self._comparison.compare_positions(self._account)
            self._respond()
            self._publish_account()
        elif isinstance(event, OrderEvent):
            self._comparison.on_order_event(event)
            self._respond()
        elif isinstance(event, UserStreamUp):
            self._wallet = transfers.on_stream_up(self._wallet, self._ports.clock.mono_ns())
            self._comparison.on_stream_up()
            self._reader.read_soon()
        else:
            self._hear_warning(event)

    def _hear_warning(self, event: MarginCall | ConfigChanged | UserStreamDown) -> None:
        if isinstance(event, MarginCall):
            self._ports.telemetry.count("grinder_account_sync_margin_calls_total")
            self._ports.log.event("MARGIN_CALL", symbols=" ".join(event.symbols))
            self._reader.read_soon()
        elif isinstance(event, ConfigChanged):
            self._ports.log.event("ACCOUNT_CONFIG_CHANGED", symbol=event.symbol)
            self._facts.on_config_changed()
        else:
            self._ports.log.event("USER_STREAM_DOWN", why=event.why)

    def on_timer(self) -> None:
        """Ask for what is due, compare, repeat what late joiners need."""
        now = self._ports.clock.mono_ns()
        self._facts.on_timer()
        if self._config.enabled:
            self._hear_operator()
            self._reader.on_timer()
            self._tell_pace()
            self._comparison.compare_positions(self._account)
            self._respond()
            self._reconcile.on_timer(self._account)
        repeat = now >= self._publish_due_mono_ns
        if repeat:
            self._publish_due_mono_ns = now + INSTRUMENTS_PERIOD_MS * NS_PER_MS
            self._publish_account()
        if (rules := self._facts.instruments) is not None and (repeat or rules is not self._rules):
            self._rules = rules
            self._publish(rules)

    def on_stop(self) -> None:
        """Stop at once: nothing is left behind."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Tell whether the stop is over."""
        return self._stopped

    def readiness(self) -> str:
        """Return what is not known yet, or an empty string."""
        if self._facts.instruments is None:
            return "no instruments yet"
        if not self._facts.clock_known:
            return "venue clock unknown"
        if not self._config.enabled:
            return ""
        age_ns = self._ports.clock.mono_ns() - self._account.snapshot_mono_ns
        if self._account.snapshot_mono_ns == 0:
            return "no account snapshot yet"
        if self._facts.refused:
            return self._facts.refused
        return "account snapshot is old" if age_ns > ACCOUNT_STALE_MS * NS_PER_MS else ""

    def input_seen_mono_ns(self) -> dict[str, int]:
        """Return when each input was last heard of."""
        return dict(self._seen)

    def _hear_operator(self) -> None:
        """Take over what an operator has accepted: by a resume the positions, by a reset a forced close."""
        board = self._ports.board
        resume_count = board.read(Word.RESUME_COUNT)
        if resume_count != self._resume_count:
            self._resume_count = resume_count
            self._ports.log.event("POSITIONS_ACCEPTED", by="grinder resume")
            self._comparison.begin_positions_anew()
        if self._tripped and not board.read(Word.TRIP_SYNCER):
            self._tripped = False
            self._comparison.on_reset()

    def _respond(self) -> None:
        """Say at once what the mismatches forbid and demand; trip the kill switch where they demand that."""
        response, rule = self._comparison.response()
        if response is not self._response:
            self._response = response
            name = rule.value if rule is not None else "none"
            self._ports.log.event("ACCOUNT_RESPONSE", response=response.name, rule=name)
            self._ports.telemetry.gauge("grinder_account_sync_response", float(response))
            self._ports.telemetry.count("grinder_account_sync_responses_total", response.name, name)
        told = (response, self._comparison.forbids_risk)
        if told != self._told:
            self._told = told
            self._publish_account()
        if response is AccountResponse.EMERGENCY and rule is not None:
            self._trip(rule)

    def _trip(self, rule: MismatchRule) -> None:
        self._tripped = True
        if not self._ports.board.read(Word.TRIP_SYNCER):
            reason = _TRIPS.get(rule, TripReason.ACCOUNT_MISMATCH)
            self._ports.board.write(Word.TRIP_SYNCER, TRIP_CODES[reason])
            self._ports.log.event("KILL_SWITCH_TRIPPED", reason=reason, rule=rule)

    def _tell_pace(self) -> None:
        """Say when snapshots come seldom for the venue's weight, and when no longer."""
        self._ports.telemetry.gauge("grinder_venue_weight_used_ratio", self._ports.weight_used())
        if self._reader.stretched != self._stretched:
            self._stretched = self._reader.stretched
            name = "ACCOUNT_SYNC_STRETCHED" if self._stretched else "ACCOUNT_SYNC_AT_PACE"
            used, every_ms = round(self._ports.weight_used(), 3), self._reader.period_ms
            self._ports.log.event(name, weight_used=used, every_ms=every_ms)
            self._ports.telemetry.gauge("grinder_account_sync_stretched", float(self._stretched))

    def _on_mode(self, hedge_mode: bool) -> None:
        self._account = msgspec.structs.replace(self._account, hedge_mode=hedge_mode)
        self._mode_known = True

    def _on_error(self, reason: str, query: str) -> None:
        self._ports.telemetry.count("grinder_account_sync_errors_total", reason)
        self._ports.log.event("ACCOUNT_SYNC_ERROR", query=query, reason=reason)
        self._publish(SyncError(reason, query))

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self._seen["rest"] = self._ports.clock.mono_ns()
        self._account = on_snapshot(self._account, snapshot)
        assert self._account.balance is not None, "a snapshot has one"
        wallet, asked_mono_ns = self._account.balance.wallet_balance, snapshot.asked_mono_ns
        self._watch_wallet(transfers.on_snapshot(self._wallet, wallet, asked_mono_ns, snapshot.asked_utc_ms))
        self._comparison.on_snapshot(snapshot)
        self._comparison.compare_positions(self._account)
        self._respond()
        self._measure(snapshot)
        self._publish_account()

    def _watch_wallet(self, watch: transfers.WalletWatch) -> None:
        """Take what is known of the wallet, and say what was put in or taken out."""
        amount = watch.transfers.total - self._wallet.transfers.total
        self._wallet = watch
        if amount:
            self._ports.log.event("TRANSFER", amount=str(amount), total=str(watch.transfers.total))

    def _tell(self, finding: Finding) -> None:
        """Tell of a mismatch that has just become certain."""
        self._ports.telemetry.count("grinder_account_sync_mismatches_total", finding.rule.value)
        self._ports.log.event("MISMATCH", rule=finding.rule, symbol=finding.symbol, detail=finding.detail)
        self._publish(Mismatch(finding.rule, finding.symbol, finding.detail, self._account.event_utc_ms))
        if finding.rule is MismatchRule.STREAM_DIFFERS:
            self._ports.stream.renew("silent")

    def _measure(self, snapshot: Snapshot) -> None:
        telemetry = self._ports.telemetry
        utc_ms = self._ports.clock.utc_ms()
        telemetry.count("grinder_account_sync_snapshots_total")
        telemetry.gauge("grinder_account_sync_last_ts", float(self._account.event_utc_ms or utc_ms))
        if self._config.evidence and self._comparison.active != self._evident:
            # Whenever what differs has changed, and once at the start: a file per snapshot would fill the disk.
            self._evident = self._comparison.active
            self._evidence_folder = folder_name(utc_ms, self._evidence_folder)
            for name, text in bundle(snapshot, self._evident, self._account.source.value).items():
                self._ports.evidence.write(self._evidence_folder, name, text)

    def _publish_account(self) -> None:
        """Publish the account whole, once it is known whole."""
        if not self._mode_known:
            return
        state = state_of(
            self._account,
            reconciled=not self._comparison.forbids_risk and not self._facts.refused,
            response=self._response,
            restricted=bool(self._facts.restricted),
            transfers=self._wallet.transfers,
        )
        if state is None:
            return
        self._publish(state)
        telemetry = self._ports.telemetry
        telemetry.gauge("grinder_account_sync_positions_count", float(len(state.positions)))
        telemetry.gauge("grinder_account_sync_open_orders_count", float(state.open_orders_count))
        telemetry.gauge("grinder_account_sync_pending_notional", float(state.pending_notional))

    def _publish(self, frame: AccountFrame) -> None:
        self._ports.publisher.send(frame)

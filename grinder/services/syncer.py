"""The syncer: account truth from snapshots and its own user stream, compared with what the executor believes.

Without ``account_sync_enabled`` it publishes the venue's rules and clock and no account: then nobody takes new risk.
Must never place or cancel anything, nor publish an account of which a part could not be read.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from grinder.core.account import Account, Snapshot, empty_account, on_event, on_snapshot, state_of
from grinder.core.account_evidence import bundle, folder_name
from grinder.core.reconcile import (
    Differences,
    Finding,
    KnownOrders,
    PositionBelief,
    check_orders,
    check_snapshot,
)
from grinder.model.account import Balance, Instruments, Mismatch, OpenOrder, Position, SyncError
from grinder.model.channels import ORDERS
from grinder.model.frames import AccountFrame, Envelope, Frame
from grinder.model.limits import ACCOUNT_STALE_MS, INSTRUMENTS_PERIOD_MS
from grinder.model.orders import Fill, OrdersSnapshot, OrderUpdate
from grinder.model.reasons import MismatchRule
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    AccountEvent,
    Answer,
    Confirmed,
    InDoubt,
    NotSent,
    OrderEvent,
    QueryBalance,
    QueryOpenOrders,
    QueryPositionMode,
    QueryPositions,
    Rejected,
    UserEvent,
    UserStreamUp,
    VenueReply,
    VenueRequest,
)
from grinder.ports import Board, Clock, EvidenceSink, Log, Publisher, Telemetry, Venue
from grinder.services.venue_facts import VenueFacts

MODE_PERIOD_MS: Final = 600_000
ANSWER_MS_MAX: Final = 10_000
"""A snapshot that is not whole after this long is given up, milliseconds; the venue adapter answers before that."""

SWEEP_MS: Final = 30_000
"""How often the orders of every symbol are asked for, milliseconds. In between, only those of the traded symbols: the
whole list weighs 40, one symbol 1. Source: venue documentation, GET /fapi/v1/openOrders, 2026-05-28."""

_ORDER_RULES: Final = frozenset(
    {
        MismatchRule.VENUE_ORDER_UNKNOWN,
        MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX,
        MismatchRule.ORPHAN_ORDER,
        MismatchRule.ORDER_MISSING_AT_VENUE,
    }
)
_SNAPSHOT_RULES: Final = frozenset({MismatchRule.TS_REGRESSION, MismatchRule.DUPLICATE_KEY, MismatchRule.NEGATIVE_QTY})
_POSITION_RULES: Final = frozenset({MismatchRule.POSITION_DIFFERS_FROM_FILLS})

assert frozenset(MismatchRule) == _ORDER_RULES | _SNAPSHOT_RULES | _POSITION_RULES


class SyncerConfig(msgspec.Struct, frozen=True):
    """What the syncer is told. ``enabled``: GRINDER_ACCOUNT_SYNC_ENABLED, and credentials are there."""

    enabled: bool
    interval_ms: int
    evidence: bool
    symbols: tuple[str, ...]
    prefix: str
    term: int


class SyncerPorts(msgspec.Struct, frozen=True):
    """What the syncer has of the world."""

    venue: Venue
    publisher: Publisher
    board: Board
    clock: Clock
    telemetry: Telemetry
    log: Log
    evidence: EvidenceSink


class SyncerService:
    """Implements ports.Service. ``on_user_event`` takes the user stream's events."""

    def __init__(self, ports: SyncerPorts, config: SyncerConfig) -> None:
        self._ports = ports
        self._config = config
        self._facts = VenueFacts(ports.venue, ports.board, ports.clock, ports.telemetry, ports.log, config.symbols)
        self._account: Account = empty_account()
        self._known = KnownOrders()
        self._belief = PositionBelief()
        self._differences = Differences()
        self._evident: tuple[Finding, ...] | None = None
        self._before: Snapshot | None = None
        self._parts: dict[VenueRequest, Answer] = {}
        self._elsewhere: tuple[OpenOrder, ...] = ()
        self._sweep_due_mono_ns = 0
        self._swept = False
        self._waiting = 0
        self._round = 0
        self._asked_mono_ns = 0
        self._asked_utc_ms = 0
        self._due_mono_ns = 0
        self._mode_due_mono_ns = 0
        self._mode_known = False
        self._publish_due_mono_ns = 0
        self._rules: Instruments | None = None
        self._orders_seen_mono_ns = 0
        self._seen: dict[str, int] = {}
        self._stopped = False

    def on_start(self) -> None:
        """Begin to ask."""
        if not self._config.enabled:
            self._ports.log.event("ACCOUNT_SYNC_OFF", consequence="no account state, hence no new risk")
        self.on_timer()

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        """Take one frame of the orders channel."""
        now = self._ports.clock.mono_ns()
        frame = envelope.frame
        self._seen["orders"] = self._orders_seen_mono_ns = now
        if isinstance(frame, OrderUpdate):
            self._known.on_update(frame, now)
        elif isinstance(frame, OrdersSnapshot):
            self._known.on_snapshot(frame, now)
        elif isinstance(frame, Fill):
            self._belief.on_fill(frame)

    def on_gap(self, channel: str, missing: int) -> None:
        """Begin the comparison of positions anew: fills may have been among the lost frames."""
        self._ports.log.event("GAP", channel=channel, missing=missing)
        self._belief.forget()

    def on_user_event(self, event: UserEvent) -> None:
        """Take one event of the user stream."""
        if not self._config.enabled:
            return
        self._seen["user_stream"] = self._ports.clock.mono_ns()
        if isinstance(event, AccountEvent):
            self._account = on_event(self._account, event)
            self._compare_positions()
            self._publish_account()
        elif isinstance(event, UserStreamUp):
            self._due_mono_ns = 0
        elif not isinstance(event, OrderEvent):
            self._ports.log.event("USER_STREAM_DOWN", why=event.why)

    def on_timer(self) -> None:
        """Ask for what is due, compare, repeat what late joiners need."""
        now = self._ports.clock.mono_ns()
        self._facts.on_timer()
        if self._config.enabled:
            self._ask(now)
            self._compare_positions()
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
        return "account snapshot is old" if age_ns > ACCOUNT_STALE_MS * NS_PER_MS else ""

    def input_seen_mono_ns(self) -> dict[str, int]:
        """Return when each input was last heard of."""
        return dict(self._seen)

    def _ask(self, now_mono_ns: int) -> None:
        """Ask for a whole snapshot, one at a time, and now and then for the position mode."""
        if now_mono_ns >= self._mode_due_mono_ns:
            self._mode_due_mono_ns = now_mono_ns + self._config.interval_ms * NS_PER_MS
            self._ports.venue.submit(QueryPositionMode(), self._on_mode)
        if self._waiting and now_mono_ns - self._asked_mono_ns > ANSWER_MS_MAX * NS_PER_MS:
            self._waiting = 0
            self._error("no_answer", "snapshot")
        if self._waiting or now_mono_ns < self._due_mono_ns:
            return
        self._due_mono_ns = now_mono_ns + self._config.interval_ms * NS_PER_MS
        self._parts = {}
        self._round += 1
        self._asked_mono_ns = now_mono_ns
        self._asked_utc_ms = self._facts.venue_utc_ms()
        sweep = not self._swept or now_mono_ns >= self._sweep_due_mono_ns
        if sweep:
            self._sweep_due_mono_ns = now_mono_ns + SWEEP_MS * NS_PER_MS
        orders = (QueryOpenOrders(),) if sweep else tuple(QueryOpenOrders(symbol) for symbol in self._config.symbols)
        parts: tuple[VenueRequest, ...] = (QueryPositions(), QueryBalance(), *orders)
        self._waiting = len(parts)
        for part in parts:
            self._ports.venue.submit(part, partial(self._on_part, part, self._round))

    def _on_mode(self, reply: VenueReply) -> None:
        if isinstance(reply, Confirmed) and isinstance(reply.value, bool):
            self._account = msgspec.structs.replace(self._account, hedge_mode=reply.value)
            self._mode_known = True
            self._mode_due_mono_ns = self._ports.clock.mono_ns() + MODE_PERIOD_MS * NS_PER_MS
        else:
            self._error(_reason(reply), QueryPositionMode.__name__)

    def _on_part(self, part: VenueRequest, asked_in: int, reply: VenueReply) -> None:
        if asked_in != self._round or self._waiting == 0:
            return
        self._waiting -= 1
        if isinstance(reply, Confirmed):
            self._parts[part] = reply.value
        else:
            self._error(_reason(reply), type(part).__name__)
        if self._waiting == 0:
            self._on_parts()

    def _error(self, reason: str, name: str) -> None:
        self._ports.telemetry.count("grinder_account_sync_errors_total", reason)
        self._ports.log.event("ACCOUNT_SYNC_ERROR", query=name, reason=reason)
        self._publish(SyncError(reason, name))

    def _open_orders(self) -> tuple[OpenOrder, ...] | None:
        """Return every resting order, of other symbols as of the last sweep; None if a part could not be read."""
        found: list[OpenOrder] = []
        whole = QueryOpenOrders()
        for part in (whole,) if whole in self._parts else map(QueryOpenOrders, self._config.symbols):
            value = self._parts.get(part)
            if not isinstance(value, tuple):
                return None
            found.extend(item for item in value if isinstance(item, OpenOrder))
        if whole in self._parts:
            self._swept = True
            self._elsewhere = tuple(item for item in found if item.symbol not in self._config.symbols)
            return tuple(found)
        return (*found, *self._elsewhere)

    def _on_parts(self) -> None:
        """Put the parts together; a snapshot with a missing part is none."""
        positions = self._parts.get(QueryPositions())
        balance = self._parts.get(QueryBalance())
        orders = self._open_orders()
        if not isinstance(positions, tuple) or orders is None or not isinstance(balance, Balance):
            return
        snapshot = Snapshot(
            tuple(item for item in positions if isinstance(item, Position)),
            orders,
            balance,
            self._asked_mono_ns,
            self._asked_utc_ms,
        )
        self._seen["rest"] = self._ports.clock.mono_ns()
        self._account = on_snapshot(self._account, snapshot)
        self._compare_snapshot(snapshot)
        self._compare_positions()
        self._before = snapshot
        self._measure(snapshot)
        self._publish_account()

    def _compare_snapshot(self, snapshot: Snapshot) -> None:
        now = self._ports.clock.mono_ns()
        self._judge(_SNAPSHOT_RULES, check_snapshot(snapshot, self._before), now)
        if now - self._orders_seen_mono_ns <= ORDERS.stale_ms * NS_PER_MS:
            findings = check_orders(snapshot, self._known, self._config.prefix, self._config.term, now)
            self._judge(_ORDER_RULES, findings, now)

    def _compare_positions(self) -> None:
        """Compare every traded symbol's position with our fills, while both sides are alive."""
        now = self._ports.clock.mono_ns()
        if not self._account.snapshot_mono_ns or now - self._orders_seen_mono_ns > ORDERS.stale_ms * NS_PER_MS:
            return
        findings = [
            finding
            for symbol in self._config.symbols
            if (finding := self._belief.check(symbol, self._account.qty(symbol), now)) is not None
        ]
        self._judge(_POSITION_RULES, findings, now)

    def _judge(self, rules: frozenset[MismatchRule], findings: list[Finding], now_mono_ns: int) -> None:
        for finding in self._differences.judge(rules, findings, now_mono_ns):
            self._ports.telemetry.count("grinder_account_sync_mismatches_total", finding.rule.value)
            self._ports.log.event("MISMATCH", rule=finding.rule, symbol=finding.symbol, detail=finding.detail)
            self._publish(Mismatch(finding.rule, finding.symbol, finding.detail, self._account.event_utc_ms))

    def _measure(self, snapshot: Snapshot) -> None:
        telemetry = self._ports.telemetry
        utc_ms = self._ports.clock.utc_ms()
        telemetry.count("grinder_account_sync_snapshots_total")
        telemetry.gauge("grinder_account_sync_last_ts", float(self._account.event_utc_ms or utc_ms))
        if self._config.evidence and self._differences.active != self._evident:
            # Whenever what differs has changed, and once at the start: a file per snapshot would fill the disk.
            self._evident = self._differences.active
            for name, text in bundle(snapshot, self._evident, self._account.source.value).items():
                self._ports.evidence.write(folder_name(utc_ms), name, text)

    def _publish_account(self) -> None:
        """Publish the account whole, once it is known whole."""
        if not self._mode_known:
            return
        state = state_of(self._account, reconciled=not self._differences.forbids_risk)
        if state is None:
            return
        self._publish(state)
        telemetry = self._ports.telemetry
        telemetry.gauge("grinder_account_sync_positions_count", float(len(state.positions)))
        telemetry.gauge("grinder_account_sync_open_orders_count", float(state.open_orders_count))
        telemetry.gauge("grinder_account_sync_pending_notional", float(state.pending_notional))

    def _publish(self, frame: AccountFrame) -> None:
        self._ports.publisher.send(frame)


def _reason(reply: VenueReply) -> str:
    """Return a short stable word for a query that did not succeed."""
    match reply:
        case Rejected():
            return f"rejected_{reply.advice.value.lower()}"
        case InDoubt():
            return "in_doubt"
        case NotSent():
            return "not_sent"
        case Confirmed():
            return "unexpected_answer"

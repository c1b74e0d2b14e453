"""The executor: intents in, interlocks, journal, wire; order events out. The only process that commands orders.

Start-up is recovery; stop is cancel and proof. Must never decide strategy, never let new risk pass on an unknown input,
never hold back a cancel or a reduce-only order for a budget, a cap, arming or the latch, and never touch anything at
the venue while another host may lead.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.account import LIST_LAG_MS_MAX
from grinder.core.interlocks import ROLE_ACTIVE, Limits
from grinder.core.ledger import replay
from grinder.core.orders import Order, closed_by_venue
from grinder.model.account import AccountState, Mismatch
from grinder.model.board import Word
from grinder.model.control import FoundOrders, TripReason
from grinder.model.frames import Envelope, Frame, IntentFrame
from grinder.model.limits import ACCOUNT_STALE_MS, ORDERS_SNAPSHOT_PERIOD_MS, RECV_WINDOW_MS_MAX
from grinder.model.orders import Amend, Cancel, OrderBudget, OrdersSnapshot, Place, ResyncOrders
from grinder.model.reasons import DenyReason, MismatchRule
from grinder.model.remedy import Remedy
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import (
    ConfigChanged,
    OrderEvent,
    UserEvent,
    UserStreamDown,
    UserStreamUp,
)
from grinder.ports import PriceBoard
from grinder.services.dead_man import COUNTDOWN_MS, DeadMansSwitch
from grinder.services.emergency import EmergencyConfig, EmergencyExit
from grinder.services.intent_gate import Conditions, IntentGate
from grinder.services.journal_watch import JournalWatch
from grinder.services.lead import Duties, Lead, Membership
from grinder.services.order_desk import OrderDesk
from grinder.services.order_store import ExecutorPorts, OrderStore
from grinder.services.recovery import Recovery, RecoveryConfig
from grinder.services.remedies import Conditions as RemedyConditions
from grinder.services.remedies import RemedyConfig, RemedyDesk
from grinder.services.settling import Settling
from grinder.services.tenure import Parts, Tenure, TenureConfig
from grinder.services.withdrawal import Withdrawal

STREAM_DOWN_QUERY_MS: Final = 5_000
"""How often every live order is asked for while the user stream is down, milliseconds."""

INTENTS: Final = (Place, Amend, Cancel, ResyncOrders)

ORDER_RULES: Final = frozenset(
    {
        MismatchRule.ORDER_MISSING_AT_VENUE,
        MismatchRule.ORPHAN_ORDER,
        MismatchRule.ORDER_DIFFERS,
        MismatchRule.POSITION_DIFFERS_FROM_FILLS,
    }
)
"""Mismatches that asking about our orders may explain."""


class ExecutorConfig(msgspec.Struct, frozen=True):
    """What the executor is told.

    ``prefix``, ``term``, ``incarnation``: of its own order ids and of those it calls its own; in a cluster the term is
    won. ``run_id``: names the run whose order budget counts, the same over restarts of this process. ``sends``: False
    in read_only mode and without credentials; then it watches its channels and sends nothing at all.
    ``remedy_notional_max``: largest close of one remedy, quote currency; 0 is none. ``found_orders``: what to do with
    entries that rest and that nobody knows. ``recv_window_ms``: the largest that the venue port gives a command.
    """

    limits: Limits
    symbols: tuple[str, ...]
    prefix: str
    term: int
    incarnation: int
    run_id: str
    sends: bool
    emergency_exit_enabled: bool
    emergency_slippage_bps: int
    remedy_notional_max: Decimal = ZERO
    found_orders: FoundOrders = FoundOrders.ADOPT
    dead_man_countdown_ms: int = COUNTDOWN_MS
    recv_window_ms: int = RECV_WINDOW_MS_MAX


class ExecutorService:
    """Implements ports.Service. ``on_user_event`` takes the user stream's events."""

    def __init__(
        self,
        ports: ExecutorPorts,
        board: PriceBoard,
        config: ExecutorConfig,
        join: Callable[[Duties], Membership] | None = None,
    ) -> None:
        """``join``: makes this host's side of the cluster; None where it has none, and then it leads only if alone."""
        self._ports = ports
        self._board = board
        self._config = config
        self._lead = Lead(config.term, leads=not config.limits.ha_enabled)
        label = config.limits.port.value
        self._dead_man = DeadMansSwitch(ports, config.dead_man_countdown_ms)
        self._store = OrderStore(ports, config.run_id, self._dead_man.on_first_order)
        self._settling = Settling(ports, self._store, label)
        self._desk = OrderDesk(ports, self._store, self._settling, label, config.recv_window_ms)
        self._recovery = Recovery(
            ports,
            self._store,
            self._settling,
            RecoveryConfig(config.prefix, config.found_orders),
            self._lead,
            self._desk.cancel,
            self._trip_forced_close,
            self._on_order_seen,
        )
        doubt = self._recovery.read_rules_soon
        self._gate = IntentGate(
            ports, board, self._store, self._desk, config.limits, config.prefix, config.run_id, doubt
        )
        exit_config = EmergencyConfig(
            config.emergency_exit_enabled and config.sends,
            config.symbols,
            config.prefix,
            config.incarnation,
            config.emergency_slippage_bps,
            config.limits.override,
        )
        self._emergency = EmergencyExit(ports, board, self._desk, self._store, self._settling, self._lead, exit_config)
        self._journal_watch = JournalWatch(ports, self._store, keeps=config.sends)
        self._withdrawal = Withdrawal(ports, self._store, self._desk, self._forbids)
        remedies = RemedyConfig(config.prefix, config.incarnation, config.remedy_notional_max)
        self._remedies = RemedyDesk(ports, board, self._store, self._desk, self._lead, remedies)
        orders = self._store, self._settling, self._desk, self._dead_man
        parts = Parts(*orders, self._recovery, self._emergency, self._remedies, self._journal_watch)
        ours = TenureConfig(config.symbols, config.prefix, config.sends)
        self._tenure = Tenure(ports, board, self._lead, parts, ours, self._publish_snapshot, join)
        self._account: AccountState | None = None
        self._stream_up = False
        self._stream_query_mono_ns = 0
        self._snapshot_mono_ns = 0
        self._told_ready = False
        self._intents = (0, 0)
        self._seen: dict[str, int] = {}

    def on_start(self) -> None:
        """Take over the journal and begin recovery."""
        self._tenure.on_start()
        self._ports.telemetry.gauge("grinder_emergency_exit_enabled", float(self._config.emergency_exit_enabled))
        replayed = replay(self._ports.journal.replay())
        self._journal_watch.begin()
        self._ports.log.event(
            "JOURNAL_READ", orders_without_end=len(replayed.orders), ids=len(replayed.seen), bad=replayed.unreadable
        )
        if self._config.sends:
            self._store.restore(replayed)
            if not self._lead.leads:
                self._store.set_aside()
            self._recovery.begin()

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        """Take one frame of the intents or account channel."""
        frame = envelope.frame
        if isinstance(frame, INTENTS):
            self._take_intent(frame, envelope)
        elif isinstance(frame, AccountState):
            self._seen["account"] = self._ports.clock.mono_ns()
            self._account = frame
            self._store.fills_ahead.on_account(frame)
        elif isinstance(frame, Remedy):
            self._take_remedy(frame)
        elif isinstance(frame, Mismatch) and frame.rule in ORDER_RULES and self._lead.leads:
            self._settling.ask_all_now()
            self._recovery.read_orders_again()

    def _take_remedy(self, remedy: Remedy) -> None:
        """Carry out what the reconcile loop asks for, or answer why not."""
        refusal = "" if self._config.sends else "sends_nothing"
        if not self._lead.leads:
            refusal = "not_leader"
        if self._tenure.ending:
            refusal = "stopping"
        self._remedies.on_remedy(remedy, RemedyConditions(refusal, self._account, self._recovery.instruments))

    def _take_intent(self, intent: IntentFrame, envelope: Envelope[Frame]) -> None:
        """Carry one intent out, or answer why not."""
        now = self._ports.clock.mono_ns()
        self._seen["intents"] = now
        self._intents = max(self._intents, (envelope.incarnation, envelope.seq))
        self._store.intent(now)
        if isinstance(intent, Amend):
            self._gate.on_amend(intent, envelope, self._conditions(now))
        elif isinstance(intent, Place):
            self._gate.on_place(intent, envelope, self._conditions(now))
        elif isinstance(intent, Cancel):
            self._gate.on_cancel(intent, envelope, self._conditions(now))
        else:
            self._publish_snapshot()
        self._store.intent(0)

    def on_gap(self, channel: str, missing: int) -> None:
        """Tell the fsm, by a snapshot, which of its intents arrived; a lost account state comes again by itself."""
        self._ports.log.event("GAP", channel=channel, missing=missing)
        if channel == "intents":
            self._publish_snapshot()

    def on_user_event(self, event: UserEvent) -> None:
        """Take one event of the user stream."""
        self._seen["user_stream"] = self._ports.clock.mono_ns()
        self._settling.heard(event)
        if isinstance(event, OrderEvent):
            if closed_by_venue(event):
                self._trip_forced_close(event.symbol, event.client_order_id)
            self._tenure.on_order_event(event)
            if not self._lead.leads:
                return
            if not self._desk.on_order_event(event) and self._gate.is_ours(event.client_order_id):
                self._ports.log.event("UNKNOWN_ORDER_EVENT", client_order_id=event.client_order_id)
                self._recovery.read_orders_again()
            self._tenure.move_on()
        elif isinstance(event, ConfigChanged):
            self._recovery.read_mode_again()
        elif isinstance(event, UserStreamUp | UserStreamDown):
            self._stream_up = isinstance(event, UserStreamUp)
            self._settling.ask_all_now()
            if self._stream_up:
                self._recovery.read_orders_again()

    def _on_order_seen(self, client_order_id: str) -> None:
        self._tenure.on_order_seen(client_order_id)

    def _trip_forced_close(self, symbol: str, client_order_id: str) -> None:
        """Trip the kill switch: the venue took a position away, so what we believe of our risk was wrong."""
        self._tenure.trip(TripReason.FORCED_CLOSE, symbol, client_order_id, "the venue closes a position")

    def on_timer(self) -> None:
        """Look at everything that is due."""
        now = self._ports.clock.mono_ns()
        self._tenure.on_timer()
        if self._config.sends:
            if self._lead.leads:
                self._follow_orders()
            self._recovery.on_timer()
            if self._lead.leads:
                self._protect()
                self._query_while_blind(now)
        self._tenure.move_on()
        ready = not self.readiness()
        self._board.write(Word.EXECUTOR_READY, int(ready))
        self._board.write(Word.OVERRIDE_ACK_EXECUTOR, self._board.read(Word.OVERRIDE) >> 8)
        if ready is not self._told_ready:
            # The fsm waits for this word, after a takeover more than ever.
            self._publish_snapshot()
        if now - self._snapshot_mono_ns >= ORDERS_SNAPSHOT_PERIOD_MS * NS_PER_MS:
            self._publish_snapshot()
            self._publish_budget(now)
            self._journal_watch.on_timer()

    def _follow_orders(self) -> None:
        """Settle what is open about our orders."""
        self._desk.on_timer()
        self._recovery.on_refusals(self._desk.refused)
        self._desk.refused.clear()
        self._settling.on_timer()

    def _protect(self) -> None:
        """Do by ourselves what nobody asks for: leave the market, remedy, guard what rests, take it back."""
        if self._recovery.exchange is not None:
            self._desk.rate.set_limits(self._recovery.exchange.rate_limits)
        self._desk.rate.told(self._ports.rates_used())
        self._emergency.on_timer(self._recovery.instruments)
        self._remedies.on_timer()
        if not self._tenure.ending:
            # An older leader's countdown is dealt with once it is known what rests.
            guards = self._recovery.orders_known or not self._dead_man.inherited
            if guards and self._board.read(Word.ROLE) == ROLE_ACTIVE:
                self._dead_man.on_timer(self._store.live_symbols())
            self._withdrawal.on_timer()

    def on_stop(self) -> None:
        """Refuse further risk, cancel what rests, prove it; then leave the cluster, if there is one."""
        self._tenure.on_stop()

    @property
    def stopped(self) -> bool:
        """Tell whether the stop is over."""
        return self._tenure.stopped

    def readiness(self) -> str:
        """Return why new risk would be denied for want of an input, or an empty string."""
        problem = self._tenure.problem
        if problem or not self._config.sends:
            return problem
        if not self._ports.venue.connected:
            return "venue order path is down"
        if not self._stream_up:
            return "user stream is down"
        return self._journal_watch.problem or self._not_reconciled(self._ports.clock.mono_ns())

    def input_seen_mono_ns(self) -> dict[str, int]:
        """Return when each input was last heard of."""
        return dict(self._seen)

    def _forbids(self, order: Order) -> DenyReason | None:
        return self._gate.forbids(order, self._conditions(self._ports.clock.mono_ns()))

    def _conditions(self, now_mono_ns: int) -> Conditions:
        return Conditions(
            self._not_reconciled(now_mono_ns),
            self._ports.venue.connected and self._stream_up,
            self._tenure.ending,
            self._intents[0],
            self._recovery.instruments,
            self._settling.unresolved_symbols,
            self._account.positions if self._account is not None else (),
        )

    def _not_reconciled(self, now_mono_ns: int) -> str:
        """Return why what we know of the account does not bear new risk, or an empty string."""
        problem = self._recovery.problem() or self._dead_man.problem
        if problem:
            return problem
        account = self._account
        if account is None or account.snapshot_mono_ns == 0:
            return "no account snapshot yet"
        if now_mono_ns - account.snapshot_mono_ns > ACCOUNT_STALE_MS * NS_PER_MS:
            return "account snapshot is old"
        shows_mono_ns = self._recovery.listed_mono_ns + LIST_LAG_MS_MAX * NS_PER_MS
        if self._config.limits.max_position_usd is not None and account.snapshot_mono_ns < shows_mono_ns:
            # What filled before we knew what rests, only an account that shows it can tell us.
            return "account snapshot may be older than the last fills from before the start"
        return "" if account.reconciled else "account differs from what we believe"

    def _query_while_blind(self, now_mono_ns: int) -> None:
        """While the user stream is down, ask for every live order now and then."""
        due = now_mono_ns - self._stream_query_mono_ns >= STREAM_DOWN_QUERY_MS * NS_PER_MS
        if not self._stream_up and due:
            self._stream_query_mono_ns = now_mono_ns
            self._settling.ask_all_now()

    def _publish_snapshot(self) -> None:
        now = self._ports.clock.mono_ns()
        self._snapshot_mono_ns = now
        problem = self.readiness()
        self._told_ready = not problem
        live = self._store.live()
        self._store.publish(
            OrdersSnapshot(tuple(order.update() for order in live), *self._intents, not problem, problem, now)
        )
        telemetry = self._ports.telemetry
        telemetry.gauge("grinder_executor_live_orders", float(len(live)))
        telemetry.gauge("grinder_executor_orders_in_doubt", float(self._settling.in_doubt))
        telemetry.gauge("grinder_executor_orders_unresolved", float(self._settling.unresolved))

    def _publish_budget(self, now_mono_ns: int) -> None:
        left_10s, left_1m = self._desk.rate.left(now_mono_ns)
        self._store.publish(OrderBudget(left_10s, left_1m, self._store.risk_orders))

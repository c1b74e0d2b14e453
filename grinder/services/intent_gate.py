"""Each intent of the fsm against the interlocks: sent through the desk, or answered with the reason why not.

Reads the board at the moment of the decision. Must never leave an intent unanswered.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from grinder.core.interlocks import PRICE_AGE_NS_MAX, RISK, Ask, Command, Facts, Limits, deny, forbidden
from grinder.core.orders import Order, amend_sent, new_order
from grinder.core.reach import reach_usd
from grinder.model.account import Position
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.frames import Envelope, Frame
from grinder.model.instrument import Instrument
from grinder.model.orders import Amend, Cancel, CommandRefused, OrderId, OrderState, Place, parse_order_id
from grinder.model.reasons import DenyReason
from grinder.model.units import ZERO
from grinder.ports import PriceBoard
from grinder.services.order_desk import OrderDesk
from grinder.services.order_store import ExecutorPorts, OrderStore

_FACT_WORDS: Final = (
    *TRIP_WORDS,
    Word.OVERRIDE,
    Word.CLUSTER_OVERRIDE,
    Word.FSM_STATE,
    Word.HEARTBEAT_FSM_MONO_NS,
    Word.ROLE,
    Word.TERM,
    Word.RISK_DEADLINE_BOOT_NS,
    Word.LEAD_DEADLINE_BOOT_NS,
    Word.VENUE_CLOCK_CHECKED_MONO_NS,
    Word.VENUE_CLOCK_ERROR_US,
    Word.VENUE_CLOCK_SUSPENDED_NS,
)

NO_TERM: Final = -1
"""Term that no host ever has."""


class Conditions(msgspec.Struct, frozen=True):
    """What the executor itself knows at this moment. ``not_reconciled``: why new risk must wait, or empty.

    ``positions``: as the syncer told them last.
    """

    not_reconciled: str
    connected: bool
    stopping: bool
    intents_incarnation: int
    instruments: dict[str, Instrument]
    unresolved_symbols: frozenset[str]
    positions: tuple[Position, ...]


class IntentGate:
    """Judges and forwards intents."""

    def __init__(
        self,
        ports: ExecutorPorts,
        board: PriceBoard,
        store: OrderStore,
        desk: OrderDesk,
        limits: Limits,
        prefix: str,
        run_id: str,
        doubt_rules: Callable[[], None],
    ) -> None:
        """``doubt_rules``: called when the rules that are here forbid what the fsm's allow: one of the two is old."""
        self._ports = ports
        self._board = board
        self._store = store
        self._desk = desk
        self._limits = limits
        self._prefix = prefix
        self._run_id = run_id
        self._doubt_rules = doubt_rules

    def is_ours(self, client_order_id: str) -> bool:
        """Tell whether an order id has our prefix and form."""
        return self._ours(client_order_id) is not None

    def on_place(self, place: Place, envelope: Envelope[Frame], conditions: Conditions) -> None:
        """Send a placement or answer it as DENIED; an id that was used before is only counted."""
        name = place.client_order_id
        parts = self._ours(name)
        used = parts is None or self._store.seen(name)
        command = Command.PLACE_REDUCE if place.reduce_only else Command.PLACE_RISK
        ask = _ask(command, place, envelope, place.price, place.qty, used, None)
        if parts is not None and parts.term != envelope.term:
            # Decided under one term and sent under another: of neither.
            ask = msgspec.structs.replace(ask, term=NO_TERM)
        reason = self._judge(ask, conditions, partial(new_order, place))
        if reason is None:
            if self._desk.place(place, "" if place.reduce_only else self._run_id):
                return
            reason = DenyReason.JOURNAL_FAILED
        self._count(reason, ask)
        if not used:
            self._store.remember(name)
            denied = msgspec.structs.replace(new_order(place), state=OrderState.DENIED, reason=reason.value)
            self._store.publish(denied.update())

    def on_amend(self, amend: Amend, envelope: Envelope[Frame], conditions: Conditions) -> None:
        """Send an amend or refuse it."""
        order = self._store.get(amend.client_order_id)
        protective = order is not None and order.reduce_only
        command = Command.AMEND_REDUCE if protective else Command.AMEND_RISK
        ask = _ask(command, amend, envelope, amend.price, amend.qty, False, order)
        wanted = None if order is None else partial(amend_sent, order, amend.price, amend.qty)
        reason = self._judge(ask, conditions, wanted)
        if reason is None:
            assert order is not None
            if self._desk.amend(order, amend.price, amend.qty):
                return
            reason = DenyReason.JOURNAL_FAILED
        self._refuse(reason, ask, "amend")

    def on_cancel(self, cancel: Cancel, envelope: Envelope[Frame], conditions: Conditions) -> None:
        """Send a cancel; refuse it only when there is no such live order, or one is on its way already."""
        order = self._store.get(cancel.client_order_id)
        ask = _ask(Command.CANCEL, cancel, envelope, ZERO, ZERO, False, order)
        reason = self._judge(ask, conditions, None)
        if reason is None:
            assert order is not None
            self._desk.cancel(order)
        else:
            self._refuse(reason, ask, "cancel")

    def forbids(self, order: Order, conditions: Conditions) -> DenyReason | None:
        """Return why an entry that rests could not be placed now, or None."""
        ask = Ask(
            Command.PLACE_RISK,
            order.client_order_id,
            order.symbol,
            order.price,
            order.qty,
            0,
            0,
            conditions.intents_incarnation,
            False,
            order,
        )
        return forbidden(ask, self._facts(ask, conditions), self._limits)

    def _ours(self, client_order_id: str) -> OrderId | None:
        parts = parse_order_id(client_order_id)
        return parts if parts is not None and parts.prefix == self._prefix else None

    def _judge(self, ask: Ask, conditions: Conditions, wanted: Callable[[], Order] | None) -> DenyReason | None:
        """Return why a command may not be sent; ``wanted`` makes its order as it would be then, where that counts."""
        facts = self._facts(ask, conditions)
        if wanted is not None and ask.command in RISK and self._limits.max_position_usd is not None:
            facts = msgspec.structs.replace(facts, reach_usd=self._reach_usd(wanted(), conditions.positions))
        if facts.now_mono_ns > ask.deadline_mono_ns:
            self._ports.telemetry.count("grinder_executor_late_intents_total", ask.command.value)
        return deny(ask, facts, self._limits)

    def _facts(self, ask: Ask, conditions: Conditions) -> Facts:
        clock = self._ports.clock
        now, now_boot_ns = clock.mono_ns(), clock.boot_ns()
        words = self._board.read_all(_FACT_WORDS)
        *trips, override, cluster_override, fsm_state, fsm_beat_mono_ns, role, term, risk, lead = words[:-3]
        checked, error_us, suspended_ns = words[-3:]
        risky = ask.command in RISK
        return Facts(
            now_mono_ns=now,
            now_boot_ns=now_boot_ns,
            trips=tuple(trips),
            override=override,
            cluster_override=cluster_override,
            fsm_state=fsm_state,
            fsm_beat_mono_ns=fsm_beat_mono_ns,
            role=role,
            term=term,
            risk_deadline_boot_ns=risk,
            lead_deadline_boot_ns=lead,
            clock_checked_mono_ns=checked,
            clock_error_us=error_us,
            slept_ns=now_boot_ns - now - suspended_ns,
            not_reconciled=conditions.not_reconciled,
            symbol_unresolved=ask.symbol in conditions.unresolved_symbols,
            connected=conditions.connected,
            stopping=conditions.stopping,
            instrument=conditions.instruments.get(ask.symbol),
            mark=self._board.mark(ask.symbol) if risky else None,
            book=self._board.book(ask.symbol) if risky else None,
            orders_of_symbol=self._store.of_symbol(ask.symbol),
            orders_tracked=len(self._store),
            orders_left=min(self._desk.rate.left(now)),
            risk_orders_this_run=self._store.risk_orders,
            intents_incarnation=conditions.intents_incarnation,
        )

    def _reach_usd(self, wanted: Order, positions: tuple[Position, ...]) -> Decimal | None:
        told = {position.symbol: position.mark_price for position in positions if position.mark_price > ZERO}
        now = self._ports.clock.mono_ns()

        def price_of(symbol: str) -> Decimal | None:
            mark = self._board.mark(symbol)
            fresh = mark is not None and now - mark.recv_mono_ns <= PRICE_AGE_NS_MAX
            return mark.mark_price if mark is not None and fresh else told.get(symbol)

        orders = (order for order in self._store.live() if order.client_order_id != wanted.client_order_id)
        return reach_usd(positions, (*orders, wanted), self._limits.symbols, price_of, self._store.fills_ahead)

    def _refuse(self, reason: DenyReason, ask: Ask, command: str) -> None:
        """Answer an amend or cancel; show a finished order once more, since the asker does not know its end."""
        self._count(reason, ask)
        if ask.order is not None and ask.order.terminal:
            self._store.publish(ask.order.update())
        self._store.publish(CommandRefused(ask.client_order_id, ask.symbol, command, reason.value))

    def _count(self, reason: DenyReason, ask: Ask) -> None:
        self._ports.telemetry.count("grinder_executor_denied_total", reason.value)
        if reason is DenyReason.FILTER:
            self._doubt_rules()
        self._ports.log.event(
            # An order that ended while a command for it was on its way is nobody's fault.
            "TOO_LATE" if ask.order is not None and ask.order.terminal else "DENIED",
            reason=reason,
            command=ask.command,
            client_order_id=ask.client_order_id,
            symbol=ask.symbol,
            price=ask.price,
            qty=ask.qty,
        )


def _ask(
    command: Command,
    intent: Place | Amend | Cancel,
    envelope: Envelope[Frame],
    price: Decimal,
    qty: Decimal,
    seen: bool,
    order: Order | None,
) -> Ask:
    return Ask(
        command,
        intent.client_order_id,
        intent.symbol,
        price,
        qty,
        intent.deadline_mono_ns,
        envelope.term,
        envelope.incarnation,
        seen,
        order,
    )

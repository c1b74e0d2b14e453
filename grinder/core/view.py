"""The fsm's own view of the orders that are alive, those still on their way included.

An order exists here from the moment its intent is queued. Three things move it: answers of the executor
(OrderUpdate, CommandRefused), trades (Fill), and the periodic OrdersSnapshot, which heals whatever was lost. Must never
read a clock, never forget an order that may still be alive while this host leads, and never count a command as answered
because of a frame that the executor sent before it read the command.

Invariant: a symbol's live orders plus its unsettled fills are never fewer than what the venue may still execute.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from grinder.model.limits import ORDERS_TRACKED_MAX
from grinder.model.orders import (
    IN_FLIGHT,
    TERMINAL,
    Amend,
    Cancel,
    CommandRefused,
    Fill,
    OrderKind,
    OrdersSnapshot,
    OrderState,
    OrderUpdate,
    Place,
    Side,
    parse_order_id,
)
from grinder.model.reasons import DenyReason
from grinder.model.units import NS_PER_MS, ZERO

SETTLE_MS: Final = 5_000
"""Longest wait for the trades of an order that the executor reported as ended, milliseconds."""

SETTLING_MAX: Final = 1_024
"""Most ended orders that wait for their trades at once; the oldest is given up first."""

_COMMAND_STATES: Final = frozenset({OrderState.PENDING_AMEND, OrderState.PENDING_CANCEL})


class LiveOrder(msgspec.Struct, frozen=True, gc=False):
    """One order that is, or may be, alive.

    ``level``: level of its id, empty for a foreign order. ``filled_qty``: as the executor says; ``fills_qty``: sum of
    the trades seen. ``intent_seq``: number of our last intent about it on the intents channel, 0 if none of this
    incarnation; ``intent_deadline_mono_ns``: from then on the executor would refuse that intent. ``answered``: the
    executor has shown that it read that intent. ``since_mono_ns``: when it was first seen here. ``given_up_qty``: part
    of ``fills_qty`` that a snapshot told of and no trade has shown; a trade that comes after all is taken from it.
    ``asked_qty``: size that an amend of ours, not answered yet, may give it.
    """

    client_order_id: str
    symbol: str
    level: str
    side: Side
    kind: OrderKind
    state: OrderState
    price: Decimal
    qty: Decimal
    filled_qty: Decimal
    fills_qty: Decimal
    reduce_only: bool
    intent_seq: int
    intent_deadline_mono_ns: int
    answered: bool
    since_mono_ns: int
    given_up_qty: Decimal = ZERO
    asked_qty: Decimal = ZERO

    @property
    def in_flight(self) -> bool:
        """Tell whether an answer about it is owed."""
        return self.state in IN_FLIGHT

    @property
    def executed_qty(self) -> Decimal:
        """Quantity executed as far as anyone told us, base units."""
        return self.filled_qty if self.filled_qty >= self.fills_qty else self.fills_qty

    @property
    def remaining_qty(self) -> Decimal:
        """Quantity that may still execute at worst, base units."""
        executed = self.filled_qty if self.filled_qty >= self.fills_qty else self.fills_qty
        largest = self.qty if self.qty >= self.asked_qty else self.asked_qty
        return largest - executed if executed < largest else ZERO

    @property
    def unsettled_qty(self) -> Decimal:
        """Executed quantity whose trades have not arrived yet, base units."""
        return self.filled_qty - self.fills_qty if self.filled_qty > self.fills_qty else ZERO


class OrdersView:
    """Live orders by client id and by symbol. One owner: the engine; every method is O(1) but the snapshot's.

    ``touched`` collects the symbols whose orders changed since the owner last cleared it. ``synced``: a snapshot was
    read since the last gap. ``executor_ready``: the executor's last word about itself.
    """

    __slots__ = ("_by_symbol", "_orders", "_settling", "executor_ready", "incarnation", "synced", "touched")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.synced = False
        self.executor_ready = False
        self.touched: set[str] = set()
        self._orders: dict[str, LiveOrder] = {}
        self._by_symbol: dict[str, dict[str, LiveOrder]] = {}
        self._settling: dict[str, LiveOrder] = {}

    def __len__(self) -> int:
        """Return how many orders are or may be alive."""
        return len(self._orders)

    @property
    def full(self) -> bool:
        """Tell whether no further order may be added."""
        return len(self._orders) >= ORDERS_TRACKED_MAX

    def get(self, client_order_id: str) -> LiveOrder | None:
        """Return a live order by its id, or None."""
        return self._orders.get(client_order_id)

    def of(self, symbol: str) -> Iterable[LiveOrder]:
        """Return the live orders of a symbol, in the order in which they were first seen."""
        return self._by_symbol.get(symbol, {}).values()

    def unsettled_of(self, symbol: str) -> Iterable[LiveOrder]:
        """Return the ended orders of a symbol whose trades have not all arrived."""
        return (order for order in self._settling.values() if order.symbol == symbol)

    def quiet(self, symbol: str) -> bool:
        """Tell whether no answer and no trade is owed for a symbol."""
        return not any(order.in_flight or order.unsettled_qty for order in self.of(symbol)) and not any(
            True for _ in self.unsettled_of(symbol)
        )

    def place(self, intent: Place, seq: int, now_mono_ns: int) -> None:
        """Add the order of a queued Place as PENDING_NEW.

        Args:
            intent: the queued frame; its id must be new.
            seq: its number on the intents channel.
            now_mono_ns: time of the event that caused it.
        """
        assert intent.client_order_id not in self._orders
        assert not self.full
        self._keep(
            LiveOrder(
                client_order_id=intent.client_order_id,
                symbol=intent.symbol,
                level=_level_of(intent.client_order_id),
                side=intent.side,
                kind=intent.kind,
                state=OrderState.PENDING_NEW,
                price=intent.price,
                qty=intent.qty,
                filled_qty=ZERO,
                fills_qty=ZERO,
                reduce_only=intent.reduce_only,
                intent_seq=seq,
                intent_deadline_mono_ns=intent.deadline_mono_ns,
                answered=False,
                since_mono_ns=now_mono_ns,
            )
        )

    def command(self, intent: Amend | Cancel, seq: int) -> LiveOrder:
        """Mark a live order as having a queued amend or cancel; return it as it was before."""
        before = self._orders[intent.client_order_id]
        pending = OrderState.PENDING_AMEND if isinstance(intent, Amend) else OrderState.PENDING_CANCEL
        self._keep(
            replace(
                before,
                state=pending,
                intent_seq=seq,
                intent_deadline_mono_ns=intent.deadline_mono_ns,
                answered=False,
                asked_qty=max(before.asked_qty, intent.qty) if isinstance(intent, Amend) else before.asked_qty,
            )
        )
        return before

    def unsend(self, client_order_id: str, before: LiveOrder | None) -> None:
        """Undo a Place (``before`` None), amend or cancel whose frame never left this process."""
        if before is None:
            self._drop(client_order_id)
        else:
            self._keep(before)

    def update(self, update: OrderUpdate, now_mono_ns: int) -> None:
        """Take the executor's word about one order; ended orders leave, unless trades of theirs are still owed."""
        known = self._orders.get(update.client_order_id)
        if update.state in TERMINAL:
            self._end(update, known, now_mono_ns)
            return
        if known is None and (self.full or update.client_order_id in self._settling):
            return
        order = self._merged(update, known, now_mono_ns)
        if known is not None and order.in_flight and order.remaining_qty == known.remaining_qty:
            # Still owed an answer, still as large: nothing to plan.
            self._store(order)
        else:
            self._keep(order)

    def refuse(self, refusal: CommandRefused) -> None:
        """Take back a pending amend or cancel; an order that the executor does not know is gone."""
        known = self._orders.get(refusal.client_order_id)
        if known is None:
            return
        if refusal.reason == DenyReason.UNKNOWN_ORDER:
            self._drop(refusal.client_order_id)
        elif known.state in _COMMAND_STATES:
            resting = OrderState.PARTIALLY_FILLED if known.filled_qty else OrderState.OPEN
            self._keep(replace(known, state=resting, answered=True, asked_qty=ZERO))

    def fill(self, fill: Fill) -> None:
        """Count a trade against its order, alive or settling."""
        known = self._orders.get(fill.client_order_id)
        if known is not None:
            self._keep(_traded(known, fill.qty))
            return
        ended = self._settling.pop(fill.client_order_id, None)
        if ended is not None:
            ended = _traded(ended, fill.qty)
            if ended.unsettled_qty:
                self._settling[fill.client_order_id] = ended
            self.touched.add(ended.symbol)

    def snapshot(self, snapshot: OrdersSnapshot, now_mono_ns: int) -> None:
        """Heal from the executor's full order state.

        An order that the snapshot lacks is gone only if our last intent about it was read, or can no longer be
        accepted, and the executor has reconciled; anything else may still be on its way.
        """
        listed: set[str] = set()
        for update in snapshot.orders:
            listed.add(update.client_order_id)
            known = self._orders.get(update.client_order_id)
            if known is not None and self._was_read(known, snapshot):
                known = replace(known, answered=True)
            if known is not None or not self.full:
                # What has not arrived by now was most likely lost.
                merged = self._merged(update, known, now_mono_ns)
                given_up = merged.given_up_qty + merged.unsettled_qty
                self._keep(replace(merged, fills_qty=update.filled_qty, given_up_qty=given_up))
        for order in tuple(self._orders.values()):
            if order.client_order_id not in listed and snapshot.ready and self._was_read(order, snapshot):
                self._drop(order.client_order_id)
        self.executor_ready = snapshot.ready
        self.synced = self.synced or snapshot.ready

    def forget(self) -> None:
        """Forget every order: they are another leader's now, or its. Nothing is known until the next snapshot."""
        self.touched.update(self._by_symbol, (order.symbol for order in self._settling.values()))
        for known in (self._orders, self._by_symbol, self._settling):
            known.clear()
        self.synced = self.executor_ready = False

    def expire(self, now_mono_ns: int) -> None:
        """Give up on trades that did not arrive within SETTLE_MS of their order's end."""
        limit_mono_ns = now_mono_ns - SETTLE_MS * NS_PER_MS
        for order in tuple(self._settling.values()):
            if order.since_mono_ns < limit_mono_ns:
                del self._settling[order.client_order_id]
                self.touched.add(order.symbol)

    def _was_read(self, order: LiveOrder, snapshot: OrdersSnapshot) -> bool:
        if order.intent_seq == 0:
            return True
        if snapshot.intents_incarnation == self.incarnation and snapshot.intents_seq >= order.intent_seq:
            return True
        return snapshot.ready and snapshot.sent_mono_ns > order.intent_deadline_mono_ns

    def _merged(self, update: OrderUpdate, known: LiveOrder | None, now_mono_ns: int) -> LiveOrder:
        if known is None:
            return LiveOrder(
                client_order_id=update.client_order_id,
                symbol=update.symbol,
                level=_level_of(update.client_order_id),
                side=update.side,
                kind=update.kind,
                state=update.state,
                price=update.price,
                qty=update.qty,
                filled_qty=update.filled_qty,
                fills_qty=update.filled_qty,
                reduce_only=update.reduce_only,
                intent_seq=0,
                intent_deadline_mono_ns=0,
                answered=True,
                since_mono_ns=now_mono_ns,
            )
        unread = not known.answered and known.state in _COMMAND_STATES and update.state not in IN_FLIGHT
        return replace(
            known,
            state=known.state if unread else update.state,
            price=update.price,
            qty=update.qty,
            # The executor has read the amend, and counts the larger size itself while it is open.
            asked_qty=known.asked_qty if unread else ZERO,
            filled_qty=max(update.filled_qty, known.filled_qty),
            answered=known.answered or update.state in IN_FLIGHT or known.state is OrderState.PENDING_NEW,
        )

    def _end(self, update: OrderUpdate, known: LiveOrder | None, now_mono_ns: int) -> None:
        if known is None:
            return
        self._drop(update.client_order_id)
        ended = replace(
            known, state=update.state, filled_qty=max(update.filled_qty, known.filled_qty), since_mono_ns=now_mono_ns
        )
        if ended.unsettled_qty:
            if len(self._settling) >= SETTLING_MAX:
                del self._settling[next(iter(self._settling))]
            self._settling[update.client_order_id] = ended

    def _keep(self, order: LiveOrder) -> None:
        self._store(order)
        self.touched.add(order.symbol)

    def _store(self, order: LiveOrder) -> None:
        self._orders[order.client_order_id] = order
        self._by_symbol.setdefault(order.symbol, {})[order.client_order_id] = order

    def _drop(self, client_order_id: str) -> None:
        order = self._orders.pop(client_order_id)
        del self._by_symbol[order.symbol][client_order_id]
        self.touched.add(order.symbol)


def _traded(order: LiveOrder, qty: Decimal) -> LiveOrder:
    late_qty = min(qty, order.given_up_qty)
    return replace(order, fills_qty=order.fills_qty + qty - late_qty, given_up_qty=order.given_up_qty - late_qty)


def _level_of(client_order_id: str) -> str:
    order_id = parse_order_id(client_order_id)
    return "" if order_id is None else order_id.level

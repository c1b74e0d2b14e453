"""The one way of an order command to the venue: on record, on the wire, and its reply back into the order's life.

Must never send what is not on record (except what only protects), never send a placement twice, and never read a fill
from the reply to a command.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from grinder.core.fills import TradeIds
from grinder.core.ledger import AmendRecord, CancelRecord, PlaceRecord
from grinder.core.order_rate import OrderRate
from grinder.core.order_table import Happening
from grinder.core.orders import (
    Order,
    amend_confirmed,
    amend_refused,
    amend_sent,
    cancel_sent,
    happen,
    new_order,
    on_event,
)
from grinder.model.limits import RECV_WINDOW_MS_MAX
from grinder.model.orders import CommandRefused, OrderKind, OrderState, Place, TimeInForce
from grinder.model.reasons import DenyReason, PlanReason
from grinder.model.units import NS_PER_MS, NS_PER_S
from grinder.model.venue import (
    Advice,
    AmendOrder,
    CancelOrder,
    Confirmed,
    InDoubt,
    NotSent,
    OrderEvent,
    OrderType,
    PlaceOrder,
    Rejected,
    VenueOrder,
    VenueReply,
    VenueRequest,
)
from grinder.services.order_store import ExecutorPorts, OrderStore
from grinder.services.settling import RESTING_WORDS, Settling

REPLY_OVERDUE_MS: Final = 15_000
"""A command without any reply for this long is in doubt, milliseconds; the venue adapter gives up before that."""

_DENIALS: Final = frozenset(reason.value for reason in DenyReason)
"""Reasons of ours for which a command was given up right before it was signed, on a host of a cluster."""

STRAY: Final = (OrderState.REJECTED, OrderState.DENIED)


def reason_of(reply: Rejected | InDoubt | NotSent) -> str:
    """Return a reply's reason as short text."""
    if isinstance(reply, Rejected):
        return f"{reply.code} {reply.message}".strip()
    return reply.why


class OrderDesk:
    """Sends order commands and takes their replies and the user stream's order events."""

    def __init__(
        self,
        ports: ExecutorPorts,
        store: OrderStore,
        settling: Settling,
        port_label: str,
        recv_window_ms: int = RECV_WINDOW_MS_MAX,
    ) -> None:
        """``recv_window_ms``: the largest that the venue port gives a placement."""
        self._recv_window_ms = recv_window_ms
        self._ports = ports
        self._store = store
        self._settling = settling
        self._port_label = port_label
        self._trades = TradeIds()
        self.rate = OrderRate()
        self.refused: set[Advice] = set()
        """For what the venue refused commands; whoever asks for what that shows to be old clears it."""

    def place(self, place: Place, run_id: str) -> bool:
        """Send a placement; ``run_id`` names the run whose budget it uses, empty for a protective one.

        Returns:
            False if it would add risk and could not be put on record: then nothing was sent.
        """
        request = PlaceOrder(
            place.client_order_id,
            place.symbol,
            place.side,
            OrderType.LIMIT,
            place.price,
            place.qty,
            place.tif,
            place.reduce_only,
        )
        return self._send_place(place, request, run_id, None)

    def exit(self, request: PlaceOrder, price: Decimal, on_end: Callable[[VenueReply], None]) -> None:
        """Send an order that closes at once or not; ``price``: of it, or where it is MARKET a reference, above 0.

        ``on_end`` gets its reply.
        """
        assert request.order_type is OrderType.MARKET or request.tif is TimeInForce.IOC
        place = Place(
            request.client_order_id,
            request.symbol,
            request.side,
            price,
            request.qty,
            TimeInForce.IOC,
            request.reduce_only,
            OrderKind.EXIT,
            PlanReason.NOT_PERMITTED,
            0,
            0,
        )
        self._send_place(place, request, "", on_end)

    def amend(self, order: Order, price: Decimal, qty: Decimal) -> bool:
        """Send an amend; return False if it would add risk and could not be put on record."""
        written = self._store.record(AmendRecord(order.client_order_id, price, qty, self._recv_window_ms))
        if not written and not order.reduce_only:
            return False
        name = order.client_order_id
        after = amend_sent(order, price, qty, self._recv_window_ms)
        on_reply = partial(self._on_amend_reply, name, after.commands)
        request = AmendOrder(name, order.symbol, order.side, price, qty, order.reduce_only)
        self._put_on_wire("replace", request, name, on_reply)
        self._store.put(after)
        return True

    def cancel(self, order: Order, on_end: Callable[[VenueReply], None] | None = None) -> None:
        """Send a cancel; it leaves even when it cannot be put on record. ``on_end`` gets its reply, once taken."""
        name = order.client_order_id
        self._store.record(CancelRecord(name))
        after = cancel_sent(order)
        on_reply = partial(self._on_cancel_reply, name, after.commands)
        if on_end is not None:
            on_reply = partial(_both, on_reply, on_end)
        self._put_on_wire("cancel", CancelOrder(name, order.symbol), name, on_reply)
        self._store.put(after)

    def on_order_event(self, event: OrderEvent) -> bool:
        """Take an event of the user stream; return False if it is about an order that nobody here knows."""
        order = self._store.get(event.client_order_id)
        if order is None or order.symbol != event.symbol:
            return False
        if event.trade_id and not self._trades.first_time(event.symbol, event.trade_id, event.side):
            self._ports.telemetry.count("grinder_executor_duplicate_trades_total")
        was_stray = order.state in STRAY
        reported = on_event(order, event)
        self._store.put(reported.order, reported.fill)
        if not reported.understood:
            self._ports.telemetry.count("grinder_executor_events_not_understood_total")
            self._settling.verify(order.client_order_id)
        elif reported.order.end_shown:
            self._settling.told(order.client_order_id)
        if was_stray and event.status in RESTING_WORDS:
            self._settling.cancel_stray(reported.order)
        return True

    def on_timer(self) -> None:
        """Put commands whose reply is overdue in doubt."""
        before = self._ports.clock.mono_ns() - REPLY_OVERDUE_MS * NS_PER_MS
        for order in self._store.overdue(before):
            self._store.replied(order.client_order_id)
            if order.commands == 1:
                self._settling.placement_unknown(order.client_order_id)
            self._store.put(happen(order, Happening.REPLY_OVERDUE, "no reply"))

    def _send_place(
        self, place: Place, request: PlaceOrder, run_id: str, on_end: Callable[[VenueReply], None] | None
    ) -> bool:
        utc_ms = self._ports.clock.utc_ms()
        record = PlaceRecord(place, run_id, utc_ms, self._recv_window_ms)
        if not self._store.record(record) and not (place.reduce_only or place.kind is OrderKind.EXIT):
            return False
        order = new_order(place, utc_ms, self._recv_window_ms)
        self._store.begin(order, record)
        self._put_on_wire(
            "place", request, place.client_order_id, partial(self._on_place_reply, place.client_order_id, on_end)
        )
        if place.cause_mono_ns:
            waited_s = (self._ports.clock.mono_ns() - place.cause_mono_ns) / NS_PER_S
            self._ports.telemetry.observe("grinder_executor_tick_to_wire_seconds", waited_s)
        self._store.put(order)
        return True

    def _put_on_wire(
        self, operation: str, request: VenueRequest, client_order_id: str, on_reply: Callable[[VenueReply], None]
    ) -> None:
        self._ports.venue.submit(request, on_reply)
        self._store.sent(client_order_id)
        if operation != "cancel":
            self.rate.note(self._ports.clock.mono_ns())
        self._ports.telemetry.count("grinder_port_order_attempts_total", self._port_label, operation)

    def _on_place_reply(
        self, client_order_id: str, on_end: Callable[[VenueReply], None] | None, reply: VenueReply
    ) -> None:
        order = self._answered(client_order_id, 1, "place", reply)
        if order is not None:
            self._store.put(self._after_place(order, reply))
        if on_end is not None:
            on_end(reply)

    def _after_place(self, order: Order, reply: VenueReply) -> Order:
        if isinstance(reply, Confirmed):
            found = reply.value
            if not isinstance(found, VenueOrder) or found.status != "NEW":
                self._settling.verify(order.client_order_id)
            after = happen(order, Happening.PLACE_CONFIRMED)
            if isinstance(found, VenueOrder):
                after = msgspec.structs.replace(after, venue_order_id=after.venue_order_id or found.venue_order_id)
            return after
        if isinstance(reply, NotSent):
            return happen(order, Happening.PLACE_NOT_SENT, reply.why)
        if isinstance(reply, InDoubt) or reply.advice is Advice.DUPLICATE_ID:
            self._settling.placement_unknown(order.client_order_id)
            return happen(order, Happening.PLACE_IN_DOUBT, reason_of(reply))
        return happen(order, Happening.PLACE_REJECTED, reason_of(reply))

    def _on_amend_reply(self, client_order_id: str, number: int, reply: VenueReply) -> None:
        order = self._answered(client_order_id, number, "amend", reply)
        if order is None or order.commands != number:
            # A later command is on its way: the stream settled this one first, and its reply says nothing of that one.
            return
        if isinstance(reply, Confirmed):
            found = reply.value
            if not isinstance(found, VenueOrder) or found.status not in RESTING_WORDS:
                # The venue may end an order instead of moving it, and only the stream would tell.
                self._settling.verify(client_order_id)
            self._store.put(amend_confirmed(order, found if isinstance(found, VenueOrder) else None))
        elif isinstance(reply, Rejected) and reply.advice is Advice.NOTHING_TO_AMEND:
            self._store.put(amend_confirmed(order, None))
        elif isinstance(reply, InDoubt) or (isinstance(reply, Rejected) and reply.advice is Advice.NOT_FOUND):
            self._store.put(happen(order, Happening.AMEND_UNCERTAIN, reason_of(reply)))
        else:
            self._store.put(amend_refused(order, reason_of(reply)))
            self._refuse(order, "amend", reason_of(reply))

    def _on_cancel_reply(self, client_order_id: str, number: int, reply: VenueReply) -> None:
        order = self._answered(client_order_id, number, "cancel", reply)
        if order is None:
            return
        if isinstance(reply, Confirmed):
            self._ports.telemetry.count("grinder_port_cancel_ok_total", self._port_label)
            found = reply.value
            # The reply tells of no fills; unless the stream tells of the end too, they are asked for.
            if not order.end_shown:
                self._settling.verify(client_order_id)
            canceled = not isinstance(found, VenueOrder) or found.status == "CANCELED"
            self._store.put(happen(order, Happening.CANCEL_CONFIRMED if canceled else Happening.CANCEL_FAILED))
            return
        unknown = isinstance(reply, Rejected) and reply.advice is Advice.NOT_FOUND
        if unknown:
            self._ports.telemetry.count("grinder_port_cancel_unknown_total", self._port_label)
        after = happen(order, Happening.CANCEL_FAILED, reason_of(reply))
        self._store.put(after)
        if unknown and after.state is OrderState.IN_DOUBT:
            self._settling.ask_now(client_order_id)
        elif not after.terminal:
            self._refuse(order, "cancel", reason_of(reply))

    def _answered(self, client_order_id: str, number: int, operation: str, reply: VenueReply) -> Order | None:
        """Note the reply to an order's command of that number; return the order."""
        order = self._store.get(client_order_id)
        if order is None or order.commands == number:
            self._store.replied(client_order_id)
        outcome = type(reply).__name__
        self._ports.telemetry.count("grinder_executor_replies_total", operation, outcome)
        if isinstance(reply, NotSent) and reply.why in _DENIALS:
            self._ports.telemetry.count("grinder_executor_denied_total", reply.why)
        if isinstance(reply, Rejected):
            self.refused.add(reply.advice)
        if not isinstance(reply, Confirmed):
            self._ports.log.event(
                "ORDER_REPLY",
                client_order_id=client_order_id,
                operation=operation,
                outcome=outcome,
                reason=reason_of(reply),
            )
        return order

    def _refuse(self, order: Order, command: str, reason: str) -> None:
        self._store.publish(CommandRefused(order.client_order_id, order.symbol, command, reason))


def _both(first: Callable[[VenueReply], None], second: Callable[[VenueReply], None], reply: VenueReply) -> None:
    first(reply)
    second(reply)

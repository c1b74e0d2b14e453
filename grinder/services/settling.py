"""Settles what is not known: orders in doubt, orders to verify, filled parts without a trade report.

It asks the venue by client order id until an answer settles the matter: quickly for a bounded number of tries, then it
says that asking does not help, and goes on slowly. Until then the order counts as it may be at worst, and its symbol
takes no new risk. Must never conclude from a query that failed, never from one answer *not found*, and never send an
order again.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from grinder.core.doubt import (
    Doubt,
    absence,
    absent,
    answered,
    asked,
    begin,
    due,
    hurried,
    may_still_arrive,
    renewed,
    repeated,
    restarted,
)
from grinder.core.order_table import Happening
from grinder.core.orders import Order, gone, infer_fill, on_found
from grinder.model.orders import OrderState
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    Advice,
    CancelOrder,
    Confirmed,
    QueryOrder,
    Rejected,
    UserEvent,
    UserStreamUp,
    VenueOrder,
    VenueReply,
)
from grinder.services.order_store import ExecutorPorts, OrderStore

QUERIES_AT_ONCE_MAX: Final = 10
RESTING_WORDS: Final = ("NEW", "PARTIALLY_FILLED")
"""The venue's words for an order that may still trade."""

COMMANDED: Final = (OrderState.PENDING_NEW, OrderState.PENDING_AMEND, OrderState.PENDING_CANCEL)
"""States in which nothing is concluded before the command's reply is in; what the venue has denied counts then."""

FILL_GRACE_MS: Final = 2_000
"""How long the user stream may take to report a trade that a query has shown, milliseconds."""

STREAM_TRIAL_MS: Final = 10_000
"""How long a user stream is given before it is judged, milliseconds."""


class Settling:
    """Asks about orders until nothing is in doubt."""

    def __init__(self, ports: ExecutorPorts, store: OrderStore, port_label: str) -> None:
        self._ports = ports
        self._store = store
        self._port_label = port_label
        self._doubts: dict[str, Doubt] = {}
        self._verify: set[str] = set()
        self._in_doubt: tuple[str, ...] = ()
        self._unresolved: dict[str, str] = {}
        self._stream_up_mono_ns = 0
        self._heard_mono_ns = 0

    @property
    def in_doubt(self) -> int:
        """Number of live orders in doubt."""
        return sum(1 for order in self._store.live() if order.state is OrderState.IN_DOUBT)

    @property
    def unresolved(self) -> int:
        """Number of orders about which asking has not helped."""
        return len(self._unresolved)

    @property
    def unresolved_symbols(self) -> frozenset[str]:
        """Symbols of orders about which asking has not helped."""
        return frozenset(self._unresolved.values())

    def verify(self, client_order_id: str) -> None:
        """Ask about an order soon, whatever its state."""
        self._verify.add(client_order_id)
        known = self._doubts.get(client_order_id)
        self._doubts[client_order_id] = begin(self._ports.clock.mono_ns()) if known is None else repeated(known)

    def heard(self, event: UserEvent) -> None:
        """Learn that the user stream tells something."""
        self._heard_mono_ns = self._ports.clock.mono_ns()
        if isinstance(event, UserStreamUp):
            self._stream_up_mono_ns = self._heard_mono_ns

    def told(self, client_order_id: str) -> None:
        """Learn that the stream has told of an order's end: there is nothing to ask any more."""
        self._verify.discard(client_order_id)

    def ask_now(self, client_order_id: str) -> None:
        """Ask about an order at the next timer, whatever its state."""
        self._verify.add(client_order_id)
        now = self._ports.clock.mono_ns()
        known = self._doubts.get(client_order_id)
        self._doubts[client_order_id] = begin(now, 0) if known is None else hurried(known, now)

    def ask_all_now(self) -> None:
        """Ask about every live order, and every finished one of which nobody has told what it filled."""
        for name in (*(order.client_order_id for order in self._store.live()), *self._store.unsettled_ends()):
            self.ask_now(name)

    def placement_unknown(self, client_order_id: str) -> None:
        """Learn that a placement was given up without an answer: only from now on has it certainly left."""
        known = self._doubts.get(client_order_id)
        if known is not None:
            self._doubts[client_order_id] = restarted(known, self._ports.clock.mono_ns())

    def forget_all(self) -> None:
        """Ask about nothing any more: this host may not act on an answer."""
        for known in (self._doubts, self._verify, self._unresolved):
            known.clear()
        self._in_doubt = ()

    def cancel_stray(self, order: Order) -> None:
        """Cancel an order that was taken for ended and rests after all; whoever sees it rest again calls again."""
        self._ports.telemetry.count("grinder_executor_stray_orders_total")
        self._ports.log.event("STRAY_ORDER", client_order_id=order.client_order_id, symbol=order.symbol)
        self._ports.venue.submit(CancelOrder(order.client_order_id, order.symbol), lambda reply: None)

    def on_timer(self) -> None:
        """Send the queries that are due; count filled parts that no trade report will cover."""
        now = self._ports.clock.mono_ns()
        in_doubt = tuple(live.client_order_id for live in self._store.live() if live.state is OrderState.IN_DOUBT)
        for name in in_doubt:
            known = self._doubts.get(name)
            if known is None:
                self._doubts[name] = begin(now)
            elif name not in self._in_doubt:
                # A question from before says nothing of how old this doubt is.
                self._doubts[name] = renewed(known, now)
        self._in_doubt = in_doubt
        waiting = sum(1 for doubt in self._doubts.values() if doubt.waiting)
        for name, doubt in tuple(self._doubts.items()):
            order = self._store.get(name)
            if order is None or (order.state is not OrderState.IN_DOUBT and name not in self._verify):
                self._forget(name)
            elif due(doubt, now) and (doubt.waiting or waiting < QUERIES_AT_ONCE_MAX):
                waiting += 0 if doubt.waiting else 1
                self._ask(order)
        for partly in self._store.uncounted(now - FILL_GRACE_MS * NS_PER_MS):
            after, fill = infer_fill(partly)
            if fill is not None:
                self._ports.log.event("FILL_INFERRED", client_order_id=partly.client_order_id, qty=fill.qty)
                self._store.put(after, fill, "query")
                self._renew_if_silent(now)

    def _renew_if_silent(self, now_mono_ns: int) -> None:
        """Have the user stream built again that tells of no trade and of nothing else.

        A listen key may end without a word, or its last word be lost: the connection stays, and nothing comes. One
        event that is lost among others is no reason.
        """
        silent_ms = (now_mono_ns - self._heard_mono_ns) // NS_PER_MS
        up_ms = (now_mono_ns - self._stream_up_mono_ns) // NS_PER_MS
        if silent_ms >= FILL_GRACE_MS and up_ms >= STREAM_TRIAL_MS:
            self._stream_up_mono_ns = now_mono_ns
            self._ports.log.event("USER_STREAM_SILENT", silent_ms=silent_ms)
            self._ports.stream.renew("silent")

    def _ask(self, order: Order) -> None:
        self._tell_if_unresolved(order.client_order_id)
        self._doubts[order.client_order_id] = asked(self._doubts[order.client_order_id], self._ports.clock.mono_ns())
        proving = order.commands if order.state is OrderState.IN_DOUBT else 0
        self._ports.venue.submit(
            QueryOrder(order.client_order_id, order.symbol), partial(self._on_answer, order.client_order_id, proving)
        )

    def _on_answer(self, client_order_id: str, proving: int, reply: VenueReply) -> None:
        """Take an answer; ``proving``: commands sent before the question if the order was in doubt then, else 0."""
        now = self._ports.clock.mono_ns()
        order = self._store.get(client_order_id)
        doubt = self._doubts.get(client_order_id)
        if order is None:
            self._forget(client_order_id)
            return
        if isinstance(reply, Confirmed) and isinstance(reply.value, VenueOrder):
            self._count("found")
            # An answer may be older than the end that the stream has told of meanwhile.
            current = reply.value.update_utc_ms >= order.event_utc_ms
            if order.terminal and current and reply.value.status in RESTING_WORDS:
                self.cancel_stray(order)
            proved = proving == order.commands
            if order.at_most_qty and doubt is not None and may_still_arrive(doubt, order.recv_window_ms):
                # It rests as it was, and the amend may come yet.
                proved = False
            reported = on_found(order, reply.value, proved=proved)
            self._store.put(reported.order)
            after = reported.order
            # An answer that does not show the end of an order that ended is older than the end: fills may be missing.
            settled = after.end_shown if after.terminal else after.state is not OrderState.IN_DOUBT
            if settled and reported.understood and (doubt is None or not doubt.again):
                self._forget(client_order_id)
            elif doubt is not None:
                self._doubts[client_order_id] = answered(
                    doubt, now, not_found=False, last=reply.value.status, recv_window_ms=order.recv_window_ms
                )
            return
        not_found = isinstance(reply, Rejected) and reply.advice is Advice.NOT_FOUND
        self._count("not_found" if not_found else "error")
        if doubt is None:
            return
        window_ms = order.recv_window_ms
        doubt = answered(doubt, now, not_found=not_found, last=_words(reply), recv_window_ms=window_ms)
        self._doubts[client_order_id] = doubt
        if not_found and absent(doubt, window_ms) and order.state not in COMMANDED:
            self._conclude_absent(order)
        else:
            self._tell_if_unresolved(client_order_id)

    def _tell_if_unresolved(self, client_order_id: str) -> None:
        """Say once that asking does not help: from then on the order's symbol takes no new risk."""
        order, doubt = self._store.get(client_order_id), self._doubts[client_order_id]
        if order is None or order.state is not OrderState.IN_DOUBT or doubt.told or not doubt.unresolved:
            return
        self._doubts[client_order_id] = msgspec.structs.replace(doubt, told=True)
        self._unresolved[client_order_id] = order.symbol
        self._ports.telemetry.count("grinder_executor_doubts_unresolved_total")
        self._ports.log.event(
            "ORDER_UNRESOLVED",
            client_order_id=client_order_id,
            symbol=order.symbol,
            queries=doubt.asked,
            last=doubt.last,
        )
        self._store.put(msgspec.structs.replace(order, reason=f"unresolved after {doubt.asked} queries: {doubt.last}"))

    def _conclude_absent(self, order: Order) -> None:
        old = absence(order.sent_utc_ms, self._ports.clock.utc_ms())
        what = Happening.GONE if order.existed or old else Happening.NEVER_PLACED
        self._ports.log.event("ORDER_ABSENT", client_order_id=order.client_order_id, what=what, old=old)
        self._forget(order.client_order_id)
        self._store.put(gone(order, what, f"not found at the venue: {old or order.reason}"))

    def _forget(self, client_order_id: str) -> None:
        self._doubts.pop(client_order_id, None)
        self._verify.discard(client_order_id)
        if self._unresolved.pop(client_order_id, None):
            self._ports.log.event("ORDER_RESOLVED", client_order_id=client_order_id)

    def _count(self, outcome: str) -> None:
        self._ports.telemetry.count("grinder_port_order_lookup_total", self._port_label, outcome)


def _words(reply: VenueReply) -> str:
    """Return an answer that settles nothing as short text."""
    if isinstance(reply, Rejected):
        return f"{reply.code} {reply.message}".strip()
    return "unreadable" if isinstance(reply, Confirmed) else reply.why

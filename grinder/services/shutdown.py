"""The executor's orderly stop: cancel our orders, prove at the venue that none rests, let the dead-man's switch down.

Bounded: when the time is up it ends all the same, with the switch left wound up and the fact logged. Must never call a
stop clean that was not proved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from grinder.model.account import OpenOrder
from grinder.model.limits import LEAVE_CLUSTER_MS_MAX, STOP_EXECUTOR_S_MAX
from grinder.model.orders import OrderState, parse_order_id
from grinder.model.units import NS_PER_MS, NS_PER_S
from grinder.model.venue import CancelOrder, Confirmed, QueryOpenOrders, VenueReply
from grinder.services.dead_man import DeadMansSwitch
from grinder.services.order_desk import OrderDesk
from grinder.services.order_store import ExecutorPorts, OrderStore

STOP_MS_MAX: Final = 15_000
REPEAT_MS: Final = 500

assert (STOP_MS_MAX + LEAVE_CLUSTER_MS_MAX) * NS_PER_MS < STOP_EXECUTOR_S_MAX * NS_PER_S


class Shutdown:
    """Drives the stop once ``begin`` was called: from the timer, and at once by whatever moves it on.

    ``on_finished``: called when it is over.
    """

    def __init__(
        self,
        ports: ExecutorPorts,
        store: OrderStore,
        desk: OrderDesk,
        dead_man: DeadMansSwitch,
        prefix: str,
        on_finished: Callable[[], None],
    ) -> None:
        self._ports = ports
        self._store = store
        self._desk = desk
        self._dead_man = dead_man
        self._prefix = prefix
        self._on_finished = on_finished
        self._by_mono_ns = 0
        self._cancel_mono_ns = 0
        self._ask_mono_ns = 0
        self._asking = False
        self._proved = False
        self.begun = False
        self.finished = False
        self.clean = False

    def begin(self, *, idle: bool) -> None:
        """Begin to stop; ``idle``: this run may not send anything, so there is nothing to undo."""
        self.begun = True
        if idle:
            self._finish(clean=True)
            return
        self._by_mono_ns = self._ports.clock.mono_ns() + STOP_MS_MAX * NS_PER_MS
        self.on_timer()

    def on_timer(self) -> None:
        """Move the stop on."""
        if not self.begun or self.finished:
            return
        now = self._ports.clock.mono_ns()
        if now >= self._by_mono_ns:
            self._finish(clean=False)
        elif len(self._store) or self._store.unsettled:
            self._proved = False
            self._cancel_all(now)
        elif not self._proved:
            self._prove(now)
        elif self._dead_man.wound_up:
            self._dead_man.let_down(self.on_timer)
        else:
            self._finish(clean=True)

    def abandon(self) -> None:
        """End it as it is: what is left to be done is not for this host to do any more."""
        if self.begun and not self.finished:
            self._finish(clean=False)

    def _cancel_all(self, now_mono_ns: int) -> None:
        if now_mono_ns < self._cancel_mono_ns:
            return
        self._cancel_mono_ns = now_mono_ns + REPEAT_MS * NS_PER_MS
        for order in self._store.live():
            if order.state is not OrderState.PENDING_CANCEL:
                self._desk.cancel(order, lambda reply: self.on_timer())

    def _prove(self, now_mono_ns: int) -> None:
        if self._asking or now_mono_ns < self._ask_mono_ns:
            return
        self._asking = True
        self._ask_mono_ns = now_mono_ns + REPEAT_MS * NS_PER_MS
        self._ports.venue.submit(QueryOpenOrders(), self._on_orders)

    def _on_orders(self, reply: VenueReply) -> None:
        """Cancel what still rests under our prefix; nothing of ours there is the proof."""
        self._asking = False
        if self.finished or not isinstance(reply, Confirmed) or not isinstance(reply.value, tuple):
            return
        ours = [
            item
            for item in reply.value
            if isinstance(item, OpenOrder)
            and (parts := parse_order_id(item.client_order_id)) is not None
            and parts.prefix == self._prefix
        ]
        for found in ours:
            self._ports.venue.submit(CancelOrder(found.client_order_id, found.symbol), lambda reply: None)
        self._proved = not ours and not len(self._store)
        self.on_timer()

    def _finish(self, *, clean: bool) -> None:
        self.finished = True
        self.clean = clean
        self._ports.log.event("STOP", clean=clean, orders_left=len(self._store))
        if not clean:
            self._ports.telemetry.count("grinder_executor_unclean_stops_total")
        self._on_finished()

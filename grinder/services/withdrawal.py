"""Takes resting entries back where none could be placed: the executor's own answer to a strategy that is gone.

The fsm takes its entries back itself, at once, wherever it forbids them. This is for when it cannot: it is dead, hung,
has no book, or does not know the symbol. Must never touch an order that only reduces, nor wait for anybody's word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from grinder.core.orders import Order
from grinder.model.orders import OrderState
from grinder.model.reasons import DenyReason
from grinder.model.units import NS_PER_MS
from grinder.services.order_desk import OrderDesk
from grinder.services.order_store import ExecutorPorts, OrderStore

LOOK_MS: Final = 500
GRACE_MS: Final = 15_000
URGENT_MS: Final = 3_000
"""How long an entry must have been forbidden, milliseconds: long enough for a process to come back and take over what
rests, or for the fsm to act first where an operator or a trip says no."""

URGENT: Final = frozenset({DenyReason.KILL_SWITCH_ACTIVE, DenyReason.OPERATOR_OVERRIDE})
RESTING: Final = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)

assert URGENT_MS < GRACE_MS


class Withdrawal:
    """Looks at every resting entry now and then. ``forbidden``: why none like it could be placed now, or None."""

    def __init__(
        self,
        ports: ExecutorPorts,
        store: OrderStore,
        desk: OrderDesk,
        forbidden: Callable[[Order], DenyReason | None],
    ) -> None:
        self._ports = ports
        self._store = store
        self._desk = desk
        self._forbidden = forbidden
        self._since_mono_ns: dict[str, int] = {}
        self._due_mono_ns = 0

    def on_timer(self) -> None:
        """Cancel what has been forbidden for too long."""
        now = self._ports.clock.mono_ns()
        if now < self._due_mono_ns:
            return
        self._due_mono_ns = now + LOOK_MS * NS_PER_MS
        since: dict[str, int] = {}
        for order in self._store.live():
            if order.reduce_only or order.state not in RESTING:
                continue
            reason = self._forbidden(order)
            if reason is None:
                continue
            began = self._since_mono_ns.get(order.client_order_id, now)
            since[order.client_order_id] = began
            if now - began >= (URGENT_MS if reason in URGENT else GRACE_MS) * NS_PER_MS:
                self._withdraw(order, reason)
        self._since_mono_ns = since

    def _withdraw(self, order: Order, reason: DenyReason) -> None:
        self._ports.telemetry.count("grinder_executor_withdrawn_total", reason.value)
        self._ports.log.event(
            "WITHDRAWN", client_order_id=order.client_order_id, symbol=order.symbol, reason=reason.value
        )
        self._desk.cancel(order)

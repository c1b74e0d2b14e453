"""Orders by id and by client id, finished ones included, the oldest dropped first.

Invariant: a live order is always found; a client id finds the newest order that carried it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from grinder.sim.exchange.orders import Amendment, Order, Status

ORDERS_KEPT_MAX: Final = 50_000
"""Finished orders kept for queries, oldest dropped first."""

AMENDMENTS_KEPT_MAX: Final = 100_000

UNFILLED_KEPT_MS: Final = 3 * 24 * 3_600_000
"""How long a query finds an order that ended without a trade. Source: Query Order (USER_DATA), 2026-08-19."""

KEPT_MS: Final = 90 * 24 * 3_600_000
"""How long a query finds any order. Source: as above."""

_ENDED_UNFILLED: Final = frozenset({Status.CANCELED, Status.EXPIRED})


class OrderRecords:
    """Every order of the venue."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.amendments: deque[Amendment] = deque(maxlen=AMENDMENTS_KEPT_MAX)
        self._by_client_id: dict[tuple[str, str, str], Order] = {}
        self._finished: deque[int] = deque()

    def add(self, order: Order) -> None:
        """Take a new order."""
        self.orders[order.order_id] = order
        self._by_client_id[(order.account, order.symbol, order.client_order_id)] = order

    def finish(self, order: Order) -> None:
        """Note that an order ended; the oldest that ended may fall out."""
        self._finished.append(order.order_id)
        if len(self._finished) > ORDERS_KEPT_MAX:
            old = self.orders.pop(self._finished.popleft())
            key = (old.account, old.symbol, old.client_order_id)
            if self._by_client_id.get(key) is old:
                del self._by_client_id[key]

    def find(self, account: str, symbol: str, order_id: int, client_order_id: str) -> Order | None:
        """Return an order by its id or, where that is 0, by its client id."""
        if not order_id:
            return self._by_client_id.get((account, symbol, client_order_id))
        order = self.orders.get(order_id)
        own = order is not None and order.account == account and order.symbol == symbol
        return order if own else None

    def finished_ids(self) -> list[int]:
        """Return the ids of kept finished orders in the order they ended."""
        return list(self._finished)

    def restore(self, orders: list[Order], finished: list[int], amendments: list[Amendment]) -> None:
        """Take what a snapshot kept, ``orders`` in the order they came."""
        assert not self.orders
        for order in orders:
            self.add(order)
        self._finished.extend(finished)
        self.amendments.extend(amendments)


def forgotten(order: Order, now: int) -> bool:
    """Tell whether queries no longer find an order at a wall time, Unix milliseconds."""
    age_ms = now - order.created_utc_ms
    unfilled = order.status in _ENDED_UNFILLED and not order.filled
    return age_ms > KEPT_MS or (unfilled and age_ms > UNFILLED_KEPT_MS)

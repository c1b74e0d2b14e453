"""Start-up is recovery: the venue's rules, its position mode, its orders and the journal's, before anything new.

Asks until every answer is in; adopts what rests under our prefix; leaves nothing in doubt. Must never call itself clean
on a query that failed, and never place anything.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from grinder.core.orders import adopted
from grinder.model.account import OpenOrder
from grinder.model.instrument import Instrument
from grinder.model.orders import OrderState, parse_order_id
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    Confirmed,
    Exchange,
    QueryInstruments,
    QueryOpenOrders,
    QueryPositionMode,
    QueryPositions,
    VenueReply,
    VenueRequest,
)
from grinder.services.order_store import ExecutorPorts, OrderStore
from grinder.services.settling import Settling

RETRY_MS_MIN: Final = 500
RETRY_MS_MAX: Final = 10_000
AGAIN_MS: Final[dict[str, int]] = {
    QueryInstruments.__name__: 600_000,
    QueryOpenOrders.__name__: 30_000,
    QueryPositionMode.__name__: 120_000,
}
"""How often a question is asked again, milliseconds: a user stream that lost an event does not say so, and the operator
may change the position mode."""

RESTING: Final = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)

_QUESTIONS: Final[tuple[VenueRequest, ...]] = (
    QueryInstruments(),
    QueryPositionMode(),
    QueryOpenOrders(),
    QueryPositions(),
)


class Recovery:
    """Asks the opening questions and keeps their answers."""

    def __init__(self, ports: ExecutorPorts, store: OrderStore, settling: Settling, prefix: str, term: int) -> None:
        self._ports = ports
        self._store = store
        self._settling = settling
        self._prefix = prefix
        self._term = term
        self._waiting: set[str] = set()
        self._answered: set[str] = set()
        self._due_mono_ns: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._hedge_mode = False
        self._restored: set[str] = set()
        self._newer_term = False
        self._outdated = False
        self.exchange: Exchange | None = None
        self.instruments: dict[str, Instrument] = {}
        self.foreign_orders = 0

    def begin(self) -> None:
        """Ask everything; ask at once about every order that the journal leaves open."""
        self._restored = {order.client_order_id for order in self._store.live()}
        self._settling.ask_all_now()
        self.on_timer()

    def problem(self) -> str:
        """Return why new risk must wait, or an empty string when recovery is complete and clean."""
        for question in _QUESTIONS:
            if type(question).__name__ not in self._answered:
                return f"waiting for {type(question).__name__}"
        if self._hedge_mode:
            return "account is in hedge mode"
        if self._newer_term:
            return "an order of a newer term rests at the venue"
        if self._restored:
            return f"{len(self._restored)} orders of an earlier run are in doubt"
        return ""

    def read_orders_again(self) -> None:
        """Ask for the resting orders once more, to adopt what is not known yet."""
        name = QueryOpenOrders.__name__
        self._due_mono_ns[name] = 0
        self._answered.discard(name)
        # An answer on its way may be older than what made us ask.
        self._outdated = name in self._waiting

    def on_timer(self) -> None:
        """Send the questions that are open and due."""
        now = self._ports.clock.mono_ns()
        for question in _QUESTIONS:
            name = type(question).__name__
            due = name not in self._answered or name in AGAIN_MS
            if due and name not in self._waiting and now >= self._due_mono_ns.get(name, 0):
                self._waiting.add(name)
                self._ports.venue.submit(question, partial(self._on_answer, name))
        self._restored = {
            name
            for name in self._restored
            if (order := self._store.get(name)) is not None and order.state is OrderState.IN_DOUBT
        }

    def _on_answer(self, name: str, reply: VenueReply) -> None:
        self._waiting.discard(name)
        now = self._ports.clock.mono_ns()
        taken = isinstance(reply, Confirmed) and self._take(name, reply)
        if name == QueryOpenOrders.__name__ and self._outdated:
            self._outdated = False
            return
        if taken:
            self._answered.add(name)
            self._failures.pop(name, None)
            self._due_mono_ns[name] = now + AGAIN_MS.get(name, 0) * NS_PER_MS
            return
        failures = self._failures.get(name, 0) + 1
        self._failures[name] = failures
        wait_ms = min(RETRY_MS_MAX, RETRY_MS_MIN << min(failures - 1, 10))
        self._due_mono_ns[name] = now + wait_ms * NS_PER_MS
        self._ports.log.event("RECOVERY_QUERY_FAILED", query=name, outcome=type(reply).__name__, failures=failures)

    def _take(self, name: str, reply: Confirmed) -> bool:
        """Keep an answer; return False if it is not of the kind that was asked for."""
        value = reply.value
        if name == QueryInstruments.__name__ and isinstance(value, Exchange):
            self.exchange = value
            self.instruments = {instrument.symbol: instrument for instrument in value.instruments}
            return True
        if name == QueryPositionMode.__name__ and isinstance(value, bool):
            self._hedge_mode = value
            return True
        if name == QueryOpenOrders.__name__ and isinstance(value, tuple):
            self._adopt(tuple(item for item in value if isinstance(item, OpenOrder)))
            return True
        return name == QueryPositions.__name__ and isinstance(value, tuple)

    def _adopt(self, resting: tuple[OpenOrder, ...]) -> None:
        """Take over orders under our prefix that nobody here knows, leave others alone, ask about what is missing."""
        self._newer_term = False
        self.foreign_orders = 0
        for found in resting:
            parts = parse_order_id(found.client_order_id)
            if parts is None or parts.prefix != self._prefix:
                self.foreign_orders += 1
            elif parts.term > self._term:
                self._newer_term = True
            elif (known := self._store.get(found.client_order_id)) is not None:
                if known.terminal:
                    # Given up too early, or it ended after we asked: a question of its own tells which.
                    self._settling.verify(found.client_order_id)
            else:
                self._store.remember(found.client_order_id)
                self._store.put(adopted(found))
                self._ports.log.event("ORDER_ADOPTED", client_order_id=found.client_order_id, symbol=found.symbol)
        listed = {found.client_order_id for found in resting}
        for order in self._store.live():
            if order.state in RESTING and order.client_order_id not in listed:
                self._settling.verify(order.client_order_id)

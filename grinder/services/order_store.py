"""Every order the executor knows, and the one place where a change of one is journaled, published and counted.

A fill is put on record before it is published. While the journal takes nothing it is published all the same, for the
position has changed, and put on record when the journal is well again: a restart before then publishes it once more.
Must never forget a fill that waits for the journal (the newest COUNTED_LATE_MAX), nor an order whose end is not there.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from grinder.core.ledger import (
    CountedRecord,
    EndRecord,
    PlaceRecord,
    Record,
    Replayed,
    RunRecord,
    carry,
    encode,
    replay,
)
from grinder.core.orders import Order
from grinder.core.reach import FillsAhead
from grinder.model.frames import OrdersFrame
from grinder.model.limits import COUNTED_LATE_AT_ONCE_MAX, COUNTED_LATE_MAX, ORDERS_TRACKED_MAX
from grinder.model.orders import Fill, OrderState
from grinder.model.units import NS_PER_S, ZERO
from grinder.model.venue import RateUse
from grinder.ports import Clock, EvidenceSink, Journal, Log, Publisher, StreamControl, Telemetry, Venue

RETIRED_MAX: Final = ORDERS_TRACKED_MAX
IDS_REMEMBERED: Final = 4 * ORDERS_TRACKED_MAX
"""Finished orders kept for late events, and client order ids kept against reuse."""


class ExecutorPorts(msgspec.Struct, frozen=True):
    """What the executor's parts share of the world. ``rates_used``: what the venue has counted, as far as is known."""

    venue: Venue
    journal: Journal
    publisher: Publisher
    clock: Clock
    telemetry: Telemetry
    log: Log
    evidence: EvidenceSink
    stream: StreamControl
    rates_used: Callable[[], Iterable[RateUse]] = tuple


class OrderStore:
    """Orders by client id: live ones, and lately finished ones."""

    def __init__(
        self, ports: ExecutorPorts, run_id: str, on_first_order: Callable[[str], None] = lambda symbol: None
    ) -> None:
        """``on_first_order``: told of a symbol without live orders right before one leaves."""
        self._ports = ports
        self._on_first_order = on_first_order
        self._run_id = run_id
        self._live: dict[str, Order] = {}
        self._live_by_symbol: Counter[str] = Counter()
        self._retired: OrderedDict[str, Order] = OrderedDict()
        self._aside: dict[str, Order] = {}
        self._places: dict[str, PlaceRecord] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._uncounted_since: dict[str, int] = {}
        self._sent_at: dict[str, int] = {}
        self._unsettled_end: dict[str, None] = {}
        self._late: deque[CountedRecord] = deque(maxlen=COUNTED_LATE_MAX)
        self._intent_mono_ns = 0
        self.fills_ahead = FillsAhead()
        self.risk_orders = 0

    def __len__(self) -> int:
        """Return the number of live orders."""
        return len(self._live)

    @property
    def unsettled(self) -> int:
        """Number of finished orders that filled more than has been published as fills; their ends are not on record."""
        return len(self._unsettled_end)

    def unsettled_ends(self) -> tuple[str, ...]:
        """Return the ids of those finished orders."""
        return tuple(self._unsettled_end)

    def live(self) -> tuple[Order, ...]:
        """Return every order that is not finished."""
        return tuple(self._live.values())

    def get(self, client_order_id: str) -> Order | None:
        """Return an order, live or lately finished."""
        return self._live.get(client_order_id) or self._retired.get(client_order_id)

    def seen(self, client_order_id: str) -> bool:
        """Tell whether a client order id was used before, as far as is remembered."""
        return client_order_id in self._seen

    def of_symbol(self, symbol: str) -> int:
        """Return the number of live orders of a symbol."""
        return self._live_by_symbol[symbol]

    def live_symbols(self) -> tuple[str, ...]:
        """Return the symbols with live orders."""
        return tuple(symbol for symbol, count in self._live_by_symbol.items() if count)

    def uncounted(self, before_mono_ns: int) -> tuple[Order, ...]:
        """Return orders that have had a filled part without a trade report since before a time."""
        ids = [name for name, since in self._uncounted_since.items() if since <= before_mono_ns]
        return tuple(order for name in ids if (order := self.get(name)) is not None)

    def overdue(self, before_mono_ns: int) -> tuple[Order, ...]:
        """Return live orders whose last command was sent before a time and still has no reply."""
        return tuple(self._live[name] for name, sent in self._sent_at.items() if sent <= before_mono_ns)

    def restore(self, replayed: Replayed) -> None:
        """Take over what the journal of an earlier start knows."""
        for order in replayed.orders.values():
            self._hold(order)
        self._places.update(replayed.places)
        for client_order_id in replayed.seen:
            self.remember(client_order_id)
        self.risk_orders = replayed.risk_orders.get(self._run_id, 0)

    def set_aside(self) -> None:
        """Follow no live order any more, for another host may have them now; the journal goes on carrying them."""
        followed = tuple(self._live.values())
        run = RunRecord(self._run_id, self.risk_orders)
        self._aside |= replay(carry(followed, self._places, run)).orders
        self._live.clear()
        self._live_by_symbol.clear()
        self._sent_at.clear()
        for order in followed:
            self._uncounted_since.pop(order.client_order_id, None)

    def take_up(self) -> None:
        """Follow again what was set aside, as a restart would know it: every order in doubt."""
        for order in self._aside.values():
            self._hold(order)
        self._aside.clear()

    def remember(self, client_order_id: str) -> None:
        """Remember that an id was used."""
        self._seen[client_order_id] = None
        if len(self._seen) > IDS_REMEMBERED:
            self._seen.popitem(last=False)

    def record(self, record: Record) -> bool:
        """Write a record to the journal; a failure is counted and returned."""
        written = self._ports.journal.append(encode(record))
        if not written:
            self._ports.telemetry.count("grinder_journal_failed_total")
        return written

    def record_late(self) -> None:
        """Put on record what was published while the journal took nothing; a part at a time, for it may be slow."""
        for _ in range(min(len(self._late), COUNTED_LATE_AT_ONCE_MAX)):
            if not self._ports.journal.append(encode(self._late[0])):
                return
            self._late.popleft()

    def begin(self, order: Order, record: PlaceRecord) -> None:
        """Add an order whose placement is on record and about to be sent; it is published by the first ``put``."""
        if not self._live_by_symbol[order.symbol]:
            self._on_first_order(order.symbol)
        self._hold(order)
        self._places[order.client_order_id] = record
        self.remember(order.client_order_id)
        if record.run_id:
            self.risk_orders += 1

    def intent(self, received_mono_ns: int) -> None:
        """Note that an intent is being carried out now; 0: no longer."""
        self._intent_mono_ns = received_mono_ns

    def sent(self, client_order_id: str) -> None:
        """Note that a command of an order left now."""
        now = self._ports.clock.mono_ns()
        self._sent_at[client_order_id] = now
        if self._intent_mono_ns:
            waited_s = (now - self._intent_mono_ns) / NS_PER_S
            self._ports.telemetry.observe("grinder_executor_intent_to_wire_seconds", waited_s)

    def replied(self, client_order_id: str) -> None:
        """Note that the command of an order was answered."""
        self._sent_at.pop(client_order_id, None)

    def put(self, order: Order, fill: Fill | None = None, source: str = "stream") -> None:
        """Store an order after a change: journal what was counted, publish it and the fill, retire it when it ended."""
        name = order.client_order_id
        before = self.get(name)
        if before is not None:
            if before.counted != order.counted:
                self._record_counted(before, order)
            self.fills_ahead.on_order(before, order, self._ports.clock.mono_ns())
        if order.terminal:
            self._retire(order)
        else:
            self._hold(order)
        self._track_uncounted(order)
        if fill is not None:
            self.publish(fill)
            self._count_fill(fill, source)
        told = order.update()
        if before is None or before.update() != told or order.state is OrderState.PENDING_NEW:
            self.publish(told)

    def publish(self, frame: OrdersFrame) -> None:
        """Send a frame on the orders channel; a frame that is lost there shows as a gap and heals by the snapshot."""
        self._ports.publisher.send(frame)

    def carried(self) -> Iterable[bytes]:
        """Return the records that a fresh journal must begin with, as of now; they are made when they are read."""
        waiting = [self._retired[name] for name in self._unsettled_end if name in self._retired]
        orders = (*self._live.values(), *self._aside.values(), *waiting)
        places, run = dict(self._places), RunRecord(self._run_id, self.risk_orders)

        def made() -> Iterator[bytes]:
            yield from carry(orders, places, run)

        return made()

    def _hold(self, order: Order) -> None:
        if order.client_order_id not in self._live:
            self._live_by_symbol[order.symbol] += 1
        self._live[order.client_order_id] = order

    def _retire(self, order: Order) -> None:
        name = order.client_order_id
        was_live = self._live.pop(name, None) is not None
        if was_live:
            self._live_by_symbol[order.symbol] -= 1
        if was_live or name not in self._retired:
            self._ports.log.event(
                "ORDER_END", client_order_id=name, symbol=order.symbol, state=order.state, reason=order.reason
            )
            self._unsettled_end[name] = None
        self._sent_at.pop(name, None)
        self._retired[name] = order
        if name in self._unsettled_end and order.settled:
            self.record(EndRecord(name, order.state))
            del self._unsettled_end[name]
            self._places.pop(name, None)
        while len(self._retired) > RETIRED_MAX:
            oldest, _ = self._retired.popitem(last=False)
            self._unsettled_end.pop(oldest, None)
            self._places.pop(oldest, None)
            self._uncounted_since.pop(oldest, None)

    def _track_uncounted(self, order: Order) -> None:
        if order.uncounted_qty > ZERO:
            self._uncounted_since.setdefault(order.client_order_id, self._ports.clock.mono_ns())
        else:
            self._uncounted_since.pop(order.client_order_id, None)

    def _record_counted(self, before: Order, order: Order) -> None:
        inferred = order.inferred > before.inferred
        for start, end in order.counted:
            if (start, end) not in before.counted:
                record = CountedRecord(order.client_order_id, start, end, inferred)
                if not self.record(record):
                    self._late.append(record)

    def _count_fill(self, fill: Fill, source: str) -> None:
        labels = (source, fill.side.value.lower(), "maker" if fill.maker else "taker")
        telemetry = self._ports.telemetry
        telemetry.count("grinder_fills_total", *labels)
        telemetry.count("grinder_fill_notional_total", *labels, by=float(fill.price * fill.qty))
        telemetry.count("grinder_fill_fees_total", *labels, by=float(fill.fee))

"""An executor and a venue as one model on a virtual clock, for tests of what decides.

The venue is the truth: orders rest in it, trade when the book passes their price, and are counted at every moment. What
it tells travels with a delay, and the account snapshot shows what was ``account_lag_ns`` ago.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import count

from grinder.core.events import InputFrame
from grinder.model.account import AccountState, Balance, Instruments, Position, PositionSide, Source
from grinder.model.instrument import Instrument
from grinder.model.market import BookTop, MarkPrice, StreamHealth
from grinder.model.orders import (
    TERMINAL,
    Amend,
    Cancel,
    CommandRefused,
    Fill,
    OrderBudget,
    OrdersSnapshot,
    OrderState,
    OrderUpdate,
    Place,
    ResyncOrders,
    Side,
    TimeInForce,
)
from grinder.model.units import NS_PER_MS, ZERO

D = Decimal
MS = NS_PER_MS
START_NS = 1_000_000 * MS
START_UTC_MS = 1_723_000_000_000
WALLET = D(10_000)


def instrument(symbol: str, tick: str = "0.10", step: str = "0.001") -> Instrument:
    return Instrument(
        symbol=symbol,
        status="TRADING",
        tick_size=D(tick),
        step_size=D(step),
        min_qty=D(step),
        max_qty=D(1_000),
        market_step_size=D(step),
        market_min_qty=D(step),
        market_max_qty=D(120),
        min_notional=D(5),
        min_price=D(tick),
        max_price=D(1_000_000),
        percent_price_up=D("1.05"),
        percent_price_down=D("0.95"),
        open_orders_max=200,
    )


@dataclass
class VenueOrder:
    place: Place
    price: Decimal
    qty: Decimal
    filled: Decimal = ZERO

    def update(self, state: OrderState, utc_ms: int, reason: str = "") -> OrderUpdate:
        place = self.place
        return OrderUpdate(
            client_order_id=place.client_order_id,
            symbol=place.symbol,
            side=place.side,
            kind=place.kind,
            state=state,
            price=self.price,
            qty=self.qty,
            filled_qty=self.filled,
            reduce_only=place.reduce_only,
            reason=reason,
            event_utc_ms=utc_ms,
        )


@dataclass
class Holding:
    qty: Decimal = ZERO
    entry: Decimal = ZERO


class VenueModel:
    """Orders, trades, positions, and the frames that tell of them; ``give`` is where frames arrive."""

    def __init__(
        self, instruments: Iterable[Instrument], *, incarnation: int, latency_ms: float, account_lag_ms: int
    ) -> None:
        self.instruments = {one.symbol: one for one in instruments}
        self.incarnation = incarnation
        self.latency_ns = int(latency_ms * MS)
        self.account_lag_ns = account_lag_ms * MS
        self.now_ns = START_NS
        self.sent: Counter[str] = Counter()
        self.peak_open: Counter[str] = Counter()
        self.peak_side: Counter[tuple[str, Side]] = Counter()
        self.orders: dict[str, VenueOrder] = {}
        self.arriving: dict[str, VenueOrder] = {}
        self.live: dict[str, OrderState] = {}
        self.ids_seen: set[str] = set()
        self.fills: list[Fill] = []
        self.holdings = {symbol: Holding() for symbol in self.instruments}
        self.intents_read = 0
        self.tops: dict[str, BookTop] = {}
        self.history: list[tuple[int, dict[str, Holding], int]] = []
        self.ready = True
        self._tick_numbers = count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._trade_ids = count(1)
        for period_ms, what in (
            (50, self._note_history),
            (250, self._health),
            (1_000, self._orders_snapshot),
            (1_000, self._marks),
            (2_000, self._account),
        ):
            self._every(period_ms, what)

    def give(self, frame: InputFrame) -> None:
        """Take a frame that has arrived."""
        raise NotImplementedError

    def run_for(self, milliseconds: float) -> None:
        """Let time pass with no market data."""
        self.run_to(self.now_ns + int(milliseconds * MS))

    def run_to(self, at_ns: int) -> None:
        while self._due and self._due[0][0] <= at_ns:
            due_ns, _, what = heapq.heappop(self._due)
            self.now_ns = max(self.now_ns, due_ns)
            what()
        self.now_ns = max(self.now_ns, at_ns)

    def utc_ms(self, at_ns: int | None = None) -> int:
        return START_UTC_MS + ((self.now_ns if at_ns is None else at_ns) - START_NS) // MS

    def open_orders(self, symbol: str = "") -> list[VenueOrder]:
        return [order for order in self.orders.values() if symbol in ("", order.place.symbol)]

    def send(self, intent: Place | Amend | Cancel | ResyncOrders) -> None:
        self.sent[type(intent).__name__] += 1
        self._later(self.latency_ns // 3, lambda: self._read(intent))

    def _read(self, intent: Place | Amend | Cancel | ResyncOrders) -> None:
        self.intents_read += 1
        if isinstance(intent, ResyncOrders):
            self._orders_snapshot()
            return
        name = intent.client_order_id
        if isinstance(intent, Place):
            assert name not in self.ids_seen, "a client order id was used twice"
            self.ids_seen.add(name)
            order = self.arriving[name] = VenueOrder(intent, intent.price, intent.qty)
            self._say(order, OrderState.PENDING_NEW)
            self._later(self.latency_ns, lambda: self._accept(order))
            return
        resting = self.orders.get(name)
        command = "amend" if isinstance(intent, Amend) else "cancel"
        if resting is None or self.live.get(name) in (OrderState.PENDING_AMEND, OrderState.PENDING_CANCEL):
            reason = "UNKNOWN_ORDER" if resting is None else "ORDER_BUSY"
            self._tell(CommandRefused(name, intent.symbol, command, reason))
            return
        self._say(resting, OrderState.PENDING_AMEND if isinstance(intent, Amend) else OrderState.PENDING_CANCEL)
        self._later(self.latency_ns, lambda: self._change(intent))

    def _accept(self, order: VenueOrder) -> None:
        place = order.place
        del self.arriving[place.client_order_id]
        top = self.tops[place.symbol]
        crosses = order.price >= top.ask_price if place.side is Side.BUY else order.price <= top.bid_price
        if crosses and place.tif is TimeInForce.GTX:
            self._end(order, OrderState.REJECTED, "-5022")
            return
        if place.reduce_only and not self._reducible(order):
            self._end(order, OrderState.REJECTED, "-2022")
            return
        self.orders[place.client_order_id] = order
        self._say(order, OrderState.OPEN)
        self._count_open()
        if crosses:
            self._trade(order, order.qty, place.price)

    def _change(self, intent: Amend | Cancel) -> None:
        order = self.orders.get(intent.client_order_id)
        if order is None:
            self._tell(CommandRefused(intent.client_order_id, intent.symbol, "cancel", "UNKNOWN_ORDER"))
            return
        if isinstance(intent, Cancel):
            self._end(order, OrderState.CANCELED)
            return
        top = self.tops[intent.symbol]
        buy = intent.side is Side.BUY
        crosses = intent.price >= top.ask_price if buy else intent.price <= top.bid_price
        if crosses and order.place.tif is TimeInForce.GTX:
            self.live[intent.client_order_id] = OrderState.OPEN
            self._tell(CommandRefused(intent.client_order_id, intent.symbol, "amend", "-5022"))
            return
        order.price, order.qty = intent.price, intent.qty
        self._say(order, OrderState.PARTIALLY_FILLED if order.filled else OrderState.OPEN)
        if crosses:
            self._trade(order, order.qty - order.filled, order.price)

    def _reducible(self, order: VenueOrder) -> bool:
        held = self.holdings[order.place.symbol].qty
        closing = sum(
            (
                other.qty - other.filled
                for other in self.open_orders(order.place.symbol)
                if other.place.reduce_only and other.place.side is order.place.side
            ),
            order.qty,
        )
        return closing <= (held if order.place.side is Side.SELL else -held)

    def match(self, book: BookTop) -> None:
        for order in self.open_orders(book.symbol):
            buy = order.place.side is Side.BUY
            if (buy and book.ask_price <= order.price) or (not buy and book.bid_price >= order.price):
                self._trade(order, order.qty - order.filled, order.price)

    def trade_part(self, order: VenueOrder, qty: Decimal) -> None:
        """Fill a part of an order at its price."""
        self._trade(order, qty, order.price)

    def _trade(self, order: VenueOrder, qty: Decimal, price: Decimal) -> None:
        place = order.place
        held = self.holdings[place.symbol]
        signed = qty if place.side is Side.BUY else -qty
        before = held.qty
        held.qty += signed
        if held.qty == ZERO:
            held.entry = ZERO
        elif before * held.qty <= ZERO:
            held.entry = price
        elif abs(held.qty) > abs(before):
            held.entry = (held.entry * abs(before) + price * qty) / abs(held.qty)
        order.filled += qty
        fill = Fill(
            place.client_order_id,
            place.symbol,
            place.side,
            place.kind,
            next(self._trade_ids),
            price,
            qty,
            ZERO,
            ZERO,
            True,
            self.utc_ms(),
        )
        self.fills.append(fill)
        self._tell(fill)
        if order.filled == order.qty:
            self._end(order, OrderState.FILLED)
        else:
            self._say(order, OrderState.PARTIALLY_FILLED)
        self._knock_out(place.symbol)

    def _knock_out(self, symbol: str) -> None:
        """Expire reduce-only orders that the position no longer covers, as the venue does."""
        for order in self.open_orders(symbol):
            held = self.holdings[symbol].qty
            covered = held > ZERO if order.place.side is Side.SELL else held < ZERO
            if order.place.reduce_only and not covered:
                self._end(order, OrderState.EXPIRED)

    def _end(self, order: VenueOrder, state: OrderState, reason: str = "") -> None:
        self.orders.pop(order.place.client_order_id, None)
        self._say(order, state, reason)

    def _say(self, order: VenueOrder, state: OrderState, reason: str = "") -> None:
        self.live[order.place.client_order_id] = state
        self._tell(order.update(state, self.utc_ms(), reason))

    def _tell(self, frame: InputFrame) -> None:
        self._later(self.latency_ns, lambda: self.give(frame))

    def _count_open(self) -> None:
        for symbol in self.instruments:
            orders = self.open_orders(symbol)
            self.peak_open[symbol] = max(self.peak_open[symbol], len(orders))
            for side in Side:
                entries = sum(not order.place.reduce_only and order.place.side is side for order in orders)
                self.peak_side[symbol, side] = max(self.peak_side[symbol, side], entries)

    def _note_history(self) -> None:
        holdings = {name: Holding(one.qty, one.entry) for name, one in self.holdings.items()}
        self.history.append((self.now_ns, holdings, len(self.orders)))

    def _health(self) -> None:
        self.give(StreamHealth(True, (), (), False, self.now_ns))
        if self.now_ns < START_NS + 1_000 * MS:
            self.give(Instruments(tuple(self.instruments.values()), self.now_ns))

    def _orders_snapshot(self) -> None:
        live = tuple(
            order.update(self.live[name], self.utc_ms())
            for name, order in (self.orders | self.arriving).items()
            if self.live[name] not in TERMINAL
        )
        self._tell(OrdersSnapshot(live, self.incarnation, self.intents_read, self.ready, "", self.now_ns))
        self._tell(OrderBudget(300, 1_200, self.sent["Place"]))

    def _marks(self) -> None:
        for symbol, top in self.tops.items():
            mark = (top.bid_price + top.ask_price) / 2
            self.give(MarkPrice(symbol, mark, mark, ZERO, 0, self.utc_ms(), self.now_ns))

    def _account(self) -> None:
        then_ns = self.now_ns - self.account_lag_ns
        seen = next(((at, held, n) for at, held, n in reversed(self.history) if at <= then_ns), None)
        at_ns, holdings, open_count = seen or (then_ns, {}, 0)
        positions = tuple(
            Position(symbol, PositionSide.BOTH, held.qty, held.entry, held.entry, ZERO, self.utc_ms(at_ns))
            for symbol, held in holdings.items()
            if held.qty != ZERO
        )
        self.history = [row for row in self.history if row[0] >= then_ns - 1_000 * MS]
        self.give(
            AccountState(
                positions,
                Balance(self.wallet(), ZERO, WALLET),
                open_count,
                ZERO,
                False,
                True,
                Source.REST,
                self.now_ns,
                self.utc_ms(at_ns),
            )
        )

    def wallet(self) -> Decimal:
        """Wallet balance of the account; replaced by tests that lose money."""
        return WALLET

    def _later(self, delay_ns: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now_ns + delay_ns, next(self._tick_numbers), what))

    def _every(self, period_ms: int, what: Callable[[], None]) -> None:
        def again() -> None:
            self._later(period_ms * MS, again)
            what()

        self._later(period_ms * MS, again)

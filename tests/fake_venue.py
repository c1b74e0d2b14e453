"""A small truthful venue behind ports.Venue: it keeps orders and positions, and delivers when the test says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto

import msgspec

from grinder.model.account import Balance, OpenOrder, Position, PositionSide
from grinder.model.conditional import CancelAllConditional, CancelConditional, ConditionalOrder, QueryOpenConditional
from grinder.model.orders import Side, TimeInForce
from grinder.model.units import ZERO
from grinder.model.venue import (
    Advice,
    AmendOrder,
    Answer,
    ArmCountdown,
    CancelAllOrders,
    CancelOrder,
    Confirmed,
    Exchange,
    InDoubt,
    NotSent,
    OrderEvent,
    OrderType,
    PlaceOrder,
    QueryBalance,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositionMode,
    QueryPositions,
    QueryServerTime,
    Rejected,
    VenueOrder,
    VenueReply,
    VenueRequest,
)
from grinder.model.venue_account import (
    AccountConfig,
    QueryAccountConfig,
    QueryTradingStatus,
    Restriction,
    TradingStatus,
)
from tests.engine_world import instrument
from tests.fakes import FakeClock

D = Decimal
SYMBOL = "BTCUSDT"
MARK = D(100)
NOT_FOUND = Rejected(400, -2013, "Order does not exist.", Advice.NOT_FOUND)
UNKNOWN_CANCEL = Rejected(400, -2011, "Unknown order sent.", Advice.NOT_FOUND)


class Outcome(Enum):
    """How a request goes wrong on purpose."""

    LOST_BEFORE = auto()
    LOST_AFTER = auto()
    NOT_SENT = auto()


@dataclass
class Resting:
    """One order at the venue."""

    request: PlaceOrder
    number: int
    price: Decimal
    qty: Decimal
    filled: Decimal = ZERO
    status: str = "NEW"
    utc_ms: int = 0

    @property
    def open(self) -> bool:
        return self.status in ("NEW", "PARTIALLY_FILLED")


class FakeVenue:
    """Keeps orders and positions; queues every reply and event until the test delivers it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.connected = True
        self.orders: dict[str, Resting] = {}
        self.positions: dict[str, Decimal] = defaultdict(Decimal)
        self.requests: list[VenueRequest] = []
        self.replies: list[tuple[Callable[[VenueReply], None], VenueReply]] = []
        self.events: list[OrderEvent] = []
        self.outcomes: dict[type, list[Outcome | Rejected | NotSent]] = defaultdict(list)
        self.hidden_until_ms = 0
        self.hedge_mode = False
        self.position_times = True
        self.countdowns: dict[str, int] = {}
        self.market_fill_max: Decimal | None = None
        self.gap_bps = 0
        self.account_config = AccountConfig(can_trade=True, hedge_mode=False, multi_assets=False)
        self.instruments = (instrument(SYMBOL), instrument("ETHUSDT"))
        self.restrictions: tuple[Restriction, ...] = ()
        self.conditional: dict[str, ConditionalOrder] = {}
        self._trades = 0
        self._changed: dict[str, tuple[Decimal, int]] = {}

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        self.requests.append(request)
        planned = self.outcomes[type(request)]
        outcome = planned.pop(0) if planned else None
        if outcome is Outcome.LOST_BEFORE:
            reply: VenueReply = InDoubt("timeout")
        elif outcome is Outcome.NOT_SENT:
            reply = NotSent("not_connected")
        elif isinstance(outcome, Rejected | NotSent):
            reply = outcome
        else:
            reply = self._do(request)
            if outcome is Outcome.LOST_AFTER:
                reply = InDoubt("timeout")
        self.replies.append((on_reply, reply))

    def ioc_fill(self, request: PlaceOrder) -> Decimal:
        """Return how much of an IOC order meets the book, which is ``gap_bps`` away from the mark price."""
        way = (MARK - request.price) if request.side is Side.SELL else (request.price - MARK)
        return request.qty if way * 10_000 >= MARK * self.gap_bps else ZERO

    def sent(self, kind: type) -> list[VenueRequest]:
        return [request for request in self.requests if isinstance(request, kind)]

    def open_orders(self) -> list[Resting]:
        return [order for order in self.orders.values() if order.open]

    def rest(self, request: PlaceOrder, filled: Decimal = ZERO) -> Resting:
        """Put an order there as if another run had."""
        order = Resting(request, len(self.orders) + 1, request.price, request.qty, filled, utc_ms=self.clock.utc_ms())
        self.orders[request.client_order_id] = order
        return order

    def trade(self, name: str, qty: Decimal, price: Decimal | None = None) -> OrderEvent:
        order = self.orders[name]
        assert order.open
        assert order.filled + qty <= order.qty
        order.filled += qty
        order.status = "FILLED" if order.filled == order.qty else "PARTIALLY_FILLED"
        signed = qty if order.request.side is Side.BUY else -qty
        self.positions[order.request.symbol] += signed
        self._trades += 1
        return self._event(order, "TRADE", qty, price or order.price, self._trades)

    def tell(self, name: str, execution: str) -> OrderEvent:
        """Tell of an order on the stream, as the venue does when it takes one."""
        return self._event(self.orders[name], execution)

    def end(self, name: str, status: str = "CANCELED") -> OrderEvent:
        order = self.orders[name]
        order.status = status
        return self._event(order, status)

    def _event(
        self, order: Resting, execution: str, qty: Decimal = ZERO, price: Decimal = ZERO, trade_id: int = 0
    ) -> OrderEvent:
        order.utc_ms = self.clock.utc_ms()
        event = OrderEvent(
            client_order_id=order.request.client_order_id,
            venue_order_id=order.number,
            symbol=order.request.symbol,
            side=order.request.side,
            execution=execution,
            status=order.status,
            price=order.price,
            qty=order.qty,
            filled_qty=order.filled,
            last_price=price,
            last_qty=qty,
            trade_id=trade_id,
            fee=qty * price / 1000,
            realized_pnl=ZERO,
            maker=True,
            reduce_only=order.request.reduce_only,
            event_utc_ms=order.utc_ms,
            transaction_utc_ms=order.utc_ms,
        )
        self.events.append(event)
        return event

    def _do(self, request: VenueRequest) -> VenueReply:
        match request:
            case PlaceOrder():
                return self._place(request)
            case AmendOrder():
                order = self.orders.get(request.client_order_id)
                if order is None or not order.open:
                    return NOT_FOUND
                order.price, order.qty = request.price, request.qty
                self._event(order, "AMENDMENT")
                return Confirmed(_found(order), 1)
            case CancelOrder():
                order = self.orders.get(request.client_order_id)
                if order is None or not order.open:
                    return UNKNOWN_CANCEL
                self.end(request.client_order_id)
                return Confirmed(_found(order), 1)
            case QueryOrder():
                order = self.orders.get(request.client_order_id)
                if order is None or self.clock.utc_ms() < self.hidden_until_ms:
                    return NOT_FOUND
                return Confirmed(_found(order), 1)
            case CancelAllOrders():
                for name, order in tuple(self.orders.items()):
                    if order.open and order.request.symbol == request.symbol:
                        self.end(name)
                return Confirmed(None, 1)
            case CancelConditional():
                del self.conditional[request.client_order_id]
                return Confirmed(None, 1)
            case CancelAllConditional():
                for name, waiting in tuple(self.conditional.items()):
                    if waiting.symbol == request.symbol:
                        del self.conditional[name]
                return Confirmed(None, 1)
            case ArmCountdown():
                self.countdowns[request.symbol] = request.countdown_ms
                return Confirmed(None, 1)
        return Confirmed(self._answer(request), 1)

    def _answer(self, request: VenueRequest) -> Answer:
        match request:
            case QueryOpenOrders():
                wanted = request.symbol
                return tuple(open_order(order) for order in self.open_orders() if wanted in ("", order.request.symbol))
            case QueryOpenConditional():
                return tuple(each for each in self.conditional.values() if request.symbol in ("", each.symbol))
            case QueryPositions():
                return tuple(
                    position(symbol, qty, self._changed_utc_ms(symbol)) for symbol, qty in self.positions.items() if qty
                )
            case QueryBalance():
                return Balance(D(10_000), ZERO, D(10_000))
            case QueryPositionMode():
                return self.hedge_mode
            case QueryInstruments():
                return Exchange(self.instruments, ())
            case QueryServerTime():
                return self.clock.utc_ms()
            case QueryAccountConfig():
                return msgspec.structs.replace(self.account_config, hedge_mode=self.hedge_mode)
            case QueryTradingStatus():
                return TradingStatus(self.restrictions)
        raise AssertionError(request)

    def _changed_utc_ms(self, symbol: str) -> int:
        """Return since when a position has been listed as it is: tests change them without a word; 0 is not said."""
        if not self.position_times:
            return 0
        qty = self.positions[symbol]
        if self._changed.get(symbol, (ZERO, 0))[0] != qty:
            self._changed[symbol] = (qty, self.clock.utc_ms())
        return self._changed[symbol][1]

    def _place(self, request: PlaceOrder) -> VenueReply:
        known = self.orders.get(request.client_order_id)
        if known is not None and known.open:
            return Rejected(400, -4116, "ClientOrderId is duplicated.", Advice.DUPLICATE_ID)
        if request.order_type is OrderType.MARKET or request.tif is TimeInForce.IOC:
            return self._at_once(request)
        order = self.rest(request)
        self._event(order, "NEW")
        return Confirmed(_found(order), 1)

    def _at_once(self, request: PlaceOrder) -> VenueReply:
        held = self.positions[request.symbol]
        against = (held > ZERO) == (request.side is Side.SELL) and held != ZERO
        if not against:
            return Rejected(400, -2022, "ReduceOnly Order is rejected.", Advice.REDUCE_ONLY)
        order = self.rest(request)
        self._event(order, "NEW")
        reply = Confirmed(_found(order), 1)
        most = self.market_fill_max if request.order_type is OrderType.MARKET else self.ioc_fill(request)
        qty = min(request.qty, abs(held), request.qty if most is None else most)
        if qty > ZERO:
            self.trade(request.client_order_id, qty, MARK)
        if order.open:
            self.end(request.client_order_id, "EXPIRED")
        return reply


def _found(order: Resting) -> VenueOrder:
    return VenueOrder(
        order.request.client_order_id,
        order.number,
        order.request.symbol,
        order.request.side,
        order.status,
        order.price,
        order.qty,
        order.filled,
        order.request.reduce_only,
        order.utc_ms,
    )


def open_order(order: Resting) -> OpenOrder:
    return OpenOrder(
        order.request.client_order_id,
        order.number,
        order.request.symbol,
        order.request.side,
        order.request.order_type.value,
        order.price,
        order.qty,
        order.filled,
        order.request.reduce_only,
        order.status,
        order.utc_ms,
    )


def position(symbol: str, qty: Decimal, utc_ms: int, side: PositionSide = PositionSide.BOTH) -> Position:
    return Position(symbol, side, qty, MARK, MARK, ZERO, utc_ms)

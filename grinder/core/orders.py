"""One order, and what each happening of its life does to its amounts; its states move by ``order_table`` alone.

Happenings come from our commands, the venue's replies, the user stream and queries, in any order, late or twice. Must
never leave a terminal state, never let the filled quantity shrink, and never count a fill from the reply to a command.

Invariant: ``filled_qty`` never decreases; a terminal state is final; an old report never overwrites a newer price.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.fills import Spans, counted_qty, cover
from grinder.core.order_table import ENDS_AT_VENUE, EXPIRY_OF, STATUS, TRANSITIONS, Happening, expiry_reason
from grinder.model.account import OpenOrder
from grinder.model.limits import RECV_WINDOW_MS_MAX
from grinder.model.orders import (
    TERMINAL,
    Fill,
    OrderKind,
    OrderState,
    OrderUpdate,
    Place,
    Side,
    parse_order_id,
)
from grinder.model.units import ZERO
from grinder.model.venue import OrderEvent, VenueOrder

_KIND_BY_LEVEL: Final = {
    "b": OrderKind.GRID,
    "s": OrderKind.GRID,
    "t": OrderKind.TAKE_PROFIT,
    "x": OrderKind.EXIT,
}
FORCED_CLOSE_PREFIXES: Final = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
FORCED_CLOSE_EXECUTION: Final = "CALCULATED"
FORCED_CLOSE_STATUSES: Final = ("NEW_INSURANCE", "NEW_ADL")
"""How orders look by which the venue itself closes a position: liquidation, auto-deleveraging, delivery. Source: venue
documentation, ORDER_TRADE_UPDATE "Liquidation and ADL", 2026-05-28."""

AWAITS_REPLY: Final = (OrderState.PENDING_AMEND, OrderState.PENDING_CANCEL)
"""States in which a report may be older than the command whose reply is owed."""
_OPEN: Final = OrderState.OPEN
_PARTIALLY_FILLED: Final = OrderState.PARTIALLY_FILLED
_SHOWS_IT_EXISTS: Final = (Happening.PLACE_CONFIRMED, Happening.AMEND_CONFIRMED)

INFERRED_PER_ORDER_MAX: Final = 1_000


class Order(msgspec.Struct, frozen=True):
    """One order. Prices in quote currency, quantities in base units.

    ``filled_qty``: highest cumulative quantity that the user stream or a query reported; ``counted``: the part of it
    published as fills. ``existed``: the venue once said that it has this order. ``wanted_price`` and ``wanted_qty``: of
    the amend on its way, None without one. ``commands``: number of commands sent; a query asked before the last one
    proves nothing about it. ``inferred``: number of fills published without a trade report. ``restored``: known from
    the journal of an earlier start; then no event of the stream shows that it rests, for it may be an old one.
    ``sent_utc_ms``: when the placement left, 0 where nobody knows. ``at_most_qty``: size that an amend of ours may give
    it yet, 0 without one. ``end_shown``: an event or a query told of its end, and with it of everything that it filled.
    ``recv_window_ms``: age at which the venue refuses a placement or amend of it; the largest where nobody knows.
    """

    client_order_id: str
    symbol: str
    side: Side
    kind: OrderKind
    state: OrderState
    price: Decimal
    qty: Decimal
    reduce_only: bool
    reason: str
    filled_qty: Decimal = ZERO
    event_utc_ms: int = 0
    venue_order_id: int = 0
    existed: bool = False
    wanted_price: Decimal | None = None
    wanted_qty: Decimal | None = None
    counted: Spans = ()
    commands: int = 1
    inferred: int = 0
    restored: bool = False
    sent_utc_ms: int = 0
    at_most_qty: Decimal = ZERO
    end_shown: bool = False
    recv_window_ms: int = RECV_WINDOW_MS_MAX

    @property
    def terminal(self) -> bool:
        """Tell whether its life is over."""
        return self.state in TERMINAL

    @property
    def uncounted_qty(self) -> Decimal:
        """Filled quantity that no published fill covers yet, base units."""
        return self.filled_qty - counted_qty(self.counted)

    @property
    def settled(self) -> bool:
        """Tell whether nothing can follow: it ended and all it filled is counted; a reply alone tells of no fills."""
        told = self.end_shown or self.state is not OrderState.CANCELED
        return self.terminal and told and self.uncounted_qty <= ZERO

    def update(self) -> OrderUpdate:
        """Return the frame that tells others of this order; while an amend is open, with the larger of both sizes."""
        return OrderUpdate(
            self.client_order_id,
            self.symbol,
            self.side,
            self.kind,
            self.state,
            self.price,
            self.qty if self.terminal else max(self.qty, self.at_most_qty),
            self.filled_qty,
            self.reduce_only,
            self.reason,
            self.event_utc_ms,
        )


def kind_of(client_order_id: str) -> OrderKind:
    """Return what an order is for, from the level in its id; EXIT for an id of another form."""
    parts = parse_order_id(client_order_id)
    return _KIND_BY_LEVEL[parts.level[0]] if parts is not None else OrderKind.EXIT


def made_by_venue(client_order_id: str) -> bool:
    """Tell whether an order is one by which the venue itself closes a position."""
    return client_order_id.startswith(FORCED_CLOSE_PREFIXES)


def closed_by_venue(event: OrderEvent) -> bool:
    """Tell whether an event shows that the venue itself closes a position of ours, or cancels to do so."""
    return (
        made_by_venue(event.client_order_id)
        or event.execution == FORCED_CLOSE_EXECUTION
        or event.status in FORCED_CLOSE_STATUSES
        or (event.expiry in EXPIRY_OF and EXPIRY_OF[event.expiry].forced)
    )


def new_order(place: Place, sent_utc_ms: int = 0, recv_window_ms: int = RECV_WINDOW_MS_MAX) -> Order:
    """Return the order of a placement that is about to be sent."""
    return Order(
        place.client_order_id,
        place.symbol,
        place.side,
        place.kind,
        OrderState.PENDING_NEW,
        place.price,
        place.qty,
        place.reduce_only,
        place.reason.value,
        sent_utc_ms=sent_utc_ms,
        recv_window_ms=recv_window_ms,
    )


def adopted(found: OpenOrder) -> Order:
    """Return the order of an earlier run that rests at the venue; what it filled before now counts as known."""
    order = Order(
        found.client_order_id,
        found.symbol,
        found.side,
        kind_of(found.client_order_id),
        OrderState.OPEN,
        found.price,
        found.qty,
        found.reduce_only,
        "ADOPTED",
        filled_qty=found.filled_qty,
        event_utc_ms=found.update_utc_ms,
        venue_order_id=found.venue_order_id,
        existed=True,
        counted=cover((), ZERO, found.filled_qty)[0],
    )
    return msgspec.structs.replace(order, state=_normal(OrderState.OPEN, order.filled_qty))


def _normal(state: OrderState, filled_qty: Decimal) -> OrderState:
    """Return OPEN and PARTIALLY_FILLED according to the filled quantity, other states as they are."""
    if state is _OPEN or state is _PARTIALLY_FILLED:
        return _PARTIALLY_FILLED if filled_qty > ZERO else _OPEN
    return state


def happen(order: Order, what: Happening, reason: str = "") -> Order:
    """Return the order after a happening that carries no amounts; ``reason`` replaces the old one where given."""
    state = _normal(TRANSITIONS[order.state, what], order.filled_qty)
    existed = order.existed or what in _SHOWS_IT_EXISTS
    return msgspec.structs.replace(order, state=state, existed=existed, reason=reason or order.reason)


def gone(order: Order, what: Happening, reason: str) -> Order:
    """Return the order after the venue denied it for good: it ended, and nothing more is to be learnt of it."""
    return msgspec.structs.replace(happen(order, what, reason), end_shown=True)


def amend_sent(order: Order, price: Decimal, qty: Decimal, recv_window_ms: int = RECV_WINDOW_MS_MAX) -> Order:
    """Return the order with an amend on its way."""
    return msgspec.structs.replace(
        happen(order, Happening.AMEND_SENT),
        wanted_price=price,
        wanted_qty=qty,
        at_most_qty=max(order.at_most_qty, qty),
        commands=order.commands + 1,
        recv_window_ms=max(order.recv_window_ms, recv_window_ms),
    )


def cancel_sent(order: Order) -> Order:
    """Return the order with a cancel on its way; an amend before it decides nothing now, but may enlarge it yet."""
    moved = happen(order, Happening.CANCEL_SENT)
    return msgspec.structs.replace(moved, wanted_price=None, wanted_qty=None, commands=order.commands + 1)


def amend_confirmed(order: Order, reply: VenueOrder | None) -> Order:
    """Return the order after a confirmed amend; ``reply`` None: it already had the wanted price and quantity."""
    moved = happen(order, Happening.AMEND_CONFIRMED)
    price, qty = (reply.price, reply.qty) if reply is not None else (order.wanted_price, order.wanted_qty)
    if order.wanted_price is not None and price is not None and qty is not None:
        moved = msgspec.structs.replace(moved, price=price, qty=qty, at_most_qty=ZERO)
        if reply is not None:
            moved = msgspec.structs.replace(moved, event_utc_ms=max(order.event_utc_ms, reply.update_utc_ms))
    return msgspec.structs.replace(moved, wanted_price=None, wanted_qty=None)


def amend_refused(order: Order, reason: str) -> Order:
    """Return the order after an amend that certainly did not happen: as it was."""
    moved = happen(order, Happening.AMEND_REFUSED, reason)
    return msgspec.structs.replace(moved, wanted_price=None, wanted_qty=None, at_most_qty=ZERO)


def _amounts(
    order: Order, price: Decimal, qty: Decimal, filled_qty: Decimal, utc_ms: int, venue_order_id: int
) -> Order:
    """Take a report's amounts: the highest filled quantity, and price and quantity of the newest report.

    A MARKET order is reported with price 0: it keeps the price it was decided at.
    """
    newest = utc_ms >= order.event_utc_ms and not order.terminal
    return msgspec.structs.replace(
        order,
        price=price if newest and price > ZERO else order.price,
        qty=qty if newest and qty > ZERO else order.qty,
        filled_qty=max(order.filled_qty, filled_qty),
        event_utc_ms=max(order.event_utc_ms, utc_ms),
        venue_order_id=order.venue_order_id or venue_order_id,
        existed=True,
    )


def _shows_amend(order: Order, price: Decimal, qty: Decimal, utc_ms: int) -> bool:
    """Tell whether a report can only be younger than the amend on its way.

    One that the venue made before may show the same amounts: where the amend changes nothing, or gives the order back
    what it had once. Taken for the amend's, it would let the amend itself arrive unexpected.
    """
    wanted = (order.wanted_price, order.wanted_qty)
    return (price, qty) == wanted != (order.price, order.qty) and utc_ms > order.event_utc_ms


def _what(order: Order, status: str, price: Decimal, qty: Decimal, utc_ms: int, proved: bool) -> Happening | None:
    """Read a report: what it shows of this order, or None for a status word that we do not know."""
    what = STATUS.get(status)
    if what is not Happening.SEEN_RESTING:
        return what
    if _shows_amend(order, price, qty, utc_ms):
        return Happening.SEEN_AMENDED
    never_seen = not order.existed and order.commands == 1 and not order.restored
    shown = order.state is OrderState.IN_DOUBT and never_seen
    return Happening.PROVED_RESTING if proved or shown else what


def _settle(order: Order, what: Happening | None) -> Order:
    if what is None:
        return order
    moved = happen(order, what)
    if what in ENDS_AT_VENUE:
        return msgspec.structs.replace(moved, end_shown=True)
    if what in (Happening.SEEN_AMENDED, Happening.PROVED_RESTING) and moved.state not in AWAITS_REPLY:
        moved = msgspec.structs.replace(moved, wanted_price=None, wanted_qty=None, at_most_qty=ZERO)
    return moved


class Reported(msgspec.Struct, frozen=True):
    """What a report did: the order after it, a fill to publish, and whether its status word was understood."""

    order: Order
    fill: Fill | None
    understood: bool


def on_event(order: Order, event: OrderEvent) -> Reported:
    """Take one event of the user stream: early, late, twice or out of order.

    Returns:
        The order after it; a fill for the part of the event's trade that was not counted before; ``understood`` False
        asks the caller to query the order.
    """
    assert event.client_order_id == order.client_order_id
    what = _what(order, event.status, event.price, event.qty, event.transaction_utc_ms, proved=False)
    after = _amounts(order, event.price, event.qty, event.filled_qty, event.transaction_utc_ms, event.venue_order_id)
    after = _settle(after, what)
    if what is Happening.SEEN_EXPIRED and not order.terminal and (why := expiry_reason(event.status, event.expiry)):
        after = msgspec.structs.replace(after, reason=why)
    fill = None
    if event.execution == "TRADE" and event.last_qty > ZERO and event.last_price > ZERO:
        start = max(ZERO, event.filled_qty - event.last_qty)
        counted, added = cover(after.counted, start, event.filled_qty)
        after = msgspec.structs.replace(after, counted=counted)
        if added > ZERO:
            fill = _fill(after, event, added)
    state = _normal(after.state, after.filled_qty)
    return Reported(msgspec.structs.replace(after, state=state), fill, what is not None)


def _fill(order: Order, event: OrderEvent, qty: Decimal) -> Fill:
    share = qty / event.last_qty
    return Fill(
        order.client_order_id,
        order.symbol,
        order.side,
        order.kind,
        event.trade_id,
        event.last_price,
        qty,
        event.fee * share,
        event.realized_pnl * share,
        event.maker,
        # The time of the trade, by which the account's positions are told too; the event was made a moment later.
        event.transaction_utc_ms,
    )


def on_found(order: Order, found: VenueOrder, *, proved: bool) -> Reported:
    """Take the answer of a query; ``proved``: it was asked after the last command. Fills are counted later."""
    assert found.client_order_id == order.client_order_id
    what = _what(order, found.status, found.price, found.qty, found.update_utc_ms, proved)
    after = _amounts(order, found.price, found.qty, found.filled_qty, found.update_utc_ms, found.venue_order_id)
    after = _settle(after, what)
    state = _normal(after.state, after.filled_qty)
    return Reported(msgspec.structs.replace(after, state=state), None, what is not None)


def infer_fill(order: Order) -> tuple[Order, Fill | None]:
    """Count what a query showed as filled and no trade report covers, at the order's price and without a fee.

    The trade id is negative, and unique per order: no trade of the venue has it.
    """
    counted, added = cover(order.counted, ZERO, order.filled_qty)
    if added <= ZERO or order.price <= ZERO or order.inferred >= INFERRED_PER_ORDER_MAX:
        return order, None
    trade_id = -(order.venue_order_id * INFERRED_PER_ORDER_MAX + order.inferred + 1)
    fill = Fill(
        order.client_order_id,
        order.symbol,
        order.side,
        order.kind,
        trade_id,
        order.price,
        added,
        ZERO,
        ZERO,
        False,
        order.event_utc_ms,
    )
    return msgspec.structs.replace(order, counted=counted, inferred=order.inferred + 1), fill

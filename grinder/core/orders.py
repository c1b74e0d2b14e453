"""The life of an order as one total table: (state, happening) -> state, and what each happening does to its amounts.

Happenings come from our commands, the venue's replies, the user stream and queries, in any order, late or twice. Must
never leave a terminal state, never let the filled quantity shrink, and never count a fill from the reply to a command.

Invariant: ``filled_qty`` never decreases; a terminal state is final; an old report never overwrites a newer price.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.core.fills import Spans, counted_qty, cover
from grinder.model.account import OpenOrder
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


class Happening(StrEnum):
    """What can happen to an order.

    *SEEN* is evidence that may be older than our last command (user stream, a query asked before it); *PROVED* was
    asked for after it. FAILED and UNCERTAIN: the command's effect must be asked for.
    """

    AMEND_SENT = "AMEND_SENT"
    CANCEL_SENT = "CANCEL_SENT"
    PLACE_CONFIRMED = "PLACE_CONFIRMED"
    PLACE_REJECTED = "PLACE_REJECTED"
    PLACE_IN_DOUBT = "PLACE_IN_DOUBT"
    PLACE_NOT_SENT = "PLACE_NOT_SENT"
    AMEND_CONFIRMED = "AMEND_CONFIRMED"
    AMEND_REFUSED = "AMEND_REFUSED"
    AMEND_UNCERTAIN = "AMEND_UNCERTAIN"
    CANCEL_CONFIRMED = "CANCEL_CONFIRMED"
    CANCEL_FAILED = "CANCEL_FAILED"
    REPLY_OVERDUE = "REPLY_OVERDUE"
    SEEN_RESTING = "SEEN_RESTING"
    PROVED_RESTING = "PROVED_RESTING"
    SEEN_AMENDED = "SEEN_AMENDED"
    SEEN_FILLED = "SEEN_FILLED"
    SEEN_CANCELED = "SEEN_CANCELED"
    SEEN_EXPIRED = "SEEN_EXPIRED"
    SEEN_REJECTED = "SEEN_REJECTED"
    NEVER_PLACED = "NEVER_PLACED"
    GONE = "GONE"


_NEW, _OPEN, _PART = OrderState.PENDING_NEW, OrderState.OPEN, OrderState.PARTIALLY_FILLED
_AMND, _CNCL, _DOUBT = OrderState.PENDING_AMEND, OrderState.PENDING_CANCEL, OrderState.IN_DOUBT
_FILLED, _GONE, _EXP = OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED
_REJ, _DENY = OrderState.REJECTED, OrderState.DENIED

COLUMNS: Final = (_NEW, _OPEN, _PART, _AMND, _CNCL, _DOUBT)
"""States that an order can leave, in the order of the rows below."""

_ROWS: Final[dict[Happening, tuple[OrderState, ...]]] = {
    # from:                       new      open     part     amend    cancel   doubt
    Happening.AMEND_SENT:        (_NEW,    _AMND,   _AMND,   _AMND,   _CNCL,   _DOUBT),
    Happening.CANCEL_SENT:       (_CNCL,   _CNCL,   _CNCL,   _CNCL,   _CNCL,   _CNCL),
    Happening.PLACE_CONFIRMED:   (_OPEN,   _OPEN,   _PART,   _AMND,   _CNCL,   _DOUBT),
    Happening.PLACE_REJECTED:    (_REJ,    _DOUBT,  _DOUBT,  _DOUBT,  _DOUBT,  _DOUBT),
    Happening.PLACE_IN_DOUBT:    (_DOUBT,  _OPEN,   _PART,   _AMND,   _CNCL,   _DOUBT),
    Happening.PLACE_NOT_SENT:    (_DENY,   _DOUBT,  _DOUBT,  _DOUBT,  _DOUBT,  _DOUBT),
    Happening.AMEND_CONFIRMED:   (_NEW,    _OPEN,   _PART,   _OPEN,   _CNCL,   _DOUBT),
    Happening.AMEND_REFUSED:     (_NEW,    _OPEN,   _PART,   _OPEN,   _CNCL,   _DOUBT),
    Happening.AMEND_UNCERTAIN:   (_NEW,    _OPEN,   _PART,   _DOUBT,  _CNCL,   _DOUBT),
    Happening.CANCEL_CONFIRMED:  (_GONE,   _GONE,   _GONE,   _GONE,   _GONE,   _GONE),
    Happening.CANCEL_FAILED:     (_NEW,    _OPEN,   _PART,   _AMND,   _DOUBT,  _DOUBT),
    Happening.REPLY_OVERDUE:     (_DOUBT,  _OPEN,   _PART,   _DOUBT,  _DOUBT,  _DOUBT),
    Happening.SEEN_RESTING:      (_OPEN,   _OPEN,   _PART,   _AMND,   _CNCL,   _DOUBT),
    Happening.PROVED_RESTING:    (_OPEN,   _OPEN,   _PART,   _AMND,   _CNCL,   _OPEN),
    Happening.SEEN_AMENDED:      (_OPEN,   _OPEN,   _PART,   _OPEN,   _CNCL,   _OPEN),
    Happening.SEEN_FILLED:       (_FILLED, _FILLED, _FILLED, _FILLED, _FILLED, _FILLED),
    Happening.SEEN_CANCELED:     (_GONE,   _GONE,   _GONE,   _GONE,   _GONE,   _GONE),
    Happening.SEEN_EXPIRED:      (_EXP,    _EXP,    _EXP,    _EXP,    _EXP,    _EXP),
    Happening.SEEN_REJECTED:     (_REJ,    _REJ,    _REJ,    _REJ,    _REJ,    _REJ),
    Happening.NEVER_PLACED:      (_NEW,    _OPEN,   _PART,   _AMND,   _CNCL,   _REJ),
    Happening.GONE:              (_NEW,    _GONE,   _GONE,   _AMND,   _CNCL,   _GONE),
}  # fmt: skip

TRANSITIONS: Final[dict[tuple[OrderState, Happening], OrderState]] = {
    **{(column, what): row[number] for what, row in _ROWS.items() for number, column in enumerate(COLUMNS)},
    **{(state, what): state for state in TERMINAL for what in Happening},
}
"""The table, total: every state with every happening. OPEN stands for PARTIALLY_FILLED where something is filled."""

assert set(_ROWS) == set(Happening)
assert all(len(row) == len(COLUMNS) for row in _ROWS.values())
assert set(TRANSITIONS) == {(state, what) for state in OrderState for what in Happening}

STATUS: Final[dict[str, Happening]] = {
    "NEW": Happening.SEEN_RESTING,
    "PARTIALLY_FILLED": Happening.SEEN_RESTING,
    "FILLED": Happening.SEEN_FILLED,
    "CANCELED": Happening.SEEN_CANCELED,
    "EXPIRED": Happening.SEEN_EXPIRED,
    "EXPIRED_IN_MATCH": Happening.SEEN_EXPIRED,
    "REJECTED": Happening.SEEN_REJECTED,
}
"""Venue status words. Source: venue documentation, ORDER_TRADE_UPDATE and order status, 2026-05-28."""

_KIND_BY_LEVEL: Final = {
    "b": OrderKind.GRID,
    "s": OrderKind.GRID,
    "t": OrderKind.TAKE_PROFIT,
    "x": OrderKind.EXIT,
}
FORCED_CLOSE_PREFIXES: Final = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""Client ids of orders by which the venue itself closes a position: liquidation, auto-deleveraging, delivery. Source:
venue documentation, ORDER_TRADE_UPDATE "Liquidation and ADL", 2026-05-28."""

INFERRED_PER_ORDER_MAX: Final = 1_000


class Order(msgspec.Struct, frozen=True):
    """One order. Prices in quote currency, quantities in base units.

    ``filled_qty``: highest cumulative quantity that the user stream or a query reported; ``counted``: the part of it
    published as fills. ``existed``: the venue once said that it has this order. ``wanted_price`` and ``wanted_qty``: of
    the amend on its way, None without one. ``commands``: number of commands sent; a query asked before the last one
    proves nothing about it. ``inferred``: number of fills published without a trade report.
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

    @property
    def terminal(self) -> bool:
        """Tell whether its life is over."""
        return self.state in TERMINAL

    @property
    def uncounted_qty(self) -> Decimal:
        """Filled quantity that no published fill covers yet, base units."""
        return self.filled_qty - counted_qty(self.counted)

    def update(self) -> OrderUpdate:
        """Return the frame that tells others of this order."""
        return OrderUpdate(
            self.client_order_id,
            self.symbol,
            self.side,
            self.kind,
            self.state,
            self.price,
            self.qty,
            self.filled_qty,
            self.reduce_only,
            self.reason,
            self.event_utc_ms,
        )


def kind_of(client_order_id: str) -> OrderKind:
    """Return what an order is for, from the level in its id; EXIT for an id of another form."""
    parts = parse_order_id(client_order_id)
    return _KIND_BY_LEVEL[parts.level[0]] if parts is not None else OrderKind.EXIT


def closed_by_venue(event: OrderEvent) -> bool:
    """Tell whether an event is of an order by which the venue itself closes a position of ours."""
    return event.client_order_id.startswith(FORCED_CLOSE_PREFIXES)


def new_order(place: Place) -> Order:
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
    if state in (OrderState.OPEN, OrderState.PARTIALLY_FILLED):
        return OrderState.PARTIALLY_FILLED if filled_qty > ZERO else OrderState.OPEN
    return state


def happen(order: Order, what: Happening, reason: str = "") -> Order:
    """Return the order after a happening that carries no amounts; ``reason`` replaces the old one where given."""
    state = _normal(TRANSITIONS[order.state, what], order.filled_qty)
    existed = order.existed or what in (Happening.PLACE_CONFIRMED, Happening.AMEND_CONFIRMED)
    return msgspec.structs.replace(order, state=state, existed=existed, reason=reason or order.reason)


def amend_sent(order: Order, price: Decimal, qty: Decimal) -> Order:
    """Return the order with an amend on its way."""
    moved = happen(order, Happening.AMEND_SENT)
    return msgspec.structs.replace(moved, wanted_price=price, wanted_qty=qty, commands=order.commands + 1)


def cancel_sent(order: Order) -> Order:
    """Return the order with a cancel on its way; an amend before it no longer decides anything."""
    moved = happen(order, Happening.CANCEL_SENT)
    return msgspec.structs.replace(moved, wanted_price=None, wanted_qty=None, commands=order.commands + 1)


def amend_confirmed(order: Order, reply: VenueOrder | None) -> Order:
    """Return the order after a confirmed amend; ``reply`` None: it already had the wanted price and quantity."""
    moved = happen(order, Happening.AMEND_CONFIRMED)
    price, qty = (reply.price, reply.qty) if reply is not None else (order.wanted_price, order.wanted_qty)
    if order.wanted_price is not None and price is not None and qty is not None:
        moved = msgspec.structs.replace(moved, price=price, qty=qty)
        if reply is not None:
            moved = msgspec.structs.replace(moved, event_utc_ms=max(order.event_utc_ms, reply.update_utc_ms))
    return msgspec.structs.replace(moved, wanted_price=None, wanted_qty=None)


def amend_refused(order: Order, reason: str) -> Order:
    """Return the order after an amend that certainly did not happen: as it was."""
    moved = happen(order, Happening.AMEND_REFUSED, reason)
    return msgspec.structs.replace(moved, wanted_price=None, wanted_qty=None)


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


def _what(order: Order, status: str, price: Decimal, qty: Decimal, proved: bool) -> Happening | None:
    """Read a report: what it shows of this order, or None for a status word that we do not know."""
    what = STATUS.get(status)
    if what is not Happening.SEEN_RESTING:
        return what
    if order.wanted_price is not None and (price, qty) == (order.wanted_price, order.wanted_qty):
        return Happening.SEEN_AMENDED
    never_seen_in_doubt = order.state is OrderState.IN_DOUBT and not order.existed and order.commands == 1
    return Happening.PROVED_RESTING if proved or never_seen_in_doubt else what


def _settle(order: Order, what: Happening | None) -> Order:
    if what is None:
        return order
    moved = happen(order, what)
    if what in (Happening.SEEN_AMENDED, Happening.PROVED_RESTING) and moved.state not in (_AMND, _CNCL):
        moved = msgspec.structs.replace(moved, wanted_price=None, wanted_qty=None)
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
    what = _what(order, event.status, event.price, event.qty, proved=False)
    after = _amounts(order, event.price, event.qty, event.filled_qty, event.transaction_utc_ms, event.venue_order_id)
    after = _settle(after, what)
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
        event.event_utc_ms,
    )


def on_found(order: Order, found: VenueOrder, *, proved: bool) -> Reported:
    """Take the answer of a query; ``proved``: it was asked after the last command. Fills are counted later."""
    assert found.client_order_id == order.client_order_id
    what = _what(order, found.status, found.price, found.qty, proved)
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

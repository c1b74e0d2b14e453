"""The records of the write-ahead journal, and what a replay of them says: which orders may still live at the venue.

Every command is on record before it leaves; an order without an end on record is asked for at start. Must never raise
on a record of an unknown kind: it is skipped and counted, since a record is outside data once it was on disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.fills import cover
from grinder.core.orders import Order, new_order
from grinder.model.limits import RECV_WINDOW_MS_MAX
from grinder.model.orders import OrderState, Place, TimeInForce
from grinder.model.reasons import PlanReason
from grinder.model.units import ZERO

FOUND_RESTING: Final = PlanReason.UNKNOWN_ORDER
"""Reason on record of a placement that is not ours to tell of: the order was found at the venue."""


class PlaceRecord(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A placement about to be sent.

    ``run_id`` names the run whose order budget it uses; empty uses none. ``utc_ms``: when it was sent;
    ``recv_window_ms``: age at which the venue refuses it. Both 0 where an older journal does not say.
    """

    place: Place
    run_id: str
    utc_ms: int = 0
    recv_window_ms: int = 0


class AmendRecord(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """An amend about to be sent. ``recv_window_ms``: age at which the venue refuses it, 0 in an older journal."""

    client_order_id: str
    price: Decimal
    qty: Decimal
    recv_window_ms: int = 0


class CancelRecord(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A cancel about to be sent."""

    client_order_id: str


class CountedRecord(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A fill about to be published: the span of the order's cumulative quantity that it covers.

    Of whatever span, it tells that the venue has had the order; an empty one tells nothing else.
    """

    client_order_id: str
    start: Decimal
    end: Decimal
    inferred: bool


class EndRecord(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """An order's life is over and its fills are counted."""

    client_order_id: str
    state: OrderState


class RunRecord(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Order budget used by a run, carried over when older records are dropped."""

    run_id: str
    risk_orders: int


Record = PlaceRecord | AmendRecord | CancelRecord | CountedRecord | EndRecord | RunRecord

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """Return the bytes of a record."""
    return _encoder.encode(record)


class Replayed(msgspec.Struct, frozen=True):
    """What the journal knows.

    ``orders``: those without an end, every one in doubt; ``places``: their placements on record; ``seen``: ids of every
    placement on record, oldest first; ``risk_orders``: budget used, by run; ``unreadable``: records skipped.
    """

    orders: dict[str, Order]
    places: dict[str, PlaceRecord]
    seen: tuple[str, ...]
    risk_orders: dict[str, int]
    unreadable: int


def replay(records: Iterable[bytes]) -> Replayed:
    """Read a journal, oldest record first."""
    orders: dict[str, Order] = {}
    places: dict[str, PlaceRecord] = {}
    seen: dict[str, None] = {}
    risk_orders: dict[str, int] = {}
    unreadable = 0
    for raw in records:
        try:
            record = _decoder.decode(raw)
        except (msgspec.DecodeError, ValueError):
            unreadable += 1
            continue
        if isinstance(record, RunRecord):
            risk_orders[record.run_id] = max(record.risk_orders, risk_orders.get(record.run_id, 0))
        elif isinstance(record, PlaceRecord):
            place = record.place
            if place.client_order_id in seen and place.client_order_id not in orders:
                continue
            if record.run_id:
                risk_orders[record.run_id] = risk_orders.get(record.run_id, 0) + 1
            if place.client_order_id not in orders:
                order = new_order(place, record.utc_ms, _window_ms(record))
                orders[place.client_order_id] = msgspec.structs.replace(order, state=OrderState.IN_DOUBT, restored=True)
            seen[place.client_order_id] = None
            places[place.client_order_id] = record
        elif isinstance(record, EndRecord):
            orders.pop(record.client_order_id, None)
            places.pop(record.client_order_id, None)
        elif (known := orders.get(record.client_order_id)) is not None:
            orders[record.client_order_id] = _add(known, record)
    return Replayed(orders, places, tuple(seen), risk_orders, unreadable)


def _add(order: Order, record: AmendRecord | CancelRecord | CountedRecord) -> Order:
    if isinstance(record, CountedRecord):
        counted, _ = cover(order.counted, record.start, record.end)
        return msgspec.structs.replace(
            order,
            existed=True,
            counted=counted,
            filled_qty=max(order.filled_qty, record.end),
            inferred=order.inferred + (1 if record.inferred else 0),
        )
    after = msgspec.structs.replace(order, commands=order.commands + 1)
    if isinstance(record, CancelRecord):
        return after
    # The largest of the sizes that it may have: which of them it has is for the venue to say.
    at_most_qty, window_ms = max(order.at_most_qty, record.qty), max(order.recv_window_ms, _window_ms(record))
    return msgspec.structs.replace(after, at_most_qty=at_most_qty, recv_window_ms=window_ms)


def _window_ms(record: PlaceRecord | AmendRecord) -> int:
    """Return the age at which the venue refuses a command; the largest there is where the record does not say."""
    return record.recv_window_ms if record.recv_window_ms > 0 else RECV_WINDOW_MS_MAX


def carry(orders: Iterable[Order], places: dict[str, PlaceRecord], run: RunRecord) -> list[bytes]:
    """Return the records that a fresh journal must begin with: the run's budget, live orders, what they filled.

    ``places``: the placement on record of each order; one without was found at the venue. The carried placement uses no
    budget: the run record counts it already.
    """
    records: list[Record] = [run]
    for order in orders:
        records.extend(standing(order, places.get(order.client_order_id)))
    return [encode(record) for record in records]


def standing(order: Order, placed: PlaceRecord | None = None) -> list[Record]:
    """Return the records that tell of one order as it is now.

    Args:
        order: live, or ended with fills that are not counted yet.
        placed: its placement on record; None for an order found at the venue, of which none was ever sent from here.

    Returns:
        No record for an order found at the venue without a price or a quantity: no placement of ours looks like that.
    """
    place = placed.place if placed is not None else _place_of(order)
    if place is None:
        return []
    name = order.client_order_id
    sent_utc_ms, window_ms = (placed.utc_ms, placed.recv_window_ms) if placed is not None else (0, 0)
    records: list[Record] = [PlaceRecord(place, "", sent_utc_ms, window_ms)]
    largest_qty = max(order.qty, order.at_most_qty)
    if largest_qty > place.qty:
        records.append(AmendRecord(name, order.price, largest_qty, order.recv_window_ms))
    records.extend(CountedRecord(name, start, end, False) for start, end in order.counted)
    records.extend(CountedRecord(name, ZERO, ZERO, True) for _ in range(order.inferred))
    if order.existed and not (order.counted or order.inferred):
        records.append(CountedRecord(name, ZERO, ZERO, False))
    return records


def _place_of(order: Order) -> Place | None:
    """Return the placement that an order found at the venue looks like; its time in force is known to nobody here."""
    if order.price <= ZERO or order.qty <= ZERO:
        return None
    return Place(
        order.client_order_id,
        order.symbol,
        order.side,
        order.price,
        order.qty,
        TimeInForce.GTC,
        order.reduce_only,
        order.kind,
        FOUND_RESTING,
        0,
        0,
    )

"""What an order action does to exposure, and what every working order together could still do.

Positions are signed (one-way mode: long above zero, short below), so the direction is always known when the position
is. Orders whose fate is unknown count as working. Must never take an unknown position for a flat one.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, Protocol

import msgspec

from grinder.model.control import RiskIntent
from grinder.model.orders import BUY, SELL, Amend, Cancel, Place, Side
from grinder.model.units import ZERO

Action = Place | Amend | Cancel
"""What the engine may ask of the executor about one order."""

_INCREASE: Final = RiskIntent.INCREASE_RISK
_REDUCE: Final = RiskIntent.REDUCE_RISK


class WorkingOrder(Protocol):
    """What this module needs to know of an order that may still execute."""

    @property
    def client_order_id(self) -> str:
        """Our id."""
        ...

    @property
    def side(self) -> Side:
        """Side of the order."""
        ...

    @property
    def price(self) -> Decimal:
        """Limit price, quote currency."""
        ...

    @property
    def remaining_qty(self) -> Decimal:
        """Quantity that may still execute, base units, 0 or more."""
        ...

    @property
    def reduce_only(self) -> bool:
        """The venue lets it only reduce the position."""
        ...


class Working(msgspec.Struct, frozen=True, gc=False):
    """Every order of one symbol that may still execute, summed.

    ``buy_qty``, ``sell_qty``: remaining base units of orders that are not reduce-only; ``reduce_buy_qty``,
    ``reduce_sell_qty``: of those that are. ``buy_price_max``, ``sell_price_min``: best own prices, None without an
    order. ``count``: orders. ``risk_prices``: (side, price) of the orders that are not reduce-only.
    """

    buy_qty: Decimal = ZERO
    sell_qty: Decimal = ZERO
    reduce_buy_qty: Decimal = ZERO
    reduce_sell_qty: Decimal = ZERO
    buy_price_max: Decimal | None = None
    sell_price_min: Decimal | None = None
    count: int = 0
    risk_prices: frozenset[tuple[Side, Decimal]] = frozenset()
    ids: frozenset[str] = frozenset()


NOTHING_WORKING: Final = Working()
"""No order of the symbol may still execute."""


def working_of(orders: Iterable[WorkingOrder]) -> Working:
    """Return the sum of the orders of one symbol that may still execute, those in flight or in doubt included."""
    qty = {(BUY, False): ZERO, (BUY, True): ZERO, (SELL, False): ZERO, (SELL, True): ZERO}
    buy_price_max: Decimal | None = None
    sell_price_min: Decimal | None = None
    risk_prices = set()
    ids = set()
    for order in orders:
        side, price, reduce_only = order.side, order.price, order.reduce_only
        qty[side, reduce_only] += order.remaining_qty
        if side is BUY:
            if buy_price_max is None or price > buy_price_max:
                buy_price_max = price
        elif sell_price_min is None or price < sell_price_min:
            sell_price_min = price
        ids.add(order.client_order_id)
        if not reduce_only:
            risk_prices.add((side, price))
    return Working(
        buy_qty=qty[BUY, False],
        sell_qty=qty[SELL, False],
        reduce_buy_qty=qty[BUY, True],
        reduce_sell_qty=qty[SELL, True],
        buy_price_max=buy_price_max,
        sell_price_min=sell_price_min,
        count=len(ids),
        risk_prices=frozenset(risk_prices),
        ids=frozenset(ids),
    )


def with_placed(working: Working, place: Place) -> Working:
    """Return the sum after one more order was sent; equal to ``working_of`` with that order added."""
    buy = place.side is BUY
    added = {
        (True, False): "buy_qty",
        (False, False): "sell_qty",
        (True, True): "reduce_buy_qty",
        (False, True): "reduce_sell_qty",
    }[buy, place.reduce_only]
    best_buy, best_sell = working.buy_price_max, working.sell_price_min
    if buy:
        best_buy = place.price if best_buy is None else max(best_buy, place.price)
    else:
        best_sell = place.price if best_sell is None else min(best_sell, place.price)
    risk_prices = working.risk_prices
    if not place.reduce_only:
        risk_prices = risk_prices | {(place.side, place.price)}
    return msgspec.structs.replace(
        working,
        buy_price_max=best_buy,
        sell_price_min=best_sell,
        count=working.count + 1,
        risk_prices=risk_prices,
        ids=working.ids | {place.client_order_id},
        **{added: getattr(working, added) + place.qty},
    )


def classify(
    action: Action, position_qty: Decimal | None, working: Working, amended: WorkingOrder | None = None
) -> RiskIntent:
    """Return what an action does to exposure.

    Args:
        action: the action.
        position_qty: signed position of its symbol, base units; None is unknown.
        working: every order of the symbol that may still execute, the amended one included.
        amended: the order that an Amend moves; None if nobody knows it.

    Returns:
        CANCEL for a cancel. REDUCE_RISK for a reduce-only order, and for one against the position that cannot turn
        it over even if everything working on its side fills first. INCREASE_RISK for all else, an unknown position
        and an unknown amended order included.
    """
    if isinstance(action, Cancel):
        return RiskIntent.CANCEL
    if isinstance(action, Place):
        if action.reduce_only:
            return _REDUCE
        replaced_qty = ZERO
    else:
        if amended is None:
            return _INCREASE
        if amended.reduce_only:
            return _REDUCE
        replaced_qty = amended.remaining_qty
    if position_qty is None:
        return _INCREASE
    if action.side is SELL:
        held, ahead = position_qty, working.sell_qty + working.reduce_sell_qty
    else:
        held, ahead = -position_qty, working.buy_qty + working.reduce_buy_qty
    if held > ZERO and ahead - replaced_qty + action.qty <= held:
        return _REDUCE
    return _INCREASE


def worst_case_qty(position_qty: Decimal, working: Working) -> Decimal:
    """Return the largest absolute position that the working orders could lead to, base units.

    Reduce-only orders cannot enlarge a position, so only the others count, each side filling alone.
    """
    return max(abs(position_qty + working.buy_qty), abs(position_qty - working.sell_qty), abs(position_qty))


def worst_case_notional(position_qty: Decimal | None, working: Working, mark_price: Decimal | None) -> Decimal | None:
    """Return the worst-case position at the mark price, quote currency; None if the position or the mark is unknown.

    A symbol that is flat with nothing working is worth 0 even without a mark price.
    """
    if position_qty is None:
        return None
    qty = worst_case_qty(position_qty, working)
    if qty == ZERO:
        return ZERO
    return None if mark_price is None else qty * mark_price

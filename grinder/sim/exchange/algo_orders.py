"""One conditional order of the algo service, and when it triggers. Pure values; the desk owns and changes them.

Source: New Algo Order (TRADE) and event ALGO_UPDATE, 2026-08-19; ``ia`` 2026-08-11, callbackRate up to 20 2026-10-23.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import OrderType
from grinder.sim.exchange.orders import PriceMatch, SelfTrade, Tif, WorkingType


class ConditionalType(StrEnum):
    """Types of conditional orders."""

    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING_STOP_MARKET = "TRAILING_STOP_MARKET"


LIMITED: Final = frozenset({ConditionalType.STOP, ConditionalType.TAKE_PROFIT})
"""Types whose order has a limit price."""

CLOSING: Final = frozenset({ConditionalType.STOP_MARKET, ConditionalType.TAKE_PROFIT_MARKET})
"""Types that may close a whole position."""

_TAKES_PROFIT: Final = frozenset({ConditionalType.TAKE_PROFIT, ConditionalType.TAKE_PROFIT_MARKET})


class AlgoStatus(StrEnum):
    """Life of a conditional order; TRIGGERED ones end as FINISHED with the order they became."""

    NEW = "NEW"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class AlgoOrder(msgspec.Struct, eq=False):
    """One conditional order. Prices in USDT, quantity in base units, ``callback_rate`` in percent.

    ``extreme``: best price since a trailing order became active, 0 before. ``actual_order_id``: the order it became, 0
    before. ``failure``: why it did not become one.
    """

    algo_id: int
    client_algo_id: str
    account: str
    symbol: str
    side: Side
    kind: ConditionalType
    tif: Tif
    qty: Decimal
    price: Decimal
    trigger_price: Decimal
    position_side: PositionSide
    self_trade: SelfTrade
    created_utc_ms: int
    updated_utc_ms: int
    working_type: WorkingType = WorkingType.CONTRACT_PRICE
    price_match: PriceMatch = PriceMatch.NONE
    close_position: bool = False
    price_protect: bool = False
    reduce_only: bool = False
    activate_price: Decimal = ZERO
    callback_rate: Decimal = ZERO
    good_till_utc_ms: int = 0
    triggered_utc_ms: int = 0
    status: AlgoStatus = AlgoStatus.NEW
    actual_order_id: int = 0
    failure: str = ""
    activated: bool = False
    extreme: Decimal = ZERO

    @property
    def trails(self) -> bool:
        """Tell whether its trigger follows the market."""
        return self.kind is ConditionalType.TRAILING_STOP_MARKET

    @property
    def actual_type(self) -> OrderType:
        """Type of the order it becomes."""
        return OrderType.LIMIT if self.kind in LIMITED else OrderType.MARKET


def triggers(algo: AlgoOrder, price: Decimal) -> bool:
    """Tell whether a price triggers an order; a trailing one must be active.

    Args:
        algo: the order.
        price: mark price or last price, as its working type says; above 0.
    """
    if algo.trails:
        return algo.activated and _retraced(algo, price)
    upwards = (algo.side is Side.BUY) is not (algo.kind in _TAKES_PROFIT)
    return price >= algo.trigger_price if upwards else price <= algo.trigger_price


def follow(algo: AlgoOrder, price: Decimal) -> bool:
    """Let a trailing order see a price; return True if that made it active."""
    assert algo.trails
    if not algo.activated:
        reached = price <= algo.activate_price if algo.side is Side.BUY else price >= algo.activate_price
        if algo.activate_price > ZERO and not reached:
            return False
        algo.activated, algo.extreme = True, price
        return True
    algo.extreme = min(algo.extreme, price) if algo.side is Side.BUY else max(algo.extreme, price)
    return False


def _retraced(algo: AlgoOrder, price: Decimal) -> bool:
    rate = algo.callback_rate / 100
    if algo.side is Side.BUY:
        return price >= algo.extreme * (1 + rate)
    return price <= algo.extreme * (1 - rate)

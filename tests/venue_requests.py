"""One request of every kind there is."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from grinder.model.conditional import (
    CancelAllConditional,
    CancelConditional,
    ConditionalType,
    PlaceConditional,
    QueryConditional,
    QueryOpenConditional,
)
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import (
    AmendOrder,
    ArmCountdown,
    CancelAllOrders,
    CancelOrder,
    OrderType,
    PlaceBatch,
    PlaceOrder,
    QueryBalance,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositionMode,
    QueryPositions,
    QueryServerTime,
    VenueRequest,
)
from grinder.model.venue_account import (
    QueryAccountConfig,
    QueryBrackets,
    QueryDepth,
    QuerySymbolConfig,
    QueryTrades,
    QueryTradingStatus,
)

PLACE = PlaceOrder(
    "grd-0-1-b1", "BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal("9000.10"), Decimal("0.002"), TimeInForce.GTX, False
)
REDUCE = msgspec.structs.replace(PLACE, reduce_only=True)
EVERY_REQUEST: tuple[VenueRequest, ...] = (
    PLACE,
    AmendOrder("grd-0-1-b1", "BTCUSDT", Side.BUY, Decimal("9001"), Decimal("0.002")),
    CancelOrder("grd-0-1-b1", "BTCUSDT"),
    QueryOrder("grd-0-1-b1", "BTCUSDT"),
    CancelAllOrders("BTCUSDT"),
    ArmCountdown("BTCUSDT", 120_000),
    QueryOpenOrders("BTCUSDT"),
    QueryPositions(),
    QueryBalance(),
    QueryPositionMode(),
    QueryInstruments(),
    QueryServerTime(),
    PlaceBatch((PLACE,)),
    PlaceConditional(
        "grd-0-2-x1",
        "BTCUSDT",
        Side.SELL,
        ConditionalType.STOP_MARKET,
        Decimal(8_000),
        Decimal(0),
        Decimal("0.002"),
        TimeInForce.GTC,
        True,
    ),
    CancelConditional("grd-0-2-x1"),
    QueryConditional("grd-0-2-x1"),
    QueryOpenConditional("BTCUSDT"),
    CancelAllConditional("BTCUSDT"),
    QueryDepth("BTCUSDT"),
    QueryAccountConfig(),
    QuerySymbolConfig("BTCUSDT"),
    QueryBrackets("BTCUSDT"),
    QueryTrades("BTCUSDT"),
    QueryTradingStatus(),
)

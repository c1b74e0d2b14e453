"""What the simulated venue trades: per symbol tick, step, limits, and the exchangeInfo made from them.

Built-in values follow the venue's own at 2026-05; a symbol that is not built in gets rules read off a recorded price.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec


class SymbolRules(msgspec.Struct, frozen=True):
    """Filters of one symbol. Prices and notional in USDT, quantities in base units.

    ``start_price``: where the synthetic tape begins. ``percent_price_*``: limits as fractions of the mark price.
    ``market_take_bound``, ``trigger_protect`` and ``liquidation_fee``: fractions of mark price and notional.
    """

    symbol: str
    base: str
    tick: Decimal
    step: Decimal
    min_notional: Decimal
    start_price: Decimal
    price_precision: int
    qty_precision: int
    max_qty: Decimal = Decimal(1000)
    market_max_qty: Decimal = Decimal(120)
    min_price: Decimal = Decimal("0")
    max_price: Decimal = Decimal("1000000")
    percent_price_up: Decimal = Decimal("1.0500")
    percent_price_down: Decimal = Decimal("0.9500")
    max_orders: int = 200
    max_leverage: int = 125
    market_take_bound: Decimal = Decimal("0.05")
    trigger_protect: Decimal = Decimal("0.0500")
    liquidation_fee: Decimal = Decimal("0.012500")
    status: str = "TRADING"

    @property
    def min_qty(self) -> Decimal:
        """Smallest quantity, base units: one step."""
        return self.step


ORDER_TYPES: Final = (
    "LIMIT",
    "MARKET",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
)
"""Order types of every symbol; the last five by the algo service."""


def _rules(
    symbol: str, tick: str, step: str, notional: str, price: str, precision: tuple[int, int], largest: int
) -> SymbolRules:
    return SymbolRules(
        symbol=symbol,
        base=symbol.removesuffix("USDT"),
        tick=Decimal(tick),
        step=Decimal(step),
        min_notional=Decimal(notional),
        start_price=Decimal(price),
        price_precision=precision[0],
        qty_precision=precision[1],
        max_qty=Decimal(largest),
        market_max_qty=Decimal(largest) / 5,
        min_price=Decimal(tick),
    )


BUILT_IN: Final[dict[str, SymbolRules]] = {
    rules.symbol: rules
    for rules in (
        _rules("BTCUSDT", "0.10", "0.001", "100", "60000.00", (2, 3), 1_000),
        _rules("ETHUSDT", "0.01", "0.001", "20", "2600.00", (2, 3), 10_000),
        _rules("SOLUSDT", "0.0100", "0.01", "5", "150.0000", (4, 2), 1_000_000),
        _rules("BNBUSDT", "0.010", "0.01", "5", "580.000", (3, 2), 100_000),
        _rules("XRPUSDT", "0.0001", "0.1", "5", "0.5800", (4, 1), 10_000_000),
        _rules("DOGEUSDT", "0.000010", "1", "5", "0.120000", (6, 0), 50_000_000),
        _rules("ADAUSDT", "0.00010", "1", "5", "0.38000", (5, 0), 20_000_000),
        _rules("LINKUSDT", "0.001", "0.01", "20", "12.000", (3, 2), 1_000_000),
        _rules("LTCUSDT", "0.01", "0.001", "20", "70.00", (2, 3), 100_000),
        _rules("AVAXUSDT", "0.0010", "1", "5", "26.0000", (4, 0), 1_000_000),
        _rules("BCHUSDT", "0.01", "0.001", "20", "350.00", (2, 3), 100_000),
    )
}


def inferred_rules(symbol: str, price: str, qty: str) -> SymbolRules:
    """Return rules for a symbol that is not built in, from the decimals of a recorded price and quantity."""
    price_places = len(price.partition(".")[2])
    qty_places = len(qty.partition(".")[2])
    tick = str(Decimal(1).scaleb(-price_places))
    return _rules(symbol, tick, str(Decimal(1).scaleb(-qty_places)), "5", price, (price_places, qty_places), 10_000_000)


def _filters(rules: SymbolRules) -> list[dict[str, Any]]:
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": str(rules.min_price),
            "maxPrice": str(rules.max_price),
            "tickSize": str(rules.tick),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": str(rules.min_qty),
            "maxQty": str(rules.max_qty),
            "stepSize": str(rules.step),
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": str(rules.min_qty),
            "maxQty": str(rules.market_max_qty),
            "stepSize": str(rules.step),
        },
        {"filterType": "MAX_NUM_ORDERS", "limit": rules.max_orders},
        {"filterType": "MIN_NOTIONAL", "notional": str(rules.min_notional)},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": str(rules.percent_price_up),
            "multiplierDown": str(rules.percent_price_down),
            "multiplierDecimal": "4",
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]


def symbol_info(rules: SymbolRules) -> dict[str, Any]:
    """Return one symbol's entry of exchangeInfo."""
    return {
        "symbol": rules.symbol,
        "pair": rules.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": rules.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": rules.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": rules.price_precision,
        "quantityPrecision": rules.qty_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": str(rules.trigger_protect),
        "liquidationFee": str(rules.liquidation_fee),
        "marketTakeBound": str(rules.market_take_bound),
        "maxMoveOrderLimit": 10000,
        "filters": _filters(rules),
        "orderTypes": list(ORDER_TYPES),
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }


def rate_limit_rows(weight_1m: int, orders_10s: int, orders_1m: int) -> list[dict[str, Any]]:
    """Return the rateLimits of exchangeInfo."""
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_1m},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": orders_1m},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": orders_10s},
    ]


def exchange_info(rules: list[SymbolRules], limits: list[dict[str, Any]], server_utc_ms: int) -> dict[str, Any]:
    """Return the whole exchangeInfo document."""
    return {
        "timezone": "UTC",
        "serverTime": server_utc_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": limits,
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [symbol_info(each) for each in rules],
    }

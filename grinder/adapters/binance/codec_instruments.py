"""exchangeInfo to instruments and rate limits.

A symbol whose filters are missing or unreadable is left out and counted: it cannot be traded, and it must not stop
the others. Precisions (``pricePrecision``) are never used as tick or step.

Source: venue documentation, GET /fapi/v1/exchangeInfo, 2026-05-28; the 2021 form has the same filters.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.adapters.binance.codec_account import read, require_sane
from grinder.model.errors import PayloadError
from grinder.model.instrument import MARGIN_ASSET, Instrument
from grinder.model.venue import Exchange, RateUse

INTERVAL_S: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}


class _PriceFilter(msgspec.Struct, rename="camel", tag_field="filterType", tag="PRICE_FILTER"):
    min_price: Decimal
    max_price: Decimal
    tick_size: Decimal


class _LotSize(msgspec.Struct, rename="camel", tag_field="filterType", tag="LOT_SIZE"):
    min_qty: Decimal
    max_qty: Decimal
    step_size: Decimal


class _MarketLotSize(msgspec.Struct, rename="camel", tag_field="filterType", tag="MARKET_LOT_SIZE"):
    min_qty: Decimal
    max_qty: Decimal
    step_size: Decimal


class _MaxNumOrders(msgspec.Struct, tag_field="filterType", tag="MAX_NUM_ORDERS"):
    limit: int


class _MinNotional(msgspec.Struct, tag_field="filterType", tag="MIN_NOTIONAL"):
    notional: Decimal


class _PercentPrice(msgspec.Struct, rename="camel", tag_field="filterType", tag="PERCENT_PRICE"):
    multiplier_up: Decimal
    multiplier_down: Decimal


_Filter = _PriceFilter | _LotSize | _MarketLotSize | _MaxNumOrders | _MinNotional | _PercentPrice
_FILTER_NAMES: Final = frozenset(
    {"PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "MAX_NUM_ORDERS", "MIN_NOTIONAL", "PERCENT_PRICE"}
)


class _FilterName(msgspec.Struct, rename="camel"):
    filter_type: str


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    filters: list[msgspec.Raw]
    margin_asset: str = MARGIN_ASSET


class RateLimit(msgspec.Struct, rename="camel"):
    """One rate limit as the venue writes it, in exchangeInfo or with its count in a WebSocket API reply."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int
    count: int = 0

    def use(self) -> RateUse:
        """Return it with the interval in seconds (0 where its word is unknown)."""
        interval_s = INTERVAL_S.get(self.interval, 0) * self.interval_num
        return RateUse(kind=self.rate_limit_type, interval_s=interval_s, limit=self.limit, used=self.count)


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    symbols: list[msgspec.Raw]
    rate_limits: list[RateLimit]


_INFO: Final = msgspec.json.Decoder(_ExchangeInfo)
_SYMBOL: Final = msgspec.json.Decoder(_Symbol)
_NAME: Final = msgspec.json.Decoder(_FilterName)
_FILTER: Final = msgspec.json.Decoder(_Filter)


def _filters(raw: list[msgspec.Raw]) -> dict[type, _Filter]:
    """Return the known filters of a symbol by class; an unknown filter is passed over."""
    known: dict[type, _Filter] = {}
    for item in raw:
        if read(_NAME, bytes(item)).filter_type in _FILTER_NAMES:
            filter_ = read(_FILTER, bytes(item))
            known[type(filter_)] = filter_
    return known


def _instrument(body: bytes) -> Instrument:
    """Return one symbol's instrument.

    Raises:
        PayloadError: unreadable or out of range.
        KeyError: a filter is missing.
        ValueError: the filters could not bound an order.
    """
    symbol = read(_SYMBOL, body)
    filters = _filters(symbol.filters)
    price, lot, market = filters[_PriceFilter], filters[_LotSize], filters[_MarketLotSize]
    orders, notional, percent = filters[_MaxNumOrders], filters[_MinNotional], filters[_PercentPrice]
    assert isinstance(price, _PriceFilter)
    assert isinstance(lot, _LotSize)
    assert isinstance(market, _MarketLotSize)
    assert isinstance(orders, _MaxNumOrders)
    assert isinstance(notional, _MinNotional)
    assert isinstance(percent, _PercentPrice)
    require_sane(tick_size=price.tick_size, min_price=price.min_price, max_price=price.max_price)
    require_sane(step_size=lot.step_size, max_qty=lot.max_qty, market_max_qty=market.max_qty)
    return Instrument(
        symbol=symbol.symbol,
        status=symbol.status,
        tick_size=price.tick_size,
        step_size=lot.step_size,
        min_qty=lot.min_qty,
        max_qty=lot.max_qty,
        market_step_size=market.step_size,
        market_min_qty=market.min_qty,
        market_max_qty=market.max_qty,
        min_notional=notional.notional,
        min_price=price.min_price,
        max_price=price.max_price,
        percent_price_up=percent.multiplier_up,
        percent_price_down=percent.multiplier_down,
        open_orders_max=orders.limit,
        margin_asset=symbol.margin_asset,
    )


def decode_exchange(body: bytes) -> Exchange:
    """Return instruments, rate limits, and how many symbols were skipped.

    Raises:
        PayloadError: the reply as a whole cannot be read.
    """
    info = read(_INFO, body)
    instruments: dict[str, Instrument] = {}
    for raw in info.symbols:
        try:
            instrument = _instrument(bytes(raw))
        except (PayloadError, KeyError, ValueError, ArithmeticError):
            continue
        instruments[instrument.symbol] = instrument
    return Exchange(
        instruments=tuple(instruments.values()),
        rate_limits=tuple(limit.use() for limit in info.rate_limits),
        skipped=len(info.symbols) - len(instruments),
    )

"""REST market data made of what the market did: candles, trades, tickers, funding. None of it changes anything.

Source: USDⓈ-M futures market data endpoints, weights and fields, 2026-05-28.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from grinder.model.units import ZERO
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.events import money, plain
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.market_history import (
    DAY_MS,
    INTERVALS_MS,
    Candle,
    MarketHistory,
    PublicTrade,
    closing_ms,
)
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.venue import Operation, Security, Venue, Weight

KLINES_MAX: Final = 1_500
TRADES_MAX: Final = 1_000
FUNDING_RATES_MAX: Final = 1_000
FUNDING_INTERVAL_MS: Final = 8 * 3_600_000
_PERCENT: Final = Decimal("0.001")


def klines(venue: Venue, account: Account | None, params: Params, now: int) -> list[list[Any]]:
    """GET /fapi/v1/klines."""
    return _klines(venue, params, params.text("symbol"), now)


def continuous_klines(venue: Venue, account: Account | None, params: Params, now: int) -> list[list[Any]]:
    """GET /fapi/v1/continuousKlines: perpetual contracts only."""
    if params.text("contractType") != "PERPETUAL":
        raise refusal(Code.INVALID_PARAMETER, "contractType")
    return _klines(venue, params, params.text("pair"), now)


def _klines(venue: Venue, params: Params, symbol: str, now: int) -> list[list[Any]]:
    history = history_now(venue, symbol, now)
    interval = params.text("interval")
    if interval not in INTERVALS_MS:
        raise refusal(Code.INVALID_INTERVAL)
    limit = limit_of(params, 500, KLINES_MAX)
    start, end = params.integer_or("startTime", 0), params.integer_or("endTime", 0)
    return [kline_row(each, interval) for each in history.candles(interval, start, end, limit)]


def kline_row(candle: Candle, interval: str) -> list[Any]:
    """Return a candle as REST writes it."""
    prices = [plain(price) for price in (candle.open, candle.high, candle.low, candle.close)]
    return [
        candle.open_utc_ms,
        *prices,
        plain(candle.volume),
        closing_ms(candle.open_utc_ms, interval),
        plain(candle.quote),
        candle.trades,
        plain(candle.taker_volume),
        plain(candle.taker_quote),
        "0",
    ]


def trades(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/trades: the newest ones, oldest first."""
    rows = list(history_now(venue, params.text("symbol"), now).trades)
    return [_trade_row(each) for each in rows[-limit_of(params, 500, TRADES_MAX) :]]


def historical_trades(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/historicalTrades: from ``fromId`` on, else the newest ones."""
    limit, first_id = limit_of(params, 100, TRADES_MAX), params.integer_or("fromId", 0)
    rows = [each for each in history_now(venue, params.text("symbol"), now).trades if each.trade_id >= first_id]
    return [_trade_row(each) for each in (rows[:limit] if first_id else rows[-limit:])]


def aggregate_trades(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/aggTrades: each trade of the tape is one aggregate."""
    limit, first_id = limit_of(params, 500, TRADES_MAX), params.integer_or("fromId", 0)
    start, end = params.integer_or("startTime", 0), params.integer_or("endTime", now)
    rows = [
        each
        for each in history_now(venue, params.text("symbol"), now).trades
        if each.trade_id >= first_id and start <= each.utc_ms <= end
    ]
    chosen = rows[:limit] if first_id or start else rows[-limit:]
    return [
        {
            "a": each.trade_id,
            "p": each.price,
            "q": each.qty,
            "nq": each.qty,
            "f": each.trade_id,
            "l": each.trade_id,
            "T": each.utc_ms,
            "m": each.buyer_is_maker,
        }
        for each in chosen
    ]


def _trade_row(trade: PublicTrade) -> dict[str, Any]:
    quote = Decimal(trade.price) * Decimal(trade.qty)
    return {
        "id": trade.trade_id,
        "price": trade.price,
        "qty": trade.qty,
        "quoteQty": plain(quote),
        "time": trade.utc_ms,
        "isBuyerMaker": trade.buyer_is_maker,
        "isRPITrade": False,
    }


def day_ticker(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/ticker/24hr."""
    rows = [_day_row(market, history_now(venue, market.rules.symbol, now), now) for market in _markets(venue, params)]
    return rows[0] if "symbol" in params else rows


def _day_row(market: Market, history: MarketHistory, now: int) -> dict[str, Any]:
    day = day_of(market, history, now)
    change = day.close - day.open
    last_qty = history.trades[-1].qty if history.trades else "0"
    return {
        "symbol": market.rules.symbol,
        "priceChange": plain(change),
        "priceChangePercent": plain(percent(change, day.open)),
        "weightedAvgPrice": plain(weighted_price(day, market.rules.tick)),
        "lastPrice": plain(day.close),
        "lastQty": last_qty,
        "openPrice": plain(day.open),
        "highPrice": plain(day.high),
        "lowPrice": plain(day.low),
        "volume": plain(day.volume),
        "quoteVolume": plain(day.quote),
        "openTime": now - DAY_MS,
        "closeTime": now,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.trades,
    }


def day_of(market: Market, history: MarketHistory, now: int) -> Candle:
    """Return the last 24 hours of a market; before its first price, flat at the middle of its book."""
    mid = market.tape.mid
    return history.day(now) or Candle(now - DAY_MS, mid, mid, mid, mid)


def percent(change: Decimal, base: Decimal) -> Decimal:
    """Return a change in percent, three decimals, half even."""
    return (change * 100 / base).quantize(_PERCENT, ROUND_HALF_EVEN) if base else ZERO


def weighted_price(day: Candle, tick: Decimal) -> Decimal:
    """Return the average price weighted by volume, on the tick, half even; the last price without volume."""
    return (day.quote / day.volume).quantize(tick, ROUND_HALF_EVEN) if day.volume else day.close


def funding_rates(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/fundingRate: the rate in force stands for those of the past."""
    limit = limit_of(params, 100, FUNDING_RATES_MAX)
    end = min(params.integer_or("endTime", now), now)
    start = params.integer_or("startTime", 0)
    last = end - end % FUNDING_INTERVAL_MS
    moments = [last - number * FUNDING_INTERVAL_MS for number in reversed(range(limit))]
    if start:
        first = -(-start // FUNDING_INTERVAL_MS) * FUNDING_INTERVAL_MS
        moments = list(range(first, last + 1, FUNDING_INTERVAL_MS))[:limit] if last - first < 10**12 else []
    return [
        {
            "symbol": market.rules.symbol,
            "fundingRate": money(market.funding_rate),
            "fundingTime": moment,
            "markPrice": money(market.mark),
        }
        for moment in moments
        for market in _markets(venue, params)
    ][:limit]


def open_interest(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/openInterest: that of the accounts there are."""
    symbol = venue.exchange.market(params.text("symbol")).rules.symbol
    held = [each.qty for owner in venue.exchange.accounts.values() for each in owner.held() if each.symbol == symbol]
    return {"symbol": symbol, "openInterest": plain(sum((max(ZERO, qty) for qty in held), ZERO)), "time": now}


def history_now(venue: Venue, symbol: str, now: int) -> MarketHistory:
    """Return what a market did until now; refuse a symbol there is not."""
    market = venue.exchange.market(symbol)
    history = venue.history_of(symbol)
    history.on_time(market.tape.mid, now)
    return history


def _markets(venue: Venue, params: Params) -> list[Market]:
    if "symbol" in params:
        return [venue.exchange.market(params.text("symbol"))]
    return list(venue.exchange.markets.values())


def limit_of(params: Params, default: int, most: int) -> int:
    """Return how many rows are asked for; refuse fewer than one and more than ``most``."""
    limit = params.integer_or("limit", default)
    if not 1 <= limit <= most:
        raise refusal(Code.INVALID_PARAMETER, "limit")
    return limit


def _flat(amount: int) -> Weight:
    return lambda params: amount


def by_klines(params: Params) -> int:
    """Return the weight of a request for candles."""
    text = params.optional("limit", "500")
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 500
    return next(weight for bound, weight in ((99, 1), (499, 2), (1_000, 5), (10**20, 10)) if limit <= bound)


def _by_symbol(params: Params) -> int:
    return 1 if "symbol" in params else 40


Row = Callable[[Venue, Account | None, Params, int], object]


def _public(name: str, handler: Row, weight: Weight, path: str, security: Security = Security.NONE) -> Operation:
    return Operation(name, security, handler, weight, (("GET", f"/fapi/v1/{path}"),))


MARKET_DATA: Final = (
    _public("klines", klines, by_klines, "klines"),
    _public("klines.continuous", continuous_klines, by_klines, "continuousKlines"),
    _public("trades", trades, _flat(5), "trades"),
    _public("trades.historical", historical_trades, _flat(20), "historicalTrades", Security.KEY),
    _public("trades.aggregate", aggregate_trades, _flat(20), "aggTrades"),
    _public("ticker.day", day_ticker, _by_symbol, "ticker/24hr"),
    _public("funding.rates", funding_rates, _flat(1), "fundingRate"),
    _public("open_interest", open_interest, _flat(1), "openInterest"),
)
"""Operations of this module; the table of all operations holds them too."""

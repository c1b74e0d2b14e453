"""REST market data made of prices that nothing trades at: candles of mark, index and premium, basis, takers' ratio.

Sources: USDⓈ-M futures, mark price, index price and premium index kline data, basis, taker buy/sell volume, 2026-05-28.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from grinder.model.units import ZERO
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.events import money
from grinder.sim.exchange.market_data import KLINES_MAX, by_klines, history_now, limit_of
from grinder.sim.exchange.market_history import INTERVALS_MS, Candle, PriceKind, closing_ms
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.venue import Handler, Operation, Security, Venue

PERIODS: Final = frozenset({"5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"})
STATISTICS_MAX: Final = 500
_RATIO: Final = Decimal("0.0001")


def _price_klines(kind: PriceKind, symbol_name: str) -> Handler:
    """Return the handler of a kind's candles. ``symbol_name``: the parameter that names the market."""

    def handler(venue: Venue, account: Account | None, params: Params, now: int) -> list[list[Any]]:
        symbol = venue.exchange.market(params.text(symbol_name)).rules.symbol
        interval = params.text("interval")
        if interval not in INTERVALS_MS:
            raise refusal(Code.INVALID_INTERVAL)
        limit = limit_of(params, 500, KLINES_MAX)
        span = params.integer_or("startTime", 0), params.integer_or("endTime", 0)
        return [_row(each, interval) for each in venue.prices_of(symbol, kind).candles(interval, *span, limit)]

    return handler


def _row(candle: Candle, interval: str) -> list[Any]:
    """Return a candle without volumes; the fields that mean nothing are there all the same."""
    prices = [money(price) for price in (candle.open, candle.high, candle.low, candle.close)]
    seconds = INTERVALS_MS[interval] // 1_000
    return [candle.open_utc_ms, *prices, "0", closing_ms(candle.open_utc_ms, interval), "0", seconds, "0", "0", "0"]


def _periods(candles: list[Candle], params: Params) -> list[Candle]:
    """Return the newest candles that the parameters leave."""
    end = params.integer_or("endTime", 0)
    rows = [each for each in candles if not end or each.open_utc_ms <= end]
    return rows[-limit_of(params, 30, STATISTICS_MAX) :]


def _period(params: Params) -> str:
    period = params.text("period")
    if period not in PERIODS:
        raise refusal(Code.INVALID_PARAMETER, "period")
    return period


def taker_ratio(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /futures/data/takerlongshortRatio, from the trades of the tape."""
    period, start = _period(params), params.integer_or("startTime", 0)
    candles = history_now(venue, params.text("symbol"), now).candles(period, start, 0, KLINES_MAX)
    return [_taker_row(each) for each in _periods(candles, params)]


def _taker_row(candle: Candle) -> dict[str, Any]:
    bought, sold = candle.taker_volume, candle.volume - candle.taker_volume
    ratio = (bought / sold).quantize(_RATIO, ROUND_HALF_EVEN) if sold else ZERO.quantize(_RATIO)
    return {"buySellRatio": str(ratio), "buyVol": str(bought), "sellVol": str(sold), "timestamp": candle.open_utc_ms}


def basis(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /futures/data/basis: last price against index price at the end of each period."""
    pair, contract, period = params.text("pair"), params.text("contractType"), _period(params)
    if contract != "PERPETUAL":
        raise refusal(Code.INVALID_PARAMETER, "contractType")
    start = params.integer_or("startTime", 0)
    futures = history_now(venue, pair, now).candles(period, start, 0, KLINES_MAX)
    index = {
        each.open_utc_ms: each.close
        for each in venue.prices_of(pair, PriceKind.INDEX).candles(period, start, 0, KLINES_MAX)
    }
    rows = [each for each in futures if index.get(each.open_utc_ms, ZERO) > ZERO]
    return [_basis_row(pair, each, index[each.open_utc_ms]) for each in _periods(rows, params)]


def _basis_row(pair: str, candle: Candle, index: Decimal) -> dict[str, Any]:
    difference = candle.close - index
    return {
        "indexPrice": str(index),
        "contractType": "PERPETUAL",
        "basisRate": str((difference / index).quantize(_RATIO, ROUND_HALF_EVEN)),
        "futuresPrice": str(candle.close),
        "annualizedBasisRate": "",
        "basis": str(difference),
        "pair": pair,
        "timestamp": candle.open_utc_ms,
    }


def system_status(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /sapi/v1/system/status: clients of every market ask it. Source: wallet, system status, 2026-05-28."""
    return {"status": 0, "msg": "normal"}


def _row_of(name: str, handler: Handler, path: str) -> Operation:
    return Operation(name, Security.NONE, handler, by_klines, (("GET", path),))


def _free(name: str, handler: Handler, weight: int, path: str) -> Operation:
    return Operation(name, Security.NONE, handler, lambda params: weight, (("GET", path),))


PRICE_DATA: Final = (
    _row_of("klines.mark", _price_klines(PriceKind.MARK, "symbol"), "/fapi/v1/markPriceKlines"),
    _row_of("klines.index", _price_klines(PriceKind.INDEX, "pair"), "/fapi/v1/indexPriceKlines"),
    _row_of("klines.premium", _price_klines(PriceKind.PREMIUM, "symbol"), "/fapi/v1/premiumIndexKlines"),
    _free("taker.ratio", taker_ratio, 0, "/futures/data/takerlongshortRatio"),
    _free("basis", basis, 0, "/futures/data/basis"),
    _free("system.status", system_status, 1, "/sapi/v1/system/status"),
)
"""Operations of this module; the table of all operations holds them too."""

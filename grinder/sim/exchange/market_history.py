"""What the market did: trades and one-minute candles per symbol, and what is made of them. Bounded, oldest first out.

Time is an argument. A minute without a trade has a candle all the same: flat, at the last price.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.units import ZERO

MINUTE_MS: Final = 60_000
DAY_MS: Final = 24 * 60 * MINUTE_MS
MINUTES_KEPT_MAX: Final = 7 * 24 * 60
TRADES_KEPT_MAX: Final = 10_000
_MONDAY_MS: Final = 4 * DAY_MS
"""1970-01-05: weeks begin on Mondays."""

MONTH: Final = "1M"
INTERVALS_MS: Final[dict[str, int]] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
    MONTH: 31 * DAY_MS,
}
"""Candle intervals by name; the month's length is its longest. Source: USDⓈ-M futures, klines, 2026-05-28."""


class PriceKind(StrEnum):
    """Prices that nothing trades at. PREMIUM: of the mark over the index price, a fraction of the latter."""

    MARK = "mark"
    INDEX = "index"
    PREMIUM = "premium"


class PublicTrade(msgspec.Struct, frozen=True, gc=False):
    """One trade of the tape. ``price`` USDT, ``qty`` base units, as the tape wrote them."""

    trade_id: int
    price: str
    qty: str
    utc_ms: int
    buyer_is_maker: bool


class Candle(msgspec.Struct, gc=False):
    """Prices and volumes of an interval. ``volume`` base units, ``quote`` USDT; ``taker_*``: of buyers who took.

    ``first_id`` and ``last_id``: of its trades, -1 without one.
    """

    open_utc_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO
    quote: Decimal = ZERO
    trades: int = 0
    taker_volume: Decimal = ZERO
    taker_quote: Decimal = ZERO
    first_id: int = -1
    last_id: int = -1


def opening_ms(utc_ms: int, interval: str) -> int:
    """Return when the interval that a moment lies in began, Unix milliseconds."""
    if interval == MONTH:
        moment = datetime.fromtimestamp(utc_ms / 1_000, UTC)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1_000
    length = INTERVALS_MS[interval]
    origin = _MONDAY_MS if interval == "1w" else 0
    return utc_ms - (utc_ms - origin) % length


def closing_ms(open_utc_ms: int, interval: str) -> int:
    """Return the last millisecond of the interval that began at ``open_utc_ms``."""
    if interval == MONTH:
        return opening_ms(open_utc_ms + INTERVALS_MS[MONTH], MONTH) - 1
    return open_utc_ms + INTERVALS_MS[interval] - 1


def merged(candles: Iterable[Candle], open_utc_ms: int) -> Candle:
    """Return several candles, at least one, in order, as one."""
    rows = iter(candles)
    first = next(rows)
    whole = msgspec.structs.replace(first, open_utc_ms=open_utc_ms)
    for each in rows:
        whole.high, whole.low = max(whole.high, each.high), min(whole.low, each.low)
        whole.close = each.close
        whole.volume += each.volume
        whole.quote += each.quote
        whole.trades += each.trades
        whole.taker_volume += each.taker_volume
        whole.taker_quote += each.taker_quote
        whole.first_id = each.first_id if whole.first_id < 0 else whole.first_id
        whole.last_id = max(whole.last_id, each.last_id)
    return whole


class MarketHistory:
    """Trades and candles of one symbol."""

    def __init__(self) -> None:
        self.trades: deque[PublicTrade] = deque(maxlen=TRADES_KEPT_MAX)
        self.minutes: deque[Candle] = deque(maxlen=MINUTES_KEPT_MAX)

    def on_trade(self, trade: PublicTrade) -> None:
        """Take a trade."""
        self.trades.append(trade)
        price, qty = Decimal(trade.price), Decimal(trade.qty)
        candle = self._minute(price, trade.utc_ms)
        candle.high, candle.low, candle.close = max(candle.high, price), min(candle.low, price), price
        candle.volume += qty
        candle.quote += price * qty
        candle.trades += 1
        if not trade.buyer_is_maker:
            candle.taker_volume += qty
            candle.taker_quote += price * qty
        candle.first_id = trade.trade_id if candle.first_id < 0 else candle.first_id
        candle.last_id = trade.trade_id

    def on_price(self, price: Decimal, utc_ms: int) -> None:
        """Take a price that nothing traded at, USDT or a fraction."""
        candle = self._minute(price, utc_ms)
        candle.high, candle.low, candle.close = max(candle.high, price), min(candle.low, price), price

    def on_time(self, mid: Decimal, utc_ms: int) -> None:
        """Let time pass: minutes without a trade get their candles. ``mid``: price before the first trade, USDT."""
        if self.minutes:
            self._minute(self.minutes[-1].close, utc_ms)
        elif mid > ZERO:
            self._minute(mid, utc_ms)

    def candles(self, interval: str, start: int, end: int, limit: int) -> list[Candle]:
        """Return candles that open from ``start`` to ``end`` (Unix ms, 0: open), the newest ``limit`` unless started.

        Args:
            interval: a name of INTERVALS_MS.
            start: first opening, Unix milliseconds; 0 for the newest ones.
            end: last opening, Unix milliseconds; 0 for now.
            limit: most candles.
        """
        rows = [each for each in self._grouped(interval) if each.open_utc_ms >= start]
        rows = [each for each in rows if not end or each.open_utc_ms <= end]
        return rows[:limit] if start else rows[-limit:]

    def current(self, interval: str) -> Candle | None:
        """Return the candle that is being made, None before the first price."""
        if not self.minutes:
            return None
        opening = opening_ms(self.minutes[-1].open_utc_ms, interval)
        return self._from(opening)

    def candle_at(self, interval: str, open_utc_ms: int) -> Candle | None:
        """Return the candle of an interval that opened at a moment, None if nothing of it is kept."""
        closing = closing_ms(open_utc_ms, interval)
        rows = [each for each in self.minutes if open_utc_ms <= each.open_utc_ms <= closing]
        return merged(rows, open_utc_ms) if rows else None

    def day(self, now: int) -> Candle | None:
        """Return the last 24 hours as one candle, None before the first price."""
        return self._from(now - DAY_MS)

    def _from(self, utc_ms: int) -> Candle | None:
        rows: list[Candle] = []
        for each in reversed(self.minutes):
            if each.open_utc_ms < utc_ms:
                break
            rows.append(each)
        return merged(reversed(rows), utc_ms) if rows else None

    def _grouped(self, interval: str) -> Iterator[Candle]:
        group: list[Candle] = []
        opening = 0
        for each in self.minutes:
            at = opening_ms(each.open_utc_ms, interval)
            if group and at != opening:
                yield merged(group, opening)
                group = []
            opening = at
            group.append(each)
        if group:
            yield merged(group, opening)

    def _minute(self, price: Decimal, utc_ms: int) -> Candle:
        """Return the candle of the minute; what lies between it and the last one is filled in flat."""
        opening = utc_ms - utc_ms % MINUTE_MS
        if not self.minutes:
            self.minutes.append(_flat(opening, price))
        last = self.minutes[-1]
        for at in range(max(last.open_utc_ms, opening - MINUTES_KEPT_MAX * MINUTE_MS), opening, MINUTE_MS):
            self.minutes.append(_flat(at + MINUTE_MS, last.close))
        return self.minutes[-1]


def _flat(open_utc_ms: int, price: Decimal) -> Candle:
    return Candle(open_utc_ms, price, price, price, price)

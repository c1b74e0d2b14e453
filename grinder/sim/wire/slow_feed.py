"""Streams that the venue sends by the clock and not by the event: candles, tickers, forced orders.

Looked at a few times a second; nothing is made that nobody listens to. Source: USDⓈ-M futures, kline, ticker, mini
ticker and mark price streams, 2026-05-28.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from grinder.sim.exchange.events import plain
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.market_data import day_of, percent, weighted_price
from grinder.sim.exchange.market_history import DAY_MS, INTERVALS_MS, Candle, closing_ms
from grinder.sim.wire.context import Context

TURN_S: Final = 0.25
"""Period of candles, seconds."""

TURNS_PER_S: Final = 4
TICKER_TURNS: Final = 2 * TURNS_PER_S
"""Period of one symbol's tickers, turns; those of all symbols come every second."""

ALL_TICKERS: Final = "!ticker@arr"
ALL_MINI_TICKERS: Final = "!miniTicker@arr"
CONTINUOUS: Final = "_perpetual@continuousKline_"


class SlowFeed:
    """Every stream that goes by the clock."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._turn = 0
        self._sent: dict[str, tuple[int, int]] = {}
        """Per candle stream: opening of the candle that was sent last, and its number of trades."""

    async def run(self) -> None:
        """Send what is due, for ever."""
        while True:
            await asyncio.sleep(TURN_S)
            self.turn()

    def turn(self) -> None:
        """Send what is due now."""
        self._turn += 1
        now = self._context.clock.utc_ms()
        venue = self._context.venue
        if self._turn % TURNS_PER_S == 0:
            for symbol, market in venue.exchange.markets.items():
                venue.history_of(symbol).on_time(market.tape.mid, now)
            self._send_tickers(now)
            self._context.hub.send_forced()
        self._send_candles(now)

    def _send_candles(self, now: int) -> None:
        wanted = self._context.hub.streams_with("line_")
        for gone in self._sent.keys() - set(wanted):
            del self._sent[gone]
        for stream in wanted:
            name, _, interval = stream.rpartition("_")
            symbol = name.partition("@")[0].partition("_")[0].upper()
            if symbol in self._context.venue.exchange.markets and interval in INTERVALS_MS:
                self._send_candle(stream, symbol, interval, now)

    def _send_candle(self, stream: str, symbol: str, interval: str, now: int) -> None:
        """Send a candle that changed; one that has closed is sent once more, as closed."""
        history = self._context.venue.history_of(symbol)
        candle = history.current(interval)
        if candle is None:
            return
        opening, trades = self._sent.get(stream, (candle.open_utc_ms, -1))
        if opening != candle.open_utc_ms:
            closed = history.candle_at(interval, opening)
            if closed is not None:
                self._context.hub.publish(stream, _candle_event(stream, symbol, interval, closed, now, closed_now=True))
            trades = -1
        if trades != candle.trades:
            self._context.hub.publish(stream, _candle_event(stream, symbol, interval, candle, now, closed_now=False))
        self._sent[stream] = (candle.open_utc_ms, candle.trades)

    def _send_tickers(self, now: int) -> None:
        hub, venue = self._context.hub, self._context.venue
        alone = self._turn % TICKER_TURNS == 0
        rows: dict[str, list[dict[str, Any]]] = {ALL_TICKERS: [], ALL_MINI_TICKERS: []}
        if not hub.streams_with("icker"):
            return
        for symbol, market in venue.exchange.markets.items():
            day = day_of(market, venue.history_of(symbol), now)
            lower = symbol.lower()
            full, mini = f"{lower}@ticker", f"{lower}@miniTicker"
            if hub.wanted(ALL_TICKERS) or hub.wanted(full):
                row = self._ticker(market, day, now)
                rows[ALL_TICKERS].append(row)
                if alone:
                    hub.publish(full, msgspec.json.encode(row))
            if hub.wanted(ALL_MINI_TICKERS) or hub.wanted(mini):
                row = _mini_ticker(symbol, day, now)
                rows[ALL_MINI_TICKERS].append(row)
                if alone:
                    hub.publish(mini, msgspec.json.encode(row))
        for stream, row_list in rows.items():
            hub.publish(stream, msgspec.json.encode(row_list))

    def _ticker(self, market: Market, day: Candle, now: int) -> dict[str, Any]:
        trades = self._context.venue.history_of(market.rules.symbol).trades
        change = day.close - day.open
        return {
            "e": "24hrTicker",
            "E": now,
            "s": market.rules.symbol,
            "ps": market.rules.symbol,
            "p": plain(change),
            "P": plain(percent(change, day.open)),
            "w": plain(weighted_price(day, market.rules.tick)),
            "c": plain(day.close),
            "Q": trades[-1].qty if trades else "0",
            "o": plain(day.open),
            "h": plain(day.high),
            "l": plain(day.low),
            "v": plain(day.volume),
            "q": plain(day.quote),
            "O": now - DAY_MS,
            "C": now,
            "F": day.first_id,
            "L": day.last_id,
            "n": day.trades,
            "st": 1,
        }


def _mini_ticker(symbol: str, day: Candle, now: int) -> dict[str, Any]:
    return {
        "e": "24hrMiniTicker",
        "E": now,
        "s": symbol,
        "ps": symbol,
        "c": plain(day.close),
        "o": plain(day.open),
        "h": plain(day.high),
        "l": plain(day.low),
        "v": plain(day.volume),
        "q": plain(day.quote),
        "st": 1,
    }


def _candle_event(stream: str, symbol: str, interval: str, candle: Candle, now: int, *, closed_now: bool) -> bytes:
    """Return a kline or continuous_kline event."""
    body = {
        "t": candle.open_utc_ms,
        "T": closing_ms(candle.open_utc_ms, interval),
        "s": symbol,
        "i": interval,
        "f": candle.first_id,
        "L": candle.last_id,
        "o": plain(candle.open),
        "c": plain(candle.close),
        "h": plain(candle.high),
        "l": plain(candle.low),
        "v": plain(candle.volume),
        "n": candle.trades,
        "x": closed_now,
        "q": plain(candle.quote),
        "V": plain(candle.taker_volume),
        "Q": plain(candle.taker_quote),
        "B": "0",
    }
    if CONTINUOUS in stream:
        del body["s"]
        head: dict[str, Any] = {"e": "continuous_kline", "E": now, "ps": symbol, "ct": "PERPETUAL"}
    else:
        head = {"e": "kline", "E": now, "s": symbol, "ps": symbol}
    return msgspec.json.encode({**head, "k": body, "st": 1})

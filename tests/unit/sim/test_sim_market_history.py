"""Candles and tickers made of trades: against a plain recount, and the edges of minutes, weeks, months."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.sim.exchange.market_history import (
    DAY_MS,
    INTERVALS_MS,
    MINUTE_MS,
    MarketHistory,
    PublicTrade,
    closing_ms,
    opening_ms,
)
from tests.sim_kit import Core

T0 = 1_700_000_040_000 - 1_700_000_040_000 % DAY_MS
"""A midnight, UTC."""


def trade(number: int, price: str, qty: str, utc_ms: int, *, sold: bool = False) -> PublicTrade:
    return PublicTrade(number, price, qty, utc_ms, sold)


@pytest.mark.parametrize(
    ("utc_ms", "interval", "opens", "closes"),
    [
        (T0 + 59_999, "1m", T0, T0 + 59_999),
        (T0 + 60_000, "1m", T0 + 60_000, T0 + 119_999),
        (1_709_210_000_000, "1M", 1_706_745_600_000, 1_709_251_199_999),
        (1_709_210_000_000, "1w", 1_708_905_600_000, 1_709_510_399_999),
        (1_709_210_000_000, "1d", 1_709_164_800_000, 1_709_251_199_999),
    ],
)
def test_interval_when_a_moment_lies_in_it_then_opens_and_closes_where_the_calendar_says(
    utc_ms: int, interval: str, opens: int, closes: int
) -> None:
    assert opening_ms(utc_ms, interval) == opens
    assert closing_ms(opens, interval) == closes


@given(
    st.lists(st.tuples(st.integers(0, 40 * MINUTE_MS), st.integers(1, 50), st.booleans()), min_size=1, max_size=60),
    st.sampled_from(["1m", "3m", "5m", "15m", "1h"]),
)
def test_candles_when_trades_are_recounted_plainly_then_the_same(
    rows: list[tuple[int, int, bool]], interval: str
) -> None:
    history = MarketHistory()
    trades = [trade(n, str(price), "2", T0 + at, sold=sold) for n, (at, price, sold) in enumerate(sorted(rows))]
    for each in trades:
        history.on_trade(each)
    candles = history.candles(interval, 0, 0, 1_500)
    assert sum(candle.trades for candle in candles) == len(trades)
    for candle in candles:
        mine = [t for t in trades if opening_ms(t.utc_ms, interval) == candle.open_utc_ms]
        assert candle.volume == 2 * len(mine)
        assert candle.taker_volume == 2 * sum(not t.buyer_is_maker for t in mine)
        if mine:
            prices = [Decimal(t.price) for t in mine]
            assert (candle.close, candle.first_id, candle.last_id) == (prices[-1], mine[0].trade_id, mine[-1].trade_id)
            assert candle.low <= min(prices) <= max(prices) <= candle.high
        else:
            assert candle.high == candle.low == candle.open == candle.close
    length = INTERVALS_MS[interval]
    opens = [candle.open_utc_ms for candle in candles]
    assert opens == list(range(opens[0], opens[-1] + length, length))


def test_minute_when_nothing_trades_then_flat_at_the_last_price() -> None:
    history = MarketHistory()
    history.on_time(Decimal(0), T0)
    assert not history.minutes
    history.on_time(Decimal(7), T0)
    history.on_trade(trade(1, "9", "1", T0 + 5 * MINUTE_MS))
    history.on_time(Decimal(8), T0 + 7 * MINUTE_MS)
    assert [str(each.close) for each in history.minutes] == ["7"] * 5 + ["9"] * 3


def test_candles_when_asked_for_by_time_then_only_those() -> None:
    history = MarketHistory()
    for minute in range(10):
        history.on_trade(trade(minute, "5", "1", T0 + minute * MINUTE_MS))
    opens = [each.open_utc_ms - T0 for each in history.candles("1m", T0 + 2 * MINUTE_MS, T0 + 5 * MINUTE_MS, 3)]
    assert opens == [2 * MINUTE_MS, 3 * MINUTE_MS, 4 * MINUTE_MS]
    assert [each.open_utc_ms - T0 for each in history.candles("1m", 0, 0, 2)] == [8 * MINUTE_MS, 9 * MINUTE_MS]


def test_history_when_it_was_quiet_for_long_then_bounded() -> None:
    history = MarketHistory()
    history.on_trade(trade(1, "5", "1", T0))
    history.on_time(Decimal(5), T0 + 1_000 * DAY_MS)
    assert history.minutes.maxlen == len(history.minutes)
    assert history.minutes[-1].open_utc_ms == T0 + 1_000 * DAY_MS


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("klines", {"symbol": "BTCUSDT", "interval": "1m"}, 0),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("klines", {"symbol": "BTCUSDT"}, -1102),
        ("klines", {"symbol": "NOPE", "interval": "1m"}, -1121),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "1501"}, -1130),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "0"}, -1130),
        ("klines.continuous", {"pair": "BTCUSDT", "contractType": "PERPETUAL", "interval": "1h"}, 0),
        ("klines.continuous", {"pair": "BTCUSDT", "contractType": "MONTHLY", "interval": "1h"}, -1130),
        ("trades", {"symbol": "BTCUSDT", "limit": "1001"}, -1130),
        ("trades.historical", {"symbol": "BTCUSDT", "fromId": "2"}, 0),
        ("trades.aggregate", {"symbol": "BTCUSDT", "startTime": "1"}, 0),
        ("ticker.day", {}, 0),
        ("ticker.day", {"symbol": "ETHUSDT"}, 0),
        ("funding.rates", {"symbol": "BTCUSDT", "limit": "5"}, 0),
        ("funding.rates", {"startTime": "1"}, 0),
        ("open_interest", {"symbol": "BTCUSDT"}, 0),
    ],
)
def test_market_data_when_asked_for_then_answers_or_documented_code(
    name: str, params: dict[str, str], code: int
) -> None:
    outcome = Core().do(name, **params)
    assert outcome.code == code, outcome.body


def test_trades_when_listed_then_as_the_tape_wrote_them_and_the_day_sums_them_up() -> None:
    core = Core()
    for number, price in enumerate(("60000.0", "60010.0", "59990.0")):
        core.venue.history_of("BTCUSDT").on_trade(trade(number + 1, price, "0.5", core.now, sold=number == 2))
    rows = core.do("trades", symbol="BTCUSDT", limit=2).body
    assert [(row["id"], row["price"], row["isBuyerMaker"]) for row in rows] == [
        (2, "60010.0", False),
        (3, "59990.0", True),
    ]
    assert [row["a"] for row in core.do("trades.aggregate", symbol="BTCUSDT", fromId=2).body] == [2, 3]
    assert [row["id"] for row in core.do("trades.historical", symbol="BTCUSDT", fromId=2, limit=1).body] == [2]
    day = core.do("ticker.day", symbol="BTCUSDT").body
    assert (day["openPrice"], day["highPrice"], day["lowPrice"], day["lastPrice"]) == (
        *("60000.0", "60010.0"),
        *("59990.0", "59990.0"),
    )
    assert (day["volume"], day["count"], day["priceChangePercent"]) == ("1.5", 3, "-0.017")


def test_funding_rates_when_listed_then_every_eight_hours_up_to_now() -> None:
    core = Core()
    rows = core.do("funding.rates", symbol="BTCUSDT", limit=3).body
    moments = [row["fundingTime"] for row in rows]
    assert moments == sorted(moments)
    assert core.now - 8 * 3_600_000 < moments[-1] <= core.now
    assert {b - a for a, b in pairwise(moments)} == {8 * 3_600_000}
    since = core.do("funding.rates", symbol="BTCUSDT", startTime=moments[1], limit=100).body
    assert [row["fundingTime"] for row in since] == moments[1:]

"""Candles of prices that nothing trades at, and the statistics made of trades and prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from grinder.sim.exchange.market_history import MINUTE_MS, PublicTrade
from tests.sim_kit import Core

PERIOD_MS = 5 * MINUTE_MS


def core_with_prices() -> Core:
    """Return a venue that had three mark prices in a minute and one in the next, the index 1 % lower."""
    core = Core()
    core.now -= core.now % PERIOD_MS
    for seconds, mark in ((0, "101"), (20, "103.02"), (40, "99.99"), (60, "101")):
        core.venue.note_prices("BTCUSDT", Decimal(mark), Decimal(100), core.now + seconds * 1_000)
    return core


def rows(core: Core, name: str, **params: Any) -> list[Any]:
    outcome = core.do(name, **params)
    assert outcome.code == 0, outcome.body
    assert isinstance(outcome.body, list)
    return outcome.body


@pytest.mark.parametrize(
    ("name", "symbol_name", "first", "second"),
    [
        (
            "klines.mark",
            "symbol",
            ["101.00000000", "103.02000000", "99.99000000", "99.99000000"],
            ["99.99000000", "101.00000000", "99.99000000", "101.00000000"],
        ),
        ("klines.index", "pair", ["100.00000000"] * 4, ["100.00000000"] * 4),
        (
            "klines.premium",
            "symbol",
            ["0.01000000", "0.03020000", "-0.00010000", "-0.00010000"],
            ["-0.00010000", "0.01000000", "-0.00010000", "0.01000000"],
        ),
    ],
)
def test_price_klines_when_prices_were_noted_then_their_candles_have_no_volume(
    name: str, symbol_name: str, first: list[str], second: list[str]
) -> None:
    core = core_with_prices()
    told = rows(core, name, interval="1m", **{symbol_name: "BTCUSDT"})
    assert [row[1:5] for row in told] == [first, second]
    assert [row[0] for row in told] == [core.now, core.now + MINUTE_MS]
    assert [row[6] - row[0] for row in told] == [MINUTE_MS - 1] * 2
    assert {tuple(row[5:6] + row[7:]) for row in told} == {("0", "0", 60, "0", "0", "0")}


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("klines.mark", {"symbol": "BTCUSDT", "interval": "1s"}, -1120),
        ("klines.mark", {"symbol": "NONE", "interval": "1m"}, -1121),
        ("klines.index", {"symbol": "BTCUSDT", "interval": "1m"}, -1102),
        ("klines.premium", {"symbol": "BTCUSDT", "interval": "1m", "limit": 1_501}, -1130),
        ("taker.ratio", {"symbol": "BTCUSDT", "period": "1m"}, -1130),
        ("basis", {"pair": "BTCUSDT", "contractType": "CURRENT_QUARTER", "period": "5m"}, -1130),
        ("basis", {"pair": "BTCUSDT", "contractType": "PERPETUAL", "period": "5m", "limit": 501}, -1130),
    ],
)
def test_price_data_when_a_parameter_is_wrong_then_its_documented_code(
    name: str, params: dict[str, Any], code: int
) -> None:
    assert core_with_prices().do(name, **params).code == code


def test_index_klines_when_the_venue_has_no_index_price_then_none() -> None:
    core = Core()
    core.venue.note_prices("BTCUSDT", Decimal(101), Decimal(0), core.now)
    assert rows(core, "klines.index", pair="BTCUSDT", interval="1m") == []
    assert len(rows(core, "klines.mark", symbol="BTCUSDT", interval="1m")) == 1


def test_takers_ratio_when_buyers_and_sellers_took_then_one_row_per_period() -> None:
    core = Core()
    core.now -= core.now % PERIOD_MS
    history = core.venue.history_of("BTCUSDT")
    for number, (qty, sold, periods) in enumerate([("3", False, 0), ("2", True, 0), ("1", False, 1)]):
        history.on_trade(PublicTrade(number, "100", qty, core.now + periods * PERIOD_MS, sold))
    start = core.now
    core.now += PERIOD_MS
    assert rows(core, "taker.ratio", symbol="BTCUSDT", period="5m") == [
        {"buySellRatio": "1.5000", "buyVol": "3", "sellVol": "2", "timestamp": start},
        {"buySellRatio": "0.0000", "buyVol": "1", "sellVol": "0", "timestamp": start + PERIOD_MS},
    ]
    (told,) = rows(core, "taker.ratio", symbol="BTCUSDT", period="5m", limit=1)
    assert told["timestamp"] == start + PERIOD_MS


def test_basis_when_last_and_index_price_differ_then_their_difference() -> None:
    core = core_with_prices()
    core.venue.history_of("BTCUSDT").on_trade(PublicTrade(1, "100.5", "1", core.now, True))
    (told,) = rows(core, "basis", pair="BTCUSDT", contractType="PERPETUAL", period="5m")
    assert told == {
        "indexPrice": "100",
        "contractType": "PERPETUAL",
        "basisRate": "0.0050",
        "futuresPrice": "100.5",
        "annualizedBasisRate": "",
        "basis": "0.5",
        "pair": "BTCUSDT",
        "timestamp": core.now,
    }


def test_system_status_when_asked_then_normal() -> None:
    assert Core().do("system.status").body == {"status": 0, "msg": "normal"}


def test_retail_depth_when_asked_then_the_book_at_its_one_depth() -> None:
    core = Core()
    book = core.do("depth", symbol="BTCUSDT", limit=1_000).body
    assert core.do("depth.retail", symbol="BTCUSDT").body == book
    assert core.do("depth.retail", symbol="BTCUSDT", limit=500).code == -1130

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from grinder.adapters.binance.codec_instruments import decode_exchange
from grinder.model.errors import PayloadError
from grinder.model.venue import RateUse

ROOT = Path(__file__).parents[4]
DATA = Path(os.environ.get("GRINDER_TEST_DATA", ROOT.parent / "shared" / "data"))
RECORDED = DATA / "binance_usdm" / "exchange_info_2021-07.json"

FILTERS: list[dict[str, Any]] = [
    {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
    {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
    {"filterType": "MAX_NUM_ORDERS", "limit": 200},
    {"filterType": "MIN_NOTIONAL", "notional": "100"},
    {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
    {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE", "endTime": 0},
]
LIMITS = [{"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300}]


def info(*symbols: object) -> bytes:
    return msgspec.json.encode({"timezone": "UTC", "rateLimits": LIMITS, "symbols": symbols, "newField": {}})


def symbol(name: str = "BTCUSDT", filters: object = FILTERS, **changes: object) -> dict[str, object]:
    return {"symbol": name, "status": "TRADING", "pricePrecision": 7, "filters": filters, **changes}


def test_recorded_exchange_info_gives_every_symbol() -> None:
    if not RECORDED.exists():
        pytest.skip(f"NO RECORDED DATA at {RECORDED}")
    exchange = decode_exchange(RECORDED.read_bytes())
    assert (len(exchange.instruments), exchange.skipped) == (122, 0)
    by_symbol = {instrument.symbol: instrument for instrument in exchange.instruments}
    assert by_symbol["BTCUSDT"].tick_size == Decimal("0.01")
    assert by_symbol["BTCUSDT"].min_notional == Decimal(5)
    assert by_symbol["BTCSTUSDT"].status == "PENDING_TRADING"
    assert RateUse("REQUEST_WEIGHT", 60, 2400, 0) in exchange.rate_limits


def test_recorded_exchange_info_when_compared_filter_by_filter_then_every_number_of_every_symbol_is_kept() -> None:
    if not RECORDED.exists():
        pytest.skip(f"NO RECORDED DATA at {RECORDED}")
    raw = json.loads(RECORDED.read_bytes())
    instruments = {instrument.symbol: instrument for instrument in decode_exchange(RECORDED.read_bytes()).instruments}
    names = {
        "PRICE_FILTER": {"tickSize": "tick_size", "minPrice": "min_price", "maxPrice": "max_price"},
        "LOT_SIZE": {"stepSize": "step_size", "minQty": "min_qty", "maxQty": "max_qty"},
        "MARKET_LOT_SIZE": {"stepSize": "market_step_size", "minQty": "market_min_qty", "maxQty": "market_max_qty"},
        "MAX_NUM_ORDERS": {"limit": "open_orders_max"},
        "MIN_NOTIONAL": {"notional": "min_notional"},
        "PERCENT_PRICE": {"multiplierUp": "percent_price_up", "multiplierDown": "percent_price_down"},
    }
    compared = 0
    for entry in raw["symbols"]:
        instrument = instruments[entry["symbol"]]
        assert (instrument.status, instrument.margin_asset) == (entry["status"], entry["marginAsset"])
        for each in entry["filters"]:
            for theirs, ours in names.get(each["filterType"], {}).items():
                assert Decimal(each[theirs]) == getattr(instrument, ours), (entry["symbol"], theirs)
                compared += 1
    assert compared == 122 * 13


def test_instrument_takes_tick_from_the_filter_and_never_from_a_precision() -> None:
    (instrument,) = decode_exchange(info(symbol())).instruments
    assert instrument.tick_size == Decimal("0.10")
    assert instrument.market_max_qty == Decimal(120)
    assert (instrument.open_orders_max, instrument.percent_price_down) == (200, Decimal("0.9500"))


def test_rate_limit_intervals_are_in_seconds() -> None:
    assert decode_exchange(info()).rate_limits == (RateUse("ORDERS", 10, 300, 0),)


@pytest.mark.parametrize("missing", [item["filterType"] for item in FILTERS[:6]])
def test_symbol_without_a_filter_is_skipped_and_counted_and_the_others_stay(missing: str) -> None:
    broken = symbol("ETHUSDT", [item for item in FILTERS if item["filterType"] != missing])
    exchange = decode_exchange(info(symbol(), broken))
    assert [instrument.symbol for instrument in exchange.instruments] == ["BTCUSDT"]
    assert exchange.skipped == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"tickSize": "0"},
        {"tickSize": "NaN"},
        {"tickSize": "1E-400"},
        {"tickSize": None},
        {"maxPrice": "Infinity"},
    ],
)
def test_symbol_with_a_filter_that_bounds_nothing_is_skipped(bad: dict[str, object]) -> None:
    exchange = decode_exchange(info(symbol(filters=[{**FILTERS[0], **bad}, *FILTERS[1:]])))
    assert (exchange.instruments, exchange.skipped) == ((), 1)


def test_symbol_outside_ascii_and_of_unknown_status_is_kept() -> None:
    (instrument,) = decode_exchange(info(symbol("币安人生USDT", status="SETTLING_SOON"))).instruments
    assert (instrument.symbol, instrument.status) == ("币安人生USDT", "SETTLING_SOON")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"symbols":1,"rateLimits":[]}', b"[" * 50_000])
def test_reply_that_is_no_exchange_info_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_exchange(body)

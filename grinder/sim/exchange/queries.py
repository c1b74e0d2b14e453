"""Operations that concern no account's means: market data, and the listen keys of user streams."""

from __future__ import annotations

from typing import Any, Final

from grinder.model.orders import Side
from grinder.sim.exchange.account_queries import markets_asked, owner_of
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.events import money, plain
from grinder.sim.exchange.funding import INTERVAL_MS, next_funding_utc_ms
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.rules import exchange_info as info_document
from grinder.sim.exchange.rules import rate_limit_rows
from grinder.sim.exchange.venue import Venue

DEPTH_LIMITS: Final = (5, 10, 20, 50, 100, 500, 1_000)
RETAIL_DEPTH: Final = 1_000
"""The one depth of rpiDepth. Source: USDⓈ-M futures, RPI order book, 2026-05-28."""

FUNDING_CAP: Final = "0.02000000"
ADL_RISK_PERIOD_MS: Final = 30 * 60_000


def ping(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/ping."""
    return {}


def server_time(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/time."""
    return {"serverTime": now}


def exchange_info(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/exchangeInfo."""
    table = venue.limits.table
    rows = rate_limit_rows(table.weight_1m, table.orders_10s, table.orders_1m)
    return info_document([market.rules for market in venue.exchange.markets.values()], rows, now)


def _one_or_all(params: Params, rows: list[dict[str, Any]]) -> object:
    return rows[0] if "symbol" in params else rows


def depth(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/depth: the tape's book, our orders not in it."""
    return _book(venue, params, now, default=500, limits=DEPTH_LIMITS)


def retail_depth(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/rpiDepth: the same book, for no tape tells of RPI orders."""
    return _book(venue, params, now, default=RETAIL_DEPTH, limits=(RETAIL_DEPTH,))


def _book(venue: Venue, params: Params, now: int, *, default: int, limits: tuple[int, ...]) -> dict[str, Any]:
    tape = venue.exchange.market(params.text("symbol")).tape
    limit = params.integer_or("limit", default)
    if limit not in limits:
        raise refusal(Code.INVALID_PARAMETER, "limit")
    sides = {
        name: [[plain(price), plain(qty)] for price, qty in tape.ladder(side, limit)]
        for name, side in (("bids", Side.BUY), ("asks", Side.SELL))
    }
    return {"lastUpdateId": tape.update_id, "E": now, "T": now, **sides}


def _book_row(market: Market, now: int) -> dict[str, Any]:
    return {
        "symbol": market.rules.symbol,
        "pair": market.rules.symbol,
        "bidPrice": plain(market.tape.bid),
        "bidQty": plain(market.tape.bid_qty),
        "askPrice": plain(market.tape.ask),
        "askQty": plain(market.tape.ask_qty),
        "time": now,
        "lastUpdateId": market.tape.update_id,
    }


def book_ticker(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/ticker/bookTicker."""
    return _one_or_all(params, [_book_row(market, now) for market in markets_asked(venue, params)])


def price_ticker(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/ticker/price."""
    rows = [
        {"symbol": market.rules.symbol, "price": plain(market.last), "time": now}
        for market in markets_asked(venue, params)
    ]
    return _one_or_all(params, rows)


def premium_index(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/premiumIndex."""
    rows = [
        {
            "symbol": market.rules.symbol,
            "pair": market.rules.symbol,
            "markPrice": money(market.mark),
            "indexPrice": money(market.index_price or market.tape.mid),
            "estimatedSettlePrice": money(market.mark),
            "lastFundingRate": money(market.funding_rate),
            "interestRate": "0.00010000",
            "nextFundingTime": next_funding_utc_ms(now),
            "time": now,
        }
        for market in markets_asked(venue, params)
    ]
    return _one_or_all(params, rows)


def funding_info(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/fundingInfo."""
    return [
        {
            "symbol": market.rules.symbol,
            "adjustedFundingRateCap": FUNDING_CAP,
            "adjustedFundingRateFloor": f"-{FUNDING_CAP}",
            "fundingIntervalHours": INTERVAL_MS // 3_600_000,
            "disclaimer": False,
            "updateTime": now,
        }
        for market in venue.exchange.markets.values()
    ]


def adl_risk(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/symbolAdlRisk: always low, nobody else trades here."""
    rows = [
        {"symbol": market.rules.symbol, "adlRisk": "low", "updateTime": now - now % ADL_RISK_PERIOD_MS}
        for market in markets_asked(venue, params)
    ]
    return _one_or_all(params, rows)


# Listen keys --------------------------------------------------------------------------------------


def start_stream(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/listenKey."""
    return {"listenKey": venue.listen_keys.create(owner_of(account).key, now)}


def keep_stream(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """PUT /fapi/v1/listenKey."""
    return {"listenKey": venue.listen_keys.extend(owner_of(account).key, now)}


def stop_stream(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """DELETE /fapi/v1/listenKey."""
    venue.listen_keys.delete(owner_of(account).key)
    return {}

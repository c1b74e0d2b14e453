"""Questions about an account that change nothing: positions, balances, configuration, limits."""

from __future__ import annotations

from typing import Any, Final

from grinder.model.account import PositionSide
from grinder.sim.exchange import account_documents as documents
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.brackets import brackets_of, notional_max
from grinder.sim.exchange.events import plain
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.rules import rate_limit_rows
from grinder.sim.exchange.venue import Venue

RPI_FEE: Final = "0.00005"


def owner_of(account: Account | None) -> Account:
    """Return the account of a signed request, which always has one."""
    assert account is not None
    return account


def markets_asked(venue: Venue, params: Params) -> list[Market]:
    """Return the market a request names, or all.

    Raises:
        VenueError: -1121 if it names one there is not.
    """
    if "symbol" in params:
        return [venue.exchange.market(params.text("symbol"))]
    return list(venue.exchange.markets.values())


def _symbols(venue: Venue, params: Params) -> list[str]:
    return [market.rules.symbol for market in markets_asked(venue, params)]


def position_risk_full(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v2/positionRisk."""
    view = venue.view(owner_of(account), now)
    return documents.position_risk(view, _symbols(venue, params), venue.exchange.markets, full=True)


def position_risk(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v3/positionRisk: only symbols with a position or open orders."""
    view = venue.view(owner_of(account), now)
    return documents.position_risk(view, _symbols(venue, params), venue.exchange.markets, full=False)


def account_full(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v2/account."""
    view = venue.view(owner_of(account), now)
    return documents.account_info(view, list(venue.exchange.markets), venue.exchange.markets, full=True)


def account_info(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v3/account."""
    view = venue.view(owner_of(account), now)
    return documents.account_info(view, list(venue.exchange.markets), venue.exchange.markets, full=False)


def balance(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v2|v3/balance."""
    return documents.balances(venue.view(owner_of(account), now), venue.exchange.markets)


def position_mode(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/positionSide/dual."""
    return {"dualSidePosition": owner_of(account).hedge_mode}


def multi_assets_mode(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/multiAssetsMargin."""
    return {"multiAssetsMargin": owner_of(account).multi_assets}


def fee_burn(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/feeBurn: fees are paid in USDT."""
    return {"feeBurn": False}


def leverage_bracket(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/leverageBracket."""
    return [
        {
            "symbol": market.rules.symbol,
            "notionalCoef": 1.0,
            "brackets": [
                {
                    "bracket": each.number,
                    "initialLeverage": each.leverage,
                    "notionalCap": int(each.cap),
                    "notionalFloor": int(each.floor),
                    "maintMarginRatio": float(each.ratio),
                    "cum": float(each.cum),
                }
                for each in brackets_of(market.rules)
            ],
        }
        for market in markets_asked(venue, params)
    ]


def symbol_config(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/symbolConfig."""
    owner = owner_of(account)
    return [
        {
            "symbol": market.rules.symbol,
            "marginType": owner.margin_mode_of(market.rules.symbol).value,
            "isAutoAddMargin": False,
            "leverage": owner.leverage_of(market.rules.symbol),
            "maxNotionalValue": plain(notional_max(market.rules, owner.leverage_of(market.rules.symbol))),
        }
        for market in markets_asked(venue, params)
    ]


def account_config(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/accountConfig."""
    owner = owner_of(account)
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": owner.hedge_mode,
        "updateTime": 0,
        "multiAssetsMargin": owner.multi_assets,
        "tradeGroupId": -1,
    }


def commission_rate(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/commissionRate."""
    symbol = venue.exchange.market(params.text("symbol")).rules.symbol
    config = venue.exchange.config
    return {
        "symbol": symbol,
        "makerCommissionRate": plain(config.maker_fee),
        "takerCommissionRate": plain(config.taker_fee),
        "rpiCommissionRate": RPI_FEE,
    }


def order_limits(venue: Venue, account: Account | None, params: Params, now: int) -> list[dict[str, Any]]:
    """GET /fapi/v1/rateLimit/order."""
    table = venue.limits.table
    return rate_limit_rows(table.weight_1m, table.orders_10s, table.orders_1m)[1:]


def adl_quantile(venue: Venue, account: Account | None, params: Params, now: int) -> object:
    """GET /fapi/v1/adlQuantile: symbols with a position; crossed hedge positions also have HEDGE."""
    owner = owner_of(account)
    asked = set(_symbols(venue, params))
    rows: dict[str, dict[str, int]] = {}
    for holding in owner.held():
        if holding.symbol in asked:
            mark = venue.exchange.mark_of(holding.symbol)
            place = documents.adl_quantile(holding, mark, owner.leverage_of(holding.symbol))
            row = rows.setdefault(holding.symbol, {side.value: 0 for side in PositionSide})
            row[holding.position_side.value] = place
            if owner.hedge_mode and not holding.isolated:
                row["HEDGE"] = max(row.get("HEDGE", 0), row.pop("BOTH", 0), place)
    return [{"symbol": symbol, "adlQuantile": row} for symbol, row in rows.items()]


def trading_status(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """GET /fapi/v1/apiTradingStatus: no indicator is ever violated here."""
    markets_asked(venue, params)
    return {"indicators": {}, "updateTime": now}

"""The account in the venue's own documents: positions, account and balance, in their older and newer forms.

Source: Position Information V2 and V3, Account Information V2 and V3, Futures Account Balance, 2026-08-19.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.brackets import brackets_of, maintenance_margin, notional_max
from grinder.sim.exchange.events import MARGIN_TYPES, money, plain
from grinder.sim.exchange.holdings import MONEY, Holding
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.views import AccountView

Markets = Mapping[str, Market]

ADL_QUANTILES: Final = 4
"""Highest place in the queue for auto-deleveraging."""


class Margins(msgspec.Struct, frozen=True):
    """Margins of one position at its mark, USDT. ``orders``: what its open orders would add."""

    notional: Decimal
    initial: Decimal
    maintenance: Decimal
    orders: Decimal
    bids: Decimal
    asks: Decimal


def adl_quantile(holding: Holding, mark: Decimal, leverage: int) -> int:
    """Return a position's place in the queue for auto-deleveraging, 0 to 4: profit times leverage, in steps."""
    if not holding.qty or not holding.entry_price:
        return 0
    profit = holding.unrealized(mark) / (abs(holding.qty) * holding.entry_price) * leverage
    return min(ADL_QUANTILES, max(0, 1 + int(profit * 4))) if profit > ZERO else 0


def margins_of(view: AccountView, holding: Holding, market: Market) -> Margins:
    """Return the margins of one position."""
    mark, leverage = market.mark, view.leverage_of(holding.symbol)
    held = holding.qty * mark
    bids, asks = (view.notional.get((holding.symbol, holding.position_side, side), ZERO) for side in Side)
    worst = max(abs(held + bids), abs(held - asks))
    return Margins(
        notional=held,
        initial=(abs(held) / leverage).quantize(MONEY),
        maintenance=maintenance_margin(market.rules, abs(held)).quantize(MONEY) if held else ZERO,
        orders=(max(ZERO, worst - abs(held)) / leverage).quantize(MONEY),
        bids=bids,
        asks=asks,
    )


def liquidation_price(view: AccountView, holding: Holding, markets: Markets) -> Decimal:
    """Return the mark price at which a position is liquidated, the others' marks staying; 0 if there is none.

    Source: How to Calculate Liquidation Price of USDⓈ-M futures contracts, 2026-05-28.
    """
    if not holding.qty:
        return ZERO
    market = markets[holding.symbol]
    equity, others = holding.isolated_wallet, ZERO
    if not holding.isolated:
        equity = view.cross_wallet
        for each in view.positions:
            if each.qty and not each.isolated and each is not holding:
                equity += each.unrealized(markets[each.symbol].mark)
                others += margins_of(view, each, markets[each.symbol]).maintenance
    size = abs(holding.qty)
    rows = brackets_of(market.rules)
    bracket = next((each for each in rows if size * market.mark <= each.cap), rows[-1])
    price = (equity - others + bracket.cum - holding.qty * holding.entry_price) / (size * bracket.ratio - holding.qty)
    return max(ZERO, price)


def position_risk(view: AccountView, symbols: list[str], markets: Markets, *, full: bool) -> list[dict[str, Any]]:
    """Return positionRisk rows. ``full``: the v2 form, every listed symbol, with leverage and margin type."""
    rows: list[dict[str, Any]] = []
    by_key = {(each.symbol, each.position_side): each for each in view.positions}
    sides = (PositionSide.LONG, PositionSide.SHORT) if view.hedge_mode else (PositionSide.BOTH,)
    ordered = {(order["symbol"], order["positionSide"]) for order in view.open_orders}
    for symbol in symbols:
        for side in sides:
            holding = by_key.get((symbol, side)) or Holding(symbol, side, margin_mode=view.margin_mode_of(symbol))
            if full or holding.qty or (symbol, side.value) in ordered:
                rows.append(_position_row(view, holding, markets, full=full))
    return rows


def _position_row(view: AccountView, holding: Holding, markets: Markets, *, full: bool) -> dict[str, Any]:
    market = markets[holding.symbol]
    mark, leverage = market.mark, view.leverage_of(holding.symbol)
    unrealized = holding.unrealized(mark)
    row: dict[str, Any] = {
        "symbol": holding.symbol,
        "positionSide": holding.position_side.value,
        "positionAmt": plain(holding.qty),
        "entryPrice": money(holding.entry_price),
        "breakEvenPrice": money(holding.break_even_price),
        "markPrice": money(mark),
        "unRealizedProfit": money(unrealized),
        "liquidationPrice": _or_zero(liquidation_price(view, holding, markets)),
        "isolatedMargin": _or_zero(holding.isolated_wallet + unrealized) if holding.isolated else "0",
        "notional": money(holding.qty * mark),
        "isolatedWallet": _or_zero(holding.isolated_wallet),
        "updateTime": holding.updated_utc_ms,
    }
    quantile = adl_quantile(holding, mark, leverage)
    if full:
        return row | {
            "leverage": str(leverage),
            "maxNotionalValue": plain(notional_max(market.rules, leverage)),
            "marginType": MARGIN_TYPES[holding.margin_mode],
            "isAutoAddMargin": "false",
            "isolated": holding.isolated,
            "adlQuantile": quantile,
        }
    margins = margins_of(view, holding, market)
    return row | {
        "marginAsset": "USDT",
        "initialMargin": money(margins.initial + margins.orders),
        "maintMargin": money(margins.maintenance),
        "positionInitialMargin": money(margins.initial),
        "openOrderInitialMargin": _or_zero(margins.orders),
        "adl": quantile,
        "bidNotional": _or_zero(margins.bids),
        "askNotional": _or_zero(margins.asks),
    }


def _totals(view: AccountView, markets: Markets) -> dict[str, str]:
    unrealized = crossed = initial = maintenance = ZERO
    for each in view.positions:
        market = markets[each.symbol]
        margins = margins_of(view, each, market)
        profit = each.unrealized(market.mark)
        unrealized += profit
        crossed += ZERO if each.isolated else profit
        initial += margins.initial
        maintenance += margins.maintenance
    return {
        "initialMargin": money(initial + view.order_margin),
        "maintMargin": money(maintenance),
        "walletBalance": money(view.wallet),
        "unrealizedProfit": money(unrealized),
        "marginBalance": money(view.wallet + unrealized),
        "positionInitialMargin": money(initial),
        "openOrderInitialMargin": money(view.order_margin),
        "crossWalletBalance": money(view.cross_wallet),
        "crossUnPnl": money(crossed),
        "availableBalance": money(view.available),
        "maxWithdrawAmount": money(min(view.available, max(ZERO, view.cross_wallet))),
    }


def account_info(view: AccountView, symbols: list[str], markets: Markets, *, full: bool) -> dict[str, Any]:
    """Return the account document. ``full``: the v2 form, with flags and every listed symbol."""
    totals = _totals(view, markets)
    document: dict[str, Any] = {
        "totalInitialMargin": totals["initialMargin"],
        "totalMaintMargin": totals["maintMargin"],
        "totalWalletBalance": totals["walletBalance"],
        "totalUnrealizedProfit": totals["unrealizedProfit"],
        "totalMarginBalance": totals["marginBalance"],
        "totalPositionInitialMargin": totals["positionInitialMargin"],
        "totalOpenOrderInitialMargin": totals["openOrderInitialMargin"],
        "totalCrossWalletBalance": totals["crossWalletBalance"],
        "totalCrossUnPnl": totals["crossUnPnl"],
        "availableBalance": totals["availableBalance"],
        "maxWithdrawAmount": totals["maxWithdrawAmount"],
        "assets": [{"asset": "USDT", **totals, "marginAvailable": True, "updateTime": view.updated_utc_ms}],
        "positions": [
            _account_position(view, row, markets, full=full) for row in position_risk(view, symbols, markets, full=full)
        ],
    }
    if full:
        document |= {
            "feeTier": 0,
            "feeBurn": True,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "multiAssetsMargin": view.multi_assets,
            "tradeGroupId": -1,
            "updateTime": 0,
        }
    return document


def _account_position(view: AccountView, row: dict[str, Any], markets: Markets, *, full: bool) -> dict[str, Any]:
    symbol, side = row["symbol"], PositionSide(row["positionSide"])
    holding = next((each for each in view.positions if (each.symbol, each.position_side) == (symbol, side)), None)
    margins = margins_of(view, holding or Holding(symbol, side), markets[symbol])
    position = {
        "symbol": symbol,
        "positionSide": row["positionSide"],
        "positionAmt": row["positionAmt"],
        "unrealizedProfit": row["unRealizedProfit"],
        "isolatedMargin": row["isolatedMargin"],
        "notional": row["notional"],
        "isolatedWallet": row["isolatedWallet"],
        "initialMargin": _or_zero(margins.initial + margins.orders),
        "maintMargin": _or_zero(margins.maintenance),
        "updateTime": row["updateTime"],
    }
    if full:
        position |= {
            "leverage": row["leverage"],
            "isolated": row["isolated"],
            "entryPrice": row["entryPrice"],
            "breakEvenPrice": row["breakEvenPrice"],
            "maxNotional": row["maxNotionalValue"],
            "positionInitialMargin": _or_zero(margins.initial),
            "openOrderInitialMargin": _or_zero(margins.orders),
            "bidNotional": _or_zero(margins.bids),
            "askNotional": _or_zero(margins.asks),
        }
    return position


def balances(view: AccountView, markets: Markets) -> list[dict[str, Any]]:
    """Return the balance rows: USDT alone."""
    totals = _totals(view, markets)
    return [
        {
            "accountAlias": "sim",
            "asset": "USDT",
            "balance": totals["walletBalance"],
            "crossWalletBalance": totals["crossWalletBalance"],
            "crossUnPnl": totals["crossUnPnl"],
            "availableBalance": totals["availableBalance"],
            "maxWithdrawAmount": totals["maxWithdrawAmount"],
            "marginAvailable": True,
            "updateTime": view.updated_utc_ms,
        }
    ]


def _or_zero(value: Decimal) -> str:
    return money(value) if value else "0"

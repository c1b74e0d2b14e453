"""What account queries answer from: a frozen view of one account, now or some seconds ago.

The venue's snapshots can lag behind its own streams; ``ViewHistory`` lets a test make them lag by a known time.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any, Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.units import ZERO
from grinder.sim.exchange.accounts import Account, MarkOf
from grinder.sim.exchange.events import described, money, plain
from grinder.sim.exchange.holdings import MONEY, Holding

VIEWS_KEPT_MAX: Final = 2_000
"""Views kept while snapshots lag: at most one per 10 ms, so 20 s of steady change."""


class AccountView(msgspec.Struct, frozen=True):
    """One account at one moment; open orders already in the venue's form. ``taken_utc_ms``: when."""

    taken_utc_ms: int
    changes: int
    wallet: Decimal
    available: Decimal
    order_margin: Decimal
    hedge_mode: bool
    positions: tuple[Holding, ...]
    leverage: dict[str, int]
    open_orders: tuple[dict[str, Any], ...]
    updated_utc_ms: int


def take_view(account: Account, mark_of: MarkOf, now: int) -> AccountView:
    """Return the account as it is now."""
    return AccountView(
        taken_utc_ms=now,
        changes=account.changes,
        wallet=account.wallet,
        available=account.available(mark_of),
        order_margin=account.order_margin(mark_of),
        hedge_mode=account.hedge_mode,
        positions=tuple(msgspec.structs.replace(each) for each in account.holdings.values()),
        leverage={each.symbol: account.leverage_of(each.symbol) for each in account.holdings.values()},
        open_orders=tuple(described(order) for order in account.open.values()),
        updated_utc_ms=account.updated_utc_ms,
    )


class ViewHistory:
    """Past views of one account, kept only while snapshots are to lag."""

    def __init__(self) -> None:
        self.lag_ms = 0
        self._views: deque[AccountView] = deque(maxlen=VIEWS_KEPT_MAX)

    def set_lag(self, lag_ms: int, account: Account, mark_of: MarkOf, now: int) -> None:
        """Make answers lag from now on; 0 ends it."""
        self.lag_ms = lag_ms
        self._views.clear()
        if lag_ms:
            self._views.append(take_view(account, mark_of, now))

    def note(self, account: Account, mark_of: MarkOf, now: int) -> None:
        """Remember the account if it changed since the last note."""
        if self.lag_ms and (not self._views or self._views[-1].changes != account.changes):
            self._views.append(take_view(account, mark_of, now))

    def view(self, account: Account, mark_of: MarkOf, now: int) -> AccountView:
        """Return the newest view that is at least the lag old, else the oldest there is."""
        if not self.lag_ms:
            return take_view(account, mark_of, now)
        self.note(account, mark_of, now)
        while len(self._views) > 1 and self._views[1].taken_utc_ms <= now - self.lag_ms:
            self._views.popleft()
        return self._views[0]


def _initial_margin(view: AccountView, holding: Holding, mark: Decimal) -> Decimal:
    leverage = view.leverage.get(holding.symbol, 1)
    return (abs(holding.qty) * mark / leverage).quantize(MONEY)


def position_risk(view: AccountView, symbols: list[str], mark_of: MarkOf, *, full: bool) -> list[dict[str, Any]]:
    """Return positionRisk rows. ``full``: the v2 form, every listed symbol, with leverage and margin type."""
    rows: list[dict[str, Any]] = []
    by_key = {(each.symbol, each.position_side): each for each in view.positions}
    sides = (PositionSide.LONG, PositionSide.SHORT) if view.hedge_mode else (PositionSide.BOTH,)
    ordered = {order["symbol"] for order in view.open_orders}
    for symbol in symbols:
        for side in sides:
            holding = by_key.get((symbol, side), Holding(symbol, side))
            if full or holding.qty or symbol in ordered:
                rows.append(_position_row(view, holding, mark_of(symbol), full=full))
    return rows


def _position_row(view: AccountView, holding: Holding, mark: Decimal, *, full: bool) -> dict[str, Any]:
    margin = _initial_margin(view, holding, mark)
    row: dict[str, Any] = {
        "symbol": holding.symbol,
        "positionSide": holding.position_side.value,
        "positionAmt": plain(holding.qty),
        "entryPrice": money(holding.entry_price),
        "breakEvenPrice": money(holding.entry_price),
        "markPrice": money(mark),
        "unRealizedProfit": money(holding.unrealized(mark)),
        "liquidationPrice": "0",
        "isolatedMargin": "0",
        "notional": money(holding.qty * mark),
        "isolatedWallet": "0",
        "updateTime": holding.updated_utc_ms,
    }
    if full:
        return row | {
            "leverage": str(view.leverage.get(holding.symbol, 20)),
            "maxNotionalValue": "10000000",
            "marginType": "cross",
            "isAutoAddMargin": "false",
            "isolated": False,
            "adlQuantile": 0,
        }
    return row | {
        "marginAsset": "USDT",
        "initialMargin": money(margin),
        "maintMargin": money(margin / 10),
        "positionInitialMargin": money(margin),
        "openOrderInitialMargin": "0",
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
    }


def _totals(view: AccountView, mark_of: MarkOf) -> dict[str, str]:
    unrealized = sum((each.unrealized(mark_of(each.symbol)) for each in view.positions), ZERO)
    margin = sum((_initial_margin(view, each, mark_of(each.symbol)) for each in view.positions), ZERO)
    return {
        "initialMargin": money(margin + view.order_margin),
        "maintMargin": money(margin / 10),
        "walletBalance": money(view.wallet),
        "unrealizedProfit": money(unrealized),
        "marginBalance": money(view.wallet + unrealized),
        "positionInitialMargin": money(margin),
        "openOrderInitialMargin": money(view.order_margin),
        "crossWalletBalance": money(view.wallet),
        "crossUnPnl": money(unrealized),
        "availableBalance": money(view.available),
        "maxWithdrawAmount": money(view.available),
    }


def account_info(view: AccountView, symbols: list[str], mark_of: MarkOf, *, full: bool) -> dict[str, Any]:
    """Return the account document. ``full``: the v2 form, with flags and every listed symbol."""
    totals = _totals(view, mark_of)
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
            _account_position(view, row, full=full) for row in position_risk(view, symbols, mark_of, full=full)
        ],
    }
    if full:
        document |= {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "multiAssetsMargin": False,
            "tradeGroupId": -1,
            "updateTime": 0,
        }
    return document


def _account_position(view: AccountView, row: dict[str, Any], *, full: bool) -> dict[str, Any]:
    position = {
        "symbol": row["symbol"],
        "positionSide": row["positionSide"],
        "positionAmt": row["positionAmt"],
        "unrealizedProfit": row["unRealizedProfit"],
        "isolatedMargin": "0",
        "notional": row["notional"],
        "isolatedWallet": "0",
        "initialMargin": row.get("initialMargin", "0"),
        "maintMargin": row.get("maintMargin", "0"),
        "updateTime": row["updateTime"],
    }
    if full:
        position |= {
            "leverage": str(view.leverage.get(row["symbol"], 20)),
            "isolated": False,
            "entryPrice": row["entryPrice"],
            "breakEvenPrice": row["breakEvenPrice"],
            "maxNotional": "10000000",
            "positionInitialMargin": "0",
            "openOrderInitialMargin": "0",
        }
    return position


def balances(view: AccountView, mark_of: MarkOf) -> list[dict[str, Any]]:
    """Return the balance rows: USDT alone."""
    totals = _totals(view, mark_of)
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

"""What account queries answer from: a frozen view of one account, now or some seconds ago.

The venue's snapshots can lag behind its own streams; ``ViewHistory`` lets a test make them lag by a known time. Prices
are those of the moment of the answer.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any, Final

import msgspec

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.sim.exchange.accounts import DEFAULT_LEVERAGE, Account, MarkOf
from grinder.sim.exchange.events import described
from grinder.sim.exchange.holdings import Holding, MarginMode

VIEWS_KEPT_MAX: Final = 2_000
"""Views kept while snapshots lag: at most one per 10 ms, so 20 s of steady change."""


class AccountView(msgspec.Struct, frozen=True):
    """One account at one moment; open orders already in the venue's form. ``taken_utc_ms``: when.

    ``notional``: value of the orders that may add to a position, by symbol, position side and side, USDT.
    """

    taken_utc_ms: int
    changes: int
    wallet: Decimal
    cross_wallet: Decimal
    available: Decimal
    order_margin: Decimal
    hedge_mode: bool
    multi_assets: bool
    positions: tuple[Holding, ...]
    leverage: dict[str, int]
    margin_modes: dict[str, MarginMode]
    notional: dict[tuple[str, PositionSide, Side], Decimal]
    open_orders: tuple[dict[str, Any], ...]
    updated_utc_ms: int

    def leverage_of(self, symbol: str) -> int:
        """Return the leverage set for a symbol."""
        return self.leverage.get(symbol, DEFAULT_LEVERAGE)

    def margin_mode_of(self, symbol: str) -> MarginMode:
        """Return the margin mode set for a symbol."""
        return self.margin_modes.get(symbol, MarginMode.CROSSED)


def take_view(account: Account, mark_of: MarkOf, now: int) -> AccountView:
    """Return the account as it is now."""
    keys = [(holding.symbol, holding.position_side) for holding in account.holdings.values()]
    return AccountView(
        taken_utc_ms=now,
        changes=account.changes,
        wallet=account.wallet,
        cross_wallet=account.cross_wallet,
        available=account.available(mark_of),
        order_margin=account.order_margin(mark_of),
        hedge_mode=account.hedge_mode,
        multi_assets=account.multi_assets,
        positions=tuple(msgspec.structs.replace(each) for each in account.holdings.values()),
        leverage=dict(account.leverage),
        margin_modes=dict(account.margin_modes),
        notional={(*key, side): account.open_notional(*key, side) for key in keys for side in Side},
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

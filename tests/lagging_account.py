"""The account as an executor in front of the simulated exchange is told of it: as it was, not as it is."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from random import Random
from typing import Final

from grinder.core.account import LIST_LAG_MS_MAX
from grinder.model.account import AccountState, Balance, Position, Source
from grinder.model.orders import Side
from grinder.model.units import NS_PER_MS, ZERO
from tests.sim_kit import KEY, Core

LAGS_MS: Final = (0, 0, 500, 2_500)
"""How far what is told lags behind: less than the executor allows for."""

KEPT: Final = 16
ONE: Final = Decimal(1)

assert max(LAGS_MS) < LIST_LAG_MS_MAX


class LaggingAccount:
    """Positions of the exchange over the last seconds."""

    def __init__(self, core: Core, symbol: str, seed: int) -> None:
        self._core = core
        self._symbol = symbol
        self._random = Random(seed)
        self.lags_ms: tuple[int, ...] = LAGS_MS
        self._told_mono_ns = 0
        self._past: deque[tuple[int, tuple[Position, ...]]] = deque(maxlen=KEPT)

    def look(self, now_mono_ns: int) -> None:
        """Remember what the exchange has now."""
        exchange = self._core.exchange
        positions = tuple(
            Position(
                each.symbol,
                each.position_side,
                each.qty,
                each.entry_price,
                exchange.markets[each.symbol].mark,
                ZERO,
                each.updated_utc_ms,
            )
            for each in exchange.accounts[KEY].held()
        )
        self._past.append((now_mono_ns, positions))

    def told(self, now_mono_ns: int, utc_ms: int) -> AccountState:
        """Return a snapshot asked for now, with positions from a while ago."""
        lag_ms = self._random.choice(self.lags_ms)
        # Never older than what was told before: the syncer merges by the venue's time.
        self._told_mono_ns = max(self._told_mono_ns, now_mono_ns - lag_ms * NS_PER_MS)
        held = next((positions for at, positions in reversed(self._past) if at <= self._told_mono_ns), ())
        balance = Balance(ONE, ZERO, ONE)
        return AccountState(held, balance, 0, ZERO, False, True, Source.REST, now_mono_ns, utc_ms)

    def could_hold_usd(self) -> Decimal:
        """Return what the account holds at worst, by the exchange: its position and the worse side of its entries."""
        held, ahead = self._core.held(), dict.fromkeys(Side, ZERO)
        for order in self._core.exchange.accounts[KEY].open.values():
            if not order.reduce_only:
                ahead[order.side] += order.qty - order.filled
        worst = max(abs(held), abs(held + ahead[Side.BUY]), abs(held - ahead[Side.SELL]))
        return worst * self._core.exchange.markets[self._symbol].mark

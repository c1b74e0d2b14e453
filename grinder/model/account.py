"""The account as the venue reports it. Quantities are signed: long is above zero, short below."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from grinder.model.control import AccountResponse
from grinder.model.instrument import Instrument
from grinder.model.orders import Side
from grinder.model.reasons import MismatchRule
from grinder.model.units import ZERO, require_finite, require_not_negative


class PositionSide(StrEnum):
    """Position side; BOTH in one-way mode."""

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"


class Source(StrEnum):
    """Where a piece of account truth came from."""

    REST = "exchange"
    STREAM = "stream"
    TEST = "test"


def closes_only(side: Side, position_side: PositionSide, *, reduce_only: bool) -> bool:
    """Tell whether an order can only make a position smaller: in hedge mode the sides say so, not ``reduce_only``.

    Source: venue documentation, USDⓈ-M futures new order: reduceOnly cannot be sent in hedge mode, 2026-05-28.
    """
    return reduce_only or (side, position_side) in ((Side.SELL, PositionSide.LONG), (Side.BUY, PositionSide.SHORT))


class Position(msgspec.Struct, frozen=True, array_like=True):
    """One position. ``qty`` in base units, signed; prices and pnl in quote currency."""

    symbol: str
    position_side: PositionSide
    qty: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    update_utc_ms: int

    def __post_init__(self) -> None:
        """Refuse NaN and infinity."""
        require_finite(
            qty=self.qty, entry_price=self.entry_price, mark_price=self.mark_price, unrealized_pnl=self.unrealized_pnl
        )

    @property
    def notional(self) -> Decimal:
        """Absolute value at the mark price, quote currency."""
        return abs(self.qty) * self.mark_price


class UnreadableRows(msgspec.Struct, frozen=True):
    """In a list that an exit asked for: this many rows of the venue's answer, 1 or more, could not be read."""

    count: int


class OpenOrder(msgspec.Struct, frozen=True, array_like=True):
    """One order resting at the venue, ours or not."""

    client_order_id: str
    venue_order_id: int
    symbol: str
    side: Side
    order_type: str
    price: Decimal
    qty: Decimal
    filled_qty: Decimal
    reduce_only: bool
    status: str
    update_utc_ms: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity and negative amounts."""
        require_not_negative(price=self.price, qty=self.qty, filled_qty=self.filled_qty)


class Balance(msgspec.Struct, frozen=True, array_like=True):
    """Margin balance, quote currency."""

    wallet_balance: Decimal
    unrealized_pnl: Decimal
    available_balance: Decimal

    def __post_init__(self) -> None:
        """Refuse NaN and infinity."""
        require_finite(
            wallet_balance=self.wallet_balance,
            unrealized_pnl=self.unrealized_pnl,
            available_balance=self.available_balance,
        )

    @property
    def equity(self) -> Decimal:
        """Wallet balance plus unrealized pnl, quote currency."""
        return self.wallet_balance + self.unrealized_pnl


class Transfers(msgspec.Struct, frozen=True, array_like=True):
    """Money put into the wallet (above zero) or taken out of it, net, since one start of the syncer, quote currency.

    ``since_utc_ms``: when that start began to count, 0 before, and ``start_wallet`` the wallet's balance then.
    ``explained``: the balance up to which all is accounted for; what the wallet has beyond it may yet be counted.
    """

    since_utc_ms: int = 0
    start_wallet: Decimal = ZERO
    total: Decimal = ZERO
    explained: Decimal = ZERO

    def __post_init__(self) -> None:
        """Refuse NaN and infinity."""
        require_finite(start_wallet=self.start_wallet, total=self.total, explained=self.explained)


class AccountState(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Account truth after the last snapshot or stream event; whole, never a difference.

    ``positions`` holds no zero quantity. ``snapshot_mono_ns``: when the last clean REST snapshot was *asked for*;
    0 before the first. ``event_utc_ms``: venue time of the newest part. ``hedge_mode``: position mode of the account.
    ``reconciled``: the last snapshot had no mismatch that forbids new risk. ``response``: what the mismatches that last
    demand of the loop. ``restricted``: the venue lets the account, or a traded symbol, only reduce. ``transfers``: of
    them ``balance`` shows all that are counted.
    """

    positions: tuple[Position, ...]
    balance: Balance
    open_orders_count: int
    pending_notional: Decimal
    hedge_mode: bool
    reconciled: bool
    source: Source
    snapshot_mono_ns: int
    event_utc_ms: int
    response: AccountResponse = AccountResponse.NONE
    restricted: bool = False
    transfers: Transfers = Transfers()

    def __post_init__(self) -> None:
        """Refuse NaN and infinity."""
        require_finite(pending_notional=self.pending_notional)

    @property
    def accounted_equity(self) -> Decimal:
        """Equity less what the wallet has and nobody accounted for yet: it may be money put in. Quote currency."""
        if not self.transfers.since_utc_ms:
            return self.balance.equity
        return self.balance.equity - max(ZERO, self.balance.wallet_balance - self.transfers.explained)

    @property
    def position_notional(self) -> Decimal:
        """Sum of all position notionals, quote currency."""
        return sum((position.notional for position in self.positions), ZERO)


class Instruments(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Filters of every traded symbol, from the last exchangeInfo; repeated for late joiners."""

    instruments: tuple[Instrument, ...]
    fetched_mono_ns: int


class Mismatch(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One difference between what we believed and what the venue says."""

    rule: MismatchRule
    symbol: str
    detail: str
    event_utc_ms: int


class SyncError(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One account query that failed; a failed query is never read as flat. ``reason``: a short stable word."""

    reason: str
    detail: str

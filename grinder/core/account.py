"""The account, put together from REST snapshots and stream events by the venue's own times.

A snapshot is not atomic and may lag; an event may come late. For each position the newest venue time wins. Must never
turn a failed or partial query into *flat*, nor a list that may be older than the position: only a whole snapshot gets
here, and one that does not list a position bears no time of its own.

Invariant: a position never goes back to an older venue time.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.account import AccountState, Balance, OpenOrder, Position, PositionSide, Source, Transfers
from grinder.model.control import AccountResponse
from grinder.model.units import ZERO
from grinder.model.venue import AccountEvent

Key = tuple[str, PositionSide]

LIST_LAG_MS_MAX: Final = 3_000
"""How far the venue's list of positions may be behind what it has told already, milliseconds of its own time: as long
as it may deny an order that it has taken (``core.doubt``), for both are answered from copies of its state."""


NO_TRANSFERS: Final = Transfers()


class Snapshot(msgspec.Struct, frozen=True):
    """One whole REST snapshot. ``asked_utc_ms``: venue time at which it was asked for, as well as it is known."""

    positions: tuple[Position, ...]
    open_orders: tuple[OpenOrder, ...]
    balance: Balance
    asked_mono_ns: int
    asked_utc_ms: int

    @property
    def newest_utc_ms(self) -> int:
        """Venue time of the newest part, 0 when empty."""
        positions = max((item.update_utc_ms for item in self.positions), default=0)
        orders = max((order.update_utc_ms for order in self.open_orders), default=0)
        return max(positions, orders)


class Account(msgspec.Struct, frozen=True):
    """What is known now. ``positions`` keeps closed ones too, so that an old snapshot cannot bring them back.

    ``wallet_utc_ms``: venue time of the wallet balance where an event gave it, else 0. ``snapshot_mono_ns`` and
    ``snapshot_utc_ms``: when the last snapshot was asked for, by our clock and the venue's.
    """

    positions: dict[Key, Position]
    balance: Balance | None = None
    open_orders: tuple[OpenOrder, ...] = ()
    hedge_mode: bool = False
    wallet_utc_ms: int = 0
    snapshot_mono_ns: int = 0
    snapshot_utc_ms: int = 0
    event_utc_ms: int = 0
    source: Source = Source.REST

    def qty(self, symbol: str) -> Decimal:
        """Return the net signed quantity of a symbol, base units."""
        return sum((item.qty for (name, _), item in self.positions.items() if name == symbol), ZERO)

    def mark_price(self, symbol: str) -> Decimal:
        """Return the last known mark price of a symbol's position, 0 where there never was one."""
        return next((item.mark_price for (name, _), item in self.positions.items() if name == symbol), ZERO)


def empty_account() -> Account:
    """Return an account of which nothing is known."""
    return Account({})


def on_snapshot(account: Account, snapshot: Snapshot) -> Account:
    """Merge a whole snapshot: per position the newer venue time; a position it does not list is closed.

    A position that changed after the snapshot was asked for, or so shortly before that the list may be from before the
    change, stays as it was left: a later snapshot closes it.
    """
    listed = {(item.symbol, item.position_side): item for item in snapshot.positions}
    merged: dict[Key, Position] = {}
    for key in {**account.positions, **listed}:
        known, seen = account.positions.get(key), listed.get(key)
        if seen is None:
            assert known is not None
            behind = known.update_utc_ms + LIST_LAG_MS_MAX > snapshot.asked_utc_ms
            merged[key] = known if behind else _closed(known)
        elif known is not None and known.update_utc_ms > seen.update_utc_ms:
            merged[key] = known if known.qty == ZERO else _marked(known, seen)
        else:
            merged[key] = seen
    balance = snapshot.balance
    wallet_utc_ms = 0
    if account.balance is not None and account.wallet_utc_ms >= snapshot.asked_utc_ms > 0:
        balance = msgspec.structs.replace(balance, wallet_balance=account.balance.wallet_balance)
        wallet_utc_ms = account.wallet_utc_ms
    return msgspec.structs.replace(
        account,
        positions=merged,
        balance=balance,
        open_orders=snapshot.open_orders,
        wallet_utc_ms=wallet_utc_ms,
        snapshot_mono_ns=snapshot.asked_mono_ns,
        snapshot_utc_ms=snapshot.asked_utc_ms,
        event_utc_ms=max(account.event_utc_ms, snapshot.newest_utc_ms),
        source=Source.REST,
    )


def on_event(account: Account, event: AccountEvent) -> Account:
    """Merge an ACCOUNT_UPDATE: positions that are newer than what is known, and the wallet balance."""
    positions = dict(account.positions)
    pnl_change = ZERO
    for item in event.positions:
        key = (item.symbol, item.position_side)
        known = positions.get(key)
        if known is not None and known.update_utc_ms > item.update_utc_ms:
            continue
        pnl_change += item.unrealized_pnl - (known.unrealized_pnl if known is not None else ZERO)
        positions[key] = _with_mark(item, known)
    balance, wallet_utc_ms = account.balance, account.wallet_utc_ms
    if balance is not None:
        wallet = balance.wallet_balance
        if event.wallet_balance is not None and event.event_utc_ms >= wallet_utc_ms:
            wallet, wallet_utc_ms = event.wallet_balance, event.event_utc_ms
        balance = msgspec.structs.replace(
            balance, wallet_balance=wallet, unrealized_pnl=balance.unrealized_pnl + pnl_change
        )
    return msgspec.structs.replace(
        account,
        positions=positions,
        balance=balance,
        wallet_utc_ms=wallet_utc_ms,
        event_utc_ms=max(account.event_utc_ms, event.event_utc_ms),
        source=Source.STREAM,
    )


def state_of(
    account: Account,
    *,
    reconciled: bool,
    response: AccountResponse = AccountResponse.NONE,
    restricted: bool = False,
    transfers: Transfers = NO_TRANSFERS,
) -> AccountState | None:
    """Return the frame of this account, or None before the first whole snapshot."""
    if account.balance is None or account.snapshot_mono_ns == 0:
        return None
    positions = tuple(item for _, item in sorted(account.positions.items()) if item.qty != ZERO)
    return AccountState(
        positions,
        account.balance,
        len(account.open_orders),
        pending_notional(account.open_orders),
        account.hedge_mode,
        reconciled,
        account.source,
        account.snapshot_mono_ns,
        account.event_utc_ms,
        response,
        restricted,
        transfers,
    )


def pending_notional(open_orders: tuple[OpenOrder, ...]) -> Decimal:
    """Return the value of what resting orders have not filled yet, quote currency. Source: reference sheet 5.5."""
    return sum((order.price * max(ZERO, order.qty - order.filled_qty) for order in open_orders), ZERO)


def _closed(position: Position) -> Position:
    return msgspec.structs.replace(position, qty=ZERO, unrealized_pnl=ZERO)


def _marked(known: Position, seen: Position) -> Position:
    """Take the newer mark price of an older snapshot's position."""
    return msgspec.structs.replace(known, mark_price=seen.mark_price)


def _with_mark(item: Position, known: Position | None) -> Position:
    """Give an event's position, which carries no mark price, the last one known, else its entry price."""
    if item.mark_price > ZERO:
        return item
    mark = known.mark_price if known is not None and known.mark_price > ZERO else item.entry_price
    return msgspec.structs.replace(item, mark_price=mark)

"""Money that enters or leaves the wallet other than by trading, counted from what the venue's stream tells.

What is put in counts whenever it may have been; what is taken out only where the stream says so. Where the stream was
not heard, whatever the wallet gained counts as put in, and whatever it lost as lost. Must never take a loss for money
that was taken out, nor trust a stream to have told what a snapshot denies twice.

Source: venue documentation, USDⓈ-M futures, Event Balance and Position Update: ``m`` and ``bc``, 2026-05-28.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from grinder.core.account import LIST_LAG_MS_MAX
from grinder.model.account import Transfers
from grinder.model.units import ZERO
from grinder.model.venue import AccountEvent

_TRADING: Final = frozenset({"ORDER", "FUNDING_FEE", "MARGIN_TRANSFER", "MARGIN_TYPE_CHANGE"})
"""Reasons of changes that trading makes, or that leave the wallet's sum as it is."""

_TAKEN_OUT: Final = frozenset({"WITHDRAW", "ASSET_TRANSFER"})
"""Reasons under which money that leaves is no loss: its owner moved it. Under any other one it is, also where the venue
took it or swapped it, for what those two mean it does not say."""

AHEAD_MS_MAX: Final = 60_000
"""How far what was settled may be ahead of a snapshot, milliseconds: it takes 10 s at most. Further, and one
of the two times was wrong, as the host's clock may be before the venue's is known."""


class WalletWatch(msgspec.Struct, frozen=True, gc=False):
    """What is known of the wallet.

    ``doubted``: the last snapshot showed another balance, and no event has come since. ``unheard_mono_ns``: the stream
    was built anew then and no snapshot was asked for since, 0 if one was. ``settled_utc_ms``: venue time up to which
    what events tell is accounted for.
    """

    transfers: Transfers = Transfers()
    doubted: bool = False
    unheard_mono_ns: int = 0
    settled_utc_ms: int = 0


def on_stream_up(watch: WalletWatch, now_mono_ns: int) -> WalletWatch:
    """Learn that the stream was built anew: what happened before, nobody may have heard."""
    return replace(watch, unheard_mono_ns=now_mono_ns)


def on_event(watch: WalletWatch, event: AccountEvent) -> WalletWatch:
    """Count what an ACCOUNT_UPDATE says; one that was told before, or that a snapshot has settled, counts no more."""
    wallet = event.wallet_balance
    if wallet is None or not watch.transfers.since_utc_ms or watch.unheard_mono_ns:
        return watch
    if event.event_utc_ms < watch.settled_utc_ms:
        # Told before, or accounted for by a snapshot that may have been from just before it: the next one decides.
        return watch if wallet == watch.transfers.explained else replace(watch, unheard_mono_ns=1)
    if event.event_utc_ms == watch.settled_utc_ms and wallet == watch.transfers.explained:
        return watch
    return replace(
        watch,
        transfers=_plus(watch.transfers, _moved(event, wallet - watch.transfers.explained), wallet),
        doubted=False,
        settled_utc_ms=event.event_utc_ms,
    )


def on_snapshot(watch: WalletWatch, wallet: Decimal, asked_mono_ns: int, asked_utc_ms: int) -> WalletWatch:
    """Compare with a snapshot's wallet, quote currency; the first one begins the count.

    Args:
        watch: what is known.
        wallet: the balance of the account after the snapshot.
        asked_mono_ns: when the snapshot was asked for.
        asked_utc_ms: the same by the venue's clock, Unix milliseconds.
    """
    if not watch.transfers.since_utc_ms:
        unheard_mono_ns = 0 if asked_mono_ns >= watch.unheard_mono_ns else watch.unheard_mono_ns
        begun = Transfers(max(1, asked_utc_ms), wallet, explained=wallet)
        return WalletWatch(begun, False, unheard_mono_ns, asked_utc_ms)
    if watch.settled_utc_ms > asked_utc_ms + AHEAD_MS_MAX:
        watch = replace(watch, settled_utc_ms=0)
    if asked_utc_ms < watch.settled_utc_ms + LIST_LAG_MS_MAX:
        # It may be from before what was told last: the venue answers from copies of its state.
        return watch
    if watch.unheard_mono_ns:
        if asked_mono_ns < watch.unheard_mono_ns:
            return watch
    elif wallet == watch.transfers.explained:
        return replace(watch, doubted=False)
    elif not watch.doubted:
        # The event may be on its way.
        return replace(watch, doubted=True)
    return replace(
        watch,
        transfers=_plus(watch.transfers, max(ZERO, wallet - watch.transfers.explained), wallet),
        doubted=False,
        unheard_mono_ns=0,
        settled_utc_ms=max(watch.settled_utc_ms, asked_utc_ms),
    )


def _moved(event: AccountEvent, wallet_change: Decimal) -> Decimal:
    """Return what an event says was put in (above zero) or taken out, quote currency."""
    if event.reason in _TRADING or not wallet_change:
        # Without a change: a snapshot showed it before its event came.
        return ZERO
    told = event.balance_change
    if told < ZERO:
        return max(told, min(ZERO, wallet_change)) if event.reason in _TAKEN_OUT else ZERO
    return told if told > ZERO else max(ZERO, wallet_change)


def _plus(transfers: Transfers, amount: Decimal, wallet: Decimal) -> Transfers:
    """Return the count with an amount more, and with everything up to a balance accounted for."""
    return replace(transfers, total=transfers.total + amount, explained=wallet)

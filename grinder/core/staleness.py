"""How old the inputs of a decision are: per symbol, the connection, and each channel. Evaluated on a timer.

One quiet symbol is stale by itself; the feed as a whole is stale only when every symbol or the connection is. Must
never read a clock: every time is an argument on CLOCK_MONOTONIC, and 0 means *never seen*, which is stale.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from grinder.model.channels import ACCOUNT, MARKET, ORDERS
from grinder.model.limits import ACCOUNT_STALE_MS
from grinder.model.risk_input import RiskInput
from grinder.model.units import NS_PER_MS


class FeedStatus(msgspec.Struct, frozen=True, gc=False):
    """Freshness of the market data.

    ``stale``: the feed as a whole. ``gap_ms``: age of the freshest symbol, None if no symbol was ever seen.
    ``stale_symbols``: symbols that may not take new risk, sorted.
    """

    stale: bool
    gap_ms: int | None
    stale_symbols: tuple[str, ...]


UNKNOWN_FEED: Final = FeedStatus(True, None, ())
"""Before the first look: stale."""


def feed_status(
    seen_mono_ns: Mapping[str, int],
    connected_mono_ns: int,
    reported_stale: Collection[str],
    now_mono_ns: int,
    feed_stale_ms: int,
) -> FeedStatus:
    """Return how fresh the market data is now.

    Args:
        seen_mono_ns: per traded symbol, receive time of its last valid book; 0 if there was none.
        connected_mono_ns: when the feed last said that every connection is up; 0 if never.
        reported_stale: symbols the feed itself reports as stale (any of their streams past its deadline).
        now_mono_ns: now.
        feed_stale_ms: age above which a symbol, and the connection, is stale.

    Returns:
        The status. Stale as a whole: no symbols at all, every symbol stale, or the connection stale.
    """
    limit_ns = feed_stale_ms * NS_PER_MS
    newest_mono_ns = 0
    stale_symbols: list[str] = []
    for symbol, seen in seen_mono_ns.items():
        if seen > newest_mono_ns:
            newest_mono_ns = seen
        if seen <= 0 or now_mono_ns - seen > limit_ns or symbol in reported_stale:
            stale_symbols.append(symbol)
    connection_stale = connected_mono_ns <= 0 or now_mono_ns - connected_mono_ns > limit_ns
    gap_ms = None if newest_mono_ns <= 0 else max(0, now_mono_ns - newest_mono_ns) // NS_PER_MS
    stale = connection_stale or len(stale_symbols) == len(seen_mono_ns)
    return FeedStatus(stale, gap_ms, tuple(sorted(stale_symbols)))


ACCOUNT_SNAPSHOT: Final = RiskInput.ACCOUNT_SNAPSHOT.value
"""Name of the input that is the venue's own account snapshot, as opposed to the channel that carries it."""

INPUT_DEADLINES_MS: Final[dict[str, int]] = {
    MARKET.name: MARKET.stale_ms,
    ORDERS.name: ORDERS.stale_ms,
    ACCOUNT.name: ACCOUNT.stale_ms,
    ACCOUNT_SNAPSHOT: ACCOUNT_STALE_MS,
}
"""Every input that must be live before new risk is taken, and the silence that makes it dead, milliseconds."""


def inputs_not_live(seen_mono_ns: Mapping[str, int], now_mono_ns: int) -> tuple[str, ...]:
    """Return the names of ``INPUT_DEADLINES_MS`` that were never seen or not within their deadline, in table order."""
    return tuple(
        name
        for name, deadline_ms in INPUT_DEADLINES_MS.items()
        if seen_mono_ns.get(name, 0) <= 0 or now_mono_ns - seen_mono_ns[name] > deadline_ms * NS_PER_MS
    )

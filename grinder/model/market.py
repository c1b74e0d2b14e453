"""Market data as the loop sees it. A value that exists is valid: finite, positive, not crossed.

Every value carries two times: when the venue says it happened, and when its bytes arrived on this host.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import StrEnum

import msgspec

from grinder.model.limits import AMOUNT_MAX, PRICE_MIN
from grinder.model.units import ZERO, require_finite, require_not_negative, require_positive


class BookTop(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Best bid and ask of one symbol. Prices in quote currency, quantities in base units."""

    symbol: str
    bid_price: Decimal
    bid_qty: Decimal
    ask_price: Decimal
    ask_qty: Decimal
    update_id: int
    event_utc_ms: int
    recv_mono_ns: int
    recv_utc_ms: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity, a price or quantity out of range, and a crossed or locked book.

        Invariant: PRICE_MIN <= bid < ask <= AMOUNT_MAX and 0 <= quantities <= AMOUNT_MAX.
        """
        try:
            # One chain of comparisons, because every tick passes here in every process that reads it.
            valid = (
                PRICE_MIN <= self.bid_price < self.ask_price <= AMOUNT_MAX
                and ZERO <= self.bid_qty <= AMOUNT_MAX
                and ZERO <= self.ask_qty <= AMOUNT_MAX
            )
        except InvalidOperation:
            valid = False
        if not valid:
            self._refuse()

    def _refuse(self) -> None:
        """Raise ValueError that names what is wrong."""
        require_positive(bid_price=self.bid_price, ask_price=self.ask_price)
        require_not_negative(bid_qty=self.bid_qty, ask_qty=self.ask_qty)
        if self.bid_price >= self.ask_price:
            raise ValueError(f"crossed book: bid {self.bid_price} is not below ask {self.ask_price}")
        raise ValueError("a price or quantity is out of range")


class MarkPrice(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Mark price of one symbol, in quote currency; funding as a fraction per interval."""

    symbol: str
    mark_price: Decimal
    index_price: Decimal
    funding_rate: Decimal
    next_funding_utc_ms: int
    event_utc_ms: int
    recv_mono_ns: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity and a mark price that is not above zero."""
        require_positive(mark_price=self.mark_price)
        require_finite(index_price=self.index_price, funding_rate=self.funding_rate)


class TradeTick(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """One (aggregate) trade. ``buyer_is_maker``: the seller was the aggressor."""

    symbol: str
    trade_id: int
    price: Decimal
    qty: Decimal
    buyer_is_maker: bool
    event_utc_ms: int
    recv_mono_ns: int

    def __post_init__(self) -> None:
        """Refuse NaN, infinity, and values that are not above zero."""
        require_positive(price=self.price, qty=self.qty)


class StreamHealth(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Health of the market streams, from the feed's own timer: what is stale, and whether it is connected.

    ``stale_symbols``: symbols with any stream past its data deadline. ``connected``: every connection is up.
    ``ended``: the fixture or recording has no more frames. Repeated every 250 ms, so that silence is visible.
    """

    connected: bool
    stale_symbols: tuple[str, ...]
    stale_streams: tuple[str, ...]
    ended: bool
    sent_mono_ns: int


class StreamKind(StrEnum):
    """The market streams we read, by the venue's word for each; the ``connector`` label of the feed's metrics."""

    BOOK_TICKER = "bookTicker"
    MARK_PRICE = "markPrice"
    TRADE = "aggTrade"
    DEPTH = "depth"


Levels = tuple[tuple[Decimal, Decimal], ...]
"""(price, quantity) pairs; a quantity of 0 in a difference removes the level."""


class DepthDiff(msgspec.Struct, frozen=True, array_like=True):
    """What changed in one symbol's book: absolute quantities per price level.

    ``first_update_id`` to ``last_update_id`` are the updates inside; ``previous_update_id`` is the last one of the
    event before it on the same stream.
    """

    symbol: str
    first_update_id: int
    last_update_id: int
    previous_update_id: int
    bids: Levels
    asks: Levels
    event_utc_ms: int
    recv_mono_ns: int
    recv_utc_ms: int


class DepthSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """One symbol's book as a REST answer gives it. ``symbol`` is empty where the source does not say whose it is."""

    symbol: str
    last_update_id: int
    bids: Levels
    asks: Levels
    event_utc_ms: int
    recv_mono_ns: int


MarketEvent = BookTop | MarkPrice | TradeTick | DepthDiff | DepthSnapshot
"""Everything a market source may deliver."""

"""Questions about the account and the venue beyond orders, positions and balance, and what they are answered with."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.model.orders import Side

DEPTH_LEVELS: Final = 500
"""Levels a side of a depth snapshot."""


WHOLE_ACCOUNT: Final = "ACCOUNT"
"""What a restriction of the whole account has for a symbol."""


class QueryAccountConfig(msgspec.Struct, frozen=True, gc=False):
    """Ask how the account is set up."""


class AccountConfig(msgspec.Struct, frozen=True, gc=False):
    """How the account is set up. ``multi_assets``: several assets back the margin, valued in US dollars."""

    can_trade: bool
    hedge_mode: bool
    multi_assets: bool


class QuerySymbolConfig(msgspec.Struct, frozen=True, gc=False):
    """Ask for leverage and margin type of one symbol."""

    symbol: str


class SymbolConfig(msgspec.Struct, frozen=True, gc=False):
    """Leverage and margin type (the venue's word) of one symbol; ``notional_max`` at that leverage, quote currency."""

    symbol: str
    leverage: int
    margin_type: str
    notional_max: Decimal


class QueryBrackets(msgspec.Struct, frozen=True, gc=False):
    """Ask for the leverage brackets of one symbol."""

    symbol: str


class Bracket(msgspec.Struct, frozen=True, gc=False):
    """One bracket: up to ``notional_cap`` (quote currency) this leverage and maintenance margin ratio hold."""

    symbol: str
    leverage_max: int
    notional_floor: Decimal
    notional_cap: Decimal
    maintenance_ratio: Decimal


class QueryTrades(msgspec.Struct, frozen=True, gc=False):
    """Ask for the account's trades of one symbol from ``from_trade_id`` on, oldest first; 0: the newest ones.

    The venue keeps them for three months. Source: its documentation of GET /fapi/v1/userTrades, 2026-08-26.
    """

    symbol: str
    from_trade_id: int = 0
    limit: int = 500


class AccountTrade(msgspec.Struct, frozen=True, gc=False):
    """One trade of the account; ``fee`` in ``fee_asset``."""

    symbol: str
    trade_id: int
    venue_order_id: int
    side: Side
    price: Decimal
    qty: Decimal
    fee: Decimal
    fee_asset: str
    realized_pnl: Decimal
    maker: bool
    trade_utc_ms: int


class QueryTradingStatus(msgspec.Struct, frozen=True, gc=False):
    """Ask which of the venue's quantitative rules the account has broken."""


class Restriction(msgspec.Struct, frozen=True, gc=False):
    """The venue lets a symbol only reduce for breaking one of its rules. ``symbol`` is ACCOUNT for the whole account.

    ``indicator``: the venue's word (UFR, IFER, GCR, DR, TMV). ``until_utc_ms``: when it means to lift it, 0 unknown.
    """

    symbol: str
    indicator: str
    until_utc_ms: int


class TradingStatus(msgspec.Struct, frozen=True, gc=False):
    """Every restriction in force; none: the account may trade freely."""

    restrictions: tuple[Restriction, ...]


class QueryDepth(msgspec.Struct, frozen=True, gc=False):
    """Ask for one symbol's order book, DEPTH_LEVELS a side."""

    symbol: str


AccountQuestion = QueryAccountConfig | QuerySymbolConfig | QueryBrackets | QueryTrades | QueryTradingStatus
AccountFact = AccountConfig | SymbolConfig | tuple[Bracket, ...] | tuple[AccountTrade, ...] | TradingStatus

"""Bytes of replies about the account's set-up, its trades and its restrictions, and of a depth snapshot, to values.

Every function gives a value or raises PayloadError, nothing else. Unknown fields are ignored, unknown words of open
sets pass through as text.

Source: venue documentation, USDⓈ-M futures account configuration, symbol configuration, notional and leverage
brackets, account trade list, quantitative rules indicators, order book, 2026-05-28.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.adapters.binance.codec_account import build, read, require_sane
from grinder.adapters.binance.codec_market import decode_market
from grinder.model.errors import PayloadError
from grinder.model.market import DepthSnapshot
from grinder.model.orders import Side
from grinder.model.reasons import DropReason
from grinder.model.venue_account import (
    AccountConfig,
    AccountTrade,
    Bracket,
    Restriction,
    SymbolConfig,
    TradingStatus,
)


class _AccountConfig(msgspec.Struct, rename="camel"):
    can_trade: bool
    dual_side_position: bool
    multi_assets_margin: bool


class _SymbolConfig(msgspec.Struct, rename="camel"):
    symbol: str
    margin_type: str
    leverage: int
    max_notional_value: Decimal


class _Bracket(msgspec.Struct, rename="camel"):
    initial_leverage: int
    notional_cap: Decimal
    notional_floor: Decimal
    maint_margin_ratio: Decimal


class _Brackets(msgspec.Struct):
    symbol: str
    brackets: list[_Bracket]


class _Trade(msgspec.Struct, rename="camel"):
    symbol: str
    id: int
    order_id: int
    side: Side
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    realized_pnl: Decimal
    maker: bool
    time: int


class _Indicator(msgspec.Struct, rename="camel"):
    is_locked: bool
    indicator: str = ""
    planned_recover_time: int = 0


class _TradingStatus(msgspec.Struct):
    indicators: dict[str, list[_Indicator]]


_ACCOUNT_CONFIG: Final = msgspec.json.Decoder(_AccountConfig)
_SYMBOL_CONFIGS: Final = msgspec.json.Decoder(list[_SymbolConfig])
_BRACKETS: Final = msgspec.json.Decoder(list[_Brackets] | _Brackets)
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_TRADING_STATUS: Final = msgspec.json.Decoder(_TradingStatus)


def decode_account_config(body: bytes) -> AccountConfig:
    """Return how the account is set up.

    Raises:
        PayloadError: unreadable.
    """
    config = read(_ACCOUNT_CONFIG, body)
    return AccountConfig(config.can_trade, config.dual_side_position, config.multi_assets_margin)


def decode_symbol_config(body: bytes, symbol: str) -> SymbolConfig:
    """Return leverage and margin type of a symbol.

    Raises:
        PayloadError: unreadable, out of range, or not about that symbol.
    """
    found = [config for config in read(_SYMBOL_CONFIGS, body) if config.symbol == symbol]
    if len(found) != 1 or found[0].leverage <= 0:
        raise PayloadError("the reply has no leverage of that symbol", DropReason.OUT_OF_RANGE)
    build(lambda: require_sane(notional_max=found[0].max_notional_value))
    return SymbolConfig(symbol, found[0].leverage, found[0].margin_type, found[0].max_notional_value)


def decode_brackets(body: bytes, symbol: str) -> tuple[Bracket, ...]:
    """Return the leverage brackets of a symbol; the venue answers with a list or with the one object.

    Raises:
        PayloadError: unreadable, out of range, or not about that symbol.
    """
    reply = read(_BRACKETS, body)
    entries = [reply] if isinstance(reply, _Brackets) else reply
    rows = [row for entry in entries if entry.symbol == symbol for row in entry.brackets]
    if not rows:
        raise PayloadError("the reply has no bracket of that symbol", DropReason.OUT_OF_RANGE)

    def make() -> tuple[Bracket, ...]:
        for row in rows:
            require_sane(floor=row.notional_floor, cap=row.notional_cap, ratio=row.maint_margin_ratio)
        return tuple(
            Bracket(symbol, row.initial_leverage, row.notional_floor, row.notional_cap, row.maint_margin_ratio)
            for row in rows
        )

    return build(make)


def decode_trades(body: bytes) -> tuple[AccountTrade, ...]:
    """Return the account's trades; one that cannot be read fails the whole reply, so that none is missed.

    Raises:
        PayloadError: unreadable or out of range.
    """
    trades = read(_TRADES, body)

    def make() -> tuple[AccountTrade, ...]:
        for trade in trades:
            require_sane(price=trade.price, qty=trade.qty, fee=trade.commission, realized_pnl=trade.realized_pnl)
        return tuple(
            AccountTrade(
                trade.symbol,
                trade.id,
                trade.order_id,
                trade.side,
                trade.price,
                trade.qty,
                trade.commission,
                trade.commission_asset,
                trade.realized_pnl,
                trade.maker,
                trade.time,
            )
            for trade in trades
        )

    return build(make)


def decode_trading_status(body: bytes) -> TradingStatus:
    """Return the restrictions in force.

    Raises:
        PayloadError: unreadable.
    """
    status = read(_TRADING_STATUS, body)
    return TradingStatus(
        tuple(
            Restriction(symbol, indicator.indicator, indicator.planned_recover_time)
            for symbol, indicators in sorted(status.indicators.items())
            for indicator in indicators
            if indicator.is_locked
        )
    )


def decode_depth(body: bytes, symbol: str) -> DepthSnapshot:
    """Return a depth snapshot under its symbol, which the venue does not say; its receive time is left 0.

    Raises:
        PayloadError: unreadable, out of range, crossed, or no snapshot.
    """
    snapshot = decode_market(body, 0, 0)
    if not isinstance(snapshot, DepthSnapshot):
        raise PayloadError("the reply is no depth snapshot")
    return msgspec.structs.replace(snapshot, symbol=symbol)

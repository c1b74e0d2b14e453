"""User data events in the venue's own field names.

Source: USDⓈ-M futures, user data streams, 2026-05-28; change log up to 2026-10 (``er``, ``V``, ``pm``, ``gtd``).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from grinder.model.units import ZERO
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.holdings import Holding, MarginMode
from grinder.sim.exchange.orders import Fill, Order


class UserEvent(msgspec.Struct, frozen=True):
    """One event for the user streams of one account (``account``: its api key)."""

    account: str
    name: str
    payload: dict[str, Any]


class PublicEvent(msgspec.Struct, frozen=True):
    """One event for a market stream of a symbol. ``kind``: the stream's name after the ``@``."""

    symbol: str
    kind: str
    payload: dict[str, Any]


MARGIN_TYPES = {MarginMode.CROSSED: "cross", MarginMode.ISOLATED: "isolated"}
"""Margin modes as events and position queries write them."""


def money(value: Decimal) -> str:
    """Return an amount as the venue writes it: plain digits, eight decimals."""
    return f"{value:.8f}"


def plain(value: Decimal) -> str:
    """Return a price or quantity in plain digits, as it was given."""
    return f"{value:f}"


def order_update(order: Order, execution: str, fill: Fill | None, utc_ms: int) -> UserEvent:
    """Return ORDER_TRADE_UPDATE. ``execution``: NEW, CANCELED, EXPIRED, TRADE, CALCULATED or AMENDMENT."""
    zero = "0"
    body: dict[str, Any] = {
        "s": order.symbol,
        "c": order.client_order_id,
        "S": order.side.value,
        "o": order.kind.value,
        "f": order.tif.value,
        "q": plain(order.qty),
        "p": plain(order.price),
        "ap": plain(order.average_price.normalize()) if order.filled else zero,
        "sp": plain(order.trigger_price),
        "x": execution,
        "X": order.status.value,
        "i": order.order_id,
        "l": plain(fill.qty) if fill else zero,
        "z": plain(order.filled),
        "L": plain(fill.price) if fill else zero,
        "T": utc_ms,
        "t": fill.trade_id if fill else 0,
        "b": zero,
        "a": zero,
        "m": fill.maker if fill else False,
        "R": order.reduce_only,
        "wt": order.working_type.value,
        "ot": order.origin_type or order.kind.value,
        "ps": order.position_side.value,
        "cp": order.close_position,
        "rp": plain(fill.realized_pnl) if fill else zero,
        "pP": order.price_protect,
        "si": 0,
        "ss": 0,
        "V": order.self_trade.value,
        "pm": order.price_match.value,
        "gtd": order.good_till_utc_ms,
        "er": order.expiry.value,
    }
    if fill is not None:
        body["N"] = "USDT"
        body["n"] = plain(fill.fee)
    if execution == "AMENDMENT" and order.modify_id is not None:
        body["M"] = str(order.modify_id)
    payload = {"e": "ORDER_TRADE_UPDATE", "E": utc_ms, "T": utc_ms, "o": body}
    return UserEvent(order.account, "ORDER_TRADE_UPDATE", payload)


def trade_lite(order: Order, fill: Fill) -> UserEvent:
    """Return TRADE_LITE, the short form of a trade that comes before its ORDER_TRADE_UPDATE."""
    payload = {
        "e": "TRADE_LITE",
        "E": fill.utc_ms,
        "T": fill.utc_ms,
        "s": fill.symbol,
        "q": plain(order.qty),
        "p": plain(order.price),
        "m": fill.maker,
        "c": fill.client_order_id,
        "S": fill.side.value,
        "L": plain(fill.price),
        "l": plain(fill.qty),
        "t": fill.trade_id,
        "i": fill.order_id,
    }
    return UserEvent(fill.account, "TRADE_LITE", payload)


def account_update(
    account: Account,
    reason: str,
    utc_ms: int,
    positions: Sequence[tuple[Holding, Decimal]] = (),
    *,
    change: Decimal = ZERO,
    symbol: str = "",
) -> UserEvent:
    """Return ACCOUNT_UPDATE with the wallet and the positions that changed.

    Args:
        account: whose.
        reason: the venue's word for what happened, as ORDER or FUNDING_FEE.
        utc_ms: when.
        positions: each with the mark price of its symbol.
        change: of the balance, other than by pnl and commission.
        symbol: of a funding fee; '' for any other reason.
    """
    body: dict[str, Any] = {
        "m": reason,
        "B": [
            {
                "a": "USDT",
                "wb": money(account.wallet),
                "cw": money(account.cross_wallet),
                "bc": money(change) if change else "0",
            }
        ],
        "P": [_position(holding, mark) for holding, mark in positions],
    }
    if symbol:
        body["S"] = symbol
    return UserEvent(account.key, "ACCOUNT_UPDATE", {"e": "ACCOUNT_UPDATE", "E": utc_ms, "T": utc_ms, "a": body})


def _position(holding: Holding, mark: Decimal) -> dict[str, Any]:
    return {
        "s": holding.symbol,
        "pa": plain(holding.qty),
        "ep": money(holding.entry_price),
        "bep": money(holding.break_even_price),
        "cr": money(holding.realized),
        "up": money(holding.unrealized(mark)),
        "mt": MARGIN_TYPES[holding.margin_mode],
        "iw": money(holding.isolated_wallet) if holding.isolated else "0",
        "ps": holding.position_side.value,
        "ma": "USDT",
    }


def margin_call(account: Account, rows: Sequence[tuple[Holding, Decimal, Decimal]], utc_ms: int) -> UserEvent:
    """Return MARGIN_CALL. ``rows``: each position with its mark price and its maintenance margin."""
    payload = {
        "e": "MARGIN_CALL",
        "E": utc_ms,
        "cw": money(account.cross_wallet),
        "p": [
            {
                "s": holding.symbol,
                "ps": holding.position_side.value,
                "pa": plain(holding.qty),
                "mt": holding.margin_mode.value,
                "iw": money(holding.isolated_wallet),
                "mp": money(mark),
                "up": money(holding.unrealized(mark)),
                "mm": money(maintenance),
            }
            for holding, mark, maintenance in rows
        ],
    }
    return UserEvent(account.key, "MARGIN_CALL", payload)


def force_order(order: Order, utc_ms: int) -> PublicEvent:
    """Return the market stream's word on a liquidation."""
    body = {
        "s": order.symbol,
        "S": order.side.value,
        "o": order.kind.value,
        "f": order.tif.value,
        "q": plain(order.qty),
        "p": plain(order.price),
        "ap": plain(order.average_price.normalize()),
        "X": order.status.value,
        "l": plain(order.filled),
        "z": plain(order.filled),
        "T": utc_ms,
    }
    payload = {"e": "forceOrder", "E": utc_ms, "o": body, "ps": order.symbol, "st": 1}
    return PublicEvent(order.symbol, "forceOrder", payload)


def multi_assets_update(account: Account, utc_ms: int) -> UserEvent:
    """Return ACCOUNT_CONFIG_UPDATE for a new multi-assets mode."""
    payload = {"e": "ACCOUNT_CONFIG_UPDATE", "E": utc_ms, "T": utc_ms, "ai": {"j": account.multi_assets}}
    return UserEvent(account.key, "ACCOUNT_CONFIG_UPDATE", payload)


def account_config_update(account: Account, symbol: str, leverage: int, utc_ms: int) -> UserEvent:
    """Return ACCOUNT_CONFIG_UPDATE for a new leverage."""
    payload = {"e": "ACCOUNT_CONFIG_UPDATE", "E": utc_ms, "T": utc_ms, "ac": {"s": symbol, "l": leverage}}
    return UserEvent(account.key, "ACCOUNT_CONFIG_UPDATE", payload)


def listen_key_expired(account_key: str, listen_key: str, utc_ms: int) -> UserEvent:
    """Return listenKeyExpired; it goes to the streams of that key, which then end."""
    payload = {"e": "listenKeyExpired", "E": utc_ms, "listenKey": listen_key}
    return UserEvent(account_key, "listenKeyExpired", payload)


def acknowledged(order: Order, *, as_new: bool) -> dict[str, Any]:
    """Return the answer to place, amend and cancel: since 2026-06-30 without avgPrice, cumQuote and cumBase.

    ``as_new``: newOrderRespType ACK, which says NEW and nothing executed, whatever happened at once.
    """
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "pair": order.symbol,
        "status": "NEW" if as_new else order.status.value,
        "clientOrderId": order.client_order_id,
        "price": plain(order.price),
        "origQty": plain(order.qty),
        "executedQty": "0" if as_new else plain(order.filled),
        "cumQty": "0" if as_new else plain(order.filled),
        "timeInForce": order.tif.value,
        "type": order.kind.value,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side.value,
        "positionSide": order.position_side.value,
        "stopPrice": plain(order.trigger_price),
        "workingType": order.working_type.value,
        "priceProtect": order.price_protect,
        "origType": order.origin_type or order.kind.value,
        "priceMatch": order.price_match.value,
        "selfTradePreventionMode": order.self_trade.value,
        "goodTillDate": order.good_till_utc_ms,
        "updateTime": order.updated_utc_ms,
    }


def described(order: Order) -> dict[str, Any]:
    """Return an order as queries report it, with average price and executed value."""
    return {
        **acknowledged(order, as_new=False),
        "avgPrice": money(order.average_price) if order.filled else "0",
        "cumQuote": plain(order.quote),
        "cumBase": plain(order.filled),
        "time": order.created_utc_ms,
    }

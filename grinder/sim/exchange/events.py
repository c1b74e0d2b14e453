"""User data events in the venue's own field names.

Source: USDⓈ-M futures, user data streams, 2026-05-28; change log up to 2026-10 (``er``, ``V``, ``pm``, ``gtd``).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

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
    """Return ORDER_TRADE_UPDATE. ``execution``: NEW, CANCELED, EXPIRED, TRADE or AMENDMENT."""
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
        "sp": zero,
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
        "wt": "CONTRACT_PRICE",
        "ot": order.kind.value,
        "ps": order.position_side.value,
        "cp": False,
        "rp": plain(fill.realized_pnl) if fill else zero,
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": order.self_trade.value,
        "pm": "NONE",
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


def account_update(account: Account, holding: Holding, mark: Decimal, reason: str, utc_ms: int) -> UserEvent:
    """Return ACCOUNT_UPDATE with the wallet and the one position that changed."""
    wallet = money(account.wallet)
    payload = {
        "e": "ACCOUNT_UPDATE",
        "E": utc_ms,
        "T": utc_ms,
        "a": {
            "m": reason,
            "B": [{"a": "USDT", "wb": wallet, "cw": wallet, "bc": "0"}],
            "P": [
                {
                    "s": holding.symbol,
                    "pa": plain(holding.qty),
                    "ep": money(holding.entry_price),
                    "bep": money(holding.entry_price),
                    "cr": money(holding.realized),
                    "up": money(holding.unrealized(mark)),
                    "mt": "cross",
                    "iw": "0",
                    "ps": holding.position_side.value,
                    "ma": "USDT",
                }
            ],
        },
    }
    return UserEvent(account.key, "ACCOUNT_UPDATE", payload)


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
        "closePosition": False,
        "side": order.side.value,
        "positionSide": order.position_side.value,
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.kind.value,
        "priceMatch": "NONE",
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

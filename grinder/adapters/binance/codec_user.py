"""Bytes of the user data stream to events.

Every function gives a value or raises PayloadError. An event type that is not needed, known or not, is Ignored by its
name. TRADE_LITE is ignored: it repeats a trade that ORDER_TRADE_UPDATE reports.

Source: venue documentation, USDⓈ-M futures user data streams, 2026-05-28.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.adapters.binance.codec_account import build, read, require_sane
from grinder.model.account import Position, PositionSide
from grinder.model.errors import PayloadError
from grinder.model.instrument import MARGIN_ASSET
from grinder.model.limits import FRAME_BYTES_MAX
from grinder.model.orders import Side
from grinder.model.reasons import DropReason
from grinder.model.units import ZERO, require_not_negative
from grinder.model.venue import AccountEvent, ConfigChanged, MarginCall, OrderEvent

TRADE: Final = "TRADE"
"""Execution type of an event that carries a trade."""


class KeyExpired(msgspec.Struct, frozen=True):
    """listenKeyExpired: the stream of this key is dead. ``listen_key`` is empty where the venue does not name it."""

    listen_key: str


class Ignored(msgspec.Struct, frozen=True):
    """An event that is not needed."""

    kind: str


UserMessage = OrderEvent | AccountEvent | MarginCall | ConfigChanged | KeyExpired | Ignored


class _Kind(msgspec.Struct):
    e: str = ""


class _Order(msgspec.Struct):
    """The ``o`` of ORDER_TRADE_UPDATE; names as the venue writes them."""

    s: str
    c: str
    i: int
    S: Side
    x: str
    X: str
    p: Decimal
    q: Decimal
    z: Decimal
    l: Decimal = ZERO  # noqa: E741
    L: Decimal = ZERO
    t: int = 0
    n: Decimal = ZERO
    N: str | None = None
    rp: Decimal = ZERO
    m: bool = False
    R: bool = False
    er: str | int = ""


class _OrderTradeUpdate(msgspec.Struct):
    E: int
    T: int
    o: _Order


class _AssetBalance(msgspec.Struct):
    a: str
    wb: Decimal
    bc: Decimal = ZERO


class _ChangedPosition(msgspec.Struct):
    s: str
    pa: Decimal
    ep: Decimal
    up: Decimal
    ps: PositionSide = PositionSide.BOTH


class _AccountChange(msgspec.Struct):
    m: str
    B: list[_AssetBalance] = []
    P: list[_ChangedPosition] = []


class _AccountUpdate(msgspec.Struct):
    E: int
    T: int
    a: _AccountChange


class _InDanger(msgspec.Struct):
    s: str


class _MarginCall(msgspec.Struct):
    p: list[_InDanger]


class _Leverage(msgspec.Struct):
    s: str


class _ConfigUpdate(msgspec.Struct):
    """``ac`` where a symbol's leverage changed, ``ai`` where the margin mode did."""

    ac: _Leverage | None = None


class _ListenKeyExpired(msgspec.Struct, rename="camel"):
    listen_key: str = ""


_KIND: Final = msgspec.json.Decoder(_Kind)
_ORDER_UPDATE: Final = msgspec.json.Decoder(_OrderTradeUpdate)
_ACCOUNT_UPDATE: Final = msgspec.json.Decoder(_AccountUpdate)
_MARGIN_CALL: Final = msgspec.json.Decoder(_MarginCall)
_CONFIG_UPDATE: Final = msgspec.json.Decoder(_ConfigUpdate)
_KEY_EXPIRED: Final = msgspec.json.Decoder(_ListenKeyExpired)


def decode_user(message: bytes) -> UserMessage:
    """Return what a message of the user stream says.

    Raises:
        PayloadError: too large, unreadable or out of range.
    """
    if len(message) > FRAME_BYTES_MAX:
        raise PayloadError(f"{len(message)} bytes", DropReason.TOO_LARGE)
    kind = read(_KIND, message).e
    if kind == "ORDER_TRADE_UPDATE":
        return _order_event(read(_ORDER_UPDATE, message))
    if kind == "ACCOUNT_UPDATE":
        return _account_event(read(_ACCOUNT_UPDATE, message))
    if kind == "listenKeyExpired":
        return KeyExpired(read(_KEY_EXPIRED, message).listen_key)
    if kind == "MARGIN_CALL":
        return MarginCall(tuple(sorted({each.s for each in read(_MARGIN_CALL, message).p})))
    if kind == "ACCOUNT_CONFIG_UPDATE":
        changed = read(_CONFIG_UPDATE, message).ac
        return ConfigChanged("" if changed is None else changed.s)
    return Ignored(kind)


def _order_event(update: _OrderTradeUpdate) -> OrderEvent:
    """Return the event; a fee paid in another asset than the symbol's quote is 0, because it has no price here."""
    order = update.o

    def make() -> OrderEvent:
        is_trade = order.x == TRADE
        require_sane(price=order.p, qty=order.q, filled_qty=order.z, last_price=order.L, last_qty=order.l)
        require_sane(fee=order.n, realized_pnl=order.rp)
        require_not_negative(price=order.p, qty=order.q, filled_qty=order.z, last_price=order.L, last_qty=order.l)
        if is_trade and (order.t <= 0 or not order.l or not order.L):
            raise ValueError("a trade without id, price or quantity")
        return OrderEvent(
            client_order_id=order.c,
            venue_order_id=order.i,
            symbol=order.s,
            side=order.S,
            execution=order.x,
            status=order.X,
            price=order.p,
            qty=order.q,
            filled_qty=order.z,
            last_price=order.L,
            last_qty=order.l,
            trade_id=order.t if is_trade else 0,
            fee=order.n if order.N is not None and order.s.endswith(order.N) else ZERO,
            realized_pnl=order.rp,
            maker=order.m,
            reduce_only=order.R,
            event_utc_ms=update.E,
            transaction_utc_ms=update.T,
            expiry=str(order.er),
        )

    return build(make)


def _account_event(update: _AccountUpdate) -> AccountEvent:
    """Return the event; its positions have mark price 0, because the venue does not send one here."""
    change = update.a

    def make() -> AccountEvent:
        wallet: Decimal | None = None
        balance_change = ZERO
        for balance in change.B:
            require_sane(wallet_balance=balance.wb, balance_change=balance.bc)
            if balance.a == MARGIN_ASSET:
                wallet, balance_change = balance.wb, balance.bc
        positions = []
        for item in change.P:
            require_sane(qty=item.pa, entry_price=item.ep, unrealized_pnl=item.up)
            positions.append(
                Position(
                    symbol=item.s,
                    position_side=item.ps,
                    qty=item.pa,
                    entry_price=item.ep,
                    mark_price=ZERO,
                    unrealized_pnl=item.up,
                    update_utc_ms=update.T,
                )
            )
        return AccountEvent(change.m, wallet, tuple(positions), update.E, balance_change)

    return build(make)

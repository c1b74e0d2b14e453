"""Reads an order out of a request: every field of it checked for form, each fault with its documented code.

Must never look at the account's means nor at what else rests: that is ``order_checks``.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeVar

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import OrderType
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.floor import TradingFloor
from grinder.sim.exchange.market import PRICE_MATCHES, Market
from grinder.sim.exchange.orders import Order, PriceMatch, SelfTrade, Tif
from grinder.sim.exchange.params import Params

GOOD_TILL_AHEAD_MS: Final = 600_000
GOOD_TILL_MS_MAX: Final = 253_402_300_799_000
CONDITIONAL_TYPES: Final = frozenset(
    {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
)
"""Order types that the venue moved to its algo service on 2025-12-09."""

E = TypeVar("E", bound=StrEnum)


def member(kind: type[E], text: str, code: Code) -> E:
    """Return a member of a closed set by its text.

    Raises:
        VenueError: with ``code`` if there is none.
    """
    try:
        return kind(text)
    except ValueError:
        raise refusal(code) from None


def read_side(params: Params) -> Side:
    """Return the side of an order."""
    return member(Side, params.text("side"), Code.INVALID_SIDE)


def read_position_side(account: Account, params: Params) -> PositionSide:
    """Return the position an order is for.

    Raises:
        VenueError: -4060 if it is no position side, -4061 if it does not fit the account's mode.
    """
    side = member(PositionSide, params.optional("positionSide", "BOTH"), Code.INVALID_POSITION_SIDE)
    if account.hedge_mode is (side is PositionSide.BOTH):
        raise refusal(Code.POSITION_SIDE_MISMATCH)
    return side


def read_reduce_only(account: Account, params: Params) -> bool:
    """Return whether an order may only reduce; in hedge mode it must not say.

    Raises:
        VenueError: -1106 in hedge mode, -1130.
    """
    if account.hedge_mode and "reduceOnly" in params:
        raise refusal(Code.PARAM_NOT_REQUIRED, "reduceonly")
    return params.flag("reduceOnly")


def read_self_trade(params: Params, default: SelfTrade) -> SelfTrade:
    """Return an order's self-trade prevention.

    Raises:
        VenueError: -5039.
    """
    return member(SelfTrade, params.optional("selfTradePreventionMode", default.value), Code.INVALID_SELF_TRADE_MODE)


def read_good_till(tif: Tif, params: Params, now: int) -> int:
    """Return the end of a GTD order, Unix milliseconds with the second's part cut off; 0 for any other.

    Raises:
        VenueError: -1102, -1100, -5040.
    """
    if tif is not Tif.GTD:
        return 0
    until = params.integer("goodTillDate")
    if not now + GOOD_TILL_AHEAD_MS < until < GOOD_TILL_MS_MAX:
        raise refusal(Code.INVALID_GOOD_TILL_DATE)
    return until - until % 1_000


def read_price_match(params: Params) -> PriceMatch:
    """Return an order's price match.

    Raises:
        VenueError: -5037 if it is none in force, -1106 if a price is sent beside it.
    """
    match = member(PriceMatch, params.optional("priceMatch", "NONE"), Code.INVALID_PRICE_MATCH)
    if match is PriceMatch.NONE:
        return match
    if match not in PRICE_MATCHES:
        raise refusal(Code.INVALID_PRICE_MATCH)
    if "price" in params:
        raise refusal(Code.PARAM_NOT_REQUIRED, "price")
    return match


def read_price(market: Market, side: Side, match: PriceMatch, params: Params) -> Decimal:
    """Return the limit price sent, or the one a price match stands for now.

    Raises:
        VenueError: -1102, -1100, -5041.
    """
    if match is PriceMatch.NONE:
        return params.decimal("price")
    price = market.matched_price(side, match)
    if price is None:
        raise refusal(Code.NO_DEPTH_FOR_PRICE_MATCH)
    return price


def _order_type(params: Params) -> OrderType:
    text = params.text("type")
    if text in CONDITIONAL_TYPES:
        raise refusal(Code.USE_ALGO_ENDPOINT)
    return member(OrderType, text, Code.INVALID_ORDER_TYPE)


def read_order(floor: TradingFloor, account: Account, params: Params, now: int) -> Order:
    """Return the order a request describes, with its form checked; nothing else.

    Raises:
        VenueError: with the code of the first field that is wrong.
    """
    symbol = params.text("symbol")
    market = floor.market(symbol)
    side = read_side(params)
    kind = _order_type(params)
    match = read_price_match(params)
    tif = Tif.GTC
    if kind is OrderType.LIMIT:
        tif = member(Tif, params.text("timeInForce"), Code.INVALID_TIF)
    elif match is not PriceMatch.NONE:
        raise refusal(Code.PRICE_MATCH_ORDER_TYPE)
    else:
        for name in ("price", "timeInForce"):
            if name in params:
                raise refusal(Code.PARAM_NOT_REQUIRED, name)
    reduce_only = read_reduce_only(account, params)
    order_id = floor.next_order_id()
    return Order(
        order_id=order_id,
        client_order_id=params.client_id("newClientOrderId") or f"sim{order_id}",
        account=account.key,
        symbol=symbol,
        side=side,
        kind=kind,
        tif=tif,
        price=read_price(market, side, match, params) if kind is OrderType.LIMIT else ZERO,
        qty=params.decimal("quantity"),
        reduce_only=reduce_only,
        position_side=read_position_side(account, params),
        self_trade=read_self_trade(params, floor.config.default_self_trade),
        created_utc_ms=now,
        updated_utc_ms=now,
        good_till_utc_ms=read_good_till(tif, params, now),
        price_match=match,
    )

"""What a successful reply to each request is read as.

Must never hold state, and never take a reply for the answer to another request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from grinder.adapters.binance import codec_account as account
from grinder.adapters.binance import codec_conditional as conditional
from grinder.adapters.binance import codec_venue_account as terms
from grinder.adapters.binance.codec_instruments import decode_exchange
from grinder.adapters.binance.errors import classify, read_error
from grinder.model.conditional import (
    CancelAllConditional,
    CancelConditional,
    PlaceConditional,
    QueryConditional,
    QueryOpenConditional,
)
from grinder.model.errors import PayloadError
from grinder.model.reasons import DropReason
from grinder.model.venue import (
    AmendOrder,
    Answer,
    ArmCountdown,
    BatchReplies,
    CancelAllOrders,
    CancelOrder,
    Confirmed,
    InDoubt,
    PlaceBatch,
    PlaceOrder,
    QueryBalance,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositionMode,
    QueryPositions,
    QueryServerTime,
    VenueOrder,
    VenueReply,
    VenueRequest,
)
from grinder.model.venue_account import (
    QueryAccountConfig,
    QueryBrackets,
    QueryDepth,
    QuerySymbolConfig,
    QueryTrades,
    QueryTradingStatus,
)

ITEM_STATUS: Final = 400
"""HTTP status that an item of a batch would have had alone; the venue does not say it."""

_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def _batch(body: bytes, request: PlaceBatch) -> BatchReplies:
    """Return how each order ended; an item that cannot be read leaves its order in doubt, and no other.

    Raises:
        PayloadError: no list, or not of one item for each order.
    """
    items = account.read(_ITEMS, body)
    if len(items) != len(request.orders):
        raise PayloadError(f"{len(items)} items for {len(request.orders)} orders", DropReason.OUT_OF_RANGE)
    return BatchReplies(tuple(_item(bytes(item), order) for item, order in zip(items, request.orders, strict=True)))


def _item(body: bytes, order: PlaceOrder) -> VenueReply:
    code, message = read_error(body)
    if code < 0:
        return classify(ITEM_STATUS, code, message)
    try:
        return Confirmed(account.decode_ack(body, order), 0)
    except PayloadError:
        return InDoubt("unreadable")


def _order(body: bytes, request: QueryOrder) -> VenueOrder:
    """Return the order that was asked for.

    Raises:
        PayloadError: unreadable, or another order.
    """
    order = account.decode_order(body)
    if (order.client_order_id, order.symbol) != (request.client_order_id, request.symbol):
        raise PayloadError("the reply is about another order", DropReason.OUT_OF_RANGE)
    return order


_ANSWER: Final[dict[type, Callable[[bytes, Any], Answer]]] = {
    PlaceOrder: account.decode_ack,
    AmendOrder: account.decode_ack,
    CancelOrder: account.decode_ack,
    QueryOrder: _order,
    CancelAllOrders: lambda body, request: account.decode_done(body),
    ArmCountdown: lambda body, request: account.decode_countdown(body, request.symbol),
    QueryOpenOrders: lambda body, request: (
        account.decode_readable_orders(body) if request.for_exit else account.decode_open_orders(body)
    ),
    QueryPositions: lambda body, request: (
        account.decode_readable_positions(body) if request.for_exit else account.decode_positions(body)
    ),
    QueryBalance: lambda body, request: account.decode_balance(body),
    QueryPositionMode: lambda body, request: account.decode_position_mode(body),
    QueryInstruments: lambda body, request: decode_exchange(body),
    QueryServerTime: lambda body, request: account.decode_server_time(body),
    PlaceBatch: _batch,
    PlaceConditional: conditional.decode_conditional_ack,
    CancelConditional: conditional.decode_conditional_cancel,
    QueryConditional: lambda body, request: conditional.decode_conditional(body),
    QueryOpenConditional: lambda body, request: (
        conditional.decode_readable_conditional(body) if request.for_exit else conditional.decode_open_conditional(body)
    ),
    CancelAllConditional: lambda body, request: account.decode_done(body),
    QueryAccountConfig: lambda body, request: terms.decode_account_config(body),
    QuerySymbolConfig: lambda body, request: terms.decode_symbol_config(body, request.symbol),
    QueryBrackets: lambda body, request: terms.decode_brackets(body, request.symbol),
    QueryTrades: lambda body, request: terms.decode_trades(body),
    QueryTradingStatus: lambda body, request: terms.decode_trading_status(body),
    QueryDepth: lambda body, request: terms.decode_depth(body, request.symbol),
}


def answer_of(body: bytes, request: VenueRequest) -> Answer:
    """Return the value of a successful reply to a request.

    Raises:
        PayloadError: unreadable, out of range, or about something else.
    """
    return _ANSWER[type(request)](body, request)

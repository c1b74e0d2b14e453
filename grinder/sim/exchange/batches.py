"""Batch operations: one answer per member, in the order of the request; a member that fails answers with its code.

Source: Place, Modify, Cancel Multiple Orders (TRADE), 2026-08-19.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from grinder.model.errors import VenueError
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.params import Params, read_json_params
from grinder.sim.exchange.trading import amend, cancel, place

BATCH_MAX: Final = 5
BATCH_CANCEL_MAX: Final = 10

_ROWS: Final = msgspec.json.Decoder(list[dict[str, object]], float_hook=str)
"""Numbers keep the digits they were written with."""

Single = Callable[[Exchange, Account, Params, int], dict[str, Any]]


def _answer(single: Single, exchange: Exchange, account: Account, params: Params, now: int) -> dict[str, Any]:
    try:
        return single(exchange, account, params, now)
    except VenueError as error:
        return {"code": error.code, "msg": error.message}


def _each(single: Single, exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    try:
        rows = _ROWS.decode(params.text("batchOrders"))
    except (msgspec.DecodeError, UnicodeError):
        raise refusal(Code.INVALID_PARAMETER, "batchOrders") from None
    if not 1 <= len(rows) <= BATCH_MAX:
        raise refusal(Code.BATCH_SIZE)
    answers: list[dict[str, Any]] = []
    for row in rows:
        try:
            member = read_json_params(row)
        except VenueError as error:
            answers.append({"code": error.code, "msg": error.message})
        else:
            answers.append(_answer(single, exchange, account, member, now))
    return answers


def place_batch(exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Place up to five orders (POST /fapi/v1/batchOrders)."""
    return _each(place, exchange, account, params, now)


def amend_batch(exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Amend up to five orders (PUT /fapi/v1/batchOrders)."""
    return _each(amend, exchange, account, params, now)


_ID_LISTS: Final = (("orderIdList", "orderId"), ("origClientOrderIdList", "origClientOrderId"))
"""Parameter with the list, parameter that each of its members stands for; the first that was sent counts.

The venue reads their names in lower case as well, and clients send them so. Source: requests to the venue's testnet in
ccxt, pull request 22890, 2024-06-25; python-binance, issue 1195, 2025-11-29.
"""


def cancel_batch(exchange: Exchange, account: Account, params: Params, now: int) -> list[dict[str, Any]]:
    """Cancel up to ten orders by either list of ids (DELETE /fapi/v1/batchOrders)."""
    symbol = params.text("symbol")
    exchange.market(symbol)
    spelled = [(spelling, field) for name, field in _ID_LISTS for spelling in (name, name.lower())]
    name, field = next((pair for pair in spelled if pair[0] in params), _ID_LISTS[0])
    try:
        ids = msgspec.json.decode(params.text(name), type=list[int | str])
    except (msgspec.DecodeError, UnicodeError):
        raise refusal(Code.INVALID_PARAMETER, name) from None
    if not 1 <= len(ids) <= BATCH_CANCEL_MAX:
        raise refusal(Code.CANCEL_BATCH_SIZE)
    return [_answer(cancel, exchange, account, Params({"symbol": symbol, field: str(each)}), now) for each in ids]

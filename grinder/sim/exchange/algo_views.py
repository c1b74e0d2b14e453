"""Conditional orders in the venue's own words: answers to requests and the event ALGO_UPDATE.

Source: New, Query, Cancel Algo Order (TRADE) and event ALGO_UPDATE, 2026-08-19.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from grinder.model.units import ZERO
from grinder.sim.exchange.algo_orders import AlgoOrder
from grinder.sim.exchange.events import UserEvent, plain
from grinder.sim.exchange.orders import Order


def placed(algo: AlgoOrder) -> dict[str, Any]:
    """Return the answer to placing a conditional order."""
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_algo_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.kind.value,
        "symbol": algo.symbol,
        "side": algo.side.value,
        "positionSide": algo.position_side.value,
        "timeInForce": algo.tif.value,
        "quantity": plain(algo.qty),
        "algoStatus": algo.status.value,
        "triggerPrice": plain(algo.trigger_price),
        "price": plain(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.self_trade.value,
        "workingType": algo.working_type.value,
        "priceMatch": algo.price_match.value,
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "activatePrice": _or_empty(algo.activate_price),
        "callbackRate": _or_empty(algo.callback_rate),
        "createTime": algo.created_utc_ms,
        "updateTime": algo.updated_utc_ms,
        "triggerTime": algo.triggered_utc_ms,
        "goodTillDate": algo.good_till_utc_ms,
    }


def found(algo: AlgoOrder, actual: Order | None) -> dict[str, Any]:
    """Return a conditional order as queries report it. ``actual``: the order it became, if it did and is kept."""
    return placed(algo) | {
        "actualOrderId": str(algo.actual_order_id) if algo.actual_order_id else "",
        "actualPrice": f"{actual.average_price:.5f}" if actual else "0.00000",
        "actualType": algo.actual_type.value if actual else "",
        "actualQty": plain(actual.filled) if actual else "0",
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
    }


def cancelled(algo: AlgoOrder) -> dict[str, Any]:
    """Return the answer to cancelling a conditional order."""
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_algo_id, "code": "200", "msg": "success"}


def algo_update(algo: AlgoOrder, actual: Order | None, utc_ms: int) -> UserEvent:
    """Return ALGO_UPDATE; what the order became is in it once there is one."""
    body: dict[str, Any] = {
        "caid": algo.client_algo_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.kind.value,
        "s": algo.symbol,
        "S": algo.side.value,
        "ps": algo.position_side.value,
        "f": algo.tif.value,
        "q": plain(algo.qty),
        "X": algo.status.value,
        "ai": str(algo.actual_order_id) if algo.actual_order_id else "",
        "tp": plain(algo.trigger_price),
        "p": plain(algo.price),
        "V": algo.self_trade.value,
        "wt": algo.working_type.value,
        "pm": algo.price_match.value,
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.triggered_utc_ms,
        "gtd": algo.good_till_utc_ms,
        "rm": algo.failure,
        "ia": algo.activated,
    }
    if actual is not None:
        body |= {"ap": f"{actual.average_price:.5f}", "aq": plain(actual.filled), "act": actual.kind.value}
    if algo.trails:
        body |= {"AP": plain(algo.activate_price), "cr": plain(algo.callback_rate)}
    payload = {"e": "ALGO_UPDATE", "T": utc_ms, "E": utc_ms, "o": body}
    return UserEvent(algo.account, "ALGO_UPDATE", payload)


def _or_empty(value: Decimal) -> str:
    return plain(value) if value > ZERO else ""

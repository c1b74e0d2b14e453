"""The venue's refusals: every code the simulated venue answers with, its HTTP status and its words.

Must never invent a code: a case without a documented one answers -1000 or -1100.
Source: developers.binance.com, USDⓈ-M futures, error codes and general info, read 2026-05-28.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from grinder.model.errors import VenueError


class Code(IntEnum):
    """Documented error codes."""

    UNKNOWN = -1000
    DISCONNECTED = -1001
    TOO_MANY_REQUESTS = -1003
    TIMEOUT = -1007
    OVERLOADED = -1008
    TOO_MANY_ORDERS = -1015
    UNSUPPORTED_OPERATION = -1020
    INVALID_TIMESTAMP = -1021
    INVALID_SIGNATURE = -1022
    ILLEGAL_CHARS = -1100
    TOO_MANY_PARAMETERS = -1101
    MANDATORY_PARAM = -1102
    PARAM_NOT_REQUIRED = -1106
    BAD_PRECISION = -1111
    INVALID_TIF = -1115
    INVALID_ORDER_TYPE = -1116
    INVALID_SIDE = -1117
    INVALID_INTERVAL = -1120
    BAD_SYMBOL = -1121
    INVALID_LISTEN_KEY = -1125
    OPTIONAL_PARAMS_BAD_COMBO = -1128
    INVALID_PARAMETER = -1130
    BAD_RECV_WINDOW = -1131
    INVALID_RESP_TYPE = -1136
    CANCEL_REJECTED = -2011
    NO_SUCH_ORDER = -2013
    BAD_API_KEY_FORMAT = -2014
    REJECTED_API_KEY = -2015
    MARGIN_NOT_SUFFICIENT = -2019
    WOULD_TRIGGER = -2021
    REDUCE_ONLY_REJECT = -2022
    MAX_OPEN_ORDERS = -2025
    MAX_LEVERAGE_RATIO = -2027
    MIN_LEVERAGE_RATIO = -2028
    PRICE_LESS_THAN_ZERO = -4001
    PRICE_ABOVE_MAX = -4002
    QTY_NOT_ABOVE_ZERO = -4003
    QTY_BELOW_MIN = -4004
    QTY_ABOVE_MAX = -4005
    STOP_PRICE_NOT_ABOVE_ZERO = -4006
    STOP_PRICE_ABOVE_MAX = -4007
    PRICE_BELOW_MIN = -4013
    PRICE_NOT_ON_TICK = -4014
    CLIENT_ORDER_ID_LENGTH = -4015
    PRICE_ABOVE_MULTIPLIER_UP = -4016
    QTY_NOT_ON_STEP = -4023
    PRICE_BELOW_MULTIPLIER_DOWN = -4024
    INVALID_LEVERAGE = -4028
    INVALID_WORKING_TYPE = -4031
    CANCEL_BATCH_SIZE = -4032
    MAX_STOP_ORDERS = -4045
    NO_NEED_TO_CHANGE_MARGIN = -4046
    MARGIN_CHANGE_WITH_OPEN_ORDERS = -4047
    MARGIN_CHANGE_WITH_POSITION = -4048
    MARGIN_ONLY_FOR_ISOLATED = -4049
    CROSS_BALANCE_NOT_SUFFICIENT = -4050
    ISOLATED_BALANCE_NOT_SUFFICIENT = -4051
    MARGIN_WITHOUT_POSITION = -4054
    AMOUNT_NOT_POSITIVE = -4055
    HMAC_NOT_SUPPORTED = -4056
    NO_NEED_TO_CHANGE_MODE = -4059
    INVALID_POSITION_SIDE = -4060
    POSITION_SIDE_MISMATCH = -4061
    MODE_CHANGE_WITH_OPEN_ORDERS = -4067
    MODE_CHANGE_WITH_POSITION = -4068
    BATCH_SIZE = -4082
    DUPLICATE_CLIENT_ID = -4116
    REDUCE_ONLY_SUM = -4118
    USE_ALGO_ENDPOINT = -4120
    MARKET_ORDER_REJECT = -4131
    INVALID_ACTIVATION_PRICE = -4135
    TARGET_STRATEGY = -4136
    QUANTITY_WITH_CLOSE_POSITION = -4137
    SYMBOL_NOT_OPEN = -4140
    SYMBOL_CLOSED = -4141
    ISOLATED_LEVERAGE_WITH_POSITION = -4161
    MIN_NOTIONAL = -4164
    TIME_INTERVAL = -4165
    MULTI_ASSETS_WITH_ISOLATED = -4167
    ISOLATED_WITH_MULTI_ASSETS = -4168
    MULTI_ASSETS_WITH_OPEN_ORDERS = -4170
    NO_NEED_TO_CHANGE_MULTI_ASSETS = -4171
    FOK_REJECT = -5021
    GTX_REJECT = -5022
    MODIFY_SYMBOL_STATUS = -5024
    MODIFY_ONLY_LIMIT = -5025
    MODIFY_LIMIT_EXCEEDED = -5026
    NO_NEED_TO_MODIFY = -5027
    ENGINE_RECV_WINDOW = -5028
    MODIFY_MIN_NOTIONAL = -5029
    INVALID_PRICE_MATCH = -5037
    PRICE_MATCH_ORDER_TYPE = -5038
    INVALID_SELF_TRADE_MODE = -5039
    INVALID_GOOD_TILL_DATE = -5040
    NO_DEPTH_FOR_PRICE_MATCH = -5041
    MODIFY_REDUCE_ONLY = -5047


_TABLE: Final[dict[Code, tuple[int, str]]] = {
    Code.UNKNOWN: (400, "An unknown error occurred while processing the request."),
    Code.DISCONNECTED: (503, "Internal error; unable to process your request. Please try again."),
    Code.TOO_MANY_REQUESTS: (
        429,
        "Too many requests; current limit of IP({}) is {} requests per minute. "
        "Please use the websocket for live updates to avoid polling the API.",
    ),
    Code.TIMEOUT: (
        408,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    Code.OVERLOADED: (
        503,
        "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again.",
    ),
    Code.TOO_MANY_ORDERS: (429, "Too many new orders; current limit is {} orders per {}."),
    Code.UNSUPPORTED_OPERATION: (400, "This operation is not supported."),
    Code.INVALID_TIMESTAMP: (400, "{}"),
    Code.INVALID_SIGNATURE: (400, "Signature for this request is not valid."),
    Code.ILLEGAL_CHARS: (400, "Illegal characters found in parameter '{}'; legal range is '{}'."),
    Code.TOO_MANY_PARAMETERS: (400, "{}"),
    Code.MANDATORY_PARAM: (400, "Mandatory parameter '{}' was not sent, was empty/null, or malformed."),
    Code.PARAM_NOT_REQUIRED: (400, "Parameter '{}' sent when not required."),
    Code.BAD_PRECISION: (400, "Precision is over the maximum defined for this asset."),
    Code.INVALID_TIF: (400, "Invalid timeInForce."),
    Code.INVALID_ORDER_TYPE: (400, "Invalid orderType."),
    Code.INVALID_SIDE: (400, "Invalid side."),
    Code.INVALID_INTERVAL: (400, "Invalid interval."),
    Code.BAD_SYMBOL: (400, "Invalid symbol."),
    Code.INVALID_LISTEN_KEY: (400, "This listenKey does not exist."),
    Code.OPTIONAL_PARAMS_BAD_COMBO: (400, "Combination of optional parameters invalid."),
    Code.INVALID_PARAMETER: (400, "Data sent for parameter '{}' is not valid."),
    Code.BAD_RECV_WINDOW: (400, "recvWindow must be less than 60000."),
    Code.CANCEL_REJECTED: (400, "Unknown order sent."),
    Code.NO_SUCH_ORDER: (400, "Order does not exist."),
    Code.BAD_API_KEY_FORMAT: (401, "API-key format invalid."),
    Code.REJECTED_API_KEY: (401, "Invalid API-key, IP, or permissions for action."),
    Code.MARGIN_NOT_SUFFICIENT: (400, "Margin is insufficient."),
    Code.REDUCE_ONLY_REJECT: (400, "ReduceOnly Order is rejected."),
    Code.MAX_OPEN_ORDERS: (400, "Reach max open order limit."),
    Code.PRICE_LESS_THAN_ZERO: (400, "Price less than 0."),
    Code.PRICE_ABOVE_MAX: (400, "Price greater than max price."),
    Code.QTY_NOT_ABOVE_ZERO: (400, "Quantity less than or equal to zero."),
    Code.QTY_BELOW_MIN: (400, "Quantity less than min quantity."),
    Code.QTY_ABOVE_MAX: (400, "Quantity greater than max quantity."),
    Code.PRICE_BELOW_MIN: (400, "Price less than min price."),
    Code.PRICE_NOT_ON_TICK: (400, "Price not increased by tick size."),
    Code.CLIENT_ORDER_ID_LENGTH: (400, "Client order id length should be less than 36 chars"),
    Code.PRICE_ABOVE_MULTIPLIER_UP: (400, "Limit price can't be higher than {}."),
    Code.QTY_NOT_ON_STEP: (400, "Quantity not increased by step size."),
    Code.PRICE_BELOW_MULTIPLIER_DOWN: (400, "Limit price can't be lower than {}."),
    Code.INVALID_LEVERAGE: (400, "Leverage {} is not valid"),
    Code.NO_NEED_TO_CHANGE_MODE: (400, "No need to change position side."),
    Code.INVALID_POSITION_SIDE: (400, "Invalid position side."),
    Code.POSITION_SIDE_MISMATCH: (400, "Order's position side does not match user's setting."),
    Code.MODE_CHANGE_WITH_OPEN_ORDERS: (400, "Position side cannot be changed if there exists open orders."),
    Code.MODE_CHANGE_WITH_POSITION: (400, "Position side cannot be changed if there exists position."),
    Code.HMAC_NOT_SUPPORTED: (400, "HMAC_SHA256 API key is not supported."),
    Code.BATCH_SIZE: (400, "Invalid number of batch place orders."),
    Code.DUPLICATE_CLIENT_ID: (400, "ClientOrderId is duplicated."),
    Code.USE_ALGO_ENDPOINT: (
        400,
        "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    ),
    Code.MIN_NOTIONAL: (400, "Order's notional must be no smaller than {} (unless you choose reduce only)."),
    Code.FOK_REJECT: (
        400,
        "Due to the order could not be filled immediately, the FOK order has been rejected. "
        "The order will not be recorded in the order history",
    ),
    Code.GTX_REJECT: (
        400,
        "Due to the order could not be executed as maker, the Post Only order will be rejected. "
        "The order will not be recorded in the order history",
    ),
    Code.MODIFY_ONLY_LIMIT: (400, "Only limit order is supported."),
    Code.MODIFY_LIMIT_EXCEEDED: (400, "Exceed maximum modify order limit."),
    Code.NO_NEED_TO_MODIFY: (400, "No need to modify the order."),
    Code.ENGINE_RECV_WINDOW: (400, "Timestamp for this request is outside of the ME recvWindow."),
    Code.INVALID_GOOD_TILL_DATE: (
        400,
        "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
        "and smaller than 253402300799000",
    ),
    Code.INVALID_RESP_TYPE: (400, "Invalid newOrderRespType."),
    Code.WOULD_TRIGGER: (400, "Order would immediately trigger."),
    Code.MAX_LEVERAGE_RATIO: (400, "Exceeded the maximum allowable position at current leverage."),
    Code.MIN_LEVERAGE_RATIO: (400, "Leverage is smaller than permitted: insufficient margin balance."),
    Code.STOP_PRICE_NOT_ABOVE_ZERO: (400, "Stop price less than zero."),
    Code.STOP_PRICE_ABOVE_MAX: (400, "Stop price greater than max price."),
    Code.INVALID_WORKING_TYPE: (400, "Invalid parameter working type: {}"),
    Code.CANCEL_BATCH_SIZE: (400, "Exceed maximum cancel order size."),
    Code.MAX_STOP_ORDERS: (400, "Reach max stop order limit."),
    Code.NO_NEED_TO_CHANGE_MARGIN: (400, "No need to change margin type."),
    Code.MARGIN_CHANGE_WITH_OPEN_ORDERS: (400, "Margin type cannot be changed if there exists open orders."),
    Code.MARGIN_CHANGE_WITH_POSITION: (400, "Margin type cannot be changed if there exists position."),
    Code.MARGIN_ONLY_FOR_ISOLATED: (400, "Add margin only support for isolated position."),
    Code.CROSS_BALANCE_NOT_SUFFICIENT: (400, "Cross balance insufficient."),
    Code.ISOLATED_BALANCE_NOT_SUFFICIENT: (400, "Isolated balance insufficient."),
    Code.MARGIN_WITHOUT_POSITION: (400, "Cannot add position margin: position is 0."),
    Code.AMOUNT_NOT_POSITIVE: (400, "Amount must be positive."),
    Code.REDUCE_ONLY_SUM: (400, "ReduceOnly Order Failed. Please check your existing position and open orders"),
    Code.MARKET_ORDER_REJECT: (400, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    Code.INVALID_ACTIVATION_PRICE: (400, "Invalid activation price."),
    Code.TARGET_STRATEGY: (400, "Target strategy invalid for orderType '{}',closePosition 'true'"),
    Code.QUANTITY_WITH_CLOSE_POSITION: (400, "Quantity must be zero with closePosition equals true."),
    Code.SYMBOL_NOT_OPEN: (400, "Invalid symbol status for opening position."),
    Code.SYMBOL_CLOSED: (400, "Symbol is closed."),
    Code.ISOLATED_LEVERAGE_WITH_POSITION: (
        400,
        "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    ),
    Code.TIME_INTERVAL: (400, "Maximum time interval is {} days"),
    Code.MULTI_ASSETS_WITH_ISOLATED: (
        400,
        "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode.",
    ),
    Code.ISOLATED_WITH_MULTI_ASSETS: (400, "Unable to adjust to isolated-margin mode under the Multi-Assets mode."),
    Code.MULTI_ASSETS_WITH_OPEN_ORDERS: (400, "Unable to adjust Multi-Assets Mode with open orders in USDⓈ-M Futures."),
    Code.NO_NEED_TO_CHANGE_MULTI_ASSETS: (
        400,
        "Adjusted asset mode is currently set and does not need to be adjusted repeatedly.",
    ),
    Code.MODIFY_SYMBOL_STATUS: (400, "Symbol is not in trading status. Order amendment is not permitted."),
    Code.MODIFY_MIN_NOTIONAL: (400, "Order's notional must be no smaller than {}"),
    Code.INVALID_PRICE_MATCH: (400, "Invalid price match"),
    Code.PRICE_MATCH_ORDER_TYPE: (400, "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT"),
    Code.INVALID_SELF_TRADE_MODE: (400, "Invalid self trade prevention mode"),
    Code.NO_DEPTH_FOR_PRICE_MATCH: (400, "No depth matches this BBO order"),
    Code.MODIFY_REDUCE_ONLY: (400, "The reduceOnly of a modification must be that of the order."),
}

assert set(_TABLE) == set(Code)


def refusal(code: Code, *words: object) -> VenueError:
    """Return the error to raise for a code; ``words`` fill the blanks of its message."""
    http_status, message = _TABLE[code]
    return VenueError(http_status, int(code), message.format(*words))

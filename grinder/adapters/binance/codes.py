"""Every documented error code and HTTP status, what it means, and what the caller does next: three tables.

Must never hold a rule that is not a row. A code that is not here is a refusal without further meaning; whatever the
venue documents as "execution status unknown", and the codes that lie (an order was seen placed after -1008 and after a
503 that promised failure), are in doubt.

Source: venue documentation, USDⓈ-M futures error codes and general info ("HTTP Return Codes"), 2026-05-28, with its
change log to 2026-10-23. Names are the venue's own, its spelling too; a code whose name could not be read has none.
"""

from __future__ import annotations

from typing import Final

from grinder.model.units import MS_PER_S
from grinder.model.venue import Advice

_A = Advice
_IN_DOUBT: Final = None

CODES: Final[dict[int, tuple[str, Advice | None]]] = {
    -1000: ("UNKNOWN", _IN_DOUBT),
    -1001: ("DISCONNECTED", _IN_DOUBT),
    -1002: ("UNAUTHORIZED", _A.AUTH),
    -1003: ("TOO_MANY_REQUESTS", _A.RATE_LIMIT),
    -1004: ("DUPLICATE_IP", _IN_DOUBT),
    -1005: ("NO_SUCH_IP", _A.AUTH),
    -1006: ("UNEXPECTED_RESP", _IN_DOUBT),
    -1007: ("TIMEOUT", _IN_DOUBT),
    -1008: ("SERVER_OVERLOADED", _IN_DOUBT),
    -1010: ("ERROR_MSG_RECEIVED", _IN_DOUBT),
    -1011: ("NON_WHITE_LIST", _A.AUTH),
    -1013: ("INVALID_MESSAGE", _A.FILTER),
    -1014: ("UNKNOWN_ORDER_COMPOSITION", _A.MALFORMED),
    -1015: ("TOO_MANY_ORDERS", _A.RATE_LIMIT),
    -1016: ("SERVICE_SHUTTING_DOWN", _A.OVERLOAD),
    -1020: ("UNSUPPORTED_OPERATION", _A.MALFORMED),
    -1021: ("INVALID_TIMESTAMP", _A.CLOCK),
    -1022: ("INVALID_SIGNATURE", _A.AUTH),
    -1023: ("START_TIME_GREATER_THAN_END_TIME", _A.MALFORMED),
    -1099: ("NOT_FOUND_AUTHENTICATED_OR_AUTHORIZED", _A.AUTH),
    -1100: ("ILLEGAL_CHARS", _A.MALFORMED),
    -1101: ("TOO_MANY_PARAMETERS", _A.MALFORMED),
    -1102: ("MANDATORY_PARAM_EMPTY_OR_MALFORMED", _A.MALFORMED),
    -1103: ("UNKNOWN_PARAM", _A.MALFORMED),
    -1104: ("UNREAD_PARAMETERS", _A.MALFORMED),
    -1105: ("PARAM_EMPTY", _A.MALFORMED),
    -1106: ("PARAM_NOT_REQUIRED", _A.MODE),
    -1108: ("BAD_ASSET", _A.MALFORMED),
    -1109: ("BAD_ACCOUNT", _A.AUTH),
    -1110: ("BAD_INSTRUMENT_TYPE", _A.MALFORMED),
    -1111: ("BAD_PRECISION", _A.FILTER),
    -1112: ("NO_DEPTH", _A.OTHER),
    -1113: ("WITHDRAW_NOT_NEGATIVE", _A.MALFORMED),
    -1114: ("TIF_NOT_REQUIRED", _A.MALFORMED),
    -1115: ("INVALID_TIF", _A.MALFORMED),
    -1116: ("INVALID_ORDER_TYPE", _A.MALFORMED),
    -1117: ("INVALID_SIDE", _A.MALFORMED),
    -1118: ("EMPTY_NEW_CL_ORD_ID", _A.MALFORMED),
    -1119: ("EMPTY_ORG_CL_ORD_ID", _A.MALFORMED),
    -1120: ("BAD_INTERVAL", _A.MALFORMED),
    -1121: ("BAD_SYMBOL", _A.FILTER),
    -1122: ("INVALID_SYMBOL_STATUS", _A.FILTER),
    -1125: ("INVALID_LISTEN_KEY", _A.OTHER),
    -1126: ("ASSET_NOT_SUPPORTED", _A.MALFORMED),
    -1127: ("MORE_THAN_XX_HOURS", _A.MALFORMED),
    -1128: ("OPTIONAL_PARAMS_BAD_COMBO", _A.MALFORMED),
    -1130: ("INVALID_PARAMETER", _A.MALFORMED),
    -1131: ("BAD_RECV_WINDOW", _A.MALFORMED),
    -1136: ("INVALID_NEW_ORDER_RESP_TYPE", _A.MALFORMED),
    -2010: ("NEW_ORDER_REJECTED", _A.OTHER),
    -2011: ("CANCEL_REJECTED", _A.NOT_FOUND),
    -2012: ("CANCEL_ALL_FAIL", _IN_DOUBT),
    -2013: ("NO_SUCH_ORDER", _A.NOT_FOUND),
    -2014: ("BAD_API_KEY_FMT", _A.AUTH),
    -2015: ("REJECTED_MBX_KEY", _A.AUTH),
    -2016: ("NO_TRADING_WINDOW", _A.RESTRICTED),
    -2017: ("API_KEYS_LOCKED", _A.AUTH),
    -2018: ("BALANCE_NOT_SUFFICIENT", _A.MARGIN),
    -2019: ("MARGIN_NOT_SUFFICIENT", _A.MARGIN),
    -2020: ("UNABLE_TO_FILL", _A.OTHER),
    -2021: ("ORDER_WOULD_IMMEDIATELY_TRIGGER", _A.OTHER),
    -2022: ("REDUCE_ONLY_REJECT", _A.REDUCE_ONLY),
    -2023: ("USER_IN_LIQUIDATION", _A.RESTRICTED),
    -2024: ("POSITION_NOT_SUFFICIENT", _A.MARGIN),
    -2025: ("MAX_OPEN_ORDER_EXCEEDED", _A.FILTER),
    -2026: ("REDUCE_ONLY_ORDER_TYPE_NOT_SUPPORTED", _A.REDUCE_ONLY),
    -2027: ("MAX_LEVERAGE_RATIO", _A.MARGIN),
    -2028: ("MIN_LEVERAGE_RATIO", _A.MARGIN),
    -4000: ("INVALID_ORDER_STATUS", _A.MALFORMED),
    -4001: ("PRICE_LESS_THAN_ZERO", _A.FILTER),
    -4002: ("PRICE_GREATER_THAN_MAX_PRICE", _A.FILTER),
    -4003: ("QTY_LESS_THAN_ZERO", _A.FILTER),
    -4004: ("QTY_LESS_THAN_MIN_QTY", _A.FILTER),
    -4005: ("QTY_GREATER_THAN_MAX_QTY", _A.FILTER),
    -4006: ("STOP_PRICE_LESS_THAN_ZERO", _A.FILTER),
    -4007: ("STOP_PRICE_GREATER_THAN_MAX_PRICE", _A.FILTER),
    -4012: ("MAX_NUM_ORDERS_LESS_THAN_ZERO", _A.FILTER),
    -4013: ("PRICE_LESS_THAN_MIN_PRICE", _A.FILTER),
    -4014: ("PRICE_NOT_INCREASED_BY_TICK_SIZE", _A.FILTER),
    -4015: ("INVALID_CL_ORD_ID_LEN", _A.MALFORMED),
    -4016: ("PRICE_HIGHTER_THAN_MULTIPLIER_UP", _A.FILTER),
    -4021: ("INVALID_DEPTH_LIMIT", _A.MALFORMED),
    -4022: ("WRONG_MARKET_STATUS", _A.FILTER),
    -4023: ("QTY_NOT_INCREASED_BY_STEP_SIZE", _A.FILTER),
    -4024: ("PRICE_LOWER_THAN_MULTIPLIER_DOWN", _A.FILTER),
    -4028: ("INVALID_LEVERAGE", _A.MALFORMED),
    -4031: ("INVALID_WORKING_TYPE", _A.MALFORMED),
    -4032: ("EXCEED_MAX_CANCEL_ORDER_SIZE", _A.MALFORMED),
    -4045: ("MAX_STOP_ORDER_EXCEEDED", _A.FILTER),
    -4046: ("NO_NEED_TO_CHANGE_MARGIN_TYPE", _A.OTHER),
    -4047: ("THERE_EXISTS_OPEN_ORDERS", _A.OTHER),
    -4048: ("THERE_EXISTS_QUANTITY", _A.OTHER),
    -4050: ("CROSS_BALANCE_INSUFFICIENT", _A.MARGIN),
    -4051: ("ISOLATED_BALANCE_INSUFFICIENT", _A.MARGIN),
    -4055: ("AMOUNT_MUST_BE_POSITIVE", _A.MALFORMED),
    -4056: ("INVALID_API_KEY_TYPE", _A.AUTH),
    -4057: ("INVALID_RSA_PUBLIC_KEY", _A.AUTH),
    -4059: ("NO_NEED_TO_CHANGE_POSITION_SIDE", _A.MODE),
    -4060: ("INVALID_POSITION_SIDE", _A.MODE),
    -4061: ("POSITION_SIDE_NOT_MATCH", _A.MODE),
    -4062: ("REDUCE_ONLY_CONFLICT", _A.MODE),
    -4067: ("POSITION_SIDE_CHANGE_EXISTS_OPEN_ORDERS", _A.MODE),
    -4068: ("POSITION_SIDE_CHANGE_EXISTS_QUANTITY", _A.MODE),
    -4082: ("INVALID_BATCH_PLACE_ORDER_SIZE", _A.MALFORMED),
    -4083: ("PLACE_BATCH_ORDERS_FAIL", _IN_DOUBT),
    -4084: ("UPCOMING_METHOD", _A.MALFORMED),
    -4086: ("INVALID_PRICE_SPREAD_THRESHOLD", _A.FILTER),
    -4087: ("REDUCE_ONLY_ORDER_PERMISSION", _A.RESTRICTED),
    -4088: ("NO_PLACE_ORDER_PERMISSION", _A.RESTRICTED),
    -4104: ("INVALID_CONTRACT_TYPE", _A.MALFORMED),
    -4105: ("", _A.OTHER),
    -4106: ("", _A.OTHER),
    -4107: ("", _A.OTHER),
    -4109: ("INACTIVE_ACCOUNT", _A.AUTH),
    -4114: ("INVALID_CLIENT_TRAN_ID_LEN", _A.MALFORMED),
    -4115: ("DUPLICATED_CLIENT_TRAN_ID", _A.MALFORMED),
    -4116: ("DUPLICATED_CLIENT_ORDER_ID", _A.DUPLICATE_ID),
    -4117: ("STOP_ORDER_TRIGGERING", _IN_DOUBT),
    -4118: ("REDUCE_ONLY_MARGIN_CHECK_FAILED", _A.REDUCE_ONLY),
    -4120: ("STOP_ORDER_SWITCH_ALGO", _A.MALFORMED),
    -4131: ("MARKET_ORDER_REJECT", _A.FILTER),
    -4135: ("INVALID_ACTIVATION_PRICE", _A.FILTER),
    -4137: ("QUANTITY_EXISTS_WITH_CLOSE_POSITION", _A.MALFORMED),
    -4138: ("REDUCE_ONLY_MUST_BE_TRUE", _A.MALFORMED),
    -4139: ("ORDER_TYPE_CANNOT_BE_MKT", _A.MALFORMED),
    -4140: ("INVALID_OPENING_POSITION_STATUS", _A.RESTRICTED),
    -4141: ("SYMBOL_ALREADY_CLOSED", _A.RESTRICTED),
    -4142: ("STRATEGY_INVALID_TRIGGER_PRICE", _A.FILTER),
    -4144: ("INVALID_PAIR", _A.MALFORMED),
    -4161: ("ISOLATED_LEVERAGE_REJECT_WITH_POSITION", _A.OTHER),
    -4164: ("MIN_NOTIONAL", _A.FILTER),
    -4167: ("ISOLATED_REJECT_WITH_JOINT_MARGIN", _A.MODE),
    -4168: ("JOINT_MARGIN_REJECT_WITH_ISOLATED", _A.MODE),
    -4183: ("PRICE_HIGHTER_THAN_STOP_MULTIPLIER_UP", _A.FILTER),
    -4184: ("PRICE_LOWER_THAN_STOP_MULTIPLIER_DOWN", _A.FILTER),
    -4189: ("", _A.OTHER),
    -4192: ("COOLING_OFF_PERIOD", _A.RESTRICTED),
    -4202: ("ADJUST_LEVERAGE_KYC_FAILED", _A.RESTRICTED),
    -4400: ("TRADING_QUANTITATIVE_RULE", _A.RESTRICTED),
    -4401: ("COMPLIANCE_RESTRICTION", _A.RESTRICTED),
    -4402: ("COMPLIANCE_BLACK_SYMBOL_RESTRICTION", _A.RESTRICTED),
    -4403: ("ADJUST_LEVERAGE_COMPLIANCE_FAILED", _A.RESTRICTED),
    -4531: ("POSITION_MODE_NOT_SYNCHRONISED", _A.MODE),
    -5021: ("FOK_ORDER_REJECT", _A.OTHER),
    -5022: ("GTX_ORDER_REJECT", _A.POST_ONLY),
    -5024: ("MOVE_ORDER_NOT_ALLOWED_SYMBOL_REASON", _A.RESTRICTED),
    -5025: ("LIMIT_ORDER_ONLY", _A.OTHER),
    -5026: ("EXCEED_MAXIMUM_MODIFY_ORDER_LIMIT", _A.OTHER),
    -5027: ("SAME_ORDER", _A.NOTHING_TO_AMEND),
    -5028: ("ME_RECVWINDOW_REJECT", _A.CLOCK),
    -5029: ("MODIFICATION_MIN_NOTIONAL", _A.FILTER),
    -5037: ("INVALID_PRICE_MATCH", _A.MALFORMED),
    -5038: ("UNSUPPORTED_ORDER_TYPE_PRICE_MATCH", _A.MALFORMED),
    -5039: ("INVALID_SELF_TRADE_PREVENTION_MODE", _A.MALFORMED),
    -5040: ("FUTURE_GOOD_TILL_DATE", _A.MALFORMED),
    -5041: ("BBO_ORDER_REJECT", _A.POST_ONLY),
    -5043: ("MODIFICATION_PENDING", _A.OTHER),
    -5047: ("MODIFICATION_REDUCE_ONLY", _A.REDUCE_ONLY),
}
"""Error code -> the venue's name for it, and what it means; in doubt where the advice is None."""

STATUSES: Final[dict[int, Advice | None]] = {
    403: _A.RATE_LIMIT,
    408: _IN_DOUBT,
    418: _A.BANNED,
    429: _A.RATE_LIMIT,
}
"""HTTP statuses that say it whatever the body holds: firewall, backend timeout, ban, rate limit. Every 5xx is in doubt
too, in all three forms of 503: of the two that promise failure, one has been seen with the order placed."""

RETRY_AFTER_MS_DEFAULT: Final = {403: 60 * MS_PER_S, 418: 120 * MS_PER_S, 429: 10 * MS_PER_S}
"""Wait where the venue refused for load and named no time, milliseconds: its shortest ban, its shorter window."""

IN_DOUBT_NEXT: Final = (
    "The order is in doubt: it keeps its place in the plan and is asked for by its id, after a while and several "
    "times; nothing is sent again but under the same id. A query is asked again at its next turn."
)
NEXT: Final[dict[Advice, str]] = {
    _A.NOT_FOUND: "A cancel or amend: the order is asked for. A query: the order stays in doubt until several answers "
    "over several seconds agree; only then was it never placed.",
    _A.DUPLICATE_ID: "The order exists: it is in doubt and asked for, never placed again.",
    _A.POST_ONLY: "The order is rejected. Entries of its symbol rest for a second, then are planned anew from the "
    "book.",
    _A.REDUCE_ONLY: "The order is rejected. To an exit it means that nothing is left to close, which the next look "
    "must confirm.",
    _A.NOTHING_TO_AMEND: "The amend counts as done.",
    _A.MARGIN: "The order is rejected, entries rest for a second; the same refusal again and again stops them.",
    _A.FILTER: "The order is rejected and the venue's rules are read anew at once, by the executor for its own checks "
    "and closing orders too. An exit goes on with IOC orders within its slippage cap.",
    _A.RATE_LIMIT: "Nothing but what protects is sent before the named time, by any process of the host. Too many "
    "orders: none but those before the window ends.",
    _A.BANNED: "Nothing but what protects is sent before the ban ends, by no process, not even after a restart, and "
    "that by each at most every 10 s; the order path counts as down.",
    _A.CLOCK: "The order is rejected and the venue's clock is measured anew at once; the receive window stays.",
    _A.AUTH: "The order is rejected; the same refusal again and again stops entries. An operator must look at the key.",
    _A.MODE: "The order is rejected and the position mode is asked for at once; in hedge mode no new risk is taken.",
    _A.OVERLOAD: "The order is rejected; entries rest for a second.",
    _A.RESTRICTED: "The order is rejected, the trading status is asked for and the rules are read anew at once; while "
    "a restriction holds the loop is THROTTLED.",
    _A.MALFORMED: "The order is rejected; the same refusal again and again stops entries. The fault is ours.",
    _A.OTHER: "The order is rejected; entries rest for a second; the same refusal again and again stops them.",
}
"""What follows for each kind of refusal, in the words of the page that is made of these tables."""

assert set(NEXT) == set(Advice)
assert set(RETRY_AFTER_MS_DEFAULT) == {status for status, advice in STATUSES.items() if advice is not _IN_DOUBT}

"""What a refusal by the venue means: refused for certain, or nobody knows.

One table for error codes and one for HTTP statuses. The codes that the venue documents as "execution status unknown",
and those that lie (an order was seen placed after -1008 and after a 503 that promised failure), are in doubt.

Must never guess "rejected": whatever is not known to be a refusal is in doubt.

Source: venue documentation, USDⓈ-M futures error codes and general info ("HTTP Return Codes"), 2026-05-28.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from grinder.model.units import MS_PER_S
from grinder.model.venue import Advice, InDoubt, Rejected

MESSAGE_CHARS_MAX: Final = 200
"""Most characters of a venue message that travel on."""

RETRY_AFTER_MS_MAX: Final = 3 * 24 * 3_600 * MS_PER_S
"""Longest ban the venue gives, milliseconds (3 days)."""

RETRY_AFTER_MS_DEFAULT: Final = {403: 60_000, 418: 120_000, 429: 10_000}
"""Wait where the venue refused for load and named no time, milliseconds: its shortest ban, its shorter window."""

_SECRET_LIKE: Final = re.compile(r"[0-9A-Za-z]{40,}")
"""Keys and signatures are 64 such characters; symbols, ids and numbers are not."""

_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})")

_A = Advice
_IN_DOUBT: Final = None

CODES: Final[dict[int, tuple[str, Advice | None]]] = {
    -1000: ("UNKNOWN", _IN_DOUBT),
    -1001: ("DISCONNECTED", _IN_DOUBT),
    -1002: ("UNAUTHORIZED", _A.AUTH),
    -1003: ("TOO_MANY_REQUESTS", _A.RATE_LIMIT),
    -1004: ("SERVER_BUSY", _IN_DOUBT),
    -1006: ("UNEXPECTED_RESP", _IN_DOUBT),
    -1007: ("TIMEOUT", _IN_DOUBT),
    -1008: ("SERVER_OVERLOADED", _IN_DOUBT),
    -1010: ("ERROR_MSG_RECEIVED", _IN_DOUBT),
    -1013: ("INVALID_MESSAGE", _A.FILTER),
    -1015: ("TOO_MANY_ORDERS", _A.RATE_LIMIT),
    -1016: ("SERVICE_SHUTTING_DOWN", _A.OVERLOAD),
    -1021: ("INVALID_TIMESTAMP", _A.CLOCK),
    -1022: ("INVALID_SIGNATURE", _A.AUTH),
    -1099: ("NOT_AUTHENTICATED", _A.AUTH),
    -1106: ("PARAM_NOT_REQUIRED", _A.MODE),
    -1111: ("BAD_PRECISION", _A.FILTER),
    -1125: ("INVALID_LISTEN_KEY", _A.OTHER),
    -2010: ("NEW_ORDER_REJECTED", _A.OTHER),
    -2011: ("CANCEL_REJECTED", _A.NOT_FOUND),
    -2012: ("CANCEL_ALL_FAIL", _IN_DOUBT),
    -2013: ("NO_SUCH_ORDER", _A.NOT_FOUND),
    -2014: ("BAD_API_KEY_FMT", _A.AUTH),
    -2015: ("REJECTED_MBX_KEY", _A.AUTH),
    -2018: ("BALANCE_NOT_SUFFICIENT", _A.MARGIN),
    -2019: ("MARGIN_NOT_SUFFICIENT", _A.MARGIN),
    -2021: ("ORDER_WOULD_IMMEDIATELY_TRIGGER", _A.OTHER),
    -2022: ("REDUCE_ONLY_REJECT", _A.REDUCE_ONLY),
    -2023: ("USER_IN_LIQUIDATION", _A.RESTRICTED),
    -2024: ("POSITION_NOT_SUFFICIENT", _A.MARGIN),
    -2025: ("MAX_OPEN_ORDER_EXCEEDED", _A.FILTER),
    -2026: ("REDUCE_ONLY_ORDER_TYPE_NOT_SUPPORTED", _A.REDUCE_ONLY),
    -2027: ("MAX_LEVERAGE_RATIO", _A.MARGIN),
    -2028: ("MIN_LEVERAGE_RATIO", _A.MARGIN),
    -4001: ("PRICE_LESS_THAN_ZERO", _A.FILTER),
    -4002: ("PRICE_GREATER_THAN_MAX_PRICE", _A.FILTER),
    -4003: ("QTY_LESS_THAN_ZERO", _A.FILTER),
    -4004: ("QTY_LESS_THAN_MIN_QTY", _A.FILTER),
    -4005: ("QTY_GREATER_THAN_MAX_QTY", _A.FILTER),
    -4013: ("PRICE_LESS_THAN_MIN_PRICE", _A.FILTER),
    -4014: ("PRICE_NOT_INCREASED_BY_TICK_SIZE", _A.FILTER),
    -4015: ("CLIENT_ORDER_ID_LENGTH", _A.OTHER),
    -4016: ("PRICE_HIGHER_THAN_MULTIPLIER_UP", _A.FILTER),
    -4023: ("QTY_NOT_INCREASED_BY_STEP_SIZE", _A.FILTER),
    -4024: ("PRICE_LOWER_THAN_MULTIPLIER_DOWN", _A.FILTER),
    -4046: ("NO_NEED_TO_CHANGE_MARGIN_TYPE", _A.OTHER),
    -4050: ("CROSS_BALANCE_INSUFFICIENT", _A.MARGIN),
    -4051: ("ISOLATED_BALANCE_INSUFFICIENT", _A.MARGIN),
    -4059: ("NO_NEED_TO_CHANGE_POSITION_SIDE", _A.MODE),
    -4060: ("INVALID_POSITION_SIDE", _A.MODE),
    -4061: ("POSITION_SIDE_NOT_MATCH", _A.MODE),
    -4062: ("REDUCE_ONLY_CONFLICT", _A.MODE),
    -4067: ("POSITION_SIDE_CHANGE_EXISTS_OPEN_ORDERS", _A.MODE),
    -4068: ("POSITION_SIDE_CHANGE_EXISTS_QUANTITY", _A.MODE),
    -4082: ("INVALID_BATCH_PLACE_ORDER_SIZE", _A.OTHER),
    -4087: ("REDUCE_ONLY_ORDER_PERMISSION", _A.RESTRICTED),
    -4088: ("NO_PLACE_ORDER_PERMISSION", _A.RESTRICTED),
    -4109: ("INACTIVE_ACCOUNT", _A.AUTH),
    -4116: ("DUPLICATED_CLIENT_ORDER_ID", _A.DUPLICATE_ID),
    -4118: ("REDUCE_ONLY_MARGIN_CHECK_FAILED", _A.REDUCE_ONLY),
    -4120: ("STOP_ORDER_SWITCH_ALGO", _A.OTHER),
    -4131: ("MARKET_ORDER_REJECT", _A.FILTER),
    -4140: ("INVALID_OPENING_POSITION_STATUS", _A.RESTRICTED),
    -4141: ("SYMBOL_ALREADY_CLOSED", _A.RESTRICTED),
    -4164: ("MIN_NOTIONAL", _A.FILTER),
    -4192: ("COOLING_OFF_PERIOD", _A.RESTRICTED),
    -4400: ("TRADING_QUANTITATIVE_RULE", _A.RESTRICTED),
    -4401: ("COMPLIANCE_RESTRICTION", _A.RESTRICTED),
    -4531: ("POSITION_MODE_NOT_SYNCHRONISED", _A.MODE),
    -5021: ("FOK_ORDER_REJECT", _A.OTHER),
    -5022: ("GTX_ORDER_REJECT", _A.POST_ONLY),
    -5024: ("AMEND_SYMBOL_NOT_TRADING", _A.RESTRICTED),
    -5025: ("AMEND_LIMIT_ORDER_ONLY", _A.OTHER),
    -5026: ("AMEND_LIMIT_EXCEEDED", _A.OTHER),
    -5027: ("NO_NEED_TO_MODIFY", _A.NOTHING_TO_AMEND),
    -5028: ("ME_RECVWINDOW_REJECT", _A.CLOCK),
    -5029: ("MODIFICATION_MIN_NOTIONAL", _A.FILTER),
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
"""HTTP statuses that say it whatever the body holds: firewall, backend timeout, ban, rate limit."""


class _Body(msgspec.Struct):
    code: int
    msg: str = ""


_DECODER: Final = msgspec.json.Decoder(_Body)


def read_error(body: bytes) -> tuple[int, str]:
    """Return the code and message of an error body; code 0 and an empty message where it holds none."""
    try:
        decoded = _DECODER.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return 0, ""
    return decoded.code, decoded.msg


def read_retry_after_ms(header: str | None) -> int:
    """Return a Retry-After header (whole seconds) in milliseconds, 0 if absent or unreadable, 3 days at most."""
    if header is None or not header.isascii() or not header.isdigit():
        return 0
    return min(int(header[:9]) * MS_PER_S, RETRY_AFTER_MS_MAX)


def ban_left_ms(message: str, utc_ms: int) -> int:
    """Return how long a "banned until" message still bans, milliseconds, 0 if it names no time."""
    found = _BANNED_UNTIL.search(message)
    return 0 if found is None else min(max(int(found[1]) - utc_ms, 0), RETRY_AFTER_MS_MAX)


def printable(message: str) -> str:
    """Return a venue message in one short line without anything that could be a key or a signature."""
    line = " ".join(message.split())
    return _SECRET_LIKE.sub("***", line)[:MESSAGE_CHARS_MAX]


def classify(http_status: int, code: int, message: str, retry_after_ms: int = 0) -> Rejected | InDoubt:
    """Return what a failed request means.

    Args:
        http_status: status of the HTTP reply, or of the WebSocket API reply.
        code: the venue's error code, below 0; 0 if the body held none that could be read.
        message: the venue's words; shortened and scrubbed here.
        retry_after_ms: the wait the venue asked for, 0 if it named none.

    Returns:
        Rejected only where the venue refused it for certain, else InDoubt.
    """
    name, advice = CODES.get(code, ("", Advice.OTHER if code < 0 else _IN_DOUBT))
    if http_status >= 500 or (http_status < 400 and code not in CODES):
        advice = _IN_DOUBT
    elif http_status in STATUSES and not (code in CODES and advice is _IN_DOUBT):
        advice = STATUSES[http_status]
        retry_after_ms = retry_after_ms or RETRY_AFTER_MS_DEFAULT.get(http_status, 0)
    if advice is _IN_DOUBT:
        return InDoubt(why=str(code) if code else f"http_{http_status}")
    return Rejected(
        http_status=http_status,
        code=code,
        message=printable(message) or name,
        advice=advice,
        retry_after_ms=retry_after_ms,
    )

"""What a refusal by the venue means, from the tables of ``codes``: refused for certain, or nobody knows.

Must never guess "rejected": whatever is not known to be a refusal is in doubt.

Source: venue documentation, USDⓈ-M futures error codes and general info ("HTTP Return Codes"), 2026-05-28.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from grinder.adapters.binance.codes import CODES, RETRY_AFTER_MS_DEFAULT, STATUSES
from grinder.model.units import MS_PER_S
from grinder.model.venue import Advice, InDoubt, Rejected

MESSAGE_CHARS_MAX: Final = 200
"""Most characters of a venue message that travel on."""

RETRY_AFTER_MS_MAX: Final = 3 * 24 * 3_600 * MS_PER_S
"""Longest ban the venue gives, milliseconds (3 days)."""

_SECRET_LIKE: Final = re.compile(r"[0-9A-Za-z+/%=]{40,}")
"""Keys and signatures are 64 such characters or more; symbols, ids and numbers are not."""

_CODE: Final = re.compile(r"-[0-9]{4}")
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})")


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


def advice_in(reason: str) -> Advice | None:
    """Return what the refusal means whose code a reason begins with; None where it begins with none that is known."""
    code, _, _ = reason.partition(" ")
    known = CODES.get(int(code)) if _CODE.fullmatch(code) else None
    return None if known is None else known[1]


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
    name, advice = CODES.get(code, ("", Advice.OTHER if code < 0 else None))
    if http_status >= 500 or (http_status < 400 and code not in CODES):
        advice = None
    elif http_status in STATUSES and not (code in CODES and advice is None):
        advice = STATUSES[http_status]
        retry_after_ms = retry_after_ms or RETRY_AFTER_MS_DEFAULT.get(http_status, 0)
    if advice is None:
        return InDoubt(why=str(code) if code else f"http_{http_status}")
    return Rejected(
        http_status=http_status,
        code=code,
        message=printable(message) or name,
        advice=advice,
        retry_after_ms=retry_after_ms,
    )

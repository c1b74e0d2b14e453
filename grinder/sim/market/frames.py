"""The venue's own market frames as tape events, with every text checked so that it can go out again as it came."""

from __future__ import annotations

import re
from typing import Any, Final

from grinder.sim.market.tape import Depth, Mark, Rows, Snapshot, TapeEvent, Top, Trade, plain_number

_WORD: Final = re.compile(r'^[^\s"\\]{1,40}$')


def plain_word(text: object) -> str:
    """Return a symbol, a signed rate or a word as it came.

    Raises:
        ValueError: if it could not stand in JSON as it is.
    """
    if not isinstance(text, str) or not _WORD.match(text):
        raise ValueError(f"not a plain word: {text!r}")
    return text


def rows_of(rows: list[list[str]]) -> Rows:
    """Return depth rows as they came.

    Raises:
        ValueError: if one is no pair of numbers.
    """
    return [[plain_number(price), plain_number(qty)] for price, qty in rows]


def snapshot_of(frame: dict[str, Any], symbol: str, due_ns: int, shift: int = 0) -> Snapshot:
    """Return a REST depth snapshot or a partial book as a snapshot.

    Raises:
        KeyError, TypeError, ValueError: if it is neither.
    """
    update_id = frame["lastUpdateId"] if "lastUpdateId" in frame else frame["u"]
    bids, asks = (frame["bids"], frame["asks"]) if "bids" in frame else (frame["b"], frame["a"])
    return Snapshot(due_ns, symbol, int(update_id) + shift, rows_of(bids), rows_of(asks))


def event_of(frame: dict[str, Any], due_ns: int, shift: int = 0, *, aggregates: bool = True) -> TapeEvent | None:
    """Return the event a stream frame tells, None for one that no tape plays.

    Args:
        frame: payload of a stream, without its wrapper.
        due_ns: tape time, nanoseconds.
        shift: added to every id.
        aggregates: whether aggTrade frames stand for trades.

    Raises:
        KeyError, TypeError, ValueError: if the frame is not what its ``e`` says.
    """
    kind, symbol = frame.get("e"), frame.get("s", "")
    if kind == "bookTicker":
        prices = (plain_number(frame[name]) for name in ("b", "B", "a", "A"))
        return Top(due_ns, symbol, int(frame["u"]) + shift, *prices)
    if kind == "depthUpdate":
        first, last, previous = (int(frame[name]) + shift for name in ("U", "u", "pu"))
        return Depth(due_ns, symbol, first, last, previous, rows_of(frame["b"]), rows_of(frame["a"]))
    if kind == "trade":
        price, qty, word = plain_number(frame["p"]), plain_number(frame["q"]), plain_word(frame.get("X", "MARKET"))
        return Trade(due_ns, symbol, int(frame["t"]) + shift, price, qty, bool(frame["m"]), word)
    if kind == "aggTrade" and aggregates:
        price, qty = plain_number(frame["p"]), plain_number(frame["q"])
        return Trade(due_ns, symbol, int(frame["a"]) + shift, price, qty, bool(frame["m"]), aggregate=True)
    if kind == "markPriceUpdate":
        mark, index, settle = (plain_number(frame.get(name, frame["p"])) for name in ("p", "i", "P"))
        funding = plain_word(frame.get("r") or "0")
        return Mark(due_ns, symbol, mark, index, settle, funding, int(frame.get("T", 0)))
    return None

"""The life of an order as one total table: (state, happening) -> state, checked when it is imported.

A row says where a happening takes an order from each state that it can leave; from a terminal state none does. Lookup,
documentation and tests are made from the table and from nothing else. Must never be bypassed: no code sets the state of
an order that lives.

Invariants, asserted below: every state and every happening has exactly one outcome; a terminal state is final; what
shows an end of the order at the venue ends it from every state; a failed or unanswered command never ends one; a cancel
that is on its way is never forgotten for want of an answer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.orders import TERMINAL, OrderState


class Happening(StrEnum):
    """What can happen to an order.

    *SEEN* is evidence that may be older than our last command (user stream, a query asked before it); *PROVED* was
    asked for after it. FAILED and UNCERTAIN: the command's effect must be asked for.
    """

    AMEND_SENT = "AMEND_SENT"
    CANCEL_SENT = "CANCEL_SENT"
    PLACE_CONFIRMED = "PLACE_CONFIRMED"
    PLACE_REJECTED = "PLACE_REJECTED"
    PLACE_IN_DOUBT = "PLACE_IN_DOUBT"
    PLACE_NOT_SENT = "PLACE_NOT_SENT"
    AMEND_CONFIRMED = "AMEND_CONFIRMED"
    AMEND_REFUSED = "AMEND_REFUSED"
    AMEND_UNCERTAIN = "AMEND_UNCERTAIN"
    CANCEL_CONFIRMED = "CANCEL_CONFIRMED"
    CANCEL_FAILED = "CANCEL_FAILED"
    REPLY_OVERDUE = "REPLY_OVERDUE"
    SEEN_RESTING = "SEEN_RESTING"
    PROVED_RESTING = "PROVED_RESTING"
    SEEN_AMENDED = "SEEN_AMENDED"
    SEEN_FILLED = "SEEN_FILLED"
    SEEN_CANCELED = "SEEN_CANCELED"
    SEEN_EXPIRED = "SEEN_EXPIRED"
    SEEN_REJECTED = "SEEN_REJECTED"
    NEVER_PLACED = "NEVER_PLACED"
    GONE = "GONE"


_NEW, _OPEN, _PART = OrderState.PENDING_NEW, OrderState.OPEN, OrderState.PARTIALLY_FILLED
_AMND, _CNCL, _DOUBT = OrderState.PENDING_AMEND, OrderState.PENDING_CANCEL, OrderState.IN_DOUBT
_FILLED, _GONE, _EXP = OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED
_REJ, _DENY = OrderState.REJECTED, OrderState.DENIED
_H = Happening

COLUMNS: Final = (_NEW, _OPEN, _PART, _AMND, _CNCL, _DOUBT)
"""States that an order can leave, in the order of the rows below."""

_ROWS: Final[dict[Happening, tuple[OrderState, ...]]] = {
    # from:              new      open     part     amend    cancel   doubt
    _H.AMEND_SENT:       (_NEW,    _AMND,   _AMND,   _AMND,   _CNCL,   _DOUBT),
    _H.CANCEL_SENT:      (_CNCL,   _CNCL,   _CNCL,   _CNCL,   _CNCL,   _CNCL),
    _H.PLACE_CONFIRMED:  (_OPEN,   _OPEN,   _PART,   _AMND,   _CNCL,   _DOUBT),
    _H.PLACE_REJECTED:   (_REJ,    _DOUBT,  _DOUBT,  _DOUBT,  _DOUBT,  _DOUBT),
    _H.PLACE_IN_DOUBT:   (_DOUBT,  _OPEN,   _PART,   _AMND,   _CNCL,   _DOUBT),
    _H.PLACE_NOT_SENT:   (_DENY,   _DOUBT,  _DOUBT,  _DOUBT,  _DOUBT,  _DOUBT),
    _H.AMEND_CONFIRMED:  (_NEW,    _OPEN,   _PART,   _OPEN,   _CNCL,   _DOUBT),
    _H.AMEND_REFUSED:    (_NEW,    _OPEN,   _PART,   _OPEN,   _CNCL,   _DOUBT),
    _H.AMEND_UNCERTAIN:  (_NEW,    _OPEN,   _PART,   _DOUBT,  _CNCL,   _DOUBT),
    _H.CANCEL_CONFIRMED: (_GONE,   _GONE,   _GONE,   _GONE,   _GONE,   _GONE),
    _H.CANCEL_FAILED:    (_NEW,    _OPEN,   _PART,   _AMND,   _DOUBT,  _DOUBT),
    _H.REPLY_OVERDUE:    (_DOUBT,  _OPEN,   _PART,   _DOUBT,  _DOUBT,  _DOUBT),
    _H.SEEN_RESTING:     (_OPEN,   _OPEN,   _PART,   _AMND,   _CNCL,   _DOUBT),
    _H.PROVED_RESTING:   (_OPEN,   _OPEN,   _PART,   _AMND,   _CNCL,   _OPEN),
    _H.SEEN_AMENDED:     (_OPEN,   _OPEN,   _PART,   _OPEN,   _CNCL,   _OPEN),
    _H.SEEN_FILLED:      (_FILLED, _FILLED, _FILLED, _FILLED, _FILLED, _FILLED),
    _H.SEEN_CANCELED:    (_GONE,   _GONE,   _GONE,   _GONE,   _GONE,   _GONE),
    _H.SEEN_EXPIRED:     (_EXP,    _EXP,    _EXP,    _EXP,    _EXP,    _EXP),
    _H.SEEN_REJECTED:    (_REJ,    _REJ,    _REJ,    _REJ,    _REJ,    _REJ),
    _H.NEVER_PLACED:     (_NEW,    _OPEN,   _PART,   _AMND,   _CNCL,   _REJ),
    _H.GONE:             (_NEW,    _GONE,   _GONE,   _AMND,   _CNCL,   _GONE),
}  # fmt: skip

TRANSITIONS: Final[dict[tuple[OrderState, Happening], OrderState]] = {
    **{(column, what): row[number] for what, row in _ROWS.items() for number, column in enumerate(COLUMNS)},
    **{(state, what): state for state in TERMINAL for what in Happening},
}
"""The table, total: every state with every happening. OPEN stands for PARTIALLY_FILLED where something is filled."""

ENDS_AT_VENUE: Final = {
    _H.CANCEL_CONFIRMED: _GONE,
    _H.SEEN_FILLED: _FILLED,
    _H.SEEN_CANCELED: _GONE,
    _H.SEEN_EXPIRED: _EXP,
    _H.SEEN_REJECTED: _REJ,
}
"""Happenings that show an end at the venue, and the end that they show."""

PROVES_NOTHING: Final = frozenset(
    {
        _H.AMEND_SENT,
        _H.CANCEL_SENT,
        _H.PLACE_CONFIRMED,
        _H.PLACE_IN_DOUBT,
        _H.AMEND_CONFIRMED,
        _H.AMEND_REFUSED,
        _H.AMEND_UNCERTAIN,
        _H.CANCEL_FAILED,
        _H.REPLY_OVERDUE,
        _H.SEEN_RESTING,
        _H.PROVED_RESTING,
        _H.SEEN_AMENDED,
    }
)
"""Happenings after which an order may still trade, so that none of them may end one."""

STATUS: Final[dict[str, Happening]] = {
    "NEW": _H.SEEN_RESTING,
    "PARTIALLY_FILLED": _H.SEEN_RESTING,
    "FILLED": _H.SEEN_FILLED,
    "CANCELED": _H.SEEN_CANCELED,
    "EXPIRED": _H.SEEN_EXPIRED,
    "EXPIRED_IN_MATCH": _H.SEEN_EXPIRED,
    "REJECTED": _H.SEEN_REJECTED,
}
"""Venue status words. Source: venue documentation, ORDER_TRADE_UPDATE and order status, 2026-05-28."""


class Expiry(msgspec.Struct, frozen=True):
    """Why the venue ended an order. ``word``: of ``er``; ``forced``: it took the account's position in hand."""

    word: str
    reason: str
    forced: bool = False


EXPIRIES: Final = (
    Expiry("1", "SELF_TRADE_PREVENTION"),
    Expiry("2", "IOC_REMAINDER"),
    Expiry("3", "IOC_SELF_TRADE_PREVENTION"),
    Expiry("4", "REDUCE_ONLY_KNOCKED_OUT"),
    Expiry("5", "LIQUIDATION", forced=True),
    Expiry("6", "GOOD_TILL_DATE"),
    Expiry("7", "DELISTED"),
    Expiry("8", "STOP_TRIGGERED"),
    Expiry("9", "MARKET_REMAINDER"),
)
"""Field ``er`` of ORDER_TRADE_UPDATE. Source: venue change log of 2025-10-23."""

EXPIRY_OF: Final = {expiry.word: expiry for expiry in EXPIRIES}


def expiry_reason(status: str, word: str) -> str:
    """Return why an order expired, as short text; empty where the venue gave no reason that we know."""
    known = EXPIRY_OF.get(word)
    if known is not None:
        return known.reason
    return "SELF_TRADE_PREVENTION" if status == "EXPIRED_IN_MATCH" else ""


def _check() -> None:
    """Assert the invariants of the table."""
    assert set(_ROWS) == set(Happening)
    assert all(len(row) == len(COLUMNS) for row in _ROWS.values())
    assert set(TRANSITIONS) == {(state, what) for state in OrderState for what in Happening}
    assert {*COLUMNS, *TERMINAL} == set(OrderState)
    for what, end in ENDS_AT_VENUE.items():
        assert all(TRANSITIONS[state, what] is end for state in COLUMNS)
    for what in PROVES_NOTHING:
        assert not any(TRANSITIONS[state, what] in TERMINAL for state in COLUMNS)
    for what in PROVES_NOTHING - {_H.CANCEL_FAILED, _H.REPLY_OVERDUE}:
        assert TRANSITIONS[_CNCL, what] is _CNCL
    assert len(EXPIRY_OF) == len(EXPIRIES)


_check()

_SHORT: Final = {_PART: "OPEN"}


def markdown_table() -> str:
    """Return the table in Markdown: a row per happening, a column per state that an order can leave."""
    head = ["happening", *(state.value for state in COLUMNS)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for what, row in _ROWS.items():
        cells = ["" if to is state else to.value for state, to in zip(COLUMNS, row, strict=True)]
        lines.append(f"| {' | '.join([what.value, *cells])} |")
    return "\n".join(lines)


def mermaid() -> str:
    """Return the diagram as Mermaid source, partly filled orders drawn as OPEN, ending without a newline."""
    edges: dict[tuple[str, str], list[str]] = {}
    for what, row in _ROWS.items():
        for state, to in zip(COLUMNS, row, strict=True):
            pair = (_SHORT.get(state, state.value), _SHORT.get(to, to.value))
            if pair[0] != pair[1] and what.value not in edges.setdefault(pair, []):
                edges[pair].append(what.value)
    lines = ["stateDiagram-v2", f"    [*] --> {_NEW.value}"]
    lines += [f"    {origin} --> {target}: {' / '.join(whats)}" for (origin, target), whats in edges.items()]
    return "\n".join(lines)


def order_block() -> str:
    """Return the block for ARCHITECTURE.md: the diagram, the table, why orders expire."""
    expiries = [f"| {each.word} | {each.reason} | {'yes' if each.forced else ''} |" for each in EXPIRIES]
    return "\n".join(
        (
            f"```mermaid\n{mermaid()}\n```\n",
            "An empty cell: it stays as it is. FILLED, CANCELED, EXPIRED, REJECTED and DENIED are never left.\n",
            f"{markdown_table()}\n",
            "| `er` | reason | trips the kill switch |\n|---|---|---|",
            *expiries,
        )
    )

"""The state machine of the trading loop as one total table, checked when it is imported.

A row says: in this state, when all of ``needs`` hold and none of ``forbids`` does, go there for this reason; the first
row that matches wins, and a row without a reason stays. Lookup, diagram and tests are made from the table and from
nothing else. Must never be bypassed: there is no way to force a state.

Invariants, asserted below: every state and every combination of signals has exactly one outcome; no row is dead; any
emergency signal leads to EMERGENCY from every other state and holds it there; ACTIVE is entered only with every
other signal of danger clear; all thirteen reasons are used.

Source: reference sheet 1.5, whose row numbers are kept. Changed: rows 2 to 4 also act in INIT; row 23 also needs the
operator's emergency to be released; row 20 needs HIGH not to hold.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

import msgspec

from grinder.model.control import FsmReason, FsmState

_S, _R = FsmState, FsmReason


class Signal(IntFlag):
    """What the machine looks at; each is one bit.

    ``STALE``: what decisions rest on is not to be trusted: the market data as a whole, or an account that has differed
    for a while. ``HOLD``: an operator's pause, an emergency or a streak of losses that nobody has acknowledged yet, or
    an account that differs much. ``COOLED``: the state is at least one cooldown old. ``FLAT``: the position is known
    and small, by a look that was asked for after the state was entered. ``DRAWDOWN_CLEAR``: the drawdown is known and
    below its limit, which is more than DRAWDOWN being off: unknown is neither.
    """

    NONE = 0
    KILL_SWITCH = 1
    OPERATOR_EMERGENCY = 2
    DRAWDOWN = 4
    STALE = 8
    HOLD = 16
    TOX_HIGH = 32
    TOX_MID = 64
    COOLED = 128
    FLAT = 256
    DRAWDOWN_CLEAR = 512


EMERGENCY_SIGNALS: Final = Signal.KILL_SWITCH | Signal.OPERATOR_EMERGENCY | Signal.DRAWDOWN
DANGER_SIGNALS: Final = EMERGENCY_SIGNALS | Signal.STALE | Signal.HOLD | Signal.TOX_HIGH | Signal.TOX_MID
SIGNAL_COMBINATIONS: Final = 2 * Signal.DRAWDOWN_CLEAR


class Row(msgspec.Struct, frozen=True):
    """One rule. ``number``: row of the reference's table. ``target`` and ``reason`` are None in a row that stays."""

    number: int
    origin: FsmState
    needs: Signal
    forbids: Signal
    target: FsmState | None
    reason: FsmReason | None


_STAY: Final = 0
"""Row number of the rule that closes each state: no row of the reference matched, so nothing happens."""

_TOX: Final = Signal.TOX_HIGH | Signal.TOX_MID


def _emergencies(origin: FsmState) -> tuple[Row, ...]:
    """Return rows 2, 3 and 4 for one state, most severe first."""
    return (
        Row(2, origin, Signal.KILL_SWITCH, Signal.NONE, _S.EMERGENCY, _R.KILL_SWITCH),
        Row(3, origin, Signal.OPERATOR_EMERGENCY, Signal.NONE, _S.EMERGENCY, _R.OPERATOR_EMERGENCY),
        Row(4, origin, Signal.DRAWDOWN, Signal.NONE, _S.EMERGENCY, _R.DD_BREACH),
    )


def _stay(origin: FsmState, number: int = _STAY, needs: Signal = Signal.NONE, forbids: Signal = Signal.NONE) -> Row:
    return Row(number, origin, needs, forbids, None, None)


ROWS: Final[tuple[Row, ...]] = (
    *_emergencies(_S.INIT),
    Row(1, _S.INIT, Signal.NONE, Signal.STALE, _S.READY, _R.HEALTH_OK),
    _stay(_S.INIT),
    *_emergencies(_S.READY),
    Row(5, _S.READY, Signal.STALE, Signal.NONE, _S.DEGRADED, _R.FEED_STALE),
    Row(6, _S.READY, Signal.HOLD, Signal.NONE, _S.PAUSED, _R.OPERATOR_PAUSE),
    Row(7, _S.READY, Signal.NONE, _TOX, _S.ACTIVE, _R.FEEDS_READY),
    _stay(_S.READY),
    *_emergencies(_S.ACTIVE),
    Row(8, _S.ACTIVE, Signal.STALE, Signal.NONE, _S.DEGRADED, _R.FEED_STALE),
    Row(9, _S.ACTIVE, Signal.HOLD, Signal.NONE, _S.PAUSED, _R.OPERATOR_PAUSE),
    Row(10, _S.ACTIVE, Signal.TOX_HIGH, Signal.NONE, _S.PAUSED, _R.TOX_HIGH),
    Row(11, _S.ACTIVE, Signal.TOX_MID, Signal.NONE, _S.THROTTLED, _R.TOX_MID),
    _stay(_S.ACTIVE),
    *_emergencies(_S.THROTTLED),
    Row(12, _S.THROTTLED, Signal.STALE, Signal.NONE, _S.DEGRADED, _R.FEED_STALE),
    Row(13, _S.THROTTLED, Signal.HOLD, Signal.NONE, _S.PAUSED, _R.OPERATOR_PAUSE),
    Row(14, _S.THROTTLED, Signal.TOX_HIGH, Signal.NONE, _S.PAUSED, _R.TOX_HIGH),
    Row(15, _S.THROTTLED, Signal.COOLED, _TOX, _S.ACTIVE, _R.TOX_LOW_COOLDOWN),
    _stay(_S.THROTTLED),
    *_emergencies(_S.PAUSED),
    Row(16, _S.PAUSED, Signal.STALE, Signal.NONE, _S.DEGRADED, _R.FEED_STALE),
    _stay(_S.PAUSED, 17, needs=Signal.HOLD),
    _stay(_S.PAUSED, 18, forbids=Signal.COOLED),
    Row(19, _S.PAUSED, Signal.NONE, _TOX, _S.ACTIVE, _R.TOX_LOW_COOLDOWN),
    Row(20, _S.PAUSED, Signal.TOX_MID, Signal.TOX_HIGH, _S.THROTTLED, _R.TOX_MID_COOLDOWN),
    _stay(_S.PAUSED),
    *_emergencies(_S.DEGRADED),
    _stay(_S.DEGRADED, 21, needs=Signal.STALE),
    Row(22, _S.DEGRADED, Signal.COOLED, Signal.NONE, _S.READY, _R.FEED_RECOVERED),
    _stay(_S.DEGRADED),
    Row(
        23,
        _S.EMERGENCY,
        Signal.FLAT | Signal.DRAWDOWN_CLEAR,
        EMERGENCY_SIGNALS,
        _S.PAUSED,
        _R.POSITION_REDUCED,
    ),
    _stay(_S.EMERGENCY),
)


def _lookup() -> dict[FsmState, tuple[Row, ...]]:
    """Return for each state its row per combination of signals, so that a step is two index operations."""
    table: dict[FsmState, tuple[Row, ...]] = {}
    for state in FsmState:
        # As plain integers: with flags, tens of thousands of operations made up half of the import.
        rows = [(int(row.needs), int(row.forbids), row) for row in ROWS if row.origin is state]
        table[state] = tuple(
            next(row for needs, forbids, row in rows if signals & needs == needs and not signals & forbids)
            for signals in range(SIGNAL_COMBINATIONS)
        )
    return table


LOOKUP: Final = _lookup()
"""State, then signals as an integer: the one row that applies."""


def _check() -> None:
    """Assert the invariants of the table over every state and every combination of signals."""
    emergency, danger = int(EMERGENCY_SIGNALS), int(DANGER_SIGNALS)
    used = {id(row) for rows in LOOKUP.values() for row in rows}
    assert all(id(row) in used for row in ROWS), "a row can never match"
    assert {row.reason for row in ROWS if row.reason is not None} == set(FsmReason)
    assert all((row.target is None) == (row.reason is None) for row in ROWS)
    assert all(row.target is not row.origin for row in ROWS)
    for state, rows in LOOKUP.items():
        for signals, row in enumerate(rows):
            if signals & emergency:
                assert row.target is (None if state is _S.EMERGENCY else _S.EMERGENCY)
            if row.target is _S.ACTIVE:
                assert not signals & danger


_check()


def _edges() -> dict[tuple[FsmState, FsmState], list[FsmReason]]:
    """Return the reasons of every pair of states that has a transition, in table order."""
    edges: dict[tuple[FsmState, FsmState], list[FsmReason]] = {}
    for row in ROWS:
        if row.target is not None and row.reason is not None:
            edges.setdefault((row.origin, row.target), []).append(row.reason)
    return edges


def mermaid() -> str:
    """Return the state diagram as Mermaid source, one line per pair of states, ending without a newline."""
    lines = ["stateDiagram-v2", f"    [*] --> {FsmState.INIT}"]
    lines += [f"    {origin} --> {target}: {' / '.join(reasons)}" for (origin, target), reasons in _edges().items()]
    return "\n".join(lines)


def _words(signals: Signal) -> str:
    return ", ".join(signal.name.lower().replace("_", " ") for signal in Signal if signal & signals and signal.name)


def markdown_table() -> str:
    """Return every row as a Markdown table, ending without a newline."""
    lines = ["| # | from | needs | and not | to | reason |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.number or '-'} | {row.origin} | {_words(row.needs) or '-'} | {_words(row.forbids) or '-'} "
        f"| {row.target or '(stay)'} | {row.reason or '-'} |"
        for row in ROWS
    ]
    return "\n".join(lines)


DIAGRAM_BEGIN: Final = "<!-- fsm: generated from grinder/core/fsm_table.py, do not edit -->"
DIAGRAM_END: Final = "<!-- fsm: end of the generated part -->"


def diagram_block() -> str:
    """Return the block for ARCHITECTURE.md, markers included: the diagram, then the table; no newline at the end."""
    return f"{DIAGRAM_BEGIN}\n\n```mermaid\n{mermaid()}\n```\n\n{markdown_table()}\n\n{DIAGRAM_END}"

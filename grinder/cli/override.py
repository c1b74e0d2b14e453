"""``grinder override``: pause the loop, force an emergency, or take either back; acknowledged, durable, audited.

Raising the severity needs nothing and waits for nobody, no disk either. Must never lower it without ``--ack``, or while
latched.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Final

import msgspec

from grinder.adapters.board import StateBoard
from grinder.adapters.override import (
    CODE_BITS,
    LOCK_WAIT_S_MAX,
    load_override,
    next_word,
    operator_lock,
    override_in,
    store_override,
)
from grinder.adapters.presence import alive
from grinder.cli import cluster_override
from grinder.cli.acts import (
    DURABLE_SOURCE,
    Scene,
    conclude,
    current_trip_id,
    exists,
    override_sources,
    pid,
    scene,
    started_with,
    wait_until,
    without_board,
)
from grinder.cli.beside import DISK_S_MAX, Beside
from grinder.model.board import Word
from grinder.model.control import Exit, Override, Process

ACT = "override"
SHOW: Final = "show"
_ACKS: Final = {Process.FSM: Word.OVERRIDE_ACK_FSM, Process.EXECUTOR: Word.OVERRIDE_ACK_EXECUTOR}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    words = [*Override.__members__, SHOW]
    parser.add_argument(
        "override", choices=words, type=_word, help="what to force, NONE to take it back, or show the sources"
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the file and the audit file")
    parser.add_argument("--ack", action="store_true", help="needed to lower the severity")
    parser.add_argument("--cluster", action="store_true", help="of every host of the cluster, not of this one")


def _word(text: str) -> str:
    """Return what was typed as the choices are written: who types in a hurry is understood."""
    return SHOW if text.lower() == SHOW else text.upper()


def run(arguments: argparse.Namespace) -> int:
    """Show or set; 0 acknowledged by fsm and executor, 1 refused or not acknowledged."""
    where = scene()
    if arguments.cluster and arguments.override == SHOW:
        return cluster_override.show(where)
    if arguments.cluster:
        return cluster_override.run(where, Override[arguments.override], arguments.reason, acked=arguments.ack)
    with where.board() as (board, problem):
        if arguments.override == SHOW:
            return _show(where, board, problem)
        target = Override[arguments.override]
        given = {"override": target.name, "reason": arguments.reason, "ack": str(arguments.ack)}
        change = _change(where, board, target, arguments.reason, acked=arguments.ack)
        if change.refusal:
            return conclude(where, ACT, given, Exit.GATE, f"REFUSED: {change.refusal}")
        if board is None:
            code, text = _unseen(where, problem)
        else:
            code, text = _acked(where, board, change.word >> CODE_BITS, change.written_mono_s)
        lines = [f"override {target.name} {text}"]
        if change.unsaved:
            code = Exit.GATE
            lines.append(f"NOT SAVED: {change.unsaved}; a restart of the host would lose it")
        elif board is None:
            lines.append("saved: it is in force from the next start on")
        if target < (environment := started_with(board)):
            lines.append(f"still {environment.name}: the tree was started with it; a restart without it clears it")
        return conclude(where, ACT, given, code, *lines)


class _Change(msgspec.Struct, frozen=True):
    """What came of a change.

    ``word``: of the board, 0 without one. ``read_utc_ms``: when the word before it was read, Unix milliseconds;
    ``written_mono_s``: when it was written, seconds of the monotonic clock.
    """

    word: int
    read_utc_ms: int
    written_mono_s: float
    refusal: str = ""
    unsaved: str = ""


def _change(where: Scene, board: StateBoard | None, target: Override, reason: str, *, acked: bool) -> _Change:
    """Change board and file: what does not lower the board writes there first, what does waits for the lock."""
    standing = override_in(board.read(Word.OVERRIDE)) if board is not None else Override.NONE
    if target is Override.NONE or target < standing:
        return _change_locked(where, target, reason, None, acked=acked)
    first = _write(where, board, target)
    slowly = partial(_change_locked, where, target, reason, first, acked=acked)
    # The disk may hang, and an emergency must not wait for it; the executor then hangs on it too, but obeys the board.
    return Beside(slowly).value(LOCK_WAIT_S_MAX + DISK_S_MAX) or msgspec.structs.replace(
        first, unsaved="the disk does not answer"
    )


def _change_locked(where: Scene, target: Override, reason: str, first: _Change | None, *, acked: bool) -> _Change:
    """Change board and file under the operators' lock; ``first``: what was written to the board without it."""
    with where.board() as (board, _), operator_lock(where.state_dir) as locked:
        refusal = _refusal(where, board, target, acked=acked, locked=locked)
        if refusal:
            return _refused(where, board, refusal, first)
        if first is None or (board is not None and board.read(Word.OVERRIDE) != first.word):
            first = _write(where, board, target)
        return msgspec.structs.replace(first, unsaved=_store(where, target, reason))


def _refused(where: Scene, board: StateBoard | None, refusal: str, first: _Change | None) -> _Change:
    """Return a refusal; where ours may have overwritten a severer word that came at the same moment, put it back."""
    if first is None or board is None:
        return _Change(0, 0, 0.0, refusal)
    durable = load_override(where.state_dir)
    if durable.utc_ms >= first.read_utc_ms and durable.code > override_in(board.read(Word.OVERRIDE)):
        _write(where, board, durable.code)
    return _Change(0, 0, 0.0, f"{refusal}; on the board is {override_in(board.read(Word.OVERRIDE)).name}")


def _write(where: Scene, board: StateBoard | None, target: Override) -> _Change:
    word, read_utc_ms = 0, where.clock.utc_ms()
    if board is not None:
        word = next_word(board.read(Word.OVERRIDE), target)
        board.write(Word.OVERRIDE, word)
    return _Change(word, read_utc_ms, time.monotonic())


def _refusal(where: Scene, board: StateBoard | None, target: Override, *, acked: bool, locked: bool) -> str:
    """Return why the severity may not be lowered, or an empty string; raising it is never refused."""
    durable = load_override(where.state_dir).code
    standing = max(durable, override_in(board.read(Word.OVERRIDE)) if board is not None else Override.NONE)
    if target >= standing:
        return ""
    if not acked:
        return f"this lowers {standing.name}; say that you mean it with --ack"
    trip_id = current_trip_id(where.latch_record(), board)
    # A reset is refused under EMERGENCY, so the step to PAUSE is open: it permits nothing that the latch forbids.
    if trip_id and target is not Override.PAUSE:
        return f"the kill switch is latched ({trip_id}); lower it to PAUSE at most, and clear the latch first"
    return "" if locked else "another operator's command is under way; try again"


def _store(where: Scene, override: Override, reason: str) -> str:
    try:
        store_override(where.state_dir, override, reason, where.operator.text, where.clock.utc_ms())
    except OSError as error:
        return str(error)
    return ""


def _acked(where: Scene, board: StateBoard, sequence: int, since_mono_s: float) -> tuple[Exit, str]:
    """Wait for both processes and say who answered, in the words that operators know."""
    answers, silent = [], []
    for process, ack in _ACKS.items():
        answered_it = partial(_holds, board, ack, sequence)
        took_ms = wait_until(answered_it, since_mono_s) if alive(board, process) or answered_it() else None
        if took_ms is None:
            silent.append(f"{process} {'is silent' if exists(where, process) else 'does not run'}")
        else:
            answers.append(f"{process} pid {pid(board, process)} in {took_ms:.0f} ms")
    if not silent:
        return Exit.OK, f"acked by {', '.join(answers)}"
    answered = f" (acked by {', '.join(answers)})" if answers else ""
    if not exists(where, Process.EXECUTOR):
        rests = "without it nothing is ordered or cancelled; what is open at the venue is left by `grinder exit --yes`"
        return Exit.GATE, f"NOT ACKED: {', '.join(silent)}{answered}; it stands for the next start; {rests}"
    return Exit.GATE, f"NOT ACKED: {', '.join(silent)}{answered}; to stop all new orders {where.stop_hint}"


def _unseen(where: Scene, problem: str) -> tuple[Exit, str]:
    """Say what became of a change that no board could take."""
    text, nobody = without_board(where, problem)
    return Exit.GATE, f"NOT ACKED: {text}{'' if nobody else f'; to stop all new orders {where.stop_hint}'}"


def _show(where: Scene, board: StateBoard | None, problem: str) -> int:
    """Print every source; 1 where the board of a tree that may run cannot be read."""
    lines, code = _sources(where, board), Exit.OK
    if board is None:
        text, nobody = without_board(where, problem)
        if not nobody:
            lines, code = [*lines, f"NOT KNOWN: {text}"], Exit.GATE
    print("\n".join(lines))
    return code


def _holds(board: StateBoard, word: Word, value: int) -> bool:
    return board.read(word) == value


def _sources(where: Scene, board: StateBoard | None) -> list[str]:
    """Return one line per source, and which is in force."""
    sources = override_sources(where, board)
    durable = load_override(where.state_dir)
    about = f"  {durable.reason} ({durable.who})" if durable.who or durable.reason else ""
    lines = [
        f"{name:<21} {override.name}{about if name == DURABLE_SOURCE else ''}" for name, override in sources.items()
    ]
    lines.append(f"{'in force':<21} {max(sources.values()).name}")
    if board is not None:
        sequence = board.read(Word.OVERRIDE) >> CODE_BITS
        for process, ack in _ACKS.items():
            known = "has it" if board.read(ack) == sequence else "has NOT acknowledged it"
            lines.append(f"{process.value:<21} {known if alive(board, process) else 'does not run'}")
    return lines

"""``grinder override``: pause the loop, force an emergency, or take either back; acknowledged, durable, audited.

Raising the severity needs nothing and waits for nobody. Must never lower it without ``--ack``, or while latched.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Final

from grinder.adapters.board import StateBoard
from grinder.adapters.override import CODE_BITS, load_override, next_word, operator_lock, override_in, store_override
from grinder.adapters.presence import alive
from grinder.cli import cluster_override
from grinder.cli.acts import (
    DURABLE_SOURCE,
    STOP_HINT,
    Scene,
    conclude,
    current_trip_id,
    exists,
    override_sources,
    pid,
    scene,
    wait_until,
)
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
            print("\n".join(_sources(where, board)))
            return Exit.OK
        target = Override[arguments.override]
        given = {"override": target.name, "reason": arguments.reason, "ack": str(arguments.ack)}
        with operator_lock(where.state_dir) as locked:
            refusal = _refusal(where, board, target, acked=arguments.ack, locked=locked)
            if refusal:
                return conclude(where, ACT, given, Exit.GATE, f"REFUSED: {refusal}")
            word = 0
            if board is not None:
                word = next_word(board.read(Word.OVERRIDE), target)
                board.write(Word.OVERRIDE, word)
            written_mono_s = time.monotonic()
            unsaved = _store(where, target, arguments.reason)
        code, text = (Exit.GATE, f"NOT ACKED: no tree runs here ({problem})")
        if board is not None:
            code, text = _acked(where, board, word >> CODE_BITS, written_mono_s)
        lines = [f"override {target.name} {text}"]
        if unsaved:
            code = Exit.GATE
            lines.append(f"NOT SAVED: {unsaved}; a restart of the host would lose it")
        elif board is None:
            lines.append("saved: it is in force from the next start on")
        if target < (environment := override_sources(where, board)["environment at start"]):
            lines.append(f"still {environment.name}: the tree was started with it; a restart without it clears it")
        return conclude(where, ACT, given, code, *lines)


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
    return Exit.GATE, f"NOT ACKED: {', '.join(silent)}{answered}; to stop all new orders {STOP_HINT}"


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

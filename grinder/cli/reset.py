"""``grinder reset``: clear the kill switch, once nothing demands it any more.

The executor's word and the latch file hold until every other word is clear, so the switch is never open by half. Must
never clear a trip that the operator has not named, or one that came after the look.
"""

from __future__ import annotations

import argparse
from typing import Final

from grinder.adapters.board import StateBoard, attach_process
from grinder.adapters.lock import SlotLock
from grinder.adapters.override import operator_lock
from grinder.cli.acts import (
    Scene,
    alive,
    conclude,
    current_trip_id,
    keep_evidence,
    override_sources,
    scene,
    tripped_words,
    wait_until,
)
from grinder.model.board import OPERATOR, TRIP_WORDS, WRITERS, Demand, Word, word_of
from grinder.model.control import Exit, Override, Process
from grinder.model.errors import AlreadyRunningError
from grinder.model.evidence import KillEvent, kill_file

ACT = "reset"

_DEMANDS: Final = {
    Demand.DRAWDOWN_OVER_LIMIT: "drawdown over its limit; a loss that was taken counts until the fsm is restarted",
    Demand.DRAWDOWN_UNKNOWN: "the drawdown is not known yet; wait for the account sync",
    Demand.DAY_LOSS_OVER_LIMIT: "the loss of the day is over its limit, or not known; it counts until midnight UTC",
    Demand.NOT_FLAT: "the account is not flat; close it with `grinder exit --yes`",
    Demand.POSITION_UNKNOWN: "the account's positions are not known; wait for the account sync",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--ack", required=True, metavar="TRIP_ID", help="the trip to clear, as `grinder status` shows it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Reset; 0 cleared, 1 refused or still latched."""
    where = scene()
    with where.board() as (board, _), operator_lock(where.state_dir) as locked:
        looked_mono_ns = where.clock.mono_ns()
        trip_id = current_trip_id(where.latch_record(), board)
        refusal = "" if locked else "another operator's command is under way; try again"
        if not trip_id:
            refusal = "nothing is latched"
        elif arguments.ack != trip_id:
            refusal = f"the trip is {trip_id}, not {arguments.ack}; look at `grinder status` again"
        problems = [refusal] if refusal else demands(where, board)
        if problems:
            head = f"REFUSED: {problems[0]}"
            return conclude(where, ACT, {"ack": arguments.ack}, Exit.GATE, head, *problems[1:])
        code, text = _reset(where, board, arguments.ack, looked_mono_ns)
    file = kill_file(
        KillEvent.RESET, where.latch_record(), arguments.ack, where.operator.text, where.clock.utc_ms(), text
    )
    return conclude(where, ACT, {"ack": arguments.ack}, code, text, keep_evidence(where, file))


def demands(where: Scene, board: StateBoard | None) -> list[str]:
    """Return everything that still demands the latch; an input that nobody knows demands it."""
    problems = [
        f"the override is EMERGENCY ({source}); lower it with `grinder override PAUSE --ack`"
        for source, override in override_sources(where, board).items()
        if override is Override.EMERGENCY and source != "environment at start"
    ]
    if board is None or not alive(board, Process.FSM):
        return [
            *problems,
            "the fsm does not run, so nobody knows the account; start the tree (it starts latched) first",
        ]
    if override_sources(where, board)["environment at start"] is Override.EMERGENCY:
        problems.append("the tree was started with GRINDER_OPERATOR_OVERRIDE=EMERGENCY; restart it without")
    demand = board.read(Word.RISK_DEMAND)
    if not demand & Demand.LOOKED:
        return [*problems, "the fsm has not looked at the account yet"]
    return problems + [text for flag, text in _DEMANDS.items() if demand & flag]


def _reset(where: Scene, board: StateBoard | None, trip_id: str, looked_mono_ns: int) -> tuple[Exit, str]:
    """Clear the words of all but the executor, then the file, then the executor's word."""
    assert board is not None, "demands() knows the account from the board"
    if where.latch_record().tripped and alive(board, Process.EXECUTOR):
        # Its word must hold while the others are cleared; it follows the file within a tenth of a second.
        wait_until(lambda: board.read(Word.TRIP_EXECUTOR) != 0)
    operator_code = board.read(Word.TRIP_OPERATOR)
    board.write(Word.RESET_MONO_NS, looked_mono_ns)
    board.write(Word.TRIP_OPERATOR, 0)
    others = tuple(word for word in TRIP_WORDS if word is not Word.TRIP_EXECUTOR)
    _clear_of_the_dead(where, board, others)
    if wait_until(lambda: not any(board.read(word) for word in others)) is None:
        left = _names(board, others)
        _put_back(board, operator_code)
        return Exit.GATE, f"STILL LATCHED: {left} did not clear, or tripped again"
    record = where.latch_record()
    if record.tripped:
        try:
            record = where.latch.clear(trip_id, where.operator.text, "reset", where.clock.utc_ms())
        except OSError as error:
            _put_back(board, operator_code)
            return Exit.GATE, f"STILL LATCHED: the latch file was not written ({error.strerror})"
    if record.tripped:
        _put_back(board, operator_code)
        return Exit.GATE, f"STILL LATCHED: tripped again meanwhile ({record.trip_id}); look at `grinder status`"
    _clear_of_the_dead(where, board, (Word.TRIP_EXECUTOR,))
    took_ms = wait_until(lambda: not tripped_words(board))
    if took_ms is None:
        return (
            Exit.GATE,
            f"STILL LATCHED: {_names(board, TRIP_WORDS)} did not clear, or tripped again; look at `grinder status`",
        )
    return Exit.OK, f"cleared trip {trip_id}; after an emergency the loop waits in PAUSED for `grinder resume --ack`"


def _put_back(board: StateBoard, operator_code: int) -> None:
    """Trip the operator's word again if it was; a trip that came meanwhile is not touched."""
    if operator_code:
        board.write(Word.TRIP_OPERATOR, operator_code)


def _clear_of_the_dead(where: Scene, board: StateBoard, words: tuple[Word, ...]) -> None:
    """Clear the words whose process is down, in its place: its slot is held meanwhile, so it cannot start."""
    run_dir = where.settings.run_dir
    for word in words:
        process = WRITERS[word]
        if process is OPERATOR or not board.read(word) or alive(board, process):
            continue
        try:
            slot = SlotLock(run_dir / f"{process}.lock", str(process))
        except (AlreadyRunningError, OSError):
            continue
        try:
            own = attach_process(run_dir, process, ())
            own.write(word_of("TRIP", process), 0)
            own.close()
        finally:
            slot.release()


def _names(board: StateBoard, words: tuple[Word, ...]) -> str:
    return ", ".join(word.name.removeprefix("TRIP_").lower() for word in words if board.read(word))

"""``grinder resume``: acknowledge an emergency, so that the loop may leave PAUSED. Must never end it by itself."""

from __future__ import annotations

import argparse

from grinder.adapters.board import StateBoard
from grinder.adapters.presence import alive
from grinder.cli.acts import Scene, conclude, current_trip_id, override_sources, pid, scene, wait_until
from grinder.model.board import Word
from grinder.model.control import Exit, FsmState, Override, Process

ACT = "resume"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--ack", action="store_true", required=True, help="you have looked, and the loop may trade again"
    )


def run(arguments: argparse.Namespace) -> int:
    """Acknowledge; 0 taken by the fsm, 1 refused or not answered."""
    where = scene()
    with where.board() as (board, problem):
        refusal = problem if board is None else _refusal(where, board)
        if board is None or refusal:
            return conclude(where, ACT, {}, Exit.GATE, f"REFUSED: {refusal}")
        board.write(Word.RESUME_COUNT, board.read(Word.RESUME_COUNT) + 1)
        took_ms = wait_until(lambda: board.read(Word.AWAITING_RESUME) == 0)
        who = f"fsm pid {pid(board, Process.FSM)}"
        if took_ms is None:
            return conclude(where, ACT, {}, Exit.GATE, f"NOT ACKED: {who} still waits; look at `grinder status`")
        text = (
            f"acked by {who} in {took_ms:.0f} ms; it trades again when its cooldown is over and nothing else holds it"
        )
        return conclude(where, ACT, {}, Exit.OK, text)


def _refusal(where: Scene, board: StateBoard) -> str:
    """Return why there is nothing to acknowledge, or why it is too early."""
    if not alive(board, Process.FSM):
        return f"the fsm {where.how_to_bring_back(Process.FSM)}"
    if not board.read(Word.AWAITING_RESUME):
        return "the loop does not wait for an acknowledgement"
    if trip_id := current_trip_id(where.latch_record(), board):
        return f"the kill switch is latched ({trip_id}); clear it first with `grinder reset --ack {trip_id}`"
    override = max(override_sources(where, board).values())
    if override is Override.EMERGENCY:
        return "the override is EMERGENCY; lower it first with `grinder override NONE --ack`"
    if board.read(Word.FSM_STATE) == list(FsmState).index(FsmState.EMERGENCY) + 1:
        return "the loop is still in EMERGENCY: positions or drawdown hold it; look at `grinder status`"
    return ""

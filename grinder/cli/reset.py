"""``grinder reset``: clear the kill switch, once nothing demands it any more.

Must never clear a trip that the operator has not named, or one that came after the look.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from grinder.adapters.board import StateBoard
from grinder.adapters.host_reset import HostReset
from grinder.adapters.override import operator_lock
from grinder.adapters.presence import alive
from grinder.cli import cluster_reset
from grinder.cli.acts import (
    CLUSTER_SOURCE,
    Scene,
    conclude,
    current_trip_id,
    keep_evidence,
    override_sources,
    scene,
    wait_until,
)
from grinder.core.cluster_reset import demanded
from grinder.model.board import Word
from grinder.model.control import Exit, Override, Process
from grinder.model.evidence import KillEvent, kill_file
from grinder.model.latch import ClearStage

ACT = "reset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--ack", required=True, metavar="TRIP_ID", help="the trip to clear, as `grinder status` shows it"
    )
    parser.add_argument("--cluster", action="store_true", help="clear the cluster from any host that reaches etcd")


def run(arguments: argparse.Namespace) -> int:
    """Reset; 0 cleared, 1 refused or still latched."""
    where = scene()
    if arguments.cluster or where.settings.ha_enabled:
        return cluster_reset.run(where, arguments.ack)
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
        f"the override is EMERGENCY ({source}); lower it with `grinder override PAUSE --ack"
        f"{' --cluster' if source == CLUSTER_SOURCE else ''}`"
        for source, override in override_sources(where, board).items()
        if override is Override.EMERGENCY and source != "environment at start"
    ]
    if board is None or not alive(board, Process.FSM):
        how = where.how_to_bring_back(Process.FSM)
        return [*problems, f"nobody knows the account: the fsm {how}; it starts latched"]
    if override_sources(where, board)["environment at start"] is Override.EMERGENCY:
        problems.append("the tree was started with GRINDER_OPERATOR_OVERRIDE=EMERGENCY; restart it without")
    return problems + demanded(board.read(Word.RISK_DEMAND))


def _reset(where: Scene, board: StateBoard | None, trip_id: str, looked_mono_ns: int) -> tuple[Exit, str]:
    """Clear this host, and say how that ended."""
    assert board is not None, "demands() knows the account from the board"
    reset = HostReset(where.settings.run_dir, where.latch, where.clock, where.operator.text, _holds_in_time)
    stage, problem = reset.clear(board, trip_id, looked_mono_ns)
    if stage is not ClearStage.CLEARED:
        return Exit.GATE, f"STILL LATCHED: {problem}"
    return Exit.OK, f"cleared trip {trip_id}; after an emergency the loop waits in PAUSED for `grinder resume --ack`"


def _holds_in_time(condition: Callable[[], bool]) -> bool:
    return wait_until(condition) is not None

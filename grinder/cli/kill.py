"""``grinder kill``: trip the kill switch now. The board first, then the file, then the cluster; then see who obeyed.

Must work with dead processes, without a tree, and on a disk that is full or hangs; must wait for nobody before it
tripped this host, and never call latched what no tree will look at.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from typing import Final

import msgspec

from grinder.adapters.board import StateBoard
from grinder.adapters.latch import LATCH_FILE, never_used
from grinder.adapters.presence import alive
from grinder.adapters.state_link import STATE_LINK
from grinder.cli.acts import (
    BOARD_TRIP_ID,
    Scene,
    conclude,
    exists,
    keep_evidence,
    pid,
    scene,
    wait_until,
    without_board,
)
from grinder.cli.beside import Beside
from grinder.cli.cluster import Reach, reach
from grinder.model.board import Word
from grinder.model.cluster import NoAnswer, TripRecord
from grinder.model.control import PERMISSIONS, TRIP_CODES, Exit, FsmState, Process, RiskIntent, TripReason
from grinder.model.evidence import KillEvent, kill_file
from grinder.model.latch import LatchRecord

ACT = "kill"
_RANDOM_BYTES: Final = 4


class Tripped(msgspec.Struct, frozen=True):
    """What came of a trip of this host.

    ``durable``: it is in the latch file of a tree. ``record``: what that file says now; None: its disk did not answer.
    """

    lines: tuple[str, ...]
    durable: bool
    record: LatchRecord | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--reason", required=True, metavar="TEXT", help="why; kept in the latch file and the audit file"
    )
    parser.add_argument(
        "--cluster", action="store_true", help="trip the cluster and nothing here; from any host that reaches etcd"
    )


def run(arguments: argparse.Namespace) -> int:
    """Trip; 0 latched durably and obeyed by everybody who lives, 1 not confirmed."""
    where = scene()
    if arguments.cluster:
        return _run_for_cluster(where, arguments.reason)
    began_mono_s = time.monotonic()
    tripped = trip_host(where, arguments.reason)
    lines, confirmed = _follow_up(where, arguments.reason, tripped, began_mono_s)
    head = "LATCHED" if confirmed else f"NOT CONFIRMED: {where.stop_hint}"
    lines.append(kill_evidence(where, tripped, head, *lines))
    return conclude(where, ACT, {"reason": arguments.reason}, Exit.OK if confirmed else Exit.GATE, head, *lines)


def _run_for_cluster(where: Scene, reason: str) -> int:
    """Trip the cluster and nothing here."""
    trip_id = f"operator-{TripReason.MANUAL}-{os.urandom(_RANDOM_BYTES).hex()}"
    about = LatchRecord(0, True, TripReason.MANUAL, where.operator.text, reason, where.clock.utc_ms(), trip_id)
    with reach(where.settings) as cluster:
        told, line = cluster.tell_trip(_trip_record(where, about, node=os.uname().nodename))
        lines, confirmed = _reactions_there(cluster) if told else ([], False)
    head = "LATCHED" if confirmed else "NOT CONFIRMED: on each host say `grinder kill`, or `grinder stop`"
    file = kill_file(KillEvent.KILL, about, trip_id, about.who, about.utc_ms, "; ".join((head, line, *lines)))
    code = Exit.OK if confirmed else Exit.GATE
    given = {"reason": reason, "cluster": "True"}
    return conclude(where, ACT, given, code, head, line, *lines, keep_evidence(where, file))


def _follow_up(where: Scene, reason: str, tripped: Tripped, began_mono_s: float) -> tuple[list[str], bool]:
    """Tell the cluster and see who obeyed; return what was seen, and whether it is as it should be."""
    lines = list(tripped.lines)
    if not where.settings.ha_enabled:
        reactions, obeyed = _reactions_here(where, tripped, began_mono_s)
        return lines + reactions, tripped.durable and obeyed
    # Not at the top: it brings logging along, and the board is tripped without it.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as beside:
        telling = beside.submit(_tell, where, _own_trip(where, reason, tripped))
        reactions, obeyed = _reactions_here(where, tripped, began_mono_s)
        told, line = telling.result()
    lines += [line, *reactions]
    if told:
        with reach(where.settings) as cluster:
            nodes, latched = _reactions_there(cluster)
        return lines + nodes, tripped.durable and obeyed and latched
    lives = exists(where, Process.EXECUTOR)
    lines.append("the executor goes on trying" if lives else "nobody here goes on trying: say `grinder kill` again")
    return lines, False


def tell_cluster(where: Scene, reason: str, tripped: Tripped) -> list[str]:
    """Trip the cluster, if this host belongs to one, and wait for no host of it; return lines for people."""
    return [_tell(where, _own_trip(where, reason, tripped))[1]] if where.settings.ha_enabled else []


def _tell(where: Scene, record: LatchRecord) -> tuple[bool, str]:
    with reach(where.settings) as cluster:
        return cluster.tell_trip(_trip_record(where, record))


def kill_evidence(where: Scene, tripped: Tripped, *outcome: str) -> str:
    """Keep evidence of a trip by this operator; return where it is, or why there is none."""
    record = tripped.record
    file = kill_file(
        KillEvent.KILL,
        _unwritten(where, "") if record is None else record,
        record.trip_id if record is not None and record.tripped else BOARD_TRIP_ID,
        where.operator.text,
        where.clock.utc_ms(),
        "; ".join(outcome),
    )
    return keep_evidence(where, file)


def trip_now(where: Scene, reason: str) -> list[str]:
    """Trip on the board and in the file as far as they are there, and wait for nobody; return lines for people."""
    return list(trip_host(where, reason).lines)


def trip_host(where: Scene, reason: str) -> Tripped:
    """Trip on the board and in the file as far as they are there; a disk that hangs is given up after DISK_S_MAX."""
    on_board = trip_board(where)
    tripped = Beside(partial(_trip_file, where, reason)).value()
    # Once more: a reset may have been under way, or a tree may have started since the first try.
    on_board = trip_board(where) or on_board
    if tripped is None:
        text = "the latch file was NOT written (the disk does not answer): a restart of the host would clear this trip"
        return Tripped((text,), durable=False, record=None)
    if on_board or _is_of_a_tree(where):
        return tripped
    stray = (
        f"no tree has ever used {where.state_dir.absolute()}, and none runs in {where.settings.run_dir}: one elsewhere "
        "was NOT tripped; give this shell the GRINDER_STATE_DIR and GRINDER_RUN_DIR of its settings, and try again"
    )
    return Tripped((*tripped.lines, stray), durable=False, record=tripped.record)


def trip_board(where: Scene) -> bool:
    """Trip on the board; return whether there is one."""
    with where.board() as (board, _):
        if board is not None:
            board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
        return board is not None


def _is_of_a_tree(where: Scene) -> bool:
    """Tell whether a tree runs, or has run, with this state directory."""
    try:
        linked = (where.settings.run_dir / STATE_LINK).is_dir()
    except OSError:
        linked = True
    return linked or not never_used(where.state_dir)


def _trip_file(where: Scene, reason: str) -> Tripped:
    try:
        record = where.latch.trip(TripReason.MANUAL, where.operator.text, reason, where.clock.utc_ms(), again=True)
    except OSError as error:
        text = f"the latch file was NOT written ({error.strerror}): a restart of the host would clear this trip"
        return Tripped((text,), durable=False, record=where.latch_record())
    path = where.latch.folder.absolute() / LATCH_FILE
    text = f"trip {record.trip_id} is in {path}; clear it with: grinder reset --ack {record.trip_id}"
    return Tripped((text,), durable=True, record=record)


def _own_trip(where: Scene, reason: str, tripped: Tripped) -> LatchRecord:
    """Return what this host's latch file says, under a name of its own where it could not be written."""
    record = tripped.record
    if record is not None and record.tripped and record.name and record.reason is not TripReason.CLUSTER:
        return msgspec.structs.replace(record, who=where.operator.text, detail=reason)
    return _unwritten(where, reason, f"{where.settings.node_id}-{TripReason.MANUAL}-{os.urandom(_RANDOM_BYTES).hex()}")


def _unwritten(where: Scene, reason: str, name: str = "") -> LatchRecord:
    """Return a trip that no latch file is known to hold."""
    return LatchRecord(0, True, TripReason.MANUAL, where.operator.text, reason, where.clock.utc_ms(), name)


def _trip_record(where: Scene, record: LatchRecord, *, node: str = "") -> TripRecord:
    """Return what the cluster is told of a trip of this host, or of the ``node`` that is given."""
    return TripRecord(
        record.trip_id, node or where.settings.node_id, record.reason, record.who, record.detail, "", record.utc_ms
    )


def _reactions_there(cluster: Reach) -> tuple[list[str], bool]:
    """Wait until every living host of the cluster has latched."""
    view = cluster.read()
    if isinstance(view, NoAnswer):
        return [f"the hosts' answers are not known ({view.why})"], False
    if not view.nodes:
        return ["no host of the cluster lives; one that starts will find the latch"], True
    return cluster.follow(view.nodes, lambda node: bool(node.trip_id), "has latched")


def _reactions_here(where: Scene, tripped: Tripped, since_mono_s: float) -> tuple[list[str], bool]:
    with where.board() as (board, problem):
        if board is None:
            text, nobody = without_board(where, problem)
            return [f"{text}; one that starts will find the latch" if nobody and tripped.durable else text], nobody
        return _reactions(where, board, since_mono_s)


def _reactions(where: Scene, board: StateBoard, since_mono_s: float) -> tuple[list[str], bool]:
    """Wait for the executor and the fsm, each if it lives; return what they did, and whether that is enough."""
    lines, good = [], True
    for process, obeys, what in (
        (Process.EXECUTOR, _executor_latched, "has latched"),
        (Process.FSM, _fsm_in_emergency, "is in EMERGENCY"),
    ):
        if not alive(board, process) and not exists(where, process):
            lines.append(f"{process} does not run")
            continue
        took_ms = wait_until(partial(obeys, board), since_mono_s) if alive(board, process) else None
        if took_ms is not None:
            lines.append(f"{process} pid {pid(board, process)} {what}, seen after {took_ms:.0f} ms")
        elif process is Process.FSM and not _may_increase(board):
            lines.append(f"fsm pid {pid(board, process)} is not in EMERGENCY, but permits no new risk")
        else:
            lines.append(f"{process} pid {pid(board, process)} did NOT answer")
            good = False
    return lines, good


def _executor_latched(board: StateBoard) -> bool:
    return board.read(Word.TRIP_EXECUTOR) != 0


def _state(board: StateBoard) -> FsmState | None:
    states, number = tuple(FsmState), board.read(Word.FSM_STATE)
    return states[number - 1] if 0 < number <= len(states) else None


def _fsm_in_emergency(board: StateBoard) -> bool:
    return _state(board) is FsmState.EMERGENCY


def _may_increase(board: StateBoard) -> bool:
    state = _state(board)
    return state is not None and RiskIntent.INCREASE_RISK in PERMISSIONS[state]

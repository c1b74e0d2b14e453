"""``grinder status``: what the board, supervisord and ``/readyz`` say, each on its own, so that none hides another.

Must never change anything.
"""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request
from typing import Any, Final

import msgspec

from grinder.adapters.board import StateBoard, attach_reader
from grinder.adapters.supervisor_client import SupervisorClient, SupervisorError
from grinder.cli.acts import Scene, current_trip_id, exists, override_sources, scene_of
from grinder.cli.cluster import ClusterStatus, cluster_status, status_lines
from grinder.cli.host import lenient_settings, print_json
from grinder.cli.rollback import lines as rollback_lines
from grinder.cli.rollback import standing
from grinder.core.interlocks import ROLE_ACTIVE, override_of
from grinder.core.rollback import Criterion
from grinder.model.board import TRIP_WORDS, Word, word_of
from grinder.model.control import TREE, TRIP_CODES, Exit, FsmState, Override, Process, TripReason
from grinder.model.errors import BoardError
from grinder.model.units import NS_PER_MS, NS_PER_S
from grinder.ports import Board
from grinder.services.readiness import is_alive
from grinder.services.standing import HaStanding, ha_standing
from grinder.services.venue_stop import venue_stop
from grinder.settings import Settings

ANSWER_TIMEOUT_S: Final = 2.0
_ANSWER_BYTES_MAX: Final = 1 << 20

STOPPED: Final = "stopped"
"""What the last heartbeat of an orderly stop says."""

_REASONS: Final = {code: reason for reason, code in TRIP_CODES.items()}


class ProcessStatus(msgspec.Struct, frozen=True):
    """One process as the board shows it. ``not_ready_reason``: its own words, empty when ready or unknown."""

    alive: bool
    ready: bool
    pid: int
    starts: int
    heartbeat_age_ms: int | None
    not_ready_reason: str


class BoardStatus(msgspec.Struct, frozen=True):
    """What the board shows. ``trips``: writer to reason, for each that is tripped. ``ha``: the role in words.

    ``term``, ``*_left_s``: of the lease of the cluster's leader and of its permit for new risk, 0 where this is not it.
    ``venue``: what it makes this host wait for, and how long; empty: nothing. ``exit_errors``: failed emergency exits.
    """

    fsm_state: str
    fsm_state_age_s: float | None
    role: str
    override: str
    executor_ready: bool
    trips: dict[str, str]
    processes: dict[str, ProcessStatus]
    awaiting_resume: bool = False
    ha: str = ""
    term: int = 0
    lease_left_s: float = 0.0
    permit_left_s: float = 0.0
    cluster_permission: str = ""
    venue: str = ""
    exit_errors: int = 0


class LatchStatus(msgspec.Struct, frozen=True):
    """The kill switch, board and file together. ``trip_id``: for `grinder reset --ack`, empty when clear."""

    trip_id: str
    reason: str
    who: str
    detail: str
    utc_ms: int


class Status(msgspec.Struct, frozen=True):
    """Everything there is to see. A part that could not be had is None, and its error says why.

    ``present``: a process of the tree holds its slot, or nobody can tell.
    """

    ready: bool
    reasons: tuple[str, ...]
    board: BoardStatus | None
    board_error: str
    programs: dict[str, str] | None
    supervisor_error: str
    readyz: Any
    readyz_error: str
    latch: LatchStatus
    overrides: dict[str, str]
    present: bool
    rollback: tuple[Criterion, ...]
    cluster: ClusterStatus | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Show the status; 0 ready, 1 something runs but is not ready, 2 nothing runs here."""
    status = collect(lenient_settings())
    if arguments.json:
        print_json(status)
    else:
        print("\n".join(lines_of(status)))
    return exit_code(status)


def exit_code(status: Status) -> int:
    """Return 0 where the tree is ready, 1 where something runs but is not ready, 2 where nothing runs here."""
    if status.ready:
        return Exit.OK
    return Exit.GATE if _runs(status) else Exit.FAILURE


def collect(settings: Settings) -> Status:
    """Return the status of this host's tree, asking each source on its own."""
    where = scene_of(settings)
    board, board_error, latch, overrides = _board(where)
    programs, supervisor_error = _programs(settings)
    readyz, readyz_error = answer_of(settings, "readyz")
    ready = bool(readyz and readyz.get("ready"))
    reasons = tuple(str(reason) for reason in (readyz or {}).get("reasons", ()))
    tripped = True if latch.trip_id else None if board is None else False
    fsm_lives = board is not None and board.processes[Process.FSM.value].alive
    state, age_s = (board.fsm_state, board.fsm_state_age_s) if board is not None and fsm_lives else ("", None)
    return Status(
        ready=ready and board is not None and not latch.trip_id,
        reasons=reasons,
        board=board,
        board_error=board_error,
        programs=programs,
        supervisor_error=supervisor_error,
        readyz=readyz,
        readyz_error=readyz_error,
        latch=latch,
        overrides=overrides,
        present=any(exists(where, process) for process in TREE),
        rollback=standing(settings, tripped, state, age_s, board.exit_errors if board is not None else 0),
        cluster=cluster_status(settings) if settings.ha_enabled else None,
    )


def _runs(status: Status) -> bool:
    alive = status.board is not None and any(process.alive for process in status.board.processes.values())
    return alive or status.present or status.programs is not None or status.readyz is not None


def _board(where: Scene) -> tuple[BoardStatus | None, str, LatchStatus, dict[str, str]]:
    """Return what the board shows, and what board and files say together of latch and override."""
    try:
        board = attach_reader(where.settings.run_dir, where.settings.symbols)
    except (BoardError, OSError) as error:
        return None, str(error), _latch(where, None), _overrides(where, None)
    try:
        return (
            read_board(board, where.clock.mono_ns(), where.clock.boot_ns()),
            "",
            _latch(where, board),
            _overrides(where, board),
        )
    finally:
        board.close()


def _latch(where: Scene, board: StateBoard | None) -> LatchStatus:
    record = where.latch_record()
    trip_id = current_trip_id(record, board)
    if not record.tripped:
        return LatchStatus(trip_id, "", "", "", 0)
    return LatchStatus(trip_id, record.reason, record.who, record.detail, record.utc_ms)


def _overrides(where: Scene, board: StateBoard | None) -> dict[str, str]:
    return {source: override.name for source, override in override_sources(where, board).items()}


def read_board(board: Board, now_mono_ns: int, now_boot_ns: int) -> BoardStatus:
    """Return what a board shows at this moment of both clocks; an unknown code is shown at its worst."""
    states = tuple(FsmState)
    state, since = board.read(Word.FSM_STATE), board.read(Word.FSM_STATE_SINCE_MONO_NS)
    standing = _standing(board, now_mono_ns, now_boot_ns)
    trips = {
        word.name.removeprefix("TRIP_").lower(): str(_REASONS.get(board.read(word), TripReason.ERROR))
        for word in TRIP_WORDS
        if board.read(word)
    }
    return BoardStatus(
        fsm_state=str(states[state - 1]) if 0 < state <= len(states) else "UNKNOWN",
        fsm_state_age_s=round((now_mono_ns - since) / NS_PER_S, 1) if since else None,
        role=standing.role.value,
        override=override_of(board.read(Word.OVERRIDE), board.read(Word.CLUSTER_OVERRIDE)).name,
        executor_ready=board.read(Word.EXECUTOR_READY) == 1,
        trips=trips,
        processes={process.value: _process(board, process, now_mono_ns) for process in TREE},
        awaiting_resume=board.read(Word.AWAITING_RESUME) != 0,
        ha=standing.words,
        term=standing.term,
        lease_left_s=round(standing.lease_left_s, 2),
        permit_left_s=round(standing.permit_left_s, 2),
        cluster_permission=standing.permission if standing.enabled else "",
        venue=venue_stop(board, now_boot_ns).words,
        exit_errors=board.read(Word.EXIT_ERRORS),
    )


def _standing(board: Board, now_mono_ns: int, now_boot_ns: int) -> HaStanding:
    """Return what the host is in its cluster. A host that acts without a deadline is alone: no setting is asked."""
    alone = board.read(Word.ROLE) == ROLE_ACTIVE and not board.read(Word.LEAD_DEADLINE_BOOT_NS)
    executor = _process(board, Process.EXECUTOR, now_mono_ns)
    says = executor.not_ready_reason if executor.alive else None
    return ha_standing(board, now_boot_ns, ha_enabled=not alone, executor_says=says)


def _process(board: Board, process: Process, now_mono_ns: int) -> ProcessStatus:
    beat = board.read(word_of("HEARTBEAT", process))
    record = board.heartbeat(process)
    reason = record.not_ready_reason if record is not None else ""
    alive = is_alive(beat, now_mono_ns) and reason != STOPPED
    return ProcessStatus(
        alive=alive,
        ready=alive and record is not None and record.ready,
        pid=board.read(word_of("PID", process)),
        starts=board.read(word_of("STARTS", process)),
        heartbeat_age_ms=(now_mono_ns - beat) // NS_PER_MS if beat else None,
        not_ready_reason=reason,
    )


def _programs(settings: Settings) -> tuple[dict[str, str] | None, str]:
    try:
        programs = SupervisorClient(settings.run_dir).programs()
    except SupervisorError as error:
        return None, str(error)
    return {program.name: f"{program.state} {program.description}".strip() for program in programs}, ""


def answer_of(settings: Settings, path: str) -> tuple[Any, str]:
    """Return the JSON object that the metrics process gives at a path, whatever its status, and why there is none."""
    host = f"[{settings.metrics_host}]" if ":" in settings.metrics_host else settings.metrics_host
    url = f"http://{host}:{settings.metrics_port}/{path}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        try:
            with opener.open(url, timeout=ANSWER_TIMEOUT_S) as answer:
                body = answer.read(_ANSWER_BYTES_MAX)
        except urllib.error.HTTPError as answer:
            body = answer.read(_ANSWER_BYTES_MAX)
        value = msgspec.json.decode(body)
    except (OSError, ValueError) as error:
        return None, f"no answer from {url}: {error}"
    return (value, "") if isinstance(value, dict) else (None, f"{url} answers something else")


def lines_of(status: Status) -> list[str]:
    """Return the status as lines for people."""
    lines = ["ready" if status.ready else "NOT READY" if _runs(status) else "NOT READY: no tree runs here"]
    lines += [f"  {reason}" for reason in status.reasons]
    lines += [f"  {error}" for error in (status.readyz_error, status.supervisor_error, status.board_error) if error]
    lines += _held(status)
    lines += status_lines(status.cluster) if status.cluster is not None else []
    lines += rollback_lines(status.rollback)
    board = status.board
    if board is not None:
        age = "" if board.fsm_state_age_s is None else f" for {board.fsm_state_age_s} s"
        tripped = ", ".join(f"{reason} by {writer}" for writer, reason in board.trips.items())
        lines += [
            f"state {board.fsm_state}{age}, override {board.override}, role {board.role}, "
            f"executor {'ready' if board.executor_ready else 'not ready'}",
            f"ha {_ha_line(board)}",
            f"kill switch {_switch(tripped, status.latch)}",
        ]
        lines += [f"venue {board.venue}"] if board.venue else []
        for name, process in board.processes.items():
            program = (status.programs or {}).get(name, "")
            lines.append(f"{name:<9} {_process_line(process)}{'  [' + program + ']' if program else ''}")
    beside = set(status.programs or {}) - set(board.processes if board is not None else {})
    lines += [f"{name:<9} [{(status.programs or {})[name]}]" for name in sorted(beside)]
    return lines


def _held(status: Status) -> list[str]:
    """Return what holds the loop back until an operator acts, with the command for it."""
    latch, lines = status.latch, []
    if latch.trip_id:
        about = f" {latch.reason} by {latch.who}: {latch.detail}".rstrip(": ") if latch.reason else ""
        lines.append(f"  latched: trip {latch.trip_id}{about}; `grinder reset --ack {latch.trip_id}`")
    forced = [
        f"{override} ({source})" for source, override in status.overrides.items() if override != Override.NONE.name
    ]
    if forced:
        lines.append(f"  overridden: {', '.join(forced)}; `grinder override NONE --ack`")
    if status.board is not None and status.board.awaiting_resume:
        lines.append("  after an emergency: waits for `grinder resume --ack`")
    if status.ready and not lines and status.board is not None and status.board.fsm_state == FsmState.PAUSED:
        lines.append("  paused: goes on by itself when its cooldown is over and the market is quiet")
    return lines


def _switch(tripped: str, latch: LatchStatus) -> str:
    """Return how the switch stands: clear only where board and file both say so."""
    if tripped:
        return f"TRIPPED: {tripped}"
    return "TRIPPED in the latch file" if latch.trip_id else "clear"


def _ha_line(board: BoardStatus) -> str:
    if not board.cluster_permission:
        return board.ha
    left = f", lease {board.lease_left_s} s left, permit {board.permit_left_s} s" if board.term else ""
    return f"{board.ha}{left}; cluster's permission {board.cluster_permission}"


def _process_line(process: ProcessStatus) -> str:
    if process.heartbeat_age_ms is None:
        return "never started"
    down = "stopped" if process.not_ready_reason == STOPPED else "DEAD"
    word = "ready" if process.ready else "not ready" if process.alive else down
    reason = f": {process.not_ready_reason}" if process.not_ready_reason and process.alive else ""
    return f"{word:<9} pid {process.pid}, heartbeat {process.heartbeat_age_ms} ms ago, starts {process.starts}{reason}"

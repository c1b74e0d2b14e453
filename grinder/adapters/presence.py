"""Who is there: whether a process of this host's tree lives, from the board. Must never wait for an answer."""

from __future__ import annotations

from grinder.adapters.board import StateBoard
from grinder.adapters.clock import SystemClock
from grinder.model.board import word_of
from grinder.model.control import Process
from grinder.services.readiness import is_alive


def alive(board: StateBoard, process: Process) -> bool:
    """Tell whether a process of the tree beats; one that stopped in order does not."""
    now = SystemClock().mono_ns()
    beat = board.heartbeat(process)
    stopped = beat is not None and beat.not_ready_reason == "stopped"
    return is_alive(board.read(word_of("HEARTBEAT", process)), now) and not stopped

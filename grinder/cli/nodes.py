"""What several trees on this machine look like side by side, for a person who watches them.

Reads boards and status pages alone. Must never change anything, nor wait for long.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from grinder.adapters.board import attach_reader
from grinder.adapters.scrape import fetch
from grinder.cli.host import padded
from grinder.cli.status import read_board
from grinder.model.board import Word
from grinder.model.control import HaRole, Process
from grinder.model.errors import BoardError
from grinder.model.units import NS_PER_S
from grinder.ports import Board, Clock

DOWN: Final = "down"
_HEAD: Final = ("node", "role", "term", "loop", "lead s", "risk s", "orders", "not ready because")


class Seat(msgspec.Struct, frozen=True):
    """Where a node is found: its name, run folder, and the port of its pages on 127.0.0.1."""

    name: str
    run_dir: Path
    metrics_port: int


class NodeLook(msgspec.Struct, frozen=True):
    """One node at one moment. ``lead_left_s``, ``risk_left_s``: how long it may lead and take risk, 0 or less: not.

    ``orders``: how many of its orders rest, None where nobody says. ``awaits_resume``: an operator, after an emergency.
    ``why``: what keeps it from being ready.
    """

    name: str
    role: str
    term: int = 0
    loop: str = ""
    lead_left_s: float = 0.0
    risk_left_s: float = 0.0
    orders: int | None = None
    awaits_resume: bool = False
    why: tuple[str, ...] = ()

    @property
    def leads(self) -> bool:
        """Whether it may act for the account now, by its own board."""
        return self.role == HaRole.ACTIVE and self.lead_left_s > 0

    @property
    def facts(self) -> tuple[object, ...]:
        """What is worth a line of its own when it changes."""
        return self.name, self.role, self.term, self.loop


def look_at(seat: Seat, clock: Clock) -> NodeLook:
    """Return what one node looks like now."""
    try:
        board = attach_reader(seat.run_dir)
    except (BoardError, OSError) as error:
        return NodeLook(seat.name, DOWN, why=(str(error),))
    try:
        return _look(seat, board, clock)
    finally:
        board.close()


def table(looks: Sequence[NodeLook], width: int) -> list[str]:
    """Return a head line and one line per node, none longer than ``width`` characters."""
    return [line[:width].rstrip() for line in padded([_HEAD, *(_row(look) for look in looks)])]


def _look(seat: Seat, board: Board, clock: Clock) -> NodeLook:
    seen = read_board(board, clock.mono_ns(), clock.boot_ns())
    if not seen.processes[Process.EXECUTOR].alive:
        return NodeLook(seat.name, DOWN, board.read(Word.TERM), why=("executor: does not run",))
    page = _status(seat.metrics_port)
    now_boot_ns = clock.boot_ns()
    return NodeLook(
        name=seat.name,
        role=seen.role,
        term=board.read(Word.TERM),
        loop=seen.fsm_state,
        lead_left_s=(board.read(Word.LEAD_DEADLINE_BOOT_NS) - now_boot_ns) / NS_PER_S,
        risk_left_s=(board.read(Word.RISK_DEADLINE_BOOT_NS) - now_boot_ns) / NS_PER_S,
        orders=None if page is None else len(page["orders"]),
        awaits_resume=seen.awaiting_resume,
        why=("metrics: does not answer",) if page is None else _first_of_all_its_role(page["ready"]["reasons"]),
    )


def _first_of_all_its_role(reasons: list[str]) -> tuple[str, ...]:
    return tuple(sorted(reasons, key=lambda reason: not reason.startswith("ha:")))


def _status(port: int) -> dict[str, Any] | None:
    body = fetch("127.0.0.1", port, "/status.json")
    return None if body is None else msgspec.json.decode(body, type=dict[str, Any])


def _row(look: NodeLook) -> tuple[str, ...]:
    return (
        look.name,
        look.role,
        str(look.term or ""),
        look.loop,
        _seconds(look.lead_left_s),
        _seconds(look.risk_left_s),
        "" if look.orders is None else str(look.orders),
        "; ".join(look.why),
    )


def _seconds(left_s: float) -> str:
    return f"{left_s:.1f}" if left_s > 0 else ""

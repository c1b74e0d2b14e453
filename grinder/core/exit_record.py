"""What an emergency exit found, sent and left behind, and the evidence of it: the same for the executor and for
``grinder exit``.

Must never carry a secret, and never call an exit a success that the machine did not prove.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from grinder.core.closing import Dust
from grinder.core.emergency import Exit, Result, Step
from grinder.model.account import OpenOrder, Position
from grinder.model.conditional import ConditionalOrder
from grinder.model.evidence import EvidenceFile
from grinder.model.limits import EXIT_ORDERS_RECORDED_MAX
from grinder.model.venue import PlaceOrder, Rejected, VenueReply

EXIT_FOLDER: Final = "exit"
"""Folder of the exits below the artifact directory."""

EXIT_ARTIFACT_VERSION: Final = "exit_evidence_v1"
TIMEOUT: Final = "timeout"
"""In place of a result: nobody waited any longer."""


class ExitReport(msgspec.Struct, frozen=True):
    """How an exit went so far. ``found_*``: the first looks that were answered; ``left_*``: the last ones; None: no
    answer. ``cancelled``, ``closed``: proved gone, over all attempts. ``sent``: the newest closing orders, each with
    what the venue said to it. ``left_unreadable``: rows that could not be read, of the looks of the last
    attempt that ended or of this one, whichever are more. ``left_dust``: what no order closes of what the last attempt
    that ended has left.
    """

    result: Result | None
    attempts: int
    cancelled: int
    closed: int
    found_orders: tuple[OpenOrder, ...] | None
    found_conditional: tuple[ConditionalOrder, ...] | None
    found_positions: tuple[Position, ...] | None
    left_orders: tuple[OpenOrder, ...] | None
    left_conditional: tuple[ConditionalOrder, ...] | None
    left_positions: tuple[Position, ...] | None
    sent: tuple[tuple[str, str], ...]
    left_unreadable: int = 0
    left_dust: tuple[Dust, ...] = ()


class ExitRecord:
    """Follows one exit, step by step."""

    def __init__(self, began_utc_ms: int) -> None:
        """``began_utc_ms``: when it was demanded, Unix milliseconds."""
        self.began_utc_ms = began_utc_ms
        self._exit = Exit()
        self._result: Result | None = None
        self._attempts = self._cancelled = self._closed = self._unreadable = 0
        self._found_orders: tuple[OpenOrder, ...] | None = None
        self._found_conditional: tuple[ConditionalOrder, ...] | None = None
        self._found_positions: tuple[Position, ...] | None = None
        self._dust: tuple[Dust, ...] = ()
        self._sent: deque[tuple[str, str]] = deque(maxlen=EXIT_ORDERS_RECORDED_MAX)

    def stepped(self, step: Step) -> None:
        """Take one step of the machine."""
        self._exit = step.exit
        if self._found_orders is None:
            self._found_orders = step.exit.orders
        if self._found_conditional is None:
            self._found_conditional = step.exit.conditional
        if self._found_positions is None:
            self._found_positions = step.exit.positions
        if step.result is not None:
            self._result = step.result
            self._attempts += 1
            self._cancelled += step.cancelled
            self._closed += step.closed
            self._unreadable = step.exit.unreadable
            self._dust = step.dust

    def answered(self, request: PlaceOrder, reply: VenueReply) -> str:
        """Take what the venue said to a closing order; return it as one line."""
        order = f"{request.order_type} {request.side} {request.qty} {request.symbol} {request.client_order_id}"
        why = f" {reply.code}: {reply.message}" if isinstance(reply, Rejected) else ""
        answer = f"{type(reply).__name__}{why}"
        self._sent.append((order, answer))
        return f"sent {order}: {answer}"

    def report(self) -> ExitReport:
        """Return how it went so far."""
        return ExitReport(
            self._result,
            self._attempts,
            self._cancelled,
            self._closed,
            self._found_orders,
            self._found_conditional,
            self._found_positions,
            self._exit.orders,
            self._exit.conditional,
            self._exit.positions,
            tuple(self._sent),
            max(self._exit.unreadable, self._unreadable),
            self._dust,
        )


def exit_file(report: ExitReport, who: str, reason: str, began_utc_ms: int, ended_utc_ms: int) -> EvidenceFile:
    """Return the evidence of an exit.

    Args:
        report: how it went.
        who: the process or the operator who ran it.
        reason: what demanded it.
        began_utc_ms: when it was demanded, Unix milliseconds.
        ended_utc_ms: when the attempt ended that this tells of, Unix milliseconds.

    Source: reference sheet 8 (names, sorted keys, two spaces), 4.3 (``triggered_at_ms`` to ``success``).
    """
    result = TIMEOUT if report.result is None else report.result.value
    value = {
        "artifact_version": EXIT_ARTIFACT_VERSION,
        "ts_ms": ended_utc_ms,
        "triggered_at_ms": began_utc_ms,
        "who": who,
        "reason": reason,
        "result": result,
        "success": report.result is Result.SUCCESS,
        "attempts": report.attempts,
        "orders_cancelled": report.cancelled,
        "positions_closed": report.closed,
        "positions_remaining": None if report.left_positions is None else len(report.left_positions),
        "found": _three(report.found_orders, report.found_conditional, report.found_positions),
        "left": _three(report.left_orders, report.left_conditional, report.left_positions),
        "dust": _rows(report.left_dust),
        "rows_unreadable": report.left_unreadable,
        "sent": [{"order": order, "answer": answer} for order, answer in report.sent],
    }
    text = msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode() + "\n"
    return EvidenceFile(EXIT_FOLDER, f"exit_{ended_utc_ms}_{result}.json", text)


def _three(
    orders: Sequence[OpenOrder] | None, conditional: Sequence[ConditionalOrder] | None, held: Sequence[Position] | None
) -> dict[str, list[dict[str, object]] | None]:
    """Return what a look showed, field by field; None: it was not answered."""
    return {"orders": _rows(orders), "conditional_orders": _rows(conditional), "positions": _rows(held)}


def _rows(items: Sequence[msgspec.Struct] | None) -> list[dict[str, object]] | None:
    return None if items is None else [msgspec.structs.asdict(item) for item in items]

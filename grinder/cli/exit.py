"""``grinder exit``: leave the market alone. Cancel everything, close everything, prove it, with nothing else running.

The kill switch is tripped meanwhile, so that a tree that still runs does not order anew: its word on the board at once;
latch file, cluster, evidence and audit beside the exit. Refuses only words it cannot parse, a missing key and a missing
``--yes``. Must never wait for a disk, a tree or a cluster before its first request, nor call flat what is not proved.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Final

from grinder.cli.acts import Scene, conclude, keep_evidence, scene_of
from grinder.cli.beside import Beside
from grinder.cli.host import positive_seconds
from grinder.cli.kill import kill_evidence, tell_cluster, trip_board, trip_host
from grinder.core.emergency import Result
from grinder.core.exit_record import ExitReport, exit_file
from grinder.model.control import Exit
from grinder.settings import add_flags, explain, flag_values, read_secret_file

ACT = "exit"
TIMEOUT_S: Final = 300.0
REASON: Final = "operator_command"
WHY: Final = "grinder exit"
"""Reason of the trip."""

BOARD_S_MAX: Final = 0.25
"""Longest wait for the board before the first request, seconds: it is memory, but its folder may be put on a disk."""

LATCH_S_MAX: Final = 12.0
"""Longest wait for latch file, cluster and evidence of the trip once the exit is over, seconds: each is bounded."""

NO_KEY: Final = (
    "there is no BINANCE_API_KEY with BINANCE_API_SECRET; give this shell the settings the tree was started with "
    "(BINANCE_API_KEY_FILE and BINANCE_API_SECRET_FILE may name files; for a paper tree GRINDER_TRADING_MODE=paper)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, and every option of run_trading: what the tree was started with says which account it is."""
    parser.add_argument("--yes", action="store_true", help="do it; without, only show what would be done")
    parser.add_argument(
        "--timeout-s", type=positive_seconds, default=TIMEOUT_S, metavar="S", help="give up after this, seconds"
    )
    add_flags(parser.add_argument_group("options of run_trading"))


def run(arguments: argparse.Namespace) -> int:
    """Leave; 0 flat and no order open, 1 refused, 2 not proved in time, or dust is left that no order closes."""
    environ = os.environ | flag_values(arguments)
    _, problems, settings = explain(environ, read_file=read_secret_file)
    for problem in problems:
        print(f"note: {problem}", flush=True)
    where = scene_of(settings)
    given = {"venue": settings.venue_rest_url, "yes": str(arguments.yes)}
    if not settings.binance_api_key or not settings.binance_api_secret:
        return conclude(where, ACT, given, Exit.GATE, f"REFUSED: {NO_KEY}")
    if not arguments.yes:
        text = f"would cancel every order and close every position of the account at {settings.venue_rest_url}"
        return conclude(where, ACT, given, Exit.GATE, f"{text}; say --yes to do it")
    print(f"leaving the market at {settings.venue_rest_url}", flush=True)
    Beside(partial(trip_board, where)).value(BOARD_S_MAX)
    # From here on beside the exit: a disk that hangs also holds up the executor, and then this is the last way out.
    begun = Beside(partial(where.audit, ACT, given, None, ""))
    latched = Beside(partial(_latch, where))
    began_utc_ms = where.clock.utc_ms()
    # Not at the top: what speaks to the venue takes longer to load than all else, and the board is tripped without it.
    from grinder.cli.leave import leave

    outcome = leave(where, arguments.timeout_s)
    code, text = _verdict(outcome)
    print(text, flush=True)
    evidence = Beside(partial(_evidence, where, outcome, began_utc_ms))
    lines = latched.value(LATCH_S_MAX) or ["NOT KNOWN whether the kill switch is latched: `grinder kill` says it"]
    begun.value()
    return conclude(where, ACT, given, code, *lines, evidence.value() or "no evidence was written", printed=(text,))


def _latch(where: Scene) -> list[str]:
    """Trip the kill switch of this host and of its cluster, and keep evidence of it; return lines for people."""
    tripped = trip_host(where, WHY)
    lines = [*tripped.lines, *tell_cluster(where, WHY, tripped)]
    return [*lines, kill_evidence(where, tripped, *lines)]


def _verdict(outcome: ExitReport) -> tuple[Exit, str]:
    if outcome.result is Result.SUCCESS:
        return Exit.OK, (
            f"FLAT: no position and no open order; {outcome.cancelled} orders cancelled, "
            f"{outcome.closed} positions closed"
        )
    dust = "; ".join(each.text for each in outcome.left_dust)
    if outcome.result is Result.DUST:
        return Exit.FAILURE, (
            f"NOT FLAT: left is {dust}, which no order closes; no order is open and every other position is closed; "
            f"close it on the venue's own page"
        )
    looked = outcome.left_orders is not None and outcome.left_conditional is not None
    orders = len((outcome.left_orders or ()) + (outcome.left_conditional or ())) if looked else "unknown"
    positions = "unknown" if outcome.left_positions is None else len(outcome.left_positions)
    rows = f", unreadable rows {outcome.left_unreadable}" if outcome.left_unreadable else ""
    small = f", of which no order closes {dust}" if dust else ""
    text = f"NOT PROVED FLAT: orders left {orders}, positions left {positions}{small}{rows}; go to the venue's own page"
    return Exit.FAILURE, text


def _evidence(where: Scene, outcome: ExitReport, began_utc_ms: int) -> str:
    """Write the evidence with its checksum; return where it is, or why there is none."""
    file = exit_file(outcome, where.operator.text, REASON, began_utc_ms, where.clock.utc_ms())
    return keep_evidence(where, file)

"""The front door: checks settings and guards, runs the supervised tree in the foreground, stops it in order.

Exit codes: 0 stopped as asked, 1 a setting or guard is wrong (nothing was started), 2 failure, 75 already running.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import procs
from grinder.adapters.scrape import fetch, totals
from grinder.adapters.tree import Tree
from grinder.model.control import ExchangePort, Exit
from grinder.model.errors import AlreadyRunningError, BoardError, SettingsError
from grinder.settings import Settings, build_parser, flag_values, load, missing_files, notes, read_secret_file
from grinder.settings.endpoints import MAINNET, TESTNET
from grinder.sim.wire.assembly import VenueConfig, open_tape
from procs._boot import prepare_directories

CONFIGURATION: Final = Path(__file__).parent.parent / "conf" / "supervisord.conf"
BANNER: Final = "GRINDER TRADING LOOP"
_POLL_S: Final = 0.2
READY_S: Final = 15.0
"""Time after which somebody who waits for the loop to be ready is told where to look, seconds."""
COUNT_S_MAX: Final = 5.0
"""Longest wait for the number of ticks while the tree stops, seconds: the page ends after the executor."""
_NETS: Final = {MAINNET.rest_url: "mainnet", TESTNET.rest_url: "testnet"}


def main(arguments: list[str] | None = None) -> int:
    """Run the trading loop until it is told to stop; return the exit code."""
    try:
        flags = build_parser("run_trading", __doc__ or "").parse_args(arguments)
        environ = {**os.environ, **flag_values(flags)}
        settings = load(environ, read_file=read_secret_file)
        if problems := missing_files(settings):
            raise SettingsError(problems)
        said = (*notes(settings), *tape_notes(settings))
        prepare_directories(settings)
    except SettingsError as error:
        return _refused(Exit.GATE, *error.problems)
    tree = Tree(CONFIGURATION, settings, environ)
    _say(boot_line(settings), *port_lines(settings), *(f"NOTE {note}" for note in said))
    try:
        tree.start()
    except SettingsError as error:
        return _refused(Exit.GATE, *error.problems)
    except AlreadyRunningError as error:
        return _refused(Exit.ALREADY_RUNNING, str(error))
    except (BoardError, OSError) as error:
        return _refused(Exit.FAILURE, str(error))
    return _watch(tree, settings)


def boot_line(settings: Settings) -> str:
    """Return the line that says what runs, in the words operators grep for."""
    net = "simulated" if settings.venue_embedded else _NETS.get(settings.venue_rest_url, "custom")
    return (
        f"{BANNER} | mode={settings.trading_mode} symbols={','.join(settings.symbols)} port={settings.exchange_port}"
        f" armed={settings.armed} ha={settings.ha_enabled} net={net} max_notional={settings.max_notional_per_order}"
    )


def tape_notes(settings: Settings) -> tuple[str, ...]:
    """Return what the embedded venue's market will not give, for people.

    Raises:
        SettingsError: if its recording holds nothing to play.
    """
    if not settings.venue_embedded:
        return ()
    found = []
    if settings.fixture:
        found.append(
            f"--fixture feeds the loop alone: the simulated venue plays GRINDER_SIM_TAPE={settings.sim_tape}, and"
            " orders at other prices will be blocked; to trade a recording, set GRINDER_SIM_TAPE to it"
        )
    try:
        tape = open_tape(VenueConfig(tape=settings.sim_tape, symbols=settings.symbols))
    except SettingsError as error:
        raise SettingsError(tuple(f"GRINDER_SIM_TAPE: {problem}" for problem in error.problems)) from error
    held = {rules.symbol for rules in tape.rules}
    if lacking := [symbol for symbol in settings.symbols if symbol not in held]:
        found.append(
            f"GRINDER_SIM_TAPE holds {','.join(sorted(held))} only: {','.join(lacking)} will be stale, and /readyz 503;"
            f" --symbols {','.join(sorted(held))} trades what it holds"
        )
    return tuple(found)


def port_lines(settings: Settings) -> tuple[str, ...]:
    """Return the line that says that every gate of the real port is open; none for the other port."""
    if settings.exchange_port is not ExchangePort.FUTURES:
        return ()
    return (
        f"FUTURES_PORT_CONFIG_OK max_orders_per_run={settings.max_orders_per_run}"
        f" max_notional_per_order={settings.max_notional_per_order}",
    )


def _watch(tree: Tree, settings: Settings) -> int:
    """Wait for a stop signal, the end of the duration, or the end of supervisord; then stop the tree."""
    _say(
        f"{BANNER} running. Press Ctrl+C to stop.",
        f"  status   http://{settings.metrics_host}:{settings.metrics_port}/",
        f"  control  supervisorctl -s unix://{settings.run_dir.absolute()}/supervisor.sock status",
        f"  logs     {settings.log_dir.absolute()}",
    )
    where = (settings.metrics_host, settings.metrics_port)
    started_mono_s = time.monotonic()
    ready = told = False
    while tree.exit_code is None and not procs.stop_requested():
        if settings.duration_s and time.monotonic() - started_mono_s >= settings.duration_s:
            break
        if not ready and fetch(*where, "/readyz") is not None:
            ready = True
            offset_s = totals(*where).get("grinder_venue_clock_offset_seconds", 0.0)
            _say(f"CLOCK_OFFSET_MS={round(offset_s * 1_000)}", "/readyz now returning 200")
        if not ready and not told and time.monotonic() - started_mono_s >= READY_S:
            told = True
            _say(f"/readyz does not return 200 after {READY_S:.0f} s; `grinder status` says why")
        time.sleep(_POLL_S)
    # Beside the stop, which waits for no number. After `grinder stop` nobody answers any more: better none than a wrong
    # one.
    with ThreadPoolExecutor(1) as beside:
        counted = beside.submit(totals, *where, COUNT_S_MAX)
        if tree.exit_code is None:
            _say(f"{BANNER} stopping: the executor first, then the rest.")
        code = tree.stop()
    ticks = counted.result().get("grinder_ticks_received_total")
    if code != Exit.OK:
        return _refused(
            Exit.FAILURE, f"supervisord ended with {code}; see {settings.log_dir.absolute()}/supervisord.log"
        )
    _say(f"Trading loop stopped. Total ticks: {'unknown' if ticks is None else f'{ticks:.0f}'}", f"{BANNER} stopped.")
    return Exit.OK


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


def _refused(code: Exit, *problems: str) -> Exit:
    for problem in problems:
        print(f"{BANNER} FATAL: {problem}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())

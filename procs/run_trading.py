"""The front door: checks settings and guards, runs the supervised tree in the foreground, stops it in order.

Exit codes: 0 stopped as asked, 1 a setting or guard is wrong (nothing was started), 2 failure, 75 already running.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from pathlib import Path
from typing import Final

import procs
from grinder.adapters.tree import Tree
from grinder.model.control import Exit
from grinder.model.errors import AlreadyRunningError, BoardError, SettingsError
from grinder.settings import Settings, build_parser, flag_values, load, missing_files, notes, read_secret_file
from grinder.sim.wire.assembly import VenueConfig, open_tape
from procs._boot import prepare_directories

CONFIGURATION: Final = Path(__file__).parent.parent / "conf" / "supervisord.conf"
BANNER: Final = "GRINDER TRADING LOOP"
_POLL_S: Final = 0.2
_ANSWER_S: Final = 0.5
_HTTP_OK: Final = 200


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
    _say(boot_line(settings), *(f"NOTE {note}" for note in said))
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
    net = "simulated" if settings.venue_embedded else "mainnet" if settings.mainnet else "testnet"
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


def _watch(tree: Tree, settings: Settings) -> int:
    """Wait for a stop signal, the end of the duration, or the end of supervisord; then stop the tree."""
    _say(
        f"{BANNER} running. Press Ctrl+C to stop.",
        f"  status   http://{settings.metrics_host}:{settings.metrics_port}/",
        f"  control  supervisorctl -s unix://{settings.run_dir.absolute()}/supervisor.sock status",
        f"  logs     {settings.log_dir.absolute()}",
    )
    started_mono_s = time.monotonic()
    ready = False
    while tree.exit_code is None and not procs.stop_requested():
        if settings.duration_s and time.monotonic() - started_mono_s >= settings.duration_s:
            break
        if not ready and _ready(settings):
            ready = True
            _say("/readyz now returning 200")
        time.sleep(_POLL_S)
    if tree.exit_code is None:
        _say(f"{BANNER} stopping: the executor first, then the rest.")
    code = tree.stop()
    if code != Exit.OK:
        return _refused(
            Exit.FAILURE, f"supervisord ended with {code}; see {settings.log_dir.absolute()}/supervisord.log"
        )
    _say(f"{BANNER} stopped.")
    return Exit.OK


def _ready(settings: Settings) -> bool:
    """Tell whether /readyz answers 200 now."""
    connection = http.client.HTTPConnection(settings.metrics_host, settings.metrics_port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == _HTTP_OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


def _refused(code: Exit, *problems: str) -> Exit:
    for problem in problems:
        print(f"{BANNER} FATAL: {problem}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())

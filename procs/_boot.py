"""The start of every process: signals, settings, slot, board, log, bus; and the end of it with the right exit code.

Holds the one broad except of the project: a crash is logged with its traceback and ends the process with 2. Must never
start a second instance, or one with settings that are wrong.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import procs
from grinder.adapters.board import attach_process
from grinder.adapters.bus import Bus
from grinder.adapters.clock import SystemClock
from grinder.adapters.crash_loop import StartLog
from grinder.adapters.evidence_writer import EvidenceWriter
from grinder.adapters.journal_files import NO_ROOM
from grinder.adapters.latch import host_latch
from grinder.adapters.latch_watch import LatchWatch
from grinder.adapters.lock import LOOK_S_MAX, SlotLock
from grinder.adapters.log import EventLog
from grinder.adapters.override import restore_override
from grinder.adapters.parent import end_with_supervisor
from grinder.adapters.runtime import Boot
from grinder.adapters.state_link import link_state_dir
from grinder.adapters.telemetry import Recorder
from grinder.model.board import Word, word_of
from grinder.model.control import TRIP_CODES, Exit, Override, Process, TripReason
from grinder.model.errors import AlreadyRunningError, BoardError, SettingsError
from grinder.model.units import NS_PER_S
from grinder.settings import Settings, load, read_secret_file

_held: list[SlotLock] = []
"""Slot locks of this process, kept until it ends: the kernel gives them back."""


def run(process: Process, serve: Callable[[Boot], None]) -> NoReturn:
    """Boot, serve until stopped, and exit: 0 stopped, 2 crashed, 75 already running, 78 settings wrong."""
    booted: Boot | None = None
    code = Exit.OK
    try:
        booted = boot(process)
        serve(booted)
    except SettingsError as error:
        code = Exit.CONFIGURATION
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
    except Exception:
        code = Exit.FAILURE
        trace = traceback.format_exc()
        sys.stderr.write(f"GRINDER {process} FATAL\n{trace}")
        if booted is not None:
            booted.log.event("CRASHED", traceback=trace)
    if booted is not None:
        booted.close()
        if code is Exit.OK:
            StartLog(booted.settings.run_dir, process).end()
    sys.exit(code)


def boot(process: Process) -> Boot:
    """Return this process, booted from its environment.

    Raises:
        SystemExit: 75 if it is running already, 78 if its settings, directories or board are wrong; said on stderr.
    """
    if not __debug__:
        _refuse(Exit.CONFIGURATION, "python -O turns the assertions off; start it without")
    procs.remember_stop_signals()
    if not end_with_supervisor(os.environ):
        _refuse(Exit.FAILURE, "supervisord died while this process started")
    try:
        settings = load(os.environ, process=process, read_file=read_secret_file)
        prepare_directories(settings)
        _take_slot(process, settings)
        return _assemble(process, settings)
    except SettingsError as error:
        _refuse(Exit.CONFIGURATION, *error.problems)
    except AlreadyRunningError as error:
        _refuse(Exit.ALREADY_RUNNING, str(error))
    except BoardError as error:
        _refuse(Exit.CONFIGURATION, str(error))


def prepare_directories(settings: Settings) -> None:
    """Make the run, state and log directories, the first private to this user.

    Raises:
        SettingsError: if one cannot be made, or the first belongs to somebody else.
    """
    problems = []
    for name, path in (
        ("GRINDER_RUN_DIR", settings.run_dir),
        ("GRINDER_STATE_DIR", settings.state_dir),
        ("GRINDER_LOG_DIR", settings.log_dir),
    ):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            problems.append(f"{name}={path}: {error.strerror}; expected a directory that can be made and written")
    run_dir = settings.run_dir
    if not problems:
        if run_dir.stat().st_uid != os.geteuid():
            problems.append(f"GRINDER_RUN_DIR={run_dir}: belongs to another user, expected a directory of this one")
        else:
            run_dir.chmod(0o700)
            link_state_dir(run_dir, settings.state_dir)
    if problems:
        raise SettingsError(tuple(problems))


def next_incarnation(path: Path, now_utc_s: int) -> int:
    """Return a start number greater than any before, and make it durable first.

    Args:
        path: file of the last number.
        now_utc_s: wall clock, Unix seconds; keeps the number growing when the file was lost.

    Raises:
        SettingsError: if the file does not hold a number.
        OSError: if the number cannot be written.
    """
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        text = "0"
    if not text.isdigit():
        raise SettingsError((f"{path}: holds {text[:40]!r}, expected the number of the last start",))
    incarnation = max(int(text) + 1, now_utc_s)
    fresh = path.with_name(f"{path.name}.new")
    try:
        _write_durably(fresh, "w", incarnation)
        fresh.replace(path)
    except OSError as error:
        if error.errno not in NO_ROOM or not path.exists():
            raise
        # A full disk has no room for a second file. Over the first one then, whose block is there: who only cancels and
        # reduces must start on a full disk too.
        fresh.unlink(missing_ok=True)
        _write_durably(path, "r+", incarnation)
    return incarnation


def _write_durably(path: Path, mode: str, incarnation: int) -> None:
    with path.open(mode) as file:
        file.write(f"{incarnation}\n")
        file.flush()
        os.fsync(file.fileno())


def _assemble(process: Process, settings: Settings) -> Boot:
    clock = SystemClock()
    started_mono_ns = clock.mono_ns()
    run_dir, state_dir = settings.run_dir, settings.state_dir
    counter = state_dir / f"incarnation.{process}"
    first_start = not counter.exists()
    board = attach_process(run_dir, process, settings.symbols)
    if process is Process.EXECUTOR:
        # Made before this start is counted: a kill in between must not look like a latch that somebody took away.
        host_latch(settings, state_dir).load(first_start=first_start)
    incarnation = next_incarnation(counter, time.time_ns() // NS_PER_S)
    board.begin(os.getpid(), incarnation)
    if process is Process.EXECUTOR and not settings.ha_enabled:
        board.write(Word.CLUSTER_OVERRIDE, Override.NONE)
    restore_override(run_dir, state_dir)
    crashes = StartLog(run_dir, process).begin(started_mono_ns)
    looping = 0 < settings.crash_loop_starts <= crashes
    telemetry = Recorder(process, os.getpid(), incarnation, clock)
    log = EventLog(settings.log_dir / f"{process}.log", process, os.getpid(), incarnation, clock, telemetry)
    evidence = EvidenceWriter(settings.artifact_dir, process, log, telemetry, keep=settings.evidence_keep)
    term = partial(board.read, Word.TERM)
    bus = Bus(run_dir=run_dir, process=process, incarnation=incarnation, term=term, clock=clock, telemetry=telemetry)
    if looping:
        board.write(word_of("TRIP", process), TRIP_CODES[TripReason.CRASH_LOOP])
        log.event("KILL_SWITCH_TRIPPED", reason=TripReason.CRASH_LOOP.value, detail=f"{crashes} crashes in a minute")
    latch = None
    if process is Process.EXECUTOR:
        file = host_latch(settings, state_dir)
        record = file.load(first_start=first_start)
        if looping and not record.tripped:
            # At once, for this start may crash before anything else makes its own trip durable.
            record = file.trip(TripReason.CRASH_LOOP, process.value, f"{crashes} crashes in a minute", clock.utc_ms())
        if record.tripped:
            board.write(word_of("TRIP", process), TRIP_CODES[record.reason])
            log.event("KILL_SWITCH_LATCHED", reason=record.reason, who=record.who, detail=record.detail)
        latch = LatchWatch(file, record, clock, log, evidence, run_dir)
        board.write(Word.LATCH_FILE_LOADED, 1)
    return Boot(
        process=process,
        settings=settings,
        incarnation=incarnation,
        started_mono_ns=started_mono_ns,
        clock=clock,
        board=board,
        telemetry=telemetry,
        log=log,
        evidence=evidence,
        bus=bus,
        latch=latch,
        stop_requested=procs.stop_requested,
    )


def _take_slot(process: Process, settings: Settings) -> None:
    """Hold the process's slot in the run directory and in the state directory: neither may have a second owner."""
    directories = dict.fromkeys((settings.run_dir, settings.state_dir))
    # `grinder status` looks at the slots, and `grinder reset` holds those of the dead: a start outlasts both.
    _held.extend(SlotLock(path / f"{process}.lock", f"{process} ({path})", LOOK_S_MAX) for path in directories)


def _refuse(code: Exit, *problems: str) -> NoReturn:
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.exit(code)

"""``grinder record FILE``: the venue's market streams as they come, for ``--fixture`` and the simulated venue's tape.

It only listens: no key, no order, no process of a tree. Ctrl-C or ``--seconds`` ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from grinder.adapters.binance.ban import BanFile
from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.market_stream import MarketStream, StreamPlan, plan_streams
from grinder.adapters.binance.market_tape import MarketTape
from grinder.adapters.clock import SystemClock
from grinder.cli.host import positive_seconds, print_json
from grinder.model.control import Exit, Process
from grinder.model.market import StreamKind
from grinder.settings import Settings, StreamMode, load

STREAMS: Final = (StreamKind.BOOK_TICKER, StreamKind.MARK_PRICE, StreamKind.TRADE)
"""What a loop decides on. Depth is no part of it: it is of no use without its snapshots."""

LOOK_S: Final = 1.0
"""How often what was taken is handed to the kernel and progress is shown, seconds."""

_MIB: Final = 1 << 20


class _Notes:
    """The Log of a recording: what the connections have to say, on stderr."""

    def event(self, name: str, **fields: object) -> None:
        """Print one event."""
        print(f"note: {name} " + " ".join(f"{key}={value}" for key, value in fields.items()), file=sys.stderr)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file, how long, and ``--json``."""
    parser.add_argument("file", type=Path, help="where to; must not be there yet; packed if the name ends in .gz")
    parser.add_argument("--seconds", type=positive_seconds, help="end after so many; otherwise Ctrl-C ends it")
    parser.add_argument("--json", action="store_true", help="print what was recorded as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Record; 0 every stream gave something, 1 one did not, 2 the file could not be made, written or kept.

    Raises:
        SettingsError: what the feed is told is wrong, so that nobody records the market of another venue.
    """
    settings = load(os.environ, process=Process.FEED)
    try:
        tape = MarketTape(arguments.file)
    except FileExistsError:
        print(f"{arguments.file}: is there already; nothing is written over, choose another name", file=sys.stderr)
        return Exit.FAILURE
    except OSError as error:
        print(f"{arguments.file}: {error.strerror}", file=sys.stderr)
        return Exit.FAILURE
    plans = plan_streams(settings.symbols, STREAMS, subscribes=settings.stream_mode is StreamMode.SUBSCRIBE)
    began_s = time.monotonic()
    try:
        asyncio.run(_record(settings, plans, tape, arguments.seconds))
    finally:
        tape.close()
    silent = [name for plan in plans for name in plan.names if not tape.counts[name]]
    try:
        size = arguments.file.stat().st_size
    except OSError as error:
        print(f"{arguments.file}: {error.strerror}; somebody has taken it away meanwhile", file=sys.stderr)
        return Exit.FAILURE
    _report(arguments, tape, silent, size, time.monotonic() - began_s)
    if tape.failure is not None:
        print(f"{arguments.file}: {tape.failure.strerror}; what was written before is good", file=sys.stderr)
        return Exit.FAILURE
    return Exit.GATE if silent else Exit.OK


async def _record(settings: Settings, plans: Sequence[StreamPlan], tape: MarketTape, seconds: float | None) -> None:
    """Take what comes until somebody ends it, the time is over, or nothing can be written."""
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    clock, notes, limits = SystemClock(), _Notes(), Limits()
    banned_ms = BanFile(settings.state_dir, settings.venue_rest_url, clock=clock, log=notes).left_ms()
    limits.obey_ban(banned_ms, boot_ns=clock.boot_ns())
    url, take = settings.venue_ws_url, tape.take
    streams = [
        MarketStream(url, plan, tape, clock=clock, log=notes, jitter=random.random, tap=take, limits=limits)
        for plan in plans
    ]
    end_s = time.monotonic() + seconds if seconds is not None else float("inf")
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(stream.run()) for stream in streams]
        while not asked.is_set() and tape.failure is None and (left_s := end_s - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_S, left_s)):
                    await asked.wait()
            tape.flush()
            _progress(tape)
        for task in running:
            task.cancel()


def _progress(tape: MarketTape) -> None:
    if sys.stderr.isatty():
        print(f"\r{tape.counts.total()} messages, Ctrl-C ends it ", end="", file=sys.stderr, flush=True)


def _report(arguments: argparse.Namespace, tape: MarketTape, silent: Sequence[str], size: int, took_s: float) -> None:
    if arguments.json:
        print_json(
            {
                "file": str(arguments.file),
                "bytes": size,
                "seconds": round(took_s, 1),
                "messages": dict(tape.counts),
                "reconnects": tape.reconnects,
                "silent": list(silent),
            }
        )
        return
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for name, count in sorted(tape.counts.items()):
        print(f"{name or '(no stream)':<32} {count}")
    gaps = f"; {tape.reconnects} reconnects, around which some may be missing" if tape.reconnects else ""
    print(f"{tape.counts.total()} messages in {took_s:.1f} s, {size / _MIB:.2f} MiB: {arguments.file}{gaps}")
    if silent:
        print(f"nothing came of {', '.join(silent)}", file=sys.stderr)

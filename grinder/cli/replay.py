"""``grinder replay FILE``: run the engine again over a recording and compare every decision, byte for byte."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from grinder.core.recording import Replayed, replay
from grinder.model.control import Exit
from grinder.model.errors import PayloadError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file and ``--json``."""
    parser.add_argument("file", type=Path, help="a recording, made with GRINDER_RECORD_FILE")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Replay; 0 if every decision came out the same, 1 with the first difference, 2 if the file cannot be read."""
    try:
        with arguments.file.open("rb") as source:
            found = replay(source)
    except (OSError, PayloadError) as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return Exit.FAILURE
    print(msgspec.json.encode(found).decode() if arguments.json else describe(found))
    return Exit.OK if found.difference is None else Exit.GATE


def describe(found: Replayed) -> str:
    """Return a replay's result as text for people."""
    difference = found.difference
    if difference is not None:
        return "\n".join(
            (
                f"step {difference.number} differs",
                f"event     {difference.event}",
                *(f"recorded  {effect}" for effect in difference.recorded),
                *(f"replayed  {effect}" for effect in difference.replayed),
            )
        )
    torn = "; the recording ends within a record" if found.torn else ""
    return f"{found.steps} steps with {found.effects} effects: every decision the same{torn}"

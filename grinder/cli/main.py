"""The dispatch table of ``grinder``. A command is a row here and a module with ``add_arguments`` and ``run``.

Must never do a command's work itself.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final, Protocol, cast

import msgspec

from grinder.cli.steady import steady_streams
from grinder.model.control import Exit
from grinder.model.errors import GrinderError, SettingsError


class Command(msgspec.Struct, frozen=True):
    """One row: the word, the module below ``grinder.cli``, and one line for people. ``acts``: it changes something."""

    name: str
    module: str
    summary: str
    acts: bool = False


class CommandModule(Protocol):
    """What a command's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; return an exit code of grinder.model.control.Exit."""
        ...


COMMANDS: Final = (
    Command("status", "status", "is it ready, and if not, why"),
    Command("top", "top", "the status, the account, orders and fills, on a screen that renews itself"),
    Command("stop", "stop", "stop the tree in order, the executor first", acts=True),
    Command("kill", "kill", "trip the kill switch: no new risk, in whatever state the tree is", acts=True),
    Command("reset", "reset", "clear the kill switch, once nothing demands it any more", acts=True),
    Command("override", "override", "force PAUSE or EMERGENCY, take it back, or show what is in force", acts=True),
    Command("resume", "resume", "acknowledge an emergency, so that the loop may trade again", acts=True),
    Command(
        "exit", "exit", "leave the market alone: cancel all, close all, prove it; needs no other process", acts=True
    ),
    Command("settings", "settings", "show, check or document the settings"),
    Command("docs", "docs", "print or rewrite the documentation that is generated from tables"),
    Command(
        "ceremony",
        "ceremony",
        "keep all evidence of an activation or a rollback in one folder, or check one",
        acts=True,
    ),
    Command("record", "record", "keep the venue's market streams in a file, as a tape or a fixture"),
    Command("replay", "replay", "run the engine over a recording and compare every decision"),
    Command("doctor", "doctor", "check what this host offers"),
    Command("preflight", "preflight", "check host, settings, latch, override and account before an activation"),
)

_NAME_WIDTH: Final = max(len(command.name) for command in COMMANDS)


def _overview() -> str:
    rows = "\n".join(f"  {command.name:<{_NAME_WIDTH}}  {command.summary}" for command in COMMANDS)
    return f"commands:\n{rows}\n\n`grinder COMMAND --help` tells more."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after the program's name; None takes those of this process.

    Returns:
        0 done; 1 not allowed, or the answer is no; 2 failed or called wrongly; 78 settings are wrong.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="grinder", epilog=_overview(), formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("command", choices=[command.name for command in COMMANDS], metavar="COMMAND")
    chosen = parser.parse_args(words[:1] or ["--help"])
    command = next(row for row in COMMANDS if row.name == chosen.command)
    with steady_streams():
        return _run(command, words[1:])


def _run(command: Command, words: Sequence[str]) -> int:
    try:
        module = cast(CommandModule, importlib.import_module(f"grinder.cli.{command.module}"))
        parser = argparse.ArgumentParser(
            prog=f"grinder {command.name}", description=command.summary, allow_abbrev=False
        )
        module.add_arguments(parser)
        return module.run(parser.parse_args(words))
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return Exit.CONFIGURATION
    except GrinderError as error:
        print(error, file=sys.stderr)
        return Exit.FAILURE
    except KeyboardInterrupt:
        if not command.acts:
            return Exit.FAILURE
        acts = importlib.import_module("grinder.cli.acts")
        return cast(int, acts.interrupted(command.name, words))

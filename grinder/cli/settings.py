"""``grinder settings show|check|docs``: what the settings are, whether they are right, what there is to set."""

from __future__ import annotations

import argparse
import os
import sys

from grinder.cli.documents import settings_document
from grinder.cli.host import padded, print_json
from grinder.model.control import Exit
from grinder.settings import add_flags, explain, flag_values, missing_files, notes, read_secret_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, and every option of run_trading, so that a command line can be checked before it is used."""
    parser.add_argument("action", choices=["show", "check", "docs"], help="show values, check them, or print the docs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_flags(parser.add_argument_group("options of run_trading"))


def run(arguments: argparse.Namespace) -> int:
    """Show, check or document the settings of this environment."""
    if arguments.action == "docs":
        print(settings_document(), end="")
        return Exit.OK
    flags = flag_values(arguments)
    entries, problems, settings = explain(os.environ | flags, read_file=read_secret_file)
    problems += missing_files(settings)
    remarks = () if problems else notes(settings)
    if arguments.json:
        values = [
            {
                "name": entry.name,
                "value": entry.value,
                "unit": entry.unit,
                "origin": _origin(entry.name, entry.origin, flags),
            }
            for entry in entries
        ]
        facts: dict[str, object] = {"ok": not problems, "problems": problems, "notes": remarks}
        print_json({"settings": values} | facts if arguments.action == "show" else facts)
    else:
        if arguments.action == "show":
            rows = [
                (entry.name, _shown(entry.value, entry.unit), _origin(entry.name, entry.origin, flags))
                for entry in entries
            ]
            print("\n".join(padded(rows)))
        print("\n".join([*(f"note: {remark}" for remark in remarks)]), end="\n" if remarks else "")
        print("\n".join(problems) if problems else "settings are right", file=sys.stderr if problems else sys.stdout)
    return Exit.CONFIGURATION if problems else Exit.OK


def _origin(name: str, origin: str, flags: dict[str, str]) -> str:
    return "option" if name in flags and origin == "environment" else str(origin)


def _shown(value: str, unit: str) -> str:
    if not value:
        return "-"
    return f"{value} {unit}" if unit else value

"""Options of run_trading, made from the table: an option is another way to write a variable, and it wins over it."""

from __future__ import annotations

import argparse
from typing import NoReturn

from grinder.model.errors import SettingsError
from grinder.settings.table import VARIABLES
from grinder.settings.variable import Kind


class FlagParser(argparse.ArgumentParser):
    """A parser whose errors are settings errors, so that they are reported and end like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise SettingsError((f"{message}; {self.prog} --help lists the options",))


def add_flags(parser: argparse._ActionsContainer) -> None:
    """Add every option of the table to a parser or a group of one; values stay texts."""
    for row in VARIABLES.values():
        if not row.flag:
            continue
        text = row.doc.replace("%", "%%")
        if row.kind is Kind.BOOLEAN:
            parser.add_argument(row.flag, dest=row.name, action="store_const", const="1", help=text)
        else:
            default = f"{row.default} {row.unit}".strip() or "unset"
            words = "|".join(row.words) or row.attribute.upper()
            parser.add_argument(row.flag, dest=row.name, metavar=words, help=f"{text} Default: {default}.")


def build_parser(program: str, description: str) -> FlagParser:
    """Return a parser with every option of the table; abbreviations are refused."""
    parser = FlagParser(prog=program, description=description, allow_abbrev=False)
    add_flags(parser)
    return parser


def flag_values(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the variables that options set, as texts to lay over the environment."""
    given = {name: getattr(arguments, name, None) for name in VARIABLES}
    return {name: value for name, value in given.items() if value is not None}

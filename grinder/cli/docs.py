"""``grinder docs``: write the generated documentation of this checkout, or tell whether it is current."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grinder.cli.documents import DOCUMENTS, placed
from grinder.model.control import Exit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=["write", "check"], help="write the files, or tell which are not current")
    parser.add_argument("--root", type=Path, default=Path(), metavar="FOLDER", help="the checkout; default: here")


def run(arguments: argparse.Namespace) -> int:
    """Write every document, or name those that differ from what the tables say."""
    outdated = []
    for path in dict.fromkeys(document.path for document in DOCUMENTS):
        target: Path = arguments.root / path
        before = target.read_text() if target.exists() else ""
        after = before
        for document in DOCUMENTS:
            if document.path == path:
                after = placed(document, after)
        if after == before:
            continue
        outdated.append(path)
        if arguments.action == "write":
            target.write_text(after)
    verb = "wrote" if arguments.action == "write" else "not current, run `make docs`:"
    for path in outdated:
        print(f"{verb} {path}", file=sys.stdout if arguments.action == "write" else sys.stderr)
    return Exit.GATE if outdated and arguments.action == "check" else Exit.OK

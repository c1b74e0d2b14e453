"""What the commands of a host share: settings as far as they can be read, arguments, JSON and tables to print."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from math import inf
from typing import Any

import msgspec

from grinder.settings import Settings, explain, read_secret_file


def lenient_settings() -> Settings:
    """Return the settings, with defaults for wrong ones, which are told on stderr.

    For commands that must work with any environment, such as a stop: they use names of folders and ports only.
    """
    _, problems, settings = explain(os.environ, read_file=read_secret_file)
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    return settings


def print_json(value: Any) -> None:
    """Print one value as indented JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def positive_seconds(text: str) -> float:
    """Return a time that an argument names, seconds.

    Raises:
        ArgumentTypeError: it is no finite number above 0.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds


def padded(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of equal length as lines, their columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]

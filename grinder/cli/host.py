"""What every command of a host needs: the settings as far as they can be read, and JSON or lines on stdout."""

from __future__ import annotations

import os
import sys
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

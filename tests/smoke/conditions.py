"""Waiting on conditions with a bound, for tests of real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, bound_s: float = 20.0, *, every_s: float = 0.02) -> T:
    """Return the first true value of ``condition``; fail with ``what`` when the bound has passed."""
    deadline = time.monotonic() + bound_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {bound_s} s: {what}")
        time.sleep(every_s)


def events_of(log: Path) -> list[dict[str, object]]:
    """Return the events of a process's log, oldest first; none if there is no log yet."""
    if not log.exists():
        return []
    lines = log.read_bytes().splitlines(keepends=True)
    return [msgspec.json.decode(line) for line in lines if line.endswith(b"\n")]

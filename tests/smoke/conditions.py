"""Waiting on conditions with a bound, for tests of real processes."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from grinder.model.errors import GrinderError

T = TypeVar("T")
NOT_YET = (OSError, http.client.HTTPException, GrinderError)
"""What a question to a process raises that has just been started, or has no time to answer: it is asked again."""


def wait_for(condition: Callable[[], T], what: str, bound_s: float = 20.0, *, every_s: float = 0.02) -> T:
    """Return the first true value of ``condition``; fail with ``what`` when the bound has passed."""
    deadline = time.monotonic() + bound_s
    while True:
        unanswered = None
        try:
            if value := condition():
                return value
        except NOT_YET as error:
            unanswered = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {bound_s} s: {what}") from unanswered
        time.sleep(every_s)


def events_of(log: Path) -> list[dict[str, object]]:
    """Return the events of a process's log, oldest first; none if there is no log yet."""
    if not log.exists():
        return []
    lines = log.read_bytes().splitlines(keepends=True)
    return [msgspec.json.decode(line) for line in lines if line.endswith(b"\n")]

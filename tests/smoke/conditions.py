"""Waiting on conditions with a bound, for tests of real processes."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from grinder.model.errors import GrinderError

T = TypeVar("T")
PATIENCE_S = 120.0
"""Most that is waited for anything, seconds: a host may be busy with other tests, and a wait ends when it can."""

EVERY_S = (0.01, 0.1)
"""How long a wait pauses between two looks, seconds: at first, and at most. Looks cost the processes that are asked."""

GROWTH = 0.05
"""By how much of the time waited so far the pause grows."""

LOOK_S_MAX = 40.0
"""How much of a wait one look and its pause may be, seconds: in what is longer the host stood still, a virtual machine
that was paused, and those who are waited for with it."""

CLUES: Final[list[Callable[[], str]]] = []
"""What tells in one line how something stands that tests wait for; asked when a wait was in vain."""

NOT_YET = (OSError, http.client.HTTPException, GrinderError)
"""What a question to a process raises that has just been started, or has no time to answer: it is asked again."""


def wait_for(condition: Callable[[], T], what: str, bound_s: float = PATIENCE_S, *, every_s: float = 0.0) -> T:
    """Return the first true value of ``condition``; fail with ``what`` when the bound has passed.

    ``every_s``: the pause between two looks where it is to stay the same.
    """
    waited_s, looked_s = 0.0, time.monotonic()
    while True:
        unanswered = None
        try:
            if value := condition():
                return value
        except NOT_YET as error:
            unanswered = error
        now_s = time.monotonic()
        waited_s += min(now_s - looked_s, LOOK_S_MAX)
        looked_s = now_s
        if waited_s > bound_s:
            clues = "".join(f"; {clue()}" for clue in CLUES)
            raise AssertionError(f"not within {bound_s} s: {what}{clues}") from unanswered
        time.sleep(every_s or min(EVERY_S[0] + GROWTH * waited_s, EVERY_S[1]))


def events_of(log: Path) -> list[dict[str, object]]:
    """Return the events of a process's log, oldest first; none if there is no log yet."""
    if not log.exists():
        return []
    lines = log.read_bytes().splitlines(keepends=True)
    return [msgspec.json.decode(line) for line in lines if line.endswith(b"\n")]

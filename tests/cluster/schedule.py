"""One thread of virtual time for a simulated world: what is due, in order; what is due at once, by turn."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

MS = 1_000_000
S = 1_000_000_000


class Schedule:
    """``now_ns``: true time. ``random``: the only source of chance in the world."""

    def __init__(self, seed: int) -> None:
        self.now_ns = 100 * S
        self.random = Random(seed)
        self.events = 0
        self._due: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._turn = 0

    def after(self, delay_ns: int, act: Callable[..., None], *arguments: Any) -> None:
        """Have something done after a while."""
        self._turn += 1
        heapq.heappush(self._due, (self.now_ns + delay_ns, self._turn, act, arguments))

    def run(self, until_ns: int, done: Callable[[], bool] | None = None) -> None:
        """Let time pass until then, or until it is ``done``, which is asked every half second."""
        look_ns, due, take = self.now_ns, self._due, heapq.heappop
        while due and due[0][0] <= until_ns:
            at_ns, _, act, arguments = take(due)
            self.now_ns = at_ns
            self.events += 1
            act(*arguments)
            if done is not None and at_ns >= look_ns:
                look_ns = at_ns + S // 2
                if done():
                    return
        self.now_ns = until_ns

    def between(self, low_ns: int, high_ns: int) -> int:
        """Return a duration between two, in ns."""
        return low_ns + int(self.random.random() * (high_ns - low_ns))

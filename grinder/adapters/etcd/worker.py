"""A thread that talks to etcd, and tells when it ends as it should not: else this host would wait for it for ever.

What etcd does is no such end; a mistake of ours is. Must never swallow one, nor try to go on after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

Mourn = Callable[[str, BaseException], None]
"""Learns, on the dying thread, which one fell and of what."""


class Worker(threading.Thread):
    """Does one piece of work until that returns. Never keeps the process from ending."""

    def __init__(self, name: str, work: Callable[[], None], mourn: Mourn) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._mourn = mourn

    def run(self) -> None:
        """Work; called by the thread itself."""
        with _Witness(self.name, self._mourn):
            self._work()


class _Witness:
    """Tells what a block raised, and ends it there."""

    def __init__(self, name: str, mourn: Mourn) -> None:
        self._name = name
        self._mourn = mourn

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if error is not None:
            self._mourn(self._name, error)
        return True

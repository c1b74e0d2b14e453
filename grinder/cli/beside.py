"""Work beside a command, on a disk that may never answer: nobody waits for it longer than they say.

Must never keep a command from what it can do without that work, nor from its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

DISK_S_MAX: Final = 3.0
"""Longest wait for a disk, seconds: more than the longest wait for the lock of the latch file on it."""

T = TypeVar("T")


class Beside(Generic[T]):
    """One piece of work in a thread of its own, which the end of the program does not wait for."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: T | None = None
        self._over = threading.Event()
        thread = threading.Thread(target=self._run, name="beside", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # This host has no thread left to give: then here, and waited for.
            self._run()

    def value(self, within_s: float | None = None) -> T | None:
        """Return what the work came to.

        Args:
            within_s: longest wait from now, seconds; DISK_S_MAX if not given.

        Returns:
            Its value; None if it is not over by then, or failed, which is then told on stderr.
        """
        return self._value if self._over.wait(DISK_S_MAX if within_s is None else within_s) else None

    def _run(self) -> None:
        try:
            self._value = self._work()
        finally:
            self._over.set()

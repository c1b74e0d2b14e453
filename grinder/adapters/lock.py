"""The slot lock: one living instance per process name and directory, held for life, with the owner's pid inside.

Who only asks whether a slot is free holds it for a moment too. Must never take such a moment for a living owner at the
start of a process: supervisord leaves one down that says it is running already.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from grinder.model.errors import AlreadyRunningError

LOOK_S_MAX: Final = 0.5
"""Longest that somebody who only looks, or acts for a dead owner, may be taken to hold a slot, seconds."""

_POLL_S: Final = 0.01


class SlotLock:
    """An exclusive lock on a file. The kernel drops it when the owner dies, however it dies."""

    def __init__(self, path: Path, what: str, wait_s_max: float = 0.0) -> None:
        """Take the lock.

        Args:
            path: the lock file; made if absent, never removed.
            what: name of the slot, for the error.
            wait_s_max: longest wait for somebody else to give it back, seconds.

        Raises:
            AlreadyRunningError: if another process holds it; ``owner_pid`` is 0 if the owner has not written it yet.
            OSError: if the file cannot be opened.
        """
        self._descriptor = _awaited(path, what, time.monotonic() + wait_s_max)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    @property
    def descriptor(self) -> int:
        """The open lock file: a child that inherits it holds the slot too, until both have closed it."""
        return self._descriptor

    def release(self) -> None:
        """Give the slot back."""
        os.close(self._descriptor)


def require_free(path: Path, what: str) -> None:
    """Check that nobody holds a slot, without leaving a trace in it; one that has no file was never held.

    Raises:
        AlreadyRunningError: if a process holds it.
        OSError: if there may be a file, and it cannot be opened.
    """
    try:
        os.close(_locked(path, what, os.O_RDONLY))
    except (FileNotFoundError, NotADirectoryError):
        return


def _awaited(path: Path, what: str, deadline_mono_s: float) -> int:
    """Return the descriptor of the locked file, tried until the deadline."""
    while True:
        try:
            return _locked(path, what)
        except AlreadyRunningError:
            if time.monotonic() >= deadline_mono_s:
                raise
        time.sleep(_POLL_S)


def _locked(path: Path, what: str, mode: int = os.O_RDWR | os.O_CREAT) -> int:
    """Return the descriptor of the locked file."""
    descriptor = os.open(path, mode | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).strip()
        os.close(descriptor)
        raise AlreadyRunningError(what, int(owner) if owner.isdigit() else 0) from None
    return descriptor

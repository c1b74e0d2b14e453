"""The slot lock: one living instance per process name and directory, held for life, with the owner's pid inside."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from grinder.model.errors import AlreadyRunningError


class SlotLock:
    """An exclusive lock on a file. The kernel drops it when the owner dies, however it dies."""

    def __init__(self, path: Path, what: str) -> None:
        """Take the lock.

        Args:
            path: the lock file; made if absent, never removed.
            what: name of the slot, for the error.

        Raises:
            AlreadyRunningError: if another process holds it; ``owner_pid`` is 0 if the owner has not written it yet.
            OSError: if the file cannot be opened.
        """
        self._descriptor = _locked(path, what)
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

"""Ending with the parent: the kernel's parent-death signal, so that nothing survives a killed supervisor."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping
from typing import Final

PARENT_VARIABLE: Final = "SUPERVISED_BY_PID"
"""Variable in which each supervised process finds the pid of its supervisord."""

_PR_SET_PDEATHSIG: Final = 1
_PRCTL: Final = ctypes.CDLL(None).prctl
"""Looked up here: between fork and exec of a process with threads, nobody may wait for the loader's lock."""


def end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the parent dies; not inherited by children.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def end_with_supervisor(environ: Mapping[str, str]) -> bool:
    """Ask for a SIGTERM when supervisord dies; a process that it did not start is left as it is.

    Returns:
        False if supervisord died before it could be asked: this process must end.
    """
    supervisor = environ.get(PARENT_VARIABLE, "")
    if not supervisor.isdigit():
        return True
    end_with_parent()
    return os.getppid() == int(supervisor)

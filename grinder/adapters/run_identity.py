"""Names a run of the tree: the same for every start of a process under one supervisor, another for the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_START_TIME_FIELD: Final = 19
"""Index of starttime after the command in /proc/PID/stat. Source: proc(5), field 22 counted from 1."""


def run_identity(parent_pid: int) -> str:
    """Return ``<boot>-<pid>-<start time>`` of the parent, which supervises this process.

    Raises:
        OSError: if the parent is gone.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    after_command = Path(f"/proc/{parent_pid}/stat").read_text().rpartition(")")[2].split()
    return f"{boot[:8]}-{parent_pid}-{after_command[_START_TIME_FIELD]}"

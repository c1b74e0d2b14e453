"""Small file systems of their own, for tests that fill them or take their writing away."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@contextlib.contextmanager
def small_disk(size_bytes: int) -> Iterator[Path]:
    """Mount a file system in memory and yield its folder; skips the test where that is not permitted."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system to fill")
    with TemporaryDirectory(dir="/tmp") as name:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "grinder-test", name]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("this host does not let a test mount a file system")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def fill(disk: Path) -> Path:
    """Write a file until the disk is full, and return it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4_096)):
            pass
    assert os.statvfs(disk).f_bavail == 0
    return ballast

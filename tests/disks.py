"""Small file systems of their own, for tests that fill them or take their writing away."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

FILLINGS_MAX = 1_000
"""Most times that a disk is filled again, because somebody gave room back."""


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
    """Write a file until the disk is full, and return it; what another gives back meanwhile is taken too."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for _ in range(FILLINGS_MAX):
            with contextlib.suppress(OSError):
                while file.write(bytes(4_096)):
                    pass
            if os.statvfs(disk).f_bavail == 0:
                return ballast
    raise AssertionError(f"{disk} does not fill up")


class FailingDisk:
    """An ext4 file system in a file, on a loop device; an error of its own can turn it read-only under open files."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self.folder = folder

    def mount(self) -> bool:
        """Mount it, mended where an error was noted; return False where that is not permitted."""
        subprocess.run(["fsck.ext4", "-p", "-f", str(self._image)], capture_output=True, check=False)
        mount = ["mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder)]
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def fail(self) -> None:
        """Have the file system find an error in itself, as a dying disk makes it do; skips where it cannot be told."""
        device = Path(
            subprocess.run(
                ["findmnt", "-n", "-o", "SOURCE", str(self.folder)], capture_output=True, text=True, check=True
            ).stdout.strip()
        )
        switch = Path("/sys/fs/ext4") / device.name / "trigger_fs_error"
        if not os.access(switch, os.W_OK):
            pytest.skip("this kernel cannot be told to find an error in a file system")
        switch.write_text("1\n")

    def unmount(self) -> None:
        """Take it away."""
        subprocess.run(["umount", str(self.folder)], check=True, capture_output=True)


@contextlib.contextmanager
def failing_disk(size_bytes: int) -> Iterator[FailingDisk]:
    """Mount an ext4 file system that can fail; skips the test where that is not permitted."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("only root may mount a file system that fails, and it needs mkfs.ext4")
    with TemporaryDirectory(dir="/tmp") as name:
        image, folder = Path(name) / "image", Path(name) / "disk"
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(size_bytes)
        made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, check=False)
        disk = FailingDisk(image, folder)
        if made.returncode != 0 or not disk.mount():
            pytest.skip("this host does not let a test mount a file system from a file")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)

"""Small disks for members of etcd and for hosts, which can stall and fill up; for root, where mounting is permitted.

A disk is an ext4 file system in a file. A process of its own keeps them: whatever happens to the rig, nothing stays
frozen, mounted or left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK_BYTES = 4_096
DISK_BYTES = 320 * 1024 * 1024
"""Room for two files of etcd's log, 64 MB each at once, and its data; what is not written takes no room anywhere."""

KEPT_S_MAX = 60.0
TOOLS = ("mkfs.ext4", "mount", "umount", "fsfreeze")
KEEPER = """
cd "$1" || exit 1
made=yes
for name in $2; do
    image=$name.image
    mkdir "$name" && truncate -s "$3" "$image" && mkfs.ext4 -q -F -m 0 "$image" && mount -o loop "$image" "$name" ||
        made=no
done
echo $made
while read -r act name; do
    case $act in
        freeze) fsfreeze -f "$name" ;;
        thaw) fsfreeze -u "$name" ;;
    esac && echo yes || echo no
done
for name in $2; do
    fsfreeze -u "$name"
    umount -l "$name"
done
rm -rf "$1"
"""


class DiskError(AssertionError):
    """A disk did not do as it was told."""


def disks_if_permitted(names: tuple[str, ...]) -> SmallDisks | None:
    """Return a disk for each name, None where this host does not let us have them."""
    try:
        return SmallDisks(names)
    except DiskError:
        return None


class SmallDisks:
    """One disk for each name."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """Make them.

        Raises:
            DiskError: this host does not let us.
        """
        if not permitted():
            raise DiskError("only root may mount a file system")
        self.root = Path(tempfile.mkdtemp(dir="/tmp", prefix="disks-"))
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "keeper", str(self.root), " ".join(names), str(DISK_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if not self._heard():
            self.close()
            raise DiskError("this host does not let a test mount a file system from a file")

    def folder(self, name: str) -> Path:
        """Return where a disk is mounted."""
        return self.root / name

    @contextmanager
    def stalled(self, name: str) -> Iterator[None]:
        """Have every write to a disk wait until this is over."""
        self._tell("freeze", name)
        try:
            yield
        finally:
            self._tell("thaw", name)

    @contextmanager
    def full(self, name: str) -> Iterator[None]:
        """Have no room on a disk until this is over."""
        ballast = self.folder(name) / "ballast"
        try:
            _take_all(ballast)
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Take them away; who writes there must have ended."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(KEPT_S_MAX)

    def _tell(self, act: str, name: str) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{act} {name}\n".encode())
        self._keeper.stdin.flush()
        if not self._heard():
            raise DiskError(f"{act} {name}: refused")

    def _heard(self) -> bool:
        assert self._keeper.stdout is not None
        return self._keeper.stdout.readline() == b"yes\n"


def permitted() -> bool:
    """Tell whether this host may let us have disks of our own."""
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in TOOLS)


def _take_all(path: Path) -> None:
    """Have a file take all the room that is left, without writing it."""
    taken, step = 0, DISK_BYTES
    with path.open("wb") as file:
        while step >= BLOCK_BYTES:
            try:
                os.posix_fallocate(file.fileno(), taken, step)
                taken += step
            except OSError:
                step //= 2

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from grinder.adapters.lock import LOOK_S_MAX, SlotLock, require_free
from grinder.model.errors import AlreadyRunningError

HOLDER = """
import sys, time
from pathlib import Path
from grinder.adapters.lock import SlotLock
lock = SlotLock(Path(sys.argv[1]), "slot")
print("held", flush=True)
sys.stdin.read()
"""


def test_lock_when_another_process_holds_it_then_refused_with_its_pid(tmp_path: Path) -> None:
    path = tmp_path / "slot.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunningError, match=f"slot is already running as pid {holder.pid}") as refusal:
            SlotLock(path, "slot")
        assert refusal.value.owner_pid == holder.pid
        with pytest.raises(AlreadyRunningError):
            require_free(path, "slot")
        holder.send_signal(signal.SIGKILL)
    SlotLock(path, "slot").release()


def test_lock_when_released_then_free_again_and_the_pid_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "slot.lock"
    lock = SlotLock(path, "slot")
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()
    require_free(path, "slot")


def test_lock_when_somebody_only_looks_then_a_start_outlasts_the_look(tmp_path: Path) -> None:
    path = tmp_path / "slot.lock"
    look = SlotLock(path, "slot")
    with pytest.raises(AlreadyRunningError):
        SlotLock(path, "slot")
    ends = threading.Timer(LOOK_S_MAX / 10, look.release)
    ends.start()
    SlotLock(path, "slot", 100 * LOOK_S_MAX).release()
    ends.join()

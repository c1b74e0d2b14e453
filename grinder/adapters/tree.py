"""The supervised tree as one thing: start supervisord as a child, know when it ended, stop it in order.

Must never start beside a living tree or before the last one is gone, and never outlive its own death: supervisord gets
SIGTERM when this process dies, and its children when supervisord dies.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grinder.adapters.board import create_board
from grinder.adapters.lock import SlotLock, require_free
from grinder.adapters.parent import end_with_parent
from grinder.adapters.supervisor_client import SUPERVISOR_SOCKET
from grinder.model.control import Process
from grinder.model.errors import AlreadyRunningError, SettingsError
from grinder.model.limits import SLOT_WAIT_S_MAX, TREE_STOP_S_MAX
from grinder.settings import Settings

VENUE_VARIABLE: Final = "SUPERVISED_VENUE"
"""Variable of supervisord's configuration: whether the simulated venue starts with the tree."""

_LOOPBACK: Final = "127.0.0.1"
_SLOT_POLL_S: Final = 0.1
_LINK: Final = Path("var", SUPERVISOR_SOCKET)
"""Where ``supervisorctl -c conf/supervisord.conf`` looks, below the project."""


class Tree:
    """One supervisord and what it runs."""

    def __init__(self, configuration: Path, settings: Settings, environ: Mapping[str, str]) -> None:
        """Prepare; nothing starts yet.

        Args:
            configuration: supervisord's configuration file.
            settings: checked settings of the tree.
            environ: what its processes shall see, with every setting in it.
        """
        self._configuration = configuration
        self._settings = settings
        self._environ = dict(environ)
        self._locks: list[SlotLock] = []
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Take the tree's slot, wait for what is left of the last tree to end, and start supervisord.

        Raises:
            AlreadyRunningError: if a tree runs in this run or state directory, or a process of one does not end
                within SLOT_WAIT_S_MAX.
            SettingsError: if somebody else listens on a port of this tree.
            BoardError: if the board cannot be made.
            OSError: if supervisord cannot be started.
        """
        settings = self._settings
        deadline_mono_s = time.monotonic() + SLOT_WAIT_S_MAX
        for directory in dict.fromkeys((settings.run_dir, settings.state_dir)):
            self._locks.append(_tree_lock(directory, deadline_mono_s))
        self._wait_for_slots(deadline_mono_s)
        self._require_ports()
        create_board(settings.run_dir)
        self._link_socket()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._configuration)],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # A session of its own: Ctrl-C reaches this process only, which then stops the tree once and in order.
            start_new_session=True,
            # supervisord holds the tree's slot too: killed alone, this process leaves a tree that is still stopping.
            pass_fds=[lock.descriptor for lock in self._locks],
            umask=0o077,
            preexec_fn=end_with_parent,
        )

    @property
    def exit_code(self) -> int | None:
        """How supervisord ended: 0 when it was told to, None while it runs."""
        assert self._child is not None
        return self._child.poll()

    def stop(self) -> int:
        """Stop every process in order, the executor first and waited for.

        Returns:
            Exit code of supervisord; negative if it had to be killed after TREE_STOP_S_MAX.
        """
        assert self._child is not None
        if self._child.poll() is None:
            self._child.terminate()
        try:
            return self._child.wait(TREE_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

    def _environment(self) -> dict[str, str]:
        """Return the environment of supervisord: absolute directories, this Python first, whether there is a venue."""
        settings = self._settings
        return {
            **self._environ,
            "GRINDER_RUN_DIR": str(settings.run_dir.absolute()),
            "GRINDER_STATE_DIR": str(settings.state_dir.absolute()),
            "GRINDER_LOG_DIR": str(settings.log_dir.absolute()),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), self._environ.get("PATH", os.defpath))),
            VENUE_VARIABLE: "true" if settings.venue_embedded else "false",
        }

    def _wait_for_slots(self, deadline_mono_s: float) -> None:
        """Wait until no process of an earlier tree lives: one that is stopping still has orders to cancel."""
        for directory in dict.fromkeys((self._settings.run_dir, self._settings.state_dir)):
            for process in Process:
                while not _free(directory / f"{process}.lock", str(process), last=time.monotonic() > deadline_mono_s):
                    time.sleep(_SLOT_POLL_S)

    def _require_ports(self) -> None:
        """Check that the tree's ports are free: a taken one would leave a program crashing over and over."""
        settings = self._settings
        ports = [("GRINDER_METRICS_PORT", settings.metrics_host, settings.metrics_port)]
        if settings.venue_embedded:
            ports.append(("GRINDER_SIM_PORT", _LOOPBACK, settings.sim_port))
        problems = tuple(
            f"{name}: {host}:{port} cannot be listened on ({why}); free it or choose another port"
            for name, host, port in ports
            if (why := why_not_listen(host, port))
        )
        if problems:
            raise SettingsError(problems)

    def _link_socket(self) -> None:
        """Let ``supervisorctl`` find this tree from the project's directory; a convenience that may fail."""
        link = self._configuration.absolute().parent.parent / _LINK
        fresh = link.with_suffix(f".{os.getpid()}")
        try:
            link.parent.mkdir(exist_ok=True)
            fresh.symlink_to(self._settings.run_dir.absolute() / SUPERVISOR_SOCKET)
            fresh.replace(link)
        except OSError:
            # On a file system that is read-only, taking it away fails too.
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)


def _tree_lock(directory: Path, deadline_mono_s: float) -> SlotLock:
    """Take the slot of a tree; wait while its front door is dead and only its supervisord still stops."""
    while True:
        try:
            return SlotLock(directory / "tree.lock", f"the tree ({directory})")
        except AlreadyRunningError as error:
            if Path("/proc", str(error.owner_pid)).exists() or time.monotonic() > deadline_mono_s:
                raise
            time.sleep(_SLOT_POLL_S)


def why_not_listen(host: str, port: int) -> str:
    """Return why a port cannot be listened on, or an empty string."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _free(path: Path, what: str, *, last: bool) -> bool:
    """Tell whether a slot is free; on the last try raise what stands in the way."""
    try:
        require_free(path, what)
    except AlreadyRunningError:
        if last:
            raise
        return False
    return True

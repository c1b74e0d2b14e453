"""A child of a front door that keeps several programs, the way systemd keeps a unit: environment and output in files of
its name, started again when it fails, left down when it was told to end, started by hand then.

Must never outlive the front door.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from grinder.adapters.parent import end_with_parent

RESTART_S: Final = 10.0
"""How long a program that failed stays down, seconds: long enough for a person to see what its absence does."""

_ASKED: Final = (0, -signal.SIGTERM)
"""Exit codes of a program that was told to end, by whomever."""


def environment_text(environ: Mapping[str, str]) -> str:
    """Return variables as a file that a shell can read and ``environment_of`` understands."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in environ.items())


def environment_of(text: str) -> dict[str, str]:
    """Return the variables of such a file; a line without ``=`` is left out."""
    words = shlex.split(text, comments=True)
    return dict(word.split("=", 1) for word in words if "=" in word)


class KeptProgram:
    """One program, ``name`` for people and for its files: ``.env``, ``.out``, ``.pid``, and ``.start``, which a person
    makes to have it started again after it was told to end."""

    def __init__(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], folder: Path, stop_s_max: float
    ) -> None:
        """Prepare; nothing starts yet.

        Args:
            name: of the program.
            command: what to run.
            environ: what it shall see; ``<name>.env`` is laid over it, read at each start.
            folder: where its files are.
            stop_s_max: how long it may take to end, seconds; after that it is killed.
        """
        self.name = name
        self._command = tuple(command)
        self._environ = dict(environ)
        self._folder = folder
        self._stop_s_max = stop_s_max
        self._child: subprocess.Popen[bytes] | None = None
        self._due_mono_s = 0.0

    @property
    def started(self) -> bool:
        """Whether it was started and not told to end since."""
        return self._child is not None or self._due_mono_s > 0

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it.

        Raises:
            OSError: if it cannot be started, or its environment cannot be read.
        """
        with self._file("out").open("ab") as output:
            self._child = subprocess.Popen(
                self._command,
                env={**self._environ, **environment_of(self._file("env").read_text())},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A session of its own: Ctrl-C reaches the front door only, which then stops everything in order.
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        # Whole or not there: people send signals to what it names.
        fresh = self._file("pid.new")
        fresh.write_text(f"{self._child.pid}\n")
        fresh.replace(self._file("pid"))

    def look(self) -> str:
        """Start it again if that is due or was asked for.

        Returns:
            What happened since the last look, for people; empty if nothing did.

        Raises:
            OSError: as ``start``.
        """
        if self._child is not None:
            return "" if self.running else self._ended(self._child.wait())
        asked = self._file("start").exists()
        if not asked and not 0 < self._due_mono_s <= time.monotonic():
            return ""
        self._file("start").unlink(missing_ok=True)
        self._due_mono_s = 0.0
        self.start()
        return f"{self.name} starts again"

    def tell_to_end(self) -> None:
        """Send it SIGTERM if it runs."""
        self._due_mono_s = 0.0
        if self._child is not None and self.running:
            self._child.terminate()

    def stop(self) -> int | None:
        """End it and wait.

        Returns:
            Its exit code, negative if it had to be killed; None if it did not run.
        """
        self.tell_to_end()
        child, self._child = self._child, None
        self._file("pid").unlink(missing_ok=True)
        if child is None:
            return None
        try:
            return child.wait(self._stop_s_max)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def _ended(self, code: int) -> str:
        self._child = None
        self._file("pid").unlink(missing_ok=True)
        if code in _ASKED:
            return f"{self.name} was told to end and stays down; touch {self._file('start')} to start it"
        self._due_mono_s = time.monotonic() + RESTART_S
        return f"{self.name} ended with {code} and starts again in {RESTART_S:.0f} s; see {self._file('out')}"

    def _file(self, kind: str) -> Path:
        return self._folder / f"{self.name}.{kind}"
